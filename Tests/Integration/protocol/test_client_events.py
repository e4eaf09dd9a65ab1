"""Events from client to client: to the other members of a channel, and to nobody else."""

import pytest
from support.api import API
from support.protocol import MSGPACK, ProtocolClient, lose

POLICY = {"CHANNEL_POLICIES": "room=client-events=on;other=latest"}


@pytest.fixture
def edge(script, sidesocket):
    return sidesocket(script, **POLICY)


def test_the_others_get_it_and_the_app_does_not(script, edge):
    one = ProtocolClient(edge, "/ws?user=bob&join=room")
    two = ProtocolClient(edge, "/ws?join=room", protocol=MSGPACK)
    three = ProtocolClient(edge, "/ws?join=other")
    raw = edge.websocket("/ws?join=room")
    assert one.welcome["features"] == ["client-events"]
    one.give(type="client-typing", channel="room", payload={"on": True, "n": [1, -1, 1.5, "é", None]})
    two.frame_of("client-typing", channel="room", user="bob", payload={"on": True, "n": [1, -1, 1.5, "é", None]})
    for client in (one, two, three):
        client.quiet()
    raw.barrier()
    assert script.events("message") == []


@pytest.mark.parametrize(
    "sent, got",
    [
        ({"a": [1, -1, 2**40, -(2**40), 1.5, True, None, "é\n"]},) * 2,
        (b"\x00\xff", {"base64": "AP8="}),
        ({"b": b"\x00"}, {"b": {"base64": "AA=="}}),
        ({1: 2}, {"base64": "gQEC"}),
        (float("nan"), {"base64": "y3/4AAAAAAAA"}),
    ],
)
def test_what_messagepack_says_is_json_for_others(edge, sent, got):
    one, two = ProtocolClient(edge, "/ws?join=room", protocol=MSGPACK), ProtocolClient(edge, "/ws?join=room")
    one.give(type="client-x", channel="room", payload=sent)
    assert two.frame_of("client-x", channel="room")["payload"] == got


def test_with_an_id_it_is_acknowledged(edge, encoding):
    one = ProtocolClient(edge, "/ws?join=room", protocol=encoding)
    one.give(type="client-x", channel="room", id="1")
    one.frame_of("$ack", re="1")


@pytest.mark.parametrize("channel", ["other", "elsewhere", "third"])
def test_a_client_may_not_send_everywhere(edge, channel):
    # In `other` the policy says nothing of client events, and in the others the client is not.
    one = ProtocolClient(edge, "/ws?join=room,other")
    one.give(type="client-x", channel=channel, id="1")
    one.frame_of("$error", re="1", code="forbidden", retry=False)
    one.give(type="client-x", channel="room", id="2")
    one.frame_of("$ack", re="2")


def test_a_client_that_has_left_may_not_send(script, edge):
    one = ProtocolClient(edge, "/ws?join=room")
    API(edge).want(204, "DELETE", f"/v1/channels/room/connections/{one.welcome['session']}")
    one.frame_of("$left", channel="room")
    one.give(type="client-x", channel="room", id="1")
    one.frame_of("$error", re="1", code="forbidden")


def test_without_the_policy_there_are_none(script, sidesocket):
    one = ProtocolClient(sidesocket(script), "/ws?join=room")
    assert one.welcome["features"] == []
    one.give(type="client-x", channel="room", id="1")
    one.frame_of("$error", re="1", code="forbidden")


def test_too_many_events_between_clients_are_refused(script, sidesocket):
    edge = sidesocket(script, **POLICY, CLIENT_EVENT_RATE="2/1m")
    one, two = (ProtocolClient(edge, "/ws?join=room") for _ in range(2))
    for number in range(4):
        one.give(type="client-x", channel="room", payload=number)
    for _ in range(2):
        got = one.frame_of("$error", code="rate_limited", retry=True)
        assert 0 < got["after"] <= 60_000
    assert [two.frame_of("client-x")["payload"] for _ in range(2)] == [0, 1]
    two.quiet()
    assert edge.metric("limited_total", limit="client_event_rate", action="refused") == 2


def test_a_client_that_does_not_read_misses_them(script, sidesocket):
    edge = sidesocket(
        script, **POLICY, CLIENT_EVENT_RATE="off", MESSAGE_RATE="off", MAX_SEND_BUFFER_BYTES="32KiB"
    )
    one = ProtocolClient(edge, "/ws?join=room")
    two = ProtocolClient(edge, "/ws?join=room", receive_buffer=4096)
    for number in range(2000):
        one.give(type="client-x", channel="room", payload=f"{number}" + "x" * 2000)
    one.quiet()
    assert edge.metric("connections") == 2
    assert edge.metric("slow_client_total", action="drop-newest") > 100
    two.frame_of("client-x")


def test_an_absent_client_gets_none(script, edge):
    one, two = (ProtocolClient(edge, "/ws?join=room") for _ in range(2))
    lose(two)
    one.give(type="client-x", channel="room", id="1")
    one.frame_of("$ack", re="1")
    assert two.resumes().missed == []
