"""Who is in a channel: members in `$welcome` and `$joined`, and who comes and goes."""

import time

import pytest
from support.api import API
from support.protocol import MSGPACK, ProtocolClient, lose
from support.ws import CLOSE, close_payload

POLICY = {"CHANNEL_POLICIES": "room*=presence=on;other=latest"}


@pytest.fixture
def edge(script, sidesocket):
    return sidesocket(script, **POLICY)


def comes(edge, user=None, join="room", **how):
    query = f"?join={join}" + (f"&user={user}" if user else "")
    return ProtocolClient(edge, f"/ws{query}", **how)


def goes(client):
    """A goodbye, so that the session is over."""
    client.frame(CLOSE, close_payload(1000))
    client.expect_close(skip_messages=True)


def members(client, channel="room"):
    """What the client was told first."""
    place = client.welcome["channels"][channel]
    return place["members"], place["count"]


def test_the_first_and_the_last_connection_of_a_user_are_told(edge):
    ann = comes(edge, "ann")
    assert ann.welcome["features"] == ["presence"]
    assert members(ann) == (["ann"], 1)
    guest = comes(edge, protocol=MSGPACK)
    assert members(guest) == (["ann"], 1)
    ann.quiet()
    one, two = comes(edge, "bob"), edge.websocket("/ws?join=room&user=bob")
    assert members(one) == (["ann", "bob"], 2)
    for client in (ann, guest):
        client.frame_of("$member", channel="room", user="bob", event="joined", count=2)
    goes(one)
    ann.quiet()
    began = time.monotonic()
    goes(two)
    for client in (ann, guest):
        client.frame_of("$member", channel="room", user="bob", event="left", count=1)
    assert 4.5 < time.monotonic() - began < 8
    for client in (ann, guest):
        client.quiet()


def test_who_comes_back_in_time_was_never_gone(edge):
    ann = comes(edge, "ann")
    for _ in range(3):
        bob = comes(edge, "bob")
        assert members(bob) == (["ann", "bob"], 2)
        goes(bob)
    ann.frame_of("$member", user="bob", event="joined")
    # Who comes meanwhile finds a user who may come back.
    assert members(comes(edge)) == (["ann", "bob"], 2)
    ann.frame_of("$member", user="bob", event="left")
    ann.quiet()


def test_an_absent_client_is_still_there(edge):
    ann, bob = comes(edge, "ann"), comes(edge, "bob")
    ann.frame_of("$member", user="bob", event="joined")
    lose(bob)
    cid = comes(edge, "cid")
    assert members(cid) == (["ann", "bob", "cid"], 3)
    again = bob.resumes()
    assert members(again) == (["ann", "bob", "cid"], 3)
    ann.frame_of("$member", user="cid", event="joined")
    ann.quiet()
    API(edge).want(204, "DELETE", f"/v1/connections/{again.welcome['session']}?code=4000&reason=x")
    ann.frame_of("$member", user="bob", event="left")


def test_membership_changes_by_the_app(edge, encoding):
    ann, bob = comes(edge, "ann", "room,other", protocol=encoding), comes(edge, "bob", "other", protocol=encoding)
    assert "members" not in ann.welcome["channels"]["other"] and "count" not in bob.welcome["channels"]["other"]
    api = API(edge)
    api.want(204, "PUT", f"/v1/channels/room/connections/{bob.welcome['session']}")
    bob.frame_of("$joined", channel="room", members=["ann", "bob"], count=2)
    ann.frame_of("$member", user="bob", event="joined", channel="room")
    api.want(204, "DELETE", f"/v1/channels/room/connections/{bob.welcome['session']}")
    bob.frame_of("$left", channel="room")
    ann.frame_of("$member", user="bob", event="left")
    bob.quiet()


def test_a_user_who_gets_another_name(edge):
    ann, bob = comes(edge, "ann"), comes(edge)
    for id, user in enumerate(["bob", "rob", ""]):
        bob.post({"answer": {"status": 204, "headers": {"Sidesocket-User": user}}}, id=str(id))
        bob.frame_of("$ack", re=str(id))
    for user, event in [("bob", "joined"), ("rob", "joined"), ("bob", "left"), ("rob", "left")]:
        ann.frame_of("$member", user=user, event=event)
    ann.quiet()


def test_a_hundred_are_named_and_all_are_counted(edge):
    sockets = [edge.websocket(f"/ws?join=room&user=u{n:03}") for n in range(130)]
    names, count = members(comes(edge, "zoe"))
    assert count == 131 and len(names) == 100 and names == sorted(set(names))
    assert len(sockets) == 130


def test_a_client_that_does_not_read_gets_the_list_again(script, sidesocket):
    edge = sidesocket(script, **POLICY, MAX_SEND_BUFFER_BYTES="16KiB", SLOW_CLIENT_ACTION="drop-newest")
    slow = comes(edge, receive_buffer=4096)
    assert members(slow) == ([], 0)
    api = API(edge)
    while not edge.metric("slow_client_total", action="drop-newest"):
        api.want(200, "POST", "/v1/channels/room/messages", b"x" * 8192, {"Content-Type": "text/plain"})
    kept = [edge.websocket(f"/ws?join=room&user={n:04}" + "x" * 200) for n in range(200)]
    seen, reset = set(), None
    while not reset:
        frame = slow.frame_()
        assert frame["type"] in ("message", "$gap", "$member"), frame
        if frame["type"] != "$member":
            continue
        if frame["event"] == "reset":
            reset = frame
        else:
            seen.add(frame["user"])
    assert len(seen) < len(kept)
    assert reset["count"] == len(kept) and len(reset["members"]) == 100 and "user" not in reset
    slow.quiet()
    kept.append(comes(edge, "late"))
    slow.frame_of("$member", user="late", event="joined")
