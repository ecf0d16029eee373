# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md from what was measured."""

import markdown

_HEAD = """\
# Benchmarks

`./dev bench` measured what is below and wrote this page. What is compared runs
in one session and in turn (A B A B ...), in {rounds} rounds unless it says
otherwise. A figure is the median of the rounds; in brackets are the least and
the most. A ratio is taken within each round. Absolute times are those of one
machine; ratios are what to read.

To measure again:

```sh
./dev bench --peers   # installs torch, a Python gRPC server and Triton
./dev bench           # with what is there
```

`./dev bench --help` lists the options. Nothing else should run on the machine.
"""

_REACH = """\
## What to reach

{reached} of the {measured} rows measured are reached; {missing} are not measured.
[limits.md](limits.md) says what limits those that are not.
"""


def reach_section(rows):
    measured = [row for row in rows if row.reached is not None]
    text = _REACH.format(
        reached=sum(row.reached for row in measured),
        measured=len(measured),
        missing=len(rows) - len(measured),
    )
    header = ["work", "target", "measured", "reached"]
    return f"{text}\n{markdown.table(header, [row.cells() for row in rows])}"


def machine_section(facts):
    return "## Machine\n\n" + "".join(f"- {what}: {value}\n" for what, value in facts)


def page(rounds, sections):
    return "\n".join([_HEAD.format(rounds=rounds), *filter(None, sections)])
