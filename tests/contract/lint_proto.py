# SPDX-License-Identifier: Apache-2.0
"""Runs `buf lint` on the proto, and shows that it finds a field without comment.

Without buf (`./dev deps test` installs it) the test is skipped; it fails where
LOSSD_REQUIRE_TOOLS is 1.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77


def find_buf(root):
    installed = root / ".deps" / "bin" / "buf"
    return str(installed) if installed.exists() else shutil.which("buf")


def lint(buf, folder):
    return subprocess.run(
        [buf, "lint", str(folder)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50,
    )  # fmt: skip


def finds_a_missing_comment(buf, proto):
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, "proto")
        shutil.copytree(proto, copy)
        with open(copy / "lossd/v1/tensor.proto", "a", encoding="utf-8") as file:
            file.write("\n// A message.\nmessage Undocumented { bool field = 1; }\n")
        return "should have a non-empty comment" in lint(buf, copy).stdout


def main():
    root = pathlib.Path(sys.argv[1])
    buf = find_buf(root)
    if buf is None:
        print("buf is not installed: run ./dev deps test")
        return 1 if os.environ.get("LOSSD_REQUIRE_TOOLS") == "1" else SKIPPED
    done = lint(buf, root / "proto")
    print(done.stdout + done.stderr, end="")
    if not finds_a_missing_comment(buf, root / "proto"):
        print("buf lint accepts a field without comment: see proto/buf.yaml")
        return 1
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
