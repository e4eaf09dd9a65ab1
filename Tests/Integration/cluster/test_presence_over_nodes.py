"""Who is in a channel, over all nodes."""

import time

import pytest
from support.cluster import target
from support.net import eventually
from support.protocol import ProtocolClient
from support.ws import CLOSE, close_payload

POLICY = {"CHANNEL_POLICIES": "room*=presence=on", "CLUSTER_LEASE": "3s"}

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def two(make_cluster, redis):
    return make_cluster(2, redis, relayed=True, **POLICY)


def comes(cluster, number, user=None, join="room"):
    return ProtocolClient(cluster.nodes[number], target("/ws", join=join, **({"user": user} if user else {})))


def goes(client):
    """A goodbye, so that the session is over."""
    client.frame(CLOSE, close_payload(1000))
    client.expect_close(skip_messages=True)


def members(client, channel="room"):
    place = client.welcome["channels"][channel]
    return place["members"], place["count"]


def test_a_user_is_one_over_all_nodes(two):
    ann = comes(two, 0, "ann")
    one, other = comes(two, 0, "bob"), comes(two, 1, "bob")
    assert members(one) == (["ann", "bob"], 2) and members(other) == (["ann", "bob"], 2)
    ann.frame_of("$member", user="bob", event="joined")
    cid = comes(two, 1, "cid")
    assert members(cid) == (["ann", "bob", "cid"], 3)
    for client in (ann, one, other):
        client.frame_of("$member", channel="room", user="cid", event="joined")
    goes(other)
    goes(one)
    for client in (ann, cid):
        client.frame_of("$member", user="bob", event="left")
        client.quiet()


def test_a_user_who_changes_nodes_was_never_gone(two):
    ann, watcher = comes(two, 0, "ann"), comes(two, 1)
    for number in (1, 0, 1, 0):
        bob = comes(two, number, "bob")
        goes(bob)
    for client in (ann, watcher):
        client.frame_of("$member", user="bob", event="joined")
        client.frame_of("$member", user="bob", event="left")
        client.quiet()


def test_a_node_that_is_lost_takes_its_users_along(two):
    ann = comes(two, 0, "ann")
    bob, both = comes(two, 1, "bob"), [comes(two, n, "cid") for n in (0, 1)]
    for user in ("bob", "cid"):
        ann.frame_of("$member", user=user, event="joined")
    began = time.monotonic()
    two.kill(1)
    ann.frame_of("$member", user="bob", event="left")
    assert time.monotonic() - began < 3 + 5 + 5 + 2
    ann.quiet()
    assert bob and both
    two.replace(1)
    two.wait_up()
    assert members(comes(two, 1, "dan")) == (["ann", "cid", "dan"], 3)
    ann.frame_of("$member", user="dan", event="joined")


def converges(client, present, wanted):
    """Reads what a client is told until it knows these users."""
    present = set(present)

    def is_settled():
        client.give(type="$ping")
        while (frame := client.frame_())["type"] != "$pong":
            assert frame["type"] in ("$member", "$joined", "$gap"), frame
            if frame["type"] == "$joined":
                present.clear()
                present.update(frame["members"])
            elif frame["type"] == "$member" and frame["event"] == "joined":
                present.add(frame["user"])
            elif frame["type"] == "$member" and frame["event"] == "left":
                present.discard(frame["user"])
        return present == wanted

    eventually(is_settled, lambda: f"{sorted(present)} becomes {sorted(wanted)}", 30, 0.1)


def four(cluster):
    """Three users on the first node, one of whom will go, and one on the other node."""
    clients = [comes(cluster, n, user) for n, user in ((0, "ann"), (1, "eve"), (0, "sid"), (0, "gil"))]
    for user in ("eve", "sid", "gil"):
        clients[0].frame_of("$member", user=user, event="joined")
    for user in ("sid", "gil"):
        clients[1].frame_of("$member", user=user, event="joined")
    return clients


def test_what_a_node_misses_while_it_is_cut_off_it_learns(two):
    ann, eve, sid, gil = four(two)
    two.relays[1].refuse()
    goes(gil)
    bob, lou = comes(two, 0, "bob"), comes(two, 1, "lou")
    two.relays[1].mend()
    for client in (ann, eve):
        converges(client, ["ann", "eve", "sid", "gil"], {"ann", "eve", "sid", "bob", "lou"})
    assert sid and bob and lou


def test_a_node_that_was_taken_for_lost_comes_back_with_its_users(two):
    ann, eve, sid, gil = four(two)
    two.relays[1].refuse()
    goes(gil)
    lou = comes(two, 1, "lou")
    for user in ("gil", "eve"):
        ann.frame_of("$member", user=user, event="left")
    two.relays[1].mend()
    # The app has been told of the end of this one.
    eve.frame_of("$member", user="lou", event="joined")
    eve.frame_of("$bye", code=1012)
    converges(ann, ["ann", "sid"], {"ann", "sid", "lou"})
    converges(lou, [], {"ann", "sid", "lou"})


def test_a_channel_that_was_left_while_the_engine_was_away(two):
    ann = comes(two, 0, "ann")
    bob = comes(two, 1, "bob")
    ann.frame_of("$member", user="bob", event="joined")
    two.relays[1].refuse()
    eventually(lambda: two.nodes[1].metric("cluster_up") == 0, "the node knows it", 20)
    goes(bob)
    two.relays[1].mend()
    ann.frame_of("$member", user="bob", event="left")
    ann.quiet()


def test_a_room_that_is_full_is_read_in_pages(two):
    sockets = [two.nodes[0].websocket(target("/ws", join="room", user=f"u{n:04}")) for n in range(1200)]
    names, count = members(comes(two, 1, "zoe"))
    assert count == 1201 and len(names) == 100
    assert len(sockets) == 1200


def test_while_the_engine_is_away_a_client_begins_without_it(two, redis):
    redis.kill()
    eventually(lambda: two.nodes[0].metric("cluster_up") == 0, "the node knows it", 20)
    ann = comes(two, 0, "ann")
    assert ann.welcome["channels"]["room"] == {"pending": True}
    redis.start()
    two.wait_up()
    ann.frame_of("$joined", channel="room", members=["ann"], count=1)
    bob = comes(two, 1, "bob")
    converges(ann, ["ann"], {"ann", "bob"})
    converges(bob, members(bob)[0], {"ann", "bob"})
