# SPDX-License-Identifier: Apache-2.0
"""Measures lossd beside its peers and writes docs/benchmarks.md."""

import argparse
import os
import pathlib
import sys
import tempfile
import time

import against_torch
import batching
import calls
import context
import latency
import load
import machine
import memory
import peers
import profiles
import report
import servers
import shared_memory
import streamed_rows
import streams
import survey

ROOT = pathlib.Path(__file__).resolve().parents[1]
# In this order they are measured, and written; context.py says what a part is.
PARTS = (
    calls,
    profiles,
    latency,
    streams,
    streamed_rows,
    shared_memory,
    memory,
    batching,
    against_torch,
    survey,
)


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description=__doc__,
        epilog="./dev bench --peers installs the servers to compare with, once.",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=1.2, help="of one server in one round"
    )
    parser.add_argument(
        "--kernel-seconds", type=float, default=0.1, help="of one kernel in one round"
    )
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "build" / "bin")
    parser.add_argument(
        "--only",
        choices=[part.NAME for part in PARTS],
        action="append",
        help="measure only this part",
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        help="where to write the page; docs/benchmarks.md, or, with --only, "
        "standard output",
    )
    return parser.parse_args(arguments)


def versions(shared):
    """gRPC and the compiler, as the load generator knows them."""
    with servers.lossd(shared.binaries) as server:
        payloads = shared.payloads(server, calls.LOSS, "4x10")
        about = load.run(shared.binaries, server, payloads, 0.1, "--concurrency=1")
    return [("gRPC", about["grpc"]), ("compiler", about["compiler"])]


def measure(shared, parts):
    """The sections of the page, the table of targets first."""
    sections, rows = [], []
    for part in parts:
        results = part.measure(shared)
        shared.results[part.NAME] = results
        sections.append(part.section(results))
        rows += part.rows(results)
    return [report.reach_section(rows), *sections]


def main(arguments):
    options = parse(arguments)
    start = time.monotonic()

    def say(what):
        print(f"{time.monotonic() - start:6.0f} s  {what}", flush=True, file=sys.stderr)

    busy = os.getloadavg()[0]
    if busy > 0.5:
        say(f"the load average is {busy:.1f}: something else runs on this machine")
    with tempfile.TemporaryDirectory() as folder:
        python = peers.find_python()
        if python is None:
            say(peers.ABSENT)
        shared = context.Context(
            binaries=options.binaries,
            rounds=options.rounds,
            seconds=options.seconds,
            kernel_seconds=options.kernel_seconds,
            say=say,
            folder=pathlib.Path(folder),
            peers=peers.Peers(python, folder) if python else None,
        )
        facts = machine.facts(ROOT, options.binaries) + versions(shared)
        if shared.peers is not None:
            facts += shared.peers.versions()
        facts.append(("load average before", f"{busy:.2f}"))
        parts = [p for p in PARTS if not options.only or p.NAME in options.only]
        reach, *sections = measure(shared, parts)
    page = report.page(
        options.rounds, [reach, report.machine_section(facts), *sections]
    )
    output = options.output
    if output is None and not options.only:
        output = ROOT / "docs" / "benchmarks.md"
    if output is None:
        print(page)
    else:
        output.write_text(page, encoding="utf-8")
    say("done")


if __name__ == "__main__":
    main(sys.argv[1:])
