# SPDX-License-Identifier: Apache-2.0
"""Tables and numbers of docs/benchmarks.md."""

import spread


def table(header, rows):
    """The first column is text, the others are numbers."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread_text(s):
    return f"{number(s.median)} ({number(s.least)}–{number(s.most)})"


def milliseconds(seconds):
    return spread_text(spread.of(value * 1000 for value in seconds))


def mebibytes(count):
    return f"{number(count / 2**20)} MiB"
