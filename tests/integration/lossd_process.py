# SPDX-License-Identifier: Apache-2.0
"""Servers of one's own, on free ports of the loopback interface."""

import os
import pathlib
import subprocess
import tempfile
import time
import urllib.request


def clean_environment():
    """The environment without settings of lossd."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LOSSD_")
    }


def _family(pid):
    """The process and all below it."""
    found = [pid]
    for tasks in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in tasks.read_text().split():
            found += _family(int(child))
    return found


def _cpu_seconds(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    user, system = stat.rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class Server:
    """Serves inside a `with`, and is stopped by SIGTERM at its end.

    Its addresses are what it writes to --port-file, which the command gets; it
    serves once those named by `ports` are there.
    """

    def __init__(self, command, ports=("listen",), start_seconds=30, stop_seconds=30):
        self._command = command
        self._ports = ports
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._folder = None
        self._process = None
        self.listen = None  # HOST:PORT of gRPC.
        self.admin = None  # HOST:PORT of plain HTTP, if it has one.

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self._folder.name)
        command = [*self._command, f"--port-file={folder / 'ports'}"]
        with open(folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(),
            )
        try:
            self._wait_for_ports(folder)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._process.terminate()
        try:
            self._process.wait(self._stop_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._folder.cleanup()

    @property
    def pid(self):
        return self._process.pid

    def cpu_seconds(self):
        """What the process and those it started have used of the processor."""
        return sum(map(_cpu_seconds, _family(self._process.pid)))

    def memory(self, field):
        """Bytes of VmRSS (resident now), RssAnon (of which not of a file) or VmHWM
        (the most so far)."""
        status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = (x for x in status.splitlines() if x.startswith(field + ":"))
        return int(line.split()[1]) * 1024

    def metrics(self):
        """{name, with its labels: value} of /metrics."""
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def _wait_for_ports(self, folder):
        deadline = time.monotonic() + self._start_seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if (folder / "ports").exists():
                lines = (folder / "ports").read_text().splitlines()
                ports = dict(line.split("=", 1) for line in lines if "=" in line)
                self.listen, self.admin = ports.get("listen"), ports.get("admin")
                if all(ports.get(name) for name in self._ports):
                    return
            time.sleep(0.02)
        log = (folder / "log").read_text(errors="replace")
        raise RuntimeError(f"{self._command[0]} does not serve:\n{log}")


class Lossd(Server):
    """A lossd that drains at once."""

    def __init__(
        self,
        binary,
        *flags,
        listen="127.0.0.1:0",
        start_seconds=30,
        stop_seconds=30,
    ):
        command = [
            binary,
            *flags,
            f"--listen={listen}",
            "--admin-listen=127.0.0.1:0",
            "--drain-delay=0s",
        ]
        super().__init__(command, ("listen", "admin"), start_seconds, stop_seconds)
