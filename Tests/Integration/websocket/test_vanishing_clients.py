"""Clients that are found gone while something is written to them: what they sent still counts, and they count once."""

import contextlib
import json
import signal

import pytest
from support.api import API
from support.app import Reply, gate
from support.net import eventually
from support.raw import encode
from support.ws import CLOSE, PING, TEXT, close_payload, frame, handshake_headers

CLIENTS = 40


@contextlib.contextmanager
def standing_still(process):
    """What happens meanwhile, the process finds all at once."""
    process.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.process.send_signal(signal.SIGCONT)


def connections(process):
    return json.loads(process.readyz()[1])["capacity"]["connections"]


def nobody_is_left(process):
    eventually(lambda: connections(process) == 0, "no connection is counted")


def test_a_client_that_pings_amid_its_messages_is_heard_to_the_end(shared):
    """The pongs for it fail while its messages are taken; what lies unread then still comes behind them."""
    app, process = shared
    app.on(Reply(204), event="message")
    socket = process.websocket()
    texts = [f"{number:0100d}" for number in range(100)]
    with standing_still(process):
        socket.send(b"".join(frame(TEXT, text) + 2 * frame(PING, b"p" * 122) for text in texts))
        socket.reset()
    body = json.loads(app.wait_events(1, "close")[-1].body)
    assert (body["code"], body["initiator"], body["messagesIn"]) == (1006, "network", len(texts))
    assert [event.text for event in app.events("message")] == texts
    assert [event.sequence for event in app.events()] == list(range(1, len(texts) + 3))
    nobody_is_left(process)


@pytest.mark.parametrize("last", [frame(CLOSE, close_payload(1000)), b"\xff\xff"], ids=["close", "no frame"])
def test_a_client_that_pings_and_ends_is_counted_once(shared, last):
    app, process = shared
    sockets = [process.websocket() for _ in range(CLIENTS)]
    with standing_still(process):
        for socket in sockets:
            socket.send(frame(PING, b"p" * 122) + last)
            socket.reset()
    app.wait_events(CLIENTS, "close")
    nobody_is_left(process)


@pytest.mark.parametrize("request_", [b"GARBAGE\r\n\r\n", encode("CONNECT", "a:1")], ids=["garbage", "connect"])
def test_a_client_that_is_refused_is_counted_once(app, sidesocket, request_):
    edge = sidesocket(app, MAX_CONNECTIONS=10)
    for _ in range(4):
        with standing_still(edge):
            for _ in range(9):
                client = edge.client()
                client.send(request_)
                client.reset()
        nobody_is_left(edge)
    # There is room for as many as before, not for more.
    inside = [edge.websocket() for _ in range(10)]
    assert edge.try_websocket().answer.status == 503
    assert connections(edge) >= len(inside)


@pytest.mark.parametrize("ends", [[], [("Connection", "close")]], ids=["kept alive", "closed"])
def test_a_request_whose_client_vanishes_is_counted_once(app, edge, ends):
    held = gate()
    app.on(Reply(200, "late", gate=held))
    clients = [edge.client() for _ in range(CLIENTS)]
    for client in clients:
        client.send(encode("GET", "/slow", ends))
    eventually(lambda: len(app.heads) == CLIENTS, "all are with the app")
    with standing_still(edge):
        held.set()
        for client in clients:
            client.reset()
    nobody_is_left(edge)
    counted = edge.metrics()
    assert sum(v for (name, _), v in counted.items() if name == "sidesocket_proxy_requests_total") == CLIENTS


def test_a_kick_closes_although_its_close_event_fails_at_once(make_app, sidesocket, tmp_path):
    app = make_app(unix=str(tmp_path / "app.sock"))
    edge = sidesocket(app)
    sockets = [edge.websocket() for _ in range(3)]
    app.stop()
    api = API(edge)
    for one in api.want(200, "GET", "/v1/connections").json["connections"]:
        api.want(204, "DELETE", f"/v1/connections/{one['id']}")
    for socket in sockets:
        socket.expect_close()
    nobody_is_left(edge)


def test_messages_behind_a_handshake_whose_client_goes_are_counted(app, edge):
    held = gate()
    app.on(Reply(204, gate=held), event="open")
    client = edge.client()
    client.send(encode("GET", "/ws", handshake_headers(), host=client.host))
    app.wait_events(1, "open")
    client.send(
        frame(TEXT, "one") + frame(PING) + frame(TEXT, "tw", fin=False) + frame(0, "o") + frame(TEXT, "half")[:5]
    )
    client.sock.close()
    edge.wait_metric("handshakes_total", 1, result="client_gone")
    assert edge.metric("messages_dropped_total", reason="client_gone") == 2
    held.set()
    app.wait_events(1, "close")
    assert app.events("message") == []
