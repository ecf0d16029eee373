# SPDX-License-Identifier: Apache-2.0
"""Pairwise cases: for each loss a covering array over its axes, in which every two values of two axes meet in a row.

The axes of every loss are the dtype, the reduction (with and without a normalizer), the shape, the upstream gradient,
the tensors to differentiate with respect to and the memory layout that PyTorch saw; a loss adds its parameters and its
optional tensors. Values keep away from ties and limits, so that finite differences hold on every case.
"""

import itertools
import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from cases.tensors import FLOAT_DTYPES, Case, LossFunction, Tensors, generator_for, widen

Row = dict[str, Any]
Shape = tuple[int, ...]
Wrt = tuple[str, ...]
CANDIDATES = 12
NORMALIZER = 7.5
REDUCTIONS = ("mean", "sum", "none", "mean/normalizer")
# Shapes of losses that take any. A tuple of several shapes is one value of the axis, which takes them in turn.
ANY_SHAPES: dict[str, tuple[Shape, ...]] = {
    "scalar": ((),),
    "one": ((1,), (1, 1, 1)),
    "empty": ((0,), (3, 0), (2, 0, 3)),
    "vector15": ((15,),),
    "vector16": ((16,),),
    "vector17": ((17,),),
    "matrix": ((5, 7), (1, 9)),
    "cube": ((2, 3, 5),),
    "four": ((2, 3, 2, 3),),
    "five": ((2, 1, 3, 2, 2),),
    "vector1023": ((1023,),),
    "vector1024": ((1024,),),
    "vector1025": ((1025,),),
}


@dataclass
class Plan:
    """The axes of a loss and how a row of values becomes a case."""

    loss: str
    function: LossFunction
    make: Callable[[Row, Shape, torch.Generator], Tensors]
    default_wrt: Wrt
    all_wrt: Callable[[Tensors], Wrt]
    shapes: Mapping[str, tuple[Shape, ...]] = field(default_factory=lambda: ANY_SHAPES)
    parameters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    options: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    reductions: Sequence[str] = REDUCTIONS
    adjust: Callable[[Row, dict[str, Any]], dict[str, Any]] | None = None
    arrays: int = 1


def pairs_of(row: Row) -> set[tuple[str, int, str, int]]:
    """The pairs of axis values that a row of indices covers."""
    return {(*first, *second) for first, second in itertools.combinations(sorted(row.items()), 2)}


def candidate(axes: Mapping[str, Sequence[Any]], uncovered: list[Any], chance: random.Random) -> Row:
    """A row grown around one uncovered pair, each further value covering as many pairs as it can."""
    first, left, second, right = uncovered[chance.randrange(len(uncovered))]
    row = {first: left, second: right}
    wanted = set(uncovered)
    rest = [name for name in axes if name not in row]
    chance.shuffle(rest)
    for name in rest:
        values = list(range(len(axes[name])))
        chance.shuffle(values)
        row[name] = max(values, key=lambda value: new_pairs(row, name, value, wanted))
    return row


def new_pairs(row: Row, name: str, value: int, wanted: set[Any]) -> int:
    """How many wanted pairs the value covers together with the row."""
    found = 0
    for other, chosen in row.items():
        pair = (other, chosen, name, value) if other < name else (name, value, other, chosen)
        found += pair in wanted
    return found


def covering_array(axes: Mapping[str, Sequence[Any]], seed: str) -> list[Row]:
    """Rows such that every two values of two axes meet in one of them; greedy, the same for the same seed."""
    chance = random.Random(zlib.crc32(seed.encode()))
    uncovered: set[Any] = set()
    for first, second in itertools.combinations(sorted(axes), 2):
        for left, right in itertools.product(range(len(axes[first])), range(len(axes[second]))):
            uncovered.add((first, left, second, right))
    rows = []
    while uncovered:
        ordered = sorted(uncovered)
        choices = [candidate(axes, ordered, chance) for _ in range(CANDIDATES)]
        best = max(choices, key=lambda row: len(pairs_of(row) & uncovered))
        uncovered -= pairs_of(best)
        rows.append({name: axes[name][best[name]] for name in axes})
    return rows


def grid(shape: Shape, generator: torch.Generator, offset: float = 0.0, spread: int = 16) -> torch.Tensor:
    """Multiples of 1/8 moved by `offset` eighths and a jitter of at most 1/128, in float64.

    Values of two offsets differ from every multiple of 1/8 by at least the distance of the offsets less the jitter.
    """
    steps = torch.randint(-spread, spread + 1, shape, generator=generator).double()
    jitter = (torch.rand(shape, generator=generator, dtype=torch.float64) - 0.5) / 64
    return (steps + offset) / 8 + jitter


def uniform(shape: Shape, generator: torch.Generator, low: float = 0.25, high: float = 2.25) -> torch.Tensor:
    """Uniform values in float64."""
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def signs(shape: Shape, generator: torch.Generator) -> torch.Tensor:
    """1 and -1 in float64."""
    return 2 * torch.randint(2, shape, generator=generator).double() - 1


def broadcast_shape(kind: str, shape: Shape) -> Shape:
    """A shape that broadcasts to `shape`: the same, its last dimension, its first, the others kept, or none."""
    choices: dict[str, Shape] = {
        "same": shape,
        "row": shape[-1:],
        "column": shape[:1] + (1,) * (len(shape) - 1),
        "first": (1,) * min(1, len(shape)) + shape[1:],
        "last": shape[:-1] + (1,) * min(1, len(shape)),
        "ones": (1,) * len(shape),
        "scalar": (),
    }
    return choices[kind]


def strided(tensor: torch.Tensor) -> torch.Tensor:
    """The same values in memory that is not contiguous."""
    if tensor.dim() < 2:
        return torch.stack((tensor, tensor), -1)[..., 0]
    return tensor.transpose(0, -1).contiguous().transpose(0, -1)


def wrt_of(plan: Plan, row: Row, tensors: Tensors, index: int) -> Wrt:
    """The tensors that the row differentiates with respect to."""
    names = plan.all_wrt(tensors)
    choices: dict[str, Wrt] = {
        "default": plan.default_wrt,
        "all": names,
        "single": (names[index % len(names)],),
        "nothing": (),
    }
    return choices[row["wrt"]]


def set_upstream(plan: Plan, row: Row, case: Case, generator: torch.Generator) -> None:
    """The upstream gradient: none, a scalar, or of the loss's shape; under a mean the scalar that scales to 1."""
    dtype = row["dtype"]
    if row["grad_output"] == "absent":
        return
    if case.reduction in ("mean", "batchmean") and case.wrt:
        case.autoscale = True
        return
    shape: Shape = ()
    if row["grad_output"] == "full" and case.reduction == "none":
        shape = tuple(plan.function(widen(case.tensors), case.parameters, "none", None).shape)
    upstream = grid(shape, generator, 0.5) if shape else torch.tensor(-1.5, dtype=torch.float64)
    case.grad_output = upstream.to(dtype)


def pairwise_case(plan: Plan, row: Row, index: int, uses: dict[str, int]) -> Case:
    """The case of one row."""
    name = f"{plan.loss}/pairwise/{index:03}"
    generator = generator_for(name)
    alternatives = plan.shapes[row["shape"]]
    shape = alternatives[uses.get(row["shape"], 0) % len(alternatives)]
    uses[row["shape"]] = uses.get(row["shape"], 0) + 1
    tensors = plan.make(row, shape, generator)
    tensors = {key: value.to(row["dtype"]) if value.is_floating_point() else value for key, value in tensors.items()}
    if row["layout"] == "strided":
        tensors = {key: strided(value) for key, value in tensors.items()}
    parameters = {key: row[key] for key in plan.parameters if row[key] is not None}
    if plan.adjust is not None:
        parameters = plan.adjust(row, parameters)
    reduction, _, normalizer = row["reduction"].partition("/")
    case = Case(name, plan.loss, tensors, parameters, reduction, wrt_of(plan, row, tensors, index))
    case.normalizer = NORMALIZER if normalizer else None
    set_upstream(plan, row, case, generator)
    return case


def pairwise_cases(plan: Plan) -> list[Case]:
    """One case for each row of the loss's covering array, or arrays."""
    axes: dict[str, Sequence[Any]] = {
        "dtype": FLOAT_DTYPES,
        "reduction": plan.reductions,
        "shape": list(plan.shapes),
        "grad_output": ("absent", "scalar", "full"),
        "wrt": ("default", "all", "single", "nothing"),
        "layout": ("contiguous", "strided"),
        **plan.parameters,
        **plan.options,
    }
    uses: dict[str, int] = {}
    rows = covering_array(axes, plan.loss)
    for repeat in range(1, plan.arrays):
        rows += covering_array(axes, f"{plan.loss}/{repeat}")
    return [pairwise_case(plan, row, index, uses) for index, row in enumerate(rows)]
