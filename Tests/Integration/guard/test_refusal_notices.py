"""The first refusal of each kind in a minute is a line in the log that names the setting and what to do."""

import pytest
from support.app import Reply
from support.guard import DEFLATE, DeflateGuest, deflated, enter, knock
from support.net import eventually, stable
from support.process import run
from support.ws import BINARY, TEXT, frame


def notices(edge, variable):
    """The warnings that name this setting."""
    return [e for e in edge.logs if e["level"] == "warning" and f"SIDESOCKET_{variable}=" in e.get("setting", "")]


def the_notice(edge, variable):
    """The one warning about this setting, when no more follow."""
    eventually(lambda: notices(edge, variable), lambda: f"a line about {variable}:\n{edge.output}")
    stable(lambda: len(edge.raw_lines), 0.2)
    (line,) = notices(edge, variable)
    assert line["client"] == "127.0.0.1" and line["remedy"] and line["message"]
    return line


def test_too_many_handshakes_of_a_proxy_give_one_line_that_says_what_to_set(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="3/1m,burst=3")
    statuses = [knock(edge, headers={"X-Forwarded-For": f"203.0.113.{n}"}).status for n in range(10)]
    assert statuses == [101] * 3 + [429] * 7
    line = the_notice(edge, "CONNECT_RATE_PER_IP")
    assert line["setting"] == "SIDESOCKET_CONNECT_RATE_PER_IP=3/1m"
    assert "SIDESOCKET_TRUSTED_PROXIES" in line["remedy"] and "SIDESOCKET_TRUSTED_PROXIES is empty" in line["hint"]
    assert "left_out" not in line


def test_without_a_forwarding_header_there_is_no_hint(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="1/1m,burst=1")
    enter(edge)
    knock(edge)
    line = the_notice(edge, "CONNECT_RATE_PER_IP")
    assert "hint" not in line and "SIDESOCKET_TRUSTED_PROXIES" in line["remedy"]


def test_a_dry_run_refuses_nothing_and_says_nothing(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="1/1m,burst=1", DRY_RUN="connect_rate_per_ip")
    for _ in range(3):
        enter(edge)
    stable(lambda: len(edge.raw_lines), 0.2)
    assert notices(edge, "CONNECT_RATE_PER_IP") == []


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


def two(edge):
    enter(edge)
    assert knock(edge).status in (429, 503)


def unnamed(edge):
    with edge.client() as client:
        client.send(b"GET / HTTP/1.1\r\n")
        client.rest()


def headers(edge, *more):
    with edge.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(more) + b"\r\n")
        assert client.response().status == 431


KINDS = {
    "MAX_CONNECTIONS": ({"MAX_CONNECTIONS": "1"}, two),
    "MAX_CONNECTIONS_PER_IP": ({"MAX_CONNECTIONS_PER_IP": "1"}, two),
    "MAX_CONNECTIONS_PER_USER": ({"MAX_CONNECTIONS_PER_USER": "1"}, two),
    "ALLOWED_ORIGINS": ({}, lambda edge: knock(edge, origin="https://evil.example")),
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
    line = the_notice(edge, variable)
    assert "secret" not in str(line)


def test_a_client_that_does_not_read_is_told_of(app, sidesocket):
    edge = sidesocket(app, MAX_SEND_BUFFER_BYTES="16KiB", MAX_PENDING_BYTES="4MiB")
    app.on(Reply(200, b"x" * 500_000, {"Content-Type": "application/octet-stream"}), event="message")
    guest = enter(edge, receive_buffer=4096)
    for _ in range(20):
        guest.text("more")
    line = the_notice(edge, "MAX_SEND_BUFFER_BYTES")
    assert line["action"] == "close" and "SIDESOCKET_SLOW_CLIENT_ACTION" in line["remedy"]


def test_a_load_balancer_without_trusted_proxies_is_warned_of(app, sidesocket):
    said = run("check", APP_URL=app.url, LB="nginx").stdout
    (warning,) = [line for line in said.splitlines() if "TRUSTED_PROXIES" in line and "Warning" in line]
    assert "SIDESOCKET_LB names nginx" in warning
    for fine in ({"LB": "nginx", "TRUSTED_PROXIES": "loopback"}, {"LB": "aws-nlb"}, {}):
        assert "Warning" not in run("check", APP_URL=app.url, **fine).stdout
    edge = sidesocket(app, LB="nginx")
    assert any("SIDESOCKET_LB names nginx" in str(e) for e in edge.logs if e["level"] == "warning")
