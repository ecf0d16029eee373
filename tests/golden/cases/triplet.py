# SPDX-License-Identifier: Apache-2.0
"""Cases of triplet_margin_loss."""

import math
from typing import Any

import torch
import torch.nn.functional as F

from cases.tensors import DTYPE_NAMES, FLOAT_DTYPES, Case, generator_for

Tensors = dict[str, torch.Tensor]
LOSS = "triplet_margin_loss"
REDUCTIONS = ("mean", "sum", "none")
WRT = ("anchor", "positive", "negative")
SHAPES: dict[str, tuple[int, ...]] = {
    "D1": (1,),
    "D8": (8,),
    "N1_D1": (1, 1),
    "N1_D8": (1, 8),
    "N0_D4": (0, 4),
    "N3_D0": (3, 0),
    "N5_D3": (5, 3),
    "N15_D4": (15, 4),
    "N16_D4": (16, 4),
    "N17_D4": (17, 4),
    "N3_D15": (3, 15),
    "N3_D16": (3, 16),
    "N3_D17": (3, 17),
    "N1025_D1": (1025, 1),
    "N2_D1025": (2, 1025),
    "N2_3_D4": (2, 3, 4),
    "N2_3_2_D4": (2, 3, 2, 4),
    "N2_1_3_2_D3": (2, 1, 3, 2, 3),
}
INF, NAN = math.inf, math.nan


def triplet_margin_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's triplet margin loss."""
    return F.triplet_margin_loss(
        tensors["anchor"], tensors["positive"], tensors["negative"], reduction=reduction, **parameters
    )


def triplet(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Tensors:
    """Normal values."""
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for name in WRT}


def shape_cases() -> list[Case]:
    """Every shape in float32, with the reductions in turn."""
    cases = []
    for index, (label, shape) in enumerate(SHAPES.items()):
        reductions = ("mean", "sum") if 0 in shape else (REDUCTIONS[index % 3],)
        for reduction in reductions:
            name = f"{LOSS}/shape/{label}/{reduction}"
            tensors = triplet(shape, torch.float32, generator_for(name))
            case = Case(name, LOSS, tensors, reduction=reduction, wrt=WRT, autoscale=reduction == "mean")
            cases.append(case)
    return cases


def dtype_cases() -> list[Case]:
    """Every floating dtype with every reduction, grad_output given."""
    cases = []
    for dtype in FLOAT_DTYPES:
        for reduction in REDUCTIONS:
            name = f"{LOSS}/dtype/{DTYPE_NAMES[dtype]}/{reduction}"
            generator = generator_for(name)
            tensors = triplet((7, 5), dtype, generator)
            upstream = None
            if reduction == "none":
                upstream = torch.randn(7, generator=generator, dtype=torch.float64).to(dtype)
            elif reduction == "sum":
                upstream = torch.tensor(-1.5, dtype=dtype)
            case = Case(name, LOSS, tensors, reduction=reduction, wrt=WRT, grad_output=upstream)
            case.autoscale = reduction == "mean"
            cases.append(case)
    return cases


def option_cases() -> list[Case]:
    """Each norm with and without swap, and the other parameters alone and together."""
    options: dict[str, dict[str, Any]] = {}
    for p in (1, 2, 3, 1.5, INF):
        for swap in (False, True):
            options[f"p_{p}{'+swap' if swap else ''}"] = {"p": float(p)} | ({"swap": True} if swap else {})
    options |= {
        "margin_small": {"margin": 0.01},
        "margin_large": {"margin": 50.0},
        "margin+swap": {"margin": 3.0, "swap": True},
        "eps_zero": {"eps": 0.0},
        "eps_large": {"eps": 0.25},
        "eps_large+swap": {"eps": 0.25, "swap": True},
        "p_4.5": {"p": 4.5},
        "p_0.5": {"p": 0.5},
        "p_1+eps+margin": {"p": 1.0, "eps": 0.1, "margin": 2.0},
        "p_inf+margin+swap": {"p": INF, "margin": 2.0, "swap": True},
    }
    cases = []
    for index, (label, parameters) in enumerate(options.items()):
        reduction = REDUCTIONS[index % 3]
        name = f"{LOSS}/option/{label}/{reduction}"
        tensors = triplet((6, 5), torch.float32, generator_for(name))
        case = Case(name, LOSS, tensors, parameters, reduction, WRT, autoscale=reduction == "mean")
        cases.append(case)
    for dtype in (torch.float64, torch.bfloat16):
        name = f"{LOSS}/normalizer/{DTYPE_NAMES[dtype]}"
        tensors = triplet((4, 5), dtype, generator_for(name))
        cases.append(Case(name, LOSS, tensors, wrt=WRT, normalizer=9.5, autoscale=True))
    return cases


def edge(label: str, rows: tuple[list[Any], list[Any], list[Any]], **changes: Any) -> Case:
    """A case of listed values, element-wise unless told otherwise."""
    dtype = changes.pop("dtype", torch.float32)
    tensors = {name: torch.tensor(row, dtype=dtype) for name, row in zip(WRT, rows, strict=True)}
    settings: dict[str, Any] = {"reduction": "none", "wrt": WRT} | changes
    return Case(f"{LOSS}/edge/{label}/{DTYPE_NAMES[dtype]}", LOSS, tensors, **settings)


def edge_cases() -> list[Case]:
    """Equal vectors, ties, the hinge and values that are not finite."""
    equal = ([[1.0, 2.0, -3.0]], [[1.0, 2.0, -3.0]], [[1.0, 2.0, -3.0]])
    positive = ([[1.0, 2.0]], [[1.0, 2.0]], [[1.5, 1.0]])
    symmetric = ([[-1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]])
    tied = ([[0.0, 0.0, 0.0]], [[2.0, -2.0, 1.0]], [[1.0, 1.0, -1.0]])
    cases = []
    for p in (1.0, 2.0, 3.0, 1.5, INF):
        exact = {"p": p, "eps": 0.0}
        cases += [
            edge(f"all_equal_p_{p}", equal, parameters={"p": p}),
            edge(f"all_equal_exact_p_{p}", equal, parameters=exact),
            edge(f"anchor_is_positive_exact_p_{p}", positive, parameters=exact | {"margin": 2.0}),
            edge(f"tied_components_p_{p}", tied, parameters=exact),
        ]
    cases += [
        edge("hinge_tie", ([[0.0]], [[3.0]], [[4.0]]), parameters={"eps": 0.0}),
        edge("hinge_below", ([[0.0]], [[3.0]], [[4.5]]), parameters={"eps": 0.0}),
        edge("swap_tie", symmetric, parameters={"eps": 0.0, "swap": True}),
        edge("swap_tie", symmetric, parameters={"eps": 0.0, "swap": True}, dtype=torch.float64),
        edge("swap_not_taken", ([[0.0, 0.0]], [[3.0, 0.0]], [[0.5, 0.0]]), parameters={"swap": True}),
        edge("eps_asymmetry", ([[0.0, 1.0]], [[1.0, 0.0]], [[1.0, 2.0]]), parameters={"eps": 0.5}),
        edge("nan", ([[NAN, 1.0], [0.0, 1.0]], [[1.0, 0.0]] * 2, [[1.0, 2.0]] * 2)),
        edge("infinite_positive", ([[0.0, 1.0]], [[INF, 0.0]], [[1.0, 2.0]])),
        edge("infinite_negative", ([[0.0, 1.0]], [[1.0, 0.0]], [[1.0, -INF]])),
        edge("infinite_both", ([[INF, 1.0]], [[1.0, 0.0]], [[1.0, 0.0]])),
        edge("large", ([[1e15, -2e15]], [[-3e15, 0.0]], [[4e15, 1e15]])),
        edge("all_satisfied", ([[0.0, 0.0]] * 3, [[0.1, 0.0]] * 3, [[9.0, 9.0]] * 3), reduction="mean"),
    ]
    return cases


def error_cases() -> list[Case]:
    """What PyTorch refuses."""
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    base = {"anchor": x, "positive": x + 1, "negative": x - 1}
    wrong: list[tuple[str, Tensors, dict[str, Any]]] = [
        ("margin_zero", base, {"margin": 0.0}),
        ("margin_negative", base, {"margin": -1.0}),
        ("rank", base | {"negative": x[0]}, {}),
        ("dimension", base | {"positive": x[:, :3]}, {}),
        ("batch", base | {"negative": x[:2]}, {}),
    ]
    return [
        Case(f"{LOSS}/error/{label}", LOSS, tensors, parameters, wrt=("anchor",))
        for label, tensors, parameters in wrong
    ]


def triplet_cases() -> list[Case]:
    """Cases of triplet_margin_loss."""
    return shape_cases() + dtype_cases() + option_cases() + edge_cases() + error_cases()
