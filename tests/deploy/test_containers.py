"""What compose, Docker, Kubernetes, Prometheus and Grafana say of the files in ``deploy/``."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import find_program
from tests.processes import BIN, ROOT, clean_environment, run, run_manage

from .documents import DEPLOY, list_files, read_all_yaml, read_yaml

MONITORING = ROOT / "metrics_commands" / "monitoring"
UID = 10001
SHOP = ("migrate", "web", "exporter")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COPIED = re.findall(r"^COPY (?!--from)(\S+) \S+$", DOCKERFILE, re.MULTILINE)
# A name that ends in this, and a value in the same line; not a reference to where it is kept.
SECRET = re.compile(r"(?i)(?:password|secret_key|token)\"?\s*[:=]\s*(?!\$\{\w+:-\}|…|false)\w\S*")


@pytest.fixture
def services() -> dict[str, Any]:
    """Return the services of the compose file."""
    found: dict[str, Any] = read_yaml("compose.yaml")["services"]
    return found


@pytest.fixture
def pod() -> dict[str, Any]:
    """Return the pod that Kubernetes makes."""
    found: dict[str, Any] = read_all_yaml("kubernetes/shop.yaml")[0]["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize(
    "command",
    [
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"),
        ("kubernetes-validate", "--strict", "--quiet", DEPLOY / "kubernetes" / "shop.yaml"),
        ("hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile"),
    ],
    ids=lambda command: command[0],
)
def test_files_fit_their_schemas(command: tuple[str | Path, ...], tmp_path: Path) -> None:
    """Compose, Kubernetes and Docker understand each key."""
    done = run([BIN / command[0], *command[1:]], clean_environment(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_checkports_finds_nothing_wrong_in_the_compose_file(environment: dict[str, str]) -> None:
    """No port is wanted twice, and web and exporter share their directory."""
    chosen = environment | {"COMPOSE_FILE": "deploy/compose.yaml"}
    done = run_manage(chosen, "checkports", "--json", "--fail-level", "WARNING")
    answer = json.loads(done.stdout)
    read = {each["network"] for each in answer["neighbours"]}
    assert "web" in read, "the file was not read"
    assert done.returncode == 0, answer["findings"]


def test_images_are_named_exactly_and_files_keep_no_secret(services: dict[str, Any]) -> None:
    """No image changes under its name, and whoever reads the repository learns no password."""
    images = [each["image"] for each in services.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    images += re.findall(r"image: (\S+)", (DEPLOY / "kubernetes" / "shop.yaml").read_text())
    assert all(re.search(r":v?\d+(\.\d+)*(-[\w.-]+)?$", each) for each in images), images
    assert [SECRET.findall(each.read_text()) for each in list_files()] == [[]] * len(list_files())


@pytest.mark.parametrize("name", ["migrate", "web", "exporter", "prometheus", "grafana"])
def test_compose_confines_each_service(services: dict[str, Any], name: str) -> None:
    """No container has root, a capability, or a file system to write on; none is published wide."""
    service = services[name]
    assert int(service["user"].split(":")[0]) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(each.startswith("127.0.0.1:") for each in service.get("ports", []))


def test_compose_gives_the_shop_one_user_one_image_and_one_directory(
    services: dict[str, Any],
) -> None:
    """The exporter can judge the workers' files, and reads where they write."""
    for key in ("user", "image", "build"):
        assert len({json.dumps(services[each][key]) for each in SHOP}) == 1
    user = services["web"]["user"].split(":")[0]
    for each in SHOP:
        directory = services[each]["environment"]["PROMETHEUS_MULTIPROC_DIR"]
        assert f"metrics:{directory}" in services[each]["volumes"]
    options = read_yaml("compose.yaml")["volumes"]["metrics"]["driver_opts"]
    assert options["type"] == "tmpfs"
    assert {f"uid={user}", "mode=0700"} <= set(options["o"].split(","))
    assert f"USER {user}:{user}\n" in DOCKERFILE
    assert "exporter" not in services["web"]["depends_on"]


def test_compose_mounts_what_is_there(services: dict[str, Any]) -> None:
    """Each path of the repository that a service mounts exists, and each volume is declared."""
    volumes = read_yaml("compose.yaml")["volumes"]
    for service in services.values():
        for source in (each.split(":")[0] for each in service.get("volumes", [])):
            found = (DEPLOY / source).exists() if source.startswith(".") else source in volumes
            assert found, source


def test_the_target_is_written_where_prometheus_looks(services: dict[str, Any]) -> None:
    """The exporter's file lies in the volume that Prometheus reads, under the name that it asks."""
    options = dict(
        each.split("=", 1) for each in services["exporter"]["command"] if each.startswith("--")
    )
    mounted = dict(each.split(":")[:2] for each in services["exporter"]["volumes"])
    folder, name = os.path.split(options["--sd-file"])
    assert mounted["targets"] == folder
    assert options["--advertise"] == f"exporter:{options['--port']}"
    seen = dict(each.split(":")[:2] for each in services["prometheus"]["volumes"])
    (job, _) = read_yaml("prometheus/prometheus.yml")["scrape_configs"]
    (pattern,) = job["file_sd_configs"][0]["files"]
    found = Path(seen["targets"], name)
    assert found.match(str(Path("/etc/prometheus", pattern)))
    assert set(services["exporter"]["networks"]) & set(services["prometheus"]["networks"])


def test_the_container_has_all_that_a_line_of_it_needs() -> None:
    """The image is built from what is sent to the builder, and from files that are there."""
    sent = re.findall(r"^!(\S+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert set(COPIED) == set(sent)
    assert all((ROOT / each).exists() for each in COPIED)


def test_the_image_starts_the_shop_as_its_user(environment: dict[str, str], tmp_path: Path) -> None:
    """What the Dockerfile copies is enough to run the commands of the shop."""
    (tmp_path / "app").mkdir()
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / "app" / name)
    done = run([BIN / "python", "manage.py", "check"], environment, cwd=tmp_path / "app")
    assert done.returncode == 0, done.stderr


def test_kubernetes_runs_all_containers_as_one_confined_user(pod: dict[str, Any]) -> None:
    """The exporter can judge the workers' files; none is root or may become it."""
    assert pod["securityContext"]["runAsUser"] == UID
    assert pod["securityContext"]["runAsNonRoot"] is True
    for each in (*pod["initContainers"], *pod["containers"]):
        confined = each["securityContext"]
        assert confined["readOnlyRootFilesystem"] is True
        assert confined["allowPrivilegeEscalation"] is False
        assert confined["capabilities"] == {"drop": ["ALL"]}
        assert "runAsUser" not in confined


def test_kubernetes_gives_all_containers_one_directory(pod: dict[str, Any]) -> None:
    """The exporter reads where web server and commands write, in memory."""
    (metrics,) = (each for each in pod["volumes"] if each["name"] == "metrics")
    assert metrics["emptyDir"]["medium"] == "Memory"
    for each in (*pod["initContainers"], *pod["containers"]):
        variables = {variable["name"]: variable.get("value") for variable in each["env"]}
        mounted = {mount["name"]: mount["mountPath"] for mount in each["volumeMounts"]}
        assert mounted["metrics"] == variables["PROMETHEUS_MULTIPROC_DIR"]


def test_the_pod_monitor_and_the_probes_ask_the_exporter(pod: dict[str, Any]) -> None:
    """They name its port and its paths, and the labels of its pod."""
    (monitor,) = read_all_yaml("kubernetes/podmonitor.yaml")
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert set(monitor["spec"]) == {"selector", "jobLabel", "podMetricsEndpoints"}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert set(endpoint) == {"port", "path", "interval", "scrapeTimeout"}
    deployment, service = read_all_yaml("kubernetes/shop.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for chosen in (monitor["spec"]["selector"]["matchLabels"], service["spec"]["selector"]):
        assert chosen.items() <= labels.items()
    assert monitor["spec"]["jobLabel"] in labels
    (sidecar,) = (each for each in pod["initContainers"] if each.get("restartPolicy") == "Always")
    (port,) = sidecar["ports"]
    assert endpoint["port"] == port["name"]
    assert f"--port={port['containerPort']}" in sidecar["args"]
    assert endpoint["path"] == "/metrics"
    probe = sidecar["livenessProbe"]["httpGet"]
    assert (probe["path"], set(probe)) == ("/-/healthy", {"path", "port"})
    assert "readinessProbe" not in sidecar


def test_promtool_accepts_configuration_and_rules(services: dict[str, Any], tmp_path: Path) -> None:
    """Prometheus starts with the files as compose mounts them."""
    promtool = find_program("promtool", "prometheus")
    (tmp_path / "targets").mkdir()
    target = [{"targets": ["exporter:8001"], "labels": {"project": "project"}}]
    (tmp_path / "targets" / "shop.json").write_text(json.dumps(target))
    for volume in services["prometheus"]["volumes"]:
        source, inside = volume.split(":")[:2]
        if source.startswith("."):
            os.symlink(DEPLOY / source, tmp_path / Path(inside).name)
    done = run([promtool, "check", "config", tmp_path / "prometheus.yml"], dict(os.environ))
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "WARNING" not in said
    assert said.count("rules found") == len(list((MONITORING / "rules").glob("*.yml")))


def test_grafana_finds_prometheus_and_the_dashboards(services: dict[str, Any]) -> None:
    """What is provisioned is mounted, and the page that opens first is one of the dashboards."""
    mounted = {
        inside: DEPLOY / source
        for source, inside in (each.split(":")[:2] for each in services["grafana"]["volumes"])
    }
    provisioning = mounted["/etc/grafana/provisioning"]
    assert {each.name for each in provisioning.iterdir()} == {"datasources", "dashboards"}
    (provider,) = read_yaml("grafana/provisioning/dashboards/django.yaml")["providers"]
    folder = provider["options"]["path"]
    assert mounted[folder].resolve() == MONITORING / "dashboards"
    first = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(first.parent) == folder
    assert (mounted[folder] / first.name).exists()
    (source,) = read_yaml("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    interval = read_yaml("prometheus/prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval
