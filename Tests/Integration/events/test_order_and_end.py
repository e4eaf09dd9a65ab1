"""The events of a connection come in order and one at a time, up to its end, also when the app fails for good."""

import json
import time

import pytest
from support.app import Reply, gate
from support.ws import CLOSE, TEXT, close_payload, frame

TEXT_PLAIN = {"Content-Type": "text/plain"}


def close_event(app, timeout=10):
    """The body of the (last) close event."""
    return json.loads(app.wait_events(1, "close", timeout)[-1].body)


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
