# SPDX-License-Identifier: Apache-2.0
"""Cases of kl_div, poisson_nll_loss and gaussian_nll_loss."""

import math
from typing import Any

import torch
import torch.nn.functional as F

from cases.elementwise import edge, error
from cases.pairwise import ANY_SHAPES, REDUCTIONS, Plan, Row, Shape, broadcast_shape, grid, pairwise_cases, uniform
from cases.residuals import MISMATCH
from cases.tensors import FLOAT_DTYPES, Case, Tensors, with_normalizer

INF, NAN = math.inf, math.nan
ZERO_REASON = "0 * -inf is 0 in the value of a class that has no mass"
NAN_VAR_REASON = "PyTorch takes a NaN variance; lossd refuses it, as NaN is not at least 0"


def kl_div(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's Kullback-Leibler divergence."""
    return F.kl_div(tensors["input"], tensors["target"], reduction=reduction, **parameters)


def poisson_nll_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's Poisson negative log-likelihood."""
    return F.poisson_nll_loss(tensors["input"], tensors["target"], reduction=reduction, **parameters)


def gaussian_nll_loss(tensors: Tensors, parameters: dict[str, Any], reduction: str) -> torch.Tensor:
    """PyTorch's Gaussian negative log-likelihood; a scalar variance is PyTorch's float."""
    x, var = tensors["input"], tensors["var"]
    if var.dim() == 0:
        var = var.expand(x.shape)
    return F.gaussian_nll_loss(x, tensors["target"], var, reduction=reduction, **parameters)


class MassOnly(torch.autograd.Function):
    """The value where the mass is not zero, else 0; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, empty: torch.Tensor) -> torch.Tensor:
        """The value without the elements of no mass."""
        del ctx
        return torch.where(empty, 0.0, value)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The upstream gradient."""
        del ctx
        return upstream[0], None


def kl_documented(
    tensors: Tensors, parameters: dict[str, Any], reduction: str, normalizer: float | None
) -> torch.Tensor:
    """kl_div where an element whose value is 0 * -inf or 0 * inf counts as 0; the gradients are PyTorch's."""
    target = tensors["target"]
    empty = torch.isneginf(target) if parameters.get("log_target") else target == 0
    plain = kl_div(tensors, parameters, "none")
    loss: torch.Tensor = MassOnly.apply(plain, empty & plain.isnan() & ~tensors["input"].isnan())
    if reduction == "none":
        return loss
    divisor = {"sum": 1, "mean": loss.numel(), "batchmean": loss.shape[0] if loss.dim() else 1}[reduction]
    return loss.sum() / (divisor if normalizer is None else normalizer)


def kl_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Log-probabilities, and probabilities away from 0 or their logarithms."""
    target = uniform(shape, generator, 0.05, 1.0)
    return {
        "input": uniform(shape, generator, -4.0, -0.05),
        "target": target.log() if row["log_target"] else target,
    }


def poisson_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Rates or their logarithms, and counts away from 0 and 1."""
    rate = row["log_input"] is False
    return {
        "input": uniform(shape, generator, 0.2, 4.0) if rate else grid(shape, generator, spread=12),
        "target": grid(shape, generator, 0.5).abs() + 1 / 8,
    }


def gaussian_make(row: Row, shape: Shape, generator: torch.Generator) -> Tensors:
    """Expectations, observations and variances above every eps."""
    var = shape[:-1] if row["var"] == "shorter" else broadcast_shape(row["var"], shape)
    return {
        "input": grid(shape, generator),
        "target": grid(shape, generator, 0.5),
        "var": uniform(var, generator, 0.1, 2.0),
    }


POISSON_PARAMETERS = {"log_input": (None, True, False), "full": (None, True), "eps": (None, 0.0, 0.125)}
PLANS = {
    "kl_div": Plan(
        "kl_div",
        with_normalizer(kl_div),
        kl_make,
        default_wrt=("input",),
        all_wrt=tuple,
        parameters={"log_target": (None, True)},
        reductions=(*REDUCTIONS, "batchmean", "batchmean/normalizer"),
    ),
    "poisson_nll_loss": Plan(
        "poisson_nll_loss",
        with_normalizer(poisson_nll_loss),
        poisson_make,
        default_wrt=("input",),
        all_wrt=tuple,
        parameters=POISSON_PARAMETERS,
    ),
    "gaussian_nll_loss": Plan(
        "gaussian_nll_loss",
        with_normalizer(gaussian_nll_loss),
        gaussian_make,
        default_wrt=("input", "var"),
        all_wrt=tuple,
        shapes=ANY_SHAPES,
        parameters={"full": (None, True), "eps": (None, 1e-3)},
        options={"var": ("same", "first", "last", "shorter", "scalar")},
    ),
}


def broadcasts(loss: str, **more: torch.Tensor) -> list[Case]:
    """Shapes that PyTorch broadcasts."""
    cases = []
    for label, shape in {"row": (3,), "scalar": ()}.items():
        wrong = {"input": torch.full((2, 3), -0.5), "target": torch.full(shape, 0.75), **more}
        message = f"input has shape [2, 3] and target has shape {list(shape)}: they must be the same"
        documented = ("ValueError", message)
        cases.append(error(loss, f"broadcast_{label}", wrong, differs=MISMATCH, documented_error=documented))
    return cases


def kl_cases() -> list[Case]:
    """Cases of kl_div."""
    loss = "kl_div"
    cases = pairwise_cases(PLANS[loss])
    summed: dict[str, Any] = {"reduction": "sum", "wrt": ("input",)}
    logs: dict[str, Any] = {"parameters": {"log_target": True}}
    masked: dict[str, Any] = {"documented": kl_documented, "differs": ZERO_REASON}
    for dtype in FLOAT_DTYPES:
        cases += [
            edge(loss, "zero_target", [-1.0, -2.0, 0.0], [0.0, -0.0, 0.0], dtype=dtype),
            edge(loss, "equal", [0.0, -0.5, -1.0], [0.0, -0.5, -1.0], dtype=dtype, **logs),
            edge(loss, "zero_on_minus_infinity", [-INF, -1.0, -INF], [0.0, 1.0, 0.5], dtype=dtype, **masked),
        ]
    zeros, targets = [-INF, -1.0, -INF, -2.0], [0.0, 0.5, 0.0, 0.5]
    for reduction in ("mean", "sum", "batchmean"):
        cases.append(edge(loss, f"zeros_{reduction}", zeros, targets, reduction=reduction, wrt=("input",), **masked))
    cases += [
        edge(loss, "log_no_mass", [-INF, -1.0, -2.0, 0.0], [-INF, -INF, -0.5, -INF], **logs, **masked),
        edge(loss, "log_no_mass_sum", [-1.0, -2.0], [-INF, -0.5], **logs, **summed, **masked),
        edge(loss, "no_mass_normalizer", zeros, targets, normalizer=3.0, **(summed | {"reduction": "mean"}), **masked),
        edge(loss, "mass_on_minus_infinity", [-INF, -INF], [0.5, 1.0]),
        edge(loss, "mass_on_minus_infinity_log", [-INF, -INF], [-0.5, 0.0], **logs),
        edge(loss, "negative_target", [-1.0, -2.0], [-0.5, -1e-6]),
        edge(loss, "unnormalised", [-1.0, 3.0, 0.0], [2.0, 5.0, 100.0]),
        edge(loss, "nan_input", [NAN, NAN, -1.0], [0.5, 0.0, NAN]),
        edge(loss, "nan_log", [NAN, -1.0], [-0.5, NAN], **logs),
        edge(loss, "tiny_target", [-1.0, -80.0, -1.0], [1e-45, 1e-38, 1e-30]),
        edge(loss, "tiny_target", [-1.0, -700.0], [5e-324, 1e-308], dtype=torch.float64),
        edge(loss, "tiny_log", [-1.0, -80.0], [-103.0, -87.0], **logs),
        edge(loss, "large_log", [-1.0, -80.0, 0.0], [90.0, 88.0, 1e4], **logs),
        edge(loss, "infinite_input", [INF, INF], [0.5, 1.0]),
        edge(loss, "infinite_target", [-1.0, -2.0], [INF, 1.0]),
        edge(loss, "one", [0.0, -0.0], [1.0, 1.0]),
        edge(loss, "near", [math.log(0.3), math.log(0.7)], [0.3, 0.7]),
        edge(loss, "near", [math.log(0.3), math.log(0.7)], [0.3, 0.7], dtype=torch.float64),
        edge(loss, "half_range", [-11.0, -60000.0], [1.0, 1.0], dtype=torch.float16),
        error(loss, "not_broadcastable", {"input": torch.ones(2, 3), "target": torch.ones(2, 4)}),
    ]
    return cases + broadcasts(loss)


def poisson_cases() -> list[Case]:
    """Cases of poisson_nll_loss."""
    loss = "poisson_nll_loss"
    cases = pairwise_cases(PLANS[loss])
    full: dict[str, Any] = {"parameters": {"full": True}}
    rate: dict[str, Any] = {"parameters": {"log_input": False}}
    exact: dict[str, Any] = {"parameters": {"log_input": False, "eps": 0.0}}
    both: dict[str, Any] = {"parameters": {"log_input": False, "full": True}}
    for dtype in FLOAT_DTYPES:
        cases += [
            edge(loss, "full_small", [0.5, 0.5, 0.5, 0.5], [0.25, 1.0, 0.0, 1.5], dtype=dtype, **full),
            edge(loss, "rate_zero", [0.0, 0.0, 0.5], [0.0, 1.0, 0.0], dtype=dtype, **rate),
            edge(loss, "counts", [0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 20.0], dtype=dtype),
        ]
    cases += [
        edge(loss, "full_counts", [0.5, 1.0, 3.0, 3.7], [2.0, 3.0, 20.0, 40.0], **full),
        edge(loss, "full_counts_rate", [0.5, 3.0, 20.0], [2.0, 3.0, 20.0], **both),
        edge(loss, "full_beside_one", [0.5, 0.5], [1.0 + 2.0**-23, 1.0 - 2.0**-24], **full),
        edge(loss, "full_negative", [0.5, 0.5], [-1.0, -2.0], **full),
        edge(loss, "full_infinite", [0.5, 0.5], [INF, NAN], **full),
        edge(loss, "full_mean", [0.5, 0.5, 2.0], [0.0, 1.0, 5.0], reduction="mean", wrt=("input",), **full),
        edge(loss, "rate_zero_exact", [0.0, 0.0, 1.0], [0.0, 1.0, 1.5], **exact),
        edge(loss, "rate_negative", [-1.0, -0.25, -0.5], [1.0, 1.0, 0.0], **rate),
        edge(loss, "rate_infinite", [INF, INF, NAN], [0.0, 1.0, 1.0], **rate),
        edge(loss, "rate_tiny", [1e-45, 1e-38, 1e-8], [1.0, 2.0, 1.0], **rate),
        edge(loss, "rate_tiny", [5e-324, 1e-308], [1.0, 2.0], dtype=torch.float64, **exact),
        edge(loss, "rate_large", [3e38, 1e20], [1.0, 1e20], **rate),
        edge(loss, "overflow", [88.0, 89.0, 1000.0], [1.0, 1.0, 1.0]),
        edge(loss, "overflow", [709.0, 710.0], [1.0, 1.0], dtype=torch.float64),
        edge(loss, "overflow", [11.0, 12.0], [1.0, 1.0], dtype=torch.float16),
        edge(loss, "underflow", [-103.0, -88.0, -200.0], [0.0, 0.0, 0.0]),
        edge(loss, "infinite", [INF, -INF, INF, -INF], [1.0, 1.0, 0.0, 0.0]),
        edge(loss, "nan", [NAN, 1.0], [1.0, NAN]),
        edge(loss, "negative_target", [1.0, -1.0], [-1.0, -0.5]),
        edge(loss, "optimum", [0.0, math.log(2.0), math.log(7.0)], [1.0, 2.0, 7.0]),
        edge(loss, "eps_large", [0.5, 0.0], [1.0, 2.0], parameters={"log_input": False, "eps": 10.0}),
        error(loss, "not_broadcastable", {"input": torch.ones(2, 3), "target": torch.ones(2, 4)}),
    ]
    return cases + broadcasts(loss)


def spread(loss: str, label: str, x: list[float], t: list[float], var: Any, **changes: Any) -> Case:
    """A Gaussian case of listed values, differentiated with respect to everything."""
    return edge(loss, label, x, t, weights={"var": var}, **({"wrt": ("input", "target", "var")} | changes))


def gaussian_errors(loss: str) -> list[Case]:
    """What PyTorch refuses, and the NaN variance and the broadcasting that lossd refuses."""
    x = torch.linspace(-1, 1, 6).reshape(2, 3)
    base = {"input": x, "target": x + 0.5}
    refused = ("ValueError", "var is nan, outside [0, inf)")
    return broadcasts(loss, var=torch.ones(2, 3)) + [
        error(loss, "negative_var", base | {"var": torch.full((2, 3), -0.5)}),
        error(loss, "negative_scalar_var", base | {"var": torch.tensor(-0.5)}),
        error(loss, "var_shape", base | {"var": torch.ones(2, 2)}),
        error(loss, "var_row", base | {"var": torch.ones(3)}),
        error(loss, "var_two_ones", base | {"var": torch.ones(1, 1)}),
        error(
            loss, "nan_var", base | {"var": torch.full((2, 3), NAN)}, differs=NAN_VAR_REASON, documented_error=refused
        ),
    ]


def gaussian_cases() -> list[Case]:
    """Cases of gaussian_nll_loss."""
    loss = "gaussian_nll_loss"
    cases = pairwise_cases(PLANS[loss])
    for dtype in FLOAT_DTYPES:
        eps = {"parameters": {"eps": 0.25}}
        cases += [
            spread(loss, "below_eps", [1, 1, 2, 0], [0, 1, 2.5, -1], [0.0, 0.125, 0.25, 0.5], dtype=dtype, **eps),
            spread(loss, "equal", [1, -2, 0.5], [1, -2, 0.5], [0.5, 1.0, 2.0], dtype=dtype),
            spread(loss, "full", [1, -2, 0.5], [0.5, 0, 3], [0.5, 1.0, 2.0], dtype=dtype, parameters={"full": True}),
        ]
    cases += [
        spread(loss, "zero_var", [1.0, 1.0, 1.0], [0.0, 1.0, 1.25], [0.0, 1e-9, -0.0]),
        spread(loss, "zero_var", [1.0, 1.0, 1.0], [0.0, 1.0, 1.25], [0.0, 1e-9, -0.0], dtype=torch.float64),
        spread(loss, "at_eps", [1.0, 1.0], [0.0, 1.0], [1e-6, 2e-6]),
        spread(loss, "tiny_eps", [1.0, 1.0], [1.0, 1.0], [0.0, 1e-30], parameters={"eps": 1e-30}),
        spread(loss, "infinite_var", [1.0, INF], [0.0, 1.0], [INF, INF]),
        spread(loss, "infinite", [INF, -INF, INF, 1.0], [0.0, 1.0, INF, INF], [1.0, 2.0, 1.0, 0.5]),
        spread(loss, "nan", [NAN, 1.0], [0.0, NAN], [1.0, 1.0]),
        spread(loss, "large", [1e18, -3e12], [0.0, 3e12], [1.0, 1e20]),
        spread(loss, "tiny_var", [1.0, 0.5], [1.0, 0.5], [1e-38, 1e-45]),
        spread(loss, "denormal", [1e-40, 1e-45], [0.0, 0.0], [1.0, 2.0]),
        spread(loss, "large_var", [1.0, 2.0], [0.0, 0.0], [3e38, 1e30]),
        spread(loss, "near", [1e4 + 0.001, 4096.0005], [1e4, 4096.0], [1e-6, 1.0]),
        spread(loss, "scalar_var_below_eps", [1.0, 2.0], [0.5, 1.0], 1e-9, reduction="mean"),
        spread(loss, "half_range", [300.0, 60000.0], [0.0, 0.0], [1.0, 2.0], dtype=torch.float16),
    ]
    return cases + gaussian_errors(loss)
