#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the root file system of the image from a finished build.

It holds lossd and lossctl, the shared libraries they load and the loader, the
certificate authorities, the few files of /etc that the C library reads, the
licences of everything in it, and a list of what it consists of. It runs where
the build ran, because the libraries and their versions are that system's.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess

import sbom

BINARIES = ("lossd", "lossctl")
USER = 65532
DPKG_INFO = pathlib.Path("/var/lib/dpkg/info")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
ETC = {
    "passwd": f"lossd:x:{USER}:{USER}:lossd:/nonexistent:/usr/sbin/nologin\n",
    "group": f"lossd:x:{USER}:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def output(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE,
                          text=True, **options).stdout


def loaded_files(binary):
    """The paths that the loader maps for a binary, the loader included."""
    listing = output("ldd", str(binary))
    if "not found" in listing:
        raise SystemExit(f"{binary}: a library is missing:\n{listing}")
    return set(re.findall(r"(/\S+) \(0x[0-9a-f]+\)", listing))


def merged(path):
    """Where a path lies once /lib and /lib64 are links below /usr."""
    path = pathlib.Path(path)
    return path.parent.resolve() / path.name


def owners():
    """Which Debian package owns a file, of every installed file."""
    owner = {}
    for listing in sorted(DPKG_INFO.glob("*.list")):
        for path in listing.read_text().splitlines():
            owner[path] = listing.stem
    return owner


def packages_of(paths, owner):
    """The Debian packages that own these files."""
    found = set()
    for path in sorted(paths):
        # dpkg knows a file by the name it was unpacked under, which for some
        # packages is still below /lib.
        names = [str(path), str(path.resolve())]
        names += [name.removeprefix("/usr") for name in names]
        owned_by = {owner[name] for name in names if name in owner}
        if not owned_by:
            raise SystemExit(f"{path}: no package owns it")
        found |= owned_by
    return found


def headers_of(build_dir):
    """The headers of the system that the compiler read for this build."""
    listing = output("ninja", "-C", str(build_dir), "-t", "deps")
    paths = (line.strip() for line in listing.splitlines())
    return {pathlib.Path(path).resolve() for path in paths
            if path.startswith("/usr/")}


def put(source, destination, path, mode=0o644):
    target = destination / str(path).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)
    return target


def put_libraries(libraries, destination):
    for path in sorted(libraries):
        put(path, destination, path, 0o755)
    for name in ("lib", "lib64"):
        (destination / "usr" / name).mkdir(parents=True, exist_ok=True)
        (destination / name).symlink_to(f"usr/{name}")


def put_etc(destination):
    etc = destination / "etc"
    etc.mkdir()
    for name, text in ETC.items():
        (etc / name).write_text(text)
    put("/etc/os-release", destination, "/etc/os-release")
    put(CERTIFICATES, destination, CERTIFICATES)
    # Where engines mount things, also below a read-only root.
    for name in ("dev", "proc", "run", "sys"):
        (destination / name).mkdir()
    temporary = destination / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)


def put_licences(packages, source_dir, destination):
    put(source_dir / "LICENSE", destination, "/usr/share/doc/lossd/copyright")
    for package in packages:
        path = f"/usr/share/doc/{package.split(':')[0]}/copyright"
        put(path, destination, path)
    # The texts that those files refer to.
    for path in pathlib.Path("/usr/share/common-licenses").iterdir():
        put(path, destination, path)


def put_package_records(packages, destination):
    """What scanners of images read to learn the versions."""
    records = destination / "var/lib/dpkg/status.d"
    records.mkdir(parents=True)
    for package in packages:
        (records / package.split(":")[0]).write_text(
            output("dpkg-query", "-s", package))


def make(build_dir, source_dir, destination):
    destination.mkdir(parents=True)
    libraries = set()
    for name in BINARIES:
        binary = put(build_dir / "bin" / name, destination, f"/usr/bin/{name}",
                     0o755)
        subprocess.run(["strip", str(binary)], check=True)
        libraries |= {merged(path) for path in loaded_files(binary)}
    owner = owners()
    shipped = packages_of(libraries, owner) | {"ca-certificates"}
    compiled_in = packages_of(headers_of(build_dir), owner) - shipped
    put_libraries(libraries, destination)
    put_etc(destination)
    put_licences(shipped | compiled_in, source_dir, destination)
    put_package_records(shipped, destination)
    (destination / "usr/share/lossd").mkdir()
    (destination / "usr/share/lossd/sbom.spdx.json").write_text(
        sbom.document(shipped, compiled_in, source_dir))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build-dir", type=pathlib.Path, required=True)
    parser.add_argument("--destination", type=pathlib.Path, required=True,
                        help="a folder that does not exist yet")
    arguments = parser.parse_args()
    os.umask(0o022)
    source_dir = pathlib.Path(__file__).resolve().parent.parent
    make(arguments.build_dir.resolve(), source_dir, arguments.destination)


if __name__ == "__main__":
    main()
