#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs a compiler and keeps what it writes to stderr, such as the registers that
# each kernel uses; if it fails, shows that.
#
#   compile_image.sh LOG COMPILER ARGUMENT...
set -eu

log=$1
shift
mkdir -p "$(dirname "$log")"
if ! "$@" 2>"$log.part"; then
  cat "$log.part" >&2
  exit 1
fi
mv "$log.part" "$log"
