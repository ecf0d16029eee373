# SPDX-License-Identifier: Apache-2.0
"""Measures the losses of torch.nn.functional, for a Python with torch.

Reads a case as a line of JSON ({"loss", "shape", "mode", "how", "seconds"}) and
answers with the seconds that one evaluation took, until its input ends. Between
the cases it does nothing.
"""

import json
import sys
import time

import torch
from torch.nn import functional

CLASS_LOSSES = ("cross_entropy", "nll_loss", "multi_margin_loss")
TRIPLETS = ("triplet_margin_loss", "triplet_margin_with_distance_loss")
SIGNED = ("hinge_embedding_loss", "soft_margin_loss")
STEPS = 16


def uniform(shape, low, high):
    return torch.empty(shape).uniform_(low, high)


def signs(shape):
    return torch.randint(0, 2, shape) * 2.0 - 1.0


def row_tensors(loss, shape):
    """As make_tensors, for a loss over rows or sequences; None for another."""
    rows, length = shape if len(shape) == 2 else (1, shape[0])
    if loss in CLASS_LOSSES:
        return [uniform(shape, -8, 8), torch.randint(0, length, (rows,))], 1
    if loss in TRIPLETS:
        return [uniform(shape, -8, 8) for _ in range(3)], 3
    if loss == "cosine_embedding_loss":
        return [uniform(shape, -8, 8), uniform(shape, -8, 8), signs((rows,))], 2
    if loss == "multilabel_margin_loss":
        target = torch.full(shape, -1)
        target[:, :4] = torch.randint(0, length, (rows, 4))
        return [uniform(shape, -8, 8), target], 1
    if loss == "ctc_loss":
        steps = min(STEPS, rows)
        batch, labels = rows // steps, max(1, steps // 4)
        lengths = [torch.full((batch,), size) for size in (steps, labels)]
        targets = torch.randint(1, length, (batch, labels))
        return [uniform((steps, batch, length), -8, 8), targets, *lengths], 1
    return None


def make_tensors(loss, shape):
    """The arguments of the loss, those to differentiate first, and how many
    these are: the ones that ComputeGradient differentiates by default."""
    if found := row_tensors(loss, shape):
        return found
    if loss == "margin_ranking_loss":
        return [uniform(shape, -8, 8), uniform(shape, -8, 8), signs(shape)], 2
    if loss in SIGNED:
        return [uniform(shape, -8, 8), signs(shape)], 1
    low, high = (0, 1) if loss == "binary_cross_entropy" else (-8, 8)
    tensors = [uniform(shape, low, high), uniform(shape, 0, 1)]
    if loss == "gaussian_nll_loss":
        tensors.append(uniform(shape, 0.25, 2))
    return tensors, 1


class Cases:
    """Keeps the tensors and the compiled function of the last case."""

    def __init__(self):
        self._key = None
        self._tensors = None
        self._compiled = {}

    def tensors(self, loss, shape, mode):
        if self._key != (loss, shape, mode):
            self._tensors = None
            tensors, count = make_tensors(loss, shape)
            for tensor in tensors[:count]:
                tensor.requires_grad_(mode == "gradient")
            self._key, self._tensors = (loss, shape, mode), tensors
        return self._tensors

    def function(self, loss, how):
        if how == "eager":
            return getattr(functional, loss)
        if loss not in self._compiled:
            self._compiled[loss] = torch.compile(
                getattr(functional, loss), dynamic=False
            )
        return self._compiled[loss]


def evaluate(function, tensors, mode):
    if mode == "forward":
        with torch.no_grad():
            return function(*tensors)
    for tensor in tensors:
        tensor.grad = None
    loss = function(*tensors)
    loss.backward()
    return loss


def measure(cases, case):
    tensors = cases.tensors(case["loss"], tuple(case["shape"]), case["mode"])
    function = cases.function(case["loss"], case["how"])
    evaluate(function, tensors, case["mode"])  # compiles; fills the caches
    count, start = 0, time.perf_counter()
    while True:
        evaluate(function, tensors, case["mode"])
        count += 1
        elapsed = time.perf_counter() - start
        if elapsed > case["seconds"]:
            return elapsed / count


def main():
    torch.manual_seed(1)
    print(
        json.dumps(
            {
                "version": torch.__version__,
                "threads": torch.get_num_threads(),
                "capability": torch.backends.cpu.get_cpu_capability(),
            }
        ),
        flush=True,
    )
    cases = Cases()
    for line in sys.stdin:
        print(json.dumps(measure(cases, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
