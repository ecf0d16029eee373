#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Puts a program and the shared libraries that it needs, except the C library's,
# into a folder that can be carried to a machine with a GPU.
#
#   gpu_bundle.sh PROGRAM FOLDER
#
# FOLDER/run there runs it, with the golden vectors of LOSSD_GOLDEN_DIR.
set -eu

program=$1
folder=$2
rm -rf "$folder"
mkdir -p "$folder/lib"
strip -o "$folder/$(basename "$program")" "$program"
ldd "$program" | awk '$3 ~ /^\// { print $3 }' |
  grep -Ev '/(libc|libm|libdl|libpthread)\.so' |
  xargs cp -t "$folder/lib"
cat >"$folder/run" <<EOF
#!/bin/sh
here=\$(dirname "\$0")
LD_LIBRARY_PATH="\$here/lib" exec "\$here/$(basename "$program")" "\$@"
EOF
chmod +x "$folder/run"
