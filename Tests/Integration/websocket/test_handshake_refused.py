"""The opening handshake: what is refused and how."""

import time

import pytest
from support.app import Reply
from support.handshake import refuse, refused, upgrade
from support.net import PATIENCE
from support.raw import encode
from support.ws import KEY, TEXT, frame, handshake_headers


@pytest.mark.parametrize(
    "data",
    [
        upgrade("POST"),
        upgrade(version="HTTP/1.0"),
        upgrade(host=None),
        upgrade(more=[("Host", "other.test")]),
        upgrade(more=[("Host", "sidesocket.test")]),
        upgrade(host="a b"),
    ],
    ids=["POST", "HTTP/1.0", "no Host", "two Hosts", "the same Host twice", "a Host with a space"],
)
def test_case_01_method_version_and_host(shared, data):
    refuse(shared, data, 400)


@pytest.mark.parametrize("connection", [None, "keep-alive", "close", "upgrades"])
def test_case_02_upgrade_without_connection_upgrade(shared, connection):
    refuse(shared, upgrade(connection=connection), 400)


@pytest.mark.parametrize(
    "data",
    [
        upgrade(key=None),
        upgrade(more=[("Sec-WebSocket-Key", KEY)]),
        upgrade(key="AAAAAAAAAAAAAAAAAAAA"),
        upgrade(key="AAAAAAAAAAAAAAAAAAAAAAA="[:-1] + "A"),
        upgrade(key="dGhlIHNhbXBsZSBub25jZQ"),
        upgrade(key="dGhlIHNhbXBsZSBub25j!!=="),
        upgrade(key=""),
        upgrade(key="dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="),
    ],
    ids=["missing", "doubled", "15 bytes", "18 bytes", "no padding", "not base64", "empty", "a list"],
)
def test_case_03_key(shared, data):
    refuse(shared, data, 400)


def test_case_03_key_of_17_bytes(shared):
    import base64

    refuse(shared, upgrade(key=base64.b64encode(b"x" * 17).decode()), 400)
    refuse(shared, upgrade(key=base64.b64encode(b"x" * 15).decode()), 400)


@pytest.mark.parametrize("version", ["12", "8", "0", "14", "130", "13, 8", "x"])
def test_case_03_version(shared, version):
    answer = refuse(shared, _with_version(version), 426)
    assert answer.header("sec-websocket-version") == "13"


def _with_version(version):
    return encode("GET", "/ws", handshake_headers(version=version))


def test_a_missing_version_is_refused(shared):
    refuse(shared, _with_version(None), 400, 426)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (_with_version("12"), 426),
        (upgrade(key=None), 400),
        (upgrade("POST"), 400),
        (upgrade(connection=None), 400),
    ],
    ids=["version", "key", "method", "connection"],
)
def test_case_03_a_request_behind_a_refused_upgrade_is_never_served(shared, data, status):
    app, process = shared
    with process.client() as client:
        client.send(data + encode("GET", "/smuggled"))
        refused(client.response(), status)
        client.wait_closed()
    with process.client() as client:
        assert client.ask(target="/after").status == 200
    assert [r.path for r in app.heads] == ["/after"]


def test_case_03_a_request_behind_an_upgrade_that_the_app_refuses_is_never_served(shared):
    app, process = shared
    app.on(Reply(401, "no"), event="open")
    with process.client() as client:
        client.send(upgrade() + encode("GET", "/smuggled"))
        assert client.response().status == 401
        client.wait_closed()
    with process.client() as client:
        assert client.ask(target="/after").status == 200
    assert [r.path for r in app.heads] == ["/ws", "/after"]


def _flood(client, megabytes):
    """Sends that much more input, or as much as the other side lets in."""
    block = b"x" * (1 << 20)
    for _ in range(megabytes):
        if not client.try_send(block):
            return


def test_case_04_h2c_gets_one_ordinary_answer(app, edge):
    with edge.client() as client:
        # RFC 7540 section 3.2: a server may ignore it and answer as if it were not there.
        more = [
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ]
        client.send(encode("GET", "/page", more))
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + encode("GET", "/smuggled"))
        answer = client.response()
        assert (answer.status, answer.text) == (200, "from the app")
        edge.forget_peak_rss()
        before = edge.rss
        _flood(client, 100)
        assert edge.peak_rss - before < 24 << 20
        assert client.rest() == b""
    assert [r.path for r in app.heads] == ["/page"]
    assert app.heads[0].all("upgrade") == app.heads[0].all("http2-settings") == []


def test_case_04_connect_is_refused(app, edge):
    with edge.client() as client:
        client.send(b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n" + encode("GET", "/smuggled"))
        refused(client.response(), 405)
        edge.forget_peak_rss()
        before = edge.rss
        _flood(client, 100)
        assert edge.peak_rss - before < 24 << 20
        assert client.rest() == b""
    assert app.heads == []


@pytest.mark.parametrize(
    "data",
    [
        upgrade(more=[("Content-Length", "5")]) + b"hello",
        upgrade(more=[("Content-Length", "5")]),
        upgrade(more=[("Transfer-Encoding", "chunked")]) + b"5\r\nhello\r\n0\r\n\r\n",
        upgrade(more=[("Transfer-Encoding", "chunked")]),
    ],
    ids=["length", "length, body to come", "chunked", "chunked, body to come"],
)
def test_case_05_upgrade_with_a_body(shared, data):
    refuse(shared, data, 400)


def test_an_upgrade_that_says_that_it_has_no_body_is_accepted(shared):
    """As Java's HttpClient sends it; frames may follow at once."""
    app, process = shared
    app.echo()
    socket = process.websocket(headers={"Content-Length": "0"})
    socket.text("hello")
    assert socket.message() == "hello"
    with process.client() as client:
        client.send(upgrade(more=[("Content-Length", "0")]) + frame(TEXT, b"at once"))
        assert client.response().status == 101
        assert app.wait_events(2, "message")[1].text == "at once"


@pytest.mark.parametrize("target", ["http://169.254.169.254/", "http://127.0.0.1:1/ws", "https://x/", "ws", "*"])
def test_case_07_a_target_that_is_no_path(shared, target):
    refuse(shared, upgrade(target=target), 400)


@pytest.mark.parametrize("filler", [" ", '"', "\\", ",", ";", '\\"', "a, ", '"\\', 'a;b="', "=,"])
@pytest.mark.parametrize("name", ["protocol", "extensions"])
def test_case_08_long_lists_take_linear_time(shared, name, filler):
    app, process = shared
    before = process.cpu_seconds
    with process.client() as client:
        value = "x" + filler * (30_000 // len(filler)) + "y"
        client.send(upgrade(**{name: value}))
        assert client.response().status in (101, 400)
    assert process.cpu_seconds - before < 1


def test_a_connection_header_hides_no_field_behind_many_names(shared):
    app, process = shared
    names = ", ".join(f"n{number}" for number in range(63))
    with process.client() as client:
        client.send(upgrade(connection=f"Upgrade, {names}", more=[("N62", "hop"), ("N63", "end")]))
        assert client.response().status == 101
    assert app.events("open")[0].header("n62") is None and app.events("open")[0].header("n63") == "end"
    app.wait_events(1, "close")
    app.heads.clear()
    refuse(shared, upgrade(connection=f"Upgrade, {names}, n63"), 400)
    refuse(shared, upgrade(connection="Upgrade" + "," * 64), 400)


def test_case_09_too_many_headers(app, sidesocket):
    edge = sidesocket(app, MAX_HEADERS=20)
    for count, status in ((19, 101), (20, 101), (21, 431)):
        base = [f"X-{i}" for i in range(count - 5)]  # Host and the four of the handshake
        with edge.client() as client:
            client.send(upgrade(more=[(name, "1") for name in base]))
            assert client.response().status == status, count


def test_case_09_two_thousand_headers(shared):
    refuse(shared, upgrade(more=[(f"X-{i}", "1") for i in range(2000)]), 431)


def _refused_while_sending(process, data, step):
    """Sends `data` in steps until the answer is there; returns the answer."""
    with process.client() as client:
        for i in range(0, len(data), step):
            if not client.try_send(data[i : i + step]):
                break
        answer = client.response()
        client.sock.settimeout(5)
        assert client.rest() == b""
        return answer


def test_case_09_a_header_of_1_mb(shared):
    app, process = shared
    assert _refused_while_sending(process, upgrade(more=[("X-Big", "x" * (1 << 20))]), 4096).status == 431
    assert app.heads == []


def test_case_09_a_target_of_1_mb(shared):
    app, process = shared
    assert _refused_while_sending(process, upgrade(target="/" + "x" * (1 << 20)), 4096).status in (414, 431)
    assert app.heads == []


def test_case_09_a_head_just_under_the_cap(shared):
    _, process = shared
    with process.client() as client:
        client.send(upgrade(more=[("X-Big", "x" * (31 << 10))]))
        assert client.response().status == 101


def test_case_09_endless_one_byte_writes_stop_at_the_cap(shared):
    app, process = shared
    before = process.cpu_seconds
    data = upgrade()[:-2] + b"X-Big: " + b"x" * (10 << 20)
    assert _refused_while_sending(process, data, 1).status == 431
    assert process.cpu_seconds - before < 5
    assert app.heads == []


@pytest.mark.parametrize("silent", [True, False], ids=["silence", "a byte now and then"])
def test_case_09_a_slow_head_is_cut_at_the_absolute_deadline(app, sidesocket, silent):
    edge = sidesocket(app, HANDSHAKE_TIMEOUT="1s")
    with edge.client() as client:
        started = time.monotonic()
        data = iter(upgrade(more=[("X-Slow", "x" * 2000)]))
        client.send(bytes([next(data)]))
        client.sock.settimeout(0.1)
        while time.monotonic() - started < PATIENCE:
            if not silent:
                client.try_send(bytes([next(data)]))
            try:
                client.fill()
                break
            except TimeoutError:
                continue
        client.sock.settimeout(PATIENCE)
        refused(client.response(), 408)
        client.wait_closed()
        assert 0.9 < time.monotonic() - started < 4
    assert app.heads == []


def test_a_connection_that_never_sends_a_byte_is_closed_at_the_deadline(app, sidesocket):
    edge = sidesocket(app, HANDSHAKE_TIMEOUT="1s")
    with edge.client() as client:
        rest = client.rest()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=abc",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; unknown=1",
        "permessage-bzip2",
        "x-webkit-deflate-frame",
    ],
)
def test_case_10_an_offer_that_cannot_be_accepted_is_declined(shared, offer):
    _, process = shared
    socket = process.websocket(extensions=offer)
    assert socket.answer.all("sec-websocket-extensions") == []


@pytest.mark.parametrize(
    "line", [b"Sec-WebSocket-Key : x", b" folded", b"X-A: b\rc", b"X-A: b\x00c", b"Bad Name: x", b": x", b"no colon"]
)
def test_malformed_header_lines_are_refused(shared, line):
    refuse(shared, upgrade()[:-2] + line + b"\r\n\r\n", 400)
