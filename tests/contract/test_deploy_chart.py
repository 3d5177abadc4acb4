"""The Helm chart: rendered by Helm, held to Kubernetes' schemas and to the program.

Helm's own library renders and lints; there is no cluster. ServiceMonitor is not
Kubernetes' own and is looked at by hand.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

import kubernetes_validate
import pytest
from tests.support.cases import each
from tests.support.deployment import (
    DEPLOY,
    check_command,
    check_environment,
    documents,
    stop_seconds,
)

from posthouse import __version__
from posthouse.settings.environment import all_settings

pytestmark = pytest.mark.skipif(
    find_spec("helm_python") is None, reason="Helm's library is not built for this"
)

CHART = DEPLOY / "helm" / "posthouse"
VERSIONS = ("1.28", "1.32", "1.36")
SECRET = {"existingSecret": "made-by-me"}
SQLITE = {
    **SECRET,
    "replicaCount": 1,
    "secretKeys": {"database": "", "coordination": ""},
}
FULL = {
    **SECRET,
    "nameOverride": "n" * 60,
    "imagePullSecrets": [{"name": "registry"}],
    "settings": {"max_attempts": "2", "durability": "power"},
    "env": [{"name": "OPENAI_API_KEY", "value": "x"}],
    "envFrom": [{"secretRef": {"name": "providers"}}],
    "autoscaling": {"enabled": True},
    "podDisruptionBudget": {"maxUnavailable": "25%"},
    "networkPolicy": {
        "enabled": True,
        "from": [{"namespaceSelector": {}}],
        "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "service": {"annotations": {"a": "b"}},
    "serviceAccount": {"annotations": {"a": "b"}},
    "persistence": {"storageClass": "fast"},
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "priorityClassName": "high",
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "k", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}
CASES = {
    "least": SECRET,
    "sqlite": SQLITE,
    "full": FULL,
    "own-config": {**SECRET, "existingConfigMap": "mine", "config": ""},
    "bare": {
        **SECRET,
        "serviceAccount": {"create": False},
        "migration": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "topologySpread": [],
    },
}
every_case = each("case", CASES)


@cache
def chart() -> Any:
    from helm_python.chart import Chart

    return Chart.load(CHART)


def render(values: Mapping[str, Any], name: str = "relay") -> list[dict[str, Any]]:
    """Give the objects that Helm makes."""
    found = chart().render(dict(values), name=name, namespace="apart", is_install=True)
    return [
        document
        for path, text in found.items()
        if path.endswith(".yaml")
        for document in documents(text)
    ]


def one(objects: list[dict[str, Any]], kind: str, ending: str = "") -> dict[str, Any]:
    [found] = [
        item
        for item in objects
        if item["kind"] == kind and item["metadata"]["name"].endswith(ending)
    ]
    return found


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give what the pods are made by."""
    for item in objects:
        if item["kind"] in {"StatefulSet", "Job"}:
            yield item["spec"]["template"]["spec"]


def environment(container: dict[str, Any]) -> dict[str, str | None]:
    """Give its variables that are ours; None where Kubernetes fills it in."""
    return {
        item["name"]: item.get("value")
        for item in container["env"]
        if item["name"].startswith("POSTHOUSE_")
    }


@every_case
def test_helm_finds_nothing_wrong(case):
    from helm_python.chart import lint

    report = lint(CHART, CASES[case], strict=True)
    assert report["errors"] == []
    # An icon is recommended: there is none.
    assert {item["severity"] for item in report["messages"]} <= {1}


@every_case
@each("version", VERSIONS)
def test_every_object_is_one_of_kubernetes(case, version):
    for item in render(CASES[case]):
        if item["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(item, version, strict=True)
    broken = one(render(SECRET), "StatefulSet")
    broken["spec"]["template"]["spec"]["imago"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


@every_case
def test_names_and_labels_are_short_enough_and_objects_differ(case):
    """Whatever the release is called."""
    for name in ("r", "r" * 53):
        objects = render(CASES[case], name)
        names = [(item["kind"], item["metadata"]["name"]) for item in objects]
        assert len(set(names)) == len(names)
        for item in objects:
            assert len(item["metadata"]["name"]) <= 63 - len("-10")
            for value in item["metadata"]["labels"].values():
                assert re.fullmatch(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", value)


@every_case
def test_pods_keep_to_the_restricted_standard(case):
    """Of Kubernetes' pod security standards; and nothing to write but volumes."""
    for pod in pods(render(CASES[case])):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        for volume in pod["volumes"]:
            assert len(volume.keys() & {"emptyDir", "configMap", "secret"}) == 1
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
            assert container["resources"].keys() == {"requests", "limits"}


@every_case
def test_the_program_understands_what_it_is_told(case):
    for pod in pods(render(CASES[case])):
        # Otherwise POSTHOUSE_PORT would be a Service's.
        assert pod["enableServiceLinks"] is False
        [container] = pod["containers"]
        told = environment(container)
        check_environment(told)
        check_command(container["args"])
        names = [item["name"] for item in container["env"]]
        assert len(set(names)) == len(names)


@every_case
def test_secrets_are_files_that_are_mounted(case):
    for pod in pods(render(CASES[case])):
        [container] = pod["containers"]
        [volume] = [item for item in pod["volumes"] if "secret" in item]
        [mount] = [m for m in container["volumeMounts"] if m["name"] == volume["name"]]
        assert volume["secret"]["secretName"] == "made-by-me"
        there = {f"{mount['mountPath']}/{i['path']}" for i in volume["secret"]["items"]}
        told = environment(container)
        named = {
            value.removeprefix("file:")
            for value in told.values()
            if value and value.startswith("file:")
        }
        assert named <= there
        secret_ones = {
            "POSTHOUSE_SECRET",
            "POSTHOUSE_DATABASE",
            "POSTHOUSE_COORDINATION",
        }
        for name in secret_ones & told.keys():
            assert str(told[name]).startswith("file:")
        mounted = {item["name"] for item in container["volumeMounts"]}
        assert {item["name"] for item in pod["volumes"]} <= mounted


def test_a_pods_journals_outlive_it():
    """They are in a claim of its own, which nothing deletes by itself."""
    spec = one(render(SECRET), "StatefulSet")["spec"]
    [claim] = spec["volumeClaimTemplates"]
    [container] = spec["template"]["spec"]["containers"]
    mounts = {item["name"]: item["mountPath"] for item in container["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] == environment(container)["POSTHOUSE_DATA"]
    assert set(spec["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    assert spec["template"]["spec"]["securityContext"]["fsGroup"] > 0


@each("seconds", [1, 120, 3600])
def test_a_pod_is_given_the_time_that_a_stop_takes(seconds):
    spec = one(render({**SECRET, "drain": {"seconds": seconds}}), "StatefulSet")["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    needed = stop_seconds(environment(container))
    assert needed > seconds
    assert pod["terminationGracePeriodSeconds"] >= needed
    # SIGTERM is told of at once: calls are still taken for as long as it takes
    # load balancers to notice, and no hook must wait for them.
    assert "lifecycle" not in container


def test_probes_ask_what_is_there():
    [container] = one(render(SECRET), "StatefulSet")["spec"]["template"]["spec"][
        "containers"
    ]
    [port] = container["ports"]
    routes = (DEPLOY.parent / "docs/reference/routes.md").read_text()
    for name, path in {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }.items():
        asked = container[name]["httpGet"]
        assert asked == {"path": path, "port": port["name"]}
        assert f"`{path}`" in routes
    assert environment(container)["POSTHOUSE_PORT"] == str(port["containerPort"])
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 300


@every_case
def test_everything_selects_the_serving_pods_and_no_others(case):
    objects = render(CASES[case])
    serving = one(objects, "StatefulSet")["spec"]
    labels = serving["template"]["metadata"]["labels"]
    selectors = [serving["selector"]["matchLabels"]]
    for item in objects:
        if item["kind"] == "Service":
            selectors.append(item["spec"]["selector"])
        elif item["kind"] == "PodDisruptionBudget":
            selectors.append(item["spec"]["selector"]["matchLabels"])
        elif item["kind"] == "NetworkPolicy":
            selectors.append(item["spec"]["podSelector"]["matchLabels"])
    jobs = [item for item in objects if item["kind"] == "Job"]
    for selector in selectors:
        assert selector.items() <= labels.items()
        for job in jobs:
            others = job["spec"]["template"]["metadata"]["labels"]
            assert not selector.items() <= others.items()
    headless = one(objects, "Service", "-pods")
    assert serving["serviceName"] == headless["metadata"]["name"]
    assert headless["spec"]["clusterIP"] == "None"


def test_the_schema_is_migrated_before_an_upgrade():
    job = one(render(SECRET), "Job")
    notes = job["metadata"]["annotations"]
    assert notes["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "before-hook-creation" in notes["helm.sh/hook-delete-policy"]
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["migrate"]
    # Before an installation only what was there before can be named.
    assert "serviceAccountName" not in job["spec"]["template"]["spec"]
    assert not any("configMap" in v for v in job["spec"]["template"]["spec"]["volumes"])


def test_sqlite_is_for_one_pod():
    objects = render(SQLITE)
    kinds = {item["kind"] for item in objects}
    assert not kinds & {"Job", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    serving = one(objects, "StatefulSet")["spec"]
    assert serving["replicas"] == 1
    [container] = serving["template"]["spec"]["containers"]
    told = environment(container)
    assert not told.keys() & {"POSTHOUSE_DATABASE", "POSTHOUSE_COORDINATION"}


def test_the_autoscaler_has_the_replicas_to_itself():
    objects = render(FULL)
    assert "replicas" not in one(objects, "StatefulSet")["spec"]
    spec = one(objects, "HorizontalPodAutoscaler")["spec"]
    assert spec["scaleTargetRef"]["kind"] == "StatefulSet"
    name = one(objects, "StatefulSet")["metadata"]["name"]
    assert spec["scaleTargetRef"]["name"] == name
    assert spec["minReplicas"] <= spec["maxReplicas"]


def test_prometheus_finds_each_pod_once():
    objects = render(FULL)
    monitor = one(objects, "ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    wanted = monitor["spec"]["selector"]["matchLabels"]
    found = [
        item
        for item in objects
        if item["kind"] == "Service"
        and wanted.items() <= item["metadata"]["labels"].items()
    ]
    [service] = found
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"


def test_pods_are_replaced_when_the_configuration_changes():
    def mark(config: str) -> str:
        template = one(render({**SECRET, "config": config}), "StatefulSet")
        notes = template["spec"]["template"]["metadata"]["annotations"]
        return str(notes["checksum/config"])

    assert mark("a = 1") == mark("a = 1") != mark("a = 2")
    held = one(render({**SECRET, "config": "a = 1\n\n[b]\n"}), "ConfigMap")
    assert held["data"] == {"posthouse.toml": "a = 1\n\n[b]\n"}


@each(
    ("values", "reason"),
    [
        ({}, "existingSecret is needed"),
        ({**SECRET, "secretKeys": {"secret": ""}}, "secretKeys.secret is needed"),
        ({**SQLITE, "replicaCount": 2}, "SQLite is for one pod"),
        ({**SQLITE, "autoscaling": {"enabled": True}}, "SQLite is for one pod"),
        (
            {**SECRET, "autoscaling": {"enabled": True, "maxReplicas": 1}},
            "less than replicaCount",
        ),
        ({**SECRET, "replicas": 3}, "additional properties 'replicas'"),
        ({**SECRET, "settings": {"max_attempts": 2}}, "want string"),
        ({**SECRET, "settings": {"secret": "x"}}, "invalid propertyName 'secret'"),
        ({**SECRET, "workers": 0}, "workers"),
        ({**SECRET, "persistence": {"accessModes": ["ReadWriteMany"]}}, "accessModes"),
    ],
)
def test_what_could_not_work_is_refused(values, reason):
    from helm_python.errors import HelmError

    with pytest.raises(HelmError, match=re.escape(reason)):
        render(values)


def test_settings_of_the_chart_are_not_set_twice():
    """What it sets itself cannot be among `settings`."""
    schema = chart().schema
    refused = schema["properties"]["settings"]["propertyNames"]["not"]["enum"]
    [container] = one(render(SECRET), "StatefulSet")["spec"]["template"]["spec"][
        "containers"
    ]
    own = {name.removeprefix("POSTHOUSE_").lower() for name in environment(container)}
    assert set(refused) == own
    assert own <= all_settings().keys()


def test_the_chart_is_of_this_version():
    assert chart().metadata["appVersion"] == __version__
