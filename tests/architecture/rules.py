# SPDX-License-Identifier: Apache-2.0
"""Rules that no layer expresses. Each returns its violations, one line each."""

import pathlib
import re

import tree

_LICENSED = (
    ".h", ".cc", ".cu", ".cuh", ".py", ".sh", ".proto", ".cmake", ".yaml",
    ".yml", "CMakeLists.txt", "requirements.txt",
)  # fmt: skip
_LICENSED_NAMES = ("dev", ".ci/run", ".clang-format", ".clang-tidy")
_TARGET = re.compile(
    r"^\s*(?:add_library|add_executable|lossd_library)\s*\(", re.MULTILINE
)


def _is_below(path, *folders):
    return path.startswith(folders)


def _misplaced(root, matches, *folders, where):
    found = []
    for path, includes in tree.includes(root).items():
        for include in includes:
            if matches(include.name) and not _is_below(path, *folders):
                found.append(f"{path} includes {include.name}: only {where} may")
    return found


def grpc_headers(root):
    """Only the wire layer and the clients see messages and gRPC."""
    return _misplaced(
        root,
        lambda name: name.endswith(".pb.h") or name.startswith(("grpcpp/", "grpc/")),
        "server/rpc/", "client/", "tests/", "benchmarks/",
        where="server/rpc and the clients",
    )  # fmt: skip


def cuda_headers(root):
    return _misplaced(
        root,
        lambda name: name.startswith(("cuda", "cub/", "thrust/", "nv/", "cooperative_")),
        "server/kernels/cuda/",
        where="server/kernels/cuda",
    )


def highway_headers(root):
    return _misplaced(
        root,
        lambda name: name.startswith("hwy/"),
        "server/kernels/", "tests/", "benchmarks/",
        where="server/kernels",
    )  # fmt: skip


def loss_mathematics(root):
    """The mathematics of a loss is compiled for every target from one text."""
    return [
        f"{path} includes {include.name}: the mathematics includes nothing"
        for path, includes in tree.includes(root).items()
        for include in includes
        if path.startswith("server/losses/") and path.endswith("-inl.h")
    ]


def include_paths(root):
    """Files of the tree are included by their path from an include root."""
    found = []
    for path, includes in tree.includes(root).items():
        for include in includes:
            sibling = pathlib.Path(root, path).parent / include.name
            if include.target is None and sibling.exists():
                found.append(f"{path} includes {include.name}: write its path")
    return found


def licences(root):
    """Each source says its licence in its first lines."""
    found = []
    for path in tree.files(root):
        name = path.rsplit("/", 1)[-1]
        licensed = (
            path.endswith(_LICENSED)
            or path in _LICENSED_NAMES
            or name.startswith("Dockerfile")
        )
        if licensed and not any(
            "SPDX-License-Identifier: Apache-2.0" in line
            for line in tree.read(root, path).splitlines()[:5]
        ):
            found.append(f"{path} has no SPDX-License-Identifier: Apache-2.0")
    return found


def names(root):
    """A name says what is inside."""
    vague = {"util", "utils", "helper", "helpers", "common"}
    return [
        f"{path} is named {part}"
        for path in tree.files(root)
        for part in path.split("/")
        if part.split(".")[0] in vague
    ]


def cmake_globs(root):
    return [
        f"{path} uses file(GLOB): list the sources"
        for path in tree.files(root)
        if path.endswith(("CMakeLists.txt", ".cmake"))
        and re.search(r"\bfile\s*\(\s*GLOB", tree.read(root, path))
    ]


def cmake_targets(root):
    """A folder of server/ with sources declares exactly one target."""
    paths = tree.files(root)
    folders = {
        path.rsplit("/", 1)[0]
        for path in paths
        if path.startswith("server/") and path.endswith((".cc", ".cu"))
    }
    found = []
    for folder in sorted(folders):
        path = f"{folder}/CMakeLists.txt"
        text = tree.read(root, path) if path in paths else ""
        targets = len(_TARGET.findall(text))
        if targets != 1:
            found.append(f"{folder} declares {targets} CMake targets, not one")
    return found


ALL = (
    grpc_headers, cuda_headers, highway_headers, loss_mathematics,
    include_paths, licences, names, cmake_globs, cmake_targets,
)  # fmt: skip
