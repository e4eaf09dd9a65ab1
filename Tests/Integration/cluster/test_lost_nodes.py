"""A node that is lost: what it held is gone within its lease, and survivors tell the app of its connections' end."""

import json
import time

import pytest
from support.app import Reply
from support.net import eventually
from support.swarm import Swarm

LEASE = 3.0
# By then the others have begun to act on the loss.
GONE = LEASE + 5

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def three(make_cluster, redis):
    return make_cluster(3, redis, CLUSTER_LEASE="3s", CHANNEL_EVENTS="on", relayed=True)


def closes(app, connection=None):
    """The close events of a connection, by id."""
    return {event.header("ce-id"): event for event in app.events("close", connection)}


def wait_lost(app, connections, timeout=GONE + 10):
    """Waits until the app has a close event of each of these."""
    return eventually(
        lambda: all(closes(app, one) for one in connections),
        lambda: f"a close event of each; missing {[one for one in connections if not closes(app, one)][:5]}",
        timeout, 0.05,
    )  # fmt: skip


def check_lost(app, connection):
    """The app got the close event that survivors send, and no other."""
    events = closes(app, connection)
    assert list(events) == [f"{connection}-lost"], list(events)
    (event,) = events.values()
    body = json.loads(event.body)
    assert (body["code"], body["initiator"]) == (1006, "network")
    assert event.header("ce-sequence") is None and event.header("ce-connectionid") == connection
    return event


def test_what_a_killed_node_held_is_gone_and_told(three):
    app = three.app
    headers = {"Cookie": "a=1", "X-Secret": "no"}
    socket = three.nodes[1].websocket("/ws/chat?user=bob&join=room&state=opaque&x=1", headers=headers)
    one = app.wait_events(1, "open")[0].header("ce-connectionid")
    stays, two = three.member(0, join="other", user="ann")
    app.wait_events(2, "channel.occupied", 20)
    began = time.monotonic()
    three.kill(1)
    for n in (0, 2):
        api = three.api(n)
        eventually(lambda api=api: api.ask("GET", "/v1/channels/room").status == 404, "presence is gone", GONE, 0.05)
        eventually(
            lambda api=api: {node["name"] for node in api.ask("GET", "/v1/nodes").json["nodes"]} == {"web-1", "web-3"},
            "it is no node any more", GONE,
        )  # fmt: skip
        assert [c["id"] for c in api.connections()] == [two]
    assert time.monotonic() - began < GONE + 1
    wait_lost(app, [one])
    event = check_lost(app, one)
    assert event.header("ce-userid") == "bob" and event.header("ce-connectionstate") == "opaque"
    assert event.header("cookie") == "a=1" and event.header("x-secret") is None
    assert event.header("ce-subject") == "/ws/chat?user=bob&join=room&state=opaque&x=1"
    assert event.target == "/ws/chat?user=bob&join=room&state=opaque&x=1"
    vacated = app.wait_events(1, "channel.vacated", 20)
    assert {v.header("ce-channel") for v in vacated} == {"room"}
    assert sum(three.nodes[n].metric("cluster_lost_nodes_total") for n in (0, 2)) >= 1
    stays.barrier()
    assert closes(app, two) == {}
    assert socket.wait_closed(5) in ("fin", "reset")


def test_every_connection_of_a_killed_node_is_closed_and_the_app_is_not_stampeded(make_cluster, redis):
    cluster = make_cluster(3, redis, CLUSTER_LEASE="3s", WEBHOOK_MAX_IN_FLIGHT="4")
    with Swarm(cluster.nodes[1].port) as swarm:
        swarm.enter(300)
        connections = [event.header("ce-connectionid") for event in cluster.app.events("open")]
        cluster.kill(1)
        wait_lost(cluster.app, connections, GONE + 30)
    for one in connections:
        check_lost(cluster.app, one)
    # Two survivors share the work; neither exceeds its bound.
    assert cluster.app.most_in_flight <= 8


def test_an_app_that_is_away_gets_the_close_events_later_with_the_same_ids(three):
    app = three.app
    _, one = three.member(1, user="bob")
    app.on(Reply(503), event="close", times=2)
    three.kill(1)
    eventually(lambda: len(app.events("close", one)) >= 3, "it is tried again", GONE + 20, 0.05)
    check_lost(app, one)


def test_a_survivor_that_dies_on_it_leaves_the_rest_to_the_next(make_cluster, redis):
    cluster = make_cluster(3, redis, CLUSTER_LEASE="3s", WEBHOOK_MAX_IN_FLIGHT="2")
    app = cluster.app
    with Swarm(cluster.nodes[1].port) as swarm:
        swarm.enter(60)
        connections = [event.header("ce-connectionid") for event in app.events("open")]
        app.on(lambda _: (time.sleep(0.1), Reply(204))[1], event="close")
        cluster.kill(1)
        eventually(lambda: app.events("close"), "survivors have begun", GONE + 5)
        cluster.kill(2)
        wait_lost(app, connections, 2 * GONE + 30)
    for one in connections:
        check_lost(app, one)


@pytest.mark.parametrize("how", ["cut off", "stopped"])
def test_a_node_that_was_only_away_closes_what_was_claimed_without_a_second_close_event(three, how):
    app, node = three.app, three.nodes[1]
    socket, one = three.member(1, join="room", user="bob")
    if how == "cut off":
        three.relays[1].refuse()
        # Its clients notice nothing of it.
        socket.text("still here")
        assert socket.message() == "still here"
    else:
        node.process.send_signal(19)
    wait_lost(app, [one])
    if how == "cut off":
        three.relays[1].mend()
    else:
        node.process.send_signal(18)
    socket.expect_close(1012)
    three.wait_up()
    check_lost(app, one)
    # Whoever comes now is no business of the claim.
    again, two = three.member(1, join="room")
    eventually(lambda: {c["id"] for c in three.api(0).connections()} == {two}, "the new one is known", 15)
    three.publish(0, "room", "x")
    assert again.message() == "x"
    assert closes(app, two) == {}


def test_nobody_is_lost_because_the_engine_was_away(make_cluster, redis):
    cluster = make_cluster(2, redis, CLUSTER_LEASE="3s")
    members = [cluster.member(n, join="room") for n in (0, 1)]
    began = time.monotonic()
    with redis.paused():
        eventually(lambda: time.monotonic() - began > LEASE + 2, "longer than a lease", 20, 0.2)
    cluster.wait_up()
    redis.kill()
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > LEASE + 2, "longer than a lease", 20, 0.2)
    redis.start()
    cluster.wait_up()
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > GONE, "time for a wrong verdict", 20, 0.2)
    for socket, one in members:
        socket.barrier()
        assert closes(cluster.app, one) == {}
    assert sum(node.metric("cluster_lost_nodes_total") for node in cluster.nodes) == 0
    assert len(cluster.api(0).connections()) == 2


def test_a_node_that_comes_back_with_its_outbox_tells_what_it_owes_and_no_second_close(make_cluster, redis, tmp_path):
    boxes = [tmp_path / f"outbox-{n}" for n in range(2)]
    cluster = make_cluster(0, redis, CLUSTER_LEASE="3s", WEBHOOK_RETRY_FOR="60s")
    for box in boxes:
        box.mkdir()
        cluster.add(OUTBOX_DIR=str(box))
    cluster.wait_up()
    app = cluster.app
    socket, one = cluster.member(1)
    app.on(Reply(503), event="message")
    socket.text("owed")
    app.wait_events(1, "message")
    socket.barrier()
    cluster.kill(1)
    wait_lost(app, [one])
    app.echo()
    cluster.replace(1)
    eventually(
        lambda: any(event.text == "owed" for event in app.events("message", one)[1:]), "the message is told", 30, 0.05
    )
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 3, "time for a second close", interval=0.2)
    assert list(closes(app, one)) == [f"{one}-lost"]


def test_a_node_that_drains_tells_of_its_own_connections(make_cluster, redis):
    cluster = make_cluster(2, redis, CLUSTER_LEASE="3s", DRAIN_TIMEOUT="2s")
    socket, one = cluster.member(1)
    cluster.nodes[1].terminate()
    socket.expect_close(1012)
    assert cluster.nodes[1].wait_exit(30) == 0
    wait_lost(cluster.app, [one])
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > GONE, "time for a second close", 20, 0.2)
    assert len(closes(cluster.app, one)) == 1 and f"{one}-lost" not in closes(cluster.app, one)


@pytest.mark.parametrize("who", ["another node", "the next to start"])
def test_close_events_that_a_drain_could_not_deliver_are_left_to(make_cluster, redis, who):
    cluster = make_cluster(2 if who == "another node" else 1, redis, DRAIN_TIMEOUT="1s")
    app, node = cluster.app, cluster.nodes[0]
    app.on(Reply(503), event="close")
    members = [cluster.member(0, user="bob") for _ in range(3)]
    node.terminate()
    for socket, _ in members:
        socket.expect_close(1012)
    assert node.wait_exit(30) == 0
    left = [line["count"] for line in node.logs if line["message"] == "close events are left to other nodes"]
    assert left == [3]
    assert "close events were not delivered" not in node.output
    app.echo()
    if who == "the next to start":
        cluster.replace(0)
        cluster.wait_up()
    for _, one in members:
        eventually(lambda one=one: f"{one}-lost" in closes(app, one), f"the end of {one}", 30, 0.05)
        assert closes(app, one)[f"{one}-lost"].header("ce-userid") == "bob"


def test_the_last_node_that_is_killed_is_told_of_by_the_next_that_starts(make_cluster, redis):
    cluster = make_cluster(1, redis, CLUSTER_LEASE="3s")
    _, one = cluster.member(0, user="bob")
    cluster.kill(0)
    cluster.replace(0)
    cluster.wait_up()
    wait_lost(cluster.app, [one])
    check_lost(cluster.app, one)


def test_the_channel_events_that_a_killed_node_owed_are_told_by_another(make_cluster, redis):
    cluster = make_cluster(2, redis, CLUSTER_LEASE="3s", CHANNEL_EVENTS="on")
    app = cluster.app
    stays = cluster.socket(1, join="left")
    app.wait_events(1, "channel.occupied", 20)
    # Both changes are the first node's to tell, five seconds later.
    cluster.socket(0, join="room")
    here = cluster.socket(0, join="left")
    there = cluster.socket(1, join="room")
    stays.close()
    app.wait_events(1, "close")
    here.close()
    app.wait_events(2, "close")
    cluster.kill(0)
    events = app.wait_events(2, "channel.occupied", GONE + 15)
    assert {event.header("ce-channel") for event in events} == {"left", "room"}
    assert {event.header("ce-channel") for event in app.wait_events(1, "channel.vacated", GONE + 15)} == {"left"}
    there.barrier()


def test_what_a_node_owes_of_channels_when_it_is_stopped_is_told_by_another(make_cluster, redis):
    cluster = make_cluster(2, redis, CLUSTER_LEASE="3s", CHANNEL_EVENTS="on", DRAIN_TIMEOUT="2s")
    cluster.socket(0, join="room")
    there = cluster.socket(1, join="room")
    cluster.nodes[0].terminate()
    assert cluster.nodes[0].wait_exit(30) == 0
    cluster.app.wait_events(1, "channel.occupied", 2 * GONE + 15)
    there.barrier()
