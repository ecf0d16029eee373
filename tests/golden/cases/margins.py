# SPDX-License-Identifier: Apache-2.0
"""Cases of margin_ranking_loss, hinge_embedding_loss, soft_margin_loss and cosine_embedding_loss."""

import math
from typing import Any

import torch
import torch.nn.functional as F

from cases.elementwise import edge, error, softplus
from cases.pairwise import Plan, Row, Shape, broadcast_shape, grid, pairwise_cases, signs
from cases.residuals import MISMATCH
from cases.tensors import DTYPE_NAMES, FLOAT_DTYPES, Case, Tensors, reduced, with_normalizer

INF, NAN = math.inf, math.nan
REDUCTIONS = ("mean", "sum", "none")
PAIR = ("input1", "input2")
OVERFLOW_REASON = "PyTorch's exp overflows; lossd computes softplus(-target * input)"
COSINE_SHAPES: dict[str, tuple[Shape, ...]] = {
    "D2": ((2,), (3,)),
    "D8": ((8,),),
    "D16": ((15,), (16,), (17,)),
    "N0": ((0, 4),),
    "N1": ((1, 2), (1, 8)),
    "N5_D3": ((5, 3),),
    "N16_D4": ((15, 4), (16, 4), (17, 4)),
    "N3_D16": ((3, 15), (3, 16), (3, 17)),
    "N1025": ((1023, 3), (1025, 2)),
    "D1025": ((1, 1023), (2, 1024), (1, 1025)),
}


def margin_ranking_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's margin ranking loss."""
    return F.margin_ranking_loss(
        tensors["input1"], tensors["input2"], tensors["target"], reduction=reduction, **parameters
    )


def hinge_embedding_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's hinge embedding loss."""
    return F.hinge_embedding_loss(tensors["input"], tensors["target"], reduction=reduction, **parameters)


def soft_margin_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's soft margin loss."""
    del parameters
    return F.soft_margin_loss(tensors["input"], tensors["target"], reduction=reduction)


def cosine_embedding_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's cosine embedding loss."""
    return F.cosine_embedding_loss(
        tensors["input1"], tensors["input2"], tensors["target"], reduction=reduction, **parameters
    )


def soft_documented(
    tensors: Tensors, parameters: dict[str, Any], reduction: str, normalizer: float | None
) -> torch.Tensor:
    """softplus(-target * input), which does not overflow."""
    del parameters, normalizer
    return reduced(softplus(-tensors["target"] * tensors["input"]), reduction)


def ranking_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Pairs whose difference is not a multiple of 1/8; the tensors may broadcast, where there is an element."""
    shapes = {"input1": shape, "input2": shape, "target": shape}
    kinds = {"input1": "first", "input2": "last", "target": "ones"}
    if row["broadcast"] == "all":
        kinds["target"] = "column"
    for name, kind in kinds.items():
        if row["broadcast"] in (name, "all") and 0 not in shape:
            shapes[name] = broadcast_shape(kind, shape)
    return {
        "input1": grid(shapes["input1"], generator),
        "input2": grid(shapes["input2"], generator, 0.5),
        "target": signs(shapes["target"], generator),
    }


def hinge_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Distances that are not a multiple of 1/8, and 1 or -1."""
    del row
    return {"input": grid(shape, generator, 0.5).abs(), "target": signs(shape, generator)}


def soft_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Scores, and targets that are 1 or -1 or any number."""
    target = signs(shape, generator) if row["kind"] == "signs" else grid(shape, generator, spread=8)
    return {"input": 2 * grid(shape, generator), "target": target}


def cosine_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Vectors that are not short and whose cosine is not near the margin, and 1 or -1 for each."""
    tensors = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name in PAIR}
    for _ in range(100):
        cosine = F.cosine_similarity(tensors["input1"], tensors["input2"], dim=-1)
        near = (cosine - (row["margin"] or 0.0)).abs() < 0.02
        for value in tensors.values():
            near |= value.norm(dim=-1) < 0.5
        if not bool(near.any()):
            break
        for name in PAIR:
            fresh = torch.randn(shape, generator=generator, dtype=torch.float64)
            tensors[name] = torch.where(near.unsqueeze(-1), fresh, tensors[name])
    return tensors | {"target": signs(shape[:-1], generator)}


PLANS = {
    "margin_ranking_loss": Plan(
        "margin_ranking_loss",
        with_normalizer(margin_ranking_loss),
        ranking_make,
        default_wrt=PAIR,
        all_wrt=tuple,
        parameters={"margin": (None, 0.5, -0.25)},
        options={"broadcast": ("none", "input1", "input2", "target", "all")},
    ),
    "hinge_embedding_loss": Plan(
        "hinge_embedding_loss",
        with_normalizer(hinge_embedding_loss),
        hinge_make,
        default_wrt=("input",),
        all_wrt=lambda tensors: ("input",),
        parameters={"margin": (None, 0.5, 2.0, 0.0)},
    ),
    "soft_margin_loss": Plan(
        "soft_margin_loss",
        with_normalizer(soft_margin_loss),
        soft_make,
        default_wrt=("input",),
        all_wrt=lambda tensors: ("input",),
        options={"kind": ("signs", "any")},
    ),
    "cosine_embedding_loss": Plan(
        "cosine_embedding_loss",
        with_normalizer(cosine_embedding_loss),
        cosine_make,
        default_wrt=PAIR,
        all_wrt=lambda tensors: PAIR,
        shapes=COSINE_SHAPES,
        parameters={"margin": (None, 0.3, -0.5)},
        arrays=2,
    ),
}


def mismatches(loss: str) -> list[Case]:
    """Shapes that PyTorch broadcasts and lossd refuses."""
    cases = []
    for label, shape in {"row": (3,), "scalar": ()}.items():
        wrong = {"input": torch.full((2, 3), 0.5), "target": torch.ones(shape)}
        message = f"input has shape [2, 3] and target has shape {list(shape)}: they must be the same"
        documented = ("ValueError", message)
        cases.append(error(loss, f"broadcast_{label}", wrong, differs=MISMATCH, documented_error=documented))
    return cases


def ranked(label: str, first: list[Any], second: list[Any], target: list[Any], **changes: Any) -> Case:
    """A margin ranking case of listed values, element-wise unless told otherwise."""
    dtype = changes.pop("dtype", torch.float32)
    rows = {"input1": first, "input2": second, "target": target}
    tensors = {name: torch.tensor(row, dtype=torch.float64).to(dtype) for name, row in rows.items()}
    settings: dict[str, Any] = {"reduction": "none", "wrt": ("input1", "input2", "target")} | changes
    name = f"margin_ranking_loss/edge/{label}/{DTYPE_NAMES[dtype]}"
    return Case(name, "margin_ranking_loss", tensors, **settings)


def margin_ranking_cases() -> list[Case]:
    """Cases of margin_ranking_loss."""
    loss = "margin_ranking_loss"
    cases = pairwise_cases(PLANS[loss])
    half: dict[str, Any] = {"parameters": {"margin": 0.5}}
    for dtype in FLOAT_DTYPES:
        cases += [
            ranked("equal", [1, -2, 0, 0.5], [1, -2, -0.0, 0.5], [1, -1, 1, -1], dtype=dtype),
            ranked("tie", [1, 1, 1, 1], [0.5, 1.5, 1.5, 0.5], [1, -1, 1, -1], dtype=dtype, **half),
            ranked("other_target", [1, 1, 2, 3], [0, 2, 1, 5], [0, 0.5, -2, 3], dtype=dtype, **half),
        ]
    cases += [ranked(f"reduced_{reduction}", [1, 2], [2, 1], [1, 1], reduction=reduction) for reduction in REDUCTIONS]
    tensors = {"input1": torch.ones(2, 3), "input2": torch.zeros(2, 3), "target": torch.ones(2, 3)}
    errors: list[tuple[str, Tensors]] = [
        ("rank", tensors | {"target": torch.ones(3)}),
        ("scalar_target", tensors | {"target": torch.tensor(1.0)}),
        ("input_rank", tensors | {"input2": torch.zeros(3)}),
        ("not_broadcastable", tensors | {"input2": torch.zeros(2, 4)}),
        ("target_size", tensors | {"target": torch.ones(3, 3)}),
    ]
    cases += [Case(f"{loss}/error/{label}", loss, wrong, wrt=PAIR) for label, wrong in errors]
    return cases + [
        ranked("beside_tie", [1, 1], [0.5 + 2**-24, 0.5 - 2**-25], [1, 1], **half),
        ranked("infinite", [INF, -INF, 1, 1], [1, 1, INF, -INF], [1, 1, 1, 1]),
        ranked("infinite_reversed", [INF, -INF, 1, 1], [1, 1, INF, -INF], [-1, -1, -1, -1]),
        ranked("same_infinity", [INF, -INF], [INF, -INF], [1, -1]),
        ranked("nan", [NAN, 1, 1], [1, NAN, 0], [1, 1, NAN]),
        ranked("denormal", [1e-45, 1e-40], [0, 2e-40], [-1, 1]),
        ranked("denormal", [5e-324, 1e-310], [0, 2e-310], [-1, 1], dtype=torch.float64),
        ranked("large", [1e38, -1e30], [-1e38, 1e30], [-1, 1]),
        ranked("overflow", [3e38, 3e38], [-3e38, -2e38], [-1, -1], wrt=PAIR),
        ranked("overflow", [60000, 3], [-60000, 2], [-1, 1], dtype=torch.float16),
        ranked("cross", [[1], [2]], [[0.5, 1, 1.5, 3]], [[1, -1, 1, -1]], **half),
        ranked("cross_mean", [[1], [2]], [[0.5, 1.25, 1.5, 3]], [[1]], reduction="mean", **half),
        ranked("empty_broadcast_mean", [[]], [[1], [2]], [[1]], reduction="mean"),
        ranked("empty_broadcast_sum", [[]], [[1], [2]], [[1]], reduction="sum"),
        ranked("satisfied", [5, 9], [1, 2], [1, 1], reduction="mean"),
    ]


def hinge_cases() -> list[Case]:
    """Cases of hinge_embedding_loss."""
    loss = "hinge_embedding_loss"
    cases = pairwise_cases(PLANS[loss])
    wrt: dict[str, Any] = {"wrt": ("input",)}
    x = [0.3, -0.5, 2.0, 0.25]
    for dtype in FLOAT_DTYPES:
        cases += [
            edge(loss, "tie", [1, 1, 1, 1], [1, -1, -1, 1], dtype=dtype, **wrt),
            edge(loss, "other_target", [*x, 1, 1], [0, 0, 0.5, 2, 0, -2], dtype=dtype, **wrt),
            edge(loss, "signs", x, [1, -1, -1, 1], dtype=dtype, **wrt),
        ]
    for reduction in REDUCTIONS:
        cases.append(edge(loss, f"other_target_{reduction}", x, [0, 3, -1, 1], reduction=reduction, **wrt))
        cases.append(edge(loss, f"satisfied_{reduction}", [3, 9], [-1, -1], reduction=reduction, **wrt))
    cases += [
        edge(loss, "beside_tie", [1 - 2**-24, 1 + 2**-23], [-1, -1], **wrt),
        edge(loss, "beside_target", [0.5, 0.5], [1 + 2**-23, -1 - 2**-23], **wrt),
        edge(loss, "infinite", [INF, -INF, INF, -INF], [1, 1, -1, -1], **wrt),
        edge(loss, "infinite_other", [INF, -INF], [0, 0], **wrt),
        edge(loss, "nan", [NAN, NAN, 1, 0.5], [1, -1, NAN, NAN], **wrt),
        edge(loss, "denormal", [1e-45, -1e-45, 1e-40], [1, 1, -1], parameters={"margin": 0.0}, **wrt),
        edge(loss, "denormal", [5e-324, -1e-310], [1, 1], dtype=torch.float64, **wrt),
        edge(loss, "large", [3e38, -3e38, -1e30], [1, -1, -1], **wrt),
        edge(loss, "margin_negative", [-0.5, -1, -2, 0], [-1, -1, -1, -1], parameters={"margin": -1.0}, **wrt),
        edge(loss, "margin_zero", [0, -0.0, 1, -1], [-1, -1, -1, -1], parameters={"margin": 0.0}, **wrt),
        edge(loss, "margin_large", [1, 1e20], [-1, -1], parameters={"margin": 1e30}, **wrt),
        error(loss, "not_broadcastable", {"input": torch.ones(2, 3), "target": torch.ones(2, 4)}),
    ]
    return cases + mismatches(loss)


def soft_margin_cases() -> list[Case]:
    """Cases of soft_margin_loss."""
    loss = "soft_margin_loss"
    cases = pairwise_cases(PLANS[loss])
    wrt: dict[str, Any] = {"wrt": ("input",)}
    limits: dict[str, Any] = {"wrt": ("input",), "differs": OVERFLOW_REASON, "documented": soft_documented}
    for dtype in FLOAT_DTYPES:
        cases += [
            edge(loss, "zero", [0, -0.0, 0, 1], [1, -1, 0, 0], dtype=dtype, **wrt),
            edge(loss, "other_target", [1, -1, 2, 0.5], [0.5, 2, -3, 0.25], dtype=dtype, **wrt),
            edge(loss, "confident", [5, -5, 16, -20], [1, -1, 1, -1], dtype=dtype, **wrt),
        ]
    for reduction in REDUCTIONS:
        cases.append(edge(loss, f"overflow_{reduction}", [-100, 1], [1, 1], reduction=reduction, **limits))
    x, t = [-100, 100, -1e4, 1e30], [1, -1, 1, -1]
    infinite = ([INF, -INF, INF, -INF], [1, 1, -1, -1])
    cases += mismatches(loss)
    return cases + [
        edge(loss, "overflow", x, t, **limits),
        edge(loss, "overflow", [-1000, 1000, 1e300], [1, -1, -1], dtype=torch.float64, **limits),
        edge(loss, "overflow", [-100, 100, -30000], t[:3], dtype=torch.float16, **limits),
        edge(loss, "overflow", [-100, 100, -30000], t[:3], dtype=torch.bfloat16, **limits),
        edge(loss, "infinite", *infinite, **limits),
        edge(loss, "infinite", *infinite, dtype=torch.float64, **limits),
        edge(loss, "below_overflow", [-88, 88, -80], [1, -1, 1], **wrt),
        edge(loss, "below_overflow", [-709, 700], [1, -1], dtype=torch.float64, **wrt),
        edge(loss, "infinite_no_target", [INF, -INF], [0, 0], **wrt),
        edge(loss, "nan", [NAN, 1], [1, NAN], **wrt),
        edge(loss, "very_confident", [40, -80, 87, 100], [1, -1, 1, 1], **wrt),
        edge(loss, "confident_scaled", [17, -30, 40], [1, -1, 1], grad_output=torch.full((3,), 2.0**24), **wrt),
        edge(loss, "denormal", [1e-45, -1e-40], [1, -1], **wrt),
        edge(loss, "denormal", [5e-324, -1e-310], [1, -1], dtype=torch.float64, **wrt),
        error(loss, "not_broadcastable", {"input": torch.ones(2, 3), "target": torch.ones(2, 4)}),
    ]


def angled(label: str, first: list[Any], second: list[Any], target: Any, **changes: Any) -> Case:
    """A cosine case of listed vectors, element-wise unless told otherwise."""
    dtype = changes.pop("dtype", torch.float32)
    rows = {"input1": first, "input2": second, "target": target}
    tensors = {name: torch.tensor(row, dtype=torch.float64).to(dtype) for name, row in rows.items()}
    settings: dict[str, Any] = {"reduction": "none", "wrt": PAIR} | changes
    name = f"cosine_embedding_loss/edge/{label}/{DTYPE_NAMES[dtype]}"
    return Case(name, "cosine_embedding_loss", tensors, **settings)


def cosine_errors() -> list[Case]:
    """What PyTorch refuses, and the broadcasting that lossd refuses."""
    loss = "cosine_embedding_loss"
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    base = {"input1": x, "input2": x + 1, "target": torch.ones(3)}
    refused: list[tuple[str, Tensors]] = [
        ("target_rank", base | {"target": torch.ones(3, 1)}),
        ("target_for_vector", {"input1": x[0], "input2": x[1], "target": torch.ones(4)}),
        ("dimension", base | {"input2": x[:, :3]}),
        ("batch", base | {"target": torch.ones(2)}),
        ("cube", {"input1": torch.ones(2, 3, 4), "input2": torch.ones(2, 3, 4), "target": torch.ones(2, 3)}),
    ]
    cases = [Case(f"{loss}/error/{label}", loss, tensors, wrt=PAIR) for label, tensors in refused]
    broadcast: list[tuple[str, Tensors, str]] = [
        ("broadcast_target", base | {"target": torch.ones(1)}, "input1 has 3 rows and target has shape [1]"),
        ("broadcast_row", base | {"input2": x[:1]}, "input1 has shape [3, 4] and input2 has shape [1, 4]"),
    ]
    for label, tensors, shapes in broadcast:
        case = Case(f"{loss}/error/{label}", loss, tensors, wrt=PAIR, differs=MISMATCH)
        case.documented_error = ("ValueError", f"{shapes}: they must be the same")
        cases.append(case)
    return cases


def cosine_cases() -> list[Case]:
    """Cases of cosine_embedding_loss."""
    loss = "cosine_embedding_loss"
    cases = pairwise_cases(PLANS[loss])
    vectors = ([[1, 2, -1], [3, 0, 1], [1, 2, 2], [1, -1, 2]], [[0.5, 1, 2], [2, 1, 1], [-1, 1, 1], [2, 2, 1]])
    for dtype in FLOAT_DTYPES:
        cases += [
            angled("other_target", *vectors, [0, 0.5, -2, 2], dtype=dtype),
            angled("orthogonal_tie", [[1, 0], [0, 2]], [[0, 1], [3, 0]], [-1, -1], dtype=dtype),
            angled("equal", [[1, 2], [3, -1]], [[1, 2], [3, -1]], [1, -1], dtype=dtype),
        ]
    for dtype in (torch.float32, torch.float64):
        cases += [
            angled("zero_vector", [[0, 0], [0, 0], [1, 2]], [[1, 0], [0, 0], [0, 0]], [1, -1, 1], dtype=dtype),
            angled("opposite", [[1, 2], [3, -1]], [[-2, -4], [-3, 1]], [1, -1], dtype=dtype),
            angled("small_vectors", [[1e-7, 2e-7], [1e-6, 0]], [[1, 1], [1e-6, 1e-6]], [1, -1], dtype=dtype),
        ]
    for reduction in REDUCTIONS:
        cases.append(angled(f"mixed_{reduction}", *vectors, [1, -1, 0, 1], reduction=reduction))
    empty: list[Any] = [[], []]
    cases += cosine_errors()
    return cases + [
        angled("margin_exact", [[1.0, 0.0]], [[3.0, 4.0]], [-1], parameters={"margin": 0.75}),
        angled("margin_one", [[1, 2], [2, 1]], [[1, 2], [1, 3]], [-1, -1], parameters={"margin": 1.0}),
        angled("margin_minus_one", [[1, 2], [1, 0]], [[2, 5], [0, 1]], [-1, -1], parameters={"margin": -1.0}),
        angled("infinite", [[INF, 1], [1, 2]], [[1, 2], [-INF, 1]], [1, -1]),
        angled("nan", [[NAN, 1], [1, 2]], [[1, 2], [1, 1]], [1, 1]),
        angled("nan_target", [[2, 1], [1, 2]], [[1, 2], [1, 1]], [NAN, 1]),
        angled("broken_other_target", [[NAN, 1], [1, 2]], [[1, 2], [1, 1]], [0, 1]),
        angled("one_dimension", [[1.5], [2], [-3]], [[0.5], [-1], [2]], [1, 1, -1]),
        angled("one_dimension", [[1.5], [2], [-3]], [[0.5], [-1], [2]], [1, 1, -1], dtype=torch.float64),
        angled("no_features", empty, empty, [1, -1]),
        angled("near_parallel", [[1, 1e-3], [1e3, 1]], [[1, 0], [1e3, 1.001]], [1, 1]),
        angled("denormal", [[1e-40, 0], [1e-45, 1e-45]], [[1, 1], [1, 2]], [1, 1]),
        angled("large", [[1e9, 2e9]], [[3e9, -1e8]], [1]),
        angled("half_large", [[300, 400]], [[250, -100]], [1], dtype=torch.float16),
        angled("half_zero", [[0, 0], [1, 2]], [[1, 0], [2, 2]], [1, 1], dtype=torch.bfloat16),
        angled("vector_zero_margin", [1, 2, 3], [-1, 2, 1], -1.0),
    ]
