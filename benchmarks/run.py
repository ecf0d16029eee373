# SPDX-License-Identifier: Apache-2.0
"""Measures lossd beside its peers and writes docs/benchmarks.md."""

import argparse
import os
import pathlib
import sys
import time

import calls
import kernels
import machine
import report

ROOT = pathlib.Path(__file__).resolve().parents[1]
PARTS = ("calls", "batching", "torch", "kernels")


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--seconds", type=float, default=1.2, help="of one server in one round"
    )
    parser.add_argument(
        "--kernel-seconds", type=float, default=0.1, help="of one kernel in one round"
    )
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "build" / "bin")
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="measure only this part"
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        help="where to write the page; docs/benchmarks.md, or, with --only, "
        "standard output",
    )
    return parser.parse_args(arguments)


def find_torch():
    """The Python with torch: that of LOSSD_TORCH_PYTHON, else .deps/torch."""
    given = os.environ.get("LOSSD_TORCH_PYTHON")
    if given:
        return given
    own = ROOT / ".deps" / "torch" / "bin" / "python"
    return str(own) if own.exists() else None


def measure_torch(options, say):
    python = find_torch()
    if python is None:
        return report.torch_section(None, [])
    target = kernels.targets(options.binaries)[0]
    with kernels.Torch(python) as torch:
        results = kernels.against_torch(
            options.binaries,
            torch,
            target,
            options.rounds,
            options.kernel_seconds,
            say,
        )
        return report.torch_section(torch.about, results)


def measure(part, options, say):
    if part == "calls":
        results = calls.against_echo(
            options.binaries, options.rounds, options.seconds, say
        )
        return report.echo_section(results)
    if part == "batching":
        # Two servers that differ by little: more rounds.
        results = calls.batching(
            options.binaries, 2 * options.rounds - 1, options.seconds, say
        )
        return report.batching_section(results)
    if part == "torch":
        return measure_torch(options, say)
    # Once, and each for a moment: these are not compared with anything.
    target, points = kernels.survey(
        options.binaries, min(options.kernel_seconds, 0.05), say
    )
    return report.kernel_section(target, points)


def versions(binaries):
    """gRPC and the compiler, as the load generator knows them."""
    with calls.servers.echo(binaries, 1) as echo:
        about = calls.run_load(
            binaries, echo, calls.ECHO, ["cross_entropy:4x10"], 1, 0.1
        )
    return [("gRPC", about["grpc"]), ("compiler", about["compiler"])]


def main(arguments):
    options = parse(arguments)
    start = time.monotonic()

    def say(what):
        print(f"{time.monotonic() - start:6.0f} s  {what}", flush=True, file=sys.stderr)

    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"the load average is {load:.1f}: something else runs on this machine")
    parts = options.only or PARTS
    sections = [measure(part, options, say) for part in PARTS if part in parts]
    facts = machine.facts(ROOT, options.binaries) + versions(options.binaries)
    facts.append(("load average before", f"{load:.2f}"))
    page = report.page(options.rounds, [report.machine_section(facts), *sections])
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
