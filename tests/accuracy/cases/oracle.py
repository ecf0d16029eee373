# SPDX-License-Identifier: Apache-2.0
"""The answers of PyTorch."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

Tensors = dict[str, torch.Tensor]
Answer = tuple[torch.Tensor, dict[str, torch.Tensor | None]]

DISTANCES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "PAIRWISE": torch.pairwise_distance,
    "SQUARED_EUCLIDEAN": lambda x, y: ((x - y) ** 2).sum(-1),
    "MANHATTAN": lambda x, y: (x - y).abs().sum(-1),
    "CHEBYSHEV": lambda x, y: (x - y).abs().amax(-1),
    "COSINE": lambda x, y: 1 - functional.cosine_similarity(x, y, dim=-1),
}


def call(loss: str, tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """The loss by that function of torch.nn.functional."""
    settings = dict(parameters)
    if loss == "ctc_loss":
        settings.pop("gradient_convention", None)
    if loss == "triplet_margin_with_distance_loss":
        settings["distance_function"] = DISTANCES[settings.pop("distance_function", "PAIRWISE")]
    return getattr(functional, loss)(**tensors, **settings, reduction=reduction)


def answer(
    loss: str, tensors: Tensors, parameters: dict[str, Any], reduction: str, wrt: tuple[str, ...]
) -> Answer | None:
    """PyTorch's loss and gradients; None where it lacks the dtype or the argument."""
    if parameters.get("gradient_convention") == "LOG_PROBS" or (loss == "smooth_l1_loss" and "weight" in tensors):
        return None
    leaves = {name: tensor.clone().requires_grad_(name in wrt) for name, tensor in tensors.items()}
    try:
        value = call(loss, leaves, parameters, reduction)
        slopes = torch.autograd.grad(value, [leaves[name] for name in wrt], torch.ones_like(value), allow_unused=True)
    except NotImplementedError:
        return None
    except RuntimeError as error:
        if "not implemented for" not in str(error):
            raise
        return None
    return value, dict(zip(wrt, slopes, strict=True))
