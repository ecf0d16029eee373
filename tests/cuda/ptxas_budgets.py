# SPDX-License-Identifier: Apache-2.0
"""What the kernels use on an architecture, and whether that is within budget.

    ptxas_budgets.py NVCC ROOT SOURCE_DIR ARCHITECTURE...

compiles every SOURCE_DIR/*.cu, prints a table, and ends with 1 if a kernel
spills registers, or uses more registers, shared memory or stack than it may.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

FLAGS = ["-std=c++20", "--expt-relaxed-constexpr", "-fmad=false", "-ftz=false",
         "-prec-div=true", "-prec-sqrt=true", "-Xptxas", "-v"]
# By the end of a kernel's name: registers of a thread, bytes of shared memory of
# a block, bytes of stack of a thread. 128 registers let 2 blocks of 256 threads
# or 4 of 128 stay on a multiprocessor.
BUDGETS = [
    (re.compile(r"_class_(warp|team)_\w+$"), (128, 512, 0)),
    (re.compile(r"_(warp|block)_(float|double)$"), (255, 1024, 1024)),
]
_KERNEL = re.compile(r"Function properties for (\w+)")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, "
                     r"(\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")


def usage(nvcc, root, source, architecture):
    """{kernel: (registers, shared, stack, spilled)} of one source."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [nvcc, "-cubin", f"-arch=sm_{architecture}", *FLAGS, "-I", root,
             "-o", f"{folder}/out.cubin", source],
            capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    found, kernel, stack, spilled = {}, None, 0, 0
    for line in done.stderr.splitlines():
        if match := _KERNEL.search(line):
            kernel = match.group(1)
        elif match := _SPILLS.search(line):
            stack, stores, loads = map(int, match.groups())
            spilled = stores + loads
        elif (match := _USED.search(line)) and kernel is not None:
            shared = int(match.group(2) or 0)
            found[kernel] = (int(match.group(1)), shared, stack, spilled)
            kernel = None
    return found


def faults(kernel, used):
    """What is beyond the kernel's budget, as words."""
    registers, shared, stack, spilled = used
    for name, (most_registers, most_shared, most_stack) in BUDGETS:
        if name.search(kernel):
            break
    else:
        return ["no budget"]
    beyond = [("registers", registers, most_registers),
              ("shared", shared, most_shared), ("stack", stack, most_stack),
              ("spilled", spilled, 0)]
    return [f"{what} > {most}" for what, is_, most in beyond if is_ > most]


def main(nvcc, root, source_dir, *architectures):
    bad = 0
    print("| kernel | sm | registers | shared | stack | spilled |")
    print("|---|---|---|---|---|---|")
    for architecture in architectures:
        for source in sorted(pathlib.Path(source_dir).glob("*.cu")):
            for kernel, used in usage(nvcc, root, source, architecture).items():
                wrong = faults(kernel, used)
                bad += bool(wrong)
                if used[0] > 8 or wrong:  # else it does nothing
                    cells = " | ".join(map(str, used))
                    print(f"| {kernel} | {architecture} | {cells} | "
                          f"{', '.join(wrong)}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
