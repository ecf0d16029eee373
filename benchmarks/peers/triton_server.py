# SPDX-License-Identifier: Apache-2.0
"""Runs the Triton server of nvidia-pytriton with triton_model.py in its Python
backend, until it is killed."""

import argparse
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import grpc
import pytriton
from tritonclient.grpc import service_pb2, service_pb2_grpc

MODEL = "cross_entropy"
HERE = pathlib.Path(__file__).resolve().parent
CONFIG = """
name: "cross_entropy"
backend: "python"
max_batch_size: 0
input [
  { name: "input", data_type: TYPE_FP32, dims: [ -1, -1 ] },
  { name: "target", data_type: TYPE_INT64, dims: [ -1 ] }
]
output [
  { name: "loss", data_type: TYPE_FP32, dims: [ 1 ] },
  { name: "gradient", data_type: TYPE_FP32, dims: [ -1, -1 ] }
]
instance_group [ { count: %d, kind: KIND_CPU } ]
"""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def install(folder, instances):
    """The server's binary, in a folder with the backend and the model."""
    bundled = pathlib.Path(pytriton.__file__).parent / "tritonserver"
    server = folder / "server"
    shutil.copytree(
        bundled, server, ignore=shutil.ignore_patterns("python_backend_stubs")
    )
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = bundled / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, server / "backends" / "python")
    model = folder / "models" / MODEL
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(CONFIG % instances)
    shutil.copy(HERE / "triton_model.py", model / "1" / "model.py")
    shutil.copy(HERE / "gradient.py", model / "1" / "gradient.py")
    return server / "bin" / "tritonserver"


def start(models, binary, port):
    site = pathlib.Path(pytriton.__file__).parent.parent
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(site / "nvidia_pytriton.libs"),
        "TRITON_MODEL_PACKAGES": str(site),
    }
    return subprocess.Popen(
        [
            str(binary),
            f"--model-repository={models}",
            f"--backend-directory={binary.parent.parent / 'backends'}",
            f"--grpc-port={port}",
            "--grpc-address=127.0.0.1",
            "--allow-http=false",
            "--allow-metrics=false",
            "--disable-auto-complete-config",
        ],
        env=environment,
    )


def await_ready(process, address, seconds=60):
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and process.poll() is None:
            try:
                ready = stub.ModelReady(service_pb2.ModelReadyRequest(name=MODEL))
                if ready.ready:
                    return True
            except grpc.RpcError:
                pass
            time.sleep(0.1)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", required=True)
    parser.add_argument("--instances", type=int, default=1)
    options = parser.parse_args()
    # As an exception, so that the server and its folder do not stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        address = f"127.0.0.1:{free_port()}"
        process = start(
            folder / "models",
            install(folder, options.instances),
            address.rsplit(":")[-1],
        )
        try:
            if not await_ready(process, address):
                raise SystemExit("Triton does not serve")
            temporary = options.port_file + ".tmp"
            pathlib.Path(temporary).write_text(f"listen={address}\n")
            os.rename(temporary, options.port_file)
            process.wait()
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
