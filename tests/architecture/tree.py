# SPDX-License-Identifier: Apache-2.0
"""The files of the repository, and what the C++ ones include.

Paths are relative to the root of the repository, with forward slashes.
"""

import dataclasses
import os
import pathlib
import re

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

CXX_SUFFIXES = (".h", ".cc", ".cu", ".cuh", ".inc")

# Folders in which headers are found, as the compiler is told to.
INCLUDE_ROOTS = ("", "client/cpp/include/")

_SKIPPED_FOLDERS = {"build", "node_modules", "__pycache__", "target"}
_KEPT_DOT_FOLDERS = {".ci", ".dev"}
_INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Include:
    """One #include line of a file."""

    name: str  # As it is written.
    target: str | None  # The file of the repository, if it is one.


def files(root):
    """Every file of the tree that is neither built nor downloaded, sorted."""
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [
            name
            for name in subfolders
            if name not in _SKIPPED_FOLDERS
            and (not name.startswith(".") or name in _KEPT_DOT_FOLDERS)
        ]
        relative = pathlib.Path(folder).relative_to(root)
        found += [(relative / name).as_posix() for name in names]
    return sorted(found)


def read(root, path):
    return (pathlib.Path(root) / path).read_text(encoding="utf-8")


def is_cxx(path):
    return path.endswith(CXX_SUFFIXES)


def includes(root):
    """The includes of every C++ file: {path: [Include]}."""
    paths = files(root)
    known = set(paths)
    graph = {}
    for path in filter(is_cxx, paths):
        text = _COMMENT.sub("", read(root, path))
        graph[path] = [
            Include(name, _resolve(name, known))
            for name in _INCLUDE.findall(text)
        ]
    return graph


def _resolve(name, known):
    for include_root in INCLUDE_ROOTS:
        if include_root + name in known:
            return include_root + name
    return None
