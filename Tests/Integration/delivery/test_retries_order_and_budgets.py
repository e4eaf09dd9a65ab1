"""Retries keep the order, reach beyond the end of a connection and into a drain, and have budgets."""

import json
import threading
import time

import pytest
from support.app import Reply, gate
from support.net import eventually
from support.net import reset as abort
from support.ws import BINARY, CLOSE, TEXT, close_payload, frame

TEXT_PLAIN = {"Content-Type": "text/plain"}
# The longest pause of the breaker and something for a busy machine.
BREAKER = 15.0


def same(events):
    """Checks that all these requests are one event; a signature alone may differ."""
    varying = ("webhook-signature", "webhook-timestamp", "traceparent")
    for event in events[1:]:
        assert event.body == events[0].body
        assert event.target == events[0].target
        assert [h for h in event.headers if h[0].lower() not in varying] == [
            h for h in events[0].headers if h[0].lower() not in varying
        ]
    return events[0]


# Order


def test_the_next_event_of_the_connection_waits(app, edge):
    answered = set()

    def answer(request):
        if request.sequence > 2:
            assert request.sequence - 1 in answered, "an event overtook the one before it"
        # Each event needs three attempts... and the first one needs four.
        tries[request.sequence] = tries.get(request.sequence, 0) + 1
        if tries[request.sequence] <= (3 if request.sequence == 2 else 1):
            return Reply(429)
        answered.add(request.sequence)
        return Reply(200, request.body, TEXT_PLAIN)

    tries = {}
    app.on(answer, event="message")
    app.on(Reply(429), event="close", times=2)
    socket = edge.websocket()
    texts = [f"message {i}" for i in range(8)]
    socket.send(b"".join(frame(TEXT, text) for text in texts))
    assert [socket.message() for _ in texts] == texts
    socket.close()
    app.wait_events(3, "close")
    assert [e.sequence for e in app.events()] == [1, 2, 2, 2, 2] + [i for i in range(3, 10) for _ in (1, 2)] + [10] * 3
    same(app.events("close"))


def test_other_connections_do_not_wait(app, edge):
    app.echo()
    app.on(Reply(429, headers={"Retry-After": "20"}), path="/busy", event="message")
    busy = edge.websocket("/busy")
    busy.text("held")
    app.wait_events(1, "message")
    other = edge.websocket("/ws")
    started = time.monotonic()
    for i in range(50):
        other.text(str(i))
        assert other.message() == str(i)
    assert time.monotonic() - started < 8
    busy.barrier()
    assert len([e for e in app.events("message") if e.path == "/busy"]) == 1


def test_a_waiting_retry_holds_no_permit(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT=1)
    app.echo()
    app.on(Reply(429, headers={"Retry-After": "20"}), path="/busy", event="message")
    busy = [edge.websocket("/busy") for _ in range(5)]
    for socket in busy:
        socket.text("held")
    app.wait_events(5, "message")
    other = edge.websocket("/ws")
    other.text("free")
    assert other.message() == "free"


def test_a_client_is_heard_and_answered_while_its_event_is_retried(app, sidesocket):
    edge = sidesocket(app, MAX_PENDING_BYTES="256KiB")
    app.echo()
    app.on(Reply(429), event="message", times=5)
    socket = edge.websocket()
    socket.text("first")
    for i in range(20):
        socket.text(f"more {i}")
        socket.barrier()
    assert [socket.message() for _ in range(21)] == ["first"] + [f"more {i}" for i in range(20)]


# Close events


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("fault", ["429", "503", "reset", "hang"])
def test_a_close_event_is_repeated_after_the_client_is_gone(app, sidesocket, how, fault):
    edge = sidesocket(app, WEBHOOK_TIMEOUT="300ms")
    reply = {"reset": Reply(raw=b"", reset=True), "hang": Reply(raw=b"")}.get(fault) or Reply(int(fault))
    app.on(reply, event="close", times=3)
    socket = edge.websocket()
    app.wait_events(1, "open")
    if how == "close":
        socket.close(4001, "bye")
    else:
        abort(socket.sock)
    edge.wait_metric("connections", 0)
    attempts = app.wait_events(4, "close", BREAKER)
    event = same(attempts)
    assert json.loads(event.body)["code"] == (4001 if how == "close" else 1006)
    assert event.sequence == 2
    edge.wait_metric("webhook_retries_total", 3, event="close")
    edge.wait_metric("pending_bytes", 0)
    edge.wait_metric("webhook_queue_depth", 0)


def test_messages_and_the_close_event_of_a_client_that_vanished_wait_for_the_app(app, edge):
    sockets = [edge.websocket() for _ in range(10)]
    app.wait_events(10, "open")
    app.stop_listening()
    for n, socket in enumerate(sockets):
        for i in range(5):
            socket.text(f"{n}-{i}")
        socket.barrier()
    for socket in sockets:
        abort(socket.sock)
    edge.wait_metric("connections", 0)
    assert edge.metric("pending_bytes") > 0
    app.listen()
    app.wait_events(10, "close", BREAKER)
    for connection in {e.header("ce-connectionid") for e in app.events()}:
        events = app.events(connection_id=connection)
        assert [e.event for e in events] == ["open", *["message"] * 5, "close"]
        assert [e.sequence for e in events] == list(range(1, 8))
        texts = [e.text for e in events if e.event == "message"]
        assert texts == [f"{texts[0].split('-')[0]}-{i}" for i in range(5)]
    edge.wait_metric("pending_bytes", 0)


@pytest.mark.parametrize("status", [429, 500, 404])
def test_a_close_event_that_nobody_takes_is_counted_and_logged_with_its_id(app, sidesocket, status):
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="500ms")
    app.on(Reply(status), event="close")
    socket = edge.websocket()
    connection = app.wait_events(1, "open")[0].header("ce-connectionid")
    socket.close()
    (line,) = eventually(
        lambda: [e for e in edge.logs if e["message"] == "delivery failed" and e["event_id"] == f"{connection}-2"],
        lambda: f"a line with the id in {edge.output}",
    )
    assert line["event"] == "close" and line["level"] in ("warning", "error")
    edge.wait_metric("messages_dropped_total", 1)
    attempts = len(app.events("close"))
    assert attempts >= 2 if status == 429 else attempts == 1
    edge.wait_metric("pending_bytes", 0)


# Drain


def test_a_drain_flushes_what_is_being_retried(app, sidesocket):
    edge = sidesocket(app, DRAIN_TIMEOUT="10s")
    app.on(Reply(503), event="message")
    app.on(Reply(503), event="close")
    gone = edge.websocket()
    sockets = [edge.websocket() for _ in range(5)]
    abort(gone.sock)
    app.wait_events(1, "close")
    for n, socket in enumerate(sockets):
        socket.text(f"{n}-a")
        socket.text(f"{n}-b")
        socket.barrier()
    edge.terminate()
    eventually(lambda: edge.readyz()[0] == 503, "not ready any more")
    app.reset_script()
    assert edge.wait_exit(25) == 0
    closes = {e.header("ce-connectionid"): json.loads(e.body)["code"] for e in app.events("close")}
    assert sorted(closes.values()) == [1006] + [1012] * 5
    for connection, code in closes.items():
        numbers = [e.sequence for e in app.events(connection_id=connection)]
        # Whatever the app had not taken before is here; the script forgot the earlier ones.
        assert numbers == sorted(numbers) and numbers[-1] == (2 if code == 1006 else 4)
        assert code == 1006 or {2, 3} <= set(numbers)


def test_a_drain_ends_in_time_and_says_what_it_could_not_deliver(app, sidesocket):
    edge = sidesocket(app, DRAIN_TIMEOUT="2s", WEBHOOK_RETRY_FOR="1h")
    sockets = [edge.websocket() for _ in range(3)]
    connections = {e.header("ce-connectionid") for e in app.wait_events(3, "open")}
    app.stop_listening()
    for socket in sockets:
        socket.text("x")
        socket.barrier()
    started = time.monotonic()
    edge.terminate()
    edge.wait_exit(20)
    assert time.monotonic() - started < 12
    said = json.dumps([e for e in edge.logs if e["level"] in ("warning", "error")])
    for connection in connections:
        assert connection in said, edge.output


# Budgets


def test_a_full_budget_stops_reading_and_refuses_handshakes(app, sidesocket):
    edge = sidesocket(app, MAX_TOTAL_PENDING_BYTES="128KiB", MAX_PENDING_BYTES="1MiB", WEBHOOK_TIMEOUT="1m")
    held = gate()
    app.echo()
    app.on(lambda r: Reply(204, gate=held), event="message")
    sockets = [edge.websocket() for _ in range(4)]
    for number, socket in enumerate(sockets, 1):
        socket.send(frame(BINARY, b"m" * 40_000))
        # One after another: four messages that are half there would be more than may be put together at a time.
        eventually(lambda n=number: edge.metric("pending_bytes") >= n * 40_000, f"{number} messages wait")
    assert edge.metric("pending_bytes") >= 128 << 10
    refused = edge.try_websocket()
    assert refused.answer.status == 503 and int(refused.answer.header("retry-after")) >= 0
    refused.wait_closed()
    assert edge.metric("handshakes_total", result="connection_limit") == 1
    assert edge.metric("limited_total", limit="max_total_pending_bytes", action="refused") == 1
    assert len(app.events("open")) == 4
    # Pages of the app are none of its business.
    with edge.client() as client:
        assert client.ask(target="/page").status == 200
    # Nothing more is read: the bytes stay with the client.
    pushed = threading.Thread(
        target=lambda: [sockets[0].try_send(frame(BINARY, b"n" * 40_000)) for _ in range(100)], daemon=True
    )
    pushed.start()
    eventually(lambda: edge.metric("limited_total", limit="max_total_pending_bytes", action="throttled"), "throttled")
    assert edge.metric("pending_bytes") < (128 << 10) + 4 * 100_000
    held.set()
    pushed.join(20)
    assert not pushed.is_alive()
    app.wait_events(104, "message", 30)
    edge.websocket().close()
    assert edge.metric("messages_dropped_total") == 0


def test_ended_connections_whose_close_event_waits_count_too(app, sidesocket):
    edge = sidesocket(app, MAX_TOTAL_PENDING_BYTES="64KiB", WEBHOOK_RETRY_FOR="10m")
    # Not a failure of the app, so no breaker.
    app.on(Reply(429, headers={"Retry-After": "2"}), event="close")
    refused = None
    for _ in range(2000):
        socket = edge.try_websocket()
        if socket.answer.status != 101:
            refused = socket
            break
        abort(socket.sock)
    assert refused, f"a close outbox without bounds: {edge.metric('pending_bytes')} bytes pending"
    assert refused.answer.status == 503 and refused.answer.header("retry-after")
    assert edge.metric("limited_total", limit="max_total_pending_bytes", action="refused") >= 1
    opened = {e.header("ce-connectionid") for e in app.events("open")}
    app.on(Reply(204), event="close")
    eventually(lambda: {e.header("ce-connectionid") for e in app.events("close")} >= opened, "every close event", 30)
    edge.wait_metric("pending_bytes", 0)
    edge.websocket().close()


# Fairness


@pytest.mark.parametrize("threads", [1, 2])
def test_a_small_app_never_sees_more_than_it_wants_and_each_socket_gets_its_turn(app, sidesocket, threads):
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT=4, THREADS=threads)
    held = gate()
    app.echo()
    app.on(lambda r: Reply(200, r.body, TEXT_PLAIN, gate=held), event="message")
    sockets = [edge.websocket() for _ in range(200)]
    for n, socket in enumerate(sockets):
        socket.send(b"".join(frame(TEXT, f"{n}-{i}") for i in range(10)))
    for socket in sockets:
        socket.barrier()
    eventually(lambda: edge.metric("webhook_queue_depth") >= 196, "everybody waits")
    assert edge.metric("webhook_in_flight") == 4
    held.set()
    served = [e.text.split("-")[0] for e in app.wait_events(1000, "message", 40)][:1000]
    counts = [served.count(str(n)) for n in range(200)]
    assert min(counts) >= 3 and max(counts) <= 8, counts
    for n, socket in enumerate(sockets):
        assert [socket.message() for _ in range(10)] == [f"{n}-{i}" for i in range(10)]
    assert app.most_in_flight == 4
    assert edge.metric("webhook_wait_seconds_count", event="message") == 2000
    assert edge.metric("webhook_wait_seconds_count", event="open") == 200
    # Most waited behind fifty others.
    assert edge.metric("webhook_wait_seconds_sum", event="message") > 1
    for socket in sockets:
        socket.frame(CLOSE, close_payload(1000))
        socket.sock.close()
    app.wait_events(200, "close", 20)
    assert app.most_in_flight == 4


def test_the_wait_is_next_to_nothing_when_nobody_else_waits(app, edge):
    app.echo()
    socket = edge.websocket()
    for i in range(20):
        socket.text(str(i))
        socket.message()
    assert edge.metric("webhook_wait_seconds_count", event="message") == 20
    assert edge.metric("webhook_wait_seconds_sum", event="message") < 0.5
