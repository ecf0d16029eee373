# SPDX-License-Identifier: Apache-2.0
"""The servers around torch that lossd is compared with: one in Python, and
Triton. Their packages are those of .dev/peers.txt, in .deps/peers."""

import os
import pathlib
import subprocess

import servers

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = pathlib.Path(__file__).with_name("peers")
ABSENT = "the peers are not installed; ./dev bench --peers installs them"
# Of both, the fastest on two cores of what was tried: 1, 2, 4 and 8 workers
# with 1 and 2 threads of torch; 1 and 2 instances of the model.
WORKERS = 4
INSTANCES = 2


def find_python():
    """That of LOSSD_PEERS_PYTHON, else of .deps/peers; None if there is none."""
    given = os.environ.get("LOSSD_PEERS_PYTHON")
    if given:
        return given
    own = ROOT / ".deps" / "peers" / "bin" / "python"
    return str(own) if own.exists() else None


class Peers:
    """What one Python can run. `folder` is for generated code."""

    def __init__(self, python, folder):
        self._python = python
        self._stubs = pathlib.Path(folder) / "stubs"
        self._stubs.mkdir()
        protos = ROOT / "proto"
        subprocess.run(
            [
                "protoc",
                f"-I{protos}",
                f"--python_out={self._stubs}",
                f"--grpc_python_out={self._stubs}",
                "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin",
                *map(str, sorted((protos / "lossd" / "v1").glob("*.proto"))),
            ],
            check=True,
            timeout=60,
        )

    def python_server(self):
        return servers.lossd_process.Server(
            self._script("python_server.py", f"--stubs={self._stubs}")
            + [f"--workers={WORKERS}", "--torch-threads=1"],
            start_seconds=120,
        )

    def triton_server(self):
        return servers.lossd_process.Server(
            self._script("triton_server.py", f"--instances={INSTANCES}"),
            start_seconds=120,
            stop_seconds=60,
        )

    def triton_payloads(self, payloads, folder):
        """The same requests for Triton."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True)
        subprocess.run(
            self._script("triton_payload.py", f"--stubs={self._stubs}")
            + [f"--to={folder}", *map(str, payloads)],
            check=True,
            timeout=120,
        )
        return [folder / path.name for path in payloads]

    def versions(self):
        """[(package, version)]."""
        code = (
            "import importlib.metadata as m\n"
            "for p in ('torch', 'grpcio', 'protobuf', 'nvidia-pytriton'):\n"
            "    print(p, m.version(p))"
        )
        done = subprocess.run(
            [self._python, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        )
        return [tuple(line.split()) for line in done.stdout.splitlines()]

    def _script(self, name, *arguments):
        return [self._python, str(SCRIPTS / name), *arguments]
