# SPDX-License-Identifier: Apache-2.0
"""How long files and functions may be."""

import re

import functions
import tree

FILE_LINES = 600
FUNCTION_LINES = 60
KERNEL_LOOP_LINES = 80

_MEASURED = (".h", ".cc", ".cu", ".cuh", ".py", ".sh", ".proto", ".cmake")
_SCRIPTS = ("dev", ".ci/run")
_REASON = re.compile(r"^\s*// Kernel loop: \S")


def long_files(root):
    found = []
    for path in tree.files(root):
        if path.endswith(_MEASURED) or path in _SCRIPTS:
            lines = len(tree.read(root, path).splitlines())
            if lines > FILE_LINES:
                found.append(f"{path} has {lines} lines of {FILE_LINES}")
    return found


def long_functions(root):
    found = []
    for path in tree.files(root):
        text = tree.read(root, path) if _measurer(path) else ""
        for function in _measurer(path)(text) if text else ():
            limit = FUNCTION_LINES
            if tree.is_cxx(path) and _is_kernel_loop(text, function):
                limit = KERNEL_LOOP_LINES
            if function.length > limit:
                found.append(
                    f"{path}:{function.first}: {function.name} has "
                    f"{function.length} lines of {limit}"
                )
    return found


def _measurer(path):
    if path.endswith(".py"):
        return functions.of_python
    if path.endswith(".sh") or path in _SCRIPTS:
        return functions.of_shell
    if tree.is_cxx(path) and not path.endswith(".inc"):
        return functions.of_cxx
    return None


def _is_kernel_loop(text, function):
    """Whether the comment right above the function has `Kernel loop: why`."""
    lines = text.splitlines()[: function.first - 1]
    while lines and lines[-1].lstrip().startswith("//"):
        if _REASON.match(lines.pop()):
            return True
    return False
