"""The compose file and the health check of the image."""

import json
import os
import re
import socket
import ssl
import subprocess
import time

import pytest
import yaml
from support.api import API, TOKEN
from support.check import check_accepts, seconds
from support.net import PATIENCE, eventually, free_port
from support.pages import blocks
from support.process import ROOT, clean_environment

COMPOSE = ROOT / "docker/compose.yaml"
HEALTH_CHECK = ROOT / "docker/healthcheck.sh"


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
