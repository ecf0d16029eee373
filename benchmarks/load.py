# SPDX-License-Identifier: Apache-2.0
"""lossctl bench, and the requests that it sends."""

import dataclasses
import json
import pathlib
import subprocess

import servers
import spread

GRADIENT = "/lossd.v1.LossService/ComputeGradient"
INFER = "/inference.GRPCInferenceService/ModelInfer"
WARM_UP = 0.3


@dataclasses.dataclass
class Rounds:
    """What lossctl bench reported of one server, a report a round."""

    name: str
    reports: list = dataclasses.field(default_factory=list)

    def values(self, key):
        return [report[key] for report in self.reports]

    def spread(self, key):
        return spread.of(self.values(key))

    def errors(self):
        return sum(self.values("errors"))

    def ratio(self, other, key="calls_per_s"):
        """Of each round."""
        return spread.ratio(self.values(key), other.values(key))


def best(all_rounds):
    """The rounds with the highest median of calls/s."""
    return max(all_rounds, key=lambda rounds: rounds.spread("calls_per_s").median)


def save_payloads(binaries, server, folder, loss, shapes, count):
    """Writes requests for that many variants, and returns their paths."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    done = subprocess.run(
        [
            str(binaries / "lossctl"),
            "bench",
            loss,
            f"--shape={','.join(shapes)}",
            f"--payloads={count}",
            f"--save-payloads={folder}",
            f"--server={server.listen}",
        ],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
        env=servers.lossd_process.clean_environment(),
    )
    return [pathlib.Path(line) for line in done.stdout.splitlines()]


def command_of(binaries, server, method, payloads, seconds, load):
    return [
        str(binaries / "lossctl"),
        "bench",
        "--json",
        f"--server={server.listen}",
        f"--call={method}",
        f"--duration={seconds}",
        f"--warm-up={WARM_UP}",
        "--timeout=20",
        *load,
        *(f"--payload={path}" for path in payloads),
    ]


def finish(process_output, cpu_before, server):
    """The report, flat, with `server_cpu_us` of each call."""
    report = json.loads(process_output)
    if "latency_us" not in report:
        raise RuntimeError(f"lossctl bench: {report}")
    for name, value in report.pop("latency_us").items():
        report[f"{name}_us"] = value
    used = server.cpu_seconds() - cpu_before
    report["server_cpu_us"] = used * 1e6 / max(report["all_calls"], 1)
    return report


def report_of(binaries, program, *flags):
    """What one of the programs of benchmarks/ prints."""
    done = subprocess.run(
        [str(binaries / program), *flags],
        stdout=subprocess.PIPE,
        timeout=90,
        check=True,
    )
    return json.loads(done.stdout)


def run(binaries, server, payloads, seconds, *load, method=GRADIENT):
    """One load, such as run(..., "--concurrency=16"). Calls that fail are
    counted in its report."""
    before = server.cpu_seconds()
    done = subprocess.run(
        command_of(binaries, server, method, payloads, seconds, load),
        stdout=subprocess.PIPE,
        timeout=seconds + 60,
        check=False,
        env=servers.lossd_process.clean_environment(),
    )
    return finish(done.stdout, before, server)
