#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs what README.md shows, against a lossd of its own.

In a block ```console, a line that begins with `$ ` is a command, which a line
that ends with a backslash continues, and what follows is what it prints:
standard output and error. There `...` stands for anything within a line, and
alone for any lines; runs of spaces count as one. Commands name programs as
build/bin/NAME, and the server as 127.0.0.1:50051.

Besides, the C++ of the README must be client/cpp/example/example.cc, that of
docs/shared_memory.md shared_example.cc beside it, the limits those that lossd
--print-config prints, and every link one to a file.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys

import lossd_process

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
EXAMPLES = ROOT / "client" / "cpp" / "example"
SHARED_MEMORY = ROOT / "docs" / "shared_memory.md"
ADDRESS = "127.0.0.1:50051"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LIMIT = re.compile(r"^\| `--([\w-]+)` \| `([^`]+)` \|", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@dataclasses.dataclass(frozen=True)
class Step:
    """A command of the README and what it shows of its output."""

    command: str
    output: str


def blocks(text, language):
    return [body for name, body in BLOCK.findall(text) if name == language]


def steps(block):
    """The steps of a block ```console."""
    found = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        length = 1
        while lines[length - 1].endswith("\\"):
            length += 1
        command, output = lines[:length], lines[length:]
        found.append(Step("\n".join(command), "\n".join(output).strip()))
    return found


def pattern(shown):
    """What matches the output that the README shows."""
    lines = []
    for line in shown.splitlines():
        words = " ".join(line.split())
        if words == "...":
            lines.append(r"(?:[^\n]*\n)*?")
        else:
            lines.append(r"[^\n]*".join(map(re.escape, words.split("..."))) + r"\n")
    return re.compile("".join(lines))


def normalized(output):
    return "".join(" ".join(line.split()) + "\n" for line in output.strip().splitlines())


def program(step):
    return pathlib.Path(step.command.split(maxsplit=1)[0]).name


def run_step(step, listen, programs):
    """What is wrong with a step, or None."""
    name = program(step)
    if name not in programs:
        return f"{name} is not among {', '.join(programs)}"
    if programs[name] is None:
        if os.environ.get("LOSSD_REQUIRE_TOOLS") == "1":
            return f"{name} is not installed"
        print(f"skipped, {name} is not installed: {step.command}")
        return None
    arguments = step.command.split(maxsplit=1)[1] if " " in step.command else ""
    done = subprocess.run(
        ["bash", "-c", f'"$0" {arguments.replace(ADDRESS, listen)}', programs[name]],
        env={**os.environ, "LOSSCTL_SERVER": listen},
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip
    print(f"$ {step.command}\n{done.stdout}")
    if pattern(step.output).fullmatch(normalized(done.stdout)):
        return None
    return f"it printed something else than README.md shows:\n{step.output}"


def check_console(text, arguments):
    """Problems of the commands."""
    folder = pathlib.Path(arguments.lossctl).resolve().parent
    own_tools = os.pathsep.join([str(ROOT / ".deps" / "bin"), os.environ["PATH"]])
    example = folder / "lossd_example"
    programs = {
        "lossctl": str(folder / "lossctl"),
        "lossd_example": str(example) if example.exists() else None,
        "grpcurl": shutil.which("grpcurl", path=own_tools),
    }
    found = [step for block in blocks(text, "console") for step in steps(block)]
    problems = [
        f"README.md shows no command of {name}"
        for name in programs
        if name not in map(program, found)
    ]
    with lossd_process.Lossd(arguments.lossd) as server:
        for step in found:
            # An example without an argument calls the default address.
            if program(step) == "lossd_example" and " " not in step.command:
                step = Step(f"{step.command} {ADDRESS}", step.output)
            problem = run_step(step, server.listen, programs)
            if problem:
                problems.append(f"$ {step.command}\n{problem}")
    return problems


def check_examples(text):
    pages = {
        "example.cc": text,
        "shared_example.cc": SHARED_MEMORY.read_text(encoding="utf-8"),
    }
    return [
        f"client/cpp/example/{name} is not the C++ of its page"
        for name, page in pages.items()
        if blocks(page, "cpp") != [(EXAMPLES / name).read_text(encoding="utf-8")]
    ]


def check_limits(text, lossd):
    """Problems of the table of limits."""
    settings = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LOSSD_")
    }
    printed = subprocess.run(
        [lossd, "--print-config"],
        check=True, capture_output=True, text=True, timeout=60, env=settings,
    ).stdout  # fmt: skip
    defaults = {
        name: value.strip().strip("\"'")
        for name, value in re.findall(
            r"^#?\s*([\w-]+)\s*=\s*(\"[^\"]*\"|'[^']*'|[^#\s]+)", printed, re.MULTILINE
        )
    }
    shown = LIMIT.findall(text)
    problems = [] if shown else ["README.md has no table of limits"]
    for name, value in shown:
        if defaults.get(name) != value:
            problems.append(
                f"README.md says {name} = {value}, lossd says {defaults.get(name)}"
            )
    return problems


def check_links(text):
    return [
        f"README.md links to {target}, which is not there"
        for target in LINK.findall(text)
        if not (ROOT / target).exists()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lossd", required=True, help="the server's binary")
    parser.add_argument("--lossctl", required=True, help="the client's binary")
    arguments = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    problems = [
        *check_examples(text),
        *check_links(text),
        *check_limits(text, arguments.lossd),
        *check_console(text, arguments),
    ]
    for problem in problems:
        print(f"WRONG: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
