"""The files for running it, in the hands of what reads them: Kubernetes, Docker, systemd; and `check`."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import time

import pytest
import yaml
from support.api import API, TOKEN
from support.net import PATIENCE, eventually, free_port
from support.pages import blocks
from support.process import ROOT, binary, clean_environment, run

KUBERNETES = ROOT / "examples/kubernetes/deployment.yaml"
COMPOSE = ROOT / "docker/compose.yaml"
UNIT = ROOT / "examples/systemd/sidesocket.service"
HEALTH_CHECK = ROOT / "docker/healthcheck.sh"
URL = "http://127.0.0.1:3000"
EX_CONFIG = 78


def said(done):
    return done.stdout + done.stderr


def effective(done):
    """The table that `check` prints as {variable: value}."""
    rows = [line.lstrip("* ").partition("=") for line in done.stdout.splitlines() if "SIDESOCKET_" in line]
    return {name.strip(): value.strip() for name, _, value in rows}


def check_accepts(variables):
    """`check` takes these variables, which carry their prefix, and each is one of its own."""
    done = run("check", env=variables)
    assert done.returncode == 0, said(done)
    known = effective(done)
    assert {name.removesuffix("_FILE") if name not in known else name for name in variables} <= set(known)
    return known


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|min|m|h)?", str(duration)).groups()
    return int(number) * {"ms": 0.001, None: 1, "s": 1, "min": 60, "m": 60, "h": 3600}[unit]


def size(text):
    number, unit = re.fullmatch(r"(\d+)([KMG]i)B?", text).groups()
    return int(number) * 1024 ** (" KMG".index(unit[0]))


# Kubernetes


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


# Docker


def test_every_setting_of_the_compose_file_passes_check_and_its_token_opens_the_api(app, sidesocket, tmp_path):
    compose = yaml.safe_load(COMPOSE.read_text())
    service = compose["services"]["sidesocket"]
    variables = dict(service["environment"])
    mounted = {f"/run/secrets/{name}": compose["secrets"][name]["file"] for name in service["secrets"]}
    name = os.path.basename(mounted[variables["SIDESOCKET_CONTROL_TOKEN_FILE"]])
    assert f"> docker/{name}\n" in COMPOSE.read_text(), "the file does not say how the token is made"
    assert name in (ROOT / "docker/.gitignore").read_text().split()
    # As `openssl rand -hex 32 > file` writes it.
    (tmp_path / name).write_text(f"{TOKEN}\n")
    variables["SIDESOCKET_CONTROL_TOKEN_FILE"] = str(tmp_path / name)
    check_accepts(variables)
    assert seconds(service["stop_grace_period"]) > 30
    edge = sidesocket(app, CONTROL_TOKEN_FILE=tmp_path / name)
    API(edge).want(401, "GET", "/v1/connections")
    assert API(edge, TOKEN).connections() == []


def health_check(**settings):
    """Runs the image's health check; returns its exit code and how long it took."""
    started = time.monotonic()
    done = subprocess.run(
        ["bash", str(HEALTH_CHECK)], env=clean_environment(settings), capture_output=True, text=True, timeout=10
    )
    return done.returncode, time.monotonic() - started


@pytest.mark.parametrize("listen", ["127.0.0.1:{}", "0.0.0.0:{}", "[::1]:{}", "unix:{folder}/c.sock, 127.0.0.1:{}"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_the_health_check_of_the_image_finds_the_control_listener(
    app, sidesocket, certificate, tmp_path, listen, secure
):
    port = free_port()
    if "::1" in listen:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
    cert, key = certificate[1]
    settings = {"CONTROL_LISTEN": listen.format(port, folder=tmp_path)}
    if secure:
        settings |= {"CONTROL_TLS_CERT": cert, "CONTROL_TLS_KEY": key}
    edge = sidesocket(app, wait=False, **settings)
    eventually(lambda: health_check(**settings)[0] == 0, lambda: f"healthy: {edge.output}", interval=0.1)
    # It was the listener that made the difference.
    edge.kill()
    edge.exit_expected = True
    code, took = health_check(**settings)
    assert code != 0 and took < 3


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"], ids=["silent", "503"])
def test_the_health_check_of_the_image_fails_in_time_when_the_answer_is_bad(certificate, secure, answer):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate[1])
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = {"CONTROL_LISTEN": f"127.0.0.1:{server.getsockname()[1]}"}
        settings |= {"CONTROL_TLS_CERT": certificate[1][0]} if secure else {}
        started = time.monotonic()
        script = subprocess.Popen(["bash", str(HEALTH_CHECK)], env=clean_environment(settings), stderr=-3)
        server.settimeout(PATIENCE)
        peer, _ = server.accept()
        peer.settimeout(PATIENCE)
        if secure:
            peer = context.wrap_socket(peer, server_side=True)
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += peer.recv(4096)
        assert asked.startswith(b"GET /healthz HTTP/1.1\r\n")
        peer.sendall(answer)
        assert script.wait(PATIENCE) != 0
        # HEALTHCHECK --timeout=3s
        assert time.monotonic() - started < 3
        peer.close()


def test_the_image_holds_what_the_health_check_calls():
    dockerfile, script = (ROOT / "docker/Dockerfile").read_text(), HEALTH_CHECK.read_text()
    final = dockerfile[dockerfile.rindex("\nFROM ") :]
    assert "openssl" in script and re.search(r"apt-get install.* openssl", final)
    assert "COPY --chmod=755 docker/healthcheck.sh" in final and "HEALTHCHECK" in final


def test_the_state_that_the_page_shows_has_the_members_of_readyz(app, sidesocket):
    def shape(value):
        """Names in order, without the values."""
        if isinstance(value, dict):
            return [(name, shape(one)) for name, one in value.items()]
        return [shape(one) for one in value] if isinstance(value, list) else None

    (printed,) = (text for language, text in blocks("docs/metrics.md") if language == "json")
    edge = sidesocket(app)
    state = json.loads(edge.readyz()[1])
    assert shape(json.loads(printed)) == shape(state)
    assert (state["app"], state["outbox"]) == ({"reachable": None}, {"writable": None})
    edge.websocket().close()
    eventually(lambda: json.loads(edge.readyz()[1])["app"] == {"reachable": True}, "it has been reached")


# systemd

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing")


@pytest.fixture(scope="module")
def unit(tmp_path_factory):
    """A copy of the unit whose binary exists."""
    path = tmp_path_factory.mktemp("unit") / UNIT.name
    text = UNIT.read_text()
    assert text.count("/usr/local/bin/sidesocket\n") == 1, "ExecStart"
    path.write_text(text.replace("ExecStart=/usr/local/bin/sidesocket\n", f"ExecStart={binary()}\n"))
    return path


def analyze(*arguments):
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, arguments)], capture_output=True, text=True, timeout=30
    )  # fmt: skip
    return done.returncode, said(done)


@needs_systemd
def test_systemd_understands_every_line_of_the_unit(unit):
    assert analyze("verify", unit) == (0, "")


@needs_systemd
def test_systemd_understands_the_drop_ins_of_the_page(unit, tmp_path):
    drop_ins = [text for language, text in blocks("docs/deployment.md") if language == "ini"]
    assert any("LoadCredential=" in text for text in drop_ins)
    for text in drop_ins:
        (tmp_path / UNIT.name).write_text(f"{unit.read_text()}\n{text}")
        assert analyze("verify", tmp_path / UNIT.name) == (0, ""), text


@needs_systemd
def test_systemd_finds_the_unit_well_enclosed(unit):
    code, report = analyze("security", "--offline=true", "--threshold=20", unit)
    assert code == 0 and "Overall exposure level" in report, report


def test_the_unit_fits_what_the_binary_does(unit):
    lines = [line.partition("=") for line in unit.read_text().splitlines() if "=" in line and line[0] != "#"]
    service = {key: value for key, _, value in lines}
    # Debian 12 has systemd 252, which does not know notify-reload.
    assert service["Type"] == "notify" and service["NotifyAccess"] == "main"
    assert service["ExecReload"].endswith("kill -HUP $MAINPID")
    assert service["RestartPreventExitStatus"] == str(EX_CONFIG)
    drain = check_accepts({"SIDESOCKET_APP_URL": URL})["SIDESOCKET_DRAIN_TIMEOUT"]
    assert seconds(service["TimeoutStopSec"]) > seconds(drain)
    # A process that looks twice in this time is not killed by one pause of the machine.
    assert seconds(service["WatchdogSec"]) >= 10
    assert service["StateDirectory"] == "sidesocket"


class Manager:
    """What systemd is to a service of Type=notify: a socket that the service writes its state to."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(self.bound)

    @property
    def bound(self):
        return "\0" + self.address[1:] if self.address.startswith("@") else self.address

    def next(self, timeout=PATIENCE):
        """The next datagram as {name: value}, with the sender's process as `pid`; None if none comes."""
        self.socket.settimeout(timeout)
        try:
            data, extra, _, _ = self.socket.recvmsg(65536, socket.CMSG_SPACE(struct.calcsize("3i")))
        except TimeoutError:
            return None
        [(_, _, credentials)] = extra
        state = dict(line.split("=", 1) for line in data.decode().splitlines())
        return {**state, "pid": struct.unpack("3i", credentials)[0]}

    def wait(self, name, timeout=PATIENCE):
        """Reads until something has been said of `name`."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            state = self.next(deadline - time.monotonic())
            if state and name in state:
                return state
        raise AssertionError(f"the service manager was not sent {name}=")

    def heard(self, duration):
        """All that comes within so many seconds."""
        states, deadline = [], time.monotonic() + duration
        while (left := deadline - time.monotonic()) > 0:
            if state := self.next(left):
                states.append(state)
        return states

    def clog(self):
        """Fills the socket's queue, as when the manager is busy for long."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    other.sendto(b"X=1", self.bound)


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    one = Manager(str(tmp_path / "notify") if request.param == "path" else f"@sidesocket-test-{os.getpid()}")
    yield one
    one.socket.close()


@pytest.fixture
def path_manager(tmp_path):
    one = Manager(str(tmp_path / "notify"))
    yield one
    one.socket.close()


@pytest.fixture
def service(app, sidesocket, tmp_path, monkeypatch):
    """Starts the sidecar as a manager would; `watchdog` in seconds, for itself unless `watched` says whom."""

    def start(manager, watchdog=None, watched="$$", **settings):
        app.echo()
        wrapper = tmp_path / "start"
        # Only the process that will be the service knows its own number beforehand.
        wrapper.write_text(f'#!/bin/sh\nexport WATCHDOG_PID={watched}\nexec "{binary()}" "$@"\n')
        wrapper.chmod(0o755)
        env = {"NOTIFY_SOCKET": manager.address}
        if watchdog:
            env["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        with monkeypatch.context() as patch:
            patch.setenv("SIDESOCKET_BINARY", str(wrapper))
            return sidesocket(app, wait=False, env=env, **settings)

    return start


def test_the_manager_hears_ready_when_both_listeners_answer_and_stopping_before_the_end(service, manager):
    edge = service(manager)
    ready = manager.wait("READY")
    # At once, with no waiting for it.
    assert edge.readyz()[0] == 200
    guest = edge.websocket()
    # NotifyAccess=main: what another process says is not heard.
    assert ready["READY"] == "1" and ready["pid"] == edge.process.pid
    # No watchdog was asked for.
    assert [state for state in manager.heard(0.3) if "WATCHDOG" in state] == []
    edge.terminate()
    stopping = manager.wait("STOPPING")
    assert stopping["STOPPING"] == "1" and stopping["pid"] == edge.process.pid
    guest.expect_close(1012)
    assert edge.wait_exit() == 0
    assert not any("READY" in state or "RELOADING" in state for state in manager.heard(0.05))


def test_the_manager_hears_stopping_when_the_api_drains(service, path_manager):
    edge = service(path_manager)
    path_manager.wait("READY")
    API(edge).ask("POST", "/v1/drain")
    path_manager.wait("STOPPING")
    assert edge.wait_exit() == 0


@pytest.mark.parametrize("which", ["LISTEN", "CONTROL_LISTEN"])
def test_the_manager_does_not_hear_ready_when_a_port_is_taken(service, path_manager, which):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        edge = service(path_manager, **{which: f"127.0.0.1:{taken.getsockname()[1]}"})
        assert edge.wait_exit() not in (0, EX_CONFIG)
    assert not any("READY" in state for state in path_manager.heard(0.05))


def test_the_manager_does_not_hear_ready_when_the_settings_are_wrong(service, path_manager):
    edge = service(path_manager, THREADS="0")
    assert edge.wait_exit() == EX_CONFIG
    assert not any("READY" in state for state in path_manager.heard(0.05))


def test_the_watchdog_is_fed_twice_in_its_time(service, path_manager):
    edge = service(path_manager, watchdog=0.8)
    path_manager.wait("READY")
    times = [time.monotonic()]
    while len(times) < 6:
        state = path_manager.wait("WATCHDOG", timeout=3)
        assert state["WATCHDOG"] == "1" and state["pid"] == edge.process.pid
        times.append(time.monotonic())
    gaps = [later - earlier for earlier, later in zip(times[1:], times[2:], strict=False)]
    assert 0.25 < statistics.median(gaps) < 0.55 and times[1] - times[0] < 0.8, gaps


def test_the_watchdog_of_another_process_is_not_fed(service, path_manager):
    service(path_manager, watchdog=0.1, watched="1")
    path_manager.wait("READY")
    assert [state for state in path_manager.heard(0.5) if "WATCHDOG" in state] == []


def test_the_manager_hears_of_a_reload_and_its_end_even_when_it_fails(service, path_manager, tmp_path):
    config = tmp_path / "settings.yaml"
    config.write_text("max_fragments: 64\n")
    edge = service(path_manager, CONFIG=config)
    path_manager.wait("READY")
    for text in ("max_fragments: 32\n", "max_fragments: many\n", "max_fragments: 16\n"):
        config.write_text(text)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        edge.process.send_signal(signal.SIGHUP)
        reloading = path_manager.wait("RELOADING")
        assert reloading["RELOADING"] == "1" and "READY" not in reloading
        # systemd tells by it which of two reloads this is about.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert before <= int(reloading["MONOTONIC_USEC"]) <= now
        assert path_manager.wait("READY")["READY"] == "1"
    edge.websocket().close()


def test_a_manager_that_does_not_read_holds_nobody_up(service, path_manager):
    edge = service(path_manager, watchdog=0.1)
    path_manager.wait("READY")
    guest = edge.websocket()
    path_manager.clog()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        asked = time.monotonic()
        guest.text("still here")
        assert guest.message() == "still here"
        assert edge.control("/healthz")[0] == 200
        assert time.monotonic() - asked < 0.4
    path_manager.wait("X")
    path_manager.wait("WATCHDOG", timeout=3)


@pytest.mark.parametrize("address", ["/nonexistent/notify", "@sidesocket-nobody", "", "vsock:2:1234"])
def test_it_runs_without_the_manager_too(app, sidesocket, address):
    edge = sidesocket(app, env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"})
    edge.websocket().close()
    edge.terminate()
    assert edge.wait_exit() == 0


# check --env-file


@pytest.fixture
def env_file(tmp_path):
    """Runs `check --env-file` on a file with this text."""

    def check(text, env=None):
        path = tmp_path / "sidesocket.env"
        path.write_text(text)
        return run("check", "--env-file", str(path), env=env)

    return check


def test_check_reads_an_environment_file_as_systemd_and_docker_do(env_file):
    secrets = "whsec_" + "A" * 32, "whsec_" + "B" * 32
    done = env_file(
        "# Settings of the shop\n"
        "; another kind of comment\n"
        "\n"
        f"SIDESOCKET_APP_URL={URL}\n"
        "SIDESOCKET_WS_PATHS=/ws, /live/*\n"
        'SIDESOCKET_CONNECT_RATE_PER_IP="600/1m,burst=100"\n'
        "SIDESOCKET_NODE_NAME='edge-1'\n"
        "SIDESOCKET_FORWARD_HEADERS=\n"
        f"SIDESOCKET_WEBHOOK_SECRET={secrets[0]} {secrets[1]}\n"
        "SIDESOCKET_MAX_FRAGMENTS=1\n"
        "SIDESOCKET_MAX_FRAGMENTS=64\n"
        "SIDESOCKET_SERVICE_HOST=10.0.0.1\n"
        "PATH=/nowhere\n"
        'GREETING="not ours"\n'
    )
    assert done.returncode == 0, said(done)
    known = effective(done)
    assert known["SIDESOCKET_APP_URL"] == URL
    assert known["SIDESOCKET_WS_PATHS"].replace(" ", "") == "/ws,/live/*"
    assert known["SIDESOCKET_CONNECT_RATE_PER_IP"] == "600/1m,burst=100"
    assert known["SIDESOCKET_NODE_NAME"] == "edge-1"
    # The last one holds, in both.
    assert known["SIDESOCKET_MAX_FRAGMENTS"] == "64"
    assert "GREETING" not in said(done) and "A" * 32 not in said(done)


def test_check_lists_every_fault_of_an_environment_file(env_file):
    done = env_file(
        "SIDESOCKET_THREADS=0\nSIDESOCKET_LISTEM=0.0.0.0:80\nSIDESOCKET_LOG_LEVEL=' loud'\nOTHER=anything\n"
    )
    assert done.returncode == EX_CONFIG, said(done)
    for expected in ("SIDESOCKET_THREADS", "SIDESOCKET_LISTEM", "SIDESOCKET_LOG_LEVEL", "loud", "SIDESOCKET_APP_URL"):
        assert expected in done.stderr, done.stderr
    assert "OTHER" not in said(done)


def test_check_takes_the_environment_file_in_place_of_its_own_environment(env_file):
    done = env_file(f"SIDESOCKET_APP_URL={URL}\n", env={"SIDESOCKET_THREADS": "7", "SIDESOCKET_BOGUS": "1"})
    assert done.returncode == 0, said(done)
    assert effective(done)["SIDESOCKET_THREADS"] != "7"
    done = env_file("", env={"SIDESOCKET_APP_URL": URL})
    assert done.returncode == EX_CONFIG and "SIDESOCKET_APP_URL" in done.stderr, said(done)


@pytest.mark.parametrize("how", ["missing", "a folder", "no name"])
def test_check_says_which_environment_file_it_cannot_read(tmp_path, how):
    path = str(tmp_path if how == "a folder" else tmp_path / "none.env")
    done = run("check", "--env-file", *([] if how == "no name" else [path]), APP_URL=URL)
    assert done.returncode == EX_CONFIG, said(done)
    assert "--env-file" in done.stderr and (how == "no name" or path in done.stderr), done.stderr


def test_flags_win_over_the_environment_file(tmp_path):
    path = tmp_path / "e"
    path.write_text(f"SIDESOCKET_APP_URL={URL}\nSIDESOCKET_THREADS=2\n")
    done = run("check", f"--env-file={path}", "--threads", "3")
    assert done.returncode == 0, said(done)
    assert effective(done)["SIDESOCKET_THREADS"] == "3"


# What check opens

FILE_FAULTS = {
    "no certificate": {"TLS_CERT": "{none}", "TLS_KEY": "{key}"},
    "a folder as certificate": {"TLS_CERT": "{folder}", "TLS_KEY": "{key}"},
    "no key": {"TLS_KEY": "{none}", "TLS_CERT": "{cert}"},
    "the key of another certificate": {"TLS_KEY": "{ca_key}", "TLS_CERT": "{cert}"},
    "no control certificate": {"CONTROL_TLS_CERT": "{none}", "CONTROL_TLS_KEY": "{key}"},
    "the key of another control certificate": {"CONTROL_TLS_KEY": "{ca_key}", "CONTROL_TLS_CERT": "{cert}"},
    "no client authority": {"TLS_CLIENT_CA": "{none}", "TLS_CERT": "{cert}", "TLS_KEY": "{key}"},
    "no authority for the app": {"APP_CA_FILE": "{none}", "APP_URL": "https://127.0.0.1:3000"},
    "no parent of the outbox": {"OUTBOX_DIR": "{none}/deep/outbox"},
    "a file as outbox": {"OUTBOX_DIR": "{cert}"},
    "no folder for the audit log": {"AUDIT_LOG": "{none}/audit.log"},
    "a folder as audit log": {"AUDIT_LOG": "{folder}"},
    "no settings file": {"CONFIG": "{none}"},
    "no secret file": {"CONTROL_TOKEN_FILE": "{none}"},
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_check_opens_what_the_start_opens_and_says_the_same(certificate, tmp_path, fault):
    ca, (cert, key) = certificate
    (tmp_path / "folder").mkdir()
    places = {
        "none": tmp_path / "none", "folder": tmp_path / "folder", "cert": cert, "key": key,
        "ca_key": ca.replace("ca.pem", "ca.key"),
    }  # fmt: skip
    settings = {name: text.format(**places) for name, text in FILE_FAULTS[fault].items()}
    listen = {"LISTEN": f"127.0.0.1:{free_port()}", "CONTROL_LISTEN": f"127.0.0.1:{free_port()}"}
    settings = {"APP_URL": URL, **listen, **settings}
    done = run("check", **settings)
    assert done.returncode == EX_CONFIG, said(done)
    # The faulty one is the first of each; of a pair that does not match it may be either.
    named = FILE_FAULTS[fault] if "of another" in fault else list(FILE_FAULTS[fault])[:1]
    sentence = done.stderr.strip()
    assert any(f'SIDESOCKET_{name}="{settings[name]}"' in sentence for name in named), sentence
    # A sentence, not the name of a function or a case in somebody's source code.
    words = re.sub(r'"[^"]*"', "", sentence)
    assert not re.search(r"\w\(|[a-z][A-Z]|errno", words) and "\n" not in sentence, sentence
    start = run(**settings)
    assert (start.returncode, start.stderr) == (EX_CONFIG, done.stderr)


def test_check_leaves_nothing_behind(tmp_path):
    """Run as root, it would leave files that the service may not write to."""
    done = run("check", APP_URL=URL, OUTBOX_DIR=tmp_path / "outbox", AUDIT_LOG=tmp_path / "audit.log")
    assert done.returncode == 0, said(done)
    assert os.listdir(tmp_path) == []


def test_check_passes_beside_the_process_that_runs_with_these_settings(app, sidesocket, tmp_path):
    settings = {"OUTBOX_DIR": str(tmp_path / "outbox"), "AUDIT_LOG": str(tmp_path / "audit.log")}
    edge = sidesocket(app, **settings)
    listen = {"LISTEN": f"127.0.0.1:{edge.port}", "CONTROL_LISTEN": f"127.0.0.1:{edge.control_port}"}
    done = run("check", APP_URL=app.url, **listen, **settings)
    assert done.returncode == 0, said(done)
    edge.websocket().close()
