"""Publishing from any response: the header is taken off, and its text reaches the subscribers."""

import pytest
from support.app import Reply
from support.net import eventually
from support.raw import encode


def listener(app, edge, channel="orders"):
    """A WebSocket in the channel."""
    app.on(Reply(204, headers={"Sidesocket-Subscribe": f'"{channel}"'}), event="open", times=1)
    return edge.websocket()


def test_a_response_tells_the_channels_and_the_client_does_not_see_the_headers(app, edge):
    socket, other = listener(app, edge), listener(app, edge, "room:7")
    fields = [
        ("Sidesocket-Broadcast", 'orders {"id":7}'),
        ("sidesocket-broadcast", '"room:7";enc=percent gr%C3%BC%C3%9Fe'),
        ("Sidesocket-Broadcast", "orders second"),
        ("Sidesocket-Anything", "x"),
        ("X-Order", "7"),
    ]
    app.on(Reply(201, "saved", fields), path="/orders")
    with edge.client() as client:
        client.send(encode("POST", "/orders", {}, b"item=1"))
        answer = client.response()
    assert (answer.status, answer.text, answer.header("x-order")) == (201, "saved", "7")
    assert not [name for name, _ in answer.headers if name.lower().startswith("sidesocket-")]
    assert [socket.message(), socket.message()] == ['{"id":7}', "second"]
    assert other.message() == "grüße"
    assert edge.metric("broadcasts_total", result="published") == 3


@pytest.mark.parametrize("value", ["orders", '"a,b" x', "orders;enc=percent %FF", "orders " + "x" * 8192])
def test_a_header_that_cannot_be_read_does_not_hold_up_the_response(app, edge, value):
    app.on(Reply(200, "saved", {"Sidesocket-Broadcast": value}), path="/orders")
    with edge.client() as client:
        answer = client.ask(target="/orders")
    assert (answer.status, answer.text, answer.header("sidesocket-broadcast")) == (200, "saved", None)
    result = "too_long" if len(value) > 8192 else "malformed"
    assert edge.metric("broadcasts_total", result=result) == 1
    lines = eventually(lambda: [x for x in edge.logs if "Sidesocket-Broadcast not published" in str(x)], "a line")
    assert lines[0]["level"] == "warning"


def test_off_switches_publishing_off_and_still_hides_the_header(app, sidesocket):
    edge = sidesocket(app, BROADCAST_HEADER="off")
    socket = listener(app, edge)
    app.on(Reply(200, "saved", {"Sidesocket-Broadcast": "orders x"}), path="/orders")
    with edge.client() as client:
        assert client.ask(target="/orders").header("sidesocket-broadcast") is None
    app.on(Reply(200, "the first to arrive", {"Content-Type": "text/plain"}), event="message")
    socket.text("hello")
    assert socket.message() == "the first to arrive"


def test_an_answer_to_an_event_may_broadcast_too(app, edge):
    socket = listener(app, edge)
    app.on(
        Reply(200, "to you", {"Content-Type": "text/plain", "Sidesocket-Broadcast": "orders to all"}), event="message"
    )
    socket.text("hello")
    assert [socket.message(), socket.message()] == ["to all", "to you"]


def test_an_answer_to_head_broadcasts_too(app, edge):
    socket = listener(app, edge)
    app.on(Reply(200, "x", {"Sidesocket-Broadcast": "orders x"}), path="/orders", method="HEAD")
    with edge.client() as client:
        assert client.ask("HEAD", "/orders").status == 200
    assert socket.message() == "x"
