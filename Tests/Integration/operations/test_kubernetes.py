"""The example for Kubernetes: its settings, probes, times and memory."""

import os
import subprocess

import pytest
import yaml
from support.api import TOKEN
from support.check import check_accepts, seconds, size
from support.net import eventually, free_port
from support.process import ROOT

KUBERNETES = ROOT / "examples/kubernetes/deployment.yaml"


@pytest.fixture(scope="module")
def manifest():
    """The documents of the manifest by kind, and its containers by name."""
    documents = {one["kind"]: one for one in yaml.safe_load_all(KUBERNETES.read_text())}
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    return documents, pod, {one["name"]: one for one in pod["containers"]}


@pytest.fixture
def pod_settings(manifest, tmp_path):
    """The variables of Sidesocket's container as the kubelet would give them, secret files made to exist."""
    container = manifest[2]["sidesocket"]
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    variables = {}
    for one in container["env"]:
        value = one.get("value", "shop-7d9c-x2x4z")
        assert isinstance(value, str), f"{one['name']} is not a string, which the API server refuses"
        if one["name"].endswith("_FILE"):
            assert os.path.dirname(value) in mounts, f"nothing is mounted where {value} should be"
            (tmp_path / os.path.basename(value)).write_text(f"{TOKEN}\n")
            value = str(tmp_path / os.path.basename(value))
        variables[one["name"]] = value
    return variables


def test_every_setting_of_the_kubernetes_example_passes_check(pod_settings):
    known = check_accepts(pod_settings)
    assert known["SIDESOCKET_NODE_NAME"] == "shop-7d9c-x2x4z"


def test_the_kubernetes_example_runs_one_replica_and_says_why(manifest):
    documents, _, _ = manifest
    assert documents["Deployment"]["spec"]["replicas"] == 1
    text = KUBERNETES.read_text()
    assert "no cluster" in text[: text.index("replicas: 1")]
    # The second pod of an update is there only until the first has drained.
    assert documents["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


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
    """With the settings of the manifest, but ports that are free here."""
    settings = {name.removeprefix("SIDESOCKET_"): value for name, value in pod_settings.items()}
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
