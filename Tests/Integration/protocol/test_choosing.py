"""Who gets the client protocol: whoever offers it, unless the app or a setting says otherwise."""

import pytest
from support.app import Reply
from support.protocol import JSON, MSGPACK, ProtocolClient


@pytest.mark.parametrize(
    "offered, chosen",
    [
        (JSON, JSON),
        (MSGPACK, MSGPACK),
        (f"{JSON}, {MSGPACK}", JSON),
        (f"chat, {MSGPACK}, {JSON}", MSGPACK),
        (f"sidesocket.v2.json, {JSON}", JSON),
        (f"sidesocket.bearer.x, {JSON}", JSON),
    ],
)
def test_the_first_encoding_that_is_known_is_chosen(script, edge, offered, chosen):
    client = ProtocolClient(edge, protocol=offered)
    assert client.chosen == chosen
    assert client.welcome["session"] == script.events("open")[0].header("ce-connectionid")


@pytest.mark.parametrize("offered", ["chat", "sidesocket.v2.json", "sidesocket.v1", "sidesocket.v1.xml", "SIDESOCKET.V1.JSON"])
def test_a_client_that_offers_something_else_is_raw(script, edge, offered):
    client = ProtocolClient(edge, protocol=offered, greet=False)
    assert client.answer.status == 101 and client.chosen is None
    client.text("hello")
    assert client.message() == "hello"


def test_a_client_that_offers_nothing_is_raw(script, edge):
    socket = edge.websocket()
    socket.text('{"type":"post","id":"1"}')
    assert socket.message() == '{"type":"post","id":"1"}'


@pytest.mark.parametrize(
    "offered, seen",
    [
        (JSON, None),
        (f"{JSON}, sidesocket.resume.SECRET, sidesocket.bearer.SECRET", None),
        (f"chat, {JSON}, superchat", "chat, superchat"),
        (f"sidesocket.anything, chat", "chat"),
    ],
)
def test_the_app_does_not_see_what_is_between_the_client_and_us(script, edge, offered, seen):
    ProtocolClient(edge, protocol=offered, greet=False)
    request = script.events("open")[0]
    assert request.header("sec-websocket-protocol") == seen
    assert b"SECRET" not in request.head


def test_an_app_that_chooses_another_subprotocol_gets_a_raw_client(app, edge):
    app.on(Reply(204, headers={"Sec-WebSocket-Protocol": "chat"}), event="open")
    app.echo()
    client = ProtocolClient(edge, protocol=f"{JSON}, chat", greet=False)
    assert client.chosen == "chat"
    client.text("hello")
    assert client.message() == "hello"


def test_the_app_cannot_choose_the_protocol(app, edge):
    app.on(Reply(204, headers={"Sec-WebSocket-Protocol": JSON}), event="open")
    assert ProtocolClient(edge, greet=False).answer.status == 502


def test_with_the_protocol_off_every_client_is_raw(script, sidesocket):
    edge = sidesocket(script, PROTOCOL="off")
    client = ProtocolClient(edge, greet=False)
    assert client.answer.status == 101 and client.chosen is None
    client.text("hello")
    assert client.message() == "hello"
    assert script.events("open")[0].header("sec-websocket-protocol") is None


def test_what_a_client_is_told_first(script, sidesocket, encoding):
    edge = sidesocket(script, MAX_MESSAGE_BYTES="10KB", PING_INTERVAL="20s")
    script.on(Reply(200, "hello", {"Content-Type": "text/plain", "Sidesocket-User": "42"}), event="open")
    client = ProtocolClient(edge, protocol=encoding)
    assert client.welcome.pop("ttl") == 120_000 and len(client.welcome.pop("resume")) == 43
    assert client.welcome == {
        "type": "$welcome",
        "session": script.events("open")[0].header("ce-connectionid"),
        "resumed": False,
        "ping": 20_000,
        "maxBytes": 10_000,
        "seq": 0,
        "user": "42",
        "channels": {},
        "features": [],
    }
    # What the app said with its acceptance comes behind it.
    client.frame_of("message", seq=1, payload="hello")


def test_without_pings_the_client_is_told_of_none(script, sidesocket):
    assert "ping" not in ProtocolClient(sidesocket(script, PING_INTERVAL="off")).welcome


def test_a_refused_client_gets_the_answer_of_the_app(app, edge):
    app.on(Reply(403, "no"), event="open")
    answer = ProtocolClient(edge, greet=False).answer
    assert (answer.status, answer.text) == (403, "no")


def test_a_request_that_is_passed_on_has_none_of_it(script, edge):
    offered = f"chat, {JSON}, sidesocket.resume.SECRET"
    with edge.client() as one:
        answer = one.ask("GET", "/page", {"Sec-WebSocket-Protocol": offered}.items())
        assert answer.status == 200
    assert script.plain()[0].header("sec-websocket-protocol") == "chat"
    assert b"SECRET" not in script.plain()[0].head
