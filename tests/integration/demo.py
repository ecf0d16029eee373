#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Computes every worked example with lossd, beside PyTorch's numbers.

Each example goes through lossctl to a lossd of its own. Its loss, elementwise
losses and gradient must equal PyTorch's at four decimals; the loss must be
within 2 ulp of the exact value and the gradient within 4. Examples that PyTorch
rejects must be rejected. The exit status is 1 if anything is otherwise.
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys

import exact_losses
import lossd_process

EXAMPLES = pathlib.Path(__file__).with_name("worked_examples.json")
LOSS_ULPS = 2
GRADIENT_ULPS = 4

# What lossd says of the examples that PyTorch rejects.
REJECTIONS = {
    "binary_cross_entropy_with_logits": "target has dtype int64",
    "cross_entropy": "is outside [0, 1)",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One example of the table. `problems` is empty if it came out right."""

    cells: tuple
    rejected: str | None  # lossd's error, of an example to be rejected.
    problems: tuple


def command(lossctl, server, example):
    """The call of lossctl that computes an example."""
    tensors = {"input": example["input"], "target": example["target"]}
    arguments = [lossctl, "grad", example["loss"]]
    for name, tensor in tensors.items():
        arguments += [f"--{name}", json.dumps(tensor["values"])]
    arguments += ["--dtype", tensors["input"]["dtype"]]
    if "error" in example["expect"]:
        # Else lossctl takes the dtype that the loss needs.
        arguments += ["--target-dtype", tensors["target"]["dtype"]]
    return arguments + [
        "--outputs", "loss,elementwise_losses,gradients",
        "--json",
        "--server", server,
    ]  # fmt: skip


def decimals(nested):
    """Every number at four decimals; minus zero is zero."""
    return [f"{number:.4f}".replace("-0.0000", "0.0000") for number in nested]


def equal_at_four_decimals(ours, theirs):
    """Whether no pair differs by half of the fourth decimal or more.

    Printed digits can still differ, where PyTorch's number ends in a 5.
    """
    pairs = zip(ours, theirs, strict=True)
    return all(abs(a - b) < 0.5e-4 for a, b in pairs)


def check_computed(example, answer):
    """The row of an example that lossd computed."""
    expect, dtype = example["expect"], example["input"]["dtype"]
    exact = exact_losses.evaluate(
        example["loss"], example["input"], example["target"]
    )
    gradient = exact_losses.flatten(answer["gradients"]["input"])
    pairs = {
        "loss": ([answer["loss"]], [expect["loss"]]),
        "elementwise losses": (
            exact_losses.flatten(answer["elementwise_losses"]),
            exact_losses.flatten(expect["elementwise"]),
        ),
        "gradient": (gradient, exact_losses.flatten(expect["gradient"])),
    }
    problems = [
        f"the {what} differ at four decimals: {decimals(ours)}, PyTorch "
        f"{decimals(theirs)}"
        for what, (ours, theirs) in pairs.items()
        if not equal_at_four_decimals(ours, theirs)
    ]
    equal = "no" if problems else "yes"
    loss_ulps = exact_losses.ulps(answer["loss"], exact.loss, dtype)
    gradient_ulps = max(
        exact_losses.ulps(ours, wanted, dtype)
        for ours, wanted in zip(gradient, exact.gradient, strict=True)
    )
    if not loss_ulps <= LOSS_ULPS:
        problems.append(f"the loss is {loss_ulps:.2f} ulp from {exact.loss:.20f}")
    if not gradient_ulps <= GRADIENT_ULPS:
        problems.append(f"the gradient is {gradient_ulps:.2f} ulp from exact")
    cells = (
        f"{answer['loss']:.10f}", f"{expect['loss']:.10f}", equal,
        f"{loss_ulps:.2f}", f"{gradient_ulps:.2f}",
    )  # fmt: skip
    return Row(cells, None, tuple(problems))


def run_example(lossctl, server, example):
    done = subprocess.run(
        command(lossctl, server, example),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    error = (done.stderr.strip() or done.stdout.strip()) if done.returncode else ""
    if "error" in example["expect"]:
        problems = []
        if REJECTIONS[example["loss"]] not in error:
            problems.append(
                f"it is to be rejected with {REJECTIONS[example['loss']]!r}, but "
                f"lossctl left {done.returncode}: {error or done.stdout.strip()}"
            )
        return Row(("rejected", "rejected", "", "", ""), error, tuple(problems))
    if done.returncode:
        problem = f"lossctl left {done.returncode}: {error}"
        return Row(("failed", "", "no", "", ""), None, (problem,))
    return check_computed(example, json.loads(done.stdout))


def print_table(examples, rows):
    head = ("example", "loss", "lossd", "PyTorch", "equal", "ulp", "gradient ulp")
    lines = [
        (example["name"], f"{example['loss']} ({example['input']['dtype']})", *row.cells)
        for example, row in zip(examples, rows)
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines)]
    for line in (head, tuple("-" * width for width in widths), *lines):
        texts = [cell.ljust(width) for cell, width in zip(line[:2], widths)]
        numbers = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:])]
        print("  ".join(texts + numbers).rstrip())
    for example, row in zip(examples, rows):
        if row.rejected is not None:
            print(f"\n{example['name']}")
            print(f"  PyTorch: {example['expect']['pytorch_message']}")
            print("  lossd:   " + row.rejected.replace("\n", "\n" + " " * 11))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lossd", required=True, help="the server's binary")
    parser.add_argument("--lossctl", required=True, help="the client's binary")
    arguments = parser.parse_args()
    examples = json.loads(EXAMPLES.read_text())["examples"]
    with lossd_process.Lossd(arguments.lossd) as server:
        rows = [
            run_example(arguments.lossctl, server.listen, example)
            for example in examples
        ]
    print_table(examples, rows)
    print()
    wrong = [(e["name"], row) for e, row in zip(examples, rows) if row.problems]
    for name, row in wrong:
        for problem in row.problems:
            print(f"WRONG: {name}: {problem}")
    good = [row for row in rows if not row.problems]
    rejected = sum(row.rejected is not None for row in good)
    summary = (
        f"{len(rows)} examples: {len(good) - rejected} equal, {rejected} rejected "
        "as they should be"
    )
    print(summary + (f", {len(wrong)} wrong" if wrong else ""))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
