# SPDX-License-Identifier: Apache-2.0
"""Many small evaluations over one stream, beside as many calls."""

import contextlib

import calls
import load
import markdown
import row
import servers
import spread

NAME = "streams"
SHAPE = "4x10"
TARGET = 5
# Evaluations in a message, and without outcome at a time.
FORMS = ((1, 64), (8, 64), (32, 256), (64, 512))

_TEXT = """\
## Evaluations over a stream

StreamGradient of cross_entropy, 4x10 logits in float32, over one stream: so
many evaluations in a message, and so many without outcome at a time. The ratio
is to ComputeGradient with 16 calls in flight, in the same round.
"""


def _stream(context, server, payload, per_message, window):
    report = load.report_of(
        context.binaries,
        "stream_load",
        f"--address={server.listen}",
        f"--payload={payload}",
        f"--per-message={per_message}",
        f"--window={window}",
        f"--seconds={context.seconds}",
    )
    return report["evaluations_per_s"]


def measure(context):
    """([calls/s of a round], {form: [evaluations/s of a round]})."""
    unary = []
    streamed = {form: [] for form in FORMS}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(servers.lossd(context.binaries))
        payloads = context.payloads(server, calls.LOSS, SHAPE)
        context.say(f"{SHAPE} over a stream")
        for _ in range(context.rounds):
            report = load.run(
                context.binaries, server, payloads, context.seconds, "--concurrency=16"
            )
            unary.append(report["calls_per_s"])
            for form, rates in streamed.items():
                rates.append(_stream(context, server, payloads[0], *form))
    return unary, streamed


def _ratio(results, form):
    unary, streamed = results
    return spread.ratio(streamed[form], unary)


def section(results):
    unary, streamed = results
    lines = [["calls", "", markdown.spread_text(spread.of(unary)), ""]]
    lines += [
        [
            str(per_message),
            str(window),
            markdown.spread_text(spread.of(rates)),
            markdown.spread_text(_ratio(results, (per_message, window))),
        ]
        for (per_message, window), rates in streamed.items()
    ]
    header = ["in a message", "without outcome", "evaluations/s", "ratio"]
    return f"{_TEXT}\n{markdown.table(header, lines)}"


def rows(results):
    best = max(FORMS, key=lambda form: _ratio(results, form).median)
    return [
        row.at_least(
            f"pipelined stream of {SHAPE} evaluations, {best[0]} in a message",
            "unary calls/s",
            TARGET,
            _ratio(results, best),
        )
    ]
