#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Helm chart: what it renders, what it refuses, and that lossd accepts the
settings it writes. Exits with 77 where helm or the schemas are missing, unless
LOSSD_REQUIRE_TOOLS=1."""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

try:
    import kubernetes_validate
    import yaml
except ImportError:
    kubernetes_validate = yaml = None

# The oldest that the chart supports and the newest that has schemas.
KUBERNETES = ("1.27.0", "1.37.0")
CHANGED = {
    "replicaCount": 3,
    "image": {"repository": "example.org/team/lossd", "tag": "1.2.3",
              "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "fullnameOverride": "losses",
    "ports": {"grpc": 6000, "admin": 6001},
    "drain": {"delaySeconds": 7, "timeoutSeconds": 600, "marginSeconds": 20},
    "settings": {
        "threads": 4, "default-device": "cuda", "target": "AVX2",
        "cuda-memory-bytes": "2GiB", "cuda-batches-in-flight": 3,
        "log-level": "debug", "log-format": "text", "withhold-values": True,
        "max-message-bytes": 16777216, "max-response-bytes": "8MiB",
        "max-elements": 1073741824, "max-dimensions": 8,
        "max-operations": 1000000000000, "max-scratch-bytes": "64Mi",
        "max-deadline": "1m30s", "max-queue-requests": 100,
        "max-in-flight-bytes": "1GiB", "io-threads": 1, "max-idle-bytes": 0,
        "max-queue-bytes": "1GiB", "max-queue-operations": "1e13",
        "batch-workers": 2, "max-batch-requests": 32, "max-batch-rows": 1000,
        "max-batch-bytes": "1MB", "inline-operations": 0},
    "resources": {"requests": {"cpu": 2}, "limits": {"memory": "4Gi"}},
    "probes": {"startup": {"failureThreshold": 120}},
    "service": {"annotations": {"a": "b"}},
    "serviceAccount": {"name": "losses-account", "annotations": {"c": "d"}},
    "podAnnotations": {"e": "f"},
    "podLabels": {"team": "research"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "k", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 1, "podAffinityTerm": {
                "topologyKey": "kubernetes.io/hostname"}}]}},
}
# What the chart computes from values of its own, or has no use for.
NOT_IN_SETTINGS = {"listen", "admin-listen", "insecure", "drain-delay",
                   "drain-timeout", "instance", "port-file", "config",
                   "unix-socket-mode", "shared-memory-listen",
                   "max-shared-memory-bytes", "shared-memory-uids"}

chart = lossd = helm = None  # paths of this run


def run(*command):
    return subprocess.run([str(part) for part in command], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)


def template(values=None, kubernetes=KUBERNETES[-1]):
    """helm's outcome of rendering the chart with these values."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as stream:
        json.dump(values or {}, stream)
        stream.flush()
        return run(helm, "template", "release", chart, "--namespace", "ns",
                   "--kube-version", kubernetes, "--values", stream.name)


def render(values=None, kubernetes=KUBERNETES[-1]):
    """The rendered objects by their kind."""
    outcome = template(values, kubernetes)
    if outcome.returncode != 0:
        raise AssertionError(outcome.stderr)
    documents = [d for d in yaml.safe_load_all(outcome.stdout) if d]
    found = {document["kind"]: document for document in documents}
    assert len(found) == len(documents), "two objects of one kind"
    return found


def pod(values=None):
    return render(values)["Deployment"]["spec"]["template"]


def config(values=None):
    return render(values)["ConfigMap"]["data"]["lossd.conf"]


def config_values(text):
    return {name: value.strip('"') for name, value in
            (line.split(" = ") for line in text.splitlines())}


class Rendering(unittest.TestCase):

    def test_helm_finds_nothing_to_complain_about(self):
        outcome = run(helm, "lint", "--strict", chart)
        self.assertEqual(outcome.returncode, 0, outcome.stdout + outcome.stderr)

    def test_the_objects_satisfy_kubernetes_oldest_and_newest_schemas(self):
        for kubernetes in KUBERNETES:
            for values in ({}, CHANGED):
                objects = render(values, kubernetes)
                self.assertEqual(set(objects), {"ConfigMap", "Deployment",
                                                "Service", "ServiceAccount"})
                for document in objects.values():
                    kubernetes_validate.validate(document, kubernetes,
                                                 strict=True)

    def test_every_value_is_changed_in_some_test(self):
        defaults = yaml.safe_load((chart / "values.yaml").read_text())
        self.assertEqual(set(defaults) - set(CHANGED),
                         {"insecure", "nameOverride"})
        before, after = render(), render(CHANGED)
        for kind, document in before.items():
            self.assertNotEqual(document, after[kind])

    def test_changed_values_arrive(self):
        objects = render(CHANGED)
        spec = objects["Deployment"]["spec"]
        inner = spec["template"]["spec"]
        self.assertEqual(spec["replicas"], 3)
        self.assertEqual(inner["containers"][0]["image"],
                         "example.org/team/lossd:1.2.3")
        self.assertEqual(inner["serviceAccountName"], "losses-account")
        self.assertEqual(inner["imagePullSecrets"], [{"name": "registry"}])
        for name in ("nodeSelector", "tolerations", "affinity"):
            self.assertEqual(inner[name], CHANGED[name])
        metadata = spec["template"]["metadata"]
        self.assertEqual(metadata["labels"]["team"], "research")
        self.assertEqual(metadata["annotations"]["e"], "f")
        self.assertEqual([p["port"] for p in objects["Service"]["spec"]
                          ["ports"]], [6000, 6001])
        self.assertEqual(render({"nameOverride": "other"})["Service"]
                         ["metadata"]["name"], "release-other")

    def test_a_digest_is_preferred_to_the_tag(self):
        digest = "sha256:" + 64 * "a"
        image = pod({"image": {"digest": digest}})["spec"]["containers"][0]
        self.assertEqual(image["image"], f"lossd@{digest}")

    def test_no_account_is_made_where_none_is_wanted(self):
        objects = render({"serviceAccount": {"create": False}})
        self.assertNotIn("ServiceAccount", objects)
        self.assertEqual(objects["Deployment"]["spec"]["template"]["spec"]
                         ["serviceAccountName"], "default")


class Pods(unittest.TestCase):

    def test_the_probes_are_plain_http_on_the_admin_port(self):
        container = pod()["spec"]["containers"][0]
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        self.assertEqual(ports, {"grpc": 50051, "admin": 9464})
        for probe, path in (("startupProbe", "/readyz"),
                            ("livenessProbe", "/livez"),
                            ("readinessProbe", "/readyz")):
            self.assertEqual(container[probe]["httpGet"],
                             {"path": path, "port": "admin"})

    def test_the_pod_has_no_privilege(self):
        spec = pod()["spec"]
        self.assertEqual(spec["securityContext"], {
            "runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"}})
        self.assertEqual(spec["containers"][0]["securityContext"], {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]}})
        self.assertIs(spec["automountServiceAccountToken"], False)

    def test_the_user_is_the_images(self):
        dockerfile = (chart.parents[2] / "docker/Dockerfile").read_text()
        user = re.search(r"^USER (\d+):(\d+)$", dockerfile, re.M).groups()
        context = pod()["spec"]["securityContext"]
        self.assertEqual(tuple(map(int, user)),
                         (context["runAsUser"], context["runAsGroup"]))

    def test_the_grace_period_is_longer_than_the_drain(self):
        for values, expected in (({}, 45), (CHANGED, 627)):
            grace = pod(values)["spec"]["terminationGracePeriodSeconds"]
            written = config_values(config(values))
            drain = sum(int(written[name].removesuffix("s"))
                        for name in ("drain-delay", "drain-timeout"))
            self.assertEqual(grace, expected)
            self.assertGreater(grace, drain)

    def test_changed_settings_roll_the_pods_and_others_do_not(self):
        def checksum(values):
            return pod(values)["metadata"]["annotations"]["checksum/config"]
        self.assertEqual(checksum({}), checksum({"replicaCount": 5}))
        self.assertNotEqual(checksum({}), checksum({"settings": {"threads": 3}}))

    def test_lossd_reads_the_file_that_is_mounted(self):
        objects = render()
        container = pod()["spec"]["containers"][0]
        mount = container["volumeMounts"][0]
        self.assertEqual(container["args"],
                         ["--config", f"{mount['mountPath']}/lossd.conf"])
        volume = pod()["spec"]["volumes"][0]
        self.assertEqual(volume["name"], mount["name"])
        self.assertEqual(volume["configMap"]["name"],
                         objects["ConfigMap"]["metadata"]["name"])


class Services(unittest.TestCase):

    def test_the_service_is_headless_and_speaks_grpc(self):
        spec = render()["Service"]["spec"]
        self.assertEqual(spec["clusterIP"], "None")
        ports = {p["name"]: p for p in spec["ports"]}
        self.assertEqual(ports["grpc"]["appProtocol"], "kubernetes.io/h2c")
        self.assertEqual(ports["admin"]["port"], 9464)

    def test_the_service_selects_the_pods_and_the_deployment_owns_them(self):
        objects = render(CHANGED)
        spec = objects["Deployment"]["spec"]
        labels = spec["template"]["metadata"]["labels"].items()
        self.assertLessEqual(spec["selector"]["matchLabels"].items(), labels)
        self.assertLessEqual(objects["Service"]["spec"]["selector"].items(),
                             labels)


class Schema(unittest.TestCase):

    def check_refused(self, values, word):
        outcome = template(values)
        self.assertNotEqual(outcome.returncode, 0, values)
        self.assertIn(word, outcome.stderr)

    def test_unknown_names_are_refused_at_every_depth(self):
        self.check_refused({"replicas": 2}, "replicas")
        self.check_refused({"drain": {"delay": 1}}, "delay")
        self.check_refused({"settings": {"max-mesage-bytes": 1}},
                           "max-mesage-bytes")
        self.check_refused({"probes": {"liveness": {"httpGet": {}}}}, "httpGet")
        self.check_refused({"image": {"name": "x"}}, "name")

    def test_wrong_types_are_refused(self):
        self.check_refused({"replicaCount": "2"}, "replicaCount")
        self.check_refused({"insecure": "yes"}, "insecure")
        self.check_refused({"settings": {"threads": "four"}}, "threads")
        self.check_refused({"podLabels": {"a": 1}}, "podLabels")

    def test_values_out_of_range_are_refused(self):
        self.check_refused({"drain": {"marginSeconds": 0}}, "marginSeconds")
        self.check_refused({"ports": {"grpc": 80}}, "grpc")
        self.check_refused({"settings": {"log-level": "loud"}}, "log-level")
        self.check_refused({"settings": {"max-deadline": "5 s"}}, "max-deadline")
        self.check_refused({"image": {"digest": "sha256:1"}}, "digest")

    def test_a_pod_that_could_not_listen_is_refused(self):
        self.check_refused({"insecure": False}, "encryption")

    def test_a_value_cannot_add_a_line_to_the_settings(self):
        self.check_refused({"settings": {"target": 'x"\ninsecure = true'}},
                           "target")

    def test_settings_that_the_chart_computes_have_one_place(self):
        for name in sorted(NOT_IN_SETTINGS):
            self.check_refused({"settings": {name: "x"}}, name)


class Settings(unittest.TestCase):
    """The chart and the lossd that was built agree on the settings."""

    def setUp(self):
        if not lossd.exists():
            if os.environ.get("LOSSD_REQUIRE_TOOLS") == "1":
                self.fail(f"{lossd.name} is not built")
            self.skipTest(f"{lossd.name} is not built")

    def effective(self, *arguments):
        """What lossd would run with: the settings it prints, by name."""
        environment = {"PATH": os.environ["PATH"]}
        outcome = subprocess.run(
            [lossd, "--print-config", *arguments], text=True, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        return dict(re.findall(r"^([a-z-]+)\s*=\s*(.*?)\s*(?:#.*)?$",
                               outcome.stdout, re.M))

    def test_lossd_accepts_what_the_chart_writes(self):
        for values in ({}, CHANGED):
            text = config(values)
            with tempfile.NamedTemporaryFile("w") as stream:
                stream.write(text)
                stream.flush()
                effective = self.effective("--config", stream.name)
            written = config_values(text)
            self.assertLessEqual(set(written), set(effective))
            for name in ("listen", "log-format", "insecure"):
                self.assertEqual(effective[name].strip('"'), written[name])

    def test_the_charts_drain_is_lossds_own_unless_changed(self):
        written, effective = config_values(config()), self.effective()
        for name in ("drain-delay", "drain-timeout"):
            self.assertEqual(effective[name].strip('"'), written[name])

    def test_the_schema_knows_exactly_lossds_settings(self):
        schema = json.loads((chart / "values.schema.json").read_text())
        known = set(schema["properties"]["settings"]["properties"])
        listed = set(re.findall(r"^\s*--([a-z-]+)", run(lossd, "--help").stdout,
                                re.M)) - {"help", "version", "print-config"}
        self.assertEqual(known, listed - NOT_IN_SETTINGS)
        self.assertEqual(set(CHANGED["settings"]), known)


def main():
    global chart, lossd, helm
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source-dir", type=pathlib.Path, required=True)
    parser.add_argument("--lossd", type=pathlib.Path, required=True)
    arguments, rest = parser.parse_known_args()
    source_dir = arguments.source_dir.resolve()
    python = source_dir / ".deps/venv/bin/python"
    if yaml is None and python.exists() and \
            pathlib.Path(sys.prefix) != python.parents[1]:
        os.execv(python, [str(python), *sys.argv])
    chart, lossd = source_dir / "deploy/helm/lossd", arguments.lossd.resolve()
    helm = shutil.which("helm", path=f"{source_dir / '.deps/bin'}:"
                        f"{os.environ['PATH']}")
    if yaml is None or helm is None:
        what = "kubernetes-validate" if yaml is None else "helm"
        print(f"not run: {what} is not installed (./dev deps test)")
        sys.exit(1 if os.environ.get("LOSSD_REQUIRE_TOOLS") == "1" else 77)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
