"""Clients that take what they get slowly lose none of it."""

import json
import threading
import time

import pytest
from support.app import Reply, gate
from support.net import eventually
from support.raw import Client
from support.ws import CLOSE, close_payload

TEXT_TYPE = {"Content-Type": "text/plain"}
SIZE = 12_000_000


def test_a_slow_reader_gets_all_of_an_answer_behind_which_the_connection_closes(app, edge):
    def answer(connection, request):
        # An answer that ends with the connection, or one with a length.
        mark = b"Connection: close\r\n" if request.path == "/until-close" else b"Content-Length: %d\r\n" % SIZE
        connection.send(b"HTTP/1.1 200 OK\r\n" + mark + b"\r\n")
        connection.send(b"y" * SIZE)
        return "close"

    app.on(stream=answer)
    results = {}

    def is_slow(client):
        # Where the app has long finished and the proxy holds the rest.
        return SIZE - 5_000_000 < len(client.buffer) < SIZE - 2_500_000

    def read(target, version):
        with Client(edge.port, receive_buffer=64 << 10) as client:
            client.request(target=target, headers={"Connection": "close"}, version=version)
            started = time.monotonic()
            while client.fill(40_000 if is_slow(client) else 1 << 18):
                if is_slow(client):
                    time.sleep(0.1)
            results[target, version] = client.response(), time.monotonic() - started

    wanted = [(target, version) for target in ("/length", "/until-close") for version in ("HTTP/1.0", "HTTP/1.1")]
    threads = [threading.Thread(target=read, args=case) for case in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    missing = {case: SIZE - len(answer.body) for case, (answer, _) in results.items()}
    assert missing == dict.fromkeys(wanted, 0)
    assert not any(answer.truncated for answer, _ in results.values())
    # Else nobody was slow enough to be cut off.
    assert min(took for _, took in results.values()) > 4


def test_a_reply_as_large_as_max_reply_bytes_reaches_a_client_with_a_smaller_send_buffer(app, sidesocket):
    edge = sidesocket(app, MAX_REPLY_BYTES="8MiB", MAX_SEND_BUFFER_BYTES="64KiB")
    big = b"z" * (8 << 20)
    app.on(Reply(200, big, TEXT_TYPE), event="message")
    socket = edge.websocket(receive_buffer=8 << 10)
    for _ in range(3):
        socket.text("go")
        eventually(lambda: edge.metric("send_buffer_bytes") > 64 << 10, "the reply waits for the client")
        assert socket.message().encode() == big
    edge.wait_metric("send_buffer_bytes", 0)
    app.on(Reply(200, big, {**TEXT_TYPE, "Sidesocket-Close": "4000 bye"}), event="message")
    socket.text("the last")
    eventually(lambda: edge.metric("send_buffer_bytes") > 64 << 10, "the reply waits for the client")
    assert socket.message().encode() == big
    assert socket.expect_close(4000).reason == "bye"


@pytest.mark.parametrize("leaves", [False, True], ids=["waits", "leaves at once"])
def test_the_close_code_of_a_client_arrives_from_behind_back_pressure(app, sidesocket, leaves):
    edge = sidesocket(app, MAX_PENDING_BYTES="4KiB")
    held = gate()
    app.on(Reply(204, gate=held), event="message")
    socket = edge.websocket()
    for i in range(50):
        socket.text(f"{i} " + "x" * 200)
    socket.frame(CLOSE, close_payload(4001, "bye"))
    app.wait_events(1, "message")
    if leaves:
        socket.sock.close()
        # Otherwise it could all have been read in the right order.
        eventually(lambda: edge.metric("connections") == 0, "it has seen that the client left")
    held.set()
    if not leaves:
        socket.expect_close(4001)
    bodies = [json.loads(e.body) for e in app.wait_events(1, "close")]
    assert [(b["code"], b["reason"], b["initiator"], b["messagesIn"]) for b in bodies] == [(4001, "bye", "client", 50)]
    assert [e.text.split()[0] for e in app.events("message")] == [str(i) for i in range(50)]
    edge.wait_metric("pending_bytes", 0)
