# SPDX-License-Identifier: Apache-2.0
"""The elementwise losses and their gradients, term by term, in mpmath.

Each function takes one element of every tensor by name, and the parameters, and returns the terms of the loss and, by
tensor, the terms of its derivative. A value is the sum of its terms; the sum of their magnitudes is what rounding
errors are measured against. What has to be right to its own last place is a single term, however it is written.
Formulas are the textbook's, with no thought of cancellation: the precision is that of a few hundred digits.
"""

from typing import Any

from mpmath import mp, mpf

Terms = list[mpf]
Answer = tuple[Terms, dict[str, Any]]
Row = dict[str, Any]
Parameters = dict[str, Any]

# The float nearest to 1e-12, which PyTorch has in its sources.
TINY = mpf(float.fromhex("0x1.197998p-40"))


class Ambiguous(Exception):
    """A row whose branch depends on the last place: it says nothing about accuracy, and is left out."""


TOLERANCE = {"relative": mpf(0)}


def is_positive(terms: Terms) -> bool:
    """Whether the sum of terms is positive, where that is beyond the doubt of a rounding."""
    value, scale = sum(terms), sum(abs(term) for term in terms)
    if value != 0 and abs(value) <= TOLERANCE["relative"] * scale:
        raise Ambiguous
    return value > 0


def sign(x: mpf) -> int:
    """-1, 0 or 1."""
    return int(x > 0) - int(x < 0)


def sigmoid(x: mpf) -> mpf:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + mp.exp(-x))


def softplus(x: mpf) -> mpf:
    """log(1 + exp(x))."""
    return mp.log(1 + mp.exp(x))


def negated(terms: Terms) -> Terms:
    """The terms of the negative."""
    return [-term for term in terms]


def l1_loss(row: Row, _: Parameters) -> Answer:
    """w |x - t|."""
    difference, w = row["input"] - row["target"], row.get("weight", mpf(1))
    slope = [w * sign(difference)]
    return [w * abs(difference)], {"input": slope, "target": negated(slope), "weight": [abs(difference)]}


def mse_loss(row: Row, _: Parameters) -> Answer:
    """w (x - t)^2."""
    difference, w = row["input"] - row["target"], row.get("weight", mpf(1))
    slope = [2 * w * difference]
    return [w * difference**2], {"input": slope, "target": negated(slope), "weight": [difference**2]}


def huber_loss(row: Row, parameters: Parameters) -> Answer:
    """w r^2 / 2 below delta, w delta (r - delta / 2) from it on."""
    delta = mpf(parameters.get("delta", 1.0))
    difference, w = row["input"] - row["target"], row.get("weight", mpf(1))
    r = abs(difference)
    value = r**2 / 2 if r < delta else delta * (r - delta / 2)
    slope = [w * (difference if r < delta else delta * sign(difference))]
    return [w * value], {"input": slope, "target": negated(slope), "weight": [value]}


def smooth_l1_loss(row: Row, parameters: Parameters) -> Answer:
    """w r^2 / (2 beta) below beta, w (r - beta / 2) from it on."""
    beta = mpf(parameters.get("beta", 1.0))
    difference, w = row["input"] - row["target"], row.get("weight", mpf(1))
    r = abs(difference)
    value = r**2 / (2 * beta) if r < beta else r - beta / 2
    slope = [w * (difference / beta if r < beta else sign(difference))]
    return [w * value], {"input": slope, "target": negated(slope), "weight": [value]}


def binary_cross_entropy(row: Row, _: Parameters) -> Answer:
    """The logarithms are clamped at -100, the gradient's denominator at 1e-12; the target's gradient is not."""
    p, t, w = row["input"], row["target"], row.get("weight", mpf(1))
    log_p, log_q = mp.log(p), mp.log(1 - p)
    loss = [-w * t * max(log_p, mpf(-100)), -w * (1 - t) * max(log_q, mpf(-100))]
    slope = [w * (p - t) / max((1 - p) * p, TINY)]
    return loss, {"input": slope, "target": [w * log_q, -w * log_p]}


def binary_cross_entropy_with_logits(row: Row, _: Parameters) -> Answer:
    """w ((1 - t) softplus(x) + pw t softplus(-x))."""
    x, t, w = row["input"], row["target"], row.get("weight", mpf(1))
    pw = row.get("pos_weight", mpf(1))
    loss = [w * (1 - t) * softplus(x), w * pw * t * softplus(-x)]
    slope = [w * (1 - t) * sigmoid(x), -w * pw * t * sigmoid(-x)]
    of_target = [w * pw * softplus(-x), -w * softplus(x)] if pw != 1 else [-w * x]
    return loss, {"input": slope, "target": of_target}


def kl_div(row: Row, parameters: Parameters) -> Answer:
    """t log t - t x, or exp(t) (t - x)."""
    x, t = row["input"], row["target"]
    if parameters.get("log_target", False):
        e = mp.exp(t)
        return [e * t, -e * x], {"input": [-e], "target": [e * t, -e * x, e]}
    return [t * mp.log(t), -t * x], {"input": [-t], "target": [mp.log(t), mpf(1), -x]}


def poisson_nll_loss(row: Row, parameters: Parameters) -> Answer:
    """exp(x) - t x, or x - t log(x + eps); with `full` Stirling's terms where t > 1."""
    x, t = row["input"], row["target"]
    if parameters.get("log_input", True):
        loss, slope, of_target = [mp.exp(x), -t * x], [mp.exp(x), -t], [-x]
    else:
        rate = x + mpf(parameters.get("eps", 1e-8))
        loss, slope, of_target = [x, -t * mp.log(rate)], [mpf(1), -t / rate], [-mp.log(rate)]
    if parameters.get("full", False) and t > 1:
        loss = loss + [t * mp.log(t), -t, mp.log(2 * mp.pi * t) / 2]
        of_target = of_target + [mp.log(t), 1 / (2 * t)]
    return loss, {"input": slope, "target": of_target}


def gaussian_nll_loss(row: Row, parameters: Parameters) -> Answer:
    """(log v + (x - t)^2 / v) / 2 with v = max(var, eps); the variance's gradient is that at v."""
    v = max(row["var"], mpf(parameters.get("eps", 1e-6)))
    difference = row["input"] - row["target"]
    loss = [mp.log(v) / 2, difference**2 / (2 * v)]
    if parameters.get("full", False):
        loss.append(mp.log(2 * mp.pi) / 2)
    slope = [difference / v]
    return loss, {"input": slope, "target": negated(slope), "var": [1 / (2 * v), -(difference**2) / (2 * v**2)]}


def margin_ranking_loss(row: Row, parameters: Parameters) -> Answer:
    """max(0, -t (x1 - x2) + margin)."""
    t, difference = row["target"], row["input1"] - row["input2"]
    terms = [-t * difference, mpf(parameters.get("margin", 0.0))]
    if not is_positive(terms):
        return [mpf(0)], {"input1": [mpf(0)], "input2": [mpf(0)], "target": [mpf(0)]}
    return terms, {"input1": [-t], "input2": [t], "target": [-difference]}


def hinge_embedding_loss(row: Row, parameters: Parameters) -> Answer:
    """max(0, margin - x) unless t is 1, plus x unless t is -1."""
    x, t, margin = row["input"], row["target"], mpf(parameters.get("margin", 1.0))
    loss, slope = [], []
    if t != 1 and is_positive([margin, -x]):
        loss, slope = [margin, -x], [mpf(-1)]
    if t != -1:
        loss, slope = loss + [x], slope + [mpf(1)]
    return loss or [mpf(0)], {"input": slope or [mpf(0)]}


def soft_margin_loss(row: Row, _: Parameters) -> Answer:
    """log(1 + exp(-t x))."""
    x, t = row["input"], row["target"]
    return [softplus(-t * x)], {"input": [-t * sigmoid(-t * x)]}


ELEMENTWISE = {
    function.__name__: function
    for function in (
        l1_loss,
        mse_loss,
        huber_loss,
        smooth_l1_loss,
        binary_cross_entropy,
        binary_cross_entropy_with_logits,
        kl_div,
        poisson_nll_loss,
        gaussian_nll_loss,
        margin_ranking_loss,
        hinge_embedding_loss,
        soft_margin_loss,
    )
}
