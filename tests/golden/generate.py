# SPDX-License-Identifier: Apache-2.0
"""Generates and checks the golden vectors of lossd.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python generate.py              # writes <loss>.jsonl beside this file, then checks every file
    venv/bin/python generate.py mse_loss     # writes the named losses only
    venv/bin/python generate.py --check      # writes nothing; exit status 0 when the files hold

Every random value comes from a generator seeded with its case's name, so a run makes the same cases each time.
Before writing, clipped_policy_loss is compared with the expressions of TRL and verl (cases/policy_crosscheck.py).
"""

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cases import (
    classes,
    cross_entropies,
    ctc,
    distances,
    divergences,
    elementwise,
    margins,
    multiclass,
    policy,
    policy_crosscheck,
    residuals,
    tensors,
    triplet,
)

DIRECTORY = Path(__file__).resolve().parent
MAXIMUM_TOTAL_BYTES = 16_000_000
REQUIRED_KEYS = {"name", "loss", "tensors", "parameters", "reduction", "wrt", "expect"}
OPTIONAL_KEYS = {"grad_output", "normalizer", "differs", "pytorch"}

LOSSES: dict[str, tuple[tensors.LossFunction, Callable[[], list[tensors.Case]]]] = {
    "binary_cross_entropy": (
        tensors.with_normalizer(elementwise.binary_cross_entropy),
        lambda: cross_entropies.with_pairwise_cases("binary_cross_entropy", elementwise.binary_cross_entropy_cases()),
    ),
    "binary_cross_entropy_with_logits": (
        tensors.with_normalizer(elementwise.binary_cross_entropy_with_logits),
        lambda: cross_entropies.with_pairwise_cases(
            "binary_cross_entropy_with_logits", elementwise.binary_cross_entropy_with_logits_cases()
        ),
    ),
    "mse_loss": (
        tensors.with_normalizer(elementwise.mse_loss),
        lambda: elementwise.mse_cases() + residuals.mse_pairwise_cases(),
    ),
    "l1_loss": (tensors.with_normalizer(residuals.l1_loss), residuals.l1_cases),
    "huber_loss": (tensors.with_normalizer(residuals.huber_loss), residuals.huber_cases),
    "smooth_l1_loss": (tensors.with_normalizer(residuals.smooth_l1_loss), residuals.smooth_l1_cases),
    "kl_div": (tensors.with_normalizer(divergences.kl_div), divergences.kl_cases),
    "poisson_nll_loss": (tensors.with_normalizer(divergences.poisson_nll_loss), divergences.poisson_cases),
    "gaussian_nll_loss": (tensors.with_normalizer(divergences.gaussian_nll_loss), divergences.gaussian_cases),
    "margin_ranking_loss": (tensors.with_normalizer(margins.margin_ranking_loss), margins.margin_ranking_cases),
    "hinge_embedding_loss": (tensors.with_normalizer(margins.hinge_embedding_loss), margins.hinge_cases),
    "soft_margin_loss": (tensors.with_normalizer(margins.soft_margin_loss), margins.soft_margin_cases),
    "cosine_embedding_loss": (tensors.with_normalizer(margins.cosine_embedding_loss), margins.cosine_cases),
    "multi_margin_loss": (tensors.with_normalizer(multiclass.multi_margin_loss), multiclass.multi_margin_cases),
    "multilabel_margin_loss": (
        tensors.with_normalizer(multiclass.multilabel_margin_loss),
        multiclass.multilabel_margin_cases,
    ),
    "multilabel_soft_margin_loss": (
        tensors.with_normalizer(multiclass.multilabel_soft_margin_loss),
        multiclass.multilabel_soft_margin_cases,
    ),
    "triplet_margin_with_distance_loss": (
        tensors.with_normalizer(distances.triplet_margin_with_distance_loss),
        distances.distance_cases,
    ),
    ctc.LOSS: (ctc.ctc_loss, ctc.ctc_cases),
    "cross_entropy": (
        tensors.with_normalizer(classes.cross_entropy),
        lambda: cross_entropies.with_pairwise_cases("cross_entropy", classes.cross_entropy_cases()),
    ),
    "nll_loss": (
        tensors.with_normalizer(classes.nll_loss),
        lambda: cross_entropies.with_pairwise_cases("nll_loss", classes.nll_loss_cases()),
    ),
    "triplet_margin_loss": (
        tensors.with_normalizer(triplet.triplet_margin_loss),
        lambda: triplet.triplet_cases() + distances.triplet_pairwise_cases(),
    ),
    policy.LOSS: (policy.clipped_policy_loss, policy.policy_cases),
}


def encode_loss(loss: str) -> list[dict[str, Any]]:
    """The lines of one loss."""
    function, build = LOSSES[loss]
    cases = build()
    tensors.require_unique(cases)
    lines = []
    for case in cases:
        line = tensors.encode_case(case, function)
        error = "/error/" in case.name or case.documented_error is not None
        require(("error" in line["expect"]) == error, case.name, f"expects an error where it says so: {line['expect']}")
        if loss == policy.LOSS:
            require("differs" not in line, case.name, "PyTorch has no such loss to differ from")
            if "error" not in line["expect"]:
                line["expect"]["metrics"] = policy.metrics(case)
        lines.append(line)
    return lines


def write_loss(loss: str) -> None:
    """Writes the file of one loss."""
    lines = [json.dumps(line, separators=(",", ":"), allow_nan=False) for line in encode_loss(loss)]
    path = DIRECTORY / f"{loss}.jsonl"
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n", encoding="ascii")
    fresh.replace(path)


def require(condition: bool, name: str, what: str) -> None:
    """Stops with the name of the case at fault."""
    if not condition:
        raise AssertionError(f"{name}: {what}")


def check_shapes(line: dict[str, Any], answer: dict[str, Any]) -> None:
    """Shapes and dtypes of an answer that is not an error."""
    name, tensors = line["name"], line["tensors"]
    loss, elementwise = answer["loss"], answer["elementwise"]
    require(loss["dtype"] == next(iter(tensors.values()))["dtype"], name, "the loss has the dtype of the input")
    require(loss["shape"] == (elementwise["shape"] if line["reduction"] == "none" else []), name, "shape of the loss")
    require(list(answer["gradients"]) == line["wrt"], name, "a gradient for every tensor of wrt")
    for key, gradient in answer["gradients"].items():
        same = [gradient[part] == tensors[key][part] for part in ("dtype", "shape")]
        require(all(same), name, f"the gradient of {key} has its dtype and shape")
    if "grad_output" in line:
        shapes: tuple[list[int], list[int]] = (loss["shape"], [])
        require(line["grad_output"]["shape"] in shapes, name, "grad_output is a scalar or has the shape of the loss")


def decode_answer(encoded: dict[str, Any]) -> dict[str, Any]:
    """An answer with its tensors decoded."""
    if "error" in encoded:
        return encoded
    return {
        "loss": tensors.decode_tensor(encoded["loss"]),
        "elementwise": tensors.decode_tensor(encoded["elementwise"]),
        "gradients": {key: tensors.decode_tensor(value) for key, value in encoded["gradients"].items()},
    }


def number(value: Any) -> Any:
    """A parameter as stored in JSON; names of infinities and NaN become numbers."""
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def check_line(line: dict[str, Any], function: tensors.LossFunction) -> None:
    """The keys, shapes and values of one case, recomputed from what the file holds."""
    name = line["name"]
    require(set(line) >= REQUIRED_KEYS and set(line) <= REQUIRED_KEYS | OPTIONAL_KEYS, name, "keys")
    require(("differs" in line) == ("pytorch" in line), name, "differs and pytorch come together")
    for answer in (line["expect"], line.get("pytorch", line["expect"])):
        if "error" not in answer:
            check_shapes(line, answer)
    case = tensors.Case(
        name,
        line["loss"],
        {key: tensors.decode_tensor(value) for key, value in line["tensors"].items()},
        {key: number(value) for key, value in line["parameters"].items()},
        line["reduction"],
        tuple(line["wrt"]),
        tensors.decode_tensor(line["grad_output"]) if "grad_output" in line else None,
        normalizer=line.get("normalizer"),
    )
    if line["loss"] == policy.LOSS and "error" in line["expect"]:
        return
    actual = tensors.evaluate(function, case, wide=False)
    stored = decode_answer(line.get("pytorch", line["expect"]))
    require(not tensors.disagreements(actual, stored, strict=False), name, "PyTorch gives what the file holds")
    if line["loss"] == policy.LOSS:
        require(policy.metrics(case) == line["expect"]["metrics"], name, "metrics")


def check_files() -> None:
    """Loads every file back, checks each case and prints the counts."""
    total = 0
    for loss, (function, _) in LOSSES.items():
        path = DIRECTORY / f"{loss}.jsonl"
        total += path.stat().st_size
        lines = [json.loads(text) for text in path.read_text(encoding="ascii").splitlines()]
        require(len({line["name"] for line in lines}) == len(lines), loss, "names are unique")
        for line in lines:
            check_line(line, function)
        errors = sum("error" in line["expect"] for line in lines)
        print(f"{loss}: {len(lines)} cases, {errors} errors, {path.stat().st_size} bytes")
        reasons = Counter(line["differs"] for line in lines if "differs" in line)
        for reason, count in reasons.items():
            print(f"    differs in {count}: {reason}")
    require(total < MAXIMUM_TOTAL_BYTES, "all files", f"{total} bytes are fewer than {MAXIMUM_TOTAL_BYTES}")
    print(f"total: {total} bytes")


def main() -> int:
    """Generates, or with --check only checks."""
    parser = argparse.ArgumentParser(description="Golden vectors of lossd")
    parser.add_argument("losses", nargs="*", metavar="loss", help="losses to write; all when absent")
    parser.add_argument("--check", action="store_true", help="check the files that exist")
    arguments = parser.parse_args()
    unknown = set(arguments.losses) - set(LOSSES)
    if unknown:
        parser.error(f"unknown losses {sorted(unknown)}; there are {list(LOSSES)}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    policy_crosscheck.check_all()
    if not arguments.check:
        for loss in arguments.losses or LOSSES:
            write_loss(loss)
    if not arguments.losses:
        check_files()
    return 0


if __name__ == "__main__":
    sys.exit(main())
