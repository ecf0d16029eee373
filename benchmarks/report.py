# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md from what was measured."""

import calls
import kernels
import spread

_HEAD = """\
# Benchmarks

`./dev bench` measured what is below and wrote this page. What is compared runs
in one session and in turn (A B A B ...), in {rounds} rounds unless it says
otherwise. A figure is the median of the rounds; in brackets are the least and
the most. A ratio is taken within each round. Absolute times are those of one
machine; ratios are what to read.

To measure again:

```sh
./dev bench
LOSSD_TORCH_PYTHON=/path/to/python ./dev bench   # with torch
```

`./dev bench --help` lists the options. Nothing else should run on the machine.
"""

_ECHO = """\
## Calls over loopback TCP

ComputeGradient of cross_entropy in float32, closed loop over one connection,
server and load generator on the same cores. The echo server answers with the
request's own bytes, which are about as many as those of lossd's answer: it is
as much as gRPC in C++ can do. It has three forms (gRPC's callback API, and one
or two completion queues with a thread each); the ratio is to the fastest.
"""

_BATCHING = """\
## Batches

{clients} clients, each with a connection and one ComputeGradient call at a
time: every loss, with a leading tensor of {shapes} in turn.
{rounds} rounds. The mean batch is lossd_batch_requests_sum /
lossd_batch_requests_count of /metrics.
"""

_TORCH = """\
## Kernels against torch

In process, float32, {threads} threads on both sides. *lossd* is all that the
engine does for an evaluation (checks, kernel, fresh memory for the answer);
*its kernel* is the arithmetic alone, into memory that has been written before.
*gradient* is the loss and its gradients; for torch that is forward and
backward. Ratios are torch's time over lossd's.
"""

_KERNELS = """\
## Kernels

In process, float32, {target}, into memory that has been written before; one
round. GB/s counts what must move at the least: each tensor read once, each
gradient written once.
"""

_TARGETS = """\
### By instruction set

About 2^20 elements, one thread, Melem/s. All give the same bits.
"""


def _table(header, rows):
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _spread(s):
    return f"{_number(s.median)} ({_number(s.least)}–{_number(s.most)})"


def _milliseconds(seconds):
    return _spread(spread.of(value * 1000 for value in seconds))


def _call_row(label, rounds, ratio):
    return [
        label,
        rounds.name,
        _spread(rounds.spread("calls_per_s")),
        _number(rounds.spread("p50_us").median),
        _number(rounds.spread("p99_us").median),
        _number(rounds.spread("server_cpu_us").median),
        ratio,
        str(rounds.errors()),
    ]


def _ratio_of_calls(ours, theirs):
    return _spread(
        spread.ratio(ours.values("calls_per_s"), theirs.values("calls_per_s"))
    )


_CALL_HEADER = [
    "server", "calls/s", "p50, µs", "p99, µs", "server's CPU, µs a call", "ratio",
    "errors",
]  # fmt: skip


def echo_section(results):
    rows = []
    for case, in_flight, ours, echoes in results:
        shape = case.split(":")[1]
        label = f"{shape}, {in_flight} in flight"
        fastest = calls.best(echoes)
        rows.append(_call_row(label, ours, _ratio_of_calls(ours, fastest)))
        for echo in echoes:
            rows.append(_call_row(label, echo, "1" if echo is fastest else ""))
    sizes = ", ".join(
        f"{case.split(':')[1]}: {ours.values('request_bytes')[0]:,.0f} and "
        f"{ours.values('answer_bytes')[0]:,.0f}"
        for case, _, ours, _ in results
    )
    table = _table(["logits", *_CALL_HEADER], rows)
    return f"{_ECHO}\n{table}\nBytes of request and answer: {sizes}.\n"


def batching_section(results):
    (default, default_mean), (single, single_mean) = results
    rows = [
        [*_call_row("", default, _ratio_of_calls(default, single))[1:],
         f"{default_mean:.2f}"],
        [*_call_row("", single, "1")[1:], f"{single_mean:.2f}"],
    ]  # fmt: skip
    shapes = ", ".join(case.split(":")[1] for case in calls.MIXED_CASES)
    text = _BATCHING.format(
        clients=calls.CLIENTS, shapes=shapes, rounds=len(default.reports)
    )
    return f"{text}\n{_table([*_CALL_HEADER, 'mean batch'], rows)}"


def _torch_row(loss, shape, mode, times):
    ratios = []
    for how in ("eager", "compile"):
        if how in times:
            ratios += [
                _milliseconds(times[how]),
                _spread(spread.ratio(times[how], times["call"])),
            ]
        else:
            ratios += ["not measured", ""]
    return [
        f"{loss} {mode} [{shape.replace('x', ', ')}]",
        _milliseconds(times["call"]),
        _milliseconds(times["kernel"]),
        *ratios,
    ]


def torch_section(about, results):
    text = _TORCH.format(threads=kernels.THREADS)
    if about is None:
        return f"{text}\nNot measured: no Python with torch was given.\n"
    header = ["case", "lossd, ms", "its kernel, ms", "eager, ms", "ratio",
              "torch.compile, ms", "ratio"]  # fmt: skip
    table = _table(header, [_torch_row(*result) for result in results])
    note = (
        f"torch {about['version']}, {about['threads']} threads, CPU capability "
        f"{about['capability']}.\n"
    )
    return f"{text}\n{table}\n{note}"


def _by_threads(points):
    """{(loss, mode, shape): {threads: point}}, in the order measured."""
    groups = {}
    for point in points:
        key = (point.loss, point.mode, point.shape)
        groups.setdefault(key, {})[point.threads] = point
    return groups


def kernel_section(target, points):
    rows = []
    best = [point for point in points if point.target == target]
    for (loss, mode, shape), by_threads in _by_threads(best).items():
        row = [f"{loss} {mode} {shape}"]
        for threads in (1, 2):
            point = by_threads[threads]
            row += [
                _number(point.seconds * 1e6),
                _number(point.elements_per_s / 1e6),
                _number(point.bytes_per_s / 1e9),
            ]
        rows.append(row)
    header = ["case"]
    for threads in ("1 thread", "2 threads"):
        header += [f"{threads}, µs", "Melem/s", "GB/s"]
    text = _KERNELS.format(target=target)
    return f"{text}\n{_table(header, rows)}\n{_by_target(points)}"


def _by_target(points):
    targets = list(dict.fromkeys(point.target for point in points))
    groups = {}
    for point in points:
        if point.threads == 1 and point.shape in ("1048576", "1024x1024"):
            key = f"{point.loss} {point.mode}"
            groups.setdefault(key, {})[point.target] = point.elements_per_s / 1e6
    rows = [
        [key, *(_number(by[target]) for target in targets)]
        for key, by in groups.items()
    ]
    return f"{_TARGETS}\n{_table(['case', *targets], rows)}"


def machine_section(facts):
    return "## Machine\n\n" + "".join(f"- {what}: {value}\n" for what, value in facts)


def page(rounds, sections):
    return "\n".join([_HEAD.format(rounds=rounds), *sections])
