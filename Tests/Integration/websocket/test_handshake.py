"""The opening handshake: what is accepted, what is refused and how, and what the app is asked."""

import asyncio
import time

import aiohttp
import pytest
import websockets
from support.app import Reply
from support.net import PATIENCE, eventually
from support.raw import encode
from support.ws import ACCEPT, CLOSE, KEY, TEXT, WebSocket, close_payload, frame, handshake_headers


def refused(answer, *statuses):
    """Checks an answer that Sidesocket itself gives to an upgrade: the status and one plain sentence."""
    assert answer.status in statuses, f"{answer.status} {answer.text}"
    assert answer.header("content-type").startswith("text/plain")
    assert 0 < len(answer.text.strip()) < 300 and len(answer.text.strip().splitlines()) == 1
    return answer


def refuse(shared, data, *statuses):
    """Sends `data`, wants one refusal, the end of the connection and nothing at the app."""
    app, process = shared
    with process.client() as client:
        client.send(data)
        answer = refused(client.response(), *statuses)
        client.wait_closed()
    assert app.heads == []
    return answer


def upgrade(method="GET", target="/ws", version="HTTP/1.1", host="sidesocket.test", more=(), body=None, **replace):
    return encode(method, target, handshake_headers(**replace) + list(more), body, host, version)


# What is accepted


def test_the_sample_handshake_of_rfc_6455(shared):
    app, process = shared
    with process.client() as client:
        client.send(upgrade())
        answer = client.response()
        assert answer.status == 101
        assert answer.header("sec-websocket-accept") == ACCEPT
        assert answer.header("upgrade").lower() == "websocket"
        assert answer.header("connection").lower() == "upgrade"
        assert answer.all("content-length") == answer.all("transfer-encoding") == []
        assert answer.all("sec-websocket-protocol") == answer.all("sec-websocket-extensions") == []
    assert [r.event for r in app.wait_events(1, "open")][0] == "open"


@pytest.mark.parametrize(
    "replace",
    [
        {"upgrade": "WebSocket"},
        {"upgrade": "WEBSOCKET"},
        {"connection": "upgrade"},
        {"connection": "keep-alive, Upgrade"},
        {"connection": "keep-alive,\tUPGRADE ,foo"},
    ],
    ids=repr,
)
def test_names_in_the_handshake_are_case_insensitive_and_lists_are_lists(shared, replace):
    _, process = shared
    with process.client() as client:
        client.send(upgrade(**replace))
        assert client.response().status == 101


def test_a_connection_header_in_two_lines(shared):
    _, process = shared
    with process.client() as client:
        client.send(upgrade(connection="keep-alive", more=[("Connection", "Upgrade")]))
        assert client.response().status == 101


def test_a_handshake_in_one_byte_writes(shared):
    _, process = shared
    with process.client() as client:
        for byte in upgrade():
            client.send(bytes([byte]))
        assert client.response().status == 101


def test_a_frame_in_the_packet_of_the_handshake_is_not_lost(shared):
    app, process = shared
    app.echo()
    socket = WebSocket.__new__(WebSocket)
    super(WebSocket, socket).__init__(process.port)
    socket.send(upgrade() + frame(TEXT, "early"))
    assert socket.response().status == 101
    assert socket.message() == "early"
    socket.close()


def test_case_06_upgrade_as_a_later_request_of_a_keep_alive_connection(shared):
    app, process = shared
    app.echo()
    socket = WebSocket.__new__(WebSocket)
    super(WebSocket, socket).__init__(process.port)
    assert socket.ask(target="/page").text == "from the app"
    assert socket.ask("POST", "/form", body=b"a=1").text == "from the app"
    socket.send(upgrade())
    assert socket.response().status == 101
    socket.text("after two requests")
    assert socket.message() == "after two requests"
    socket.close()


def test_case_06_upgrade_pipelined_behind_a_request(shared):
    app, process = shared
    app.echo()
    socket = WebSocket.__new__(WebSocket)
    super(WebSocket, socket).__init__(process.port)
    socket.send(encode("GET", "/page") + upgrade() + frame(TEXT, "hello"))
    assert socket.response().text == "from the app"
    assert socket.response().status == 101
    assert socket.message() == "hello"


def test_the_websockets_library_connects(shared):
    app, process = shared
    app.echo()

    async def talk():
        async with websockets.connect(f"ws://127.0.0.1:{process.port}/ws") as socket:
            await socket.send("text")
            assert await socket.recv() == "text"
            await socket.send(b"\x00\xff")
            assert await socket.recv() == b"\x00\xff"
        assert socket.close_code == 1000

    asyncio.run(asyncio.wait_for(talk(), PATIENCE))


def test_the_aiohttp_library_connects(shared):
    app, process = shared
    app.echo()

    async def talk():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"http://127.0.0.1:{process.port}/ws") as socket:
                await socket.send_str("text")
                assert await socket.receive_str() == "text"
                await socket.send_bytes(b"\x00\xff")
                assert await socket.receive_bytes() == b"\x00\xff"
            assert socket.close_code == 1000

    asyncio.run(asyncio.wait_for(talk(), PATIENCE))


# What is refused


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


# The app decides


def test_the_app_chooses_the_subprotocol(shared):
    app, process = shared
    app.on(Reply(204, headers={"Sec-WebSocket-Protocol": "b"}), event="open")
    socket = process.websocket(protocol="a, b, c")
    assert socket.answer.header("sec-websocket-protocol") == "b"
    assert app.wait_events(1, "open")[0].header("sec-websocket-protocol") == "a, b, c"


@pytest.mark.parametrize("offered", ["a, b", None, "c x"], ids=repr)
@pytest.mark.parametrize("chosen", ["c", "a, b", "B"])
def test_case_10_a_subprotocol_that_was_not_offered_is_a_fault_of_the_app(shared, offered, chosen):
    app, process = shared
    app.on(Reply(204, headers={"Sec-WebSocket-Protocol": chosen}), event="open")
    socket = process.try_websocket(protocol=offered)
    assert socket.answer.status in ((502,) if offered != "c x" else (400, 502))
    socket.wait_closed()


def test_case_10_a_subprotocol_is_never_answered_unasked(shared):
    _, process = shared
    socket = process.websocket(protocol="a, b")
    assert socket.answer.all("sec-websocket-protocol") == []


def test_headers_of_the_open_reply_go_into_the_101(shared):
    app, process = shared
    headers = [
        ("Set-Cookie", "a=1; Path=/"),
        ("Set-Cookie", "b=2"),
        ("X-Custom", "yes"),
        ("Connection", "X-Hop, keep-alive"),
        ("X-Hop", "no"),
        ("Keep-Alive", "timeout=5"),
        ("Sidesocket-State", "secret"),
        ("Sidesocket-User", "42"),
        ("Sec-WebSocket-Accept", "forged"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ]
    app.on(Reply(200, headers=headers), event="open")
    answer = process.websocket().answer
    assert answer.all("set-cookie") == ["a=1; Path=/", "b=2"]
    assert answer.header("x-custom") == "yes"
    assert answer.header("connection").lower() == "upgrade"
    for name in ("x-hop", "keep-alive", "content-length", "sidesocket-state", "sidesocket-user"):
        assert answer.all(name) == [], name
    assert answer.all("sec-websocket-extensions") == []


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 429, 500, 503])
def test_a_refusal_of_the_app_is_relayed_with_headers_and_body(shared, status):
    app, process = shared
    headers = [("Location", "/login"), ("WWW-Authenticate", "Basic"), ("Set-Cookie", "a=1"), ("X-Why", "because")]
    app.on(Reply(status, "no entry", headers), event="open")
    socket = process.try_websocket()
    assert (socket.answer.status, socket.answer.text) == (status, "no entry")
    for name, value in headers:
        assert socket.answer.header(name) == value
    assert "sec-websocket-accept" not in socket.answer.head.decode().lower()
    socket.wait_closed()
    assert [r.event for r in app.events()] == ["open"]
    with process.client() as client:
        client.ask(target="/later")
    assert app.events("close") == []


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [65535, 65536, 65537, 300_000])
def test_at_most_64_kib_of_a_refusals_body_are_relayed(shared, size, chunked):
    app, process = shared
    body = bytes(i % 251 for i in range(size))
    app.on(Reply(403, body, chunked=chunked), event="open")
    socket = process.try_websocket()
    assert socket.answer.status == 403
    assert body.startswith(socket.answer.body)
    assert len(socket.answer.body) == min(size, 65536)
    socket.wait_closed()


def test_an_app_that_does_not_answer_open_in_time_gives_504(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_TIMEOUT="300ms")
    app.on(Reply(raw=b""), event="open")
    socket = edge.try_websocket()
    refused(socket.answer, 504)
    socket.wait_closed()
    app.requests[0].connection.wait_closed()


def test_no_connection_to_the_app_gives_502_or_503_with_retry_after(app, edge):
    app.stop_listening()
    socket = edge.try_websocket()
    refused(socket.answer, 502, 503)
    assert int(socket.answer.header("retry-after")) > 0
    socket.wait_closed()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(raw=b"", reset=True),
        Reply(raw=b"", close=True),
        Reply(raw=b"garbage\r\n\r\n", close=True),
        Reply(raw=b"HTTP/1.1 204 No", close=True),
        Reply(raw=b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    ],
    ids=["reset", "closed", "garbage", "half a head", "a 101"],
)
def test_an_app_that_breaks_off_at_open_gives_502(shared, reply):
    app, process = shared
    app.on(reply, event="open")
    socket = process.try_websocket()
    refused(socket.answer, 502, 503)
    socket.wait_closed()


def test_a_2xx_with_a_body_at_open_is_the_first_message(shared):
    app, process = shared
    app.on(Reply(200, "welcome", {"Content-Type": "text/plain"}), event="open")
    socket = process.websocket()
    assert socket.message() == "welcome"
    socket.close()


def test_a_client_that_leaves_before_the_app_answered_open_is_told_to_the_app(shared):
    from support.app import gate

    app, process = shared
    held = gate()
    app.on(Reply(204, gate=held), event="open")
    with process.client() as client:
        client.send(upgrade())
        app.wait_events(1, "open")
        client.reset()
    held.set()
    # Opened with a 2xx as the app sees it, so it also hears of the end; or the call was aborted in time.
    eventually(
        lambda: app.events("close") or app.events("open")[0].connection.closed.is_set(),
        "a close event or an aborted call",
    )


# Where and how many


@pytest.mark.parametrize(
    ("target", "status"),
    [("/ws", 101), ("/ws?x=1", 101), ("/live/", 101), ("/live/a/b?c", 101)]
    + [(t, 404) for t in ("/", "/wsx", "/ws/", "/WS", "/liv", "/live", "/other", "/x/ws", "/?/ws")],
)
def test_only_ws_paths_become_sessions(ws_paths_pair, target, status):
    app, process = ws_paths_pair
    app.reset_script()
    socket = process.try_websocket(target)
    assert socket.answer.status == status
    if status == 404:
        refused(socket.answer, 404)
        socket.wait_closed()
        # The close event of an earlier case may still come.
        assert [r for r in app.heads if r.event != "close"] == []


@pytest.fixture(scope="module")
def ws_paths_pair():
    from support.app import App
    from support.process import Sidesocket

    app = App()
    process = Sidesocket(APP_URL=app.url, WS_PATHS="/ws,/live/*")
    yield app, process
    process.kill()
    app.stop()


def test_other_requests_to_any_path_still_reach_the_app(ws_paths_pair):
    app, process = ws_paths_pair
    for target in ("/ws", "/live/x", "/other"):
        with process.client() as client:
            assert client.ask(target=target).text == "from the app"


def test_max_connections(app, sidesocket):
    edge = sidesocket(app, MAX_CONNECTIONS=2)
    first, second = edge.websocket(), edge.websocket()
    third = edge.try_websocket()
    refused(third.answer, 503)
    assert int(third.answer.header("retry-after")) > 0
    third.wait_closed()
    first.close()

    def again():
        socket = edge.try_websocket()
        return socket if socket.answer.status == 101 else None

    fourth = eventually(again, "room for a new connection")
    app.echo()
    for socket in (second, fourth):
        socket.text("works")
        assert socket.message() == "works"


# Nobody forges an event

FORGED = [
    ("ce-type", "com.example"),
    ("ce-id", "forged"),
    ("CE-UserId", "root"),
    ("ce-extra", "forged"),
    ("webhook-id", "forged"),
    ("Webhook-Signature", "v1,forged"),
    ("Sidesocket-User", "root"),
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.test"),
    ("X-Forwarded-Port", "1"),
    ("Forwarded", "for=6.6.6.6"),
    ("X-Real-IP", "6.6.6.6"),
]


def test_case_26_forged_headers_of_the_handshake_reach_no_event(app, sidesocket):
    names = ",".join(name for name, _ in FORGED)
    for extra in ({}, {"FORWARD_HEADERS": "cookie"}):
        app.reset_script()
        edge = sidesocket(app, **extra)
        socket = edge.websocket(headers=FORGED)
        socket.text("x")
        app.wait_events(1, "message")
        socket.close()
        events = app.wait_events(3)
        assert [r.event for r in events] == ["open", "message", "close"]
        for request in events:
            seen = request.head.decode("latin-1")
            for bad in ("forged", "root", "6.6.6.6", "evil.test", "com.example"):
                assert bad not in seen, f"{bad} in {seen}, forged by one of {names}"
            assert request.header("x-forwarded-for") == "127.0.0.1"
            assert request.header("x-forwarded-proto") == "http"
            assert request.header("x-forwarded-host") == socket.host


@pytest.mark.parametrize(
    "name",
    [
        "Ce_Type",
        "ce_userid",
        "X_Forwarded_For",
        "x_real_ip",
        "Sidesocket_User",
        "Webhook_Id",
        "ce_a-b",
        "X-Forwarded_For",
    ],
)
def test_case_26_names_with_underscores_that_collide_are_refused(shared, name):
    refuse(shared, upgrade(more=[(name, "1")]), 400)


def test_case_26_a_connection_header_cannot_remove_what_events_carry(shared):
    app, process = shared
    listed = "Upgrade, X-Forwarded-For, ce-type, ce-id, Host, Content-Length, Cookie"
    socket = process.websocket(connection=listed, headers={"Cookie": "a=1"})
    socket.text("x")
    for request in app.wait_events(2):
        assert request.header("x-forwarded-for") == "127.0.0.1"
        assert request.header("ce-type") and request.header("ce-id") and request.header("host")


@pytest.mark.parametrize(
    "line", [b"Sec-WebSocket-Key : x", b" folded", b"X-A: b\rc", b"X-A: b\x00c", b"Bad Name: x", b": x", b"no colon"]
)
def test_malformed_header_lines_are_refused(shared, line):
    refuse(shared, upgrade()[:-2] + line + b"\r\n\r\n", 400)


def test_close_frame_right_behind_the_handshake(shared):
    app, process = shared
    socket = WebSocket.__new__(WebSocket)
    super(WebSocket, socket).__init__(process.port)
    socket.send(upgrade() + frame(CLOSE, close_payload(1000)))
    assert socket.response().status == 101
    socket.expect_close(1000)
    app.wait_events(1, "close")
