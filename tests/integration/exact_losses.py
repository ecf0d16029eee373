# SPDX-License-Identifier: Apache-2.0
"""Losses by their plain formulas, at 60 digits.

The inputs are taken exactly as their dtype holds them. Everything is a list of
Decimal, flattened in row-major order; the reduction is the mean.
"""

import dataclasses
import decimal
import math
import struct

decimal.getcontext().prec = 60
D = decimal.Decimal

# Bits of the significand, and the least exponent of a normal number.
_FORMATS = {"float32": (24, -126), "float64": (53, -1022)}


@dataclasses.dataclass(frozen=True)
class Exact:
    """What an evaluation comes to."""

    loss: D
    elementwise: list
    gradient: list  # Of the mean, with respect to input.


def flatten(nested):
    if isinstance(nested, list):
        return [leaf for part in nested for leaf in flatten(part)]
    return [nested]


def held(values, dtype):
    """The numbers that the dtype holds for these, exactly."""
    if dtype == "float32":
        values = [struct.unpack("<f", struct.pack("<f", v))[0] for v in values]
    return [D(value) for value in values]


def ulps(value, exact, dtype):
    """How far a float is from the exact value, in units of the last place."""
    digits, least = _FORMATS[dtype]
    if not math.isfinite(value):
        return math.inf
    exponent = math.frexp(float(exact))[1] - 1 if exact else least
    ulp = D(2) ** (max(exponent, least) - digits + 1)
    return float(abs(D(value) - exact) / ulp)


def _clamped_log(x):
    return max(x.ln(), D(-100)) if x > 0 else D(-100)


def _binary_cross_entropy(inputs, targets, _):
    losses = [
        -(t * _clamped_log(p) + (1 - t) * _clamped_log(1 - p))
        for p, t in zip(inputs, targets)
    ]
    slopes = [(p - t) / (p * (1 - p)) for p, t in zip(inputs, targets)]
    return losses, slopes


def _binary_cross_entropy_with_logits(inputs, targets, _):
    losses = [(1 + x.exp()).ln() - t * x for x, t in zip(inputs, targets)]
    slopes = [1 / (1 + (-x).exp()) - t for x, t in zip(inputs, targets)]
    return losses, slopes


def _rows(inputs, classes):
    return [inputs[i : i + classes] for i in range(0, len(inputs), classes)]


def _cross_entropy(inputs, targets, classes):
    losses, slopes = [], []
    for row, target in zip(_rows(inputs, classes), map(int, targets)):
        exponentials = [x.exp() for x in row]
        total = sum(exponentials)
        losses.append(total.ln() - row[target])
        slopes += [
            e / total - (index == target) for index, e in enumerate(exponentials)
        ]
    return losses, slopes


def _nll_loss(inputs, targets, classes):
    losses, slopes = [], []
    for row, target in zip(_rows(inputs, classes), map(int, targets)):
        losses.append(-row[target])
        slopes += [D(-(index == target)) for index in range(classes)]
    return losses, slopes


FORMULAS = {
    "binary_cross_entropy": _binary_cross_entropy,
    "binary_cross_entropy_with_logits": _binary_cross_entropy_with_logits,
    "cross_entropy": _cross_entropy,
    "nll_loss": _nll_loss,
}


def evaluate(loss, inputs, targets):
    """The loss of two tensors, each {"dtype", "shape", "values"}."""
    losses, slopes = FORMULAS[loss](
        held(flatten(inputs["values"]), inputs["dtype"]),
        held(flatten(targets["values"]), targets["dtype"]),
        inputs["shape"][-1],
    )
    count = len(losses)
    return Exact(sum(losses) / count, losses, [slope / count for slope in slopes])
