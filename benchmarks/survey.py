# SPDX-License-Identifier: Apache-2.0
"""Every kernel at every shape, and by instruction set."""

import kernels
import markdown

NAME = "kernels"

_TEXT = """\
## Kernels

In process, float32, {target}, into memory that has been written before; one
round. GB/s counts what must move at the least: each tensor read once, each
gradient written once.
"""

_TARGETS = """\
### By instruction set

About 2^20 elements, one thread, Melem/s. All give the same bits.
"""


def measure(context):
    """(best instruction set, points)."""
    # Once, and each for a moment: these are not compared with anything.
    seconds = min(context.kernel_seconds, 0.05)
    return kernels.survey(context.binaries, seconds, context.say)


def _by_threads(points):
    """{(loss, mode, shape): {threads: point}}, in the order measured."""
    groups = {}
    for point in points:
        key = (point.loss, point.mode, point.shape)
        groups.setdefault(key, {})[point.threads] = point
    return groups


def _by_target(points):
    targets = list(dict.fromkeys(point.target for point in points))
    groups = {}
    for point in points:
        if point.threads == 1 and point.shape in ("1048576", "1024x1024"):
            key = f"{point.loss} {point.mode}"
            groups.setdefault(key, {})[point.target] = point.elements_per_s / 1e6
    lines = [
        [key, *(markdown.number(by[target]) for target in targets)]
        for key, by in groups.items()
    ]
    return f"{_TARGETS}\n{markdown.table(['case', *targets], lines)}"


def section(results):
    target, points = results
    lines = []
    best = [point for point in points if point.target == target]
    for (loss, mode, shape), by_threads in _by_threads(best).items():
        line = [f"{loss} {mode} {shape}"]
        for threads in (1, 2):
            point = by_threads[threads]
            line += [
                markdown.number(point.seconds * 1e6),
                markdown.number(point.elements_per_s / 1e6),
                markdown.number(point.bytes_per_s / 1e9),
            ]
        lines.append(line)
    header = ["case"]
    for threads in ("1 thread", "2 threads"):
        header += [f"{threads}, µs", "Melem/s", "GB/s"]
    text = _TEXT.format(target=target)
    return f"{text}\n{markdown.table(header, lines)}\n{_by_target(points)}"


def rows(results):
    del results
    return []
