# SPDX-License-Identifier: Apache-2.0
"""lossd with batches against lossd without."""

import contextlib

import calls
import load
import markdown
import servers

NAME = "batching"
CLIENTS = 32
SHAPES = ("4x10", "32x100", "8x1000")

_TEXT = """\
## Batches

{clients} clients, each with a connection and one ComputeGradient call at a
time: every loss, with a leading tensor of {shapes} in turn.
{rounds} rounds. The mean batch is lossd_batch_requests_sum /
lossd_batch_requests_count of /metrics.
"""


def measure(context):
    """[(Rounds, mean batch)]: lossd as it is, and limited to batches of 1."""
    context.say(f"{CLIENTS} clients, mixed losses and shapes")
    with contextlib.ExitStack() as stack:
        compared = [
            (
                load.Rounds(name),
                stack.enter_context(servers.lossd(context.binaries, *flags)),
            )
            for name, flags in (
                ("default", ()),
                ("--max-batch-requests=1", ("--max-batch-requests=1",)),
            )
        ]
        payloads = context.payloads(compared[0][1], "all", *SHAPES, count=1)
        # Two servers that differ by little: more rounds.
        for _ in range(2 * context.rounds - 1):
            for rounds, server in compared:
                rounds.reports.append(
                    load.run(
                        context.binaries,
                        server,
                        payloads,
                        context.seconds,
                        f"--concurrency={CLIENTS}",
                        f"--connections={CLIENTS}",
                    )
                )
        return [(rounds, _mean_batch(server)) for rounds, server in compared]


def _mean_batch(server):
    metrics = server.metrics()
    return metrics["lossd_batch_requests_sum"] / metrics["lossd_batch_requests_count"]


def section(results):
    (default, default_mean), (single, single_mean) = results
    ratio = markdown.spread_text(default.ratio(single))
    lines = [
        [*calls.cells(default, ratio), f"{default_mean:.2f}"],
        [*calls.cells(single, "1"), f"{single_mean:.2f}"],
    ]
    text = _TEXT.format(
        clients=CLIENTS, shapes=", ".join(SHAPES), rounds=len(default.reports)
    )
    return f"{text}\n{markdown.table([*calls.HEADER, 'mean batch'], lines)}"


def rows(results):
    del results
    return []
