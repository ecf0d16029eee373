# SPDX-License-Identifier: Apache-2.0
"""Cases of binary_cross_entropy, binary_cross_entropy_with_logits and mse_loss."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from cases.tensors import DTYPE_NAMES, FLOAT_DTYPES, Case, MaskedProduct, generator_for, reduced

Tensors = dict[str, torch.Tensor]
WRT = ("input", "target")
REDUCTIONS = ("mean", "sum", "none")
SHAPES: dict[str, tuple[int, ...]] = {
    "scalar": (),
    "one": (1,),
    "empty": (0,),
    "empty_2d": (3, 0),
    "vector15": (15,),
    "vector16": (16,),
    "vector17": (17,),
    "vector1023": (1023,),
    "vector1024": (1024,),
    "vector1025": (1025,),
    "matrix": (5, 7),
    "cube": (2, 3, 5),
    "four": (2, 3, 2, 3),
    "five": (2, 1, 3, 2, 2),
}
INF, NAN = math.inf, math.nan


def binary_cross_entropy(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's binary cross-entropy of probabilities."""
    del parameters
    return F.binary_cross_entropy(tensors["input"], tensors["target"], tensors.get("weight"), reduction=reduction)


def binary_cross_entropy_with_logits(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's binary cross-entropy of logits."""
    del parameters
    return F.binary_cross_entropy_with_logits(
        tensors["input"],
        tensors["target"],
        tensors.get("weight"),
        pos_weight=tensors.get("pos_weight"),
        reduction=reduction,
    )


def mse_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's mean squared error."""
    del parameters
    return F.mse_loss(tensors["input"], tensors["target"], reduction=reduction, weight=tensors.get("weight"))


def logits_documented(
    tensors: Tensors, parameters: dict[str, Any], reduction: str, normalizer: float | None
) -> torch.Tensor:
    """(1 - t) softplus(x) + t pos_weight softplus(-x), where a zero coefficient gives zero."""
    del parameters, normalizer
    x, t = tensors["input"], tensors["target"]
    pos_weight = tensors.get("pos_weight", torch.ones((), dtype=x.dtype))
    first = MaskedProduct.apply((1 - t).expand(x.shape), softplus(x))
    second = MaskedProduct.apply((t * pos_weight).expand(x.shape), softplus(-x))
    loss = (first + second) * tensors.get("weight", torch.ones((), dtype=x.dtype))
    return reduced(loss, reduction)


def softplus(x: torch.Tensor) -> torch.Tensor:
    """log(1 + exp(x)) that holds at the infinities, in value and gradient."""
    finite = torch.where(torch.isinf(x), 0.0, x)
    smooth = torch.logaddexp(torch.zeros_like(finite), finite)
    return torch.where(torch.isneginf(x), 0.0 * finite, torch.where(torch.isposinf(x), x, smooth))


def probabilities(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Tensors:
    """Probabilities away from the ends and soft targets."""
    return {
        "input": (0.02 + 0.96 * torch.rand(shape, generator=generator, dtype=torch.float64)).to(dtype),
        "target": torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype),
    }


def logits(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Tensors:
    """Logits of standard deviation 3 and soft targets."""
    return {
        "input": (3 * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype),
        "target": torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype),
    }


def reals(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Tensors:
    """Normal predictions and targets."""
    return {
        "input": torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype),
        "target": torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype),
    }


Maker = Callable[[tuple[int, ...], torch.dtype, torch.Generator], Tensors]


def uniform(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """Weights between 0.25 and 2.25."""
    return (0.25 + 2 * torch.rand(shape, generator=generator, dtype=torch.float64)).to(dtype)


def shape_cases(loss: str, make: Maker) -> list[Case]:
    """Every shape in float32, with the reductions in turn."""
    cases = []
    for index, (label, shape) in enumerate(SHAPES.items()):
        reduction = REDUCTIONS[index % 3]
        name = f"{loss}/shape/{label}/{reduction}"
        tensors = make(shape, torch.float32, generator_for(name))
        cases.append(Case(name, loss, tensors, reduction=reduction, wrt=WRT, autoscale=reduction == "mean"))
    empty = make((0, 4), torch.float32, generator_for(loss))
    return cases + [
        Case(f"{loss}/shape/empty/{reduction}", loss, empty, reduction=reduction, wrt=WRT)
        for reduction in ("mean", "sum")
    ]


def dtype_cases(loss: str, make: Maker) -> list[Case]:
    """Every floating dtype with every reduction, grad_output given."""
    cases = []
    for dtype in FLOAT_DTYPES:
        for reduction in REDUCTIONS:
            name = f"{loss}/dtype/{DTYPE_NAMES[dtype]}/{reduction}"
            generator = generator_for(name)
            tensors = make((4, 9), dtype, generator)
            upstream = None
            if reduction == "none":
                upstream = torch.randn((4, 9), generator=generator, dtype=torch.float64).to(dtype)
            elif reduction == "sum":
                upstream = torch.tensor(-1.5, dtype=dtype)
            case = Case(name, loss, tensors, reduction=reduction, wrt=WRT, grad_output=upstream)
            case.autoscale = reduction == "mean"
            cases.append(case)
    for dtype, reduction in ((torch.bfloat16, "mean"), (torch.float16, "sum")):
        name = f"{loss}/dtype/{DTYPE_NAMES[dtype]}/{reduction}_of_1025"
        tensors = make((1025,), dtype, generator_for(name))
        cases.append(Case(name, loss, tensors, reduction=reduction, wrt=("input",), autoscale=reduction == "mean"))
    return cases


def option_cases(loss: str, make: Maker, names: tuple[str, ...], shapes: dict[str, tuple[int, ...]]) -> list[Case]:
    """Each weight tensor alone and all together, in each broadcast shape, and the normalizer."""
    cases = []
    choices = [(name,) for name in names] + ([names] if len(names) > 1 else [])
    index = 0
    for choice in choices:
        for label, shape in shapes.items():
            reduction = REDUCTIONS[index % 3]
            index += 1
            name = f"{loss}/{'+'.join(choice)}/{label}/{reduction}"
            generator = generator_for(name)
            tensors = make((4, 3, 5), torch.float32, generator)
            for weight in choice:
                tensors[weight] = uniform(shape, torch.float32, generator)
            cases.append(Case(name, loss, tensors, reduction=reduction, wrt=WRT, autoscale=reduction == "mean"))
    for dtype in (torch.float32, torch.float16):
        name = f"{loss}/normalizer/{DTYPE_NAMES[dtype]}"
        generator = generator_for(name)
        tensors = make((3, 5), dtype, generator)
        tensors["weight"] = uniform((3, 5), dtype, generator)
        cases.append(Case(name, loss, tensors, wrt=WRT, normalizer=37.5, autoscale=True))
    name = f"{loss}/weight/zero/mean"
    tensors = make((3, 5), torch.float32, generator_for(name))
    tensors["weight"] = torch.zeros((3, 5))
    cases.append(Case(name, loss, tensors, wrt=WRT))
    name = f"{loss}/grad_output/zero"
    cases.append(
        Case(name, loss, make((3, 5), torch.float32, generator_for(name)), wrt=WRT, grad_output=torch.tensor(0.0))
    )
    return cases


def edge(
    loss: str, label: str, x: Sequence[float], t: Sequence[float], dtype: torch.dtype = torch.float32, **changes: Any
) -> Case:
    """A case of listed values, element-wise unless told otherwise."""
    tensors = {"input": torch.tensor(x, dtype=torch.float64), "target": torch.tensor(t, dtype=torch.float64)}
    tensors |= {key: torch.tensor(value, dtype=torch.float64) for key, value in changes.pop("weights", {}).items()}
    tensors = {key: value.to(dtype) for key, value in tensors.items()}
    settings: dict[str, Any] = {"reduction": "none", "wrt": WRT} | changes
    return Case(f"{loss}/edge/{label}/{DTYPE_NAMES[dtype]}", loss, tensors, **settings)


def error(loss: str, label: str, tensors: Tensors, **changes: Any) -> Case:
    """A case that PyTorch refuses."""
    return Case(f"{loss}/error/{label}", loss, tensors, wrt=("input",), **changes)


def binary_cross_entropy_cases() -> list[Case]:
    """Cases of binary_cross_entropy."""
    loss = "binary_cross_entropy"
    broadcast = {"same": (4, 3, 5), "row": (5,), "column": (4, 1, 1), "scalar": ()}
    ends = ([0, 0, 1, 1, 0, 1], [0, 1, 0, 1, 0.5, 0.5])
    tiny = ([1e-45, 1e-38, 1e-30, 1e-12, 1 - 6e-8, 1e-7], [1, 1, 0, 1, 0, 0.25])
    cases = shape_cases(loss, probabilities) + dtype_cases(loss, probabilities)
    cases += option_cases(loss, probabilities, ("weight",), broadcast)
    for dtype in FLOAT_DTYPES:
        cases.append(edge(loss, "ends", *ends, dtype=dtype))
    cases += [
        edge(loss, "ends_mean", *ends, reduction="mean", wrt=("input",)),
        edge(loss, "tiny", *tiny),
        edge(loss, "tiny", [1e-300, 5e-324, 1e-44, 1 - 2**-53], [1, 1, 0.5, 0], dtype=torch.float64),
        edge(loss, "confident", [1e-6, 1 - 1e-6, 1e-4, 0.9999], [0, 1, 0, 1]),
        edge(loss, "negative_weight", [0.3, 0.6], [1, 0], weights={"weight": [-1.0, 0.0]}),
        edge(loss, "weighted_mean_numel", [0.5, 0.5], [1, 1], weights={"weight": [1, 3]}, reduction="mean"),
    ]
    half, ones = torch.full((2, 3), 0.5), torch.ones(2, 3)
    wrong = [
        ("shape", {"input": half, "target": torch.ones(2)}),
        ("above_one", {"input": half + 1, "target": ones}),
        ("below_zero", {"input": half - 1, "target": ones}),
        ("nan", {"input": half * NAN, "target": ones}),
        ("target_above_one", {"input": half, "target": ones * 2}),
        ("weight_shape", {"input": half, "target": ones, "weight": torch.ones(4)}),
    ]
    return cases + [error(loss, label, tensors) for label, tensors in wrong]


def binary_cross_entropy_with_logits_cases() -> list[Case]:
    """Cases of binary_cross_entropy_with_logits."""
    loss = "binary_cross_entropy_with_logits"
    broadcast = {"same": (4, 3, 5), "row": (5,), "column": (4, 1, 1)}
    cases = shape_cases(loss, logits) + dtype_cases(loss, logits)
    cases += option_cases(loss, logits, ("weight", "pos_weight"), broadcast)
    limits = "infinite logits give the limit: (inf, 1) and (-inf, 0) a loss of 0"
    relative = "PyTorch returns 0 for the loss and gradient of a confidently correct element; lossd does not"
    confident = ([20, -20, 40, -40, 80, -80, 17], [1, 0, 1, 0, 1, 0, 1])
    large = torch.full((7,), 2.0**24)
    cases += [
        edge(
            loss,
            "infinite",
            [INF, -INF, INF, -INF, INF, -INF],
            [1, 0, 0, 1, 0.5, 0.25],
            differs=limits,
            documented=logits_documented,
        ),
        edge(
            loss,
            "infinite",
            [INF, -INF, INF, -INF],
            [1, 0, 0, 1],
            dtype=torch.float64,
            differs=limits,
            documented=logits_documented,
        ),
        edge(loss, "nan", [NAN, 0.5], [1, 1]),
        edge(loss, "saturated", [100, -100, 1000, -1000, 89, -89], [0, 1, 0, 1, 0.5, 0.5]),
        edge(loss, "confident", *confident),
        edge(loss, "confident", *confident, dtype=torch.float64),
        edge(
            loss,
            "confident_scaled",
            *confident,
            grad_output=large,
            differs=relative,
            wrt=("input",),
            documented=logits_documented,
        ),
        edge(loss, "zero", [0, -0.0, 0, 1e-45], [0, 1, 0.5, 1]),
        edge(loss, "target_range", [1.5, -2, 0.3], [5, -1, 2]),
        edge(loss, "zero_pos_weight", [3, -3, 0.5], [1, 0, 0.5], weights={"pos_weight": [0, 0, 0]}),
        edge(loss, "half_range", [11, -11, 60000, -60000], [0, 1, 0, 1], dtype=torch.float16),
    ]
    x, ones = torch.ones(2, 3), torch.ones(2, 3)
    wrong = [
        ("shape", {"input": x, "target": torch.ones(2, 1)}),
        ("rank", {"input": torch.ones(2, 1), "target": torch.ones(2)}),
        ("weight_shape", {"input": x, "target": ones, "weight": torch.ones(4)}),
        ("pos_weight_shape", {"input": x, "target": ones, "pos_weight": torch.ones(2)}),
    ]
    return cases + [error(loss, label, tensors) for label, tensors in wrong]


def mse_cases() -> list[Case]:
    """Cases of mse_loss."""
    loss = "mse_loss"
    cases = shape_cases(loss, reals) + dtype_cases(loss, reals)
    cases += option_cases(loss, reals, ("weight",), {"same": (4, 3, 5)})
    for dtype in FLOAT_DTYPES:
        for reduction in REDUCTIONS:
            name = f"{loss}/weight/{DTYPE_NAMES[dtype]}/{reduction}"
            generator = generator_for(name)
            tensors = reals((3, 7), dtype, generator) | {"weight": uniform((3, 7), dtype, generator)}
            cases.append(Case(name, loss, tensors, reduction=reduction, wrt=WRT, autoscale=reduction == "mean"))
    cases += [
        edge(loss, "ties", [1, 0, -0.0, 3], [1, -0.0, 0, 3]),
        edge(loss, "infinite", [INF, -INF, INF, 1], [0, 0, INF, -INF]),
        edge(loss, "nan", [NAN, 1], [0, 2]),
        edge(loss, "tiny", [1e-20, 1e-45, 1e-30], [0, 0, 0]),
        edge(loss, "overflow", [3e19, -3e38], [0, 3e38]),
        edge(loss, "overflow", [300, -60000], [0, 60000], dtype=torch.float16),
        edge(loss, "cancel", [1e4 + 0.001, 4096.0005], [1e4, 4096]),
        edge(loss, "weight_some_zero", [1, NAN, 3], [2, 2, 2], weights={"weight": [1, 0, 2]}, reduction="mean"),
        edge(loss, "weight_negative", [1, 2, 3], [2, 2, 5], weights={"weight": [-1, 0.5, 2]}, reduction="mean"),
        edge(loss, "weight_cancels", [1, 2], [2, 4], weights={"weight": [-1, 1]}, reduction="mean"),
        error(loss, "weight_shape", {"input": torch.ones(2, 3), "target": torch.ones(2, 3), "weight": torch.ones(3)}),
        error(loss, "not_broadcastable", {"input": torch.ones(2, 3), "target": torch.ones(2, 4)}),
    ]
    mismatch = "PyTorch broadcasts input and target with a warning; lossd refuses different shapes"
    for label, shape in {"column": (3, 1), "scalar": ()}.items():
        wrong = {"input": torch.arange(3.0).reshape(-1)[:3], "target": torch.ones(shape)}
        message = f"input has shape [3] and target has shape {list(shape)}: they must be the same"
        cases.append(
            error(loss, f"broadcast_{label}", wrong, differs=mismatch, documented_error=("ValueError", message))
        )
    return cases
