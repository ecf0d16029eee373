# SPDX-License-Identifier: Apache-2.0
"""Every kernel at every shape, and by instruction set."""

import kernels
import markdown
import row

NAME = "kernels"

_TEXT = """\
## Kernels

In process, float32, {target}, into memory that has been written before; one
round. GB/s counts what must move at the least: each tensor read once, each
gradient written once.
"""

_MEMORY = """\
*Of memory*, at sizes that no cache holds, is the share of what memory allowed in
the same run: a forward pass of reading, {forward_1} GB/s by one thread and
{forward_2} by two, a gradient of reading and writing past the caches in equal
parts, {gradient_1} and {gradient_2} GB/s.
"""

# What kernel_bench calls the bandwidth of memory: forward reads, and gradient
# reads and writes as much.
_BANDWIDTH = "memory"
_BEYOND_CACHES = ("16777216", "16384x1024", "2048x32000")
# The share of memory's bandwidth to reach, by two threads.
_CASE = ("cross_entropy", "2048x32000")
_WIDE_TARGETS = {"forward": 0.9, "gradient": 0.85}
_NARROW_TARGETS = {"forward": 0.75, "gradient": 0.5}

_LIMITS = """\
### What limits the kernels

Melem/s, at a size that a core's cache holds and at one that no cache holds, and
what memory allows there: the bandwidth over the bytes that must move for an
element. Where a kernel is nearly as fast from memory as from the cache, and
slower than memory allows, its arithmetic is the limit.
"""
# In a core's cache, and in none.
_LIMIT_CASES = (
    ("cross_entropy", "32x1000", "2048x32000"),
    ("binary_cross_entropy_with_logits", "10000", "16777216"),
    ("mse_loss", "10000", "16777216"),
    ("huber_loss", "10000", "16777216"),
)

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


def _bandwidth(points):
    """{(mode, threads): bytes a second} that memory allows."""
    return {
        (point.mode, point.threads): point.bytes_per_s
        for point in points
        if point.loss == _BANDWIDTH
    }


def _share(point, bandwidth):
    """What a point reaches of what memory allows; None where that is unknown."""
    key = (point.mode, point.threads)
    if point.shape not in _BEYOND_CACHES or key not in bandwidth:
        return None
    return point.bytes_per_s / bandwidth[key]


def _limits(points, bandwidth):
    groups = _by_threads(points)
    lines = []
    for loss, cached, beyond in _LIMIT_CASES:
        for mode in ("forward", "gradient"):
            for threads in (1, 2):
                far = groups[loss, mode, beyond][threads]
                near = groups[loss, mode, cached][1].elements_per_s * threads
                allowed = (
                    bandwidth[mode, threads] * far.elements_per_s / far.bytes_per_s
                )
                rates = (near, far.elements_per_s, allowed)
                lines.append(
                    [f"{loss} {mode}", str(threads)]
                    + [markdown.number(rate / 1e6) for rate in rates]
                )
    header = ["case", "threads", "in the cache", "from memory", "memory allows"]
    return f"{_LIMITS}\n{markdown.table(header, lines)}"


def _best_points(results):
    target, points = results
    return [p for p in points if p.target == target and p.loss != _BANDWIDTH]


def _cells(point, bandwidth):
    share = _share(point, bandwidth)
    return [
        markdown.number(point.seconds * 1e6),
        markdown.number(point.elements_per_s / 1e6),
        markdown.number(point.bytes_per_s / 1e9),
        "" if share is None else f"{share:.2f}",
    ]


def section(results):
    target, points = results
    bandwidth = _bandwidth(points)
    lines = []
    for (loss, mode, shape), by_threads in _by_threads(_best_points(results)).items():
        line = [f"{loss} {mode} {shape}"]
        for threads in (1, 2):
            line += _cells(by_threads[threads], bandwidth)
        lines.append(line)
    header = ["case"]
    for threads in ("1 thread", "2 threads"):
        header += [f"{threads}, µs", "Melem/s", "GB/s", "of memory"]
    text = _TEXT.format(target=target)
    if bandwidth:
        speeds = {
            f"{mode}_{threads}": markdown.number(speed / 1e9)
            for (mode, threads), speed in bandwidth.items()
        }
        text += "\n" + _MEMORY.format(**speeds)
    table = markdown.table(header, lines)
    limits = _limits(_best_points(results), bandwidth) if bandwidth else ""
    others = [point for point in points if point.loss != _BANDWIDTH]
    return "\n".join(filter(None, [text, table, limits, _by_target(others)]))


def rows(results):
    target, points = results
    bandwidth = _bandwidth(points)
    goals = _NARROW_TARGETS if target == "AVX2" else _WIDE_TARGETS
    names = {"forward": "read bandwidth", "gradient": "read-and-write bandwidth"}
    found = []
    for point in _best_points(results):
        if (point.loss, point.shape) != _CASE or point.threads != 2:
            continue
        work = f"{point.loss} {point.mode} [2048, 32000], in process"
        goal = f"at least {goals[point.mode]:g} × measured {names[point.mode]}"
        share = _share(point, bandwidth)
        if share is None:
            found.append(row.missing(work, goal, "kernel_bench has no bandwidth"))
        else:
            found.append(
                row.Row(work, goal, f"{share:.2f}", share >= goals[point.mode])
            )
    return found
