"""The bridge: events to the app, exactly as the contract writes them, and what its replies do."""

import base64
import calendar
import json
import re
import threading
import time
import urllib.parse
from socket import IPPROTO_TCP, TCP_NODELAY

import pytest
from support.app import Reply, commands, echo, gate
from support.net import eventually, send_until_blocked
from support.net import reset as abort
from support.raw import encode
from support.ws import BINARY, CLOSE, TEXT, close_payload, frame, handshake_headers

TEXT_PLAIN = {"Content-Type": "text/plain"}


def close_event(app, timeout=10):
    """The body of the (last) close event."""
    return json.loads(app.wait_events(1, "close", timeout)[-1].body)


# Answers that are not text


@pytest.mark.parametrize("name", ["Sidesocket-User", "Sidesocket-State", "Sidesocket-Subscribe"])
def test_a_header_that_is_not_utf8_is_a_bad_reply(app, edge, name):
    app.on(Reply(204, headers={name: "jos\xe9"}), event="open", times=1)
    assert edge.try_websocket().answer.status == 502
    assert edge.metric("handshakes_total", result="app_failed") == 1
    app.on(Reply(204, headers={name: "jos\xe9"}), event="message")
    socket = edge.websocket()
    socket.text("x")
    assert socket.expect_close() is not None


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


# The socket


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


# Replies

TEXT_TYPES = [
    "text/plain", "text/html; charset=utf-8", "TEXT/CSV", "application/json", "application/json; charset=utf-8",
    "application/xml", "application/problem+json", "image/svg+xml", "application/JSON", None,
]  # fmt: skip
BINARY_TYPES = ["application/octet-stream", "image/png", "application/cbor", "application/jsonx", "application/x-text"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("kind", TEXT_TYPES + BINARY_TYPES, ids=str)
def test_the_type_of_the_reply_decides_text_or_binary(shared, kind, chunked):
    app, process = shared
    headers = {} if kind is None else {"Content-Type": kind}
    app.on(Reply(200, "grüße", headers, chunked=chunked), event="message")
    socket = process.websocket()
    socket.binary(b"x")
    assert socket.message() == ("grüße" if kind in TEXT_TYPES else "grüße".encode())


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
def test_any_2xx_with_a_body_is_a_message(shared, status):
    app, process = shared
    app.on(Reply(status, "ok", TEXT_PLAIN), event="message")
    socket = process.websocket()
    socket.text("x")
    assert socket.message() == "ok"


@pytest.mark.parametrize(
    "silent",
    [
        Reply(204),
        Reply(200),
        Reply(200, headers=TEXT_PLAIN),
        Reply(202, chunked=True),
        Reply(200, headers={"Content-Type": "application/octet-stream"}),
        Reply(raw=b"HTTP/1.1 200 \r\n\r\n", close=True),
        Reply(raw=b"HTTP/1.1 204\r\n\r\n"),
    ],
    ids=["204", "200", "200 with a type", "chunked", "octet-stream", "until close", "no reason"],
)
def test_an_empty_reply_sends_nothing(shared, silent):
    app, process = shared
    app.echo()
    app.on(silent, event="message", times=1)
    socket = process.websocket()
    socket.text("silent")
    socket.text("loud")
    assert socket.message() == "loud"
    socket.close()


def test_a_reply_that_ends_with_the_connection(shared):
    app, process = shared
    app.on(Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end", close=True), event="message")
    socket = process.websocket()
    for _ in range(3):
        socket.text("x")
        assert socket.message() == "until the end"


def test_informational_answers_before_the_reply_are_skipped(shared):
    app, process = shared
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    app.on(lambda r: Reply(raw=early + Reply(200, r.body, TEXT_PLAIN).encode("POST")), event="message")
    socket = process.websocket()
    for text in ("a", "b"):
        socket.text(text)
        assert socket.message() == text


def test_the_command_list(shared):
    app, process = shared
    app.on(
        commands(
            {"send": {"text": "one é"}},
            {"send": {"base64": base64.b64encode(b"\x00\xff").decode()}},
            {"send": {"text": ""}},
            {"user": "42"},
            {"state": "s1"},
            {"send": {"text": "two"}},
        ),
        event="message",
        times=1,
    )
    socket = process.websocket()
    socket.text("x")
    assert [socket.message() for _ in range(4)] == ["one é", b"\x00\xff", "", "two"]
    socket.text("y")
    event = app.wait_events(2, "message")[1]
    assert (event.header("ce-userid"), event.header("ce-connectionstate")) == ("42", "s1")


def test_a_close_command_comes_after_what_was_sent(shared):
    app, process = shared
    app.on(commands({"send": {"text": "last"}}, {"close": {"code": 4000, "reason": "bye"}}), event="message")
    socket = process.websocket()
    socket.text("x")
    assert socket.message() == "last"
    got = socket.expect_close(4000)
    assert got.reason == "bye"
    body = close_event(app)
    assert (body["code"], body["reason"], body["initiator"]) == (4000, "bye", "server")


def test_an_empty_command_list_does_nothing(shared):
    app, process = shared
    app.echo()
    app.on(commands(), event="message", times=1)
    socket = process.websocket()
    socket.text("x")
    socket.text("y")
    assert socket.message() == "y"


def test_commands_in_the_reply_to_open(shared):
    app, process = shared
    app.on(commands({"send": {"text": "hi"}}, {"user": "7"}), event="open")
    socket = process.websocket()
    assert socket.message() == "hi"
    socket.text("x")
    assert app.wait_events(1, "message")[0].header("ce-userid") == "7"


@pytest.mark.parametrize(
    "body",
    [
        "{", "null", "{}", '"send"', "[1]", '[{"send":{}}]', '[{"send":{"text":1}}]', '[{"send":"x"}]',
        '[{"send":{"base64":"*"}}]', '[{"send":{"text":"a","base64":"YQ=="}}]', '[{"sned":{"text":"x"}}]', '[{}]',
        '[{"user":42}]', '[{"state":{}}]', '[{"close":"now"}]', '[{"close":{"code":"x"}}]', "[" * 100_000,
        '[{"send":{"text":"\\ud800"}}]', '[{"send":{"text":"a"}}] x', "[{\"send\":{\"text\":\"a\tb\"}}", "\xff",
    ],
    ids=lambda body: body[:30],
)  # fmt: skip
def test_a_malformed_command_list_is_a_final_failure(shared, body):
    app, process = shared
    app.on(Reply(200, body.encode("latin-1"), {"Content-Type": "application/vnd.sidesocket+json"}), event="message")
    socket = process.websocket()
    socket.text("x")
    socket.expect_close(1011)
    assert close_event(app)["code"] == 1011


@pytest.mark.parametrize(
    ("value", "code", "reason"),
    [("4000 bye", 4000, "bye"), ("4000", 4000, ""), ("1000 all done here", 1000, "all done here"), ("3000 ", 3000, "")],
)
def test_sidesocket_close_after_sending(shared, value, code, reason):
    app, process = shared
    app.on(Reply(200, "last", {**TEXT_PLAIN, "Sidesocket-Close": value}), event="message")
    socket = process.websocket()
    socket.text("x")
    assert socket.message() == "last"
    got = socket.expect_close(code)
    assert got.reason == reason
    body = close_event(app)
    assert (body["code"], body["reason"], body["initiator"]) == (code, reason, "server")
    assert (body["messagesIn"], body["messagesOut"]) == (1, 1)


def test_sidesocket_close_in_the_reply_to_open(shared):
    app, process = shared
    app.on(Reply(200, "hi", {**TEXT_PLAIN, "Sidesocket-Close": "4001 no room"}), event="open")
    socket = process.websocket()
    assert socket.message() == "hi"
    assert socket.expect_close(4001).reason == "no room"
    assert close_event(app)["code"] == 4001


def test_messages_behind_a_close_by_the_app_are_not_delivered(shared):
    app, process = shared
    held = gate()
    app.on(Reply(204, headers={"Sidesocket-Close": "4000"}, gate=held), event="message")
    socket = process.websocket()
    socket.text("one")
    app.wait_events(1, "message")
    socket.text("two")
    socket.barrier()
    held.set()
    socket.expect_close(4000)
    app.wait_events(1, "close")
    events = app.events()
    assert [e.event for e in events] == ["open", "message", "close"]
    assert [e.sequence for e in events] == [1, 2, 3]


def test_user_and_state_are_repeated_until_changed(shared):
    app, process = shared
    app.on(Reply(204, headers={"Sidesocket-User": "42", "Sidesocket-State": "a=1; b"}), event="open")
    socket = process.websocket()
    seen = []
    for headers in ({}, {"Sidesocket-State": "next"}, {"Sidesocket-User": "43"}, {"Sidesocket-State": ""}, {}):
        app.on(Reply(204, headers=headers), event="message")
        socket.text("x")
        event = app.wait_events(len(seen) + 1, "message")[-1]
        seen.append((event.header("ce-userid"), event.header("ce-connectionstate")))
        socket.barrier()
    socket.close()
    event = app.wait_events(1, "close")[0]
    seen.append((event.header("ce-userid"), event.header("ce-connectionstate")))
    users = [user for user, _ in seen]
    assert users == ["42", "42", "42", "43", "43", "43"]
    # A space is percent-encoded in CloudEvents headers.
    assert [state for _, state in seen] == ["a=1;%20b", "a=1;%20b", "next", "next", None, None]


@pytest.mark.parametrize(("size", "kept"), [(4095, True), (4096, True), (4097, False)])
def test_at_most_4_kib_of_state_are_kept(shared, size, kept):
    app, process = shared
    app.on(Reply(204, headers={"Sidesocket-State": "s" * size}), event="message", times=1)
    socket = process.websocket()
    socket.text("x")
    app.wait_events(1, "message")
    if kept:
        socket.text("y")
        assert app.wait_events(2, "message")[1].header("ce-connectionstate") == "s" * size
    else:
        socket.expect_close(1011)
        assert app.wait_events(1, "close")[0].header("ce-connectionstate") is None


def test_values_that_cloudevents_percent_encodes(shared):
    app, process = shared
    app.on(commands({"user": 'ü "1" 50%'}, {"state": "a\nb€"}), event="open")
    socket = process.websocket()
    socket.text("x")
    event = app.wait_events(1, "message")[0]
    assert event.header("ce-userid") == "%C3%BC%20%221%22%2050%25"
    assert event.header("ce-connectionstate") == "a%0Ab%E2%82%AC"


# Order


def test_events_of_one_connection_come_one_at_a_time_and_in_order(shared):
    app, process = shared
    app.echo()
    socket = process.websocket()
    texts = [f"message {i}" for i in range(300)]
    socket.send(b"".join(frame(TEXT, text) for text in texts))
    assert [socket.message() for _ in texts] == texts
    assert [e.text for e in app.events("message")] == texts
    assert [e.sequence for e in app.events()] == list(range(1, 302))
    connection = app.events()[0].header("ce-connectionid")
    assert [e.header("ce-id") for e in app.events()] == [f"{connection}-{i}" for i in range(1, 302)]


def test_many_connections_each_keep_their_order(shared):
    app, process = shared
    app.echo()
    sockets = [process.websocket() for _ in range(20)]
    for i in range(20):
        for n, socket in enumerate(sockets):
            socket.text(f"{n}-{i}")
    for n, socket in enumerate(sockets):
        assert [socket.message() for _ in range(20)] == [f"{n}-{i}" for i in range(20)]


def test_connections_to_the_app_are_kept_and_reused(shared):
    app, process = shared
    app.echo()
    before = len(app.connections)
    socket = process.websocket()
    for i in range(30):
        socket.text(str(i))
        assert socket.message() == str(i)
    assert len(app.connections) - before <= 2


def test_a_reply_with_connection_close_is_obeyed(shared):
    app, process = shared
    app.on(lambda r: Reply(200, r.body, TEXT_PLAIN, close=True), event="message")
    socket = process.websocket()
    for i in range(10):
        socket.text(str(i))
        assert socket.message() == str(i)


# The end of a connection


def test_a_close_without_a_code(shared):
    app, process = shared
    socket = process.websocket()
    socket.frame(CLOSE)
    socket.expect_close()
    body = close_event(app)
    assert (body["code"], body["reason"], body["initiator"]) == (1005, "", "client")


@pytest.mark.parametrize("how", ["reset", "fin", "half a frame"])
def test_a_client_that_vanishes_gives_1006(shared, how):
    app, process = shared
    app.echo()
    socket = process.websocket()
    socket.text("x")
    assert socket.message() == "x"
    if how == "reset":
        socket.reset()
    else:
        if how == "half a frame":
            socket.send(frame(TEXT, "half")[:5])
        socket.sock.close()
    body = close_event(app)
    assert isinstance(body.pop("durationMs"), int)
    assert body == {"code": 1006, "reason": "", "initiator": "network", "messagesIn": 1, "messagesOut": 1}
    assert [e.event for e in app.events()] == ["open", "message", "close"]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_the_close_event_comes_after_every_message_before_it(shared, how):
    app, process = shared
    held = gate()
    app.on(Reply(204, gate=held), event="message")
    socket = process.websocket()
    for text in ("a", "b", "c"):
        socket.text(text)
    socket.barrier()
    if how == "reset":
        socket.reset()
    else:
        socket.frame(CLOSE, close_payload(1000))
    app.wait_events(1, "message")
    assert app.events("close") == []
    held.set()
    app.wait_events(1, "close")
    assert [(e.sequence, e.event, e.text if e.event == "message" else "") for e in app.events()] == [
        (1, "open", ""), (2, "message", "a"), (3, "message", "b"), (4, "message", "c"), (5, "close", ""),
    ]  # fmt: skip


def test_every_accepted_connection_gets_exactly_one_close_event(shared):
    app, process = shared
    sockets = [process.websocket() for _ in range(40)]
    for i, socket in enumerate(sockets):
        if i % 3 == 0:
            socket.reset()
        elif i % 3 == 1:
            socket.frame(CLOSE, close_payload(1000))
            socket.sock.close()
        else:
            socket.close()
    app.wait_events(40, "close")
    opened = sorted(e.header("ce-connectionid") for e in app.events("open"))
    assert sorted(e.header("ce-connectionid") for e in app.events("close")) == opened
    assert len(set(opened)) == 40


def test_a_failing_close_event_harms_nobody(shared):
    app, process = shared
    app.echo()
    app.on(Reply(500), event="close")
    process.websocket().close()
    app.wait_events(1, "close")
    socket = process.websocket()
    socket.text("still here")
    assert socket.message() == "still here"
    app.on(Reply(204), event="close")
    socket.close()


# Final failures

CLIENT_FAULTS = [400, 401, 403, 404, 409, 410, 413, 422, 451]
APP_FAULTS = [301, 302, 304, 307, 500, 501, 505]
UNAVAILABLE = [429, 502, 503, 504]


@pytest.mark.parametrize(
    ("status", "code"),
    [(s, 1008) for s in CLIENT_FAULTS] + [(s, 1011) for s in APP_FAULTS] + [(s, 1013) for s in UNAVAILABLE],
)
def test_a_final_failure_of_a_message_closes(shared, status, code):
    app, process = shared
    app.on(Reply(status, "never sent to the client", TEXT_PLAIN), event="message")
    socket = process.websocket()
    socket.text("x")
    socket.expect_close(code)
    body = close_event(app)
    assert (body["code"], body["initiator"]) == (code, "server")
    assert (body["messagesIn"], body["messagesOut"]) == (1, 0)


def test_a_refused_connection_closes_with_1013(app, edge):
    socket = edge.websocket()
    app.wait_events(1, "open")
    app.stop_listening()
    socket.text("x")
    socket.expect_close(1013)


def test_a_timeout_closes_with_1013_and_drops_the_connection_to_the_app(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_TIMEOUT="300ms")
    app.on(Reply(raw=b""), event="message")
    socket = edge.websocket()
    socket.text("x")
    started = time.monotonic()
    socket.expect_close(1013)
    assert 0.2 < time.monotonic() - started < 5
    (event,) = app.events("message")
    event.connection.wait_closed()
    assert close_event(app)["code"] == 1013


def test_webhook_timeout_covers_the_whole_attempt(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_TIMEOUT="500ms")
    app.on(Reply(200, "x" * 1000, TEXT_PLAIN, drip=0.05), event="message")
    socket = edge.websocket()
    socket.text("x")
    started = time.monotonic()
    socket.expect_close(1013)
    assert time.monotonic() - started < 5
    app.events("message")[0].connection.wait_closed()


def test_keep_drops_the_message_and_goes_on(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_FAILURE="keep", WEBHOOK_TIMEOUT="400ms", MAX_REPLY_BYTES="1000")
    app.echo()
    bad = [
        Reply(404, "no"), Reply(500, "no"), Reply(503), Reply(raw=b""), Reply(raw=b"garbage\r\n\r\n", close=True),
        Reply(200, "x" * 1001), Reply(200, b"\xff", TEXT_PLAIN),
        Reply(200, "{", {"Content-Type": "application/vnd.sidesocket+json"}),
        Reply(204, headers={"Sidesocket-Close": "70000"}),
    ]  # fmt: skip
    socket = edge.websocket()
    for i, reply in enumerate(bad):
        app.on(reply, event="message", times=1)
        socket.text(f"lost {i}")
        socket.text(f"kept {i}")
        assert socket.message() == f"kept {i}"
    ids = [e.sequence for e in app.events()]
    assert ids == list(range(1, 2 * len(bad) + 2))
    socket.close()
    assert edge.metric("webhook_requests_total", event="message", outcome="2xx") >= len(bad)
    assert edge.metric("webhook_requests_total", event="message", outcome="4xx") == 1
    assert edge.metric("webhook_requests_total", event="message", outcome="5xx") == 2
    assert edge.metric("webhook_requests_total", event="message", outcome="timeout") == 1


def test_invalid_utf8_for_a_text_message_is_a_final_failure(shared):
    app, process = shared
    for kind in ("text/plain", "application/json"):
        app.on(Reply(200, b"caf\xe9", {"Content-Type": kind}), event="message")
        socket = process.websocket()
        socket.text("x")
        socket.expect_close(1011)


# Bounds


@pytest.mark.parametrize("threads", [1, 3])
def test_webhook_max_in_flight_is_never_exceeded(app, sidesocket, threads):
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT=3, THREADS=threads)

    def slow(request):
        # A little work, so that calls pile up.
        threading.Event().wait(0.01)
        return echo(request)

    sockets = [edge.websocket() for _ in range(12)]
    app.on(slow, event="message")
    for socket in sockets:
        socket.send(b"".join(frame(TEXT, str(i)) for i in range(8)))
    for socket in sockets:
        assert [socket.message() for _ in range(8)] == [str(i) for i in range(8)]
    for socket in sockets:
        socket.sock.close()
    app.wait_events(12, "close")
    assert app.most_in_flight <= 3
    assert app.most_in_flight == 3, "the bound was never reached: the test shows nothing"


@pytest.mark.parametrize("threads", [1, 2])
def test_webhook_max_in_flight_is_served_fairly(app, sidesocket, threads):
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT=1, THREADS=threads)
    held = gate()
    sockets = [edge.websocket() for _ in range(8)]
    app.echo()
    app.on(lambda r: Reply(204, gate=held), event="message", times=1)
    greedy, others = sockets[0], sockets[1:]
    greedy.send(b"".join(frame(TEXT, f"greedy {i}") for i in range(50)))
    greedy.barrier()
    for n, socket in enumerate(others):
        socket.text(f"other {n}")
        socket.barrier()
    held.set()
    for n, socket in enumerate(others):
        assert socket.message() == f"other {n}"
    served = [e.text for e in app.wait_events(57, "message")]
    # Each of the seven waited for at most a few of the fifty that were queued before it.
    last_other = max(i for i, text in enumerate(served) if text.startswith("other"))
    assert last_other <= 20, served


def test_max_pending_bytes_holds_back_the_client_and_loses_nothing(app, sidesocket):
    edge = sidesocket(app, MAX_PENDING_BYTES="16KiB")
    held = gate()
    app.on(Reply(204, gate=held), path="/slow", event="message")
    app.on(echo, path="/quick", event="message")
    socket = edge.websocket("/slow")
    before = edge.rss
    message = frame(BINARY, b"m" * 4096)
    sent = send_until_blocked(socket.sock, message, limit=64 << 20)
    # Kernel buffers of both ends take some megabytes; the sidecar itself takes no more.
    assert sent < 32 << 20
    assert edge.rss - before < 16 << 20
    assert edge.metric("pending_bytes") <= (16 << 10) + 4096 + 1024
    # Others don't notice.
    other = edge.websocket("/quick")
    other.text("quick")
    assert other.message() == "quick"
    whole, part = divmod(sent, len(message))
    held.set()
    if part:
        socket.send(message[part:])
        whole += 1
    events = app.wait_events(whole + 1, "message", timeout=40)
    slow = [e for e in events if e.path == "/slow"]
    assert len(slow) == whole
    assert {e.body for e in slow} == {b"m" * 4096}
    assert [e.sequence for e in slow] == list(range(2, whole + 2))
    edge.wait_metric("pending_bytes", 0)


def test_a_message_larger_than_max_pending_bytes_still_passes(app, sidesocket):
    edge = sidesocket(app, MAX_PENDING_BYTES="4KiB", MAX_MESSAGE_BYTES="64KiB")
    app.echo()
    socket = edge.websocket()
    for _ in range(3):
        socket.binary(b"x" * 60_000)
        assert len(socket.message()) == 60_000


def test_max_total_pending_bytes(app, sidesocket):
    edge = sidesocket(app, MAX_TOTAL_PENDING_BYTES="64KiB", MAX_PENDING_BYTES="32KiB", THREADS=2)
    held = gate()
    app.on(Reply(204, gate=held), event="message")
    sockets = [edge.websocket() for _ in range(6)]
    message = frame(BINARY, b"m" * 4096)
    for socket in sockets:
        socket.send(message * 12)
    app.wait_events(1, "message")
    # Every connection may hold the one message it was reading when the total was reached.
    assert edge.metric("pending_bytes") <= (64 << 10) + 6 * (4096 + 1024)
    held.set()
    app.wait_events(72, "message", timeout=30)
    edge.wait_metric("pending_bytes", 0)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_max_reply_bytes(app, sidesocket, chunked):
    edge = sidesocket(app, MAX_REPLY_BYTES="1000")
    for size in (999, 1000, 1001):
        app.on(Reply(200, "x" * size, TEXT_PLAIN, chunked=chunked), event="message")
        socket = edge.websocket()
        socket.text("x")
        if size <= 1000:
            assert len(socket.message()) == size
        else:
            socket.expect_close(1011)


def test_a_megabyte_each_way(app, sidesocket):
    edge = sidesocket(app, MAX_MESSAGE_BYTES="2MiB", MAX_REPLY_BYTES="2MiB", MAX_SEND_BUFFER_BYTES="4MiB")
    app.echo()
    socket = edge.websocket()
    data = bytes(range(256)) * 4096
    for _ in range(3):
        socket.binary(data)
        assert socket.message() == data


def test_the_largest_reply_reaches_a_client_that_reads_with_default_limits(app, edge):
    # MAX_REPLY_BYTES is larger than MAX_SEND_BUFFER_BYTES: that is for clients that do not read.
    app.on(Reply(200, "x" * (1 << 20), TEXT_PLAIN), event="message")
    socket = edge.websocket()
    for _ in range(3):
        socket.text("x")
        assert len(socket.message()) == 1 << 20


def test_case_35_a_client_that_does_not_read_is_closed_at_the_send_budget(app, sidesocket):
    edge = sidesocket(app, MAX_SEND_BUFFER_BYTES="256KiB")
    app.on(Reply(200, "x" * 100_000, TEXT_PLAIN), event="message")
    socket = edge.websocket(receive_buffer=16 << 10)
    before = edge.rss
    send_until_blocked(socket.sock, frame(TEXT, "more"), limit=10_000 * len(frame(TEXT, "more")), quiet=0.2)
    body = close_event(app, timeout=30)
    assert body["code"] == 1008 and body["initiator"] == "server"
    assert edge.rss - before < 32 << 20
    edge.wait_metric("connections", 0)
    assert edge.metric("slow_client_total") == 1


# Ways to the app


def test_an_app_on_a_unix_socket(make_app, sidesocket, tmp_path):
    app = make_app(unix=str(tmp_path / "app.sock"))
    app.echo()
    edge = sidesocket(app)
    socket = edge.websocket()
    socket.text("through a file")
    assert socket.message() == "through a file"
    socket.close()
    app.wait_events(1, "close")
    with edge.client() as client:
        assert client.ask(target="/page").text == "from the app"
    # With the app gone, a clear answer.
    app.stop_listening()
    with edge.client() as client:
        assert client.ask(target="/page").status in (502, 503)


def test_an_https_app(make_app, sidesocket, certificate):
    ca, pair = certificate
    app = make_app(tls=pair)
    app.echo()
    edge = sidesocket(app, APP_CA_FILE=ca)
    socket = edge.websocket()
    for text in ("through TLS", "x" * 60_000):
        socket.text(text)
        assert socket.message() == text
    with edge.client() as client:
        assert client.ask("POST", "/form", body=b"y" * 100_000).text == "from the app"
    assert app.plain()[0].body == b"y" * 100_000
    assert app.plain()[0].header("x-forwarded-proto") == "http"


def test_an_https_app_of_an_unknown_authority_is_refused(make_app, sidesocket, certificate):
    _, pair = certificate
    app = make_app(tls=pair)
    edge = sidesocket(app)
    assert edge.try_websocket().answer.status in (502, 503)
    with edge.client() as client:
        assert client.ask(target="/page").status in (502, 503)
    assert app.heads == []


def test_an_https_app_with_a_certificate_for_another_name_is_refused(make_app, sidesocket, certificate):
    ca, pair = certificate
    app = make_app(tls=(pair[0].replace("app.pem", "other.pem"), pair[1]))
    edge = sidesocket(APP_URL=app.url, APP_CA_FILE=ca)
    assert edge.try_websocket().answer.status in (502, 503)
    assert app.heads == []


# Stale connections


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "reset"])
def test_case_34_a_kept_connection_closed_as_we_write_is_retried_unseen(app, edge, reset):
    lost = []

    def drop_reused(connection, request):
        request.body = b"".join(connection.body(request))
        if connection.requests > 1 and request.text.startswith("drop"):
            lost.append(request)
            if reset:
                abort(connection.sock)
            return "close"
        connection.send(echo(request).encode("POST"))

    app.on(stream=drop_reused, event="message")
    socket = edge.websocket()
    # The very connection may be fresh when the first message comes; by the second it is not.
    for i in range(5):
        socket.text(f"warm {i}")
        assert socket.message() == f"warm {i}"
        socket.text(f"drop {i}")
        assert socket.message() == f"drop {i}"
    assert lost, "no connection was reused: the test shows nothing"
    # Case 33: the same event again with the same id.
    for request in lost:

        def twice(event_id=request.header("ce-id")):
            found = [e for e in app.events("message") if e.header("ce-id") == event_id]
            return found if len(found) == 2 else None

        first, second = eventually(twice, "the event came twice")
        assert first.body == second.body
        assert first.header("ce-time") == second.header("ce-time")
    socket.close()
    assert close_event(app)["code"] == 1000


def test_case_34_a_connection_closed_while_idle_is_not_used_again(app, edge):
    app.echo()
    socket = edge.websocket()
    for i in range(10):
        socket.text(str(i))
        assert socket.message() == str(i)
        app.drop_connections()
        eventually(lambda: not app.open_connections, "the app's side is closed")
    socket.close()


def test_a_fresh_connection_that_is_dropped_is_no_stale_one(app, edge):
    seen = []

    def always_drop(connection, request):
        request.body = b"".join(connection.body(request))
        seen.append(connection.requests)
        return "close"

    app.on(Reply(204, close=True), event="open")
    app.on(stream=always_drop, event="message")
    socket = edge.websocket()
    socket.text("x")
    socket.expect_close(1013)
    # Without retries yet: at most once on a kept connection and once on a fresh one.
    assert len(seen) <= 2


def test_a_restart_of_the_app_is_survived(app, edge):
    app.echo()
    socket = edge.websocket()
    socket.text("before")
    assert socket.message() == "before"
    app.stop_listening()
    app.listen()
    socket.text("after")
    assert socket.message() == "after"
