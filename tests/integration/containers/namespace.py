# SPDX-License-Identifier: Apache-2.0
"""Mounts of one's own, also below a changed root."""

import os
import pathlib
import subprocess
import sys
import tempfile

import engine

INSIDE = "LOSSD_TEST_NAMESPACE"
UNSHARE = ["unshare", "--mount", "--propagation"]
# The storage of containers changes how its root is mounted, which must be a
# mount point for that: $0, a private one, gets the root as a mount below it.
ENTER = ('mount --bind "$0" "$0" && mount --make-private "$0" && '
         'mkdir -p "$0/root" && mount --rbind / "$0/root" && '
         'exec chroot "$0/root" unshare --mount --propagation private "$@"')


def root_is_a_mount_point():
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return any(line.split()[4] == "/" for line in table)


def enter(parent, script, arguments):
    """Returns in a process whose mounts disappear with it: this script again,
    of which the first only waits. Where a mount point is needed, it is made
    below `parent`.
    """
    if os.environ.pop(INSIDE, None):
        return
    program = [sys.executable, str(script), *arguments]
    environment = {**os.environ, INSIDE: "1"}
    if root_is_a_mount_point():
        os.execvpe("unshare", [*UNSHARE, "private", *program], environment)
    parent.mkdir(parents=True, exist_ok=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="root-", dir=parent))
    status = subprocess.run(
        [*UNSHARE, "unchanged", "sh", "-c", ENTER, str(directory), *program],
        env=environment).returncode
    # The one mount that another namespace may have received.
    engine.remove_tree(directory)
    sys.exit(status)
