# SPDX-License-Identifier: Apache-2.0
"""A case, its exact answer, PyTorch's answer as figures, and the object of its line."""

import base64
import math
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from mpmath import mp, mpf

from cases import oracle
from cases.distance_formulas import DISTANCES
from cases.dtypes import FLOAT64, TORCH_NAMES, Floating, errors
from cases.formulas import ELEMENTWISE, TINY, TOLERANCE, Ambiguous, Parameters, Row, Terms
from cases.row_formulas import CLASSES

FORMULAS = ELEMENTWISE | CLASSES | DISTANCES
SHARED = {"nll_loss", "cross_entropy", "multi_margin_loss", "multilabel_soft_margin_loss"}  # weights of classes
CHECKED_PLACES = 4
SAMPLED_PLACES = 16


@dataclass
class Case:
    """One request. `sampled`: only some places of a row's gradient are kept, as there are many."""

    loss: str
    group: str
    dtype: Floating
    tensors: dict[str, torch.Tensor]
    parameters: Parameters = field(default_factory=dict)
    reduction: str = "none"
    wrt: tuple[str, ...] = ("input",)
    sampled: bool = False

    @property
    def name(self) -> str:
        """The identity of the case."""
        return f"{self.loss}/{self.dtype.name}/{self.group}/{self.reduction}"

    @property
    def is_row_loss(self) -> bool:
        """Whether a loss is of a row."""
        return self.loss not in ELEMENTWISE


@dataclass
class Exact:
    """Exact values, and the sums of the magnitudes of their terms."""

    values: list[mpf]
    scales: list[mpf]


def set_precision(dtype: Floating) -> None:
    """Digits enough for what naive formulas cancel over the range of the dtype; branches within roundings are out."""
    mp.dps = 400 if dtype is FLOAT64 else 120
    TOLERANCE["relative"] = mpf(2) ** (-44 if dtype is FLOAT64 else -19)


def generator_for(name: str) -> np.random.Generator:
    """A random generator whose seed depends on `name` alone."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def exact(value: Any) -> Any:
    """Nested lists of floats as mpf; integers stay."""
    if isinstance(value, list):
        return [exact(part) for part in value]
    return mpf(value) if isinstance(value, float) else value


def plain(tensor: torch.Tensor) -> Any:
    """A tensor as nested lists of exact values."""
    return exact((tensor.double() if tensor.is_floating_point() else tensor).tolist())


def rows_of(case: Case) -> list[Row]:
    """The rows, or elements, that a formula takes."""
    parts: dict[str, Any] = {}
    for name, tensor in case.tensors.items():
        parts[name] = plain(tensor.transpose(0, 1) if name == "log_probs" else tensor)
    shared = {"weight"} if case.loss in SHARED else set()
    count = next(len(part) for name, part in parts.items() if name not in shared)
    return [{name: part if name in shared else part[i] for name, part in parts.items()} for i in range(count)]


def without_ambiguous(case: Case) -> Case:
    """The case without the rows whose branch depends on a rounding."""
    formula, kept = FORMULAS[case.loss], []
    for i, row in enumerate(rows_of(case)):
        try:
            formula(row, case.parameters)
            kept.append(i)
        except Ambiguous:
            continue
    shared = {"weight"} if case.loss in SHARED else set()
    if case.loss == "ctc_loss":
        return case
    return replace(case, tensors={key: t if key in shared else t[kept] for key, t in case.tensors.items()})


def denominator(case: Case) -> mpf:
    """What the sum is divided by."""
    tensors = case.tensors
    if case.reduction != "mean":
        return mpf(1)
    if case.loss in ("l1_loss", "mse_loss") and "weight" in tensors:
        return sum(plain(tensors["weight"]))
    if case.loss in ("nll_loss", "cross_entropy") and not tensors["target"].is_floating_point():
        weights = plain(tensors["weight"]) if "weight" in tensors else None
        return sum(weights[y] if weights else mpf(1) for y in tensors["target"].tolist())
    if case.loss == "ctc_loss":
        lengths = set(tensors["target_lengths"].tolist())
        assert len(lengths) == 1, "under a mean every sequence has as many labels"
        return mpf(len(tensors["target_lengths"]) * lengths.pop())
    return mpf(len(rows_of(case)))


def of_terms(terms: list[Terms], divisor: mpf) -> Exact:
    """The values and scales of lists of terms."""
    return Exact([sum(t) / divisor for t in terms], [sum(abs(x) for x in t) / divisor for t in terms])


def solve(case: Case) -> tuple[Exact, dict[str, Exact]]:
    """The exact loss and gradients."""
    answers = [FORMULAS[case.loss](row, case.parameters) for row in rows_of(case)]
    divisor = denominator(case)
    losses = of_terms([loss for loss, _ in answers], mpf(1))
    if case.reduction != "none":
        losses = Exact([sum(losses.values) / divisor], [sum(losses.scales) / divisor])
    gradients = {}
    for name in case.wrt:
        slopes = [slope[name] for _, slope in answers]
        terms: list[Terms]
        if name == "weight" and case.loss in SHARED:
            terms = [[term for place in places for term in place] for places in zip(*slopes, strict=True)]
        else:
            terms = [place for slope in slopes for place in slope] if case.is_row_loss else slopes
        gradients[name] = of_terms(terms, divisor)
        if case.loss == "ctc_loss":
            steps, count, classes = case.tensors["log_probs"].shape
            order = np.arange(steps * count * classes).reshape(count, steps, classes).transpose(1, 0, 2).reshape(-1)
            flat = gradients[name]
            gradients[name] = Exact([flat.values[i] for i in order], [flat.scales[i] for i in order])
    return losses, gradients


def is_smooth(case: Case, row: Row) -> bool:
    """Whether the stated gradient is the derivative here, which by definition it is not everywhere."""
    if case.loss == "binary_cross_entropy":
        p = row["input"]
        return p * (1 - p) > 2 * TINY and max(-mp.log(p), -mp.log(1 - p)) < 100
    if case.loss == "gaussian_nll_loss":
        return row["var"] > case.parameters.get("eps", 1e-6)
    return case.loss != "ctc_loss" or case.parameters.get("gradient_convention") == "LOG_PROBS"


def difference_quotient(case: Case, row: Row, name: str, place: int | None) -> mpf:
    """The derivative of the loss by one element, from two losses."""
    flat: Any = [x for step in row[name] for x in step] if name == "log_probs" else row[name]
    x = flat if place is None else flat[place]
    step = (abs(x) or mpf(1)) * mpf(10) ** -30
    values = []
    for moved in (x + step, x - step):
        changed = moved if place is None else flat[:place] + [moved] + flat[place + 1 :]
        if name == "log_probs":
            width = len(row[name][0])
            changed = [changed[i : i + width] for i in range(0, len(changed), width)]
        values.append(sum(FORMULAS[case.loss](row | {name: changed}, case.parameters)[0]))
    return (values[0] - values[1]) / (2 * step)


def check_gradients(case: Case) -> None:
    """Compares some of the gradients with differences of the loss."""
    formula, rows, rng = FORMULAS[case.loss], rows_of(case), generator_for(case.name + "/check")
    for _ in range(CHECKED_PLACES):
        row = rows[int(rng.integers(len(rows)))]
        name = case.wrt[int(rng.integers(len(case.wrt)))]
        slopes = formula(row, case.parameters)[1][name]
        place = int(rng.integers(len(slopes))) if case.is_row_loss else None
        terms = slopes if place is None else slopes[place]
        try:
            slope = difference_quotient(case, row, name, place) if is_smooth(case, row) else sum(terms)
        except Ambiguous:  # a branch exactly here
            continue
        if abs(slope - sum(terms)) > mpf(10) ** -20 * (sum(abs(term) for term in terms) + mpf(10) ** -30):
            raise AssertionError(f"{case.name}: d/d{name} is {mp.nstr(slope)}, not {mp.nstr(sum(terms))}")


def encode_bytes(array: np.ndarray) -> str:
    """The little-endian bytes in base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def encode_tensor(tensor: torch.Tensor) -> dict[str, Any]:
    """A tensor as dtype, shape and base64."""
    raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return {"dtype": TORCH_NAMES[tensor.dtype], "shape": list(tensor.shape), "data": encode_bytes(raw)}


@dataclass
class Split:
    """Exact values as doubles: high + low, and the scale."""

    high: np.ndarray
    low: np.ndarray
    scale: np.ndarray

    def at(self, places: np.ndarray) -> "Split":
        """Those of some places."""
        return Split(self.high[places], self.low[places], self.scale[places])


def split(answer: Exact) -> Split:
    """Exact values as doubles."""
    high = np.array([float(value) for value in answer.values])
    low = np.array([float(value - mpf(h)) for value, h in zip(answer.values, high.tolist(), strict=True)])
    return Split(high, low, np.array([float(scale) for scale in answer.scales]))


def encode_split(value: Split, dtype: Floating) -> dict[str, Any]:
    """Exact values; the scale only where it is not the magnitude, low only in float64."""
    with np.errstate(over="ignore"):
        line: dict[str, Any] = {"high": encode_bytes(value.high.astype(dtype.reference))}
        if dtype is FLOAT64:
            line["low"] = encode_bytes(value.low)
        if (value.scale > np.abs(value.high) * (1 + 1e-9)).any():
            line["scale"] = encode_bytes(value.scale.astype(dtype.reference))
    return line


def figures(actual: torch.Tensor, value: Split, places: np.ndarray | None, dtype: Floating) -> dict[str, Any]:
    """PyTorch's largest error, and how many of how many normal numbers came out as 0."""
    numbers = actual.detach().double().reshape(-1).numpy()
    numbers = numbers if places is None else numbers[places]
    error = float(errors(numbers, value.high, value.low, value.scale, dtype).max())
    # Cancellation may give 0 within the bound: only what has no larger terms counts.
    normal = (np.abs(value.high) >= 2.0**dtype.least) & (value.scale <= np.abs(value.high) * (1 + 1e-9))
    zeros = int((normal & (numbers == 0)).sum())
    rounded = error if math.isinf(error) else float(f"{error:.6g}")
    return {"error": "Infinity" if math.isinf(error) else rounded, "zeros": zeros, "normal": int(normal.sum())}


def sampled_places(case: Case) -> np.ndarray:
    """The places of a gradient of rows that are kept: the target's, the largest logits' and some others."""
    rng, x = generator_for(case.name + "/places"), case.tensors["input"].double().numpy()
    kept: list[int] = []
    for i, y in enumerate(case.tensors["target"].tolist()):
        row = {y, *np.argsort(x[i])[-3:].tolist(), *rng.choice(x.shape[1], SAMPLED_PLACES - 4, False).tolist()}
        kept += sorted(i * x.shape[1] + c for c in row)
    return np.array(kept, dtype=np.int32)


def encode_case(case: Case) -> dict[str, Any]:
    """The object of one line."""
    set_precision(case.dtype)
    case = without_ambiguous(case)
    if not case.sampled:
        with mp.workdps(3 * mp.dps):
            check_gradients(case)
    loss, gradients = solve(case)
    answers = oracle.answer(case.loss, case.tensors, case.parameters, case.reduction, case.wrt)
    line: dict[str, Any] = {
        "name": case.name,
        "loss": case.loss,
        "dtype": case.dtype.name,
        "tensors": {name: encode_tensor(tensor) for name, tensor in case.tensors.items()},
        "parameters": {k: "Infinity" if v == math.inf else v for k, v in case.parameters.items()},
        "reduction": case.reduction,
    }
    value = split(loss)
    line["reference"] = {"loss": encode_split(value, case.dtype), "gradients": {}}
    if answers is not None:
        line["pytorch"] = {"loss": figures(answers[0], value, None, case.dtype), "gradients": {}}
    for name in case.wrt:
        value, places = split(gradients[name]), sampled_places(case) if case.sampled else None
        value = value if places is None else value.at(places)
        encoded = encode_split(value, case.dtype)
        if places is not None:
            encoded["places"] = encode_bytes(places)
        line["reference"]["gradients"][name] = encoded
        slope = answers[1][name] if answers is not None else None
        if slope is not None:
            line["pytorch"]["gradients"][name] = figures(slope, value, places, case.dtype)
    return line
