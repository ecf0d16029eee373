# SPDX-License-Identifier: Apache-2.0
"""How many instructions the kernels take for an element, and the way of a small
request to its answer takes without gRPC: a guard against what is slow that needs
no clock.

    instruction_counts.py KERNEL_RUNNER REQUEST_RUNNER

Counts with callgrind, on the AVX2 kernels, since valgrind knows no AVX-512.
Without valgrind it exits with 77, or fails if LOSSD_REQUIRE_TOOLS is 1."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
# Instructions for an element, at most: what they take, and a tenth for another
# compiler. A kernel that reads its tensors once more takes at least 0.25 more,
# and a scalar loop several.
LIMITS = {
    ("cross_entropy", "forward"): 7.9,
    ("cross_entropy", "gradient"): 9.2,
    ("binary_cross_entropy_with_logits", "forward"): 9.9,
    ("binary_cross_entropy_with_logits", "gradient"): 14.5,
    ("mse_loss", "forward"): 2.1,
    ("mse_loss", "gradient"): 4.1,
}


# Instructions for a request of 4x10 logits and its gradient, at most.
REQUEST_LIMIT = 25500


def count(function, command, folder):
    """Instructions in a function, divided by what the command prints: elements
    or requests; None if the CPU that valgrind shows has no AVX2."""
    done = subprocess.run(
        [
            "valgrind",
            "--tool=callgrind",
            f"--toggle-collect={function}",
            f"--callgrind-out-file={folder}/callgrind.out",
            *command,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=50,
        check=False,
    )
    if done.returncode == SKIPPED:
        return None
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None or int(found[1]) == 0:
        raise RuntimeError(f"{command}: {done.returncode}\n{done.stderr}")
    return int(found[1]) / int(done.stdout)


def main():
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed")
        return 1 if os.environ.get("LOSSD_REQUIRE_TOOLS") == "1" else SKIPPED
    kernel_runner, request_runner = sys.argv[1:]
    counted = [
        (f"{loss} {mode}", "lossd_measured_kernel", [kernel_runner, loss, mode], limit)
        for (loss, mode), limit in LIMITS.items()
    ]
    counted.append(
        ("a request", "lossd_measured_request", [request_runner], REQUEST_LIMIT)
    )
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name, function, command, limit in counted:
            taken = count(function, command, folder)
            if taken is None:
                print("skipped: this CPU has no AVX2 under valgrind")
                return SKIPPED
            verdict = "ok" if taken <= limit else "TOO MANY"
            print(f"{name}: {taken:.2f} of at most {limit:.2f}: {verdict}")
            failed |= taken > limit
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
