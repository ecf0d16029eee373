# SPDX-License-Identifier: Apache-2.0
"""Cases of ctc_loss."""

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F

from cases.alignment import Alignment, read_sequences
from cases.pairwise import Plan, Row, Shape, pairwise_cases
from cases.tensors import DTYPE_NAMES, Case, Tensors, generator_for

LOSS = "ctc_loss"
INF, NAN = math.inf, math.nan
REDUCTIONS = ("mean", "sum", "none")
CONVENTIONS = ("LOGITS", "LOG_PROBS")
INDEX_DTYPES = (torch.int64, torch.int32, torch.uint8)
MINUS_INFINITY_REASON = "a class of log-probability -infinity has gradient exp(log_probs) - occupancy = 0, not NaN"
SHAPES: dict[str, tuple[Shape, ...]] = {
    "T1": ((1, 1, 2), (1, 3, 4)),
    "C2": ((5, 1, 2), (8, 2, 2)),
    "N5": ((6, 5, 3),),
    "T16": ((15, 2, 4), (16, 2, 4), (17, 2, 4)),
    "C16": ((7, 2, 15), (7, 2, 16), (7, 2, 17)),
    "T64": ((63, 1, 3), (65, 1, 3)),
    "C1025": ((3, 1, 1023), (2, 1, 1025)),
    "unbatched": ((6, 4), (1, 3), (17, 5)),
}


def check_labels(tensors: Tensors, parameters: dict[str, Any]) -> None:
    """Refuses the labels and lengths that PyTorch takes and reads, or writes, out of bounds for."""
    classes = tensors["log_probs"].shape[-1]
    blank = parameters.get("blank", 0)
    if any(int(length) < 0 for name in ("input_lengths", "target_lengths") for length in tensors[name].reshape(-1)):
        raise ValueError("lengths must not be negative")
    for row in read_sequences(tensors, parameters).labels:
        for label in row:
            if label == blank or not 0 <= label < classes:
                raise ValueError(f"label {label} is the blank or outside [0, {classes})")


def reduce_sequences(losses: torch.Tensor, tensors: Tensors, reduction: str, normalizer: float | None) -> torch.Tensor:
    """The mean over the sequences of loss over target length, the sum, or the losses."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    lengths = tensors["target_lengths"].reshape(losses.shape).clamp(min=1).to(losses.dtype)
    total = (losses / lengths).sum()
    return total / (losses.numel() if normalizer is None else normalizer)


def documented(tensors: Tensors, parameters: dict[str, Any], reduction: str, normalizer: float | None) -> torch.Tensor:
    """The loss by its definition, with the gradient of the convention."""
    scores = tensors["log_probs"]
    asked = read_sequences(tensors, parameters)
    batched = scores if scores.dim() == 3 else scores.unsqueeze(1)
    losses = Alignment.apply(batched, asked)
    losses = losses if scores.dim() == 3 else losses.squeeze(0)
    return reduce_sequences(losses, tensors, reduction, normalizer)


def ctc_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str, normalizer: float | None) -> torch.Tensor:
    """PyTorch's loss; under LOG_PROBS, whose gradient PyTorch lacks, the definition, its value checked against it."""
    check_labels(tensors, parameters)
    options = {key: value for key, value in parameters.items() if key != "gradient_convention"}
    options |= {name: tensors[name] for name in ("targets", "input_lengths", "target_lengths")}
    if parameters.get("gradient_convention") == "LOG_PROBS":
        wide = {**tensors, "log_probs": tensors["log_probs"].detach().double()}
        theirs = F.ctc_loss(wide["log_probs"], reduction="none", **options)
        torch.testing.assert_close(theirs, documented(wide, parameters, "none", None), equal_nan=True)
        return documented(tensors, parameters, reduction, normalizer)
    if normalizer is None:
        return F.ctc_loss(tensors["log_probs"], reduction=reduction, **options)
    losses = F.ctc_loss(tensors["log_probs"], reduction="none", **options)
    return reduce_sequences(losses, tensors, reduction, normalizer)


def required_steps(labels: list[int]) -> int:
    """The fewest time steps that hold the labels: a blank must part equal neighbours."""
    return len(labels) + sum(left == right for left, right in itertools.pairwise(labels))


def draw_labels(row: Row, steps: int, classes: int, generator: torch.Generator) -> list[int]:
    """At most five labels that fit into the steps."""
    blank = row["blank"] or 0
    allowed = [label for label in range(min(classes, 200)) if label != blank]
    labels: list[int] = []
    for _ in range(5):
        label = allowed[int(torch.randint(len(allowed), (), generator=generator))]
        if row["labels"] == "repeated" and labels and len(labels) % 2 == 1:
            label = labels[-1]
        labels.append(label)
    while required_steps(labels) > steps:
        labels.pop()
    return labels


def make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Log-probabilities, in part not normalised, and labels that fit."""
    steps, batch, classes = (shape[0], 1, shape[1]) if len(shape) == 2 else shape
    scores = 1.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    scores = scores.log_softmax(-1) if row["scores"] == "normalised" else scores - 1
    inputs, rows = [], []
    for n in range(batch):
        short = row["lengths"] == "short"
        used = int(torch.randint((steps + 1) // 2, steps + 1, (), generator=generator)) if short else steps
        inputs.append(used)
        empty = row["labels"] == "empty" and n % 2 == 0
        rows.append([] if empty else draw_labels(row, used, classes, generator))
    targets = torch.tensor([label for labels in rows for label in labels], dtype=torch.int64)
    if row["targets"] == "padded":
        width = max(len(labels) for labels in rows) + n % 2
        targets = torch.tensor([labels + [0] * (width - len(labels)) for labels in rows], dtype=torch.int64)
        targets = targets.reshape(batch, width)
    lengths = [torch.tensor(values).to(row["length_dtype"]) for values in (inputs, [len(labels) for labels in rows])]
    if len(shape) == 2 and row["lengths"] == "full":
        lengths = [values.reshape(()) for values in lengths]
    names = ("log_probs", "targets", "input_lengths", "target_lengths")
    return dict(zip(names, (scores, targets.to(row["target_dtype"]), *lengths), strict=True))


def plan() -> Plan:
    """The axes of ctc_loss."""
    return Plan(
        LOSS,
        ctc_loss,
        make,
        default_wrt=("log_probs",),
        all_wrt=lambda tensors: ("log_probs",),
        shapes=SHAPES,
        parameters={
            "blank": (None, 1),
            "zero_infinity": (None, True),
            "gradient_convention": (None, *CONVENTIONS),
        },
        options={
            "scores": ("normalised", "any"),
            "labels": ("plain", "repeated", "empty"),
            "targets": ("padded", "concatenated"),
            "lengths": ("full", "short"),
            "target_dtype": INDEX_DTYPES,
            "length_dtype": INDEX_DTYPES,
        },
        arrays=2,
    )


def batch(
    label: str, shape: Shape, targets: Any, inputs: Any, counts: Any, dtype: torch.dtype = torch.float32
) -> Tensors:
    """Drawn log-probabilities and listed targets and lengths."""
    scores = torch.randn(shape, generator=generator_for(f"{LOSS}/{label}"), dtype=torch.float64).log_softmax(-1)
    return {
        "log_probs": scores.to(dtype),
        "targets": torch.tensor(targets, dtype=torch.int64),
        "input_lengths": torch.tensor(inputs, dtype=torch.int64),
        "target_lengths": torch.tensor(counts, dtype=torch.int64),
    }


def edge(label: str, tensors: Tensors, convention: str, **changes: Any) -> Case:
    """A case, element-wise unless told otherwise, checked against the definition."""
    parameters = {"gradient_convention": convention} | changes.pop("parameters", {})
    settings: dict[str, Any] = {"reduction": "none", "wrt": ("log_probs",), "documented": documented} | changes
    dtype = DTYPE_NAMES[tensors["log_probs"].dtype]
    name = f"{LOSS}/edge/{label}/{convention.lower()}/{dtype}"
    return Case(name, LOSS, tensors, parameters, **settings)


def broken(label: str, shape: Shape, places: dict[tuple[int, ...], float], *rest: Any) -> Tensors:
    """A batch with some log-probabilities replaced."""
    tensors = batch(label, shape, *rest)
    for place, value in places.items():
        tensors["log_probs"][place] = value
    return tensors


def impossible_cases(convention: str) -> list[Case]:
    """Targets that do not fit, beside one that does, with zero_infinity and without, under every reduction."""
    cases = []
    for dtype in (torch.float32, torch.float64):
        tensors = batch("impossible", (4, 3, 3), [[1, 1, 2], [1, 2, 1], [2, 2, 0]], [2, 4, 2], [2, 3, 2], dtype)
        for label, parameters in {"kept": {}, "zeroed": {"zero_infinity": True}}.items():
            for reduction in REDUCTIONS:
                settings: dict[str, Any] = {"parameters": parameters, "reduction": reduction}
                cases.append(edge(f"impossible_{label}_{reduction}", tensors, convention, **settings))
    tensors = batch("zero_steps", (3, 3, 3), [[1, 2], [0, 0], [1, 0]], [0, 0, 3], [2, 0, 1])
    for label, parameters in {"kept": {}, "zeroed": {"zero_infinity": True}}.items():
        cases.append(edge(f"zero_steps_{label}", tensors, convention, parameters=parameters))
        cases.append(edge(f"zero_steps_{label}_mean", tensors, convention, parameters=parameters, reduction="mean"))
    return cases


def infinite_cases(convention: str) -> list[Case]:
    """Log-probabilities of -infinity on and off the alignments, and NaN."""
    differs = {"differs": MINUS_INFINITY_REASON} if convention == "LOGITS" else {}
    aside = broken("aside", (3, 1, 4), {(0, 0, 3): -INF, (2, 0, 3): -INF}, [[1, 2]], [3], [2])
    on_path = broken("on_path", (3, 1, 3), {(0, 0, 0): -INF, (1, 0, 1): -INF}, [[1]], [3], [1])
    blocked = broken("blocked", (2, 1, 3), {(0, 0, 1): -INF, (1, 0, 1): -INF}, [[1]], [2], [1])
    beyond = broken("beyond", (3, 1, 3), {(2, 0, 0): -INF, (2, 0, 1): NAN, (2, 0, 2): INF}, [[1]], [2], [1])
    cases = [
        edge("minus_infinity_aside", aside, convention, **differs),
        edge("minus_infinity_on_path", on_path, convention, **differs),
        edge("minus_infinity_beyond_length", beyond, convention),
        edge("minus_infinity_everywhere", blocked, convention),
        edge("minus_infinity_zeroed", blocked, convention, parameters={"zero_infinity": True}),
        edge("nan", broken("nan", (3, 1, 3), {(1, 0, 1): NAN}, [[1, 2]], [3], [2]), convention),
    ]
    wide = dict(aside)
    wide["log_probs"] = aside["log_probs"].double()
    return [*cases, edge("minus_infinity_aside", wide, convention, **differs)]


def shape_cases(convention: str) -> list[Case]:
    """Repeated labels, empty targets, one step, other blanks, padding that is not read, and unbatched input."""
    repeated = batch("repeated", (7, 2, 3), [[1, 1, 1], [2, 2, 1]], [7, 6], [3, 3])
    exact = batch("exact", (5, 2, 3), [[1, 1, 1], [2, 1, 2]], [5, 3], [3, 3])
    garbage = batch("garbage", (4, 2, 3), [[1, 99, -1, 0], [2, 1, -7, 1 << 40]], [4, 4], [1, 2])
    last = batch("last", (4, 2, 3), [[1, 0], [0, 0]], [4, 3], [2, 1])
    concatenated = batch("concatenated", (5, 3, 4), [1, 2, 2, 3, 1], [5, 4, 5], [2, 0, 3])
    cases = [
        edge("repeated", repeated, convention),
        edge("no_slack", exact, convention),
        edge("padding_unread", garbage, convention),
        edge("blank_last", last, convention, parameters={"blank": 2}),
        edge("concatenated", concatenated, convention, reduction="mean"),
        edge("concatenated_sum", concatenated, convention, reduction="sum"),
        edge("one_step", batch("one_step", (1, 2, 3), [[1], [2]], [1, 1], [1, 0]), convention),
        edge("zero_targets", batch("zero", (4, 2, 3), [[0, 0], [0, 0]], [4, 2], [0, 0]), convention, reduction="mean"),
        edge("no_columns", batch("none", (4, 2, 3), [[], []], [4, 2], [0, 0]), convention),
        edge("no_labels", batch("none", (4, 2, 3), [], [4, 2], [0, 0]), convention),
        edge("only_blank", batch("blank", (3, 1, 1), [[]], [3], [0]), convention),
        edge("unbatched", batch("unbatched", (5, 3), [1, 2], 5, 2), convention),
        edge("unbatched_mean", batch("unbatched", (5, 3), [1, 2], [4], [2]), convention, reduction="mean"),
        edge("unbatched_padded", batch("unbatched", (5, 3), [[1, 2, 0]], [5], [2]), convention, reduction="sum"),
        edge("unbatched_empty", batch("unbatched", (5, 3), [], 5, 0), convention),
        edge("normalizer", repeated, convention, reduction="mean", normalizer=5.5),
        edge("upstream", repeated, convention, grad_output=torch.tensor([-2.0, 0.5])),
        edge("upstream_zero", repeated, convention, grad_output=torch.tensor([0.0, 1.0])),
    ]
    for name, dtype in (("int64", torch.int64), ("int32", torch.int32), ("uint8", torch.uint8)):
        lengths = {key: repeated[key].to(dtype) for key in ("input_lengths", "target_lengths")}
        cases.append(edge(f"lengths_{name}", repeated | lengths, convention))
        cases.append(edge(f"targets_{name}", repeated | {"targets": repeated["targets"].to(dtype)}, convention))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        cases.append(edge("repeated", repeated | {"log_probs": repeated["log_probs"].to(dtype)}, convention))
    return cases


def size_cases(convention: str) -> list[Case]:
    """Confident, improbable, long and wide sequences."""
    sure = torch.full((4, 1, 3), -30.0)
    for step, label in enumerate((1, 0, 2, 0)):
        sure[step, 0, label] = 0.0
    confident = batch("confident", (4, 1, 3), [[1, 2]], [4], [2]) | {"log_probs": sure.log_softmax(-1)}
    improbable = confident | {"targets": torch.tensor([[2, 1]])}
    tiny = confident | {"log_probs": torch.full((4, 1, 3), -1e3, dtype=torch.float64)}
    positive = confident | {"log_probs": torch.full((4, 1, 3), 1.5)}
    wide = batch("wide", (2, 1, 32000), [[31999, 7]], [2], [2])
    wide["log_probs"] = (wide["log_probs"] * 64).round() / 64
    return [
        edge("confident", confident, convention),
        edge("improbable", improbable, convention),
        edge("tiny_probabilities", tiny, convention),
        edge("positive_log_probs", positive, convention),
        edge("long", batch("long", (150, 1, 3), [[1, 2, 2, 1] * 10], [150], [40], torch.float64), convention),
        edge("many_labels", batch("many", (24, 2, 28), [list(range(1, 13))] * 2, [24, 20], [12, 11]), convention),
    ] + ([edge("huge", wide, convention)] if convention == "LOGITS" else [])


def error_cases() -> list[Case]:
    """What PyTorch refuses, and what lossd refuses because PyTorch reads out of bounds for it."""
    good = batch("error", (4, 2, 3), [[1, 2], [2, 1]], [4, 4], [2, 2])
    changes: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "blank_too_large": ({}, {"blank": 3}),
        "blank_negative": ({}, {"blank": -1}),
        "label_is_blank": ({"targets": torch.tensor([[1, 0], [2, 1]])}, {}),
        "label_too_large": ({"targets": torch.tensor([[1, 2], [3, 1]])}, {}),
        "label_negative": ({"targets": torch.tensor([[1, -1], [2, 1]])}, {}),
        "label_is_other_blank": ({}, {"blank": 2}),
        "input_length_too_large": ({"input_lengths": torch.tensor([4, 5])}, {}),
        "input_length_negative": ({"input_lengths": torch.tensor([4, -1])}, {}),
        "target_length_too_large": ({"target_lengths": torch.tensor([2, 3])}, {}),
        "target_length_negative": ({"target_lengths": torch.tensor([2, -1])}, {}),
        "concatenated_size": ({"targets": torch.tensor([1, 2, 1])}, {}),
        "input_lengths_size": ({"input_lengths": torch.tensor([4])}, {}),
        "target_lengths_size": ({"target_lengths": torch.tensor([2, 2, 2])}, {}),
        "targets_batch": ({"targets": torch.tensor([[1, 2]])}, {}),
        "no_sequences": (batch("error", (4, 0, 3), [], [], []), {}),
        "no_steps": (batch("error", (0, 2, 3), [[1], [1]], [0, 0], [0, 0]), {}),
    }
    floating = Case(f"{LOSS}/error/float_targets", LOSS, good | {"targets": torch.ones(2, 2)}, wrt=("log_probs",))
    floating.differs = "PyTorch takes floating labels; lossd takes int64, int32 and uint8"
    floating.documented_error = ("ValueError", "targets has dtype float32")
    return [floating] + [
        Case(f"{LOSS}/error/{label}", LOSS, good | tensors, parameters, wrt=("log_probs",))
        for label, (tensors, parameters) in changes.items()
    ]


def ctc_cases() -> list[Case]:
    """Cases of ctc_loss."""
    cases = pairwise_cases(plan())
    for case in cases:
        case.documented = documented
    for convention in CONVENTIONS:
        cases += impossible_cases(convention) + infinite_cases(convention)
        cases += shape_cases(convention) + size_cases(convention)
    return cases + error_cases()
