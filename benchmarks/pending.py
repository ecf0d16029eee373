# SPDX-License-Identifier: Apache-2.0
"""Rows of "What to reach" for what lossd does not have: each becomes a part of
its own, with measure() and rows(), when it does."""

import row

NAME = "pending"

_ROWS = (
    (
        "pipelined stream of 4x10 evaluations",
        "at least 5 × unary calls/s",
        "lossd has no stream of evaluations",
    ),
    (
        "streamed rows, 1 GiB of logits",
        "at least 0.9 × the throughput of 4 MiB unary calls, under 64 MiB above idle",
        "lossd has no stream of rows",
    ),
    (
        "shared memory, 4 MiB",
        "at least 0.8 × the kernel in process",
        "lossd has no shared memory",
    ),
)


def measure(context):
    del context
    return _ROWS


def section(results):
    del results
    return ""


def rows(results):
    return [row.missing(*entry) for entry in results]
