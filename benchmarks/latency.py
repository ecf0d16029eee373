# SPDX-License-Identifier: Apache-2.0
"""Latency at half of the peak: an open loop at half of what the closed loop of
calls.py does."""

import contextlib

import calls
import load
import markdown
import row
import servers
import spread

NAME = "latency"
TARGET = 3
SECONDS = 1.5
ECHO = servers.EchoForm("unary", 1)

_TEXT = """\
## Latency at half of peak load

ComputeGradient of cross_entropy in float32, open loop over one connection at
half of the calls/s of lossd's closed loop, {seconds:g} s a round. Latencies count from
when a call should have started. The load generator shares the cores, and its
own lateness is in them: an echo server at the same rate shows how much that is.
"""


def _peak(context, server, payloads, shape, in_flight):
    for case in context.results.get(calls.NAME, ()):
        if case["shape"] == shape:
            return case["lossd"].spread("calls_per_s").median
    report = load.run(
        context.binaries,
        server,
        payloads,
        context.seconds,
        f"--concurrency={in_flight}",
    )
    return report["calls_per_s"]


def measure(context):
    """[(shape, Rounds of lossd, Rounds of echo)]."""
    results = []
    with contextlib.ExitStack() as stack:
        lossd = stack.enter_context(servers.lossd(context.binaries))
        echo = stack.enter_context(servers.echo(context.binaries, ECHO))
        for shape, in_flight in calls.CASES:
            payloads = context.payloads(lossd, calls.LOSS, shape)
            rate = _peak(context, lossd, payloads, shape, in_flight) / 2
            context.say(f"{shape} at {rate:,.0f} calls/s")
            compared = (
                (load.Rounds("lossd"), lossd),
                (load.Rounds(ECHO.name()), echo),
            )
            for _ in range(context.rounds):
                for rounds, server in compared:
                    rounds.reports.append(
                        load.run(
                            context.binaries,
                            server,
                            payloads,
                            SECONDS,
                            f"--rate={rate:.1f}",
                        )
                    )
            results.append((shape, *(rounds for rounds, _ in compared)))
    return results


def _tail(rounds):
    """p99 over median, of each round."""
    return spread.ratio(rounds.values("p99_us"), rounds.values("p50_us"))


def _cells(shape, rounds):
    return [
        shape,
        rounds.name,
        markdown.number(rounds.values("rate")[0]),
        *(
            markdown.number(rounds.spread(f"{name}_us").median)
            for name in ("p50", "p90", "p99", "p99.9", "max")
        ),
        markdown.spread_text(_tail(rounds)),
        str(rounds.errors()),
    ]


def section(results):
    lines = [
        _cells(shape, rounds) for shape, ours, echo in results for rounds in (ours, echo)
    ]
    header = [
        "logits", "server", "calls/s", "p50, µs", "p90, µs", "p99, µs", "p99.9, µs",
        "max, µs", "p99 / p50", "errors",
    ]  # fmt: skip
    text = _TEXT.format(seconds=SECONDS)
    return f"{text}\n{markdown.table(header, lines)}"


def rows(results):
    return [
        row.under(f"p99 at half of peak load, {shape}", "the median", TARGET, _tail(r))
        for shape, r, _ in results
    ]
