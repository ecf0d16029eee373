# SPDX-License-Identifier: Apache-2.0
"""Rows of "What to reach" that nothing here measures yet: each becomes a part of
its own, with measure() and rows()."""

import row

NAME = "pending"

_ROWS = (
    (
        "shared memory, 4 MiB",
        "at least 0.8 × the kernel in process",
        "there is no benchmark of it",
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
