# SPDX-License-Identifier: Apache-2.0
"""Checks clipped_policy_loss against the expressions of TRL's GRPO trainer and verl's core algorithms.

TRL: commit f2cd57710ae345ea6428ae95363267fcf38a3dc8 (1.10.0.dev0), trl/trainer/grpo_trainer.py, _compute_loss.
verl: commit b178a3cd56f58b2d502255daba591e92833930a7 (0.8.0.dev), verl/trainer/ppo/core_algos.py, agg_loss,
compute_policy_loss_vanilla, compute_policy_loss_gspo, compute_policy_loss_cispo, kl_penalty_forward.
Both are restated here in other words; verl's stabilising clamps at +-20 are not reached by the data.
"""

from collections.abc import Callable
from typing import Any

import torch

from cases.tensors import Case, generator_for
from cases.policy import clipped_policy_loss, metrics, rollouts

Tensors = dict[str, torch.Tensor]
Value = Callable[[Tensors], torch.Tensor]
LOW, HIGH, CAP, WEIGHT, LENGTH = 0.2, 0.28, 1.6, 0.3, 11


def trl(tensors: Tensors, kind: str, level: str, delta: float | None, beta: float) -> torch.Tensor:
    """TRL's loss of one process, without gradient accumulation."""
    policy, mask = tensors["log_probs"], tensors["mask"]
    advantages = tensors["advantages"]
    advantages = advantages[:, None] if advantages.dim() == 1 else advantages
    moved = policy - tensors["old_log_probs"]
    lengths = mask.sum(-1).clamp(min=1.0)
    if level == "SEQUENCE":
        moved = ((moved * mask).sum(-1) / lengths)[:, None]
    coefficient = moved.exp()
    if kind == "cispo":
        token = -(coefficient.clamp(max=1 + HIGH).detach() * advantages * policy)
    else:
        bounded = coefficient.clamp(1 - LOW, 1 + HIGH)
        capped = coefficient if delta is None else coefficient.clamp(max=delta)
        token = -torch.minimum(capped * advantages, bounded * advantages)
    if beta != 0:
        apart = tensors["ref_log_probs"] - policy
        token = token + beta * (apart.exp() - apart - 1)
    kept = token * mask
    if kind == "grpo":
        return (kept.sum(-1) / lengths).mean()
    if kind == "dr_grpo":
        return kept.sum() / (mask.shape[0] * LENGTH)
    return kept.sum() / mask.sum().clamp(min=1.0)


def verl_aggregate(token: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """verl's four aggregations; sequences without tokens leave the means."""
    kept = token * mask
    lengths = mask.sum(-1)
    present = (lengths > 0).double()
    if mode == "token-mean":
        return kept.sum() / mask.sum()
    if mode == "seq-mean-token-sum":
        return (kept.sum(-1) * present).sum() / present.sum()
    if mode == "seq-mean-token-mean":
        return (kept.sum(-1) / (lengths + 1e-8) * present).sum() / present.sum()
    return kept.sum() / (mask.shape[0] * LENGTH)


def verl(tensors: Tensors, kind: str, mode: str, estimator: str | None) -> torch.Tensor:
    """verl's policy loss plus WEIGHT times its KL penalty, aggregated alike."""
    policy, mask, advantages = tensors["log_probs"], tensors["mask"], tensors["advantages"]
    advantages = advantages[:, None].expand(policy.shape) if advantages.dim() == 1 else advantages
    moved = policy - tensors["old_log_probs"]
    if kind == "gspo":
        mean = (moved * mask).sum(-1) / mask.sum(-1).clamp(min=1)
        moved = policy - policy.detach() + mean.detach()[:, None]
    ratio = moved.exp()
    bounded = ratio.clamp(1 - LOW, 1 + HIGH)
    if kind == "cispo":
        token = -bounded.detach() * advantages * policy
    else:
        token = torch.maximum(-advantages * ratio, -advantages * bounded)
        if kind == "vanilla":
            token = torch.where(advantages < 0, torch.minimum(-advantages * CAP, token), token)
    if estimator is not None:
        apart = tensors["ref_log_probs"] - policy
        penalty = {"K1": -apart, "K2": 0.5 * apart.square(), "K3": apart.exp() - apart - 1}[estimator]
        token = token + WEIGHT * penalty
    return verl_aggregate(token, mask, mode)


def answer(function: Value, tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient with respect to log_probs."""
    own = tensors | {"log_probs": tensors["log_probs"].detach().clone().requires_grad_(True)}
    loss = function(own)
    (gradient,) = torch.autograd.grad(loss, [own["log_probs"]])
    return loss.detach(), gradient


def agree(first: Value, second: Value, tensors: Tensors) -> bool:
    """Whether two losses and their gradients are equal up to verl's 1e-8."""
    pairs = zip(answer(first, tensors), answer(second, tensors), strict=True)
    return all(torch.allclose(left, right, rtol=1e-7, atol=1e-9) for left, right in pairs)


def ours(parameters: dict[str, Any]) -> Value:
    """clipped_policy_loss with the bounds of this module."""
    settings = {"clip_low": LOW, "clip_high": HIGH} | parameters
    return lambda tensors: clipped_policy_loss(tensors, settings, "mean", None)


def bound(function: Callable[..., torch.Tensor], *settings: Any) -> Value:
    """A framework's loss with its settings."""
    return lambda tensors: function(tensors, *settings)


def verl_with_empty(tensors: Tensors, mode: str) -> torch.Tensor:
    """verl's CISPO times the share of sequences that have tokens."""
    return verl(tensors, "cispo", mode, None) * (tensors["mask"].sum(-1) > 0).double().mean()


def data(per_sequence: bool) -> Tensors:
    """Float64 rollouts with a mask of zeros and ones; every sequence has tokens."""
    generator = generator_for(f"crosscheck/{per_sequence}")
    return rollouts((6, 9), torch.float64, generator, ref=True, mask=torch.float64, per_sequence=per_sequence)


def require(condition: bool, what: str) -> None:
    """Stops generation when a stated relation does not hold."""
    if not condition:
        raise AssertionError(f"cross-check: {what}")


def check_trl() -> None:
    """TRL's grpo, bnpo (dapo), dr_grpo, cispo, delta and sequence level."""
    kinds: dict[str, dict[str, Any]] = {
        "grpo": {"aggregation": "SEQUENCE_MEAN_TOKEN_MEAN"},
        "bnpo": {"aggregation": "TOKEN_MEAN"},
        "dr_grpo": {"aggregation": "TOKEN_SUM_CONSTANT", "max_length": LENGTH},
    }
    tensors = data(per_sequence=True)
    for kind, aggregation in kinds.items():
        for level in ("TOKEN", "SEQUENCE"):
            for delta in (None, CAP):
                for beta in (0.0, WEIGHT):
                    parameters = aggregation | {"importance_level": level, "kl_weight": beta}
                    parameters |= {} if delta is None else {"dual_clip": delta}
                    theirs = bound(trl, kind, level, delta, beta)
                    require(agree(ours(parameters), theirs, tensors), f"TRL {kind} {level} {delta} {beta}")
    wide = {"objective": "CISPO", "clip_low": 1.0}
    for level in ("TOKEN", "SEQUENCE"):
        theirs = bound(trl, "cispo", level, None, 0.0)
        require(agree(ours(wide | {"importance_level": level}), theirs, tensors), f"TRL cispo {level}")
    per_token = data(per_sequence=False)
    theirs = bound(trl, "grpo", "SEQUENCE", None, 0.0)
    parameters = kinds["grpo"] | {"importance_level": "SEQUENCE"}
    require(not agree(ours(parameters), theirs, per_token), "TRL's sequence gradient mixes token advantages")
    require(
        torch.allclose(answer(ours(parameters), per_token)[0], answer(theirs, per_token)[0]),
        "TRL's sequence loss has our value with token advantages",
    )


def check_verl() -> None:
    """verl's vanilla (dual clip), gspo and cispo under its aggregations and KL penalties."""
    modes: dict[str, dict[str, Any]] = {
        "token-mean": {"aggregation": "TOKEN_MEAN"},
        "seq-mean-token-sum": {"aggregation": "SEQUENCE_MEAN_TOKEN_SUM"},
        "seq-mean-token-mean": {"aggregation": "SEQUENCE_MEAN_TOKEN_MEAN"},
        "seq-mean-token-sum-norm": {"aggregation": "TOKEN_SUM_CONSTANT", "max_length": LENGTH},
    }
    kinds: dict[str, dict[str, Any]] = {
        "vanilla": {"dual_clip": CAP},
        "gspo": {"importance_level": "SEQUENCE"},
        "cispo": {"objective": "CISPO"},
    }
    for per_sequence in (False, True):
        tensors = data(per_sequence)
        for mode, aggregation in modes.items():
            for kind, objective in kinds.items():
                for estimator in (None, "K1", "K2", "K3"):
                    parameters = aggregation | objective
                    if estimator is not None:
                        parameters |= {"kl_weight": WEIGHT, "kl_estimator": estimator}
                    theirs = bound(verl, kind, mode, estimator)
                    require(agree(ours(parameters), theirs, tensors), f"verl {kind} {mode} {estimator}")
    tensors = data(per_sequence=False)
    tensors["mask"][2] = 0
    for mode in ("seq-mean-token-sum", "seq-mean-token-mean"):
        theirs = bound(verl_with_empty, mode)
        require(
            agree(ours(modes[mode] | kinds["cispo"]), theirs, tensors), "verl leaves empty sequences out of its means"
        )


def check_metrics() -> None:
    """Clip fractions and KL to the reference."""
    tensors = data(per_sequence=True)
    mask, advantages = tensors["mask"], tensors["advantages"][:, None]
    settings = {"clip_low": LOW, "clip_high": HIGH}
    found = {
        kind: metrics(Case("check", "clipped_policy_loss", tensors, settings | {"objective": kind}))
        for kind in ("CLIPPED", "CISPO")
    }
    ratio = (tensors["log_probs"] - tensors["old_log_probs"]).exp()
    bounded = ratio.clamp(1 - LOW, 1 + HIGH)
    low = (((ratio < 1 - LOW) & (advantages < 0)) * mask).sum().item()
    high = (((ratio > 1 + HIGH) & (advantages > 0)) * mask).sum().item()
    require(found["CLIPPED"]["clip_fraction_low"][0] == low, "TRL's low clip fraction")
    require(found["CLIPPED"]["clip_fraction_high"][0] == high, "TRL's high clip fraction")
    surpassed = ((-advantages * bounded > -advantages * ratio) * mask).sum().item()
    require(low + high == surpassed, "verl's clip fraction of the vanilla loss")
    outside = ((ratio != bounded) * mask).sum().item()
    both = [found["CISPO"][name][0] for name in ("clip_fraction_low", "clip_fraction_high")]
    require(sum(float(part) for part in both) == outside, "verl's clip fraction of cispo")


def check_all() -> None:
    """Every comparison."""
    check_trl()
    check_verl()
    check_metrics()
