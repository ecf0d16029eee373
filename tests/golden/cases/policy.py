# SPDX-License-Identifier: Apache-2.0
"""Cases of clipped_policy_loss, which PyTorch lacks: its expression in PyTorch, its metrics and its cases."""

import math
from typing import Any

import torch

from cases.tensors import DTYPE_NAMES, FLOAT_DTYPES, HALF_DTYPES, Case, encode_number, generator_for, widen

Tensors = dict[str, torch.Tensor]
LOSS = "clipped_policy_loss"
REDUCTIONS = ("mean", "sum", "none")
WRT = ("log_probs",)
AGGREGATIONS: dict[str, dict[str, Any]] = {
    "token_mean": {"aggregation": "TOKEN_MEAN"},
    "sequence_mean_token_sum": {"aggregation": "SEQUENCE_MEAN_TOKEN_SUM"},
    "sequence_mean_token_mean": {"aggregation": "SEQUENCE_MEAN_TOKEN_MEAN"},
    "token_sum_constant": {"aggregation": "TOKEN_SUM_CONSTANT", "max_length": 12},
}
INF, NAN = math.inf, math.nan


def cleaned(tensors: Tensors) -> tuple[Tensors, torch.Tensor]:
    """The inputs as [B, T] in float32 or wider with zeros where masked, and the mask as bool."""
    log_probs = tensors["log_probs"]
    mask = tensors["mask"] != 0 if "mask" in tensors else torch.ones(log_probs.shape, dtype=torch.bool)
    values: Tensors = {}
    for name in ("log_probs", "old_log_probs", "advantages", "ref_log_probs"):
        if name in tensors:
            value = tensors[name].float() if tensors[name].dtype in HALF_DTYPES else tensors[name]
            value = value.unsqueeze(-1).expand(log_probs.shape) if value.dim() == 1 else value
            values[name] = torch.where(mask, value, 0.0)
    return values, mask


def importance(values: Tensors, mask: torch.Tensor, parameters: dict[str, Any]) -> torch.Tensor:
    """The ratio; at sequence level its value is the sequence's and its gradient the token's."""
    log_probs = values["log_probs"]
    logarithm = log_probs - values["old_log_probs"]
    if parameters.get("importance_level", "TOKEN") == "SEQUENCE":
        count = mask.sum(-1, keepdim=True).clamp(min=1)
        mean = logarithm.sum(-1, keepdim=True) / count
        logarithm = mean.detach() + (log_probs - log_probs.detach())
    return torch.exp(logarithm)


def k3(difference: torch.Tensor) -> torch.Tensor:
    """exp(d) - d - 1."""
    return torch.exp(difference) - difference - 1


def kl_estimate(difference: torch.Tensor, estimator: str) -> torch.Tensor:
    """The KL estimator of d = ref_log_probs - log_probs."""
    if estimator == "K1":
        return -difference
    return difference * difference / 2 if estimator == "K2" else k3(difference)


def token_losses(tensors: Tensors, parameters: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of each token, zero where masked, and the mask."""
    values, mask = cleaned(tensors)
    advantages = values["advantages"]
    ratio = importance(values, mask, parameters)
    clamped = torch.clamp(ratio, 1 - parameters.get("clip_low", 0.2), 1 + parameters.get("clip_high", 0.2))
    objective = parameters.get("objective", "CLIPPED")
    if objective == "CISPO":
        loss = -clamped.detach() * advantages * values["log_probs"]
    elif objective == "IMPORTANCE_SAMPLING":
        loss = -advantages * ratio
    else:
        loss = torch.maximum(-advantages * ratio, -advantages * clamped)
        if "dual_clip" in parameters:
            limited = torch.minimum(loss, -advantages * parameters["dual_clip"])
            loss = torch.where(advantages < 0, limited, loss)
    weight = parameters.get("kl_weight", 0.0)
    if weight != 0:
        difference = values["ref_log_probs"] - values["log_probs"]
        loss = loss + weight * kl_estimate(difference, parameters.get("kl_estimator", "K3"))
    return torch.where(mask, loss, 0.0), mask


def clipped_policy_loss(
    tensors: Tensors, parameters: dict[str, Any], reduction: str, normalizer: float | None
) -> torch.Tensor:
    """The clipped-policy loss; half precision is computed in float32 and rounded once."""
    dtype = tensors["log_probs"].dtype
    loss, mask = token_losses(tensors, parameters)
    if reduction == "none":
        return loss.to(dtype)
    if reduction == "sum":
        return loss.sum().to(dtype)
    aggregation = parameters.get("aggregation", "TOKEN_MEAN")
    batch = mask.shape[0]
    total = loss.sum()
    denominator = float(batch)
    if aggregation == "TOKEN_MEAN":
        denominator = float(mask.sum())
    elif aggregation == "SEQUENCE_MEAN_TOKEN_MEAN":
        total = (loss.sum(-1) / mask.sum(-1).clamp(min=1)).sum()
    elif aggregation == "TOKEN_SUM_CONSTANT":
        denominator = float(batch * parameters["max_length"])
    return (total / (denominator if normalizer is None else normalizer)).to(dtype)


def metrics(case: Case) -> dict[str, list[float | str]]:
    """Numerators and denominators of the metrics, in float64."""
    values, mask = cleaned(widen(case.tensors))
    ratio = importance(values, mask, case.parameters)
    low, high = 1 - case.parameters.get("clip_low", 0.2), 1 + case.parameters.get("clip_high", 0.2)
    above, below = ratio > high, ratio < low
    objective = case.parameters.get("objective", "CLIPPED")
    if objective == "CLIPPED":
        above, below = above & (values["advantages"] > 0), below & (values["advantages"] < 0)
    elif objective == "IMPORTANCE_SAMPLING":
        above, below = torch.zeros_like(above), torch.zeros_like(below)
    parts = {
        "clip_fraction_high": above.double(),
        "clip_fraction_low": below.double(),
        "ratio": ratio,
        "kl_old": k3(values["log_probs"] - values["old_log_probs"]),
    }
    if "ref_log_probs" in values:
        parts["kl_ref"] = k3(values["ref_log_probs"] - values["log_probs"])
    count = float(mask.sum())
    return {name: [encode_number(torch.where(mask, part, 0.0).sum().item()), count] for name, part in parts.items()}


def rollouts(
    shape: tuple[int, int],
    dtype: torch.dtype,
    generator: torch.Generator,
    ref: bool = False,
    mask: torch.dtype | None = torch.bool,
    per_sequence: bool = False,
) -> Tensors:
    """Log-probabilities of a policy that moved by about a third, and advantages of both signs."""

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    log_probs = -0.05 - normal(*shape).abs()
    tensors = {
        "log_probs": log_probs.to(dtype),
        "old_log_probs": (log_probs + 0.35 * normal(*shape)).to(dtype),
        "advantages": (normal(shape[0]) if per_sequence else normal(*shape)).to(dtype),
    }
    if ref:
        tensors["ref_log_probs"] = (log_probs + 0.5 * normal(*shape)).to(dtype)
    if mask is not None:
        kept = torch.rand(shape, generator=generator) < 0.75
        if kept.numel() > 0:
            kept[:, 0] = True
        tensors["mask"] = kept.to(mask)
    return tensors


def case_of(
    label: str, tensors: Tensors, parameters: dict[str, Any] | None = None, reduction: str = "mean", **changes: Any
) -> Case:
    """A case with respect to log_probs, its upstream gradient scaled under a mean."""
    case = Case(f"{LOSS}/{label}/{reduction}", LOSS, tensors, parameters or {}, reduction, WRT, **changes)
    case.autoscale = reduction == "mean"
    return case


def shape_cases() -> list[Case]:
    """Shapes in float32 with the reductions in turn, and empty ones under every aggregation."""
    shapes = [(1, 1), (1, 15), (2, 16), (3, 17), (17, 1), (1, 1023), (1, 1024), (5, 205), (16, 9)]
    cases = []
    for index, shape in enumerate(shapes):
        label = f"shape/B{shape[0]}_T{shape[1]}"
        tensors = rollouts(shape, torch.float32, generator_for(label), mask=torch.bool if index % 2 else None)
        cases.append(case_of(label, tensors, reduction=REDUCTIONS[index % 3]))
    for shape in ((0, 4), (3, 0)):
        for name, parameters in AGGREGATIONS.items():
            label = f"shape/B{shape[0]}_T{shape[1]}/{name}"
            cases.append(case_of(label, rollouts(shape, torch.float32, generator_for(label)), parameters))
    return cases


def dtype_cases() -> list[Case]:
    """Every floating dtype with every reduction and a reference policy, and every dtype of mask."""
    cases = []
    for dtype in FLOAT_DTYPES:
        for reduction in REDUCTIONS:
            label = f"dtype/{DTYPE_NAMES[dtype]}"
            generator = generator_for(f"{label}/{reduction}")
            tensors = rollouts((4, 7), dtype, generator, ref=True)
            upstream = None
            if reduction == "none":
                upstream = torch.randn((4, 7), generator=generator, dtype=torch.float64).to(dtype)
            elif reduction == "sum":
                upstream = torch.tensor(-1.5, dtype=dtype)
            cases.append(case_of(label, tensors, {"kl_weight": 0.1}, reduction, grad_output=upstream))
    for mask in (None, torch.bool, torch.uint8, torch.float32, torch.int64, torch.float16):
        label = f"mask/{'absent' if mask is None else DTYPE_NAMES[mask]}"
        cases.append(case_of(label, rollouts((3, 6), torch.float32, generator_for(label), mask=mask)))
    return cases


def objective_cases() -> list[Case]:
    """Objectives, levels, aggregations and clipping, alone and pairwise."""
    cases = []
    index = 0
    for objective in ("CLIPPED", "CISPO", "IMPORTANCE_SAMPLING"):
        for level in ("TOKEN", "SEQUENCE"):
            for name, aggregation in AGGREGATIONS.items():
                label = f"objective/{objective.lower()}/{level.lower()}/{name}"
                tensors = rollouts((4, 6), torch.float32, generator_for(label), per_sequence=index % 2 == 1)
                index += 1
                parameters = {"objective": objective, "importance_level": level} | aggregation
                cases.append(case_of(label, tensors, parameters))
            for reduction in ("sum", "none"):
                label = f"objective/{objective.lower()}/{level.lower()}"
                tensors = rollouts((4, 6), torch.float32, generator_for(f"{label}/{reduction}"))
                parameters = {"objective": objective, "importance_level": level}
                cases.append(case_of(label, tensors, parameters, reduction))
    options: dict[str, dict[str, Any]] = {
        "clip_high": {"clip_high": 0.5},
        "clip_low": {"clip_low": 0.05},
        "clip_low_one": {"clip_low": 1.0, "clip_high": 3.0},
        "dual_clip": {"dual_clip": 1.3},
        "dual_clip_below_band": {"dual_clip": 1.1},
        "dual_clip+clip": {"dual_clip": 3.0, "clip_low": 0.1, "clip_high": 0.28},
        "dual_clip+sequence": {"dual_clip": 1.05, "importance_level": "SEQUENCE"},
        "cispo+clip": {"objective": "CISPO", "clip_low": 1.0, "clip_high": 0.1},
    }
    for offset, (label, parameters) in enumerate(options.items()):
        for reduction in ("mean", ("sum", "none")[offset % 2]):
            tensors = rollouts((5, 8), torch.float32, generator_for(f"option/{label}/{reduction}"))
            cases.append(case_of(f"option/{label}", tensors, parameters, reduction))
    return cases


def kl_cases() -> list[Case]:
    """The KL penalty: estimators, with objectives and levels; and the normalizer."""
    cases = []
    for estimator in ("K1", "K2", "K3"):
        for reduction in REDUCTIONS:
            label = f"kl/{estimator.lower()}"
            tensors = rollouts((3, 7), torch.float32, generator_for(f"{label}/{reduction}"), ref=True)
            parameters = {"kl_weight": 0.5, "kl_estimator": estimator}
            cases.append(case_of(label, tensors, parameters, reduction))
    pairs: dict[str, dict[str, Any]] = {
        "cispo": {"objective": "CISPO", "kl_weight": 0.2},
        "importance_sampling": {"objective": "IMPORTANCE_SAMPLING", "kl_weight": 0.2, "kl_estimator": "K2"},
        "sequence": {"importance_level": "SEQUENCE", "kl_weight": 0.2},
        "dual_clip": {"dual_clip": 1.4, "kl_weight": 0.2},
        "sequence_mean_token_mean": {"aggregation": "SEQUENCE_MEAN_TOKEN_MEAN", "kl_weight": 0.2},
        "zero_weight": {"kl_weight": 0.0},
    }
    for name, parameters in pairs.items():
        tensors = rollouts((3, 7), torch.float32, generator_for(f"kl/{name}"), ref=True)
        cases.append(case_of(f"kl/{name}", tensors, parameters))
    for name, parameters in AGGREGATIONS.items():
        tensors = rollouts((3, 5), torch.float32, generator_for(f"normalizer/{name}"), ref=True)
        cases.append(case_of(f"normalizer/{name}", tensors, parameters | {"kl_weight": 0.1}, normalizer=21.5))
    return cases


def mask_cases() -> list[Case]:
    """Masked values that are not finite, empty rows and an empty mask, under every aggregation and level."""
    cases = []
    for level in ("TOKEN", "SEQUENCE"):
        for name, aggregation in AGGREGATIONS.items():
            label = f"masked_broken/{level.lower()}/{name}"
            tensors = rollouts((4, 5), torch.float32, generator_for(label), ref=True)
            tensors["mask"][1] = False
            hidden = ~tensors["mask"]
            for value, key in (
                (NAN, "log_probs"),
                (INF, "old_log_probs"),
                (NAN, "advantages"),
                (-INF, "ref_log_probs"),
            ):
                tensors[key] = torch.where(hidden, value, tensors[key])
            parameters = {"importance_level": level, "kl_weight": 0.1} | aggregation
            cases.append(case_of(label, tensors, parameters))
    for name, aggregation in AGGREGATIONS.items():
        label = f"all_masked/{name}"
        tensors = rollouts((2, 3), torch.float32, generator_for(label))
        tensors["mask"] = torch.zeros((2, 3), dtype=torch.bool)
        tensors["log_probs"][0, 0] = NAN
        cases.append(case_of(label, tensors, aggregation))
    label = "masked_row_advantage_nan"
    tensors = rollouts((3, 4), torch.float32, generator_for(label), per_sequence=True)
    tensors["mask"][2] = False
    tensors["advantages"][2] = NAN
    return [*cases, case_of(label, tensors), case_of(label, tensors, reduction="none")]


def edge(label: str, log_probs: list[float], old: list[float], advantages: list[float], **changes: Any) -> Case:
    """A case of one sequence of listed values, element-wise."""
    dtype = changes.pop("dtype", torch.float32)
    rows = {"log_probs": log_probs, "old_log_probs": old, "advantages": advantages}
    tensors = {name: torch.tensor([row], dtype=dtype) for name, row in rows.items()}
    if "ref" in changes:
        tensors["ref_log_probs"] = torch.tensor([changes.pop("ref")], dtype=dtype)
    return case_of(f"edge/{label}/{DTYPE_NAMES[dtype]}", tensors, changes.pop("parameters", {}), "none")


def edge_cases() -> list[Case]:
    """Ratios of exactly one, on the clamp's boundary and far away; values that are not finite."""
    same = [-1.0, -2.0, -0.5]
    signs = [1.0, -1.0, 0.0]
    far = [-1.0, -30.0, -1.0, -30.0]
    near = [-30.0, -1.0, -30.0, -1.0]
    return [
        edge("ratio_one", same, same, signs),
        edge("ratio_one", same, same, signs, dtype=torch.float64),
        edge("boundary", same, same, signs, parameters={"clip_low": 0.0, "clip_high": 0.0}),
        edge("boundary_low", same, same, signs, parameters={"clip_low": 0.0}),
        edge("boundary_high", same, same, signs, parameters={"clip_high": 0.0}),
        edge("boundary_cispo", same, same, signs, parameters={"objective": "CISPO", "clip_high": 0.0}),
        edge("far", far, near, [1.0, 1.0, -1.0, -1.0]),
        edge("far_dual_clip", far, near, [1.0, 1.0, -1.0, -1.0], parameters={"dual_clip": 3.0}),
        edge("far_cispo", far, near, [1.0, 1.0, -1.0, -1.0], parameters={"objective": "CISPO"}),
        edge("advantage_zero", far, near, [0.0, -0.0, 0.0, -0.0], parameters={"dual_clip": 2.0}),
        edge("nan", [NAN, -1.0, -1.0], [-1.0, NAN, -1.0], [1.0, 1.0, NAN]),
        edge("infinite_advantage", [-1.0, -1.0], [-1.5, -0.5], [INF, -INF]),
        edge("minus_infinity", [-INF, -1.0], [-1.0, -INF], [1.0, -1.0]),
        edge("ref_equal", same, same, signs, ref=same, parameters={"kl_weight": 1.0}),
        edge("ref_close", same, same, [0.0] * 3, ref=[-1.25, -2.0625, -0.625], parameters={"kl_weight": 4.0}),
    ]


def error_cases() -> list[Case]:
    """What lossd refuses; PyTorch has no such loss, so the messages only say what is wrong."""
    good = rollouts((2, 3), torch.float32, generator_for("error"))
    short = good["log_probs"][:, :2]
    wrong: list[tuple[str, Tensors, dict[str, Any], str]] = [
        ("old_shape", good | {"old_log_probs": short}, {}, "old_log_probs must have the shape of log_probs"),
        (
            "ref_shape",
            good | {"ref_log_probs": short},
            {"kl_weight": 0.1},
            "ref_log_probs must have the shape of log_probs",
        ),
        ("mask_shape", good | {"mask": good["mask"][:, :2]}, {}, "mask must have the shape of log_probs"),
        ("advantages_shape", good | {"advantages": torch.ones(3)}, {}, "advantages must have shape [B, T] or [B]"),
        ("rank", {key: value[0] for key, value in good.items()}, {}, "log_probs must have shape [B, T]"),
        ("ref_missing", good, {"kl_weight": 0.1}, "kl_weight needs ref_log_probs"),
        ("dual_clip", good, {"dual_clip": 1.0}, "dual_clip must be greater than 1"),
        ("clip_low", good, {"clip_low": -0.1}, "clip_low must not be negative"),
        ("clip_high", good, {"clip_high": -0.1}, "clip_high must not be negative"),
        ("clip_low_above_one", good, {"clip_low": 1.5}, "clip_low must be at most 1"),
        (
            "kl_weight",
            good | {"ref_log_probs": good["log_probs"]},
            {"kl_weight": -0.1},
            "kl_weight must not be negative",
        ),
        ("mask_value", good | {"mask": 2 * good["mask"].float()}, {}, "mask must hold zeros and ones"),
        ("max_length_unused", good, {"max_length": 8}, "max_length goes with TOKEN_SUM_CONSTANT only"),
        ("max_length_missing", good, {"aggregation": "TOKEN_SUM_CONSTANT"}, "TOKEN_SUM_CONSTANT needs max_length"),
        (
            "max_length_zero",
            good,
            {"aggregation": "TOKEN_SUM_CONSTANT", "max_length": 0},
            "max_length must be positive",
        ),
    ]
    return [
        Case(f"{LOSS}/error/{label}", LOSS, tensors, parameters, wrt=WRT, documented_error=("ValueError", message))
        for label, tensors, parameters, message in wrong
    ]


def policy_cases() -> list[Case]:
    """Cases of clipped_policy_loss."""
    cases = shape_cases() + dtype_cases() + objective_cases() + kl_cases()
    return cases + mask_cases() + edge_cases() + error_cases()
