# SPDX-License-Identifier: Apache-2.0
"""A debian:bookworm-slim made here, as none can be pulled.

debootstrap makes the file system once; its archive is kept and added to an
empty image in later runs. Packages come from the mirror that this machine
uses itself, or from debootstrap's own choice where it uses none of Debian 12.
"""

import os
import pathlib
import re
import shutil
import subprocess

import engine

RELEASE = "bookworm"
SUITES = {RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security"}
KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# What decides whether a mirror can be reached and its lists are accepted.
APT_SETTINGS = re.compile(
    r"^Acquire::(http|https|Check-Date|Check-Valid-Until|Retries)\b.*;$")


def stanzas(text):
    """The stanzas of a deb822 file of apt sources, as dictionaries."""
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines()
                 if line.strip() and not line.startswith("#")]
        pairs = (line.split(":", 1) for line in lines if ":" in line)
        yield {key.strip().lower(): value.strip() for key, value in pairs}


def debian_sources(root=pathlib.Path("/etc/apt")):
    """This machine's sources of Debian 12, as lines (mirror, suite)."""
    found = []
    for path in sorted(root.glob("sources.list.d/*.sources")):
        for stanza in stanzas(path.read_text()):
            suites = set(stanza.get("suites", "").split())
            if stanza.get("enabled", "yes") == "no" or not suites <= SUITES:
                continue
            if "deb" in stanza.get("types", "").split():
                found += [(stanza["uris"].split()[0], suite)
                          for suite in sorted(suites)]
    lists = [root / "sources.list", *sorted(root.glob("sources.list.d/*.list"))]
    for path in lists:
        text = path.read_text() if path.exists() else ""
        for line in text.splitlines():
            match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s", line)
            if match and match.group(2) in SUITES:
                found.append(match.groups())
    return list(dict.fromkeys(found))


def apt_settings():
    """This machine's settings of apt for reaching its mirrors."""
    dump = subprocess.run(["apt-config", "dump"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return "".join(f"{line}\n" for line in dump.splitlines()
                   if APT_SETTINGS.match(line))


def bootstrap(directory, authorities):
    """Makes the file system of a minimal Debian 12 in a new folder."""
    sources = debian_sources()
    command = ["debootstrap", "--variant=minbase"]
    if KEYRING.exists():
        command.append(f"--keyring={KEYRING}")
    mirrors = [mirror for mirror, suite in sources if suite == RELEASE]
    subprocess.run([*command, RELEASE, str(directory), *mirrors[:1]],
                   check=True, stdout=subprocess.DEVNULL)
    apt = directory / "etc/apt"
    if mirrors:
        (apt / "sources.list").write_text(
            "".join(f"deb {mirror} {suite} main\n"
                    for mirror, suite in sources))
    (apt / "apt.conf.d/90host").write_text(apt_settings())
    # The package of certificates comes from the mirror itself.
    if authorities and any(m.startswith("https:") for m, _ in sources):
        certificates = directory / "etc/ssl/certs"
        certificates.mkdir(parents=True, exist_ok=True)
        shutil.copy(authorities, certificates / "ca-certificates.crt")


def archive(cache_dir, authorities):
    """The archive of the base's file system, made where it is missing."""
    path = cache_dir / f"debian-{RELEASE}.tar"
    if path.exists():
        return path
    directory = cache_dir / f"debian-{RELEASE}.new"
    engine.remove_tree(directory)
    bootstrap(directory, authorities)
    partial = path.with_suffix(".partial")
    subprocess.run(["tar", "-C", str(directory), "--numeric-owner",
                    "--exclude=./var/cache/apt/*.bin",
                    "--exclude=./var/cache/apt/archives/*.deb",
                    "--exclude=./var/lib/apt/lists/*_*", "--exclude=./dev/*",
                    "-cf", str(partial), "."], check=True)
    engine.remove_tree(directory)
    os.replace(partial, path)
    return path
