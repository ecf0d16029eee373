#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The image: what is in it, and lossd in one container answering lossctl in
another. Exits with 77 where it cannot run, unless LOSSD_REQUIRE_TOOLS=1."""

import argparse
import contextlib
import json
import math
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import unittest
import urllib.request

import base_image
import engine as engines
import namespace

IMAGE = "localhost/lossd:test"
USER = 65532
MAX_BYTES = 40_000_000  # of the image's files
LIBRARY = re.compile(r"\.so(\.\d+)*$")
FORBIDDEN_NAMES = re.compile(
    r"^(ba|da|a|z|c|tc|k|fi)?sh$|^(busybox|toybox|apt.*|dpkg.*|perl|python.*|"
    r"cc|c\+\+|[gc]cc?|[gc]\+\+|clang.*|ld|as|ar|make|cmake|ninja|curl|wget)$")
FORBIDDEN_SUFFIXES = (".h", ".hpp", ".a", ".o", ".la", ".pc", ".cmake", ".py")
INPUT, TARGET = [-1.7723, -1.5965, 0.8863], [0, 1, 0]

suite = None  # the Suite of this run


class Suite:
    """The image under test, and what it took to make it."""

    def __init__(self, source_dir, cache_dir, engine):
        self.source_dir, self.engine = source_dir, engine
        start = time.monotonic()
        authorities = certificate_authorities()
        base = base_image.archive(cache_dir, authorities)
        self.engine.import_image(base, "docker.io/library/debian:bookworm-slim")
        based = time.monotonic()
        dockerfile = self.source_dir / "docker/Dockerfile"
        text = self.engine.build(dockerfile, self.source_dir, IMAGE,
                                 compiler_cache(), self.secrets(authorities))
        built = time.monotonic()
        hits = re.search(r"^ +Hits: +(\d+ / +\d+)", text, re.M)
        print(f"base image {based - start:.0f} s, image {built - based:.0f} s, "
              f"compiler cache hits {hits.group(1) if hits else 'unknown'}",
              flush=True)
        self.config = self.engine.inspect(IMAGE)["Docker"]["config"]
        self.root = self.engine.mount(self.engine.container(IMAGE))

    def secrets(self, authorities):
        """What the build needs to reach registries the way this machine does:
        seen by its one step, and in no image."""
        found = []
        if authorities:
            found.append(("ca", authorities))
        settings = self.engine.directory / "pip.conf"
        settings.touch(0o600)
        settings.write_text(pip_settings(self.source_dir))
        return [*found, ("pip", settings)]


def certificate_authorities():
    candidates = [os.environ.get(name) for name in ("PIP_CERT", "SSL_CERT_FILE")]
    candidates.append("/etc/ssl/certs/ca-certificates.crt")
    return next((path for path in candidates
                 if path and os.path.isfile(path)), None)


def pip_settings(source_dir):
    """Where this machine's pip finds its index, as a configuration file."""
    python = source_dir / ".deps/venv/bin/python"
    listing = subprocess.run([python, "-m", "pip", "config", "list"],
                             text=True, stdout=subprocess.PIPE).stdout \
        if python.exists() else ""
    wanted = r"\.((?:extra-)?index-url|trusted-host|proxy|default-timeout)='(.*)'"
    lines = [f"{match.group(1)} = {match.group(2)}"
             for match in re.finditer(wanted, listing)]
    return "\n".join(["[global]", *lines, ""])


def compiler_cache():
    """This machine's compiler cache, as the volume the Dockerfile looks for."""
    if not shutil.which("ccache"):
        return []
    path = subprocess.run(["ccache", "--get-config", "cache_dir"], check=True,
                          text=True, stdout=subprocess.PIPE).stdout.strip()
    return [(path, "/ccache")] if os.path.isdir(path) else []


def files_of(root):
    """Every file of the image that is no directory: path in it, and status."""
    for directory, _, names in os.walk(root):
        for name in names:
            path = pathlib.Path(directory, name)
            yield path.relative_to(root), path.lstat()


def get(address, path):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as reply:
        return reply.status, reply.read().decode()


class FilesOfTheImage(unittest.TestCase):

    def test_the_image_is_small(self):
        size = sum(status.st_size for _, status in files_of(suite.root))
        print(f"the image's size is {size / 1e6:.1f} MB", flush=True)
        self.assertLess(size, MAX_BYTES)

    def test_the_only_programs_are_lossd_and_lossctl(self):
        programs = {str(path) for path, status in files_of(suite.root)
                    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o111
                    and not LIBRARY.search(path.name)}
        self.assertEqual(programs, {"usr/bin/lossd", "usr/bin/lossctl"})

    def test_there_is_no_shell_compiler_or_development_file(self):
        for path, _ in files_of(suite.root):
            if path.parts[:2] == ("var", "lib") or "doc" in path.parts:
                continue  # records and licences, named as packages are
            self.assertNotRegex(path.name, FORBIDDEN_NAMES)
            self.assertFalse(path.name.endswith(FORBIDDEN_SUFFIXES), path)

    def test_nothing_runs_as_another_user(self):
        for path, status in files_of(suite.root):
            self.assertFalse(status.st_mode & (stat.S_ISUID | stat.S_ISGID),
                             path)
            self.assertEqual(status.st_uid, 0, path)
            if stat.S_ISREG(status.st_mode):
                self.assertFalse(status.st_mode & 0o022, path)

    def test_the_list_of_contents_names_every_library_and_its_licence(self):
        document = json.loads(
            (suite.root / "usr/share/lossd/sbom.spdx.json").read_text())
        self.assertEqual(document["spdxVersion"], "SPDX-2.3")
        packages = {p["SPDXID"]: p for p in document["packages"]}
        loaded = {r["relatedSpdxElement"] for r in document["relationships"]
                  if r["relationshipType"] == "DEPENDS_ON"}
        names = {packages[i]["name"] for i in loaded}
        self.assertLessEqual({"libgrpc++1.51", "libc6", "ca-certificates"},
                             names)
        records = suite.root / "var/lib/dpkg/status.d"
        self.assertEqual(names, {path.name for path in records.iterdir()})
        for package in packages.values():
            self.assertTrue(package["versionInfo"], package["name"])
            if "pkg:pypi" in json.dumps(package):
                continue  # its licence is lossd's own
            licence = f"usr/share/doc/{package['name']}/copyright"
            self.assertGreater((suite.root / licence).stat().st_size, 100)

    def test_the_configuration_suits_a_cluster(self):
        config = suite.config
        self.assertEqual(config["User"], f"{USER}:{USER}")
        self.assertEqual(config["Entrypoint"], ["/usr/bin/lossd"])
        self.assertEqual(set(config["ExposedPorts"]), {"50051/tcp", "9464/tcp"})
        self.assertEqual(config["Labels"]["org.opencontainers.image.licenses"],
                         "Apache-2.0")
        for setting in config["Env"]:
            self.assertRegex(setting, "^PATH=")

    def test_the_labelled_version_is_the_projects(self):
        text = (suite.source_dir / "CMakeLists.txt").read_text()
        version = re.search(r"project\(lossd VERSION ([\d.]+)", text).group(1)
        self.assertEqual(
            suite.config["Labels"]["org.opencontainers.image.version"], version)


class Containers(unittest.TestCase):

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        # The one folder that lossd can write to.
        self.shared = suite.engine.directory / f"shared-{self.id()}"
        self.shared.mkdir()
        self.shared.chmod(0o777)

    def lossd(self):
        return ["/usr/bin/lossd", "--listen", "127.0.0.1:0", "--admin-listen",
                "127.0.0.1:0", "--port-file", "/run/port",
                "--drain-delay", "1s"]

    def serve(self):
        """lossd in a container; it, its gRPC and its admin address."""
        container = suite.engine.container(IMAGE)
        running = self.stack.enter_context(suite.engine.start(
            container, self.lossd(), [(self.shared, "/run")]))
        return running, *self.addresses(running)

    def addresses(self, running):
        """The gRPC and the admin address, of lines NAME=ADDRESS."""
        lines = running.wait_for(self.shared / "port").splitlines()
        found = dict(line.split("=") for line in lines)
        return found["listen"], found["admin"]

    def check_gradient(self, address):
        client = suite.engine.container(IMAGE)
        answer = suite.engine.call(
            client, "/usr/bin/lossctl", "grad",
            "binary_cross_entropy_with_logits", "--server", address, "--json",
            "--input", json.dumps(INPUT), "--target", json.dumps(TARGET))
        self.assertEqual(answer.returncode, 0, answer.stderr)
        answer = json.loads(answer.stdout)
        pairs = list(zip(INPUT, TARGET))
        loss = sum(max(x, 0) - x * t + math.log1p(math.exp(-abs(x)))
                   for x, t in pairs) / len(pairs)
        gradient = [(1 / (1 + math.exp(-x)) - t) / len(pairs) for x, t in pairs]
        self.assertAlmostEqual(answer["loss"], loss, places=6)
        for got, expected in zip(answer["gradients"]["input"], gradient,
                                 strict=True):
            self.assertAlmostEqual(got, expected, places=6)

    def test_lossctl_in_a_container_is_answered_by_lossd_in_another(self):
        _, address, admin = self.serve()
        self.check_gradient(address)
        self.assertEqual(get(admin, "/readyz")[0], 200)
        self.assertIn("lossd_", get(admin, "/metrics")[1])

    def test_lossd_is_an_ordinary_user_without_capabilities(self):
        running, *_ = self.serve()
        status = pathlib.Path(f"/proc/{running.pid()}/status").read_text()
        for line in (f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}",
                     f"Gid:\t{USER}\t{USER}\t{USER}\t{USER}",
                     "CapEff:\t" + 16 * "0"):
            self.assertIn(line + "\n", status)

    def test_the_health_check_passes_only_while_lossd_serves(self):
        running, address, _ = self.serve()
        check = suite.config["Healthcheck"]["Test"]
        self.assertEqual(check[0], "CMD")
        command = [address if part == "127.0.0.1:50051" else part
                   for part in check[1:]]
        self.assertIn(address, command)
        client = suite.engine.container(IMAGE)
        answer = suite.engine.call(client, *command)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        running.terminate()
        self.assertNotEqual(suite.engine.call(client, *command).returncode, 0)

    def test_sigterm_ends_lossd_with_status_0(self):
        running, *_ = self.serve()
        self.assertEqual(running.terminate(), 0, running.log())

    def test_lossd_needs_no_writable_root(self):
        root = suite.engine.directory / "read-only"
        root.mkdir()
        for command in (
                ["mount", "--bind", suite.root, root],
                ["mount", "-o", "remount,bind,ro", root],
                ["mount", "--rbind", "/proc", root / "proc"],
                ["mount", "--bind", self.shared, root / "run"]):
            subprocess.run(command, check=True)
        with self.assertRaises(OSError):
            (root / "tmp/file").touch()
        command = ["setpriv", "--no-new-privs", "chroot",
                   f"--userspec={USER}:{USER}", str(root), *self.lossd()]
        running = self.stack.enter_context(engines.Running(
            command, "/usr/bin/lossd", {"PATH": os.environ["PATH"]},
            self.shared.with_suffix(".log")))
        self.check_gradient(self.addresses(running)[0])
        self.assertEqual(running.terminate(), 0, running.log())


def missing():
    """Why the test cannot run here, or None."""
    if os.geteuid() != 0:
        return "it needs to be root, to make file systems with device nodes"
    for tool in ("buildah", "debootstrap", "unshare"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    return None


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source-dir", type=pathlib.Path, required=True)
    parser.add_argument("--cache-dir", type=pathlib.Path, required=True,
                        help="keeps the base image's archive")
    return parser.parse_known_args()


def main():
    global suite
    arguments, rest = parse_arguments()
    reason = missing()
    if reason:
        print(f"not run: {reason}")
        sys.exit(1 if os.environ.get("LOSSD_REQUIRE_TOOLS") == "1" else 77)
    source_dir = arguments.source_dir.resolve()
    cache_dir = arguments.cache_dir.resolve()
    namespace.enter(cache_dir, pathlib.Path(__file__).resolve(),
                    ["--source-dir", str(source_dir),
                     "--cache-dir", str(cache_dir), *rest])
    # A terminated test cleans up as an ended one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with contextlib.ExitStack() as stack:
        engine = engines.Engine(cache_dir)
        stack.callback(engine.close)
        suite = Suite(source_dir, cache_dir, engine)
        unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
