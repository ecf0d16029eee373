# SPDX-License-Identifier: Apache-2.0
"""The kernels in process, alone and against torch."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import tempfile

import servers

THREADS = 2
# (loss, shape, compiled too), each forward and gradient.
AGAINST_TORCH = (
    ("cross_entropy", "2048x32000", True),
    ("binary_cross_entropy_with_logits", "16777216", True),
    ("binary_cross_entropy", "1048576", False),
    ("mse_loss", "1048576", False),
    *(
        (loss, "1048576", False)
        for loss in (
            "gaussian_nll_loss",
            "hinge_embedding_loss",
            "huber_loss",
            "kl_div",
            "l1_loss",
            "margin_ranking_loss",
            "poisson_nll_loss",
            "smooth_l1_loss",
            "soft_margin_loss",
        )
    ),
    *(
        (loss, "1024x1024", False)
        for loss in (
            "cosine_embedding_loss",
            "ctc_loss",
            "multi_margin_loss",
            "multilabel_margin_loss",
            "multilabel_soft_margin_loss",
            "nll_loss",
            "triplet_margin_loss",
            "triplet_margin_with_distance_loss",
        )
    ),
)
MODES = ("forward", "gradient")
# What kernel_bench calls the bandwidth of memory, and the shapes that no cache
# holds, whose kernels are compared with it.
MEMORY = "memory"
BEYOND_CACHES = ("16777216", "16384x1024", "2048x32000")


@dataclasses.dataclass(frozen=True)
class Point:
    """One benchmark of kernel_bench."""

    loss: str
    mode: str
    shape: str
    target: str
    threads: int
    kind: str
    seconds: float
    bytes_per_s: float
    elements_per_s: float


def _parse(entry):
    loss, mode, shape, target, threads, kind = entry["name"].split("/")[:6]
    return Point(
        loss,
        mode,
        shape,
        target,
        int(threads),
        kind,
        entry["real_time"] / 1e6,
        entry["bytes_per_second"],
        entry["items_per_second"],
    )


def targets(binaries):
    """The instruction sets of the kernel tables, the best first."""
    done = subprocess.run(
        [str(binaries / "kernel_bench"), "--benchmark_list_tests"],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.count("/") >= 5]
    return list(dict.fromkeys(line.split("/")[3] for line in lines))


def measure(binaries, pattern, seconds, *shapes):
    """The points whose names match, each for about that long; of `shapes`, each
    LOSS/SHAPE, too."""
    done = subprocess.run(
        [
            str(binaries / "kernel_bench"),
            f"--benchmark_filter={pattern}",
            f"--benchmark_min_time={seconds}",
            "--benchmark_format=json",
            *shapes,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=600,
        check=True,
        env=servers.lossd_process.clean_environment(),
    )
    entries = json.loads(done.stdout)["benchmarks"]
    broken = [e["name"] for e in entries if e.get("error_occurred")]
    if broken:
        raise RuntimeError(f"kernel_bench refuses {broken}")
    return [_parse(entry) for entry in entries]


def memory_bytes_per_s(points):
    """{(mode, threads): bytes a second} that memory allows: forward reads, and
    gradient reads and writes as much."""
    return {
        (point.mode, point.threads): point.bytes_per_s
        for point in points
        if point.loss == MEMORY
    }


def survey(binaries, seconds, say):
    """Every loss at every shape with the best kernels, by 1 and 2 threads; and
    about 2^20 elements with every table, by one thread."""
    best, *others = targets(binaries)
    say(f"kernels on {best}")
    points = measure(binaries, f"/{re.escape(best)}/[12]/kernel", seconds)
    for target in others:
        say(f"kernels on {target}")
        pattern = f"/(1048576|1024x1024)/{re.escape(target)}/1/kernel"
        points += measure(binaries, pattern, seconds)
    return best, points


class Torch:
    """A Python with torch that measures when asked, inside a `with`."""

    def __init__(self, python):
        self._python = python
        self._process = None
        self._folder = None
        self.about = None

    def __enter__(self):
        # What torch.compile makes is for this run alone.
        self._folder = tempfile.TemporaryDirectory()
        worker = pathlib.Path(__file__).with_name("torch_worker.py")
        self._process = subprocess.Popen(
            [self._python, str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(THREADS),
                "TORCHINDUCTOR_CACHE_DIR": self._folder.name,
                "TORCHINDUCTOR_COMPILE_THREADS": "1",
            },
        )
        try:
            self.about = self._answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()

    def seconds(self, loss, shape, mode, how, duration):
        case = {
            "loss": loss,
            "shape": [int(size) for size in shape.split("x")],
            "mode": mode,
            "how": how,
            "seconds": duration,
        }
        print(json.dumps(case), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the Python with torch has ended")
        return json.loads(line)


def against_torch(binaries, torch, target, rounds, duration, say):
    """[(loss, shape, mode, {name: [seconds of each round]})], in alternation."""
    results = []
    for loss, shape, compiled in AGAINST_TORCH:
        for mode in MODES:
            say(f"{loss} {mode} {shape} against torch")
            pattern = f"^{loss}/{mode}/{shape}/{re.escape(target)}/{THREADS}/"
            hows = ("eager", "compile") if compiled else ("eager",)
            times = {"call": [], "kernel": [], **{how: [] for how in hows}}
            for how in hows:
                torch.seconds(loss, shape, mode, how, 0)
            for _ in range(rounds):
                for point in measure(binaries, pattern, duration):
                    times[point.kind].append(point.seconds)
                for how in hows:
                    times[how].append(torch.seconds(loss, shape, mode, how, duration))
            results.append((loss, shape, mode, times))
    return results
