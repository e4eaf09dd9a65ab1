"""The last node of a cluster leaves its sessions to the engine, and the next one that starts takes them over."""

import json
import time

import pytest
from support.cluster import target
from support.net import eventually
from support.protocol import ProtocolClient, lose

pytestmark = pytest.mark.timeout(180)


def events(app):
    return [event.event for event in app.events()]


def comes(cluster, number=0, **query):
    return ProtocolClient(cluster.nodes[number], target("/ws", **query))


def stop(cluster, number=0):
    node = cluster.nodes[number]
    node.exit_expected = True
    node.process.terminate()
    node.wait_exit()
    return node


def test_a_single_node_is_restarted_and_the_app_notices_nothing(make_cluster, redis):
    one = make_cluster(1, redis)
    client, away = comes(one, user="42", join="room", state="opaque"), comes(one, user="43")
    client.post({"n": 1}, id="1")
    client.frame_of("reply", seq=1)
    one.publish(0, "room", "seen")
    client.frame_of("message", channel="room")
    lose(away)
    node = stop(one)
    client.frame_of("$bye", code=1012, reconnect=True)
    assert any(line["message"] == "drained" for line in node.logs)
    one.replace(0)
    one.wait_up()
    back = client.resumes(edge=one.nodes[0])
    assert back.missed == [] and back.welcome["user"] == "42"
    assert back.welcome["channels"]["room"]["recovered"] is True
    back.post({"n": 1}, id="1")
    back.frame_of("reply", re="1", seq=1)
    back.post({"n": 2}, id="2")
    back.frame_of("reply", re="2", seq=2)
    assert away.resumes(edge=one.nodes[0]).missed == []
    assert events(one.app) == ["open", "open", "message", "message"]
    assert one.app.events("message")[-1].header("ce-connectionstate") == "opaque"
    back.close()
    (closed,) = one.app.wait_events(1, "close")
    assert closed.sequence == 4


def test_publications_meanwhile_come_from_the_history(make_cluster, redis):
    one = make_cluster(1, redis)
    client = comes(one, join="room")
    stop(one)
    one.replace(0)
    one.wait_up()
    one.publish(0, "room", "first")
    assert [frame["payload"] for frame in client.resumes(edge=one.nodes[0]).missed] == ["first"]


def test_both_nodes_stop_one_after_the_other(make_cluster, redis):
    two = make_cluster(2, redis)
    clients = [comes(two, number % 2, user=str(number)) for number in range(6)]
    for number in (0, 1):
        stop(two, number)
    for number in (0, 1):
        two.replace(number)
    two.wait_up()
    for number, client in enumerate(clients):
        assert client.resumes(edge=two.nodes[number % 2]).missed == []
    assert events(two.app) == ["open"] * 6


def test_sessions_whose_clients_do_not_come_back_end(make_cluster, redis):
    one = make_cluster(1, redis, RESUME_WINDOW="2s")
    client = comes(one, user="42")
    stop(one)
    assert events(one.app) == ["open"]
    end = time.monotonic() + 2
    eventually(lambda: time.monotonic() > end, "the window is over")
    node = one.replace(0)
    one.wait_up()
    (closed,) = one.app.wait_events(1, "close")
    assert json.loads(closed.body)["code"] == 1012 and closed.header("ce-userid") == "42" and closed.sequence == 2
    assert node.metric("sessions_detached") == 0
    assert client.returns(edge=node).frame_of("$welcome", resumed=False)


def test_sessions_end_where_they_cannot_be_resumed_any_more(make_cluster, redis):
    one = make_cluster(1, redis)
    client = comes(one, user="42")
    stop(one)
    client.frame_of("$bye", code=1012)
    one.nodes[0].settings["RESUME_WINDOW"] = "off"
    one.replace(0)
    one.wait_up()
    (closed,) = one.app.wait_events(1, "close")
    assert json.loads(closed.body)["code"] == 1012


def test_sessions_for_which_there_is_no_room_end(make_cluster, redis):
    one = make_cluster(1, redis)
    for number in range(4):
        comes(one, user=str(number))
    stop(one)
    one.nodes[0].settings["MAX_DETACHED"] = "1"
    one.replace(0)
    one.wait_up()
    one.app.wait_events(3, "close")
    assert one.nodes[0].metric("sessions_detached") == 1
    assert one.nodes[0].metric("handovers_total", result="failed") == 3


def test_without_the_engine_sessions_end(make_cluster, redis):
    one = make_cluster(1, redis, relayed=True)
    comes(one, user="42")
    one.relays[0].refusing = True
    one.relays[0].cut()
    eventually(lambda: one.nodes[0].metric("cluster_up") == 0, "the engine is away")
    stop(one)
    one.app.wait_events(1, "close")
