"""SIGTERM: not ready, no new sockets, closes with 1012, close events delivered, exit 0 in time."""

import json
import signal
import threading
import time

import pytest
from support.app import Reply, gate
from support.net import eventually
from support.raw import encode
from support.ws import CLOSE, close_payload


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
    started = time.monotonic()
    edge.terminate()
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
