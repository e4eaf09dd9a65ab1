"""SIGTERM: not ready, no new sockets, closes with 1012, close events delivered, exit 0 in time."""

import json
import signal
import threading
import time

import pytest
from support.app import Reply, gate
from support.net import eventually
from support.raw import encode
from support.ws import CLOSE, TEXT, close_payload, frame, handshake_headers


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_idle_sockets_are_closed_with_1012_and_the_app_hears_of_it(app, sidesocket, kind):
    edge = sidesocket(app, DRAIN_TIMEOUT="2s")
    sockets = [edge.websocket() for _ in range(20)]
    app.wait_events(20, "open")
    started = time.monotonic()
    edge.terminate(kind)
    closed = []

    def wait(socket):
        closed.append(socket.expect_close(1012))

    threads = [threading.Thread(target=wait, args=(socket,)) for socket in sockets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(closed) == 20
    assert edge.wait_exit() == 0
    assert time.monotonic() - started < 5
    bodies = [json.loads(e.body) for e in app.events("close")]
    assert len(bodies) == 20
    assert {(b["code"], b["initiator"]) for b in bodies} == {(1012, "server")}


def test_without_connections_it_is_out_at_once(app, edge):
    edge.websocket().close()
    app.wait_events(1, "close")
    started = time.monotonic()
    edge.terminate()
    assert edge.wait_exit() == 0
    assert time.monotonic() - started < 5


def test_idle_keep_alive_connections_do_not_hold_it_up(app, edge):
    client = edge.client()
    assert client.ask().status == 200
    started = time.monotonic()
    edge.terminate()
    assert edge.wait_exit() == 0
    assert time.monotonic() - started < 10
    assert client.wait_closed() in ("fin", "reset")


def test_what_is_in_flight_is_finished(app, sidesocket):
    edge = sidesocket(app, DRAIN_TIMEOUT="8s")
    held = gate()
    app.on(lambda r: Reply(200, "in time", {"Content-Type": "text/plain"}, gate=held), event="message")
    app.on(Reply(200, "page in time", gate=held), path="/page")
    socket = edge.websocket()
    socket.text("slow")
    client = edge.client()
    client.request(target="/page")
    app.wait_events(1, "message")
    app.wait_head("/page")
    edge.terminate()
    eventually(lambda: edge.readyz()[0] == 503, "not ready any more")
    held.set()
    # The answer may come before or after the Close is sent, but only before may it be sent at all.
    seen = []
    while (got := socket.receive()).opcode != CLOSE:
        seen.append(got.payload)
    assert (got.code, seen) == (1012, [b"in time"])
    socket.try_send(b"\x88\x82\0\0\0\0" + close_payload(1012))
    assert client.response().text == "page in time"
    assert edge.wait_exit() == 0
    assert [e.event for e in app.events()] == ["open", "message", "close"]


def test_readyz_is_503_and_new_sockets_are_refused_while_draining(app, sidesocket):
    edge = sidesocket(app, DRAIN_TIMEOUT="10s")
    held = gate()
    app.on(Reply(204, gate=held), event="message")
    socket = edge.websocket()
    kept = edge.client()
    assert kept.ask().status == 200
    socket.text("slow")
    app.wait_events(1, "message")
    edge.terminate()
    eventually(lambda: edge.readyz()[0] == 503, "not ready any more")
    assert json.loads(edge.readyz()[1])
    assert edge.metric("draining") == 1
    assert edge.control("/healthz")[0] == 200

    def refused():
        try:
            other = edge.try_websocket()
        except (ConnectionRefusedError, ConnectionResetError, EOFError):
            return True
        assert other.answer.status == 503, other.answer.status
        return bool(other.answer.header("retry-after"))

    eventually(refused, "new sockets are refused")
    assert len(app.events("open")) == 1
    held.set()
    assert edge.wait_exit() == 0


def test_an_app_that_hangs_does_not_hold_it_beyond_the_drain_timeout(app, sidesocket):
    edge = sidesocket(app, DRAIN_TIMEOUT="1s")
    app.on(Reply(raw=b""), event="message")
    app.on(Reply(raw=b""), path="/hang")
    socket = edge.websocket()
    socket.text("x")
    app.wait_events(1, "message")
    client = edge.client()
    client.request(target="/hang")
    app.wait_head("/hang")
    app.on(Reply(raw=b""), event="open")
    opening = edge.client()
    opening.send(encode("GET", "/ws", handshake_headers()))
    app.wait_events(2, "open")
    started = time.monotonic()
    edge.terminate()
    # Whoever waits hears that it is over.
    for waits in (client, opening):
        answer = waits.response()
        assert answer.status == 503 and int(answer.header("retry-after")) > 0
    assert edge.wait_exit() == 0
    assert time.monotonic() - started < 5


def test_clients_that_do_not_answer_the_close_do_not_hold_it(app, sidesocket):
    edge = sidesocket(app, DRAIN_TIMEOUT="1s")
    sockets = [edge.websocket() for _ in range(3)]
    app.wait_events(3, "open")
    started = time.monotonic()
    edge.terminate()
    assert edge.wait_exit() == 0
    assert time.monotonic() - started < 5
    assert len(app.events("close")) == 3
    for socket in sockets:
        assert socket.receive().code == 1012


def test_clients_that_never_sent_a_request_do_not_hold_it(app, sidesocket):
    edge = sidesocket(app, DRAIN_TIMEOUT="2s")
    silent, half = edge.client(), edge.client()
    half.send(encode()[:10])
    edge.websocket().close()
    started = time.monotonic()
    edge.terminate()
    assert edge.wait_exit() == 0
    assert time.monotonic() - started < 6
    assert silent.rest() == b""


def test_a_client_that_never_stops_sending_does_not_hold_it(app, sidesocket):
    edge = sidesocket(app, DRAIN_TIMEOUT="20s")
    pace = threading.Event()
    app.on(lambda r: pace.wait(0.02) or Reply(200, r.body, {"Content-Type": "text/plain"}), event="message")
    socket = edge.websocket()
    sent, ended = [], threading.Event()

    def send():
        while not ended.wait(0.005) and socket.try_send(frame(TEXT, "x" * 50)):
            sent.append(1)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        app.wait_events(20, "message")
        started = time.monotonic()
        edge.terminate()
        socket.expect_close(1012, skip_messages=True)
        assert edge.wait_exit() == 0
        assert time.monotonic() - started < 6
    finally:
        ended.set()
        sender.join()
    kinds = [e.event for e in app.events()]
    assert kinds == ["open"] + ["message"] * (len(kinds) - 2) + ["close"]
    assert json.loads(app.events("close")[0].body)["code"] == 1012


def test_replies_that_a_slow_client_has_not_taken_yet_reach_it_before_the_1012(app, sidesocket):
    edge = sidesocket(app, DRAIN_TIMEOUT="20s", MAX_SEND_BUFFER_BYTES="10MiB")
    reply = "z" * 250_000
    app.on(Reply(200, reply, {"Content-Type": "text/plain"}), event="message")
    socket = edge.websocket(receive_buffer=8 << 10)
    for _ in range(30):
        socket.text("go")
    app.wait_events(30, "message")
    eventually(lambda: edge.metric("webhook_in_flight") == 0 and edge.metric("send_buffer_bytes") > 1 << 20)
    edge.terminate()
    eventually(lambda: edge.readyz()[0] in (503, None), "not ready any more")
    app.wait_events(1, "close")
    for _ in range(30):
        assert socket.message() == reply
    socket.expect_close(1012)
    assert edge.wait_exit() == 0
    assert [json.loads(e.body)["code"] for e in app.events("close")] == [1012]


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_it_at_once(app, sidesocket, kind):
    edge = sidesocket(app, DRAIN_TIMEOUT="30s", WEBHOOK_TIMEOUT="30s")
    app.on(Reply(raw=b""), event="message")
    socket = edge.websocket()
    socket.text("x")
    app.wait_events(1, "message")
    edge.terminate(kind)
    eventually(lambda: edge.readyz()[0] == 503, "not ready any more")
    assert edge.process.poll() is None
    edge.terminate(kind)
    assert edge.wait_exit(2) == -kind


@pytest.mark.parametrize("goodbye", [True, False], ids=["app answers close_notify", "app never answers close_notify"])
def test_kept_alive_tls_connections_to_the_app_do_not_hold_it(make_app, sidesocket, certificate, goodbye):
    authority, pair = certificate
    app = make_app(tls=pair)
    edge = sidesocket(app, APP_CA_FILE=authority, DRAIN_TIMEOUT="20s", THREADS=4)
    held = gate()

    def answer(connection, request):
        connection.send(Reply(200, "from the app").encode("GET"))
        # Reads nothing any more, so that it neither sees nor answers the end of the connection.
        if not goodbye:
            held.wait(50)

    app.on(stream=answer)
    clients = [edge.client() for _ in range(8)]
    for client in clients:
        client.request()
    for client in clients:
        assert client.response().text == "from the app"
    assert app.open_connections
    started = time.monotonic()
    edge.terminate()
    assert edge.wait_exit() == 0
    assert time.monotonic() - started < 8
    held.set()
