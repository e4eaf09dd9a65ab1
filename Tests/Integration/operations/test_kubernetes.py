"""The examples for Kubernetes, one pod and several: their settings, probes, times and memory."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from support.api import TOKEN
from support.check import check_accepts, seconds, size
from support.net import eventually, free_port
from support.process import ROOT

FOLDER = ROOT / "examples/kubernetes"
ONE_POD, SEVERAL = FOLDER / "deployment.yaml", FOLDER / "cluster.yaml"


def read(path):
    """The documents of a manifest by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all(path.read_text())}


@pytest.fixture(scope="module", params=[ONE_POD, SEVERAL], ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture(scope="module")
def manifest(path):
    """The documents of the manifest by kind, its pod, and its containers by name."""
    documents = read(path)
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    return documents, pod, {one["name"]: one for one in pod["containers"]}


@pytest.fixture
def pod_settings(path, manifest, tmp_path):
    """The variables of Sidesocket's container as the kubelet would give them, secret files made to exist."""
    container = manifest[2]["sidesocket"]
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    # What the command at the top of the file puts into the secret.
    secrets = dict(re.findall(r'--from-literal=([\w-]+)="(.+)"', path.read_text()))
    variables = {}
    for one in container["env"]:
        value = one.get("value", "shop-7d9c-x2x4z")
        assert isinstance(value, str), f"{one['name']} is not a string, which the API server refuses"
        if one["name"].endswith("_FILE"):
            assert os.path.dirname(value) in mounts, f"nothing is mounted where {value} should be"
            name = os.path.basename(value)
            (tmp_path / name).write_text(secrets.pop(name).replace("$(openssl rand -hex 32)", f"{TOKEN}-{TOKEN}"))
            value = str(tmp_path / name)
        variables[one["name"]] = value
    assert secrets == {}, "nothing reads these"
    return variables


def test_every_setting_of_the_kubernetes_example_passes_check(pod_settings):
    known = check_accepts(pod_settings)
    assert known["SIDESOCKET_NODE_NAME"] == "shop-7d9c-x2x4z"


def test_without_a_cluster_the_kubernetes_example_runs_one_replica_and_says_why():
    documents = read(ONE_POD)
    assert documents["Deployment"]["spec"]["replicas"] == 1
    text = ONE_POD.read_text()
    assert "without CLUSTER_URL" in text[: text.index("replicas: 1")]
    # The second pod of an update is there only until the first has drained.
    assert documents["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def container(path, name):
    """A container of a manifest without its variables, and these by name."""
    (found,) = (
        one for one in read(path)["Deployment"]["spec"]["template"]["spec"]["containers"] if one["name"] == name
    )
    return found, {one["name"]: one for one in found.pop("env")}


def test_the_pods_of_a_cluster_are_nodes_and_stop_one_at_a_time():
    documents = read(SEVERAL)
    deployment = documents["Deployment"]["spec"]
    assert deployment["replicas"] > 1
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    budget = documents["PodDisruptionBudget"]["spec"]
    pod = deployment["template"]
    selectors = [one["labelSelector"] for one in pod["spec"]["topologySpreadConstraints"]]
    selectors += [budget.pop("selector"), deployment["selector"]]
    assert selectors == [{"matchLabels": pod["metadata"]["labels"]}] * 4
    assert budget == {"maxUnavailable": 1}
    _, variables = container(SEVERAL, "sidesocket")
    assert variables["SIDESOCKET_NODE_NAME"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_a_pod_of_a_cluster_differs_from_one_alone_in_its_engine_only():
    assert container(SEVERAL, "app") == container(ONE_POD, "app")
    (several, more), (alone, fewer) = container(SEVERAL, "sidesocket"), container(ONE_POD, "sidesocket")
    for one in (several, alone):
        (mount,) = one["volumeMounts"]
        del mount["name"]
    assert several == alone
    assert {name: more.pop(name)["value"] for name in set(more) - set(fewer)} == {
        "SIDESOCKET_CLUSTER_URL_FILE": "/run/secrets/sidesocket/cluster-url",
        "SIDESOCKET_CLUSTER_SECRET_FILE": "/run/secrets/sidesocket/cluster-secret",
    }
    assert more == fewer


def test_both_containers_have_all_three_probes_and_they_lead_to_something_that_listens(manifest, pod_settings):
    _, _, containers = manifest
    ports = {one["name"]: one["containerPort"] for one in containers["sidesocket"]["ports"]}
    assert ports["control"] == int(pod_settings["SIDESOCKET_CONTROL_LISTEN"].rpartition(":")[2])
    # The kubelet comes from outside of the pod.
    assert pod_settings["SIDESOCKET_CONTROL_LISTEN"].startswith("0.0.0.0:")
    for probe, path in {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}.items():
        assert containers["sidesocket"][probe]["httpGet"] == {"path": path, "port": "control"}
        # It cannot ask 127.0.0.1, so only a command inside of the container can.
        command = containers["app"][probe]["exec"]["command"]
        assert command[-1].startswith(pod_settings["SIDESOCKET_APP_URL"])
        assert containers["app"][probe].get("timeoutSeconds", 1) > float(command[command.index("-m") + 1])


# Takes over a port when it is started, and gives it back when it is killed.
RELAY = """
import http.client, http.server, sys
class Relay(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        line = http.client.HTTPConnection("127.0.0.1", int(sys.argv[2]))
        line.request("GET", self.path)
        answer = line.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Relay).serve_forever()
"""


def test_a_pod_of_the_kubernetes_example_is_ready_only_with_its_app(app, sidesocket, pod_settings):
    """With the settings of the manifest, but ports that are free here; Redis need not be there."""
    settings = {name.removeprefix("SIDESOCKET_"): value for name, value in pod_settings.items()}
    if "CLUSTER_URL_FILE" in settings:
        Path(settings["CLUSTER_URL_FILE"]).write_text(f"redis://127.0.0.1:{free_port()}")
    port = free_port()
    settings |= {"APP_URL": f"http://127.0.0.1:{port}", "APP_HEALTH_INTERVAL": "100ms", "CONTROL_LISTEN": None}
    edge = sidesocket(wait=False, **{name: value for name, value in settings.items() if value})

    def ready(wanted, down):
        status, body = edge.readyz()
        return status == wanted and f'"down":{down}' in body

    eventually(lambda: ready(503, "true"), lambda: f"not ready before its app: {edge.readyz()} {edge.output}")
    assert edge.control("/healthz")[0] == 200
    relay = subprocess.Popen(["python3", "-c", RELAY, str(port), app.url.rpartition(":")[2]], stdout=-3)
    try:
        eventually(lambda: ready(200, "false"), lambda: f"ready with its app: {edge.readyz()}")
    finally:
        relay.kill()
        relay.wait()
    eventually(lambda: ready(503, "true"), lambda: f"not ready without its app: {edge.readyz()}")
    assert edge.control("/healthz")[0] == 200


def test_the_times_and_the_memory_of_the_kubernetes_example_add_up(manifest, pod_settings):
    documents, pod, containers = manifest
    waits = {name: int(one["lifecycle"]["preStop"]["exec"]["command"][1]) for name, one in containers.items()}
    drained = waits["sidesocket"] + seconds(pod_settings["SIDESOCKET_DRAIN_TIMEOUT"])
    assert drained < waits["app"] < pod["terminationGracePeriodSeconds"]
    known = check_accepts(pod_settings)
    names = "MAX_TOTAL_PENDING_BYTES", "MAX_TOTAL_SEND_BUFFER_BYTES", "MAX_HISTORY_BYTES"
    bounds = sum(size(known[f"SIDESOCKET_{name}"]) for name in names)
    assert bounds <= size(containers["sidesocket"]["resources"]["limits"]["memory"]) * 0.6
    service = documents["Service"]["spec"]
    assert [one["targetPort"] for one in service["ports"]] == ["http"], "past Sidesocket"
