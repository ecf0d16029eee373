# SPDX-License-Identifier: Apache-2.0
"""One large evaluation in chunks of rows, beside calls of 4 MiB."""

import contextlib
import dataclasses
import time

import calls
import load
import markdown
import row
import servers
import spread

NAME = "streamed_rows"
ROWS = 8192
CLASSES = 32768
UNARY_SHAPE = f"32x{CLASSES}"
IN_FLIGHT = (1, 2, 4)
# 1 and 4 MiB.
CHUNK_ROWS = (8, 32)
METHODS = {
    "loss": "/lossd.v1.LossService/ComputeLoss",
    "gradient": load.GRADIENT,
}
TARGET = 0.9
MEMORY_TARGET = 64 << 20
ELEMENT_BYTES = 4

_TEXT = f"""\
## Rows in chunks

StreamRows of cross_entropy, [{ROWS}, {CLASSES}] logits in float32 (1 GiB), in
chunks of that size, one call at a time; beside it calls of {UNARY_SHAPE}
logits (4 MiB), so many in flight. Throughput counts the bytes of logits; the
ratio is to the fastest calls, in the same round. Memory is the peak of a lossd
that has served nothing but these streams, above what it had once it served.
"""


@dataclasses.dataclass
class Results:
    """Throughputs in bytes of logits a second, of each round; memory in
    bytes."""

    unary: dict  # by (method, calls in flight)
    streamed: dict  # by (method, rows of a chunk)
    idle: int = 0
    peak: int = 0

    def best(self, throughputs, method):
        """(what is fastest, its throughputs)."""
        return max(
            ((key[1], rates) for key, rates in throughputs.items() if key[0] == method),
            key=lambda entry: spread.of(entry[1]).median,
        )

    def ratio(self, method, rates):
        return spread.ratio(rates, self.best(self.unary, method)[1])


def _unary(context, server, payloads, method, in_flight):
    report = load.run(
        context.binaries,
        server,
        payloads,
        context.seconds,
        f"--concurrency={in_flight}",
        method=METHODS[method],
    )
    if report["errors"]:
        raise RuntimeError(f"calls of {UNARY_SHAPE}: {report}")
    rows = int(UNARY_SHAPE.split("x", maxsplit=1)[0])
    return report["calls_per_s"] * rows * CLASSES * ELEMENT_BYTES


def _stream(context, server, method, chunk_rows):
    report = load.report_of(
        context.binaries,
        "row_load",
        f"--address={server.listen}",
        f"--rows={ROWS}",
        f"--classes={CLASSES}",
        f"--chunk-rows={chunk_rows}",
        *(["--gradient"] if method == "gradient" else []),
    )
    if method == "gradient" and report["answer_bytes"] < report["input_bytes"]:
        raise RuntimeError(f"gradients are missing: {report}")
    return report["input_bytes"] / report["seconds"]


def measure(context):
    results = Results(
        unary={(method, n): [] for method in METHODS for n in IN_FLIGHT},
        streamed={(method, rows): [] for method in METHODS for rows in CHUNK_ROWS},
    )
    with contextlib.ExitStack() as stack:
        unary = stack.enter_context(servers.lossd(context.binaries))
        streaming = stack.enter_context(servers.lossd(context.binaries))
        payloads = context.payloads(unary, calls.LOSS, UNARY_SHAPE)
        time.sleep(1)
        results.idle = streaming.memory("VmRSS")
        context.say(f"rows of [{ROWS}, {CLASSES}] in chunks")
        for _ in range(context.rounds):
            for (method, n), rates in results.unary.items():
                rates.append(_unary(context, unary, payloads, method, n))
            for (method, rows), rates in results.streamed.items():
                rates.append(_stream(context, streaming, method, rows))
        results.peak = streaming.memory("VmHWM")
    return results


def _line(what, method, rates, ratio):
    rates = spread.of(rate / 2**30 for rate in rates)
    return [what, method, markdown.spread_text(rates), ratio]


def section(results):
    lines = [
        _line(f"calls, {n} in flight", method, rates, "")
        for (method, n), rates in results.unary.items()
    ]
    lines += [
        _line(
            f"stream, {rows} rows in a chunk",
            method,
            rates,
            markdown.spread_text(results.ratio(method, rates)),
        )
        for (method, rows), rates in results.streamed.items()
    ]
    header = ["what", "asked for", "GiB/s", "ratio"]
    return (
        f"{_TEXT}\n{markdown.table(header, lines)}\n"
        f"Memory: {markdown.mebibytes(results.idle)} idle, "
        f"{markdown.mebibytes(results.peak)} at most.\n"
    )


def rows(results):
    found = []
    for method in METHODS:
        chunk, rates = results.best(results.streamed, method)
        found.append(
            row.at_least(
                f"streamed rows, 1 GiB of logits, {method}, {chunk} rows in a chunk",
                "the throughput of 4 MiB unary calls",
                TARGET,
                results.ratio(method, rates),
            )
        )
    above = results.peak - results.idle
    found.append(
        row.Row(
            "streamed rows, 1 GiB of logits, the server's memory",
            f"under {markdown.mebibytes(MEMORY_TARGET)} above idle",
            markdown.mebibytes(above),
            above < MEMORY_TARGET,
        )
    )
    return found
