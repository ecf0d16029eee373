#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints how many evaluations the kernels have computed on fibers, by loss and
dtype, as the table of docs/cuda.md: runs the tests below FOLDER, which must pass.

usage: count_cases.py build/tests
"""

import collections
import os
import pathlib
import subprocess
import sys
import tempfile

DTYPES = ["float16", "bfloat16", "float32", "float64"]
# What the evaluations of a test are: golden vectors, random ones beside the CPU,
# or of the suites that the CPU has too.
KINDS = [
    ["golden_simt_test"],
    ["simt_test"],
    ["simt_finite_difference_test", "simt_parameter_test",
     "simt_identity_test", "simt_every_loss_test", "simt_engine_test",
     "simt_accuracy_test"],
]


def count(program):
    """The evaluations of a test, by loss and dtype."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = pathlib.Path(folder, "jobs")
        environment = os.environ | {"LOSSD_SIMT_JOBS": str(jobs)}
        # The page of accuracies is the CPU's; SimtBitsTest computes again what
        # is counted already.
        subprocess.run([program,
                        "--gtest_filter=-AccuracyPageTest.*:SimtBitsTest.*"],
                       check=True, env=environment, stdout=subprocess.DEVNULL)
        return collections.Counter(
            tuple(line.split()) for line in jobs.read_text().splitlines())


def main():
    folder = pathlib.Path(sys.argv[1])
    counts = [sum((count(folder / name) for name in kind),
                  collections.Counter()) for kind in KINDS]
    losses = sorted({loss for each in counts for loss, _ in each})
    print("| loss | " + " | ".join(DTYPES) + " |")
    print("|---" * (len(DTYPES) + 1) + "|")
    for loss in losses:
        cells = [" + ".join(str(each[loss, dtype]) for each in counts)
                 for dtype in DTYPES]
        print(f"| {loss} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
