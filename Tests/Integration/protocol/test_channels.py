"""Channels for clients of the protocol: they know where they begin, what joins and ends, and what they missed."""

import json
import threading

import msgpack
import pytest
from support.api import API
from support.app import Reply
from support.net import eventually
from support.protocol import JSON, MSGPACK, ProtocolClient
from support.publishing import TEXT
from websockets.sync.client import connect


def publish(api, channel, text, headers=TEXT, **query):
    return api.want(200, "POST", f"/v1/channels/{channel}/messages", text, headers, **query).json


def test_a_client_is_told_where_it_begins(api, client):
    publish(api, "room", "before")
    one = client("/ws?join=room,other")
    place = publish(api, "room", "first")
    begins = one.welcome["channels"]
    assert set(begins) == {"room", "other"}
    assert begins["room"]["offset"] == place["offset"] - 1 and begins["room"]["epoch"] == place["epoch"]
    assert len(begins["room"]["id"]) == 16
    got = one.frame_of("message", channel="room", offset=place["offset"], payload="first")
    assert got["id"] != begins["room"]["id"] and "seq" not in got
    assert publish(api, "other", "x")["offset"] == begins["other"]["offset"] + 1


def test_publications_have_their_type_and_their_format(script, edge, api):
    one, two = ProtocolClient(edge, "/ws?join=room"), ProtocolClient(edge, "/ws?join=room", protocol=MSGPACK)
    raw = edge.websocket("/ws?join=room")
    json_type = {"Content-Type": "application/json", "Sidesocket-Event": "price"}
    publish(api, "room", '{"n": 1}', json_type)
    for client in (one, two):
        client.frame_of("price", channel="room", payload={"n": 1})
    assert raw.message() == '{"n": 1}'
    publish(api, "room", b"\x00\xff", {"Content-Type": "application/octet-stream"})
    one.frame_of("message", payload={"base64": "AP8="})
    two.frame_of("message", payload=b"\x00\xff")
    assert raw.message() == b"\x00\xff"
    publish(api, "room", "text")
    assert one.frame_of("message", payload="text")["id"] == two.frame_of("message", payload="text")["id"]
    assert raw.message() == "text"


@pytest.mark.parametrize("setting", ["on", "off"])
def test_large_publications_are_the_same_compressed(script, sidesocket, setting, encoding):
    edge = sidesocket(script, COMPRESSION_CONTEXT_TAKEOVER=setting)
    with connect(f"ws://127.0.0.1:{edge.port}/ws?join=room", subprotocols=[encoding]) as one:
        read = json.loads if encoding == JSON else msgpack.unpackb
        assert read(one.recv())["type"] == "$welcome"
        for number in range(3):
            publish(API(edge), "room", f"{number}" + "abc" * 1000)
            got = read(one.recv())
            assert got["payload"] == f"{number}" + "abc" * 1000 and got["channel"] == "room"


def test_the_app_lets_a_client_join_and_leave(script, client, api):
    one = client()
    publish(api, "room", "before")
    membership = f"/v1/channels/room/connections/{one.welcome['session']}"
    api.want(204, "PUT", membership)
    joined = one.frame_of("$joined", channel="room")
    place = publish(api, "room", "first")
    assert joined["offset"] == place["offset"] - 1 and joined["epoch"] == place["epoch"]
    one.frame_of("message", channel="room", payload="first")
    api.want(204, "DELETE", membership)
    assert one.frame_() == {"type": "$left", "channel": "room"}
    publish(api, "room", "second")
    one.quiet()


def test_an_acknowledgement_comes_after_what_the_reply_publishes(script, edge):
    client = ProtocolClient(edge, "/ws?join=room")
    client.post({"answer": {"body": "to all", "headers": {"Sidesocket-Publish": "room"}}}, id="1")
    client.frame_of("message", channel="room", payload="to all")
    client.frame_of("$ack", re="1")


def test_an_excluded_client_does_not_get_its_own(script, edge):
    one, two = (ProtocolClient(edge, "/ws?join=room") for _ in range(2))
    headers = {"Sidesocket-Publish": "room", "Sidesocket-Exclude": "self"}
    one.post({"answer": {"body": "to others", "headers": headers}}, id="1")
    one.frame_of("$ack", re="1")
    one.quiet()
    two.frame_of("message", channel="room", payload="to others")


def drain(client, channel="room"):
    """What a client that reads again gets of a channel, until a message that says `end`: offsets and gaps."""
    got = []
    while True:
        frame = client.frame_()
        if frame.get("channel") != channel:
            continue
        got.append(("gap" if frame["type"] == "$gap" else "message", frame["offset"]))
        if frame.get("payload") == "end":
            return got


def check_continuity(begin, got):
    """Every offset is there, or is covered by a gap; a gap is followed by the offset behind it."""
    last, gaps = begin, 0
    for kind, offset in got:
        if kind == "gap":
            assert offset > last, f"a gap back to {offset} after {last}"
            last, gaps = offset, gaps + 1
        else:
            assert offset == last + 1, f"{offset} after {last} without a word"
            last = offset
    return gaps


@pytest.mark.parametrize("action", ["drop-oldest", "drop-newest"])
def test_a_slow_client_is_told_of_gaps(script, sidesocket, api, action, encoding):
    edge = sidesocket(script, SLOW_CLIENT_ACTION=action, MAX_SEND_BUFFER_BYTES="32KiB")
    api = API(edge)
    client = ProtocolClient(edge, "/ws?join=room", protocol=encoding, receive_buffer=4096)
    begin = client.welcome["channels"]["room"]["offset"]
    for number in range(2000):
        publish(api, "room", f"{number:05}" + "x" * 2000)
        if edge.metric("slow_client_total", action=action) > 20:
            break
    dropped = edge.metric("slow_client_total", action=action)
    assert dropped > 20
    got = []
    thread = threading.Thread(target=lambda: got.extend(drain(client)))
    thread.start()
    # The end may be dropped while the client catches up.
    eventually(lambda: publish(api, "room", "end") and not thread.is_alive(), "the client has caught up")
    thread.join()
    assert 1 <= check_continuity(begin, got) <= 20
    assert edge.metric("connections") == 1


@pytest.mark.parametrize("action", ["drop-oldest", "drop-newest"])
def test_messages_with_a_number_are_not_dropped(script, sidesocket, action):
    edge = sidesocket(script, SLOW_CLIENT_ACTION=action, MAX_SEND_BUFFER_BYTES="32KiB")
    api = API(edge)
    client = ProtocolClient(edge, receive_buffer=4096)
    path = f"/v1/connections/{client.welcome['session']}/messages"
    for _ in range(5000):
        if api.ask("POST", path, "x" * 2000, TEXT).status == 404:
            break
    edge.wait_metric("connections_closed_total", 1, code=1008, reason="slow_client")


def test_the_newest_value_alone_is_no_gap(script, sidesocket):
    edge = sidesocket(script, CHANNEL_POLICIES="room=latest", MAX_SEND_BUFFER_BYTES="32KiB")
    api = API(edge)
    client = ProtocolClient(edge, "/ws?join=room", receive_buffer=4096)
    for number in range(2000):
        publish(api, "room", f"{number:05}" + "x" * 2000)
        if edge.metric("slow_client_total", action="latest") > 20:
            break
    publish(api, "room", "end")
    got = drain(client)
    assert {kind for kind, _ in got} == {"message"}
    assert [offset for _, offset in got] == sorted({offset for _, offset in got})


def test_a_reply_lets_its_client_join(script, edge):
    client = ProtocolClient(edge)
    client.post({"answer": {"headers": {"Sidesocket-Subscribe": "room"}}}, id="1")
    client.frame_of("$joined", channel="room")
    client.frame_of("$ack", re="1")


def test_a_reply_that_joins_too_many_channels_is_an_error(script, sidesocket):
    client = ProtocolClient(sidesocket(script, MAX_CHANNELS_PER_CONNECTION="1"), "/ws?join=room")
    client.post({"answer": {"headers": {"Sidesocket-Subscribe": "other"}}}, id="1")
    client.frame_of("$error", re="1", code="failed")
    client.quiet()


def test_the_app_leaves_and_joins_in_its_first_answer(app, edge):
    app.on(
        Reply(
            200,
            json.dumps([{"subscribe": "a"}, {"unsubscribe": "a"}, {"send": {"text": "hi"}}, {"subscribe": "b"}]),
            {"Content-Type": "application/vnd.sidesocket+json"},
        ),
        event="open",
    )
    client = ProtocolClient(edge)
    seen = set(client.welcome["channels"])
    while True:
        frame = client.frame_()
        if frame["type"] == "$left":
            seen.discard(frame["channel"])
        elif frame["type"] == "$joined":
            seen.add(frame["channel"])
        elif frame["type"] == "message":
            break
    client.give(type="$ping")
    while (frame := client.frame_())["type"] != "$pong":
        seen.add(frame["channel"]) if frame["type"] == "$joined" else seen.discard(frame["channel"])
    assert seen == {"b"}
