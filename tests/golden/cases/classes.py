# SPDX-License-Identifier: Apache-2.0
"""Cases of cross_entropy and nll_loss."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from cases.tensors import DTYPE_NAMES, FLOAT_DTYPES, Case, MaskedProduct, generator_for, reduced

Tensors = dict[str, torch.Tensor]
REDUCTIONS = ("mean", "sum", "none")
SHAPES: dict[str, tuple[int, ...]] = {
    "C1": (1,),
    "C10": (10,),
    "N0_C4": (0, 4),
    "N1_C1": (1, 1),
    "N1_C2": (1, 2),
    "N5_C3": (5, 3),
    "N15_C10": (15, 10),
    "N16_C10": (16, 10),
    "N17_C10": (17, 10),
    "N4_C1000": (4, 1000),
    "N3_C1025": (3, 1025),
    "N1025_C2": (1025, 2),
    "N2_C3_5": (2, 3, 5),
    "N2_C3_0": (2, 3, 0),
    "N2_C3_4_5": (2, 3, 4, 5),
    "N2_C4_2_3_2": (2, 4, 2, 3, 2),
}
INF, NAN = math.inf, math.nan
IGNORED_REASON = "a row whose target is ignored has zero gradient even where it holds NaN or infinity"
ZERO_REASON = "0 * -inf is 0 in the sum over classes"
RELATIVE_REASON = "PyTorch returns 0 for the loss and gradient of a confidently correct row; lossd does not"

SMOOTHING_REASON = "PyTorch takes a negative label_smoothing for none; lossd refuses it"


def index_target(tensors: Tensors, parameters: dict[str, Any]) -> torch.Tensor:
    """The target as PyTorch accepts it: int32 is widened, and uint8 where PyTorch has no kernel for it."""
    target = tensors["target"]
    weighted_smoothing = "weight" in tensors and parameters.get("label_smoothing", 0) > 0
    refused = target.dim() > 1 or weighted_smoothing
    return target.long() if target.dtype == torch.int32 or (target.dtype == torch.uint8 and refused) else target


def cross_entropy(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's cross-entropy."""
    target = index_target(tensors, parameters)
    return F.cross_entropy(tensors["input"], target, tensors.get("weight"), reduction=reduction, **parameters)


def nll_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's negative log-likelihood, whose gradient PyTorch lacks for strided input of more than two dimensions."""
    target, scores = index_target(tensors, parameters), tensors["input"].contiguous()
    return F.nll_loss(scores, target, tensors.get("weight"), reduction=reduction, **parameters)


def ignored_documented(
    tensors: Tensors, parameters: dict[str, Any], reduction: str, normalizer: float | None
) -> torch.Tensor:
    """Cross-entropy where ignored rows are cleared before any arithmetic."""
    del normalizer
    ignored = tensors["target"] == parameters.get("ignore_index", -100)
    cleared = torch.where(ignored.unsqueeze(min(1, ignored.dim())), 0.0, tensors["input"])
    return cross_entropy({**tensors, "input": cleared}, parameters, reduction)


def probability_documented(
    tensors: Tensors, parameters: dict[str, Any], reduction: str, normalizer: float | None
) -> torch.Tensor:
    """Class-probability cross-entropy where a zero coefficient gives zero."""
    del normalizer
    scores, target = tensors["input"], tensors["target"]
    axis = min(1, scores.dim() - 1)
    smoothing = parameters.get("label_smoothing", 0.0)
    coefficient = target * (1 - smoothing) + smoothing / scores.shape[axis]
    if "weight" in tensors:
        coefficient = coefficient * tensors["weight"].reshape(-1, *(1 for _ in range(scores.dim() - axis - 1)))
    loss = -MaskedProduct.apply(coefficient, torch.log_softmax(scores, axis)).sum(axis)
    return reduced(loss, reduction)


def rows_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without its classes."""
    return shape[:1] + shape[2:] if len(shape) > 1 else ()


def class_count(shape: tuple[int, ...]) -> int:
    """The number of classes of an input shape."""
    return shape[1] if len(shape) > 1 else shape[0]


def indexed(
    loss: str, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator, scale: float = 2.0
) -> Tensors:
    """Scores (log-probabilities for nll_loss) and class indices."""
    scores = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    if loss == "nll_loss":
        scores = torch.log_softmax(scores, min(1, len(shape) - 1))
    target = torch.randint(class_count(shape), rows_shape(shape), generator=generator)
    return {"input": scores.to(dtype), "target": target}


def probable(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Tensors:
    """Scores and class probabilities that add to one."""
    scores = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    target = torch.randn(shape, generator=generator, dtype=torch.float64).softmax(min(1, len(shape) - 1))
    return {"input": scores.to(dtype), "target": target.to(dtype)}


def class_weight(classes: int, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """Weights between 0.25 and 2.25."""
    return (0.25 + 2 * torch.rand(classes, generator=generator, dtype=torch.float64)).to(dtype)


def shape_cases(loss: str, kind: str) -> list[Case]:
    """Every shape in float32, with the reductions in turn."""
    cases = []
    for index, (label, shape) in enumerate(SHAPES.items()):
        if kind == "probability" and label in ("N1025_C2", "N4_C1000", "N16_C10", "N17_C10"):
            continue
        for reduction in {REDUCTIONS[index % 3], "mean"} if 0 in shape else {REDUCTIONS[index % 3]}:
            name = f"{loss}/{kind}/shape/{label}/{reduction}"
            generator = generator_for(name)
            if kind == "index":
                tensors = indexed(loss, shape, torch.float32, generator)
            else:
                tensors = probable(shape, torch.float32, generator)
            wrt = ("input",) if kind == "index" else ("input", "target")
            cases.append(Case(name, loss, tensors, reduction=reduction, wrt=wrt, autoscale=reduction == "mean"))
    return sorted(cases, key=lambda case: case.name)


def dtype_cases(loss: str, kind: str) -> list[Case]:
    """Every floating dtype with every reduction, weighted, grad_output given."""
    cases = []
    for dtype in FLOAT_DTYPES:
        for reduction in REDUCTIONS:
            name = f"{loss}/{kind}/dtype/{DTYPE_NAMES[dtype]}/{reduction}"
            generator = generator_for(name)
            tensors = indexed(loss, (6, 5), dtype, generator) if kind == "index" else probable((6, 5), dtype, generator)
            tensors["weight"] = class_weight(5, dtype, generator)
            upstream = None
            if reduction == "none":
                upstream = torch.randn(6, generator=generator, dtype=torch.float64).to(dtype)
            elif reduction == "sum":
                upstream = torch.tensor(-1.5, dtype=dtype)
            wrt = ("input",) if kind == "index" else ("input", "target")
            case = Case(name, loss, tensors, reduction=reduction, wrt=wrt, grad_output=upstream)
            case.autoscale = reduction == "mean"
            cases.append(case)
    return cases


def index_option_cases(loss: str) -> list[Case]:
    """weight, ignore_index and label_smoothing alone and together, for every reduction."""
    options: dict[str, dict[str, Any]] = {
        "ignore": {"ignore_index": 2},
        "ignore_default": {},
        "weight+ignore": {"ignore_index": -1},
    }
    if loss == "cross_entropy":
        options |= {
            "smoothing": {"label_smoothing": 0.1},
            "smoothing_one": {"label_smoothing": 1.0},
            "weight+smoothing": {"label_smoothing": 0.3},
            "smoothing+ignore": {"label_smoothing": 0.2, "ignore_index": 0},
            "weight+smoothing+ignore": {"label_smoothing": 0.2, "ignore_index": -100},
        }
    cases = []
    for label, parameters in options.items():
        for reduction in REDUCTIONS:
            name = f"{loss}/index/{label}/{reduction}"
            generator = generator_for(name)
            tensors = indexed(loss, (4, 5, 3), torch.float32, generator)
            if "weight" in label:
                tensors["weight"] = class_weight(5, torch.float32, generator)
            ignored = parameters.get("ignore_index", -100)
            if "ignore" in label:
                chosen = torch.rand((4, 3), generator=generator) < 0.3
                tensors["target"] = torch.where(chosen, ignored, tensors["target"])
            case = Case(name, loss, tensors, dict(parameters), reduction, ("input",))
            case.autoscale = reduction == "mean"
            cases.append(case)
    return cases


def target_dtype_cases(loss: str) -> list[Case]:
    """uint8 and int32 class indices, with and without the options."""
    cases = []
    for dtype in (torch.uint8, torch.int32):
        for label in ("plain", "ignore", "smoothing"):
            if label == "smoothing" and loss == "nll_loss":
                continue
            name = f"{loss}/index/target/{DTYPE_NAMES[dtype]}/{label}"
            tensors = indexed(loss, (7, 4), torch.float32, generator_for(name))
            tensors["target"] = tensors["target"].to(dtype)
            parameters: dict[str, Any] = {}
            if label == "ignore":
                parameters["ignore_index"] = 255 if dtype == torch.uint8 else -100
                tensors["target"][2:4] = parameters["ignore_index"]
            elif label == "smoothing":
                parameters["label_smoothing"] = 0.1
            cases.append(Case(name, loss, tensors, parameters, wrt=("input",), autoscale=True))
    return cases


def denominator_cases(loss: str) -> list[Case]:
    """Zero and unusual denominators, and the normalizer."""
    cases = []
    for reduction in REDUCTIONS:
        name = f"{loss}/index/all_ignored/{reduction}"
        tensors = indexed(loss, (3, 4), torch.float32, generator_for(name))
        tensors["target"] = torch.full((3,), -100)
        cases.append(Case(name, loss, tensors, reduction=reduction, wrt=("input",)))
        name = f"{loss}/index/zero_weights/{reduction}"
        tensors = indexed(loss, (3, 4), torch.float32, generator_for(name)) | {"weight": torch.zeros(4)}
        cases.append(Case(name, loss, tensors, reduction=reduction, wrt=("input",)))
    name = f"{loss}/index/one_row_weight_cancels"
    tensors = indexed(loss, (1, 3), torch.float32, generator_for(name)) | {"weight": torch.full((3,), 4.0)}
    cases.append(Case(name, loss, tensors, wrt=("input",)))
    for ignored in (False, True):
        name = f"{loss}/index/two_rows_{'one_ignored' if ignored else 'first_only'}"
        tensors = indexed(loss, (2, 3), torch.float32, generator_for(f"{loss}/two_rows"))
        if ignored:
            tensors["target"][1] = -100
        else:
            tensors = {key: value[:1] for key, value in tensors.items()}
        cases.append(Case(name, loss, tensors, wrt=("input",)))
    for dtype in (torch.float32, torch.bfloat16):
        name = f"{loss}/index/normalizer/{DTYPE_NAMES[dtype]}"
        generator = generator_for(name)
        tensors = indexed(loss, (5, 4, 2), dtype, generator) | {"weight": class_weight(4, dtype, generator)}
        tensors["target"][1, 0] = -100
        cases.append(Case(name, loss, tensors, wrt=("input",), normalizer=12.25, autoscale=True))
    return cases


def edge(
    label: str, rows: Sequence[Sequence[float]], target: list[Any], loss: str = "cross_entropy", **changes: Any
) -> Case:
    """A case of listed rows; integers are class indices, lists are probabilities."""
    dtype = changes.pop("dtype", torch.float32)
    soft = bool(target) and isinstance(target[0], list)
    tensors = {
        "input": torch.tensor(rows, dtype=torch.float64).to(dtype),
        "target": torch.tensor(target, dtype=torch.float64).to(dtype) if soft else torch.tensor(target),
    }
    if "weight" in changes:
        tensors["weight"] = torch.tensor(changes.pop("weight"), dtype=dtype)
    kind = "probability" if soft else "index"
    wrt = ("input", "target") if soft else ("input",)
    settings: dict[str, Any] = {"reduction": "none", "wrt": wrt} | changes
    return Case(f"{loss}/{kind}/edge/{label}/{DTYPE_NAMES[dtype]}", loss, tensors, **settings)


def cross_entropy_edge_cases() -> list[Case]:
    """Extreme logits with class indices."""
    hard: list[list[float]] = [[30.0, 0, -5], [0, 60, 1], [-40, -40, 50], [0, 0, 17]]
    broken: list[list[float]] = [[NAN, 1, 2], [INF, 0, 1], [-INF, -INF, -INF], [1, 2, 3]]
    ignored: dict[str, Any] = {"differs": IGNORED_REASON, "documented": ignored_documented}
    cases = [
        edge("minus_infinity_elsewhere", [[-INF, 1, 2], [0.5, -INF, -INF]], [1, 0]),
        edge("minus_infinity_at_target", [[-INF, 1, 2], [0.5, -INF, 3]], [0, 1]),
        edge("all_minus_infinity", [[-INF] * 3, [0, 1, 2]], [0, 1]),
        edge("plus_infinity", [[INF, 1, 2], [0.5, 1, INF]], [0, 0]),
        edge("nan", [[NAN, 1, 2], [0.5, 1, 3]], [1, 1]),
        edge("ties", [[2, 2, 2], [0, -0.0, 0]], [1, 2]),
        edge("large", [[3e38, -3e38, 0], [1e30, 1e30, 0]], [1, 0]),
        edge("denormal", [[1e-45, -1e-45, 1e-40]], [0]),
        edge("wrong", [[90, 0, 0], [0, 200, 0], [0, 1e4, -1e4]], [1, 0, 2]),
        edge("confident", hard, [0, 1, 2, 2]),
        edge("confident", hard, [0, 1, 2, 2], dtype=torch.float64),
        edge(
            "confident_scaled",
            hard[:1] + hard[3:],
            [0, 2],
            grad_output=torch.full((2,), 2.0**24),
            differs=RELATIVE_REASON,
        ),
        edge("offset", [[1e4 + 1, 1e4, 1e4 - 2], [-5e3, -5e3 + 0.5, -5e3 - 1]], [1, 2]),
        edge("smoothing_minus_infinity", [[-INF, 1, 2]], [1], parameters={"label_smoothing": 0.1}),
        edge("half_range", [[60000, -60000, 0], [11, 0, 0]], [1, 0], dtype=torch.float16),
        edge(
            "negative_smoothing",
            [[1, 2, 3]],
            [1],
            parameters={"label_smoothing": -0.5},
            differs=SMOOTHING_REASON,
            documented_error=("ValueError", "label_smoothing = -0.5 is outside [0, 1]"),
        ),
    ]
    for reduction in REDUCTIONS:
        cases.append(
            edge(f"ignored_broken_rows/{reduction}", broken, [-100, -100, -100, 1], reduction=reduction, **ignored)
        )
    cases.append(
        edge(
            "ignored_broken_smoothing",
            broken,
            [-100, -100, -100, 1],
            parameters={"label_smoothing": 0.1},
            reduction="mean",
            **ignored,
        )
    )
    cases.append(edge("all_ignored_broken", broken[:2], [-100, -100], reduction="mean", **ignored))
    return cases


def probability_cases() -> list[Case]:
    """Class probabilities: options, edges."""
    loss = "cross_entropy"
    cases = shape_cases(loss, "probability") + dtype_cases(loss, "probability")
    for reduction in REDUCTIONS:
        for label in ("weight", "smoothing", "weight+smoothing"):
            name = f"{loss}/probability/{label}/{reduction}"
            generator = generator_for(name)
            tensors = probable((3, 4, 2), torch.float32, generator)
            if "weight" in label:
                tensors["weight"] = class_weight(4, torch.float32, generator)
            parameters = {"label_smoothing": 0.15} if "smoothing" in label else {}
            case = Case(name, loss, tensors, parameters, reduction, ("input", "target"))
            case.autoscale = reduction == "mean"
            cases.append(case)
    name = f"{loss}/probability/normalizer/float32"
    tensors = probable((5, 4), torch.float32, generator_for(name))
    cases.append(Case(name, loss, tensors, wrt=("input", "target"), normalizer=7.5, autoscale=True))
    masked: dict[str, Any] = {"differs": ZERO_REASON, "documented": probability_documented}
    rows: list[list[float]] = [[-INF, 1, 2], [0.5, -INF, -INF]]
    return cases + [
        edge("zero_on_minus_infinity", rows, [[0, 0.5, 0.5], [1, 0, 0]], **masked),
        edge("zero_weight_on_minus_infinity", rows[:1], [[0.2, 0.4, 0.4]], weight=[0, 1, 1], wrt=("input",), **masked),
        edge("positive_on_minus_infinity", rows[:1], [[0.2, 0.4, 0.4]]),
        edge("plus_infinity", [[INF, 1, 2]], [[0.5, 0.25, 0.25]]),
        edge("unnormalised", [[0.5, 1, 2], [1, 0, -1]], [[2, 0.5, 1], [0.1, 0, 0.1]]),
        edge("negative", [[0.5, 1, 2]], [[-0.5, 1, 0.5]]),
        edge("one_hot", [[0.5, 1, 2], [1, 0, -1]], [[0, 1, 0], [0, 0, 1]], weight=[1, 2, 5], reduction="mean"),
        edge("all_zero", [[0.5, 1, 2]], [[0, 0, 0]]),
        edge("one_class", [[3.0], [4.0], [5.0]], [[1.0], [0.5], [0.0]]),
    ]


def error(loss: str, label: str, tensors: Tensors, parameters: dict[str, Any] | None = None) -> Case:
    """A case that PyTorch refuses."""
    return Case(f"{loss}/error/{label}", loss, tensors, parameters or {}, wrt=("input",))


def error_cases(loss: str) -> list[Case]:
    """What PyTorch refuses of both losses."""
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    good = torch.tensor([0, 1, 3])
    wrong: list[tuple[str, Tensors, dict[str, Any]]] = [
        ("target_too_large", {"input": x, "target": torch.tensor([0, 4, 1])}, {}),
        ("target_negative", {"input": x, "target": torch.tensor([0, -1, 1])}, {}),
        ("target_not_ignored", {"input": x, "target": torch.tensor([0, -100, 1])}, {"ignore_index": 2}),
        ("spatial_target_too_large", {"input": x.reshape(1, 3, 4), "target": torch.tensor([[0, 3, 1, 1]])}, {}),
        ("batch", {"input": x, "target": good[:2]}, {}),
        ("spatial", {"input": x.reshape(1, 3, 4), "target": torch.tensor([[0, 1, 1]])}, {}),
        ("weight_size", {"input": x, "target": good, "weight": torch.ones(3)}, {}),
        ("weight_rank", {"input": x, "target": good, "weight": torch.ones(4, 1)}, {}),
        ("scalar_input", {"input": torch.tensor(1.0), "target": torch.tensor(0)}, {}),
    ]
    if loss == "cross_entropy":
        wrong += [
            ("smoothing_above_one", {"input": x, "target": good}, {"label_smoothing": 1.5}),
            ("smoothing_target_too_large", {"input": x, "target": good + 3}, {"label_smoothing": 0.1}),
            ("probability_ignore_index", {"input": x, "target": x.softmax(1)}, {"ignore_index": 0}),
            ("probability_integer", {"input": x[:, :1], "target": good.reshape(3, 1)}, {}),
            ("probability_shape", {"input": x, "target": torch.ones(3, 5)}, {}),
            ("float_indices", {"input": x, "target": good.float()}, {}),
        ]
    return [error(loss, label, tensors, parameters) for label, tensors, parameters in wrong]


def cross_entropy_cases() -> list[Case]:
    """Cases of cross_entropy."""
    loss = "cross_entropy"
    cases = shape_cases(loss, "index") + dtype_cases(loss, "index") + index_option_cases(loss)
    cases += target_dtype_cases(loss) + denominator_cases(loss) + cross_entropy_edge_cases()
    return cases + probability_cases() + error_cases(loss)


def nll_loss_cases() -> list[Case]:
    """Cases of nll_loss."""
    loss = "nll_loss"
    cases = shape_cases(loss, "index") + dtype_cases(loss, "index") + index_option_cases(loss)
    cases += target_dtype_cases(loss) + denominator_cases(loss) + error_cases(loss)
    return cases + [
        edge("minus_infinity", [[-INF, -1, -2], [-0.5, -INF, -1]], [0, 0], loss=loss),
        edge("nan_elsewhere", [[NAN, -1, -2], [-0.5, INF, -1]], [1, 0], loss=loss),
        edge("nan_at_target", [[NAN, -1, -2]], [0], loss=loss),
        edge("ignored_broken_rows", [[NAN, INF, -INF], [-0.5, -2, -1]], [-100, 1], loss=loss, reduction="mean"),
        edge("positive_scores", [[1, 2, 3], [1e30, 0, 0]], [2, 0], loss=loss),
        edge("denormal", [[-1e-45, 1e-40, 0]], [0], loss=loss),
        edge("zero_weight_infinite", [[-INF, -1, -2], [-0.5, -1, -3]], [0, 1], loss=loss, weight=[0, 1, 1]),
    ]
