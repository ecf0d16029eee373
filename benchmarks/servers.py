# SPDX-License-Identifier: Apache-2.0
"""The servers in C++ that are measured; those of others are in peers.py."""

import dataclasses
import pathlib
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "integration")
)
import lossd_process  # noqa: E402


@dataclasses.dataclass(frozen=True)
class EchoForm:
    """A form of the echo server."""

    service: str  # "generic": any method by name; "unary": the registered one
    queues: int  # completion queues; 0 is gRPC's callbacks
    threads: int = 1  # of each queue

    def name(self):
        if self.queues == 0:
            return f"echo, {self.service}, callbacks"
        plural = "s" if self.queues > 1 else ""
        threads = f" of {self.threads} threads" if self.threads > 1 else ""
        return f"echo, {self.service}, {self.queues} queue{plural}{threads}"


ECHO_FORMS = tuple(
    EchoForm(service, queues, threads)
    for service in ("generic", "unary")
    for queues, threads in ((0, 1), (1, 1), (1, 2), (2, 1))
)


def lossd(binaries, *flags, listen="127.0.0.1:0"):
    return lossd_process.Lossd(
        str(binaries / "lossd"), "--log-level=warning", *flags, listen=listen
    )


def echo(binaries, form):
    return lossd_process.Server(
        [
            str(binaries / "echo_server"),
            f"--service={form.service}",
            f"--queues={form.queues}",
            f"--threads={form.threads}",
        ]
    )
