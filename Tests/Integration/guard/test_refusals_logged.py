"""The first refusal of a kind in a minute is a warning that names the setting; the others are only counted."""

import json

import pytest
from support.guard import enter, knock, logged_client
from support.net import eventually, free_port
from support.process import run

# Each kind: the settings, what is asked so that it is refused, the status, and the setting that has to be named.
KINDS = {
    "rate": ({"CONNECT_RATE_PER_IP": "1/1h"}, {}, 429, "SIDESOCKET_CONNECT_RATE_PER_IP"),
    "connections": ({"MAX_CONNECTIONS_PER_IP": "5"}, {}, 429, "SIDESOCKET_MAX_CONNECTIONS_PER_IP"),
    "origin": ({}, {"origin": "https://evil.example"}, 403, "SIDESOCKET_ALLOWED_ORIGINS"),
}


def warnings(edge, setting):
    return [e for e in edge.logs if e["level"] == "warning" and setting in json.dumps(e)]


def line_of_its_end(edge, guest):
    """Closes a WebSocket and waits for the line about it: what was logged before is there by then."""
    guest.close(4321)
    assert logged_client(edge, 4321) == "127.0.0.1"


@pytest.mark.parametrize("kind", KINDS)
def test_several_refusals_of_a_kind_are_one_warning_that_names_the_setting(app, sidesocket, kind):
    settings, asked, status, setting = KINDS[kind]
    edge = sidesocket(app, **settings)
    # With each WebSocket go two connections, so those that have been refused are gone in time.
    guests = [enter(edge) for _ in range(int(settings.get("MAX_CONNECTIONS_PER_IP", 1)))]
    assert [knock(edge, **asked).status for _ in range(5)] == [status] * 5
    line_of_its_end(edge, guests[0])
    lines = warnings(edge, setting)
    assert len(lines) == 1, edge.output
    # Whom it has met.
    assert "127.0.0.1" in json.dumps(lines[0])


def test_each_kind_has_its_own_warning(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="7/1h", MAX_CONNECTIONS_PER_IP="5")
    guests = [enter(edge) for _ in range(5)]
    assert knock(edge, origin="https://evil.example").status == 403
    assert [knock(edge).status for _ in range(3)] == [429] * 3
    line_of_its_end(edge, guests[0])
    for _, _, _, setting in KINDS.values():
        assert len(warnings(edge, setting)) == 1, f"{setting}: {edge.output}"


def test_nobody_is_warned_about_what_a_dry_run_lets_pass(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="1/1h", DRY_RUN="connect_rate_per_ip,allowed_origins")
    guests = [enter(edge, origin="https://evil.example") for _ in range(3)]
    line_of_its_end(edge, guests[0])
    assert [e for e in edge.logs if e["level"] == "warning"] == [], edge.output


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
    assert len(told_to_trust(checked)) == 1, checked.stdout + checked.stderr


@pytest.mark.parametrize("chosen", [{}, {"LB": "mobile"}, {"LB": "nginx", "TRUSTED_PROXIES": "10.0.0.0/8"}])
def test_check_does_not_warn_where_there_is_no_proxy_or_it_is_trusted(chosen):
    checked = run("check", APP_URL="http://127.0.0.1:3000", **chosen)
    assert checked.returncode == 0
    assert told_to_trust(checked) == []


def test_the_start_warns_of_a_proxy_that_is_not_trusted(app, sidesocket):
    edge = sidesocket(app, LB="nginx")
    assert len(warnings(edge, "TRUSTED_PROXIES")) == 1, edge.output
