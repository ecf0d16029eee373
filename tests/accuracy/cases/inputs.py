# SPDX-License-Identifier: Apache-2.0
"""The inputs of the elementwise losses, chosen to be hard, and what they are in words.

Numbers are drawn as float64 and rounded to the dtype, whose values are then exact. The first cases of a loss come again
under sum and mean.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from cases.dtypes import FLOAT16, FLOAT64, Floating
from cases.vectors import Case, generator_for

COUNT = {"float16": 112, "bfloat16": 112, "float32": 112, "float64": 80}
REDUCED = 40
BOTH = ("input", "target")
Arrays = dict[str, np.ndarray]
Make = Callable[[np.random.Generator, int, Floating], Arrays]


def rounded(array: np.ndarray, dtype: Floating) -> torch.Tensor:
    """The array in the dtype."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(dtype.torch)


def case_of(loss: str, group: str, dtype: Floating, make: Make, **settings: Any) -> Case:
    """A case whose tensors `make` draws."""
    count = settings.pop("count", COUNT[dtype.name])
    arrays = make(generator_for(f"{loss}/{dtype.name}/{group}"), count, dtype)
    tensors = {
        name: rounded(array, dtype) if array.dtype.kind == "f" else torch.from_numpy(array)
        for name, array in arrays.items()
    }
    return Case(loss, group, dtype, tensors, **settings)


def with_reductions(cases: list[Case], first: int = 1) -> list[Case]:
    """The cases, and the beginnings of the first of them under sum and mean."""
    more = []
    for case in cases[:first]:
        short = {name: tensor[:REDUCED] for name, tensor in case.tensors.items()}
        more += [replace(case, tensors=short, reduction=reduction) for reduction in ("sum", "mean")]
    return cases + more


def signs(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """-1.0 or 1.0."""
    return rng.integers(0, 2, shape) * 2.0 - 1.0


def powers(rng: np.random.Generator, shape: Any, low: float, high: float) -> np.ndarray:
    """Positive numbers, log-uniform between two powers of two."""
    return np.exp2(rng.uniform(low, high, shape))


def signed_powers(rng: np.random.Generator, shape: Any, low: float, high: float) -> np.ndarray:
    """Numbers of either sign, log-uniform between two powers of two."""
    return signs(rng, shape) * powers(rng, shape, low, high)


def last_places(rng: np.random.Generator, shape: Any, dtype: Floating) -> np.ndarray:
    """Relative differences from one last place to a quarter."""
    return signs(rng, shape) * powers(rng, shape, 1 - dtype.digits, -2)


def apart(squared: bool) -> Make:
    """Two numbers whose exponents have nothing to do with each other; a square fits where asked."""

    def make(rng: np.random.Generator, n: int, dtype: Floating) -> Arrays:
        high = dtype.greatest // 2 - 1 if squared else dtype.greatest - 1
        low = dtype.least // 2 + 1 if squared else dtype.least
        low, high = max(low, -900), min(high, 900)
        return {"input": signed_powers(rng, n, low, high), "target": signed_powers(rng, n, low, high)}

    return make


def near(rng: np.random.Generator, n: int, dtype: Floating) -> Arrays:
    """Two numbers that differ from the last place on."""
    target = signed_powers(rng, n, -3, 3)
    return {"input": target * (1 + last_places(rng, n, dtype)), "target": target}


def weighted(rng: np.random.Generator, n: int, dtype: Floating) -> Arrays:
    """Ordinary numbers with weights."""
    return {"input": rng.normal(size=n), "target": rng.normal(size=n), "weight": powers(rng, n, -6, 3)}


def difference_losses(loss: str, dtype: Floating, variants: list[dict[str, Any]]) -> list[Case]:
    """l1_loss, mse_loss, huber_loss and smooth_l1_loss."""
    cases = [
        case_of(loss, "near", dtype, near, wrt=BOTH),
        case_of(loss, "apart", dtype, apart(loss != "l1_loss"), wrt=BOTH),
    ]
    for i, parameters in enumerate(variants):
        cases.append(case_of(loss, f"variant{i}", dtype, near, wrt=BOTH, parameters=parameters, count=40))
    settled = case_of(loss, "weight", dtype, weighted, wrt=(*BOTH, "weight"))
    sums = [replace(case, wrt=BOTH) for case in with_reductions([settled])[1:]]
    return [*with_reductions(cases), settled, *sums]


def probability_pairs(rng: np.random.Generator, n: int, dtype: Floating) -> Arrays:
    """Probabilities from tiny to one last place below 1, for targets 0, 1 and between."""
    third = n // 3
    low = powers(rng, third, max(dtype.least, -900), -1)
    high = 1 - powers(rng, third, -dtype.digits, -1)
    p = np.concatenate([low, high, rng.uniform(0.02, 0.98, n - 2 * third)])
    limit = 1 - 2.0**-dtype.digits
    t = np.where(rng.random(n) < 0.75, rng.integers(0, 2, n), rng.random(n))
    return {"input": np.minimum(p, limit), "target": t}


def bce_cases(dtype: Floating) -> list[Case]:
    """Probabilities, hard and soft targets, weights."""
    loss = "binary_cross_entropy"

    def with_weight(rng: np.random.Generator, n: int, of: Floating) -> Arrays:
        """The same with weights."""
        return probability_pairs(rng, n, of) | {"weight": powers(rng, n, -6, 3)}

    cases = [
        case_of(loss, "probabilities", dtype, probability_pairs, wrt=BOTH, count=2 * COUNT[dtype.name]),
        case_of(loss, "weight", dtype, with_weight, wrt=BOTH, count=48),
    ]
    return with_reductions(cases)


def logits(limit: float, soft: bool = False) -> Make:
    """Uniform logits with targets 0 and 1, or between."""

    def make(rng: np.random.Generator, n: int, _: Floating) -> Arrays:
        target = rng.random(n) if soft else rng.integers(0, 2, n).astype(np.float64)
        return {"input": rng.uniform(-limit, limit, n), "target": target}

    return make


def bce_with_logits_cases(dtype: Floating) -> list[Case]:
    """Logits within 20, 80 and, in float64, 700; tiny ones; soft targets; weights."""
    loss = "binary_cross_entropy_with_logits"

    def tiny(rng: np.random.Generator, n: int, of: Floating) -> Arrays:
        """Logits around 0."""
        x = signed_powers(rng, n, max(of.least, -60), 0)
        return {"input": x, "target": rng.integers(0, 2, n).astype(np.float64)}

    def with_weights(rng: np.random.Generator, n: int, of: Floating) -> Arrays:
        """Hard targets with both kinds of weight."""
        more = {"weight": powers(rng, n, -6, 3), "pos_weight": powers(rng, n, -3, 3)}
        return logits(20)(rng, n, of) | more

    cases = [
        case_of(loss, "within_20", dtype, logits(20), wrt=BOTH),
        case_of(loss, "within_80", dtype, logits(80), wrt=BOTH),
        case_of(loss, "tiny", dtype, tiny, wrt=BOTH, count=40),
        case_of(loss, "soft", dtype, logits(20, soft=True), wrt=BOTH, count=40),
        case_of(loss, "weights", dtype, with_weights, wrt=BOTH, count=48),
    ]
    if dtype is FLOAT64:
        cases.append(case_of(loss, "within_700", dtype, logits(700), wrt=BOTH))
    return with_reductions(cases, first=2)


def kl_cases(dtype: Floating) -> list[Case]:
    """Targets from tiny to 1 against logarithms that agree to the last place, and that do not."""

    def pairs(rng: np.random.Generator, n: int, of: Floating, log_target: bool, agree: bool) -> Arrays:
        """Probabilities and log-probabilities."""
        half = n // 2
        low = max(of.least, -100)
        p = np.concatenate([powers(rng, half, low, 0), 1 - powers(rng, n - half, -of.digits, -1)])
        x = np.log(p) * (1 + last_places(rng, n, of)) if agree else -rng.uniform(0, 50, n)
        return {"input": x, "target": np.log(p) if log_target else p}

    cases = []
    for log_target in (False, True):
        for agree in (True, False):
            group = f"{'logarithms' if log_target else 'probabilities'}_{'near' if agree else 'apart'}"

            def make(rng: np.random.Generator, n: int, of: Floating, a: bool = log_target, b: bool = agree) -> Arrays:
                """The pairs of this group."""
                return pairs(rng, n, of, a, b)

            parameters = {"log_target": True} if log_target else {}
            cases.append(case_of("kl_div", group, dtype, make, wrt=BOTH, parameters=parameters, count=72))
    return with_reductions(cases)


def poisson_cases(dtype: Floating) -> list[Case]:
    """Counts near and far from the rate; logarithms of rates to 10 in float16 and 20 otherwise."""
    limit = 10 if dtype is FLOAT16 else 20

    def counts(rng: np.random.Generator, n: int, _: Floating) -> Arrays:
        """Counts around the rate."""
        x = rng.uniform(-limit, limit, n)
        t = np.where(rng.random(n) < 0.5, np.round(np.exp(x)), rng.integers(0, 9, n))
        return {"input": x, "target": t}

    def rates(rng: np.random.Generator, n: int, _: Floating) -> Arrays:
        """Rates away from 1, where the logarithm magnifies what the sum with eps lost."""
        x = np.exp2(signs(rng, n) * rng.uniform(1, 10, n))
        t = np.where(rng.random(n) < 0.5, np.round(x), rng.integers(0, 9, n))
        return {"input": x, "target": t}

    def many(rng: np.random.Generator, n: int, _: Floating) -> Arrays:
        """Counts above 1."""
        t = 1 + np.ceil(powers(rng, n, 0, 9))
        return {"input": np.log(t) + rng.normal(size=n), "target": t}

    loss = "poisson_nll_loss"
    cases = [
        case_of(loss, "logarithms", dtype, counts, wrt=BOTH),
        case_of(loss, "rates", dtype, rates, wrt=BOTH, parameters={"log_input": False}),
        case_of(loss, "full", dtype, many, wrt=BOTH, parameters={"full": True}, count=48),
    ]
    return with_reductions(cases)


def gaussian_cases(dtype: Floating) -> list[Case]:
    """Variances over many powers of two, differences from the last place on, variances below eps."""
    wrt = (*BOTH, "var")
    spread = 5 if dtype is FLOAT16 else 20

    def ordinary(rng: np.random.Generator, n: int, of: Floating) -> Arrays:
        """Differences of the size of the deviation, and small ones."""
        var = powers(rng, n, -spread, spread)
        pair = near(rng, n, of)
        far = rng.random(n) < 0.7
        pair["input"] = np.where(far, pair["target"] + np.sqrt(var) * rng.normal(size=n), pair["input"])
        return pair | {"var": var}

    def clamped(rng: np.random.Generator, n: int, of: Floating) -> Arrays:
        """Variances below eps."""
        return near(rng, n, of) | {"var": powers(rng, n, -14 if of is FLOAT16 else -60, -7)}

    loss = "gaussian_nll_loss"
    cases = [
        case_of(loss, "ordinary", dtype, ordinary, wrt=wrt),
        case_of(loss, "full", dtype, ordinary, wrt=wrt, parameters={"full": True}, count=32),
        case_of(loss, "clamped", dtype, clamped, wrt=wrt, parameters={"eps": 0.01}, count=32),
    ]
    return with_reductions(cases)


def margin_ranking_cases(dtype: Floating) -> list[Case]:
    """Pairs that differ by about the margin, from a thousandth of it on, and pairs apart."""
    loss, wrt = "margin_ranking_loss", ("input1", "input2", "target")
    cases = []
    for margin in (0.0, 0.3, 1.0):

        def make(rng: np.random.Generator, n: int, _: Floating, m: float = margin) -> Arrays:
            """Pairs on both sides of the margin."""
            t, second = signs(rng, n), rng.normal(size=n)
            offset = np.where(rng.random(n) < 0.5, last_places(rng, n, FLOAT16), rng.normal(size=n) * 4)
            return {"input1": second + t * (m + offset), "input2": second, "target": t}

        parameters = {"margin": margin} if margin else {}
        cases.append(case_of(loss, f"margin_{margin}", dtype, make, wrt=wrt, parameters=parameters, count=72))
    return with_reductions(cases)


def hinge_embedding_cases(dtype: Floating) -> list[Case]:
    """Distances over many powers of two and about the margin."""
    loss, cases = "hinge_embedding_loss", []
    for margin in (1.0, 0.7):

        def make(rng: np.random.Generator, n: int, of: Floating, m: float = margin) -> Arrays:
            """Distances of like and unlike pairs."""
            about = m * (1 + last_places(rng, n, FLOAT16))
            wide = powers(rng, n, max(of.least, -100), 4)
            return {"input": np.where(rng.random(n) < 0.5, about, wide), "target": signs(rng, n)}

        parameters = {"margin": margin} if margin != 1.0 else {}
        cases.append(case_of(loss, f"margin_{margin}", dtype, make, parameters=parameters))
    return with_reductions(cases)


def soft_margin_cases(dtype: Floating) -> list[Case]:
    """Scores within 20, 80 and, in float64, 700; tiny ones."""

    def scores(limit: float) -> Make:
        """Uniform scores with targets -1 and 1."""
        return lambda rng, n, _: {"input": rng.uniform(-limit, limit, n), "target": signs(rng, n)}

    def tiny(rng: np.random.Generator, n: int, of: Floating) -> Arrays:
        """Scores around 0."""
        return {"input": signed_powers(rng, n, max(of.least, -60), 0), "target": signs(rng, n)}

    loss = "soft_margin_loss"
    cases = [
        case_of(loss, "within_20", dtype, scores(20)),
        case_of(loss, "within_80", dtype, scores(80)),
        case_of(loss, "tiny", dtype, tiny, count=40),
    ]
    if dtype is FLOAT64:
        cases.append(case_of(loss, "within_700", dtype, scores(700)))
    return with_reductions(cases, first=2)


APART = "pairs that differ from the last place on, and pairs of unrelated exponents over {}"
RANGES: dict[str, tuple[Callable[[Floating], list[Case]], str]] = {
    "l1_loss": (
        lambda dtype: difference_losses("l1_loss", dtype, []),
        APART.format("the dtype's normal numbers (float64: 2^±900)") + "; weights 2^-6 to 8",
    ),
    "mse_loss": (
        lambda dtype: difference_losses("mse_loss", dtype, []),
        APART.format("the numbers whose squares are normal") + "; weights 2^-6 to 8",
    ),
    "huber_loss": (
        lambda dtype: difference_losses("huber_loss", dtype, [{"delta": 0.1}, {"delta": 25.6}]),
        APART.format("the numbers whose squares are normal") + "; delta 0.1, 1 and 25.6; weights 2^-6 to 8",
    ),
    "smooth_l1_loss": (
        lambda dtype: difference_losses("smooth_l1_loss", dtype, [{"beta": 0.1}, {"beta": 0.0}]),
        APART.format("the numbers whose squares are normal") + "; beta 0, 0.1 and 1; weights 2^-6 to 8",
    ),
    "binary_cross_entropy": (
        bce_cases,
        (
            "input from the least normal number (float64: 2^-900) to one last place below 1; target 0, 1 and "
            "between; weights 2^-6 to 8"
        ),
    ),
    "binary_cross_entropy_with_logits": (
        bce_with_logits_cases,
        (
            "logits within ±20, ±80 and, in float64, ±700, and around 0; target 0 and 1, and between within ±20; "
            "weight and pos_weight 2^-6 to 8"
        ),
    ),
    "kl_div": (
        kl_cases,
        (
            "target from 2^-100 (float16: 2^-14) to one last place below 1, as it is and as its logarithm; input "
            "its logarithm but for the last places, and unrelated, 0 to -50"
        ),
    ),
    "poisson_nll_loss": (
        poisson_cases,
        (
            "log of the rate within ±20 (float16: ±10), and rates 2^-10 to 1/2 and 2 to 2^10; target the nearest "
            "integer, or 0 to 8; full with targets to 513"
        ),
    ),
    "gaussian_nll_loss": (
        gaussian_cases,
        (
            "var 2^-20 to 2^20 (float16: 2^-5 to 2^5), and below an eps of 0.01; differences of the size of the "
            "deviation, and from the last place on; full and not"
        ),
    ),
    "margin_ranking_loss": (
        margin_ranking_cases,
        "margins 0, 0.3 and 1; differences from 2^-10 about the margin to several times 4",
    ),
    "hinge_embedding_loss": (
        hinge_embedding_cases,
        "margins 0.7 and 1; input from 2^-100 (float16: 2^-14) to 16, and from 2^-10 about the margin",
    ),
    "soft_margin_loss": (
        soft_margin_cases,
        "input within ±20, ±80 and, in float64, ±700, and around 0; target -1 and 1",
    ),
}
