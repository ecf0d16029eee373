# SPDX-License-Identifier: Apache-2.0
"""The servers that are measured."""

import pathlib
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "integration")
)
import lossd_process  # noqa: E402


def lossd(binaries, *flags):
    return lossd_process.Lossd(str(binaries / "lossd"), "--log-level=warning", *flags)


def echo(binaries, queues):
    return lossd_process.Server(
        [str(binaries / "echo_server"), "--listen=127.0.0.1:0", f"--queues={queues}"]
    )
