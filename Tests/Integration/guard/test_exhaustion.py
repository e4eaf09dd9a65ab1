"""What everybody shares runs short: memory, descriptors, connections, calls to the app. Nobody else notices."""

import os
import time
import zlib

import pytest
from support.app import Reply, gate
from support.net import eventually, reset
from support.process import run
from support.raw import encode
from support.ws import BINARY, CONTINUATION, PONG, TEXT, frame, handshake_headers

# A message of two parts that does not arrive whole before its second one.
HALVES = {
    "a first fragment": (frame(TEXT, "x" * 60_000, fin=False), frame(CONTINUATION, "x")),
    "half a frame": (frame(TEXT, "x" * 60_001)[:-1], frame(TEXT, "x" * 60_001)[-1:]),
}


@pytest.mark.parametrize("how", HALVES)
def test_silent_clients_with_half_a_message_do_not_stop_the_others(app, sidesocket, how):
    first_half, second_half = HALVES[how]
    edge = sidesocket(app, MAX_TOTAL_PENDING_BYTES="100KiB", MESSAGE_ASSEMBLY_TIMEOUT="2s")
    app.echo()
    other, holder = edge.websocket(), edge.websocket()
    holder.send(first_half)
    # The second does not fit any more, nor does the third.
    for _ in range(2):
        late = edge.websocket()
        late.send(first_half)
        late.expect_close(1013)
    for i in range(20):
        other.text(f"{i}")
        assert other.message() == f"{i}"
    edge.websocket().close()
    holder.expect_close(1008)
    assert edge.metric("limited_total", limit="max_total_pending_bytes", action="closed") == 2
    edge.wait_metric("pending_bytes", 0)
    # What they had is free again.
    for _ in range(3):
        other.send(first_half + second_half)
        assert other.message() == "x" * 60_001
    other.close()
    edge.wait_metric("connections", 0)


def test_bodies_that_stall_before_they_are_checked_hold_up_no_websocket(app, sidesocket):
    edge = sidesocket(app, MAX_TOTAL_PENDING_BYTES="4MiB")
    app.echo()
    size = 1 << 20
    head = encode("POST", "/x", {"Content-Type": "application/cloudevents+json", "Content-Length": str(size)})
    stalled = [edge.client() for _ in range(5)]
    for client in stalled:
        client.try_send(head + b"x" * (size - 1))
    # A quarter of the budget is theirs, and there is room in it for one at most.
    eventually(lambda: edge.metric("http_refused_total", reason="body_budget") >= 4, "the others are refused")
    assert "too many bodies are being checked" in edge.output
    socket = edge.websocket()
    socket.frame(TEXT, "y" * 15_000, fin=False)
    socket.ping()
    assert socket.receive().opcode == PONG, "the first part has been read"
    socket.frame(CONTINUATION, "y" * 15_000)
    assert socket.message() == "y" * 30_000
    for client in stalled:
        client.sock.close()


def test_half_received_compressed_messages_are_counted_with_the_memory_of_their_decompressors(app, sidesocket):
    edge = sidesocket(app, MAX_TOTAL_PENDING_BYTES="100KiB")
    app.echo()
    noise = os.urandom(5_000)
    squeezer = zlib.compressobj(wbits=-15)
    squeezed = squeezer.compress(noise) + squeezer.flush(zlib.Z_SYNC_FLUSH)

    def holder():
        socket = edge.websocket(extensions="permessage-deflate")
        socket.send(frame(BINARY, squeezed, fin=False, rsv=4))
        return socket

    # A decompressor takes about 40 KB, the message 5 KB: the third does not fit.
    first, _ = holder(), holder()
    holder().expect_close(1013)
    first.send(frame(CONTINUATION, b"\x03\x00"))
    assert first.message() == noise


@pytest.fixture
def full_house(app, sidesocket):
    """`(edge, socket, clients)`: a WebSocket that echoes, and 300 silent clients for whom descriptors are lacking."""
    edge = sidesocket(app, max_files=128, HANDSHAKE_TIMEOUT="1m")
    app.echo()
    socket = edge.websocket()
    socket.text("before")
    assert socket.message() == "before"
    clients = [edge.client() for _ in range(300)]
    eventually(lambda: "cannot accept connections" in edge.output, "it says why nobody gets in")
    return edge, socket, clients


@pytest.mark.parametrize("files", [16, 24, 60])
def test_a_limit_on_open_files_that_is_too_low_is_an_error_at_the_start(app, files):
    done = run(APP_URL=app.url, THREADS=2, max_files=files)
    assert done.returncode == 78
    assert "open files" in done.stderr and "Fatal" not in done.stderr


def for_a_second(look):
    """Calls `look` again and again for a second and returns what it returned."""
    found, started = [], time.monotonic()
    eventually(lambda: found.append(look()) or time.monotonic() - started > 1, "a second is over", interval=0.02)
    return found


def test_without_file_descriptors_it_idles_and_recovers(full_house):
    edge, socket, clients = full_house
    cpu = edge.cpu_seconds
    for_a_second(edge.check_alive)
    assert edge.cpu_seconds - cpu < 0.5
    assert edge.control("/healthz")[0] == 200
    for client in clients:
        client.sock.close()
    eventually(lambda: edge.open_files < 64, "the descriptors are back")
    with edge.client() as client:
        assert client.ask().text == "from the app"
    for one in (socket, edge.websocket()):
        one.text("works")
        assert one.message() == "works"
        one.close()


def test_file_descriptors_never_run_out_altogether(full_house):
    # The process itself needs some; without any it may not survive.
    edge, _, _ = full_house
    assert max(for_a_second(lambda: edge.open_files)) < 128
    assert "too many open files" not in edge.output


def test_many_silent_clients_leave_descriptors_for_the_app(full_house, app):
    _, socket, _ = full_house
    for i in range(10):
        # Each message needs a new connection to the app.
        app.drop_connections()
        eventually(lambda: not app.open_connections, "the app has closed")
        socket.text(f"{i}")
        assert socket.message() == f"{i}"


def test_the_lack_of_descriptors_is_logged_once(full_house):
    edge, _, clients = full_house
    # Some leave and others take their place: still the same trouble.
    for_a_second(lambda: clients.pop(0).sock.close())
    assert len(clients) > 200
    assert edge.output.count("cannot accept connections") == 1


def test_refused_connections_take_up_no_room(app, sidesocket):
    edge = sidesocket(app, MAX_CONNECTIONS=4)
    sockets = [edge.websocket() for _ in range(4)]
    refused = [edge.client() for _ in range(20)]
    for client in refused:
        assert client.response().status == 503
    for socket in sockets:
        socket.close()
        socket.sock.close()
    # Well before the refused ones have gone, who keep their connections.
    again = []

    def accepted():
        again.append(edge.try_websocket())
        return again[-1].answer.status == 101

    for _ in range(4):
        eventually(accepted, "room for a new connection", timeout=1.5)
    assert edge.try_websocket().answer.status == 503


@pytest.mark.parametrize("backlog", [1, 5])
def test_a_full_backlog_of_a_unix_socket_app_is_waited_out(make_app, sidesocket, tmp_path, backlog):
    app = make_app(unix=str(tmp_path / "app.sock"), backlog=backlog, accepting=False)
    app.echo()
    edge = sidesocket(app)
    sockets = [edge.client() for _ in range(60)]
    for socket in sockets:
        socket.send(encode("GET", "/ws", handshake_headers()))
    # More than fit in the backlog: each has already been told once to try again.
    eventually(lambda: edge.metric("webhook_in_flight") > 20, "they wait for the app", interval=0.05)
    app.start_accepting()
    assert [socket.response().status for socket in sockets] == [101] * 60
    for socket in sockets:
        socket.send(frame(TEXT, "hello"))
    for socket in sockets:
        assert socket.exactly(7) == b"\x81\x05hello"


@pytest.mark.parametrize("threads", [1, 4])
def test_the_app_never_hears_of_handshakes_that_vanished_while_they_waited_for_their_turn(app, sidesocket, threads):
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT=1, THREADS=threads)
    held = gate()
    app.on(Reply(204, gate=held), event="open", times=1)
    first = edge.client()
    first.send(encode("GET", "/ws", handshake_headers()))
    app.wait_events(1, "open")
    before = edge.open_files
    waiting = [edge.client() for _ in range(50)]
    for client in waiting:
        client.send(encode("GET", "/vanishing", handshake_headers()))
    edge.wait_metric("webhook_queue_depth", 50)
    for number, client in enumerate(waiting):
        reset(client.sock) if number % 2 else client.sock.close()
    eventually(lambda: edge.open_files <= before, "it has seen that they left")
    held.set()
    assert first.response().status == 101
    # First come, first served: behind the vanished ones.
    last = edge.websocket("/last")
    assert [e.path for e in app.events()] == ["/ws", "/last"]
    last.close()
    app.wait_events(1, "close")
    edge.wait_metric("webhook_queue_depth", 0)
    assert edge.metric("webhook_in_flight") == 0
    assert "/vanishing" not in {e.path for e in app.events()}
