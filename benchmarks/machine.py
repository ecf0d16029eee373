# SPDX-License-Identifier: Apache-2.0
"""What the figures were measured on."""

import os
import pathlib
import platform
import subprocess

_FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_bf16")


def _cpu_fields():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    first = text.split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _output(*command, cwd=None):
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _commit(root):
    git = ("git", "-c", f"safe.directory={root}")
    commit = _output(*git, "rev-parse", "--short=12", "HEAD", cwd=root)
    if not commit:
        return "unknown"
    changed = _output(
        *git, "status", "--porcelain", "--", ".", ":!docs/benchmarks.md", cwd=root
    )
    return commit + (" and uncommitted changes" if changed else "")


def _memory():
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{pages * size / 2**30:.0f} GiB"


def facts(root, binaries):
    """[(what, value)], as text."""
    cpu = _cpu_fields()
    present = set(cpu.get("flags", "").split())
    model = cpu.get("model name", platform.machine())
    family = (cpu.get("cpu family"), cpu.get("model"))
    if all(family):
        model += f" (family {family[0]}, model {family[1]})"
    cores = len(os.sched_getaffinity(0))
    kind = "virtual" if "hypervisor" in present else "physical"
    flags = [flag for flag in _FLAGS if flag in present]
    return [
        ("CPU", model),
        ("cores", f"{cores}, {kind}"),
        ("instruction sets", " ".join(flags) or "not known"),
        ("memory", _memory()),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("lossd", _output(str(binaries / "lossd"), "--version") or "unknown"),
        ("commit", _commit(root)),
    ]
