"""OUTBOX_DIR: what the app has not answered survives a kill -9, and comes again with the same ids."""

import json
import random
import time

import pytest
from support.app import Reply, gate
from support.history import History, HistoryClient
from support.net import eventually, free_port
from support.net import reset as abort
from support.outbox import BREAKER, check_closed, check_retries, kill, told
from support.tokens import SECRET, bearer, mint
from support.ws import BINARY, TEXT, frame

TEXT_PLAIN = {"Content-Type": "text/plain"}


# A kill


def test_open_connections_get_their_close_event_after_a_kill(app, start):
    edge = start()
    sockets = [edge.websocket() for _ in range(10)]
    connections = [e.header("ce-connectionid") for e in app.wait_events(10, "open")]
    for n, socket in enumerate(sockets[:5]):
        for i in range(n):
            socket.text(str(i))
    app.wait_events(10, "message")
    for socket in sockets:
        socket.barrier()
    kill(edge)
    edge = start()
    app.wait_events(10, "close", BREAKER)
    told_by_length = sorted(len(told(app, c)) for c in connections)
    assert told_by_length == [2] * 6 + [3, 4, 5, 6]
    for connection in connections:
        check_closed(app, connection, len(told(app, connection)) - 2)
    check_retries(app)
    # Once is enough: the next start has nothing to say.
    eventually(lambda: edge.metric("webhook_in_flight") == 0, "all is delivered")
    edge.terminate()
    assert edge.wait_exit() == 0
    before = len(app.events())
    edge = start()
    edge.websocket()
    app.wait_events(11, "open")
    assert len(app.events()) == before + 1


@pytest.mark.parametrize("how", ["held", "503", "refused"])
def test_messages_that_the_app_had_not_answered_are_replayed(app, start, how):
    edge = start()
    socket = edge.websocket(headers={"Cookie": "a=1"})
    other = edge.websocket()
    app.on(Reply(204, headers={"Sidesocket-User": "42", "Sidesocket-State": "s1"}), event="message", times=1)
    socket.text("answered")
    (event,) = app.wait_events(1, "message")
    connection = event.header("ce-connectionid")
    eventually(lambda: edge.metric("webhook_requests_total", event="message", outcome="2xx") == 1, "the answer is here")
    held = gate()
    if how == "held":
        app.on(Reply(204, gate=held), event="message")
    elif how == "503":
        app.on(Reply(503), event="message")
    else:
        app.stop_listening()
    for i in range(4):
        socket.text(f"text {i}")
        socket.binary(bytes(range(256)) * (i + 1))
    socket.barrier()
    other.barrier()
    if how != "refused":
        app.wait_events(2, "message")
    kill(edge)
    app.on(Reply(204), event="message")
    held.set()
    if how == "refused":
        app.listen()
    start()
    check_closed(app, connection, 9)
    check_retries(app)
    bodies = {e.sequence: (e.body, e.header("content-type")) for e in app.events("message", connection)}
    for i in range(4):
        assert bodies[3 + 2 * i] == (f"text {i}".encode(), "text/plain; charset=utf-8")
        assert bodies[4 + 2 * i] == (bytes(range(256)) * (i + 1), "application/octet-stream")
    last = app.events("close", connection)[-1]
    assert (last.header("ce-userid"), last.header("ce-connectionstate")) == ("42", "s1")
    assert last.header("cookie") == "a=1" and last.target == "/ws"
    app.wait_events(2, "close", BREAKER)


def test_what_was_answered_is_not_replayed(app, start):
    app.echo()
    edge = start()
    socket = edge.websocket()
    for i in range(100):
        socket.text(str(i))
        assert socket.message() == str(i)
    kill(edge)
    start()
    connection = app.events("open")[0].header("ce-connectionid")
    check_closed(app, connection, 100)
    # At least once: the last ones may be asked for again, all of them not.
    assert len(app.events("message")) <= 110


def test_a_close_event_that_was_due_at_the_kill_keeps_its_code(app, start):
    edge = start()
    app.on(Reply(503), event="close")
    socket = edge.websocket()
    socket.close(4001, "bye, é")
    (first, *_) = app.wait_events(1, "close")
    edge.wait_metric("connections", 0)
    kill(edge)
    app.reset_script()
    start()
    again = app.wait_events(1, "close", BREAKER)[-1]
    assert again.header("ce-id") == first.header("ce-id")
    assert again.header("ce-time") == first.header("ce-time")
    assert again.body == first.body
    assert json.loads(again.body)["code"] == 4001


def test_a_close_event_that_nobody_has_seen_yet(app, start):
    # The client vanished while its messages waited; everything is on disk alone.
    edge = start()
    socket = edge.websocket()
    app.wait_events(1, "open")
    connection = app.events("open")[0].header("ce-connectionid")
    app.stop_listening()
    for i in range(5):
        socket.text(str(i))
    socket.barrier()
    abort(socket.sock)
    edge.wait_metric("connections", 0)
    kill(edge)
    app.listen()
    start()
    check_closed(app, connection, 5)
    assert [e.text for e in app.events("message", connection)] == [str(i) for i in range(5)]


@pytest.mark.parametrize("pause", [0, 0.3])
def test_who_the_client_is_survives_however_long_the_app_thought_about_it(app, start, pause):
    settings = {
        "AUTH": "required", "JWT_KEY": SECRET, "JWT_ALGORITHMS": "HS256", "JWT_FORWARD_CLAIMS": "org_id",
        "JWT_SOURCES": "authorization,message",
    }  # fmt: skip
    edge = start(**settings)
    named = [("Sidesocket-User", "bob"), ("Sidesocket-State", "s1")]

    def answer(request):
        time.sleep(pause)
        return Reply(204, headers=named if request.target == "/named" else [])

    app.on(answer, event="open")
    token = mint(org_id="7")
    sockets = [edge.websocket(target, headers=bearer(token)) for target in ("/plain", "/named")]
    sockets.append(edge.websocket("/late"))
    sockets[-1].text(token)
    opens = {e.target: e for e in app.wait_events(3, "open")}
    eventually(lambda: edge.metric("connections") == 3, "all are open")
    app.stop_listening()
    for socket in sockets:
        socket.text("x")
        socket.barrier()
    kill(edge)
    app.listen()
    start(**settings)
    app.wait_events(3, "close", BREAKER)
    for target, user, state in (("/plain", "alice", None), ("/named", "bob", "s1"), ("/late", "alice", None)):
        connection = opens[target].header("ce-connectionid")
        check_closed(app, connection, 1)
        for event in (*app.events("message", connection), *app.events("close", connection)):
            assert event.header("ce-userid") == user
            assert event.header("ce-connectionstate") == state
            assert event.header("ce-claimorgid") == opens[target].header("ce-claimorgid") is not None


def test_a_handshake_that_was_refused_leaves_nothing(app, start):
    edge = start()
    app.on(Reply(401), event="open")
    for _ in range(5):
        assert edge.try_websocket().answer.status == 401
    kill(edge)
    edge = start()
    app.on(Reply(204), event="open")
    edge.websocket().close()
    app.wait_events(1, "close")
    assert len(app.events("close")) == 1 and len(app.events("message")) == 0


def test_killed_again_and_again_while_it_replays(app, start):
    edge = start()
    sockets = [edge.websocket() for _ in range(10)]
    connections = [e.header("ce-connectionid") for e in app.wait_events(10, "open")]
    app.on(Reply(503), event="message")
    for socket in sockets:
        socket.send(b"".join(frame(TEXT, str(i)) for i in range(10)))
        socket.barrier()
    kill(edge)
    edge = start()
    chance = random.Random(7)
    app.on(lambda r: Reply(503) if chance.random() < 0.7 else Reply(204), event="message")
    for turn in range(4):
        seen = len(app.events())
        # All is on disk by the first kill; the later ones come at any moment.
        kill(edge, settle=turn == 0)
        edge = start()
        eventually(lambda seen=seen: len(app.events()) > seen, "it replays", BREAKER)
    app.on(Reply(204), event="message")
    for connection in connections:
        check_closed(app, connection, 10)
        assert list(dict.fromkeys(e.text for e in app.events("message", connection))) == [str(i) for i in range(10)]
    check_retries(app)


def test_the_app_is_away_when_it_starts_again(app, start):
    edge = start()
    socket = edge.websocket()
    app.wait_events(1, "open")
    app.stop_listening()
    socket.text("x")
    socket.barrier()
    kill(edge)
    edge = start()
    eventually(lambda: edge.metric("webhook_requests_total", outcome="connect_error") >= 1, "it tries", BREAKER)
    app.listen()
    check_closed(app, app.events("open")[0].header("ce-connectionid"), 1)


def test_new_clients_are_served_while_it_replays(app, start):
    edge = start()
    socket = edge.websocket("/old")
    app.wait_events(1, "open")
    app.on(Reply(429, headers={"Retry-After": "1"}), path="/old")
    socket.text("x")
    socket.barrier()
    kill(edge)
    edge = start()
    app.on(lambda r: Reply(200, r.body, TEXT_PLAIN), path="/new", event="message")
    other = edge.websocket("/new")
    other.text("hi")
    assert other.message() == "hi"
    app.on(Reply(204), path="/old")
    check_closed(app, app.events("open")[0].header("ce-connectionid"), 1)


def test_a_large_outbox_comes_back_in_bounds(app, start):
    edge = start(MAX_PENDING_BYTES="1MiB")
    sockets = [edge.websocket() for _ in range(30)]
    app.wait_events(30, "open")
    app.on(Reply(429), event="message")
    for n, socket in enumerate(sockets):
        socket.send(b"".join(frame(BINARY, bytes([n, i]) * 8000) for i in range(10)))
        socket.barrier()
    kill(edge)
    app.reset_script()
    edge = start(WEBHOOK_MAX_IN_FLIGHT=4)
    app.most_in_flight = 0
    app.wait_events(30, "close", 30)
    assert app.most_in_flight <= 4
    for connection in {e.header("ce-connectionid") for e in app.events("close")}:
        events = app.events("message", connection)
        assert [e.body for e in events] == [bytes([events[0].body[0], i]) * 8000 for i in range(10)]
    edge.wait_metric("pending_bytes", 0)


# A history


@pytest.mark.timeout(150)
def test_the_sidecar_is_killed_under_load_again_and_again(app, start):
    history = History()
    chance = random.Random(13)

    def answer(request):
        if chance.random() < 0.1:
            return Reply(chance.choice((429, 503)))
        return Reply(200, request.body, TEXT_PLAIN)

    app.on(history.recording(Reply(204)))
    app.on(history.recording(answer), event="message")
    port = free_port()
    settings = {"LISTEN": f"127.0.0.1:{port}", "WEBHOOK_RETRY_FOR": "60s"}
    edge = start(**settings)
    for turn in range(4):
        clients = [HistoryClient(history, port, f"k{turn}-{i}", pace=0.05, seed=turn) for i in range(20)]
        for client in clients:
            client.start()
        wanted = len(history.arrivals) + 300
        eventually(lambda wanted=wanted: len(history.arrivals) > wanted, "work is done", 30)
        for client in clients:
            client.stopping.set()
        kill(edge, settle=False)
        for client in clients:
            client.join(20)
        edge = start(**settings)
    opened = {s.label for s in history.sessions}

    def closed():
        return {a.label for a in list(history.arrivals) if a.event == "close"}

    eventually(lambda: opened <= closed(), lambda: f"no close event for {sorted(opened - closed())[:5]}", 40)
    eventually(lambda: edge.metric("webhook_in_flight") == 0, "all is delivered")
    faults = history.faults(everything_answered=False, unbroken=False, everything_received=False)
    assert faults == [], "\n".join(faults[:20])
    codes = {json.loads(a.body)["code"] for a in history.arrivals if a.event == "close"}
    assert 1006 in codes
