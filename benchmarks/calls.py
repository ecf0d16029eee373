# SPDX-License-Identifier: Apache-2.0
"""Calls over the loopback interface: lossd against a raw echo of the same
bytes, and lossd with batches against lossd without."""

import contextlib
import dataclasses
import json
import subprocess
import urllib.request

import servers
import spread

GRADIENT = "/lossd.v1.LossService/ComputeGradient"
ECHO = "/echo/Echo"

# The case, and the calls in flight.
CALLS = (
    ("cross_entropy:4x10", 16),
    ("cross_entropy:32x1000", 16),
    ("cross_entropy:32x32000", 2),
)
# The echo servers: completion queues, one thread each; 0 is gRPC's callbacks.
ECHO_QUEUES = (0, 1, 2)

CLIENTS = 32
MIXED_CASES = ("all:4x10", "all:32x100", "all:8x1000")


@dataclasses.dataclass
class Rounds:
    """What the load generator reported of one server, a report a round."""

    name: str
    reports: list

    def values(self, key):
        return [report[key] for report in self.reports]

    def spread(self, key):
        return spread.of(self.values(key))

    def errors(self):
        return sum(self.values("errors"))


def run_load(binaries, server, method, cases, in_flight, seconds, channels=1):
    """The report of the load generator, with `server_cpu_us` for each call."""
    command = [
        str(binaries / "load"),
        f"--address={server.listen}",
        f"--method={method}",
        f"--in-flight={in_flight}",
        f"--channels={channels}",
        f"--seconds={seconds}",
        "--warm-up=0.3",
        *(f"--case={case}" for case in cases),
    ]
    before = server.cpu_seconds()
    done = subprocess.run(
        command, stdout=subprocess.PIPE, timeout=seconds + 60, check=True
    )
    report = json.loads(done.stdout)
    used = server.cpu_seconds() - before
    report["server_cpu_us"] = used * 1e6 / max(report["all_calls"], 1)
    return report


def against_echo(binaries, rounds, seconds, say):
    """For each of CALLS: (case, in flight, Rounds of lossd, [Rounds of echo])."""
    results = []
    with contextlib.ExitStack() as stack:
        lossd = stack.enter_context(servers.lossd(binaries))
        echoes = [
            (queues, stack.enter_context(servers.echo(binaries, queues)))
            for queues in ECHO_QUEUES
        ]
        for case, in_flight in CALLS:
            say(f"{case}, {in_flight} in flight")
            ours = Rounds("lossd", [])
            theirs = [Rounds(echo_name(queues), []) for queues in ECHO_QUEUES]
            for _ in range(rounds):
                ours.reports.append(
                    run_load(binaries, lossd, GRADIENT, [case], in_flight, seconds)
                )
                for (_, server), result in zip(echoes, theirs, strict=True):
                    result.reports.append(
                        run_load(binaries, server, ECHO, [case], in_flight, seconds)
                    )
            results.append((case, in_flight, ours, theirs))
    return results


def echo_name(queues):
    if queues == 0:
        return "echo, callbacks"
    return f"echo, {queues} queue" + ("s" if queues > 1 else "")


def best(all_rounds):
    """The rounds with the highest median of calls/s."""
    return max(all_rounds, key=lambda rounds: rounds.spread("calls_per_s").median)


def read_batches(admin):
    """(requests in batches, batches) since the server started."""
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as page:
        text = page.read().decode()
    values = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")
    )
    return (
        float(values["lossd_batch_requests_sum"]),
        float(values["lossd_batch_requests_count"]),
    )


def batching(binaries, rounds, seconds, say):
    """[(Rounds, mean batch)]: lossd as it is, and limited to batches of 1."""
    say(f"{CLIENTS} clients, mixed losses and shapes")
    with contextlib.ExitStack() as stack:
        compared = [
            (
                Rounds(name, []),
                stack.enter_context(servers.lossd(binaries, *flags)),
            )
            for name, flags in (
                ("default", ()),
                ("--max-batch-requests=1", ("--max-batch-requests=1",)),
            )
        ]
        for _ in range(rounds):
            for result, server in compared:
                result.reports.append(
                    run_load(
                        binaries,
                        server,
                        GRADIENT,
                        MIXED_CASES,
                        CLIENTS,
                        seconds,
                        channels=CLIENTS,
                    )
                )
        means = []
        for result, server in compared:
            requests, batches = read_batches(server.admin)
            means.append((result, requests / batches))
    return means
