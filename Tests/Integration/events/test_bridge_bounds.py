"""What the bridge holds and does at once has bounds: calls, bytes that wait, replies, the send budget."""

import json
import threading

import pytest
from support.app import Reply, echo, gate
from support.net import send_until_blocked
from support.ws import BINARY, TEXT, frame

TEXT_PLAIN = {"Content-Type": "text/plain"}


def close_event(app, timeout=10):
    """The body of the (last) close event."""
    return json.loads(app.wait_events(1, "close", timeout)[-1].body)


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
