# SPDX-License-Identifier: Apache-2.0
"""What lossd keeps resident: idle, under load, and after it."""

import dataclasses
import threading
import time

import load
import markdown
import row
import servers

NAME = "memory"
LOSS = "cross_entropy"
SHAPE = "32x32000"
CONNECTIONS = 32
IDLE_TARGET = 64 << 20
FACTOR = 2.2
SLACK = 64 << 20
AFTER_SECONDS = 30
AFTER_FACTOR = 1.1

_TEXT = """\
## Memory

One lossd: resident memory once it serves; its peak while {connections}
connections each keep a ComputeGradient call of {shape} open ({calls:,} calls);
and {after} s after the last one. *Admitted* is the most calls that lossd had in
flight (lossd_in_flight of /metrics, every 20 ms), times the bytes of a request.
"""


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes."""

    idle: int
    idle_heap: int
    peak: int
    after: int
    after_heap: int
    admitted: int
    calls: int
    errors: int


class _Sampler:
    """Reads lossd_in_flight inside a `with`."""

    def __init__(self, server):
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.most = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.02):
            self.most = max(self.most, int(self._server.metrics()["lossd_in_flight"]))


def measure(context):
    with servers.lossd(context.binaries) as maker:
        payloads = context.payloads(maker, LOSS, SHAPE)
    with servers.lossd(context.binaries) as server:
        context.say("memory, idle")
        time.sleep(1)
        idle, idle_heap = server.memory("VmRSS"), server.memory("RssAnon")
        context.say(f"memory, {CONNECTIONS} calls of {SHAPE}")
        with _Sampler(server) as sampler:
            report = load.run(
                context.binaries,
                server,
                payloads,
                2 * context.seconds,
                f"--concurrency={CONNECTIONS}",
                f"--connections={CONNECTIONS}",
            )
        peak = server.memory("VmHWM")
        context.say(f"memory, {AFTER_SECONDS} s later")
        time.sleep(AFTER_SECONDS)
        return Memory(
            idle=idle,
            idle_heap=idle_heap,
            peak=peak,
            after=server.memory("VmRSS"),
            after_heap=server.memory("RssAnon"),
            admitted=int(sampler.most * report["request_bytes"]),
            calls=report["all_calls"],
            errors=report["errors"],
        )


def _bound(memory):
    return FACTOR * memory.admitted + SLACK


def section(memory):
    text = _TEXT.format(
        connections=CONNECTIONS, shape=SHAPE, calls=memory.calls, after=AFTER_SECONDS
    )
    lines = [
        ["idle", markdown.mebibytes(memory.idle)],
        ["of which not pages of files", markdown.mebibytes(memory.idle_heap)],
        ["peak under load", markdown.mebibytes(memory.peak)],
        ["admitted", markdown.mebibytes(memory.admitted)],
        [f"{AFTER_SECONDS} s after load", markdown.mebibytes(memory.after)],
        ["of which not pages of files", markdown.mebibytes(memory.after_heap)],
        ["errors", str(memory.errors)],
    ]
    return f"{text}\n{markdown.table(['what', 'resident'], lines)}"


def rows(memory):
    return [
        row.Row(
            "memory, idle",
            f"under {markdown.mebibytes(IDLE_TARGET)} resident",
            markdown.mebibytes(memory.idle),
            memory.idle < IDLE_TARGET,
        ),
        row.Row(
            "memory, under load",
            f"at most admitted × {FACTOR:g} + {markdown.mebibytes(SLACK)}, "
            f"{markdown.mebibytes(_bound(memory))}",
            markdown.mebibytes(memory.peak),
            memory.peak <= _bound(memory),
        ),
        row.Row(
            f"memory, {AFTER_SECONDS} s after load",
            f"at most idle + 10 %, {markdown.mebibytes(AFTER_FACTOR * memory.idle)}",
            markdown.mebibytes(memory.after),
            memory.after <= AFTER_FACTOR * memory.idle,
        ),
    ]
