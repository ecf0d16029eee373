# SPDX-License-Identifier: Apache-2.0
"""Cases of multi_margin_loss, multilabel_margin_loss and multilabel_soft_margin_loss."""

import math
from typing import Any

import torch
import torch.nn.functional as F

from cases.elementwise import softplus
from cases.pairwise import Plan, Row, Shape, grid, pairwise_cases, uniform
from cases.residuals import MISMATCH
from cases.tensors import (
    DTYPE_NAMES,
    FLOAT_DTYPES,
    Case,
    MaskedProduct,
    Tensors,
    generator_for,
    reduced,
    with_normalizer,
)

INF, NAN = math.inf, math.nan
REDUCTIONS = ("mean", "sum", "none")
INDEX_DTYPES = (torch.int64, torch.int32, torch.uint8)
SHAPES: dict[str, tuple[Shape, ...]] = {
    "C1": ((1,), (1, 1)),
    "C2": ((2,), (1, 2)),
    "C10": ((10,),),
    "C16": ((15,), (16,), (17,)),
    "N0": ((0, 4),),
    "N5_C3": ((5, 3),),
    "N16_C4": ((15, 4), (16, 4), (17, 4)),
    "N3_C16": ((3, 15), (3, 16), (3, 17)),
    "N1025": ((1025, 2),),
    "C1025": ((1, 1023), (2, 1024), (1, 1025)),
}
SOFT_SHAPES = SHAPES | {"cube": ((2, 3, 5),), "four": ((2, 3, 2, 3),), "five": ((2, 1, 3, 2, 2),)}
SUM_REASON = "PyTorch adds the terms of a long row one after the other in float32; lossd's sum is more accurate"
LIMIT_REASON = "infinite logits give the limit, as in binary_cross_entropy_with_logits"
WEIGHT_REASON = "PyTorch broadcasts weight and input; lossd takes one weight a class"


def empty_batch(scores: torch.Tensor, reduction: str) -> torch.Tensor | None:
    """The answer for no samples, for which PyTorch's margin losses return uninitialised memory; else None."""
    if scores.dim() != 2 or scores.shape[0] != 0 or scores.shape[1] == 0:
        return None
    return reduced(scores.sum(1), reduction)


def multi_margin_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's multi-class margin loss."""
    empty = empty_batch(tensors["input"], reduction)
    if empty is not None:
        return empty
    target, weight = tensors["target"].long(), tensors.get("weight")
    return F.multi_margin_loss(tensors["input"], target, weight=weight, reduction=reduction, **parameters)


def multilabel_margin_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's multi-label margin loss."""
    del parameters
    empty = empty_batch(tensors["input"], reduction)
    if empty is not None:
        return empty
    return F.multilabel_margin_loss(tensors["input"], tensors["target"].long(), reduction=reduction)


def multilabel_soft_margin_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's multi-label soft margin loss."""
    del parameters
    weight = tensors.get("weight")
    return F.multilabel_soft_margin_loss(tensors["input"], tensors["target"], weight, reduction=reduction)


def soft_documented(
    tensors: Tensors, parameters: dict[str, Any], reduction: str, normalizer: float | None
) -> torch.Tensor:
    """The mean over the classes of (1 - t) softplus(x) + t softplus(-x), where a zero coefficient gives zero."""
    del parameters, normalizer
    x, t = tensors["input"], tensors["target"]
    loss = MaskedProduct.apply(1 - t, softplus(x)) + MaskedProduct.apply(t, softplus(-x))
    return reduced((loss * tensors.get("weight", torch.ones((), dtype=x.dtype))).mean(-1), reduction)


def multi_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Scores whose hinges are not at a tie, and class indices."""
    classes = shape[-1]
    target = torch.randint(classes, shape[:-1], generator=generator)
    right = torch.nn.functional.one_hot(target, classes).bool()
    scores = torch.where(right, grid(shape, generator, spread=8), grid(shape, generator, 0.5, spread=8))
    tensors = {"input": scores, "target": target.to(row["target"])}
    if row["weight"]:
        tensors["weight"] = uniform((classes,), generator)
    return tensors


def label_rows(shape: Shape, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """Labels up to a -1 and labels beyond it that do not count; uint8 holds no -1, so all of its labels count."""
    classes = shape[-1]
    labels = torch.randint(classes, shape, generator=generator)
    if dtype == torch.uint8:
        return (labels % min(classes, 256)).to(dtype)
    end = torch.randint(classes + 1, (*shape[:-1], 1), generator=generator)
    return torch.where(torch.arange(classes).expand(shape) == end, -1, labels).to(dtype)


def multilabel_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Scores whose hinges are not at a tie, and rows of labels."""
    target = label_rows(shape, row["target"], generator)
    labels = target.long()
    counts = ((labels == -1).cumsum(-1) == 0).double()
    is_target = torch.zeros(shape, dtype=torch.float64).scatter_add(-1, labels.clamp(min=0), counts) > 0
    scores = torch.where(is_target, grid(shape, generator, spread=8), grid(shape, generator, 0.5, spread=8))
    return {"input": scores, "target": target}


def soft_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Logits and soft or hard targets."""
    target = uniform(shape, generator, 0.0, 1.0)
    tensors = {
        "input": 2 * torch.randn(shape, generator=generator, dtype=torch.float64),
        "target": target.round() if row["kind"] == "hard" else target,
    }
    if row["weight"]:
        tensors["weight"] = uniform(shape[-1:], generator)
    return tensors


PLANS = {
    "multi_margin_loss": Plan(
        "multi_margin_loss",
        with_normalizer(multi_margin_loss),
        multi_make,
        default_wrt=("input",),
        all_wrt=lambda tensors: ("input",),
        shapes=SHAPES,
        parameters={"p": (None, 1, 2), "margin": (None, 0.5, 2.0)},
        options={"weight": (False, True), "target": INDEX_DTYPES},
        arrays=2,
    ),
    "multilabel_margin_loss": Plan(
        "multilabel_margin_loss",
        with_normalizer(multilabel_margin_loss),
        multilabel_make,
        default_wrt=("input",),
        all_wrt=lambda tensors: ("input",),
        shapes=SHAPES,
        options={"target": INDEX_DTYPES},
    ),
    "multilabel_soft_margin_loss": Plan(
        "multilabel_soft_margin_loss",
        with_normalizer(multilabel_soft_margin_loss),
        soft_make,
        default_wrt=("input",),
        all_wrt=tuple,
        shapes=SOFT_SHAPES,
        options={"weight": (False, True), "kind": ("soft", "hard")},
    ),
}


def scored(loss: str, label: str, scores: list[Any], target: Any, **changes: Any) -> Case:
    """A case of listed scores and targets, element-wise unless told otherwise."""
    dtype, kind = changes.pop("dtype", torch.float32), changes.pop("target_dtype", torch.int64)
    soft = loss == "multilabel_soft_margin_loss"
    tensors = {
        "input": torch.tensor(scores, dtype=torch.float64).to(dtype),
        "target": torch.tensor(target, dtype=torch.float64).to(dtype) if soft else torch.tensor(target, dtype=kind),
    }
    if "weight" in changes:
        tensors["weight"] = torch.tensor(changes.pop("weight"), dtype=torch.float64).to(dtype)
    settings: dict[str, Any] = {"reduction": "none", "wrt": ("input",)} | changes
    return Case(f"{loss}/edge/{label}/{DTYPE_NAMES[dtype]}", loss, tensors, **settings)


def refused(loss: str, label: str, tensors: Tensors, parameters: dict[str, Any] | None = None) -> Case:
    """A case that PyTorch refuses."""
    return Case(f"{loss}/error/{label}", loss, tensors, parameters or {}, wrt=("input",))


def huge(loss: str) -> Case:
    """One row of 32000 classes in float32."""
    name = f"{loss}/edge/huge/float32"
    generator = generator_for(name)
    scores = torch.randint(-512, 513, (1, 32000), generator=generator).float() / 128
    target = torch.tensor([31999])
    if loss == "multilabel_margin_loss":
        target = torch.full((1, 32000), -1, dtype=torch.int32)
        target[0, :3] = torch.tensor([0, 31999, 16000])
    elif loss == "multilabel_soft_margin_loss":
        target = torch.zeros(1, 32000)
        target[0, ::1000] = 1
    differs = None if loss == "multilabel_soft_margin_loss" else SUM_REASON
    return Case(name, loss, {"input": scores, "target": target}, reduction="sum", wrt=("input",), differs=differs)


def empties(loss: str) -> list[Case]:
    """A batch of no samples under every reduction."""
    scores = torch.zeros(0, 4)
    target = scores if loss == "multilabel_soft_margin_loss" else torch.zeros((0, 4), dtype=torch.int64)
    if loss == "multi_margin_loss":
        target = torch.zeros(0, dtype=torch.int64)
    return [
        Case(f"{loss}/edge/no_samples_{way}", loss, {"input": scores, "target": target}, {}, way, ("input",))
        for way in REDUCTIONS
    ]


def multi_margin_cases() -> list[Case]:
    """Cases of multi_margin_loss."""
    loss = "multi_margin_loss"
    cases = pairwise_cases(PLANS[loss]) + empties(loss) + [huge(loss)]
    rows = [[0, 1, 0.5], [1, 1, 1], [-1, 0, 1], [3, 2, 1]]
    for dtype in FLOAT_DTYPES:
        for p in (1, 2):
            cases.append(scored(loss, f"ties_p_{p}", rows, [1, 0, 2, 0], dtype=dtype, parameters={"p": p}))
        cases.append(scored(loss, "confident", [[9, 0, 1], [0, -9, 20]], [0, 2], dtype=dtype))
    weights = {"zero_weights": [0, 0, 0], "some_zero_weights": [0, 2, 0], "negative_weights": [-1, 1, -2]}
    for label, weight in weights.items():
        for reduction in REDUCTIONS:
            cases.append(scored(loss, f"{label}_{reduction}", rows, [1, 0, 2, 1], weight=weight, reduction=reduction))
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    good = {"input": x, "target": torch.tensor([0, 1, 3])}
    cases += [
        refused(loss, "target_too_large", good | {"target": torch.tensor([0, 4, 1])}),
        refused(loss, "target_negative", good | {"target": torch.tensor([0, -1, 1])}),
        refused(loss, "batch", good | {"target": torch.tensor([0, 1])}),
        refused(loss, "target_rank", good | {"target": torch.zeros((3, 1), dtype=torch.int64)}),
        refused(loss, "weight_size", good | {"weight": torch.ones(3)}),
        refused(loss, "weight_rank", good | {"weight": torch.ones(4, 1)}),
        refused(loss, "p", good, {"p": 3}),
        refused(loss, "no_classes", {"input": torch.zeros(2, 0), "target": torch.zeros(2, dtype=torch.int64)}),
        refused(loss, "no_classes_no_samples", {"input": torch.zeros(0, 0), "target": torch.zeros(0).long()}),
        refused(loss, "cube", {"input": torch.ones(2, 3, 4), "target": torch.zeros((2, 4), dtype=torch.int64)}),
    ]
    broken = [[INF, 1, 0], [0, INF, 1], [-INF, 1, 2], [1, -INF, 0]]
    return cases + [
        scored(loss, "infinite", broken, [1, 1, 0, 0]),
        scored(loss, "infinite_p_2", broken, [1, 1, 0, 0], parameters={"p": 2}),
        scored(loss, "nan", [[NAN, 1, 2], [0, NAN, 1]], [1, 1]),
        scored(loss, "denormal", [[1e-45, 0, 1e-40]], [0], parameters={"margin": 0.0}),
        scored(loss, "margin_negative", rows, [1, 0, 2, 0], parameters={"margin": -1.0}),
        scored(loss, "margin_zero", rows, [1, 0, 2, 0], parameters={"margin": 0.0}),
        scored(loss, "large", [[1e38, -1e38, 0]], [1]),
        scored(loss, "overflow_p_2", [[1e30, -1e30, 0]], [1], parameters={"p": 2}),
        scored(loss, "one_class", [[3.0], [-1.0]], [0, 0]),
        scored(loss, "vector", [1, 2, 1.5], 1, weight=[1, 3, 1], parameters={"p": 2}),
        scored(loss, "weight_mean", [[0, 1], [1, 0.5]], [0, 1], weight=[3, 1], reduction="mean"),
    ]


def multilabel_margin_cases() -> list[Case]:
    """Cases of multilabel_margin_loss."""
    loss = "multilabel_margin_loss"
    cases = pairwise_cases(PLANS[loss]) + empties(loss) + [huge(loss)]
    rows = [[0.25, 1, 0.5, -1], [1, 1, 1, 1], [-1, 0, 1, 2], [3, 2, 1, 0.5]]
    labels = {
        "duplicates": [[1, 1, -1, 0], [2, 2, 2, 2], [0, 3, 0, -1], [1, 0, 1, 0]],
        "leading_end": [[-1, 1, 2, 3], [-1, -1, -1, -1], [0, -1, 0, 2], [-1, 0, 0, 0]],
        "full_rows": [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]],
        "ties": [[0, -1, 0, 0], [2, -1, 0, 0], [3, 2, -1, 0], [1, 2, -1, 0]],
    }
    for label, target in labels.items():
        for dtype in FLOAT_DTYPES:
            cases.append(scored(loss, label, rows, target, dtype=dtype))
        for reduction in ("mean", "sum"):
            cases.append(scored(loss, f"{label}_{reduction}", rows, target, reduction=reduction))
        cases.append(scored(loss, f"{label}_int32", rows, target, target_dtype=torch.int32))
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    wrong: list[tuple[str, Tensors]] = [
        ("target_too_large", {"input": x, "target": torch.tensor([[0, 4, -1, 0]] * 3)}),
        ("target_too_large_unread", {"input": x, "target": torch.tensor([[0, -1, 4, 0]] * 3)}),
        ("target_too_small", {"input": x, "target": torch.tensor([[0, -2, 0, 0]] * 3)}),
        ("target_uint8", {"input": x, "target": torch.full((3, 4), 255, dtype=torch.uint8)}),
        ("target_shape", {"input": x, "target": torch.zeros((3, 3), dtype=torch.int64)}),
        ("target_rank", {"input": x, "target": torch.zeros(4, dtype=torch.int64)}),
        ("no_classes", {"input": torch.zeros(2, 0), "target": torch.zeros((2, 0), dtype=torch.int64)}),
        ("cube", {"input": torch.ones(2, 3, 4), "target": torch.zeros((2, 3, 4), dtype=torch.int64)}),
    ]
    cases += [refused(loss, label, tensors) for label, tensors in wrong]
    return cases + [
        scored(loss, "uint8_full", rows, [[0, 1, 2, 3], [3, 3, 3, 3]] * 2, target_dtype=torch.uint8),
        scored(loss, "infinite", [[INF, 1, 0], [0, INF, 1], [1, -INF, 0]], [[1, -1, 0]] * 3),
        scored(loss, "nan", [[NAN, 1, 2], [0, NAN, 1]], [[1, -1, 0]] * 2),
        scored(loss, "nan_without_labels", [[NAN, 1, 2]], [[-1, 0, 0]]),
        scored(loss, "denormal", [[1e-45, 1 + 1e-40, -1e-40]], [[1, -1, 0]]),
        scored(loss, "large", [[1e38, -1e38, 0]], [[1, -1, 0]]),
        scored(loss, "vector", [1, 2, 1.5], [1, -1, 0]),
        scored(loss, "vector_no_labels", [1, 2, 1.5], [-1, 0, 0]),
        scored(loss, "one_class", [[3.0], [-1.0]], [[0], [-1]]),
        scored(loss, "confident", [[9, -9, 0, 20]], [[0, 3, -1, 0]]),
    ]


def multilabel_soft_margin_cases() -> list[Case]:
    """Cases of multilabel_soft_margin_loss."""
    loss = "multilabel_soft_margin_loss"
    cases = pairwise_cases(PLANS[loss]) + empties(loss) + [huge(loss)]
    wrt: dict[str, Any] = {"wrt": ("input", "target")}
    limits: dict[str, Any] = {**wrt, "differs": LIMIT_REASON, "documented": soft_documented}
    rows = [[0.0, 1, -0.5], [2, -0.0, 20]]
    for dtype in FLOAT_DTYPES:
        cases += [
            scored(loss, "hard", rows, [[0, 1, 1], [1, 0, 1]], dtype=dtype, **wrt),
            scored(loss, "target_range", rows, [[-1, 2, 0.5], [5, 0.25, 3]], dtype=dtype, **wrt),
            scored(loss, "saturated", [[60, -60, 1000, -1000]], [[0, 1, 0, 1]], dtype=dtype, **wrt),
        ]
    weights = {"zero_weights": [0, 0, 0], "some_zero_weights": [0, 2, 0], "negative_weights": [-1, 1, -2]}
    for label, weight in weights.items():
        for reduction in REDUCTIONS:
            changes: dict[str, Any] = {"weight": weight, "wrt": ("input", "target", "weight"), "reduction": reduction}
            cases.append(scored(loss, f"{label}_{reduction}", rows, [[0, 1, 1], [1, 0, 0.5]], **changes))
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    cases += [
        refused(loss, "scalar", {"input": torch.tensor(1.0), "target": torch.tensor(1.0)}),
        refused(loss, "not_broadcastable", {"input": x, "target": torch.ones(3, 5)}),
        refused(loss, "weight_size", {"input": x, "target": x, "weight": torch.ones(3)}),
    ]
    same, one = "they must be the same", "weight must have shape [4], not "
    wider: list[tuple[str, Tensors, str, str]] = [
        ("broadcast_target", {"input": x, "target": torch.ones(4)}, MISMATCH, f"[3, 4] and [4]: {same}"),
        ("weight_rank", {"input": x, "target": x, "weight": torch.ones(3, 4)}, WEIGHT_REASON, f"{one}[3, 4]"),
        ("weight_one", {"input": x, "target": x, "weight": torch.ones(1)}, WEIGHT_REASON, f"{one}[1]"),
    ]
    for label, tensors, reason, message in wider:
        case = refused(loss, label, tensors)
        case.differs, case.documented_error = reason, ("ValueError", message)
        cases.append(case)
    infinite = ([[INF, -INF, 1], [-INF, INF, 0]], [[1, 0, 1], [1, 0, 0]])
    return cases + [
        scored(loss, "infinite_right", infinite[0][:1], infinite[1][:1], **limits),
        scored(loss, "infinite", *infinite, **limits),
        scored(loss, "infinite", *infinite, dtype=torch.float64, **limits),
        scored(loss, "infinite_soft", [[INF, 0.5], [-INF, 1]], [[0.5, 1], [0.25, 0]], **wrt),
        scored(loss, "nan", [[NAN, 1], [1, 2]], [[1, 1], [NAN, 0]], **wrt),
        scored(loss, "confident", [[17, -20, 40, -80]], [[1, 0, 1, 0]], **wrt),
        scored(loss, "confident", [[17, -20, 40, -80]], [[1, 0, 1, 0]], dtype=torch.float64, **wrt),
        scored(loss, "confident_scaled", [[17], [-30]], [[1], [0]], grad_output=torch.full((2,), 2.0**24)),
        scored(loss, "denormal", [[1e-45, -1e-40]], [[1, 0]], **wrt),
        scored(loss, "no_classes", [[], []], [[], []], **wrt),
        scored(loss, "vector", [1, -2, 0.5], [1, 0, 0.5], weight=[1, 2, 3], wrt=("input", "target", "weight")),
    ]
