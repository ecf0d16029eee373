#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes docs/losses.md, and the table of losses in README.md, from ListLosses.

A lossd of its own is asked through lossctl. With --check, which is the default,
the pages are compared with what the server says: a difference is printed, and
the exit status is 1. With --write they are written.
"""

import argparse
import difflib
import json
import pathlib
import subprocess
import sys

import lossd_process

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "losses.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- losses: begin -->\n", "<!-- losses: end -->\n"

INTRODUCTION = """\
# The losses

<!-- Made by tests/integration/losses_page.py --write from what ListLosses
answers. Do not edit. -->

Each loss is a message of [loss.proto](../proto/lossd/v1/loss.proto), named like
its field in `Evaluation` and, where PyTorch has it, like its function in
`torch.nn.functional`. `lossctl describe LOSS` shows the same on a terminal.

In shapes, N is the batch, C the classes, D the features, B the sequences and T
the tokens of one; `*` is any number of dimensions. Unless its row says
otherwise, a floating tensor has the dtype of the first tensor in its table. A
gradient is *default* where it is computed when `wrt` is empty, and *on request*
where `wrt` must name it.
"""

COMMON = """\
Common to all: the reductions are {reductions}, by default {default}.
`normalizer` replaces the denominator of the mean. NaN is outside every range of
values.
"""


def descriptors(lossd, lossctl):
    """What ListLosses answers: the descriptors, sorted by name."""
    with lossd_process.Lossd(lossd) as server:
        done = subprocess.run(
            [lossctl, "losses", "--json", "--server", server.listen],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"lossctl left {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)["losses"]


def escape(text):
    """Text for a cell of a table, in which nothing is markup."""
    for character in "\\|*_<>[]`":
        text = text.replace(character, "\\" + character)
    return text


def code(text):
    return f"`{text}`"


def row(cells):
    return "| " + " | ".join(cells) + " |\n"


def table(head, rows):
    return row(head) + row(["---"] * len(head)) + "".join(map(row, rows))


def listed(names):
    """`a`, `b` and `c`."""
    names = [code(name.lower()) for name in names]
    return ", ".join(names[:-1]) + " and " + names[-1] if names[1:] else names[0]


def domain(tensor):
    low, high = (tensor.get(bound) for bound in ("minimum", "maximum"))
    if low is None and high is None:
        return "any"
    parts = [("at least", low), ("at most", high)]
    if low is not None and high is not None:
        return f"\\[{low}, {high}\\]"
    return " ".join(f"{what} {bound}" for what, bound in parts if bound is not None)


def gradient(tensor):
    if not tensor.get("differentiable"):
        return ""
    return "default" if tensor.get("default_wrt") else "on request"


def dtypes(tensor):
    return ", ".join(name.lower() for name in tensor["dtypes"])


def tensor_table(loss):
    head = ["tensor", "what", "shape", "dtypes", "required", "gradient", "values"]
    return table(head, [
        [
            code(tensor["name"]),
            escape(tensor["description"]),
            escape(tensor["shape_rule"]),
            dtypes(tensor),
            "yes" if tensor.get("required") else "",
            gradient(tensor),
            domain(tensor),
        ]
        for tensor in loss["tensors"]
    ])  # fmt: skip


def parameter_row(parameter):
    default = parameter.get("default_value")
    choices = parameter.get("choices", [])
    return [
        code(parameter["name"]),
        parameter["type"].lower(),
        code(default) if default else "off",
        ", ".join(map(code, choices)) or escape(parameter["range"]),
        escape(parameter["description"]),
    ]


def parameter_table(loss):
    parameters = loss.get("parameters", [])
    if not parameters:
        return "It has no parameters.\n"
    head = ["parameter", "type", "default", "range", "what"]
    return table(head, map(parameter_row, parameters))


def metric_table(loss):
    metrics = loss.get("metrics", [])
    if not metrics:
        return ""
    return "\n" + table(
        ["metric", "what"],
        [[code(metric["name"]), escape(metric["description"])] for metric in metrics],
    )


def section(loss, shared):
    """One loss: what it is, its tables, and where it differs from PyTorch."""
    facts = [
        ("One elementwise loss", code(loss["formula"])),
        ("Denominator of the mean", escape(loss["denominator"])),
        *(
            ("Besides, the reduction", code(name.lower()))
            for name in loss["reductions"]
            if name not in shared
        ),
        ("Outputs", ", ".join(code(name.lower()) for name in loss["outputs"])),
        ("Cost", escape(loss["cost_rule"])),
        ("Source", escape(loss["source"])),
    ]
    text = f"## {loss['name']}\n\n{escape(loss['summary'])}\n\n"
    text += "".join(f"- {name}: {value}\n" for name, value in facts)
    text += "\n" + tensor_table(loss) + "\n" + parameter_table(loss)
    text += metric_table(loss)
    differences = loss.get("differences", [])
    if differences:
        text += "\nDifferences from PyTorch:\n\n"
        text += "".join(f"- {escape(difference)}\n" for difference in differences)
    return text


def shared_reductions(losses):
    """The reductions that every loss has, in the order of the first loss."""
    return [
        name
        for name in losses[0]["reductions"]
        if all(name in loss["reductions"] for loss in losses)
    ]


def common(losses):
    """What all losses share; an error if they do not."""
    defaults = {loss["default_reduction"] for loss in losses}
    if len(defaults) != 1:
        raise SystemExit(f"the losses differ in their default reduction: {defaults}")
    (default,) = defaults
    reductions = shared_reductions(losses)
    return COMMON.format(reductions=listed(reductions), default=code(default.lower()))


def overview(losses, page=""):
    """A row for each loss, that links to its section of the page."""
    return table(["loss", "what it is"], [
        [f"[{code(loss['name'])}]({page}#{loss['name']})", escape(loss["summary"])]
        for loss in losses
    ])  # fmt: skip


def render_page(losses):
    shared = shared_reductions(losses)
    parts = [INTRODUCTION, common(losses), overview(losses)]
    parts += [section(loss, shared) for loss in losses]
    return "\n".join(parts)


def render_readme(losses):
    """The README with its table of losses as it should be."""
    text = README.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"README.md needs the lines {BEGIN.strip()} and {END.strip()}")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return before + BEGIN + "\n" + overview(losses, "docs/losses.md") + "\n" + END + after


def differences(path, wanted):
    """The lines in which a file is not what it should be."""
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    name = path.relative_to(ROOT).as_posix()
    return list(difflib.unified_diff(
        found.splitlines(keepends=True), wanted.splitlines(keepends=True),
        fromfile=name, tofile=f"{name} by ListLosses",
    ))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lossd", required=True, help="the server's binary")
    parser.add_argument("--lossctl", required=True, help="the client's binary")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="compare the pages")
    action.add_argument("--write", action="store_true", help="write the pages")
    arguments = parser.parse_args()
    losses = descriptors(arguments.lossd, arguments.lossctl)
    pages = {PAGE: render_page(losses), README: render_readme(losses)}
    wrong = []
    for path, wanted in pages.items():
        if arguments.write:
            path.write_text(wanted, encoding="utf-8")
        else:
            wrong += differences(path, wanted)
    sys.stdout.writelines(wrong)
    if wrong:
        print("\nWrite the pages anew: tests/integration/losses_page.py --write "
              "--lossd build/bin/lossd --lossctl build/bin/lossctl")  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
