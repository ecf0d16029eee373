# SPDX-License-Identifier: Apache-2.0
"""The golden case: its encoding, its evaluation by PyTorch and its check against a float64 reference.

A case's expectation is PyTorch's own answer. Beside it a float64 reference is computed from the same stored values
and rounded to the case's dtype. Where the two disagree by more than a share of the tolerances of
torch.testing.assert_close (three quarters in float32 and float64, all in half precision), the case must say why in
`differs`; half-precision cases say it by themselves, because PyTorch's intermediate values are in half precision there.
"""

import base64
import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

Tensors = dict[str, torch.Tensor]
LossFunction = Callable[[dict[str, torch.Tensor], dict[str, Any], str, float | None], torch.Tensor]

DTYPE_NAMES: dict[torch.dtype, str] = {
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float32: "float32",
    torch.float64: "float64",
    torch.int32: "int32",
    torch.int64: "int64",
    torch.uint8: "uint8",
    torch.bool: "bool",
}
DTYPES: dict[str, torch.dtype] = {name: dtype for dtype, name in DTYPE_NAMES.items()}
HALF_DTYPES = (torch.float16, torch.bfloat16)
FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TOLERANCES: dict[torch.dtype, tuple[float, float]] = {
    torch.float16: (1e-3, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-5),
    torch.float32: (1.3e-6, 1e-5),
    torch.float64: (1e-7, 1e-7),
}
HALF_REASON = "half precision: PyTorch computes intermediate values in half precision, lossd in float32 or wider"
NO_HALF_REASON = "PyTorch has no half precision kernel"


class MaskedProduct(torch.autograd.Function):
    """coefficient * value of one shape, where a zero coefficient gives zero; the gradients are the product's."""

    @staticmethod
    def forward(ctx: Any, coefficient: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """The product."""
        ctx.save_for_backward(coefficient, value)
        return torch.where(coefficient == 0, 0.0, coefficient * value)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradients with respect to coefficient and value."""
        coefficient, value = ctx.saved_tensors
        return upstream[0] * value, torch.where(coefficient == 0, 0.0, upstream[0] * coefficient)


@dataclass
class Case:
    """One request and what is known about its answer, apart from the numbers that generation computes."""

    name: str
    loss: str
    tensors: dict[str, torch.Tensor]
    parameters: dict[str, Any] = field(default_factory=dict)
    reduction: str = "mean"
    wrt: tuple[str, ...] = ()
    grad_output: torch.Tensor | None = None
    autoscale: bool = False
    normalizer: float | None = None
    differs: str | None = None
    documented: LossFunction | None = None
    documented_error: tuple[str, str] | None = None


def with_normalizer(function: Callable[[dict[str, torch.Tensor], dict[str, Any], str], torch.Tensor]) -> LossFunction:
    """Adds `normalizer` to a loss: the sum divided by it, in place of the mean."""

    def wrapped(
        tensors: dict[str, torch.Tensor], parameters: dict[str, Any], reduction: str, normalizer: float | None
    ) -> torch.Tensor:
        if normalizer is not None and reduction in ("mean", "batchmean"):
            return function(tensors, parameters, "sum") / normalizer
        return function(tensors, parameters, reduction)

    return wrapped


def reduced(loss: torch.Tensor, reduction: str) -> torch.Tensor:
    """The mean over all elements, the sum, or the loss as it is."""
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def generator_for(name: str) -> torch.Generator:
    """A random generator whose seed depends on `name` alone, so that adding a case leaves the others as they are."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def encode_tensor(tensor: torch.Tensor) -> dict[str, Any]:
    """A tensor as dtype, shape and base64 of its little-endian bytes."""
    flat = tensor.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
    raw = b"" if flat.numel() == 0 else flat.view(torch.uint8).numpy().tobytes()
    return {
        "dtype": DTYPE_NAMES[tensor.dtype],
        "shape": list(tensor.shape),
        "data": base64.b64encode(raw).decode("ascii"),
    }


def decode_tensor(encoded: dict[str, Any]) -> torch.Tensor:
    """The inverse of encode_tensor."""
    dtype = DTYPES[encoded["dtype"]]
    raw = np.frombuffer(base64.b64decode(encoded["data"], validate=True), dtype=np.uint8).copy()
    if raw.size == 0:
        return torch.empty(encoded["shape"], dtype=dtype)
    return torch.from_numpy(raw).view(dtype).reshape(encoded["shape"])


def encode_number(value: float) -> float | str:
    """A number that JSON can hold: infinities and NaN as strings."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def encode_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters with floats made safe for JSON."""
    return {key: encode_number(value) if isinstance(value, float) else value for key, value in parameters.items()}


def result_dtype(case: Case) -> torch.dtype:
    """The dtype of the case's loss: that of its first tensor."""
    return next(iter(case.tensors.values())).dtype


def widen(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same values with floating tensors in float64."""
    return {key: value.double() if value.is_floating_point() else value for key, value in tensors.items()}


def evaluate(function: LossFunction, case: Case, wide: bool) -> dict[str, Any]:
    """Loss, element-wise loss and gradients of `case`; an exception becomes an error entry."""
    tensors = {key: value.detach().clone() for key, value in case.tensors.items()}
    grad_output = case.grad_output
    if wide:
        tensors = widen(tensors)
        grad_output = None if grad_output is None else grad_output.double()
    for name in case.wrt:
        tensors[name].requires_grad_(True)
    try:
        loss = function(tensors, case.parameters, case.reduction, case.normalizer)
        elementwise = function(tensors, case.parameters, "none", None).detach()
        upstream = torch.ones_like(loss) if grad_output is None else grad_output.expand(loss.shape)
        gradients = torch.autograd.grad(loss, [tensors[name] for name in case.wrt], upstream) if case.wrt else ()
    except (ValueError, RuntimeError, IndexError, TypeError, NotImplementedError) as error:
        return {"error": type(error).__name__, "message": str(error).splitlines()[0]}
    return {
        "loss": loss.detach(),
        "elementwise": elementwise,
        "gradients": dict(zip(case.wrt, gradients, strict=True)),
    }


def narrow(answer: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """An answer rounded to `dtype`."""
    if "error" in answer:
        return answer
    return {
        "loss": answer["loss"].to(dtype),
        "elementwise": answer["elementwise"].to(dtype),
        "gradients": {name: value.to(dtype) for name, value in answer["gradients"].items()},
    }


def tensors_of(answer: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors of an answer under flat names."""
    flat = {f"gradients.{name}": value for name, value in answer["gradients"].items()}
    return {"loss": answer["loss"], "elementwise": answer["elementwise"], **flat}


def disagreements(first: dict[str, Any], second: dict[str, Any], strict: bool = True) -> list[str]:
    """The parts of two answers that differ by more than the tolerances (`strict`: a share), with values at fault."""
    if "error" in first or "error" in second:
        return [] if first.get("error") == second.get("error") else ["error"]
    found = []
    others = tensors_of(second)
    for name, value in tensors_of(first).items():
        other = others[name]
        if value.shape != other.shape or value.dtype != other.dtype:
            found.append(f"{name}: {value.dtype} {tuple(value.shape)} against {other.dtype} {tuple(other.shape)}")
            continue
        relative, absolute = TOLERANCES[value.dtype]
        share = 0.75 if strict and value.dtype not in HALF_DTYPES else 1.0
        close = torch.isclose(
            value.double(), other.double(), rtol=relative * share, atol=absolute * share, equal_nan=True
        )
        if not bool(close.all()):
            left, right = value.double()[~close][0].item(), other.double()[~close][0].item()
            found.append(f"{name}: {left!r} against {right!r}")
    return found


def encode_answer(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer as JSON values."""
    if "error" in answer:
        return answer
    encoded: dict[str, Any] = {
        "loss": encode_tensor(answer["loss"]),
        "elementwise": encode_tensor(answer["elementwise"]),
        "gradients": {name: encode_tensor(value) for name, value in answer["gradients"].items()},
    }
    return encoded


def scale_upstream(function: LossFunction, case: Case) -> None:
    """Sets grad_output to the power of two that brings the largest gradient near 1."""
    answer = evaluate(function, case, wide=True)
    if "error" in answer:
        return
    parts = [value.abs().reshape(-1) for value in answer["gradients"].values()]
    magnitudes = torch.cat(parts) if parts else torch.zeros(0)
    magnitudes = magnitudes[torch.isfinite(magnitudes) & (magnitudes > 0)]
    if magnitudes.numel() == 0:
        return
    exponent = max(-14, min(14, -round(math.log2(magnitudes.max().item()))))
    if exponent != 0:
        case.grad_output = torch.full(answer["loss"].shape, 2.0**exponent).to(result_dtype(case))


def documented_error(case: Case, function: LossFunction) -> dict[str, Any]:
    """The entries of a case that lossd refuses; PyTorch's answer is kept where PyTorch has one."""
    kind, message = case.documented_error or ("", "")
    entries: dict[str, Any] = {"expect": {"error": kind, "message": message}}
    if case.differs is not None:
        actual = evaluate(function, case, wide=False)
        entries |= {"differs": case.differs, "pytorch": encode_answer(actual)}
    return entries


def expectation(case: Case, function: LossFunction) -> dict[str, Any]:
    """The `expect`, `differs` and `pytorch` entries of a case."""
    if case.documented_error is not None:
        return documented_error(case, function)
    if case.autoscale and case.grad_output is None:
        scale_upstream(case.documented or function, case)
    actual = evaluate(function, case, wide=False)
    reference = narrow(evaluate(case.documented or function, case, wide=True), result_dtype(case))
    found = disagreements(actual, reference)
    if case.differs is None and not found:
        return {"expect": encode_answer(actual)}
    differs = case.differs
    if differs is None:
        missing = actual.get("error") == "NotImplementedError"
        if result_dtype(case) not in HALF_DTYPES or ("error" in actual and not missing):
            raise AssertionError(f"{case.name}: PyTorch differs from the reference: {found} {actual.get('message')}")
        differs = NO_HALF_REASON if missing else HALF_REASON
    elif not disagreements(actual, reference, strict=False):
        raise AssertionError(f"{case.name}: declared different, but PyTorch gives lossd's value")
    return {"expect": encode_answer(reference), "differs": differs, "pytorch": encode_answer(actual)}


def encode_case(case: Case, function: LossFunction) -> dict[str, Any]:
    """A case as the object of one line."""
    answers = expectation(case, function)
    line: dict[str, Any] = {
        "name": case.name,
        "loss": case.loss,
        "tensors": {name: encode_tensor(value) for name, value in case.tensors.items()},
        "parameters": encode_parameters(case.parameters),
        "reduction": case.reduction,
        "wrt": list(case.wrt),
    }
    if case.grad_output is not None:
        line["grad_output"] = encode_tensor(case.grad_output)
    if case.normalizer is not None:
        line["normalizer"] = case.normalizer
    return line | answers


def require_unique(cases: Iterable[Case]) -> None:
    """Names are the identity of a case."""
    seen: set[str] = set()
    for case in cases:
        if case.name in seen:
            raise AssertionError(f"two cases are named {case.name}")
        seen.add(case.name)
