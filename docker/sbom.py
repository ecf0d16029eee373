# SPDX-License-Identifier: Apache-2.0
"""The list of what an image consists of, as an SPDX 2.3 document."""

import datetime
import json
import os
import re
import subprocess
import urllib.parse
import uuid

FIELDS = ("binary:Package", "Version", "Architecture", "source:Package",
          "source:Version", "Homepage", "Maintainer")


def package_fields(package):
    """What dpkg knows about an installed package."""
    form = "\\n".join("${%s}" % field for field in FIELDS)
    values = subprocess.run(["dpkg-query", "-W", f"-f={form}", package],
                            check=True, stdout=subprocess.PIPE,
                            text=True).stdout.split("\n")
    fields = dict(zip(FIELDS, values))
    fields["name"] = fields["binary:Package"].split(":")[0]
    return fields


def identifier(kind, name):
    return f"SPDXRef-{kind}-" + re.sub(r"[^A-Za-z0-9.-]", "-", name)


def purl(kind, name, version, **qualifiers):
    text = f"pkg:{kind}/{name}@{urllib.parse.quote(version, safe='')}"
    return text + ("?" + urllib.parse.urlencode(qualifiers)
                   if qualifiers else "")


def entry(spdx_id, name, version, licence, package_url=None):
    found = {
        "SPDXID": spdx_id,
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licence,
        "copyrightText": "NOASSERTION",
    }
    if package_url:
        found["externalRefs"] = [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": package_url,
        }]
    return found


def debian_entry(package):
    fields = package_fields(package)
    name = fields["name"]
    found = entry(identifier("deb", name), name, fields["Version"],
                  "NOASSERTION",
                  purl("deb/debian", name, fields["Version"],
                       arch=fields["Architecture"], distro="debian-12"))
    found["supplier"] = "Organization: Debian"
    found["sourceInfo"] = (f"built from {fields['source:Package']} "
                           f"{fields['source:Version']}")
    found["licenseComments"] = f"/usr/share/doc/{name}/copyright"
    if fields["Homepage"]:
        found["homepage"] = fields["Homepage"]
    return found


def protos_entry(source_dir):
    """The google/rpc messages, whose generated code is linked in."""
    text = (source_dir / ".dev/googleapis.txt").read_text()
    name, version = re.search(r"^([\w-]+)==([\w.]+)", text, re.M).groups()
    return entry(identifier("pypi", name), name, version, "Apache-2.0",
                 purl("pypi", name, version))


def lossd_version(source_dir):
    text = (source_dir / "CMakeLists.txt").read_text()
    return re.search(r"project\(lossd VERSION ([\d.]+)", text).group(1)


def created():
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    utc = datetime.timezone.utc
    moment = (datetime.datetime.fromtimestamp(int(epoch), utc) if epoch
              else datetime.datetime.now(utc))
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def document(shipped, compiled_in, source_dir):
    """The document's text.

    `shipped` are the Debian packages whose files are in the image,
    `compiled_in` those that only their headers reached it from.
    """
    version = lossd_version(source_dir)
    own = entry("SPDXRef-lossd", "lossd", version, "Apache-2.0")
    own["primaryPackagePurpose"] = "APPLICATION"
    dynamic = [debian_entry(package) for package in sorted(shipped)]
    static = [debian_entry(package) for package in sorted(compiled_in)]
    static.append(protos_entry(source_dir))
    packages = [own, *dynamic, *static]

    def relation(first, kind, second):
        return {"spdxElementId": first, "relationshipType": kind,
                "relatedSpdxElement": second}

    relations = [relation("SPDXRef-DOCUMENT", "DESCRIBES", own["SPDXID"])]
    relations += [relation(own["SPDXID"], "DEPENDS_ON", found["SPDXID"])
                  for found in dynamic]
    relations += [relation(found["SPDXID"], "BUILD_DEPENDENCY_OF",
                           own["SPDXID"]) for found in static]
    content = json.dumps(packages, sort_keys=True)
    return json.dumps({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"lossd-{version}",
        "documentNamespace": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",
        "creationInfo": {"created": created(),
                         "creators": ["Tool: lossd-docker-sbom"]},
        "packages": packages,
        "relationships": relations,
    }, indent=1) + "\n"
