"""Events to the app, exactly as the contract writes them."""

import calendar
import json
import re
import time
import urllib.parse
from socket import IPPROTO_TCP, TCP_NODELAY

from support.app import Reply, gate
from support.raw import encode
from support.ws import handshake_headers


def test_a_client_that_leaves_while_the_app_decides_is_counted(app, edge):
    held = gate()
    app.on(Reply(204, gate=held), event="open")
    client = edge.client()
    client.send(encode("GET", "/ws", handshake_headers()))
    app.wait_events(1, "open")
    client.reset()
    edge.wait_metric("handshakes_total", 1, result="client_gone")
    held.set()
    app.wait_events(1, "close")


def test_an_event_that_is_tried_again_is_no_line_in_the_log(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="10s")
    app.on(Reply(429), event="message", times=3)
    socket = edge.websocket()
    socket.text("x")
    app.wait_events(4, "message")
    socket.barrier()
    assert [line for line in edge.logs if line.get("event") == "message"] == []


def test_small_messages_do_not_wait_for_the_acknowledgement_of_earlier_ones(app, edge):
    socket = edge.websocket()
    (ours,) = [twin for twin in edge.sockets() if twin.getpeername() == socket.sock.getsockname()]
    assert ours.getsockopt(IPPROTO_TCP, TCP_NODELAY) == 1


# Events


def test_the_open_event(app, sidesocket):
    edge = sidesocket(app, NODE_NAME="node-7")
    before = time.time()
    headers = [
        ("Cookie", "session=abc; b=2"),
        ("Authorization", "Bearer t"),
        ("User-Agent", "tester/1"),
        ("Accept-Language", "de"),
        ("X-Tenant", "7"),
        ("Keep-Alive", "timeout=5"),
        ("X-Hop", "1"),
    ]
    socket = edge.websocket(
        "/ws/chat?room=1&x=%20", headers=headers, origin="http://shop.example", host="shop.example",
        protocol="a, b", connection="keep-alive, Upgrade, X-Hop",
    )  # fmt: skip
    (event,) = app.wait_events(1, "open")
    assert (event.method, event.target) == ("POST", "/ws/chat?room=1&x=%20")
    assert event.body == b""
    assert event.header("content-length") == "0"
    assert event.header("host") == "shop.example"
    assert event.header("ce-specversion") == "1.0"
    assert event.header("ce-type") == "sidesocket.open"
    assert event.header("ce-source") == "/sidesocket/node-7"
    assert event.header("ce-sequence") == "1"
    connection = event.header("ce-connectionid")
    assert re.fullmatch(r"[A-Za-z0-9_-]{16,}", connection)
    assert event.header("ce-id") == f"{connection}-1"
    assert urllib.parse.unquote(event.header("ce-subject")) == "/ws/chat?room=1&x=%20"
    assert "%2520" in event.header("ce-subject")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.header("ce-time"))
    at = calendar.timegm(time.strptime(event.header("ce-time")[:19], "%Y-%m-%dT%H:%M:%S"))
    assert before - 2 <= at <= time.time() + 2
    assert event.all("ce-userid") == event.all("ce-connectionstate") == []
    assert event.header("x-forwarded-for") == "127.0.0.1"
    assert event.header("x-forwarded-proto") == "http"
    assert event.header("x-forwarded-host") == "shop.example"
    for name, value in headers[:5]:
        assert event.header(name) == value
    assert event.header("origin") == "http://shop.example"
    assert event.header("sec-websocket-protocol") == "a, b"
    for name in ("upgrade", "keep-alive", "x-hop", "transfer-encoding", "expect"):
        assert event.all(name) == [], name
    assert "upgrade" not in (event.header("connection") or "").lower()
    socket.close()


def test_message_and_close_events(app, edge):
    socket = edge.websocket("/ws?q=1", headers={"Cookie": "a=1", "Authorization": "Bearer t", "X-Tenant": "7"})
    socket.text("héllo")
    socket.binary(b"\x00\x01\xff")
    app.wait_events(2, "message")
    socket.close(4001, "bye, é")
    app.wait_events(1, "close")
    events = app.events()
    assert [e.event for e in events] == ["open", "message", "message", "close"]
    connection = events[0].header("ce-connectionid")
    for number, event in enumerate(events, 1):
        assert (event.method, event.target) == ("POST", "/ws?q=1")
        assert event.header("ce-connectionid") == connection
        assert event.header("ce-sequence") == str(number)
        assert event.header("ce-id") == f"{connection}-{number}"
        assert event.header("ce-source") == "/sidesocket/test-node"
        assert event.header("ce-specversion") == "1.0"
        assert event.header("cookie") == "a=1"
        assert event.header("authorization") == "Bearer t"
        assert event.header("x-forwarded-for") == "127.0.0.1"
        assert event.header("host") == socket.host
        assert event.header("content-length") == str(len(event.body))
        names = [name.lower() for name, _ in event.headers]
        assert len(names) == len(set(names)), names
    for event in events[1:]:
        assert event.all("x-tenant") == event.all("sec-websocket-version") == []
    assert events[1].header("content-type") == "text/plain; charset=utf-8"
    assert events[1].body == "héllo".encode()
    assert events[2].header("content-type") == "application/octet-stream"
    assert events[2].body == b"\x00\x01\xff"
    assert events[3].header("content-type").startswith("application/json")
    body = json.loads(events[3].body)
    assert isinstance(body.pop("durationMs"), int)
    assert body == {"code": 4001, "reason": "bye, é", "initiator": "client", "messagesIn": 2, "messagesOut": 0}


def test_empty_messages_are_events_too(app, edge):
    app.echo()
    socket = edge.websocket()
    socket.text("")
    assert socket.message() == ""
    socket.binary(b"")
    assert socket.message() == b""
    kinds = [(e.header("content-type"), e.body) for e in app.events("message")]
    assert kinds == [("text/plain; charset=utf-8", b""), ("application/octet-stream", b"")]


def test_connection_ids_are_distinct_and_unguessable(app, edge):
    for _ in range(50):
        edge.websocket().sock.close()
    ids = [e.header("ce-connectionid") for e in app.wait_events(50, "open")]
    assert len(set(ids)) == 50
    # No common part beyond chance: an id is no counter with a prefix.
    for i in range(4, len(ids[0]) - 4):
        assert len({one[i : i + 4] for one in ids}) > 25, ids


def test_forward_headers(app, sidesocket):
    edge = sidesocket(app, FORWARD_HEADERS="x-tenant,User-Agent")
    socket = edge.websocket(headers={"Cookie": "a=1", "X-Tenant": "7", "User-Agent": "t/1", "Authorization": "B"})
    socket.text("x")
    open_event, message = app.wait_events(2)
    assert open_event.header("cookie") == "a=1" and open_event.header("authorization") == "B"
    assert message.header("x-tenant") == "7" and message.header("user-agent") == "t/1"
    assert message.all("cookie") == message.all("authorization") == []


def test_two_cookie_headers_are_both_forwarded(app, edge):
    socket = edge.websocket(headers=[("Cookie", "a=1"), ("Cookie", "b=2")])
    socket.text("x")
    for event in app.wait_events(2):
        assert "; ".join(event.all("cookie")) == "a=1; b=2"


def test_preserve_host_off(app, sidesocket):
    edge = sidesocket(app, PRESERVE_HOST="false")
    socket = edge.websocket(host="shop.example")
    socket.text("x")
    for event in app.wait_events(2):
        assert event.header("host") == f"127.0.0.1:{app.port}"
        assert event.header("x-forwarded-host") == "shop.example"
    with edge.client() as client:
        client.ask(target="/page", host="shop.example")
    (plain,) = app.plain()
    assert plain.header("host") == f"127.0.0.1:{app.port}"
    assert plain.header("x-forwarded-host") == "shop.example"


def test_webhook_url(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_URL=f"{app.url}/hooks/ws?key=1")
    socket = edge.websocket("/chat/1?room=2")
    socket.text("x")
    app.wait_events(2)
    socket.close()
    events = app.wait_events(3)
    assert [e.event for e in events] == ["open", "message", "close"]
    for event in events:
        assert event.target == "/hooks/ws?key=1"
        assert urllib.parse.unquote(event.header("ce-subject")) == "/chat/1?room=2"
    # Nobody outside may play Sidesocket.
    for target in ("/hooks/ws", "/hooks/ws?key=1", "/hooks/ws?x"):
        with edge.client() as client:
            assert client.ask("POST", target, body=b"x").status == 404
    with edge.client() as client:
        assert client.ask(target="/hooks/ws2").status == 200
    assert [r.path for r in app.plain()] == ["/hooks/ws2"]


def test_app_url_with_a_path_prefix_or_a_clear_error(app, sidesocket):
    # The contract names hosts and ports only; a prefix must not silently change where events go.
    from support.process import run

    done = run("check", APP_URL=f"{app.url}/prefix")
    if done.returncode == 0:
        edge = sidesocket(APP_URL=f"{app.url}/prefix")
        with edge.client() as client:
            client.ask(target="/page")
        assert app.requests[0].target == "/prefix/page"
    else:
        assert done.returncode == 78 and "SIDESOCKET_APP_URL" in done.stderr + done.stdout
