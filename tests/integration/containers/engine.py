# SPDX-License-Identifier: Apache-2.0
"""buildah as a small container engine, with everything below one folder.

Runs as root in a mount namespace of its own, without registries, networks or
daemons of its own: containers are chroots on this machine's network.
"""

import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

PATIENCE = 30.0  # seconds for anything that should take one


def mounts_below(directory):
    """The mount points below a folder, innermost first."""
    inside = str(directory.resolve()) + "/"
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        points = [line.split()[4].replace("\\040", " ") for line in table]
    return sorted((p for p in points if (p + "/").startswith(inside)),
                  key=len, reverse=True)


def remove_tree(directory):
    """Removes a folder, but nothing that is mounted in it."""
    if not directory.exists():
        return
    for point in mounts_below(directory):
        subprocess.run(["umount", "--lazy", point], check=True)
    if mounts_below(directory):
        raise RuntimeError(f"{directory}: still mounted, so not removed")
    shutil.rmtree(directory)


def descendants(pid):
    """The process ids below a process."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2]
                         .split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


class Running:
    """A program that runs in a container, until its `with` block ends."""

    def __init__(self, command, program, environment, log):
        self._program = program
        self._log = log
        with open(log, "wb") as stream:
            self.engine_process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL,
                stdout=stream, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for pid in reversed(descendants(self.engine_process.pid)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.engine_process.kill()
        self.engine_process.wait()

    def log(self):
        return self._log.read_text(errors="replace")

    def pid(self):
        """The program's process id, as this machine sees it."""
        engine = self.engine_process.pid
        for pid in [engine, *descendants(engine)]:
            try:
                executable = os.readlink(f"/proc/{pid}/exe")
            except OSError:
                continue
            if executable.endswith(self._program):
                return pid
        raise LookupError(f"{self._program} does not run:\n{self.log()}")

    def terminate(self):
        """Asks the program to end, as engines do; the status it ends with."""
        os.kill(self.pid(), signal.SIGTERM)
        try:
            return self.engine_process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"SIGTERM did not end it:\n{self.log()}") \
                from None

    def wait_for(self, path):
        """The text of a file that the program writes once it is ready."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if path.exists() and path.read_text().endswith("\n"):
                return path.read_text()
            if self.engine_process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{path.name} was not written:\n{self.log()}")


class Engine:
    """Images and containers below `cache_dir`/run, removed by close()."""

    def __init__(self, cache_dir):
        cache_dir.mkdir(parents=True, exist_ok=True)
        self._lock = open(cache_dir / "lock", "w", encoding="utf-8")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.directory = cache_dir / "run"
        # Left by a run that was killed.
        remove_tree(self.directory)
        (self.directory / "tmp").mkdir(parents=True)
        self.environment = {
            **os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(self.directory / "tmp"),
        }
        self._base = ["buildah", "--root", str(self.directory / "storage"),
                      "--runroot", str(self.directory / "runroot")]

    def close(self):
        remove_tree(self.directory)
        self._lock.close()

    def buildah(self, *arguments, **options):
        """Runs a buildah command; its output, or CalledProcessError."""
        return subprocess.run(
            [*self._base, *map(str, arguments)], check=True, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            env=self.environment, **options).stdout.strip()

    def import_image(self, archive, name):
        container = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", container, archive, "/")
        self.buildah("commit", "--quiet", "--rm", container, name)

    def build(self, dockerfile, context, name, volumes, secrets):
        """Builds an image; the text of the build's output."""
        command = ["bud", "--isolation", "chroot", "--network", "host",
                   "--pull-never", "--format", "docker",
                   "--ignorefile", f"{dockerfile}.dockerignore",
                   "--file", dockerfile, "--tag", name]
        for source, target in volumes:
            command += ["--volume", f"{source}:{target}"]
        for identity, source in secrets:
            command += ["--secret", f"id={identity},src={source}"]
        log = self.directory / "build.log"
        with open(log, "w", encoding="utf-8") as stream:
            # The machine's other tests come first.
            status = subprocess.run(
                ["nice", *self._base, *map(str, command), str(context)],
                stdin=subprocess.DEVNULL, stdout=stream,
                stderr=subprocess.STDOUT, env=self.environment).returncode
        text = log.read_text(errors="replace")
        if status != 0:
            raise RuntimeError("the image does not build:\n"
                               + "\n".join(text.splitlines()[-80:]))
        return text

    def inspect(self, image):
        return json.loads(self.buildah("inspect", "--type", "image", image))

    def container(self, image):
        return self.buildah("from", "--pull-never", image)

    def mount(self, container):
        return pathlib.Path(self.buildah("mount", container))

    def run_command(self, container, command, volumes=()):
        options = [f"--volume={source}:{target}" for source, target in volumes]
        return [*self._base, "run", "--isolation", "chroot", *options,
                container, "--", *command]

    def call(self, container, *command):
        """Runs a short program in a container to its end."""
        return subprocess.run(
            self.run_command(container, command), text=True, timeout=PATIENCE,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=self.environment)

    def start(self, container, command, volumes=()):
        log = self.directory / f"{container}.log"
        return Running(self.run_command(container, command, volumes),
                       command[0], self.environment, log)
