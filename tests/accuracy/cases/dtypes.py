# SPDX-License-Identifier: Apache-2.0
"""The floating dtypes and what an error in units of the last place is."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Floating:
    """A dtype: its digits, the exponents of its normal numbers, and what its references are stored as."""

    name: str
    torch: torch.dtype
    digits: int
    least: int
    greatest: int
    reference: str

    @property
    def half(self) -> bool:
        """Whether it is one of the 16-bit dtypes."""
        return self.digits < 24

    @property
    def maximum(self) -> float:
        """The largest finite number."""
        return float(torch.finfo(self.torch).max)


FLOAT16 = Floating("float16", torch.float16, 11, -14, 15, "float32")
BFLOAT16 = Floating("bfloat16", torch.bfloat16, 8, -126, 127, "float32")
FLOAT32 = Floating("float32", torch.float32, 24, -126, 127, "float64")
FLOAT64 = Floating("float64", torch.float64, 53, -1022, 1023, "float64")
ALL = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)

TORCH_NAMES = {dtype.torch: dtype.name for dtype in ALL} | {torch.int64: "int64", torch.int32: "int32"}


def unit(magnitude: np.ndarray, dtype: Floating) -> np.ndarray:
    """The last place of numbers of that magnitude."""
    _, exponent = np.frexp(magnitude)
    exponent = np.where(magnitude > 0, exponent - 1, dtype.least)
    return np.ldexp(1.0, np.maximum(exponent, dtype.least) - dtype.digits + 1)


def errors(actual: np.ndarray, high: np.ndarray, low: np.ndarray, scale: np.ndarray, dtype: Floating) -> np.ndarray:
    """How far each actual value is from high + low, in last places of scale; infinite where it is no number."""
    overflows = np.abs(high) >= dtype.maximum * (1 + 2.0 ** -(dtype.digits + 1))
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs((actual - high) - low) / unit(np.minimum(scale, dtype.maximum), dtype)
    distance = np.where(np.isfinite(actual), distance, np.inf)
    return np.where(overflows, np.where(actual == np.sign(high) * np.inf, 0.0, np.inf), distance)
