# SPDX-License-Identifier: Apache-2.0
"""A lossd of one's own, on free ports of the loopback interface."""

import os
import pathlib
import subprocess
import tempfile
import time


class Lossd:
    """Serves inside a `with`, and is stopped by SIGTERM at its end."""

    def __init__(self, binary, *flags, start_seconds=30, stop_seconds=30):
        self._command = [binary, *flags]
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._folder = None
        self._process = None
        self.listen = None  # HOST:PORT of gRPC.
        self.admin = None  # HOST:PORT of plain HTTP.

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self._folder.name)
        settings = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LOSSD_")
        }
        command = self._command + [
            "--listen=127.0.0.1:0",
            "--admin-listen=127.0.0.1:0",
            f"--port-file={folder / 'ports'}",
            "--drain-delay=0s",
        ]
        with open(folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=settings
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

    def _wait_for_ports(self, folder):
        deadline = time.monotonic() + self._start_seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if (folder / "ports").exists():
                lines = (folder / "ports").read_text().splitlines()
                ports = dict(line.split("=", 1) for line in lines if "=" in line)
                self.listen, self.admin = ports.get("listen"), ports.get("admin")
                if self.listen and self.admin:
                    return
            time.sleep(0.02)
        log = (folder / "log").read_text(errors="replace")
        raise RuntimeError(f"lossd does not serve:\n{log}")
