# SPDX-License-Identifier: Apache-2.0
"""Medians of rounds, and how far the rounds are apart."""

import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Spread:
    median: float
    least: float
    most: float


def of(values):
    values = list(values)
    return Spread(statistics.median(values), min(values), max(values))


def ratio(numerators, denominators):
    """Of the pairs of one round each."""
    return of(a / b for a, b in zip(numerators, denominators, strict=True))
