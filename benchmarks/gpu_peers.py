# SPDX-License-Identifier: Apache-2.0
"""How fast torch and Liger's kernels run on a GPU what gpu_kernels runs there.

    gpu_kernels > lossd.txt
    gpu_peers.py --lossd lossd.txt

measures the shapes of lossd.txt, on data that is already there, with torch eager,
torch.compile and, where it can be imported, liger_kernel, and prints for each the
rate in GB/s, its fraction of what a plain copy on the device reaches, and lossd's
rate over the best of them. Without --lossd, the shapes of CASES. The rate counts
the bytes that must move: each input read once, each output written once.

It needs a Python with torch; `--device cpu --shrink 256` tries it without a GPU.
"""

import argparse
import dataclasses
import importlib.util
import pathlib
import re
import statistics
import sys
import time

WARM_UP, ROUNDS, RUNS_EACH = 3, 9, 4
PEERS = ("eager", "compile", "liger")
_LINE = re.compile(r"(\w+) +(\w+) +\[ *(\d+), *(\d+)\] (\w+) +([\d.]+) ms "
                   r"+(\d+) GB/s")


@dataclasses.dataclass(frozen=True)
class Case:
    loss: str
    dtype: str
    rows: int
    columns: int
    what: str  # "loss", or "gradient" for both


CASES = [
    Case(loss, dtype, rows, columns, "gradient")
    for dtype in ("float32", "bfloat16", "float16")
    for loss, rows, columns in (
        ("cross_entropy", 8192, 32000),
        ("cross_entropy", 32768, 8192),
        ("cross_entropy", 262144, 1024),
        ("cross_entropy", 2097152, 128),
        ("cross_entropy", 4096, 50304),
        ("mse_loss", 8192, 16384),
        ("binary_cross_entropy_with_logits", 8192, 16384),
        ("kl_div", 8192, 16384),
    )
]


def read_lossd(text):
    """{case: GB/s} of gpu_kernels' output."""
    return {Case(loss, dtype, int(rows), int(columns), what): float(rate)
            for loss, dtype, rows, columns, what, _, rate in
            _LINE.findall(text)}


class Clock:
    """The time that work on a device takes."""

    def __init__(self, torch, device):
        self._torch, self._gpu = torch, device == "cuda"

    def seconds(self, run):
        """Of one run: the median of rounds of several."""
        for _ in range(WARM_UP):
            run()
        return statistics.median(self._round(run) for _ in range(ROUNDS))

    def _round(self, run):
        if not self._gpu:
            start = time.perf_counter()
            for _ in range(RUNS_EACH):
                run()
            return (time.perf_counter() - start) / RUNS_EACH
        first, last = (self._torch.cuda.Event(enable_timing=True)
                       for _ in range(2))
        first.record()
        for _ in range(RUNS_EACH):
            run()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) / 1000 / RUNS_EACH


def copy_rate(torch, clock, device, elements):
    """GB/s that a copy reads and writes."""
    source = torch.rand(elements, device=device)
    target = torch.empty_like(source)
    seconds = clock.seconds(lambda: target.copy_(source))
    return 2 * source.nbytes / seconds * 1e-9


def tensors(torch, case, device):
    """Input and target, as gpu_kernels makes them."""
    dtype = getattr(torch, case.dtype)
    shape = (case.rows, case.columns)
    x = torch.empty(shape, dtype=dtype, device=device).uniform_(-8, 8)
    x.requires_grad_(case.what == "gradient")
    if case.loss == "cross_entropy":
        rows = torch.arange(case.rows, device=device)
        return x, rows * 7919 % case.columns
    return x, torch.rand(shape, dtype=dtype, device=device)


def bytes_moved(case, x, target):
    return x.nbytes * (1 + (case.what == "gradient")) + target.nbytes


def runner(torch, function, x, target):
    """Runs a loss, and its gradient if x wants one."""
    def forward():
        with torch.no_grad():
            return function(x, target)

    def both():
        x.grad = None
        loss = function(x, target)
        loss.backward()
        return loss

    return both if x.requires_grad else forward


def functions(torch, case, device):
    """({peer: its function}, {peer: why it has none})."""
    eager = getattr(torch.nn.functional, case.loss)
    found = {"eager": eager, "compile": torch.compile(eager)}
    if case.loss != "cross_entropy":
        return found, {"liger": "only cross_entropy is measured"}
    if device != "cuda":
        return found, {"liger": "it runs on a GPU alone"}
    if importlib.util.find_spec("liger_kernel") is None:
        return found, {"liger": "liger_kernel cannot be imported"}
    from liger_kernel.transformers import LigerCrossEntropyLoss
    found["liger"] = LigerCrossEntropyLoss()
    return found, {}


def measure(torch, clock, case, device):
    """({peer: GB/s}, {peer: why not})."""
    x, target = tensors(torch, case, device)
    found, absent = functions(torch, case, device)
    rates = {}
    for peer, function in found.items():
        # A compiled function is for one shape; Liger writes into its input.
        torch.compiler.reset()
        own = x.detach().clone().requires_grad_(x.requires_grad)
        try:
            run = runner(torch, function, own, target)
            if not bool(run().isfinite()):
                raise RuntimeError("its loss is not finite")
            seconds = clock.seconds(run)
        except Exception as error:  # a peer that cannot is left out, and named
            first = (str(error).splitlines() or [""])[0]
            absent[peer] = f"{type(error).__name__}: {first}"
            continue
        rates[peer] = bytes_moved(case, x, target) / seconds * 1e-9
    return rates, absent


def row(case, rates, lossd, ceiling):
    """A line of the table."""
    def cell(rate):
        if rate is None:
            return f"{'-':>8} {'':4}"
        return f"{rate:8.1f} {rate / ceiling:4.2f}"

    cells = [cell(rates.get(peer)) for peer in PEERS]
    if lossd is not None:
        best = max(rates.values(), default=None)
        ratio = f"{lossd / best:5.2f}" if best else f"{'-':>5}"
        cells += [cell(lossd), ratio]
    shape = f"[{case.rows:7d}, {case.columns:6d}]"
    return (f"{case.loss:34} {case.dtype:9} {shape} {case.what:9} "
            + "  ".join(cells))


def unavailable(device):
    """Why nothing can be measured, or None."""
    if importlib.util.find_spec("torch") is None:
        return f"{sys.executable} has no torch: run this with one that has"
    import torch
    if device == "cuda" and not torch.cuda.is_available():
        if torch.version.cuda is None:
            return f"torch {torch.__version__} was built without CUDA"
        return (f"torch {torch.__version__} is built for CUDA "
                f"{torch.version.cuda}, but finds no GPU that it can use "
                "(nvidia-smi shows what the driver has); "
                "--device cpu --shrink 256 tries the script without")
    return None


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lossd", type=pathlib.Path,
                        help="what gpu_kernels has printed")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--shrink", type=int, default=1,
                        help="measure with so many times fewer rows")
    return parser.parse_args()


def main():
    options = arguments()
    why = unavailable(options.device)
    if why:
        sys.exit(f"gpu_peers: {why}")
    import torch
    lossd = {}
    if options.lossd:
        lossd = read_lossd(options.lossd.read_text(encoding="utf-8"))
        if not lossd:
            sys.exit(f"gpu_peers: {options.lossd} holds no line of gpu_kernels")
        if options.shrink != 1:
            sys.exit("gpu_peers: shrunken shapes are not those of --lossd")
    device = options.device
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    clock = Clock(torch, device)
    ceiling = copy_rate(torch, clock, device, 2**28 // options.shrink)
    print(f"{name}, torch {torch.__version__}; a copy moves {ceiling:.1f} GB/s")
    names = (*PEERS, "lossd") if lossd else PEERS
    titles = "  ".join(f"{peer:>8} {'':4}" for peer in names)
    print(f"{'GB/s, and the fraction of the copy':73}{titles}"
          + ("  lossd / best" if lossd else ""))
    reasons = {}
    for case in lossd or CASES:
        rate_of_lossd = lossd.get(case)
        case = dataclasses.replace(case,
                                   rows=max(1, case.rows // options.shrink))
        rates, absent = measure(torch, clock, case, device)
        print(row(case, rates, rate_of_lossd, ceiling), flush=True)
        for peer, reason in absent.items():
            reasons.setdefault((peer, reason), case)
    for (peer, reason), case in reasons.items():
        print(f"no {peer} of {case.loss} {case.dtype} {case.what}: {reason}")


if __name__ == "__main__":
    main()
