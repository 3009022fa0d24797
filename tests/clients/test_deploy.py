"""deploy/: the pod's manifest and the Containerfile agree with Kubernetes, with each other and with the program."""

import copy
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from conftest import BOUND, PATIENCE, eventually, free_port

BINARY = os.environ.get("PROGRAM_UNDER_TEST", "target/debug/nearside")
DOCUMENTS = list(yaml.safe_load_all(Path("deploy/pod.yaml").read_text()))
SECRET, POD = DOCUMENTS
SPEC = POD["spec"]
[SIDECAR] = SPEC["initContainers"]
CONTAINERFILE = Path("deploy/Containerfile").read_text()
PROBES = Path("src/admin/probes.rs").read_text()
PACKAGE = tomllib.loads(Path("Cargo.toml").read_text())["package"]


def environment():
    """The sidecar's variables, secrets looked up."""
    found = {}
    for variable in SIDECAR["env"]:
        value = variable.get("value")
        if value is None:
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["name"] == SECRET["metadata"]["name"]
            value = SECRET["stringData"][reference["key"]]
        found[variable["name"]] = value
    return found


def status(port, path):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE).status
    except urllib.error.HTTPError as error:
        return error.code


def seconds(duration):
    return int(re.fullmatch(r"(\d+)s", duration)[1])


# Native sidecars came with 1.29.
@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_kubernetes_takes_the_manifest(version):
    for document in DOCUMENTS:
        kubernetes_validate.validate(document, version, strict=True)


def test_a_misspelt_field_would_be_seen():
    wrong = copy.deepcopy(POD)
    wrong["spec"]["initContainers"][0]["restartPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.29", strict=True)


def test_the_pod_is_restricted():
    """As the restricted Pod Security Standard has it, and with a root file system that nobody writes to."""
    assert SPEC["securityContext"]["runAsNonRoot"] is True
    assert SPEC["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [SIDECAR, *SPEC["containers"]]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_nearside_is_a_sidecar_that_only_its_pod_and_the_kubelet_reach():
    given = environment()
    assert SIDECAR["restartPolicy"] == "Always"
    host, port = given["NEARSIDE_LISTEN"].split(":")
    assert host == "127.0.0.1"
    [url] = [each["value"] for each in SPEC["containers"][0]["env"] if each["name"] == "REDIS_URL"]
    assert url == f"redis://{host}:{port}"
    assert given["NEARSIDE_HTTP"].startswith("127.0.0.1:")
    assert SIDECAR["ports"] == [{"name": "metrics", "containerPort": 9481}]
    assert given["NEARSIDE_METRICS_LISTEN"] == "0.0.0.0:9481"
    assert POD["metadata"]["annotations"]["prometheus.io/port"] == "9481"


def test_the_pods_end_leaves_time_for_the_application_and_for_the_drain():
    given = environment()
    # An application that ends with the pod is served until it has.
    assert given["NEARSIDE_DRAIN"] == "wait-clients"
    assert SPEC["terminationGracePeriodSeconds"] >= 2 * seconds(given["NEARSIDE_DRAIN_TIMEOUT"])


def test_a_probe_waits_for_what_it_is_told():
    [patience] = re.findall(r"^const PATIENCE: Duration = Duration::from_secs\((\d+)\);$", PROBES, re.M)
    assert SIDECAR["livenessProbe"]["timeoutSeconds"] > int(patience)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert f'"{SIDECAR[probe]["httpGet"]["path"]}"' in PROBES


def test_the_program_takes_the_manifests_settings_and_answers_its_probes(tmp_path):
    given, port = environment(), free_port()
    given["NEARSIDE_LISTEN"] = "127.0.0.1:0"
    given["NEARSIDE_HTTP"] = "127.0.0.1:0"
    given["NEARSIDE_METRICS_LISTEN"] = f"127.0.0.1:{port}"
    # Nobody needs the upstream's name here.
    given["NEARSIDE_UPSTREAM"] = given["NEARSIDE_UPSTREAM"].replace("redis.default.svc:6379", "127.0.0.1:1")
    log = tmp_path / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen([*BOUND, BINARY, *SIDECAR["args"]], env=given, stderr=errors)
    try:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            get = SIDECAR[probe]["httpGet"]
            assert get["port"] == "metrics"
            address = f"http://127.0.0.1:{port}{get['path']}"
            assert process.poll() is None, log.read_text()
            assert eventually(lambda: urllib.request.urlopen(address, timeout=PATIENCE).status == 200, address)
        [client] = re.findall(r"listening on 127\.0\.0\.1:(\d+)", log.read_text())
        with socket.create_connection(("127.0.0.1", client), timeout=PATIENCE) as open_client:
            process.terminate()
            assert eventually(lambda: status(port, "/readiness") == 503, "readiness to be false")
            for probe in ("/startup", "/liveness"):
                assert status(port, probe) == 200
            open_client.sendall(b"PING\r\n")
            # There is no upstream: any answer will do.
            assert open_client.recv(100)
        assert process.wait(timeout=PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
    assert all(json.loads(line) for line in log.read_text().splitlines())


def test_a_variable_that_there_is_not_would_be_seen():
    ran = subprocess.run([BINARY], env=environment() | {"NEARSIDE_LISTENS": "x"}, capture_output=True, text=True)
    assert ran.returncode == 78 and "NEARSIDE_LISTENS" in ran.stderr


def test_the_image_is_what_the_pod_runs():
    stages = CONTAINERFILE.split("\nFROM ")
    assert stages[-1].startswith("scratch\n")
    [user] = re.findall(r"^USER (\d+):(\d+)$", stages[-1], re.M)
    assert user == (str(SPEC["securityContext"]["runAsUser"]), str(SPEC["securityContext"]["runAsGroup"]))
    [entry] = re.findall(r"^ENTRYPOINT (.*)$", stages[-1], re.M)
    assert json.loads(entry) == SIDECAR["command"]
    assert f"/image{SIDECAR['command'][0]}\n" in stages[1]
    assert SIDECAR["image"] == f"nearside:{PACKAGE['version']}"
    [ports] = re.findall(r"^EXPOSE (.*)$", stages[-1], re.M)
    given = environment()
    assert ports.split() == [given[each].split(":")[1] for each in ("NEARSIDE_LISTEN", "NEARSIDE_METRICS_LISTEN")]


def test_the_image_can_be_built_from_what_is_here():
    [rust] = re.findall(r"^ARG RUST=(.*)$", CONTAINERFILE, re.M)
    assert [int(part) for part in rust.split(".")] >= [int(part) for part in PACKAGE["rust-version"].split(".")]
    kept = re.findall(r"^!(.*)$", Path(".dockerignore").read_text(), re.M)
    copied = [name for line in re.findall(r"^COPY (?!--)(.*) \S+$", CONTAINERFILE, re.M) for name in line.split()]
    assert copied == kept and all(Path(name).exists() for name in kept)
    hadolint = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run([hadolint, "deploy/Containerfile"], capture_output=True, text=True)
    assert (linted.returncode, linted.stdout) == (0, "")
