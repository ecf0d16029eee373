#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Compiles math.cu for two architectures and as PTX.
#
#   math_compiles.sh ROOT HOST_COMPILER OBJECT [NVCC]
#
# NVCC, else $LOSSD_NVCC, else nvcc in PATH; with none of them it exits with 77,
# or with 1 if LOSSD_REQUIRE_TOOLS is 1.
# Further arguments, such as -I/path, are in $LOSSD_NVCC_FLAGS, separated by
# spaces.
set -eu

root=$1
host_compiler=$2
object=$3
nvcc=${4:-${LOSSD_NVCC:-nvcc}}

if ! command -v "$nvcc" >/dev/null; then
  echo "skipped: no CUDA compiler: $nvcc is not found;" \
    "put nvcc into PATH, or its path into LOSSD_NVCC"
  [ "${LOSSD_REQUIRE_TOOLS:-}" != 1 ] || exit 1
  exit 77
fi

# The rounding of every operation is part of the contract: no contraction, no
# flushing of subnormals, no approximate division.
# shellcheck disable=SC2086  # LOSSD_NVCC_FLAGS is several arguments
exec "$nvcc" -c -std=c++20 --expt-relaxed-constexpr \
  -fmad=false -ftz=false -prec-div=true -prec-sqrt=true \
  -Werror all-warnings -Xcompiler -Wall,-Wextra,-ffp-contract=off -Xptxas -v \
  -gencode arch=compute_75,code=sm_75 \
  -gencode 'arch=compute_90,code=[sm_90,compute_90]' \
  -ccbin "$host_compiler" -I "$root" ${LOSSD_NVCC_FLAGS:-} \
  -o "$object" "$root/tests/cuda/math.cu"
