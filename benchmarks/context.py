# SPDX-License-Identifier: Apache-2.0
"""What the parts of a benchmark run share.

A part is a module with NAME, measure(context), section(results) and
rows(results): it measures, writes its section of the page, and its rows of the
table "What to reach". run.py lists the parts.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import load
import peers


@dataclasses.dataclass
class Context:
    binaries: pathlib.Path
    rounds: int
    seconds: float  # of one server in one round
    kernel_seconds: float  # of one kernel in one round
    say: Callable[[str], None]
    folder: pathlib.Path  # of this run
    peers: peers.Peers | None
    # By the name of the part; of those before.
    results: dict = dataclasses.field(default_factory=dict)

    def payloads(self, server, loss, *shapes, count=3):
        """The paths of requests, made once a run; `server` is a lossd."""
        name = "-".join((loss, *shapes))
        folder = self.folder / "requests" / name
        if folder.exists():
            return sorted(folder.iterdir())
        return load.save_payloads(self.binaries, server, folder, loss, shapes, count)

    def triton_payloads(self, payloads):
        """Those of payloads(), rewritten for Triton, made once a run."""
        folder = self.folder / "triton" / payloads[0].parent.name
        if folder.exists():
            return sorted(folder.iterdir())
        return self.peers.triton_payloads(payloads, folder)
