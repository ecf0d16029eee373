# SPDX-License-Identifier: Apache-2.0
"""Where the CPU time of a call goes, in lossd and in the echo server."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import threading
import time

import calls
import latency
import load
import markdown
import servers

NAME = "profiles"
SECONDS = 2.0
WARM_UP = 0.5  # of which no sample is taken
FREQUENCY = 1999  # samples of a CPU a second

_TEXT = """\
## Where the time of a call goes

Server CPU of a ComputeGradient call of cross_entropy, µs, by what ran: closed
loop as above, {seconds:g} s, sampled {frequency:,} times a second of CPU by `perf`.
lossd cannot be faster than what gRPC and the system take, which is about the
echo server's column; *the loss* is the mathematics. *Copies* are lossd's one
copy of the tensors out of gRPC's slices; the echo server makes none.
"""
_ABSENT = "`perf` is not installed, so there is no profile.\n"

_SOCKET = "system: copies to and from the socket"
_SYSTEM = "system: the rest of TCP, polling, waking"
_GRPC = "gRPC"
_LOSS = "the loss"
_COPIES = "copies"
_OWN = "the server's own code"
_LIBRARIES = "allocator, protobuf, other libraries"
_PARTS = (_SOCKET, _SYSTEM, _GRPC, _COPIES, _LOSS, _OWN, _LIBRARIES)


@dataclasses.dataclass(frozen=True)
class Profile:
    shape: str
    server: str
    cpu_us: float  # of a call
    shares: dict  # by part, 1 together


def _part(binary, library, symbol):
    if library.startswith("[") and library != "[vdso]":
        return _SOCKET if "copy_to_iter" in symbol or "copy_from_iter" in symbol else _SYSTEM
    if library.startswith(("libgrpc", "libgpr", "libupb", "libaddress_sorting")):
        return _GRPC
    if "memmove" in symbol or "memcpy" in symbol:
        return _COPIES
    if library == binary:
        return _LOSS if "::N_" in symbol else _OWN
    return _LIBRARIES


def _shares(path, binary):
    report = subprocess.run(
        ["perf", "report", f"--input={path}", "--stdio", "--no-children",
         "--sort=dso,symbol", "--field-separator=\t", "--percent-limit=0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
        timeout=120,
    ).stdout  # fmt: skip
    weights = dict.fromkeys(_PARTS, 0.0)
    for line in report.splitlines():
        cells = [cell.strip() for cell in line.split("\t")]
        if line.startswith("#") or len(cells) < 3:
            continue
        weights[_part(binary, cells[1], cells[2])] += float(cells[0].rstrip("%"))
    total = sum(weights.values())
    return {part: weight / total for part, weight in weights.items()}


def _record(path, pid, seconds):
    subprocess.run(
        ["perf", "record", "--quiet", f"--output={path}", f"--freq={FREQUENCY}",
         f"--pid={pid}", "--", "sleep", f"{seconds:g}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
        timeout=seconds + 60,
    )  # fmt: skip


def _profile(context, name, server, binary, shape, payloads, in_flight):
    path = context.folder / f"profile-{name}-{shape}"

    def sample():
        time.sleep(WARM_UP)
        _record(path, server.pid, SECONDS - WARM_UP)

    sampler = threading.Thread(target=sample)
    sampler.start()
    report = load.run(
        context.binaries, server, payloads, SECONDS, f"--concurrency={in_flight}"
    )
    sampler.join()
    return Profile(shape, name, report["server_cpu_us"], _shares(path, binary))


def measure(context):
    """[Profile], lossd's and the echo server's of each case; None without perf."""
    if shutil.which("perf") is None or os.geteuid() != 0:
        return None
    profiles = []
    with contextlib.ExitStack() as stack:
        lossd = stack.enter_context(servers.lossd(context.binaries))
        echo = stack.enter_context(servers.echo(context.binaries, latency.ECHO))
        for shape, in_flight in calls.CASES:
            context.say(f"profile of {shape}")
            payloads = context.payloads(lossd, calls.LOSS, shape)
            for name, server, binary in (
                ("lossd", lossd, "lossd"),
                ("echo", echo, "echo_server"),
            ):
                profiles.append(
                    _profile(context, name, server, binary, shape, payloads, in_flight)
                )
    return profiles


def _lines(ours, echo):
    def cells(profile, part):
        share = profile.shares[part]
        return [markdown.number(share * profile.cpu_us), f"{100 * share:.0f} %"]

    lines = [
        [ours.shape, part, *cells(ours, part), *cells(echo, part)] for part in _PARTS
    ]
    total = [markdown.number(ours.cpu_us), "", markdown.number(echo.cpu_us), ""]
    return [*lines, [ours.shape, "all", *total]]


def section(profiles):
    text = _TEXT.format(seconds=SECONDS, frequency=FREQUENCY)
    if profiles is None:
        return f"{text}\n{_ABSENT}"
    lines = []
    for ours, echo in zip(profiles[::2], profiles[1::2], strict=True):
        lines += _lines(ours, echo)
    header = ["logits", "what", "lossd, µs", "", "echo, µs", ""]
    return f"{text}\n{markdown.table(header, lines)}"


def rows(_):
    return []
