# SPDX-License-Identifier: Apache-2.0
"""Cases of l1_loss, huber_loss and smooth_l1_loss, and the pairwise cases of mse_loss."""

import math
from typing import Any

import torch
import torch.nn.functional as F

from cases.elementwise import edge, error, mse_loss
from cases.pairwise import Plan, Row, Shape, grid, pairwise_cases, uniform
from cases.tensors import FLOAT_DTYPES, Case, LossFunction, Tensors, reduced, with_normalizer

INF, NAN = math.inf, math.nan
MISMATCH = "PyTorch broadcasts input and target with a warning; lossd refuses different shapes"
REDUCTIONS = ("mean", "sum", "none")


def l1_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's mean absolute error."""
    del parameters
    return F.l1_loss(tensors["input"], tensors["target"], reduction=reduction, weight=tensors.get("weight"))


def huber_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's Huber loss."""
    weight = tensors.get("weight")
    return F.huber_loss(tensors["input"], tensors["target"], reduction=reduction, weight=weight, **parameters)


def smooth_l1_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's smooth L1 loss; with a weight, which PyTorch lacks there, its elements times the weight."""
    if "weight" not in tensors:
        return F.smooth_l1_loss(tensors["input"], tensors["target"], reduction=reduction, **parameters)
    if tensors["weight"].shape != tensors["input"].shape:
        raise ValueError("Weights and input must have the same size.")
    elements = F.smooth_l1_loss(tensors["input"], tensors["target"], reduction="none", **parameters)
    return reduced(elements * tensors["weight"], reduction)


FUNCTIONS: dict[str, LossFunction] = {
    "l1_loss": with_normalizer(l1_loss),
    "huber_loss": with_normalizer(huber_loss),
    "smooth_l1_loss": with_normalizer(smooth_l1_loss),
    "mse_loss": with_normalizer(mse_loss),
}
PARAMETERS: dict[str, dict[str, tuple[float | None, ...]]] = {
    "l1_loss": {},
    "huber_loss": {"delta": (None, 0.5, 2.25)},
    "smooth_l1_loss": {"beta": (None, 0.0, 0.5, 2.25)},
    "mse_loss": {},
}


def make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Residuals away from 0 and from every multiple of 1/8."""
    tensors = {"input": grid(shape, generator), "target": grid(shape, generator, 0.5)}
    if row["weight"]:
        tensors["weight"] = uniform(shape, generator)
    return tensors


def plan(loss: str) -> Plan:
    """The axes of a residual loss."""
    return Plan(
        loss,
        FUNCTIONS[loss],
        make,
        default_wrt=("input",),
        all_wrt=tuple,
        parameters=PARAMETERS[loss],
        options={"weight": (False, True)},
    )


def broadcast_errors(loss: str) -> list[Case]:
    """Shapes that PyTorch broadcasts, in part with a warning."""
    cases = []
    for label, shape in {"column": (3, 1), "scalar": ()}.items():
        wrong = {"input": torch.arange(3.0), "target": torch.full(shape, 0.75)}
        message = f"input has shape [3] and target has shape {list(shape)}: they must be the same"
        cases.append(
            error(loss, f"broadcast_{label}", wrong, differs=MISMATCH, documented_error=("ValueError", message))
        )
    return cases


def weight_edges(loss: str) -> list[Case]:
    """Weights of zero, of both signs, and adding to zero, under each reduction."""
    x, t = [1.0, 4.0, -3.0, 0.5], [2.0, 2.0, -2.75, 0.5]
    weights = {
        "zero_weights": [0.0, 0.0, 0.0, 0.0],
        "some_zero_weights": [1.0, 0.0, 2.0, 0.0],
        "negative_weights": [-1.0, 0.5, 2.0, 1.0],
        "cancelling_weights": [-1.0, 1.0, 2.0, -2.0],
    }
    wrt = ("input", "target", "weight")
    cases = [
        edge(loss, f"{label}_{reduction}", x, t, weights={"weight": weight}, reduction=reduction, wrt=wrt)
        for label, weight in weights.items()
        for reduction in REDUCTIONS
    ]
    broken: dict[str, Any] = {"weights": {"weight": [0.0, 0.0, INF, NAN]}, "wrt": wrt}
    cases.append(edge(loss, "residual_overflow", [-3e38, 2e38, 3e38], [3e38, 1e38, -3e38]))
    return [*cases, edge(loss, "broken_weights", [NAN, INF, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0], **broken)]


def value_edges(loss: str, parameters: dict[str, Any] | None = None, label: str = "") -> list[Case]:
    """Equal values, values that are not finite, denormals and overflow."""
    settings: dict[str, Any] = {"parameters": parameters or {}}
    cases = []
    for dtype in FLOAT_DTYPES:
        cases += [
            edge(loss, f"ties{label}", [1, 0, -0.0, 3, -2.5], [1, -0.0, 0, 3, -2.5], dtype=dtype, **settings),
            edge(loss, f"infinite{label}", [INF, -INF, INF, 1, 0], [0, 0, -INF, -INF, INF], dtype=dtype, **settings),
            edge(loss, f"nan{label}", [NAN, 1, NAN], [0, NAN, NAN], dtype=dtype, **settings),
        ]
    tiny64 = ([5e-324, 1e-310, -1e-308], [0, 2e-310, 1e-308])
    return cases + [
        edge(loss, f"same_infinity{label}", [INF, -INF], [INF, -INF], **settings),
        edge(loss, f"tiny{label}", [1e-45, 1e-40, -1e-38, 1e-20], [0, 2e-40, 1e-38, 0], **settings),
        edge(loss, f"tiny{label}", *tiny64, dtype=torch.float64, **settings),
        edge(loss, f"large{label}", [-1e38, 2e38, 1e30], [1e38, 1e38, -3e30], **settings),
        edge(loss, f"overflow{label}", [-60000, 50000, 300], [60000, -10000, 0], dtype=torch.float16, **settings),
        edge(loss, f"cancel{label}", [1e4 + 0.001, 4096.0005, 1e7 + 1], [1e4, 4096, 1e7], **settings),
        edge(loss, f"infinite_mean{label}", [INF, 1, 2], [0, 0, 0], reduction="mean", **settings),
        edge(loss, f"nan_sum{label}", [NAN, 1, 2], [0, 0, 0], reduction="sum", **settings),
    ]


def bends(loss: str, name: str, values: tuple[float, ...]) -> list[Case]:
    """Residuals on, just below and just above the point where the square becomes a line."""
    cases = []
    for value in values:
        for dtype, step in ((torch.float32, 2.0**-23), (torch.float64, 2.0**-52), (torch.bfloat16, 2.0**-7)):
            x = [value, -value, value * (1 + step), -value * (1 + step), value * (1 - step), value * (step - 1)]
            case = edge(loss, f"bend_{value}", x, [0.0] * 6, dtype=dtype, parameters={name: value})
            cases.append(case)
    cases.append(edge(loss, "bend_default", [1, -1, 0.5, 3], [0, 0, 1.5, 2]))
    return cases


def errors(loss: str) -> list[Case]:
    """What PyTorch refuses, and what lossd refuses alone."""
    x = torch.linspace(-1, 1, 6).reshape(2, 3)
    return broadcast_errors(loss) + [
        error(loss, "not_broadcastable", {"input": x, "target": torch.ones(2, 4)}),
        error(loss, "weight_shape", {"input": x, "target": x + 1, "weight": torch.ones(3)}),
        error(loss, "weight_rank", {"input": x, "target": x + 1, "weight": torch.ones(1, 2, 3)}),
    ]


def l1_cases() -> list[Case]:
    """Cases of l1_loss."""
    loss = "l1_loss"
    return pairwise_cases(plan(loss)) + value_edges(loss) + weight_edges(loss) + errors(loss)


def huber_cases() -> list[Case]:
    """Cases of huber_loss."""
    loss = "huber_loss"
    cases = pairwise_cases(plan(loss)) + value_edges(loss) + value_edges(loss, {"delta": 0.25}, "_quarter")
    cases += bends(loss, "delta", (0.25, 1.0, 3.0)) + weight_edges(loss) + errors(loss)
    tensors = {"input": torch.tensor([1.0, 2.0]), "target": torch.tensor([0.0, 5.0])}
    cases += [
        edge(loss, "delta_tiny", [1.0, -2.0, 0.0, 1e-30], [0.0] * 4, parameters={"delta": 1e-30}),
        edge(loss, "delta_large", [1.0, -2e4, 1e10], [0.0] * 3, parameters={"delta": 1e30}),
    ]
    return cases + [
        error(loss, "delta_zero", tensors, parameters={"delta": 0.0}),
        error(loss, "delta_negative", tensors, parameters={"delta": -1.0}),
    ]


def smooth_l1_cases() -> list[Case]:
    """Cases of smooth_l1_loss."""
    loss = "smooth_l1_loss"
    cases = pairwise_cases(plan(loss)) + value_edges(loss) + value_edges(loss, {"beta": 0.0}, "_beta_zero")
    cases += bends(loss, "beta", (0.25, 1.0, 3.0)) + weight_edges(loss) + errors(loss)
    tensors = {"input": torch.tensor([1.0, 2.0]), "target": torch.tensor([0.0, 5.0])}
    cases += [
        edge(loss, "beta_tiny", [1.0, -2.0, 0.0, 1e-30], [0.0] * 4, parameters={"beta": 1e-30}),
        edge(loss, "beta_large", [1.0, -2e4, 1e10], [0.0] * 3, parameters={"beta": 1e30}),
    ]
    return [*cases, error(loss, "beta_negative", tensors, parameters={"beta": -1.0})]


def mse_pairwise_cases() -> list[Case]:
    """The pairwise cases of mse_loss, and the gradient of its weight."""
    return pairwise_cases(plan("mse_loss")) + weight_edges("mse_loss")
