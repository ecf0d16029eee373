# SPDX-License-Identifier: Apache-2.0
"""The kernels in process against torch on the same cores."""

import os
import pathlib

import kernels
import markdown
import peers
import row
import spread

NAME = "torch"
ROOT = pathlib.Path(__file__).resolve().parents[1]
ABSENT = "no Python with torch was given"

# At least these many times as fast as eager and as torch.compile.
TARGETS = {
    ("cross_entropy", "forward"): {"eager": 10, "compile": 3},
    ("cross_entropy", "gradient"): {"eager": 13, "compile": 10},
    ("binary_cross_entropy_with_logits", "forward"): {"eager": 10, "compile": 3},
    ("binary_cross_entropy_with_logits", "gradient"): {"eager": 10, "compile": 5},
}
OTHERS_TARGET = 3
NAMES = {"eager": "eager", "compile": "torch.compile"}

_TEXT = """\
## Kernels against torch

In process, float32, {threads} threads on both sides. *lossd* is all that the
engine does for an evaluation (checks, kernel, fresh memory for the answer);
*its kernel* is the arithmetic alone, into memory that has been written before.
*gradient* is the loss and its gradients; for torch that is forward and
backward. Ratios are torch's time over lossd's.
"""


def find_python():
    """That of LOSSD_TORCH_PYTHON, else of .deps/torch, else of the peers."""
    given = os.environ.get("LOSSD_TORCH_PYTHON")
    if given:
        return given
    own = ROOT / ".deps" / "torch" / "bin" / "python"
    return str(own) if own.exists() else peers.find_python()


def measure(context):
    """(what torch says of itself, [(loss, shape, mode, seconds)]), or None."""
    python = find_python()
    if python is None:
        return None
    target = kernels.targets(context.binaries)[0]
    with kernels.Torch(python) as torch:
        results = kernels.against_torch(
            context.binaries,
            torch,
            target,
            context.rounds,
            context.kernel_seconds,
            context.say,
        )
        return torch.about, results


def _cells(loss, shape, mode, times):
    ratios = []
    for how in NAMES:
        if how in times:
            ratios += [
                markdown.milliseconds(times[how]),
                markdown.spread_text(spread.ratio(times[how], times["call"])),
            ]
        else:
            ratios += ["not measured", ""]
    return [
        f"{loss} {mode} [{shape.replace('x', ', ')}]",
        markdown.milliseconds(times["call"]),
        markdown.milliseconds(times["kernel"]),
        *ratios,
    ]


def section(results):
    text = _TEXT.format(threads=kernels.THREADS)
    if results is None:
        return f"{text}\nNot measured: {ABSENT}.\n"
    about, cases = results
    header = ["case", "lossd, ms", "its kernel, ms", "eager, ms", "ratio",
              "torch.compile, ms", "ratio"]  # fmt: skip
    table = markdown.table(header, [_cells(*case) for case in cases])
    note = (
        f"torch {about['version']}, {about['threads']} threads, CPU capability "
        f"{about['capability']}.\n"
    )
    return f"{text}\n{table}\n{note}"


def _named_rows(cases):
    measured = {(loss, mode): (shape, times) for loss, shape, mode, times in cases}
    for (loss, mode), targets in TARGETS.items():
        found = measured.get((loss, mode))
        for how, target in targets.items():
            if found is None or how not in found[1]:
                work = f"{loss} {mode}"
                yield row.missing(work, f"at least {target:g} × {NAMES[how]}", ABSENT)
                continue
            shape, times = found
            yield row.at_least(
                f"{loss} {mode} [{shape.replace('x', ', ')}], in process",
                NAMES[how],
                target,
                spread.ratio(times[how], times["call"]),
            )


def _others_row(cases):
    """The other losses' least ratio of loss and gradient."""
    work = "any other loss of torch.nn, 1 M elements, forward and gradient"
    named = {loss for loss, _ in TARGETS}
    ratios = [
        (spread.ratio(times["eager"], times["call"]), loss)
        for loss, _, mode, times in cases
        if mode == "gradient" and loss not in named
    ]
    if not ratios:
        return row.missing(work, f"at least {OTHERS_TARGET} × eager", ABSENT)
    ratios.sort(key=lambda entry: entry[0].median)
    worst, loss = ratios[0]
    below = sum(ratio.median < OTHERS_TARGET for ratio, _ in ratios)
    return row.Row(
        work,
        f"at least {OTHERS_TARGET} × eager",
        f"worst, {loss}: {markdown.spread_text(worst)}; "
        f"{len(ratios) - below} of {len(ratios)} reach it",
        below == 0,
    )


def rows(results):
    cases = results[1] if results is not None else []
    return [*_named_rows(cases), _others_row(cases)]
