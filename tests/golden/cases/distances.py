# SPDX-License-Identifier: Apache-2.0
"""Cases of triplet_margin_with_distance_loss, and the pairwise cases of triplet_margin_loss."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from cases.pairwise import Plan, Row, Shape, grid, pairwise_cases
from cases.tensors import DTYPE_NAMES, FLOAT_DTYPES, Case, LossFunction, Tensors, with_normalizer
from cases.triplet import WRT, triplet_margin_loss

LOSS = "triplet_margin_with_distance_loss"
INF, NAN = math.inf, math.nan
REDUCTIONS = ("mean", "sum", "none")
Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
DISTANCES: dict[str, Distance] = {
    "PAIRWISE": torch.pairwise_distance,
    "SQUARED_EUCLIDEAN": lambda x, y: (x - y).square().sum(-1),
    "MANHATTAN": lambda x, y: (x - y).abs().sum(-1),
    "CHEBYSHEV": lambda x, y: (x - y).abs().amax(-1),
    "COSINE": lambda x, y: 1 - F.cosine_similarity(x, y, dim=-1),
}
MISMATCH = "PyTorch broadcasts the samples; lossd refuses different shapes"
SHAPES: dict[str, tuple[Shape, ...]] = {
    "D1": ((1,),),
    "D8": ((8,),),
    "N0": ((0, 4),),
    "N1": ((1, 1), (1, 8)),
    "N5_D3": ((5, 3),),
    "N16_D4": ((15, 4), (16, 4), (17, 4)),
    "N3_D16": ((3, 15), (3, 16), (3, 17)),
    "cube": ((2, 3, 4),),
    "four": ((2, 3, 2, 4),),
    "five": ((2, 1, 3, 2, 3),),
    "leaf": ((1, 1023), (1025, 1), (1, 1025), (1023, 1), (1, 1024)),
}


def triplet_margin_with_distance_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's triplet loss with the distance of that name."""
    options = dict(parameters)
    distance = DISTANCES[options.pop("distance_function", "PAIRWISE")]
    samples = (tensors[name] for name in WRT)
    return F.triplet_margin_with_distance_loss(*samples, distance_function=distance, reduction=reduction, **options)


def distance_of(row: Row) -> Distance:
    """The distance of a row of either loss."""
    if "distance_function" in row:
        return DISTANCES[row["distance_function"] or "PAIRWISE"]
    p, eps = row["p"] or 2.0, 1e-6 if row["eps"] is None else row["eps"]
    return lambda x, y: torch.pairwise_distance(x, y, p=p, eps=eps)


def greatest(row: Row) -> bool:
    """Whether the distance is the greatest difference."""
    return row.get("distance_function") == "CHEBYSHEV" or row.get("p") == INF


def unsettled(row: Row, tensors: Tensors) -> torch.Tensor:
    """Which samples are near a tie: of the hinge, of the swap or of the greatest differences."""
    distance, (anchor, positive, negative) = distance_of(row), (tensors[name] for name in WRT)
    near, far = distance(anchor, positive), distance(anchor, negative)
    swapped = distance(positive, negative)
    close = torch.zeros_like(near, dtype=torch.bool)
    if row["swap"]:
        close |= (far - swapped).abs() < 0.01
        far = torch.minimum(far, swapped)
    close |= ((row["margin"] or 1.0) + near - far).abs() < 0.01
    if greatest(row) and anchor.shape[-1] > 1:
        for x, y in ((anchor, positive), (anchor, negative), (positive, negative)):
            top = (x - y).abs().topk(2, dim=-1).values
            close |= top[..., 0] - top[..., 1] < 1e-4
    return close


def make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Samples of pairwise different elements, away from every tie; long ones small, lest their distances cancel."""
    offsets = dict(zip(WRT, (0.0, 0.5, 0.25), strict=True))
    scale = 1 / 64 if shape[-1] > 1000 and not greatest(row) else 1.0
    tensors = {name: grid(shape, generator, offset) * scale for name, offset in offsets.items()}
    for _ in range(1000):
        close = unsettled(row, tensors)
        if not bool(close.any()):
            return tensors
        for name, offset in offsets.items():
            tensors[name] = torch.where(close.unsqueeze(-1), grid(shape, generator, offset) * scale, tensors[name])
    raise AssertionError(f"no samples away from the ties for {row}")


def plan(loss: str, function: LossFunction, parameters: dict[str, tuple[Any, ...]]) -> Plan:
    """The axes of a triplet loss."""
    return Plan(
        loss, function, make, default_wrt=WRT, all_wrt=lambda tensors: WRT, shapes=SHAPES, parameters=parameters
    )


def triplet_pairwise_cases() -> list[Case]:
    """The pairwise cases of triplet_margin_loss, and shapes that it refuses."""
    parameters: dict[str, tuple[Any, ...]] = {
        "margin": (None, 0.5, 3.0),
        "p": (None, 1.0, 3.0, 1.5, INF),
        "eps": (None, 0.0, 0.125),
        "swap": (None, True),
    }
    cases = pairwise_cases(plan("triplet_margin_loss", with_normalizer(triplet_margin_loss), parameters))
    return cases + broadcast_errors("triplet_margin_loss")


def edge(label: str, name: str, rows: tuple[Any, Any, Any], **changes: Any) -> Case:
    """A case of listed samples and one distance, element-wise unless told otherwise."""
    dtype = changes.pop("dtype", torch.float32)
    tensors = {key: torch.tensor(row, dtype=torch.float64).to(dtype) for key, row in zip(WRT, rows, strict=True)}
    parameters = {"distance_function": name} | changes.pop("parameters", {})
    settings: dict[str, Any] = {"reduction": "none", "wrt": WRT} | changes
    label = f"{LOSS}/edge/{label}_{name.lower()}/{DTYPE_NAMES[dtype]}"
    return Case(label, LOSS, tensors, parameters, **settings)


def shared_edges(name: str) -> list[Case]:
    """The edges that every distance has."""
    equal = ([[1.0, 2.0, -3.0]], [[1.0, 2.0, -3.0]], [[1.0, 2.0, -3.0]])
    symmetric = ([[-1.0, 0.5]], [[1.0, 0.5]], [[0.0, 1.0]])
    mixed = ([[1.0, 2.0], [0.5, -1.0]], [[0.0, 1.0], [1.0, 1.0]], [[2.0, 1.0], [-3.0, 4.0]])
    swap: dict[str, Any] = {"parameters": {"swap": True}}
    cases = [edge("all_equal", name, equal, dtype=dtype) for dtype in (torch.float32, torch.float64)]
    cases += [edge(f"mixed_{reduction}", name, mixed, reduction=reduction) for reduction in REDUCTIONS]
    cases += [edge("half", name, mixed, dtype=dtype, **swap) for dtype in (torch.float16, torch.bfloat16)]
    return cases + [
        edge("all_equal_swap", name, equal, **swap),
        edge("swap_tie", name, symmetric, **swap),
        edge("anchor_is_positive", name, ([[1.0, 2.0]], [[1.0, 2.0]], [[1.5, 1.0]])),
        edge("positive_is_negative", name, ([[1.0, 2.0]], [[1.5, 1.0]], [[1.5, 1.0]]), **swap),
        edge("nan", name, ([[NAN, 1.0], [0.0, 1.0]], [[1.0, 0.5]] * 2, [[1.0, 2.0]] * 2)),
        edge("infinite_positive", name, ([[0.5, 1.0]], [[INF, 0.5]], [[1.0, 2.0]])),
        edge("infinite_negative", name, ([[0.5, 1.0]], [[1.0, 0.5]], [[1.0, -INF]])),
        edge("satisfied", name, ([[1.0, 0.0]] * 2, [[1.0, 0.0]] * 2, [[-9.0, 0.5]] * 2), reduction="mean"),
        edge("one_dimension", name, ([[1.0], [2.0]], [[0.5], [-1.0]], [[2.0], [3.0]])),
    ]


def edge_cases() -> list[Case]:
    """Ties of each distance, zero vectors, no features and values of extreme size."""
    tied = ([[0.0, 0.0, 0.0]], [[2.0, -2.0, 1.0]], [[1.0, 1.0, -1.0]])
    hinge = ([[0.0]], [[3.0]], [[4.0]])
    small = ([[1e-3, 0.0]], [[0.0, 2e-3]], [[1e-3, 1e-3]])
    cases = [case for name in DISTANCES for case in shared_edges(name)]
    for name in ("MANHATTAN", "CHEBYSHEV", "SQUARED_EUCLIDEAN"):
        cases += [edge("tied_components", name, tied, dtype=dtype) for dtype in FLOAT_DTYPES]
        margin = 7.0 if name == "SQUARED_EUCLIDEAN" else 1.0
        cases.append(edge("hinge_tie", name, hinge, parameters={"margin": margin}))
        cases.append(edge("small", name, small))
    zero = ([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]], [[1.0, -1.0], [0.0, 0.0], [0.0, 0.0]], [[0.5, 0.25], [1, 0], [1, 2]])
    empty: tuple[Any, Any, Any] = ([[], []], [[], []], [[], []])
    for name in ("PAIRWISE", "SQUARED_EUCLIDEAN", "MANHATTAN", "COSINE"):
        cases.append(edge("no_features", name, empty))
    return cases + [
        edge("zero_vectors", "COSINE", zero),
        edge("zero_vectors", "COSINE", zero, dtype=torch.float64),
        edge("parallel", "COSINE", ([[1.0, 2.0]], [[2.0, 4.0]], [[-1.0, -2.0]])),
        edge("small", "COSINE", ([[1e-9, 0.0]], [[1.0, 1.0]], [[0.0, 1.0]])),
        edge("small", "PAIRWISE", small),
        edge("large", "MANHATTAN", ([[1e30, -2e30]], [[-3e30, 0.0]], [[4e30, 1e30]])),
        edge("large", "CHEBYSHEV", ([[1e30, -2e30]], [[-3e30, 0.0]], [[4e30, 1e30]])),
        edge("large", "SQUARED_EUCLIDEAN", ([[1e15, -2e15]], [[-3e15, 0.0]], [[1.5e15, -1e15]])),
        edge("denormal", "MANHATTAN", ([[1e-45, 0.0]], [[0.0, 1e-40]], [[1e-45, 2e-40]])),
    ]


def broadcast_errors(loss: str) -> list[Case]:
    """Samples that PyTorch broadcasts."""
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    cases = []
    for label, part in {"row": x[:1], "column": x[:, :1]}.items():
        tensors = {"anchor": x, "positive": x + 1, "negative": part - 1}
        case = Case(f"{loss}/error/broadcast_{label}", loss, tensors, wrt=WRT, differs=MISMATCH)
        case.documented_error = ("ValueError", f"anchor has shape [3, 4] and negative has shape {list(part.shape)}")
        cases.append(case)
    return cases


def error_cases() -> list[Case]:
    """What PyTorch refuses, and the broadcasting that lossd refuses."""
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    base = {"anchor": x, "positive": x + 1, "negative": x - 1}
    nothing = {name: torch.zeros(2, 0) for name in WRT}
    wrong: list[tuple[str, Tensors, dict[str, Any]]] = [
        ("margin_zero", base, {"margin": 0.0}),
        ("margin_negative", base, {"margin": -1.0}),
        ("rank", base | {"negative": x[0]}, {}),
        ("dimension", base | {"positive": x[:, :3]}, {}),
        ("batch", base | {"negative": x[:2]}, {}),
        ("chebyshev_no_features", nothing, {"distance_function": "CHEBYSHEV"}),
    ]
    cases = [Case(f"{LOSS}/error/{label}", LOSS, tensors, parameters, wrt=WRT) for label, tensors, parameters in wrong]
    return cases + broadcast_errors(LOSS)


def distance_cases() -> list[Case]:
    """Cases of triplet_margin_with_distance_loss."""
    parameters: dict[str, tuple[Any, ...]] = {
        "distance_function": (None, *DISTANCES),
        "margin": (None, 0.5, 3.0),
        "swap": (None, True),
    }
    cases = pairwise_cases(plan(LOSS, with_normalizer(triplet_margin_with_distance_loss), parameters))
    return cases + edge_cases() + error_cases()
