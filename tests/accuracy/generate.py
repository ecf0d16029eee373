# SPDX-License-Identifier: Apache-2.0
"""Generates and checks the accuracy vectors of lossd.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python generate.py              # writes vectors/<loss>.jsonl
    venv/bin/python generate.py mse_loss     # writes the named losses only
    venv/bin/python generate.py --check      # writes nothing; exit status 0 when the files are what would be written

The first line of a file says what the inputs are. PyTorch's figures are those of this machine; --check leaves them out
of the comparison, as its vectorised functions may differ in the last bit between instruction sets.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cases import inputs, row_inputs
from cases.dtypes import ALL, Floating
from cases.vectors import Case, encode_case

DIRECTORY = Path(__file__).resolve().parent / "vectors"
MAXIMUM_TOTAL_BYTES = 3_000_000
RANGES = inputs.RANGES | row_inputs.RANGES
LOSSES: dict[str, tuple[Callable[[Floating], list[Case]], str]] = dict(sorted(RANGES.items()))


def lines_of(loss: str) -> list[dict[str, Any]]:
    """The lines of one loss."""
    build, ranges = LOSSES[loss]
    cases = [case for dtype in ALL for case in build(dtype)]
    if len({case.name for case in cases}) != len(cases):
        raise AssertionError(f"{loss}: two cases have one name")
    return [{"loss": loss, "ranges": ranges}, *map(encode_case, cases)]


def without_figures(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines without PyTorch's answers."""
    return [{key: value for key, value in line.items() if key != "pytorch"} for line in lines]


def main() -> int:
    """Writes, or with --check compares."""
    parser = argparse.ArgumentParser(description="Accuracy vectors of lossd")
    parser.add_argument("losses", nargs="*", metavar="loss", help="losses to write; all when absent")
    parser.add_argument("--check", action="store_true", help="compare with the files that exist")
    arguments = parser.parse_args()
    unknown = set(arguments.losses) - set(LOSSES)
    if unknown:
        parser.error(f"unknown losses {sorted(unknown)}; there are {list(LOSSES)}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    stale = []
    for loss in arguments.losses or LOSSES:
        lines, path = lines_of(loss), DIRECTORY / f"{loss}.jsonl"
        text = "".join(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
        if not arguments.check:
            path.write_text(text, encoding="ascii")
        elif without_figures(lines) != without_figures([json.loads(x) for x in path.read_text("ascii").splitlines()]):
            stale.append(loss)
        print(f"{loss}: {len(lines) - 1} cases, {len(text)} bytes", flush=True)
    total = sum(path.stat().st_size for path in DIRECTORY.glob("*.jsonl"))
    print(f"total: {total} bytes")
    if stale or total >= MAXIMUM_TOTAL_BYTES:
        print(f"stale: {stale}" if stale else f"more than {MAXIMUM_TOTAL_BYTES} bytes")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
