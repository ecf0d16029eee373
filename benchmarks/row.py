# SPDX-License-Identifier: Apache-2.0
"""Rows of the table "What to reach": each has a target beside what was
measured."""

import dataclasses

import markdown


@dataclasses.dataclass(frozen=True)
class Row:
    work: str
    target: str
    measured: str
    reached: bool | None  # None if it was not measured.

    def cells(self):
        verdict = {True: "yes", False: "**no**", None: ""}[self.reached]
        return [self.work, self.target, self.measured, verdict]


def at_least(work, what, target, ratio):
    """A ratio (a Spread) whose median must reach the target."""
    return Row(
        work,
        f"at least {target:g} × {what}",
        markdown.spread_text(ratio),
        ratio.median >= target,
    )


def under(work, what, target, ratio):
    return Row(
        work,
        f"under {target:g} × {what}",
        markdown.spread_text(ratio),
        ratio.median < target,
    )


def missing(work, target, why):
    return Row(work, target, f"not measured: {why}", None)
