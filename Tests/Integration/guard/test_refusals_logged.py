"""The first refusal of a kind in a minute is a warning with the setting and a remedy; the others are counted."""

import json

import pytest
from support.app import Reply
from support.guard import DEFLATE, DeflateGuest, deflated, enter, knock, logged_client
from support.net import eventually, free_port, stable
from support.process import run
from support.ws import BINARY, TEXT, frame


def warnings(edge, words):
    return [e for e in edge.logs if e["level"] == "warning" and words in json.dumps(e)]


def the_warning(edge, variable):
    """The one warning whose setting is this, when no more follow."""
    eventually(lambda: warnings(edge, variable), lambda: f"a line about {variable}:\n{edge.output}")
    stable(lambda: len(edge.raw_lines), 0.2)
    (line,) = [e for e in edge.logs if e["level"] == "warning" and f"SIDESOCKET_{variable}=" in e.get("setting", "")]
    assert line["client"] == "127.0.0.1" and line["remedy"] and line["message"]
    return line


def line_of_its_end(edge, guest):
    """Closes a WebSocket and waits for the line about it: what was logged before is there by then."""
    guest.close(4321)
    assert logged_client(edge, 4321) == "127.0.0.1"


# Each kind: settings, and how to be refused


def too_big(edge):
    guest = enter(edge)
    guest.text("x" * 2000)
    guest.expect_close(1009)


def fragments(edge):
    guest = enter(edge)
    guest.send(frame(TEXT, "a", fin=False) + frame(0, "b", fin=False) + frame(0, "c"))
    guest.expect_close(1009)


def bomb(edge):
    guest = DeflateGuest(edge.port).shake(extensions=DEFLATE)
    guest.frame(BINARY, deflated(bytes(1 << 20)), rsv=4)
    guest.expect_close(1009)


def messages(edge):
    guest = enter(edge)
    for _ in range(5):
        guest.text("x")


def pings(edge):
    guest = enter(edge)
    for _ in range(5):
        guest.ping()


def refused(edge, times=1):
    enter(edge)
    assert {knock(edge).status for _ in range(times)} <= {429, 503}


def unnamed(edge):
    with edge.client() as client:
        client.send(b"GET / HTTP/1.1\r\n")
        client.rest()


def headers(edge, *more):
    with edge.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(more) + b"\r\n")
        assert client.response().status == 431


KINDS = {
    "MAX_CONNECTIONS": ({"MAX_CONNECTIONS": "1"}, lambda edge: refused(edge, 5)),
    "MAX_CONNECTIONS_PER_IP": ({"MAX_CONNECTIONS_PER_IP": "1"}, refused),
    "MAX_CONNECTIONS_PER_USER": ({"MAX_CONNECTIONS_PER_USER": "1"}, refused),
    "ALLOWED_ORIGINS": ({}, lambda edge: [knock(edge, origin="https://evil.example") for _ in range(5)]),
    "WS_PATHS": ({"WS_PATHS": "/ws"}, lambda edge: knock(edge, target="/else?token=secret")),
    "AUTH": (
        {"AUTH": "required", "JWT_KEY": "k" * 32, "JWT_ALGORITHMS": "HS256"}, lambda edge: knock(edge)
    ),
    "HANDSHAKE_TIMEOUT": ({"HANDSHAKE_TIMEOUT": "100ms"}, unnamed),
    "MAX_HEADER_BYTES": ({"MAX_HEADER_BYTES": "1KiB"}, lambda edge: headers(edge, b"X: " + b"x" * 2000 + b"\r\n")),
    "MAX_HEADERS": ({"MAX_HEADERS": "10"}, lambda edge: headers(edge, *[b"X: x\r\n"] * 20)),
    "MESSAGE_RATE": ({"MESSAGE_RATE": "1/1m,burst=1"}, messages),
    "MESSAGE_RATE_PER_IP": ({"MESSAGE_RATE_PER_IP": "1/1m,burst=1", "RATE_LIMIT_ACTION": "close"}, messages),
    "MESSAGE_RATE_PER_USER": ({"MESSAGE_RATE_PER_USER": "1/1m,burst=1"}, messages),
    "CONTROL_RATE": ({"CONTROL_RATE": "1/1m,burst=1"}, pings),
    "BYTE_RATE": ({"BYTE_RATE": "1/1m,burst=1"}, messages),
    "MAX_MESSAGE_BYTES": ({"MAX_MESSAGE_BYTES": "1KiB"}, too_big),
    "MAX_FRAGMENTS": ({"MAX_FRAGMENTS": "2"}, fragments),
    "MAX_COMPRESSION_RATIO": ({"MAX_MESSAGE_BYTES": "1MiB", "MAX_COMPRESSION_RATIO": "2"}, bomb),
}  # fmt: skip


@pytest.mark.parametrize("variable", KINDS)
def test_the_line_names_the_setting(app, sidesocket, variable):
    settings, provoke = KINDS[variable]
    app.on(Reply(204, headers={"Sidesocket-User": "alice"}), event="open")
    edge = sidesocket(app, **settings)
    provoke(edge)
    line = the_warning(edge, variable)
    assert "secret" not in str(line)


def test_each_kind_has_its_own_warning(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="7/1h", MAX_CONNECTIONS_PER_IP="5")
    guests = [enter(edge) for _ in range(5)]
    assert knock(edge, origin="https://evil.example").status == 403
    assert [knock(edge).status for _ in range(3)] == [429] * 3
    line_of_its_end(edge, guests[0])
    for setting in ("CONNECT_RATE_PER_IP", "MAX_CONNECTIONS_PER_IP", "ALLOWED_ORIGINS"):
        assert len(warnings(edge, f"SIDESOCKET_{setting}")) == 1, f"{setting}: {edge.output}"


def test_nobody_is_warned_about_what_a_dry_run_lets_pass(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="1/1h", DRY_RUN="connect_rate_per_ip,allowed_origins")
    guests = [enter(edge, origin="https://evil.example") for _ in range(3)]
    line_of_its_end(edge, guests[0])
    assert [e for e in edge.logs if e["level"] == "warning"] == [], edge.output


def test_a_client_that_does_not_read_is_told_of(app, sidesocket):
    edge = sidesocket(app, MAX_SEND_BUFFER_BYTES="16KiB", MAX_PENDING_BYTES="4MiB")
    app.on(Reply(200, b"x" * 500_000, {"Content-Type": "application/octet-stream"}), event="message")
    guest = enter(edge, receive_buffer=4096)
    for _ in range(20):
        guest.text("more")
    line = the_warning(edge, "MAX_SEND_BUFFER_BYTES")
    assert line["action"] == "close" and "SIDESOCKET_SLOW_CLIENT_ACTION" in line["remedy"]


def test_a_handshake_refused_because_the_app_fails_is_logged_too(sidesocket):
    edge = sidesocket(APP_URL=f"http://127.0.0.1:{free_port()}")
    eventually(lambda: knock(edge).status == 503, "the circuit breaker opens")
    (line,) = eventually(lambda: warnings(edge, "circuit breaker is open"), lambda: edge.output)
    assert line["client"] == "127.0.0.1" and "delivery failed" in line["remedy"]
    assert "delivery failed" in edge.output


JSON_EVENT = {"Content-Type": "application/cloudevents+json"}
FORGED = b'{"specversion":"1.0","id":"1","source":"/x","type":"sidesocket.message"}'


@pytest.mark.parametrize(
    "method, path, headers, body, status, words",
    [
        ("GET", "/x", {"Ce_Type": "x"}, b"", 400, "imitates an event"),
        ("POST", "/x", {"ce-type": "sidesocket.message"}, b"x", 403, "imitates an event"),
        ("POST", "/x", JSON_EVENT, FORGED, 403, "imitates an event"),
        ("POST", "/x", JSON_EVENT, b"{", 400, "cannot be checked"),
        ("POST", "/x", {**JSON_EVENT, "Content-Length": str(2 << 20)}, b"", 413, "cannot be checked"),
        ("POST", "/hook", {}, b"x", 404, "only Sidesocket may call this path"),
    ],
)
def test_requests_that_would_fool_the_app_are_logged(app, sidesocket, method, path, headers, body, status, words):
    edge = sidesocket(app, WEBHOOK_URL="/hook")
    for _ in range(3):
        with edge.client() as client:
            assert client.ask(method, path, headers, body).status == status
    (line,) = eventually(lambda: warnings(edge, words), lambda: edge.output)
    assert line["why"] and line["remedy"] and line["client"] == "127.0.0.1"


# A proxy that nobody trusts is the usual cause.


def test_too_many_handshakes_of_a_proxy_give_one_line_that_says_what_to_set(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="3/1m,burst=3")
    statuses = [knock(edge, headers={"X-Forwarded-For": f"203.0.113.{n}"}).status for n in range(10)]
    assert statuses == [101] * 3 + [429] * 7
    line = the_warning(edge, "CONNECT_RATE_PER_IP")
    assert line["setting"] == "SIDESOCKET_CONNECT_RATE_PER_IP=3/1m"
    assert "SIDESOCKET_TRUSTED_PROXIES" in line["remedy"] and "SIDESOCKET_TRUSTED_PROXIES is empty" in line["hint"]
    assert "left_out" not in line


def test_without_a_forwarding_header_there_is_no_hint(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="1/1m,burst=1")
    enter(edge)
    knock(edge)
    line = the_warning(edge, "CONNECT_RATE_PER_IP")
    assert "hint" not in line and "SIDESOCKET_TRUSTED_PROXIES" in line["remedy"]


def told_to_trust(checked):
    """What `check` says about TRUSTED_PROXIES besides its value."""
    lines = (checked.stdout + checked.stderr).splitlines()
    return [line for line in lines if "TRUSTED_PROXIES" in line and "warning" in line.lower()]


@pytest.mark.parametrize(
    "lb", ["nginx", "haproxy", "caddy", "apache", "traefik", "ingress-nginx", "aws-alb", "cloudflare,nginx"]
)
def test_check_warns_of_a_proxy_that_is_not_trusted(lb):
    checked = run("check", APP_URL="http://127.0.0.1:3000", LB=lb)
    assert checked.returncode == 0
    (warning,) = told_to_trust(checked)
    assert f"SIDESOCKET_LB names {lb.split(',')[0]}," in warning


@pytest.mark.parametrize(
    "chosen", [{}, {"LB": "mobile"}, {"LB": "aws-nlb"}, {"LB": "nginx", "TRUSTED_PROXIES": "loopback"}]
)
def test_check_does_not_warn_where_there_is_no_proxy_or_it_is_trusted(chosen):
    checked = run("check", APP_URL="http://127.0.0.1:3000", **chosen)
    assert checked.returncode == 0
    assert "warning" not in (checked.stdout + checked.stderr).lower()


def test_the_start_warns_of_a_proxy_that_is_not_trusted(app, sidesocket):
    edge = sidesocket(app, LB="nginx")
    (line,) = warnings(edge, "TRUSTED_PROXIES")
    assert "SIDESOCKET_LB names nginx" in json.dumps(line)
