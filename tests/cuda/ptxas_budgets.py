# SPDX-License-Identifier: Apache-2.0
"""What the kernels use on an architecture, and whether that is within budget.

    ptxas_budgets.py ARCHITECTURE DIRECTORY LOSS...

reads what ptxas has told of each loss, DIRECTORY/LOSS.ptxas, prints a table, and
ends with 1 if a kernel spills registers, or uses more registers, shared memory or
stack than it may. Without a DIRECTORY, for want of a compiler, it ends with 77,
or with 1 if LOSSD_REQUIRE_TOOLS is 1.
"""

import os
import pathlib
import re
import sys

SKIPPED = 77
# Of each kind of kernel: registers of a thread, bytes of shared memory of a block,
# bytes of stack of a thread. 128 registers let 2 blocks of 256 threads, or 4 of
# 128, stay on a multiprocessor, and 168 let 3 of 128. A row's operands are looked
# up by number, on the stack.
BUDGETS = {
    "elements as float": (128, 0, 0),
    "elements as double": (168, 0, 0),
    "rows of warps": (200, 0, 520),
    "rows of blocks": (208, 264, 520),
    "sequences": (208, 0, 0),
    "classes of warps": (104, 0, 0),
    "classes of blocks": (128, 192, 0),
}
# A kernel that its loss has no use for takes no more registers.
NOTHING = 10
_KERNEL = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\d+)'")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, "
                     r"(\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")


def usage(text, architecture):
    """{kernel: (registers, shared, stack, spilled)} on an architecture."""
    found, kernel, stack, spilled = {}, None, 0, 0
    for line in text.splitlines():
        if match := _KERNEL.search(line):
            kernel = match.group(1) if match.group(2) == architecture else None
        elif match := _SPILLS.search(line):
            stack, stores, loads = map(int, match.groups())
            spilled = stores + loads
        elif (match := _USED.search(line)) and kernel is not None:
            shared = int(match.group(2) or 0)
            found[kernel] = (int(match.group(1)), shared, stack, spilled)
            kernel = None
    return found


def kind_of(kernel, loss, used):
    """The kind of a kernel of `loss`, by what the loss's kernels use."""
    works = {name for name, (registers, *_) in used.items()
             if registers > NOTHING}
    group = kernel.removeprefix(f"lossd_{loss}_")
    if group.startswith("class_"):
        return "classes of " + ("warps" if "warp" in group else "blocks")
    if f"lossd_{loss}_block_double" not in works:
        return "elements as " + ("float" if "float" in group else "double")
    if f"lossd_{loss}_warp_double" not in works:
        return "sequences"
    return "rows of " + ("warps" if "warp" in group else "blocks")


def faults(kind, used):
    """What is beyond the budget of a kind of kernel, as words."""
    names = ("registers", "shared", "stack", "spilled")
    return [f"{name} > {most}"
            for name, is_, most in zip(names, used, (*BUDGETS[kind], 0))
            if is_ > most]


def main(architecture, directory, *losses):
    if not directory:
        print("skipped: nvcc was not found as the build was configured; "
              "./dev deps cuda installs it")
        return 1 if os.environ.get("LOSSD_REQUIRE_TOOLS") == "1" else SKIPPED
    bad, worst = 0, {}
    print("| kernel | sm | kind | registers | shared | stack | spilled |")
    print("|---|---|---|---|---|---|---|")
    for loss in losses:
        log = pathlib.Path(directory, f"{loss}.ptxas")
        used = usage(log.read_text(encoding="utf-8"), architecture)
        if not any(each[0] > NOTHING for each in used.values()):
            sys.exit(f"{log} tells of no kernel on sm_{architecture}")
        for kernel, each in used.items():
            if each[0] <= NOTHING:
                continue
            kind = kind_of(kernel, loss, used)
            wrong = faults(kind, each)
            bad += bool(wrong)
            worst[kind] = tuple(map(max, worst.get(kind, each), each))
            print(f"| {kernel} | {architecture} | {kind} | "
                  f"{' | '.join(map(str, each))} | {', '.join(wrong)}")
    for kind, each in sorted(worst.items()):
        print(f"| most | {architecture} | {kind} | "
              f"{' | '.join(map(str, each))} |")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
