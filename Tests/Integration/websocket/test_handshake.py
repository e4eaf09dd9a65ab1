"""The opening handshake: what is accepted, what the app decides, and where."""

import asyncio

import aiohttp
import pytest
import websockets
from support.app import Reply
from support.handshake import refused, upgrade
from support.net import PATIENCE, eventually
from support.raw import encode
from support.ws import ACCEPT, CLOSE, TEXT, WebSocket, close_payload, frame

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


def test_close_frame_right_behind_the_handshake(shared):
    app, process = shared
    socket = WebSocket.__new__(WebSocket)
    super(WebSocket, socket).__init__(process.port)
    socket.send(upgrade() + frame(CLOSE, close_payload(1000)))
    assert socket.response().status == 101
    socket.expect_close(1000)
    app.wait_events(1, "close")
