# SPDX-License-Identifier: Apache-2.0
"""Calls over the loopback interface: lossd against a raw echo of the same bytes
and against servers around torch."""

import contextlib

import load
import markdown
import peers
import row
import servers

NAME = "calls"

LOSS = "cross_entropy"
# The logits, and the calls in flight.
CASES = (("4x10", 16), ("32x1000", 16), ("32x32000", 2))
# Of echo, Python server, Triton; and of the better of these two.
TARGETS = {
    "4x10": {"echo": 0.9, "python": 15, "triton": 15},
    "32x1000": {"echo": 0.85, "peer": 6},
    "32x32000": {"echo": 0.85, "peer": 3.5},
}
# Forms of the echo server that go on from a first short round.
FINALISTS = 3
QUALIFYING_SECONDS = 0.5

_TEXT = """\
## Calls over loopback TCP

ComputeGradient of cross_entropy in float32, closed loop over one connection,
server and load generator on the same cores; three requests in turn, whose size
is not announced. *Own CPU* is what the load generator used: where it is more
than the server's, a server cannot show much more.

The echo server answers with the request's own bytes, which are about as many as
those of lossd's answer: it is as much as gRPC in C++ can do. It has {forms}
forms (any method by name or the registered one; gRPC's callbacks, one queue
with one thread or two, two queues); in a first short round for each shape the
{finalists} fastest are found, and the ratio to reach is to the fastest of these.

The Python server is `grpc.server` with {workers} threads around torch; Triton
calls the same function in its Python backend, {instances} instances, and gets
the tensors as `raw_input_contents`. Both use one thread of torch a call.
"""


def _add(context, rounds, server, payloads, in_flight, method=load.GRADIENT):
    rounds.reports.append(
        load.run(
            context.binaries,
            server,
            payloads,
            context.seconds,
            f"--concurrency={in_flight}",
            method=method,
        )
    )


def _finalists(context, echoes, payloads, in_flight):
    """The forms that are fastest in a short round: [(form, server)]."""
    rates = []
    for form, server in echoes:
        report = load.run(
            context.binaries,
            server,
            payloads,
            QUALIFYING_SECONDS,
            f"--concurrency={in_flight}",
        )
        rates.append((report["calls_per_s"], form, server))
    rates.sort(key=lambda entry: -entry[0])
    return [(form, server) for _, form, server in rates[:FINALISTS]]


def _measure_case(context, lossd, echoes, others, shape, in_flight):
    context.say(f"{LOSS} {shape}, {in_flight} in flight")
    payloads = context.payloads(lossd, LOSS, shape)
    finalists = _finalists(context, echoes, payloads, in_flight)
    ours = load.Rounds("lossd")
    echo_rounds = [load.Rounds(form.name()) for form, _ in finalists]
    other_rounds = {name: load.Rounds(name) for name in others}
    for _ in range(context.rounds):
        _add(context, ours, lossd, payloads, in_flight)
        for (_, server), rounds in zip(finalists, echo_rounds, strict=True):
            _add(context, rounds, server, payloads, in_flight)
        for name, (server, method) in others.items():
            own = (
                context.triton_payloads(payloads)
                if method == load.INFER
                else payloads
            )
            _add(context, other_rounds[name], server, own, in_flight, method)
    return {
        "shape": shape,
        "in_flight": in_flight,
        "lossd": ours,
        "echoes": echo_rounds,
        "others": other_rounds,
    }


def measure(context):
    """A dictionary for each of CASES."""
    with contextlib.ExitStack() as stack:
        lossd = stack.enter_context(servers.lossd(context.binaries))
        echoes = [
            (form, stack.enter_context(servers.echo(context.binaries, form)))
            for form in servers.ECHO_FORMS
        ]
        others = {}
        if context.peers is not None:
            context.say("starting the Python server and Triton")
            python = stack.enter_context(context.peers.python_server())
            triton = stack.enter_context(context.peers.triton_server())
            others = {
                "Python server": (python, load.GRADIENT),
                "Triton": (triton, load.INFER),
            }
        return [
            _measure_case(context, lossd, echoes, others, shape, in_flight)
            for shape, in_flight in CASES
        ]


HEADER = [
    "server", "calls/s", "p50, µs", "p99, µs", "server's CPU, µs a call",
    "own CPU, µs a call", "ratio", "errors",
]  # fmt: skip


def cells(rounds, ratio):
    """A row below HEADER."""
    return [
        rounds.name,
        markdown.spread_text(rounds.spread("calls_per_s")),
        markdown.number(rounds.spread("p50_us").median),
        markdown.number(rounds.spread("p99_us").median),
        markdown.number(rounds.spread("server_cpu_us").median),
        markdown.number(rounds.spread("own_cpu_us").median),
        ratio,
        str(rounds.errors()),
    ]


def section(results):
    lines = []
    for case in results:
        label = f"{case['shape']}, {case['in_flight']} in flight"
        ours = case["lossd"]
        lines.append([label, *cells(ours, "")])
        for rounds in (*case["echoes"], *case["others"].values()):
            ratio = markdown.spread_text(ours.ratio(rounds))
            lines.append([label, *cells(rounds, ratio)])
    text = _TEXT.format(
        forms=len(servers.ECHO_FORMS),
        finalists=FINALISTS,
        workers=peers.WORKERS,
        instances=peers.INSTANCES,
    )
    sizes = ", ".join(
        f"{case['shape']}: {case['lossd'].values('request_bytes')[0]:,.0f} and "
        f"{case['lossd'].values('answer_bytes')[0]:,.0f}"
        for case in results
    )
    absent = "" if results[0]["others"] else f"\nWithout peers: {peers.ABSENT}.\n"
    return (
        f"{text}\n{markdown.table(['logits', *HEADER], lines)}\n"
        "The ratio is lossd's calls/s over that server's. "
        f"Bytes of request and answer: {sizes}.\n{absent}"
    )


def _case_rows(case):
    work = f"{case['shape']} ComputeGradient over loopback TCP"
    ours, others = case["lossd"], case["others"]
    named = {
        "echo": ("the echo server", load.best(case["echoes"])),
        "python": ("the Python server", others.get("Python server")),
        "triton": ("Triton", others.get("Triton")),
        "peer": (
            "the better of Python server and Triton",
            load.best(others.values()) if others else None,
        ),
    }
    for key, target in TARGETS[case["shape"]].items():
        what, rounds = named[key]
        if rounds is None:
            yield row.missing(work, f"at least {target:g} × {what}", peers.ABSENT)
        else:
            yield row.at_least(work, what, target, ours.ratio(rounds))


def rows(results):
    return [found for case in results for found in _case_rows(case)]
