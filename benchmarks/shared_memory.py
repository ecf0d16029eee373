# SPDX-License-Identifier: Apache-2.0
"""Calls through shared memory, beside the engine in process."""

import contextlib
import dataclasses
import itertools
import pathlib
import tempfile

import calls
import kernels
import load
import markdown
import row
import servers
import spread

NAME = "shared_memory"
ROWS, CLASSES = 32, 32768
SHAPE = f"{ROWS}x{CLASSES}"
WAYS = ("calls", "stream")
IN_FLIGHT = (1, 2, 3, 4)
TARGET = 0.8

_TEXT = f"""\
## Shared memory

ComputeGradient of cross_entropy, {SHAPE} logits in float32 (4 MiB), over a Unix
socket, with logits and gradients in shared memory, from one C++ client: calls,
of so many threads with one each, and evaluations over one stream, so many
without outcome. Beside them the same evaluation in process, with
{kernels.THREADS} threads: *engine* is all that the engine does for a call,
*kernel* the arithmetic alone. The ratio is to the engine, in the same round;
*computing* is what lossd says that an evaluation took.
"""


@dataclasses.dataclass
class Results:
    """Evaluations a second of each round."""

    engine: list = dataclasses.field(default_factory=list)
    kernel: list = dataclasses.field(default_factory=list)
    shared: dict = dataclasses.field(default_factory=dict)  # by (way, in flight)
    # Microseconds of an evaluation, likewise.
    computing: dict = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def _sharing_lossd(binaries):
    """A lossd, and the paths of its sockets: of gRPC and of shared memory."""
    with tempfile.TemporaryDirectory() as folder:
        grpc, memory = (pathlib.Path(folder) / name for name in ("grpc", "memory"))
        with servers.lossd(
            binaries,
            f"--shared-memory-listen=unix:{memory}",
            f"--threads={kernels.THREADS}",
            listen=f"127.0.0.1:0,unix:{grpc}",
        ):
            yield grpc, memory


def _in_process(context, target, kind):
    pattern = f"^{calls.LOSS}/gradient/{SHAPE}/{target}/{kernels.THREADS}/{kind}"
    (point,) = kernels.measure(
        context.binaries, pattern, context.seconds / 2, f"{calls.LOSS}/{SHAPE}"
    )
    return 1 / point.seconds


def _shared(context, sockets, way, in_flight):
    grpc, memory = sockets
    return load.report_of(
        context.binaries,
        "shared_load",
        f"--address=unix:{grpc}",
        f"--memory=unix:{memory}",
        f"--rows={ROWS}",
        f"--classes={CLASSES}",
        f"--in-flight={in_flight}",
        f"--seconds={context.seconds / 2}",
        *(["--stream"] if way == "stream" else []),
    )


def measure(context):
    context.say(f"shared memory, {SHAPE}")
    results = Results()
    target = kernels.targets(context.binaries)[0]
    with _sharing_lossd(context.binaries) as sockets:
        for _ in range(context.rounds):
            results.engine.append(_in_process(context, target, "call"))
            results.kernel.append(_in_process(context, target, "kernel"))
            for form in itertools.product(WAYS, IN_FLIGHT):
                report = _shared(context, sockets, *form)
                results.shared.setdefault(form, []).append(report["calls_per_s"])
                results.computing.setdefault(form, []).append(report["computing_us"])
    return results


def section(results):
    def line(what, rates, computing, ratio):
        return [what, markdown.spread_text(spread.of(rates)), computing, ratio]

    lines = [
        line("engine", results.engine, "", ""),
        line("kernel", results.kernel, "", ""),
    ]
    for (way, n), rates in results.shared.items():
        computing = spread.of(results.computing[way, n]).median
        ratio = spread.ratio(rates, results.engine)
        lines.append(
            line(
                f"{way}, {n} in flight",
                rates,
                markdown.number(computing),
                markdown.spread_text(ratio),
            )
        )
    header = ["what", "evaluations/s", "computing, µs", "ratio"]
    return f"{_TEXT}\n{markdown.table(header, lines)}"


def rows(results):
    ratios = {
        form: spread.ratio(rates, results.engine)
        for form, rates in results.shared.items()
    }
    found = []
    for way in WAYS:
        best = max(
            (form for form in ratios if form[0] == way),
            key=lambda form: ratios[form].median,
        )
        found.append(
            row.at_least(
                f"shared memory, 4 MiB of logits, {way}, {best[1]} in flight",
                "the engine in process",
                TARGET,
                ratios[best],
            )
        )
    return found
