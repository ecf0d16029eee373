# SPDX-License-Identifier: Apache-2.0
"""The loss of connectionist temporal classification and both its gradients, in float64 and without PyTorch's kernel.

For a sequence of log-probabilities lp[t, c] and labels, alpha[t, s] is the logarithm of the probability of all
beginnings of alignments that are at place s of the extended labels (blank, first label, blank, ...) at step t, and
rest[t, s] that of all their ends after step t. The occupancy of class c at step t is the probability that an alignment
is at c then: the sum over the places of c of exp(alpha + rest - log-likelihood).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch

from cases.tensors import Tensors


@dataclass
class Sequences:
    """The labels and lengths of a batch, and what is asked for."""

    labels: list[list[int]]
    steps: list[int]
    blank: int
    zero_infinity: bool
    log_probs_convention: bool


def read_sequences(tensors: Tensors, parameters: dict[str, Any]) -> Sequences:
    """The labels of each sequence, from padded or concatenated targets."""
    steps = tensors["input_lengths"].reshape(-1).tolist()
    counts = tensors["target_lengths"].reshape(-1).tolist()
    targets = tensors["targets"]
    rows = [[0]] if targets.dim() == 0 else targets.tolist()
    if targets.dim() == 1:
        starts = [sum(counts[:index]) for index in range(len(counts))]
        rows = [rows[start : start + count] for start, count in zip(starts, counts, strict=True)]
    labels = [row[: max(count, 0)] for row, count in zip(rows, counts, strict=False)]
    log_probs = parameters.get("gradient_convention") == "LOG_PROBS"
    return Sequences(labels, steps, parameters.get("blank", 0), bool(parameters.get("zero_infinity")), log_probs)


def shifted(values: torch.Tensor, by: int) -> torch.Tensor:
    """Values moved by places, with -infinity where nothing comes from."""
    filler = torch.full((min(abs(by), len(values)),), -math.inf, dtype=values.dtype)
    if by > 0:
        return torch.cat((filler, values))[: len(values)]
    return torch.cat((values, filler))[-len(values) :]


def occupancy(scores: torch.Tensor, labels: list[int], blank: int) -> tuple[float, torch.Tensor]:
    """The log-likelihood of the labels and the occupancy [T, C], for scores [T, C] with T > 0."""
    places = [blank]
    for label in labels:
        places += [label, blank]
    count = len(places)
    skips = [s >= 2 and places[s] != blank and places[s] != places[s - 2] for s in range(count)]
    closed = torch.where(torch.tensor(skips), 0.0, -math.inf).double()
    emitted = scores[:, places]
    alpha = torch.full_like(emitted, -math.inf)
    alpha[0, :2] = emitted[0, :2]
    for t in range(1, len(scores)):
        before = alpha[t - 1]
        paths = torch.stack((before, shifted(before, 1), shifted(before, 2) + closed))
        alpha[t] = torch.logsumexp(paths, 0) + emitted[t]
    rest = torch.full_like(emitted, -math.inf)
    rest[-1, -2:] = 0.0
    for t in range(len(scores) - 2, -1, -1):
        after = rest[t + 1] + emitted[t + 1]
        paths = torch.stack((after, shifted(after, -1), shifted(after + closed, -2)))
        rest[t] = torch.logsumexp(paths, 0)
    likelihood = torch.logsumexp(alpha[-1, -2:], 0)
    share = torch.exp(alpha + rest - likelihood)
    index = torch.tensor(places).expand(share.shape)
    return likelihood.item(), torch.zeros_like(scores).scatter_add(1, index, share)


def sequence_loss(scores: torch.Tensor, labels: list[int], asked: Sequences) -> tuple[float, torch.Tensor]:
    """The loss of one sequence and its gradient [T, C] with respect to the scores [T, C]."""
    if len(scores) == 0:
        empty = 0.0 if asked.zero_infinity or not labels else math.inf
        return empty, torch.zeros_like(scores)
    likelihood, share = occupancy(scores, labels, asked.blank)
    if math.isinf(likelihood):
        value = 0.0 if asked.zero_infinity else math.nan
        return (0.0 if asked.zero_infinity else math.inf), torch.full_like(scores, value)
    return -likelihood, -share if asked.log_probs_convention else scores.exp() - share


class Alignment(torch.autograd.Function):
    """The loss [N] of log-probabilities [T, N, C]; the gradient follows the convention that is asked for."""

    @staticmethod
    def forward(ctx: Any, log_probs: torch.Tensor, asked: Sequences) -> torch.Tensor:
        """The loss of each sequence."""
        losses = torch.zeros(log_probs.shape[1], dtype=torch.float64)
        gradients = torch.zeros(log_probs.shape, dtype=torch.float64)
        for n, (labels, steps) in enumerate(zip(asked.labels, asked.steps, strict=True)):
            losses[n], gradients[:steps, n] = sequence_loss(log_probs[:steps, n].detach().double(), labels, asked)
        ctx.save_for_backward(gradients)
        return losses.to(log_probs.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient with respect to log_probs."""
        (gradients,) = ctx.saved_tensors
        return (gradients * upstream[0].double().unsqueeze(-1)).to(upstream[0].dtype), None
