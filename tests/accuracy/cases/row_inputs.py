# SPDX-License-Identifier: Apache-2.0
"""The inputs of the losses of rows; see inputs.py."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cases.dtypes import FLOAT16, Floating
from cases.inputs import Arrays, Make, case_of, last_places, powers, signs, with_reductions
from cases.vectors import Case

TRIPLET = ("anchor", "positive", "negative")
REDUCED_ROWS = 40


def class_rows(classes: int, deviation: float, right: bool) -> Make:
    """Normal logits; the target is the largest, or any."""

    def make(rng: np.random.Generator, n: int, _: Floating) -> Arrays:
        x = rng.normal(size=(n, classes)) * deviation
        y = x.argmax(1) if right else rng.integers(0, classes, n)
        return {"input": x, "target": y.astype(np.int64)}

    return make


def nll_cases(dtype: Floating) -> list[Case]:
    """Log-probabilities, with weights of the classes."""

    def make(rng: np.random.Generator, n: int, of: Floating) -> Arrays:
        """Rows of four classes."""
        x = -powers(rng, (n, 4), max(of.least, -60), 6)
        return {"input": x, "target": rng.integers(0, 4, n), "weight": powers(rng, 4, -6, 3)}

    return with_reductions([case_of("nll_loss", "weight", dtype, make, count=REDUCED_ROWS)])


def soft_rows(rng: np.random.Generator, n: int, _: Floating) -> Arrays:
    """Logits with probabilities: spread, and nearly all on one class."""
    x = rng.normal(size=(n, 6)) * 4
    spread = rng.dirichlet(np.ones(6), n)
    sure = np.eye(6)[x.argmax(1)] * 0.99 + spread * 0.01
    return {"input": x, "target": np.where(rng.random((n, 1)) < 0.5, spread, sure), "weight": powers(rng, 6, -3, 3)}


def cross_entropy_cases(dtype: Floating) -> list[Case]:
    """Few and many classes, confident and not; smoothing, weights and probabilities."""
    loss, cases = "cross_entropy", []
    for classes, count in ((2, 24), (10, 16), (1000, 1)):
        for deviation in (1, 10, 50):
            for right in (True, False):
                group = f"{classes}_sd_{deviation}_{'right' if right else 'any'}"
                make = class_rows(classes, deviation, right)
                cases.append(case_of(loss, group, dtype, make, count=count, sampled=classes == 1000))
    if dtype.digits <= 24:
        many = 2 if dtype.digits == 24 else 1
        cases.append(case_of(loss, "32000_sd_10_right", dtype, class_rows(32000, 10, True), count=many, sampled=True))

    def weighted(rng: np.random.Generator, n: int, of: Floating) -> Arrays:
        """Class indices with weights of the classes."""
        return class_rows(6, 4, False)(rng, n, of) | {"weight": powers(rng, 6, -3, 3)}

    smooth, wrt = {"label_smoothing": 0.1}, ("input", "target", "weight")
    weights = case_of(loss, "weight", dtype, weighted, count=16)
    cases += [
        case_of(loss, "smoothing", dtype, weighted, count=12, parameters=smooth),
        case_of(loss, "probabilities", dtype, soft_rows, count=16, wrt=wrt),
        case_of(loss, "probabilities_smoothing", dtype, soft_rows, count=8, wrt=wrt, parameters=smooth),
    ]
    ten = case_of(loss, "10_sd_10_right", dtype, class_rows(10, 10, True), count=16)
    return cases + with_reductions([weights]) + with_reductions([ten])[1:]


def multilabel_margin_cases(dtype: Floating) -> list[Case]:
    """Rows of eight classes with up to three targets, apart and close together."""

    def make(deviation: float) -> Make:
        """Rows of that deviation."""

        def draw(rng: np.random.Generator, n: int, _: Floating) -> Arrays:
            """Targets end at the first -1."""
            target = np.full((n, 8), -1, dtype=np.int64)
            for row in target:
                count = rng.integers(0, 4)
                row[:count] = rng.choice(8, count, replace=False)
            return {"input": rng.normal(size=(n, 8)) * deviation, "target": target}

        return draw

    loss = "multilabel_margin_loss"
    cases = [case_of(loss, f"sd_{sd}", dtype, make(sd), count=20) for sd in (0.1, 1, 30)]
    return with_reductions(cases[1:] + cases[:1])


def multi_margin_cases(dtype: Floating) -> list[Case]:
    """Rows of eight classes, powers 1 and 2, weights, scores at about the margin."""

    def make(margin: float) -> Make:
        """Half the other scores are about the margin below the target's."""

        def draw(rng: np.random.Generator, n: int, _: Floating) -> Arrays:
            """Scores, targets and weights."""
            x, y = rng.normal(size=(n, 8)) * 2, rng.integers(0, 8, n)
            about = np.take_along_axis(x, y[:, None], 1) - margin * (1 + last_places(rng, (n, 8), FLOAT16))
            keep = (rng.random((n, 8)) < 0.5) | (np.arange(8) == y[:, None])
            return {"input": np.where(keep, x, about), "target": y, "weight": powers(rng, 8, -3, 3)}

        return draw

    loss, cases = "multi_margin_loss", []
    for p in (1, 2):
        for margin in (1.0, 0.3):
            parameters: dict[str, Any] = ({"p": p} if p != 1 else {}) | ({"margin": margin} if margin != 1 else {})
            cases.append(case_of(loss, f"p{p}_margin_{margin}", dtype, make(margin), count=16, parameters=parameters))
    return with_reductions(cases)


def multilabel_soft_margin_cases(dtype: Floating) -> list[Case]:
    """Rows of six classes, logits within 20 and 80, hard and soft targets, weights."""

    def make(limit: float, soft: bool, weight: bool) -> Make:
        """Rows with those targets."""

        def draw(rng: np.random.Generator, n: int, _: Floating) -> Arrays:
            """Half the rows are right in every class."""
            x = rng.uniform(-limit, limit, (n, 6))
            right = (x > 0).astype(np.float64)
            hard = np.where(rng.random((n, 1)) < 0.5, right, rng.integers(0, 2, (n, 6)))
            rows = {"input": x, "target": rng.random((n, 6)) if soft else hard}
            return rows | ({"weight": powers(rng, 6, -3, 3)} if weight else {})

        return draw

    loss, wrt = "multilabel_soft_margin_loss", ("input", "target")
    cases = [
        case_of(loss, "within_20", dtype, make(20, False, False), count=16, wrt=wrt),
        case_of(loss, "within_80", dtype, make(80, False, False), count=16, wrt=wrt),
        case_of(loss, "soft", dtype, make(20, True, False), count=10, wrt=wrt),
        case_of(loss, "weight", dtype, make(20, False, True), count=10, wrt=(*wrt, "weight")),
    ]
    return with_reductions(cases)


def cosine_cases(dtype: Floating) -> list[Case]:
    """Vectors of eight features: any, nearly parallel and opposite, and tiny."""

    def make(kind: str) -> Make:
        """Pairs of that kind."""

        def draw(rng: np.random.Generator, n: int, of: Floating) -> Arrays:
            """Two rows of features and the label."""
            first = rng.normal(size=(n, 8))
            second = rng.normal(size=(n, 8))
            if kind == "parallel":
                second = signs(rng, (n, 1)) * first * (1 + last_places(rng, (n, 8), of) * 0.5)
            if kind == "tiny":
                first, second = first * 2.0**-10, second * 2.0**-20
            return {"input1": first, "input2": second, "target": signs(rng, n)}

        return draw

    loss, wrt = "cosine_embedding_loss", ("input1", "input2")
    cases = [case_of(loss, kind, dtype, make(kind), count=12, wrt=wrt) for kind in ("any", "parallel", "tiny")]
    cases.append(case_of(loss, "margin", dtype, make("any"), count=12, wrt=wrt, parameters={"margin": 0.3}))
    return with_reductions(cases)


def triplets(close: bool) -> Make:
    """Anchors with positives and negatives at random, or within a thousandth."""

    def make(rng: np.random.Generator, n: int, _: Floating) -> Arrays:
        anchor = rng.normal(size=(n, 8))
        shape = (n, 8)
        if not close:
            return {"anchor": anchor, "positive": rng.normal(size=shape), "negative": rng.normal(size=shape)}
        other = [anchor * (1 + last_places(rng, shape, FLOAT16)) for _ in range(2)]
        return {"anchor": anchor, "positive": other[0], "negative": other[1]}

    return make


def triplet_cases(dtype: Floating) -> list[Case]:
    """Degrees 1, 2, 3 and infinity, far and close, with swap."""
    loss, settings = "triplet_margin_loss", {"count": 7, "wrt": TRIPLET}
    cases = []
    for p in (2.0, 1.0, 3.0, math.inf):
        parameters = {"p": p} if p != 2 else {}
        cases.append(case_of(loss, f"p_{p}", dtype, triplets(False), parameters=parameters, **settings))
        cases.append(case_of(loss, f"close_p_{p}", dtype, triplets(True), parameters=parameters, **settings))
    swap = {"swap": True, "margin": 0.3}
    cases.append(case_of(loss, "swap", dtype, triplets(False), parameters=swap, **settings))
    return with_reductions(cases)


def triplet_with_distance_cases(dtype: Floating) -> list[Case]:
    """Every distance, far and close, and with swap."""
    loss, settings = "triplet_margin_with_distance_loss", {"count": 6, "wrt": TRIPLET}
    cases = []
    for name in ("PAIRWISE", "SQUARED_EUCLIDEAN", "MANHATTAN", "CHEBYSHEV", "COSINE"):
        parameters = {"distance_function": name}
        cases.append(case_of(loss, name.lower(), dtype, triplets(False), parameters=parameters, **settings))
        cases.append(case_of(loss, f"{name.lower()}_close", dtype, triplets(True), parameters=parameters, **settings))
        swap = parameters | {"swap": True}
        cases.append(case_of(loss, f"{name.lower()}_swap", dtype, triplets(False), parameters=swap, **settings))
    return with_reductions(cases)


def ctc_cases(dtype: Floating) -> list[Case]:
    """Sequences of twelve steps and six classes, spread and sure."""

    def make(deviation: float) -> Make:
        """Log-softmax of normal logits of that deviation."""

        def draw(rng: np.random.Generator, n: int, _: Floating) -> Arrays:
            """Labels may repeat; the third sequence is shorter."""
            logits = rng.normal(size=(12, n, 6)) * deviation
            log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            targets = rng.integers(1, 6, (n, 3))
            steps = np.array([12, 12, 9, 12][:n])
            lengths = np.full(n, 3)
            return {"log_probs": log_probs, "targets": targets, "input_lengths": steps, "target_lengths": lengths}

        return draw

    loss, settings = "ctc_loss", {"count": 4, "wrt": ("log_probs",)}
    own = {"gradient_convention": "LOG_PROBS"}
    spread, sure = (case_of(loss, f"sd_{sd}", dtype, make(sd), **settings) for sd in (1, 6))
    of_log_probs = case_of(loss, "log_probs", dtype, make(3), parameters=own, **settings)
    sums = [Case(loss, "sd_1", dtype, spread.tensors, {}, reduction, ("log_probs",)) for reduction in ("sum", "mean")]
    return [spread, sure, of_log_probs, *sums]


RANGES: dict[str, tuple[Callable[[Floating], list[Case]], str]] = {
    "nll_loss": (nll_cases, "input -2^6 to -2^-60 (float16: -2^-14); weights 1/8 to 8"),
    "cross_entropy": (
        cross_entropy_cases,
        (
            "C = 2, 10 and 1000, logits of deviation 1, 10 and 50, target the largest and any; C = 32000, "
            "deviation 10, target the largest (not float64); C = 6, deviation 4: label_smoothing 0.1, weights "
            "1/8 to 8, class probabilities"
        ),
    ),
    "multilabel_margin_loss": (multilabel_margin_cases, "C = 8, up to 3 targets, scores of deviation 0.1, 1 and 30"),
    "multi_margin_loss": (
        multi_margin_cases,
        "C = 8, p 1 and 2, margins 0.3 and 1, weights 1/8 to 8; scores of deviation 2, and from 2^-10 about the margin",
    ),
    "multilabel_soft_margin_loss": (
        multilabel_soft_margin_cases,
        (
            "C = 6, logits within ±20 and ±80, half the rows right in every class; target 0 and 1, and between "
            "within ±20; weights 1/8 to 8"
        ),
    ),
    "cosine_embedding_loss": (
        cosine_cases,
        (
            "D = 8: normal, parallel or opposite but for the last places, and of lengths near 2^-9 and 2^-19; "
            "margins 0 and 0.3"
        ),
    ),
    "triplet_margin_loss": (
        triplet_cases,
        "D = 8: normal, and within 2^-10 to 1/4 of the anchor; p 1, 2, 3 and infinity; swap with margin 0.3",
    ),
    "triplet_margin_with_distance_loss": (
        triplet_with_distance_cases,
        "D = 8: normal, and within 2^-10 to 1/4 of the anchor; every distance_function; swap",
    ),
    "ctc_loss": (ctc_cases, "T = 12 and 9, C = 6, 3 labels; log-softmax of logits of deviation 1, 3 and 6"),
}
