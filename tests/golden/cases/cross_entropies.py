# SPDX-License-Identifier: Apache-2.0
"""Pairwise cases of the binary cross-entropies, cross_entropy and nll_loss, and their longest rows."""

from typing import Any

import torch

from cases.classes import class_count, cross_entropy, nll_loss, rows_shape
from cases.elementwise import binary_cross_entropy, binary_cross_entropy_with_logits
from cases.pairwise import Plan, Row, Shape, broadcast_shape, pairwise_cases, uniform
from cases.tensors import Case, Tensors, generator_for, with_normalizer

INDEX_DTYPES = (torch.int64, torch.int32, torch.uint8)
WEIGHT_SHAPES = ("absent", "same", "row", "column", "first", "scalar")
# lossd's pos_weight is PyTorch's: it broadcasts to the input, and PyTorch takes no scalar for it.
POS_WEIGHT_SHAPES = ("absent", "same", "row", "column")
SHAPES: dict[str, tuple[Shape, ...]] = {
    "C1": ((1, 1), (1,)),
    "C10": ((10,),),
    "empty": ((0, 4), (2, 3, 0)),
    "N1_C2": ((1, 2),),
    "N5_C3": ((5, 3),),
    "N16_C4": ((15, 4), (16, 4), (17, 4)),
    "N3_C16": ((3, 15), (3, 16), (3, 17)),
    "cube": ((2, 3, 5), (3, 4, 1)),
    "four": ((2, 3, 4, 5),),
    "five": ((2, 4, 2, 3, 2),),
    "C1025": ((1, 1023), (2, 1024), (1, 1025)),
    "N1025": ((513, 2),),
}


def weights(row: Row, names: tuple[str, ...], shape: Shape, generator: torch.Generator) -> Tensors:
    """The weights that the row has, each in its shape."""
    chosen = {name: row[name] for name in names if row[name] != "absent"}
    return {name: uniform(broadcast_shape(kind, shape), generator) for name, kind in chosen.items()}


def probability_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Probabilities away from 0 and 1, soft or hard targets and a weight; differentiated targets are inside."""
    target = uniform(shape, generator, 0.0, 1.0)
    if row["kind"] == "hard":
        target = target.round()
    if row["wrt"] in ("all", "single"):
        target = target.clamp(0.01, 0.99)
    tensors = {"input": uniform(shape, generator, 0.02, 0.98), "target": target}
    return tensors | weights(row, ("weight",), shape, generator)


def logit_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Logits, soft or hard targets and weights."""
    target = uniform(shape, generator, 0.0, 1.0)
    return {
        "input": 2 * torch.randn(shape, generator=generator, dtype=torch.float64),
        "target": target.round() if row["kind"] == "hard" else target,
    } | weights(row, ("weight", "pos_weight"), shape, generator)


def ignored_somewhere(row: Row, target: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Some targets ignored, the first never, where the target's dtype can hold the ignored index."""
    ignored = -100 if row["ignore_index"] is None else row["ignore_index"]
    if row["target"] == torch.uint8 and ignored < 0:
        return target
    chosen = torch.rand(target.shape, generator=generator) < 0.3
    target = torch.where(chosen, ignored, target)
    if target.numel():
        target.view(-1)[0] = 0
    return target


def class_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Scores, class indices or class probabilities, and class weights."""
    classes, axis = class_count(shape), min(1, len(shape) - 1)
    scores = 1.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    if "label_smoothing" not in row:
        scores = scores.log_softmax(axis)
    if row["target"] == "probabilities":
        target = torch.randn(shape, generator=generator, dtype=torch.float64).softmax(axis)
    else:
        target = torch.randint(min(classes, 256), rows_shape(shape), generator=generator)
        target = ignored_somewhere(row, target, generator).to(row["target"])
    tensors = {"input": scores, "target": target}
    if row["weight"]:
        tensors["weight"] = uniform((classes,), generator)
    return tensors


def class_wrt(tensors: Tensors) -> tuple[str, ...]:
    """Everything floating for class probabilities, the scores alone for class indices."""
    return tuple(tensors) if tensors["target"].is_floating_point() else ("input",)


def negative_ignore_index(row: Row, parameters: dict[str, Any]) -> dict[str, Any]:
    """With class probabilities ignore_index must be negative."""
    if row["target"] == "probabilities" and parameters.get("ignore_index", -1) >= 0:
        return parameters | {"ignore_index": -1}
    return parameters


PLANS = {
    "binary_cross_entropy": Plan(
        "binary_cross_entropy",
        with_normalizer(binary_cross_entropy),
        probability_make,
        default_wrt=("input",),
        all_wrt=lambda tensors: ("input", "target"),
        options={"weight": WEIGHT_SHAPES, "kind": ("soft", "hard")},
    ),
    "binary_cross_entropy_with_logits": Plan(
        "binary_cross_entropy_with_logits",
        with_normalizer(binary_cross_entropy_with_logits),
        logit_make,
        default_wrt=("input",),
        all_wrt=lambda tensors: ("input", "target"),
        options={"weight": WEIGHT_SHAPES, "pos_weight": POS_WEIGHT_SHAPES, "kind": ("soft", "hard")},
    ),
    "cross_entropy": Plan(
        "cross_entropy",
        with_normalizer(cross_entropy),
        class_make,
        default_wrt=("input",),
        all_wrt=class_wrt,
        shapes=SHAPES,
        parameters={"ignore_index": (None, 2, -1, 255), "label_smoothing": (None, 0.1, 1.0)},
        options={"weight": (False, True), "target": (*INDEX_DTYPES, "probabilities")},
        adjust=negative_ignore_index,
    ),
    "nll_loss": Plan(
        "nll_loss",
        with_normalizer(nll_loss),
        class_make,
        default_wrt=("input",),
        all_wrt=class_wrt,
        shapes=SHAPES,
        parameters={"ignore_index": (None, 2, -1, 255)},
        options={"weight": (False, True), "target": INDEX_DTYPES},
    ),
}


def huge(loss: str) -> Case:
    """One row of 32000 classes in float32."""
    name = f"{loss}/edge/huge/float32"
    scores = torch.randint(-512, 513, (1, 32000), generator=generator_for(name)).float() / 128
    if loss == "nll_loss":
        scores = scores - 12
    return Case(name, loss, {"input": scores, "target": torch.tensor([31999])}, reduction="sum", wrt=("input",))


def with_pairwise_cases(loss: str, cases: list[Case]) -> list[Case]:
    """The cases, the pairwise ones and, where the loss has classes, a long row."""
    return cases + pairwise_cases(PLANS[loss]) + ([huge(loss)] if loss in ("cross_entropy", "nll_loss") else [])
