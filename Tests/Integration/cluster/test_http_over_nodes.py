"""The protocol over HTTP where requests come to any node."""

import json

import pytest
from support.cluster import target
from support.net import eventually
from support.polling import PollClient, StreamClient
from support.publishing import TEXT

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def two(make_cluster, redis):
    return make_cluster(2, redis, CLUSTER_LEASE="3s", HTTP_PATHS="/http", POLL_TIMEOUT="1s", relayed=True)


def comes(cluster, number, kind=PollClient, **query):
    return kind(cluster.nodes[number], target("/http", **query))


def post(payload, id=None):
    return {"type": "post", "payload": payload, **({"id": id} if id else {})}


def events(app):
    return [event.event for event in app.events()]


def moved(cluster):
    return sum(node.metric("handovers_total", result=result) for node in cluster.nodes for result in ("resumed", "drained"))


def test_polls_may_come_to_any_node(two):
    one = comes(two, 0, user="42", join="room")
    one.begins()
    got = []
    for number in range(12):
        other = {"edge": two.nodes[(number + 1) % 2]}
        got += one.frames(post(number, id=str(number)), **other)
        two.publish(number % 2, "room", f"{number}")
        got += one.frames(**other)
    while len(got) < 24:
        got += one.frames(edge=two.nodes[1])
    assert [f["payload"] for f in got if f["type"] == "reply"] == list(range(12))
    assert [f["payload"] for f in got if f["type"] == "message"] == [str(number) for number in range(12)]
    assert events(two.app) == ["open"] + ["message"] * 12
    assert moved(two) == 0 and two.nodes[1].metric("posts_total", result="relayed") > 6
    assert two.nodes[1].metric("connections", transport="poll") == 0
    # Nothing to say, no room, out of turn: all of it comes through.
    assert one.frames(edge=two.nodes[1]) == []
    assert one.post({"resume": one.token, "n": one.n + 9}, edge=two.nodes[1]).wait().status == 409
    older, newer = one.next(edge=two.nodes[1]), one.next([{"type": "$ping"}], edge=two.nodes[0])
    assert older.wait().status == 204 and newer.wait().types == ["$pong"]


def test_a_repeat_on_another_node_gets_the_same_answer(two):
    one = comes(two, 0)
    one.begins()
    body = {"resume": one.token, "n": 2, "send": [post("x", id="a")]}
    first = one.post(body).wait()
    assert one.post(body, edge=two.nodes[1]).wait().frames == first.frames
    assert len(two.app.events("message")) == 1


def test_what_is_sent_beside_a_stream_may_come_to_any_node(two):
    one = comes(two, 0, StreamClient, join="room")
    one.begins()
    one.send(post("x", id="a"), edge=two.nodes[1])
    one.frame_of("reply", re="a", payload="x")
    one.send(post("y", id="b"))
    one.frame_of("reply", re="b", payload="y")
    assert moved(two) == 0


def test_a_stream_that_is_opened_at_another_node_takes_the_session_along(two):
    one = comes(two, 0, StreamClient, join="room")
    one.begins()
    one.send({"type": "$ping"})
    one.frame_of("$pong")
    one.lose()
    eventually(lambda: two.nodes[0].metric("sessions_detached") == 1, "the session waits")
    two.publish(0, "room", "missed")
    assert one.begins(edge=two.nodes[1])["resumed"] is True
    one.frame_of("message", payload="missed")
    one.frame_of("$live")
    one.send(post("x", id="a"), edge=two.nodes[0])
    one.frame_of("reply", re="a")
    assert events(two.app) == ["open", "message"] and moved(two) == 1


def test_a_thief_gets_nothing_on_another_node_either(two):
    one = comes(two, 0)
    one.begins()
    thief = PollClient(two.nodes[1], "/http", headers={"Origin": f"http://127.0.0.1:{two.nodes[1].port}"})
    stolen = thief.post({"resume": one.token, "n": 2, "send": [post("stolen")]}).wait()
    assert stolen.types == ["$bye"]
    assert two.app.events("message") == []
    assert one.frames({"type": "$ping"}, edge=two.nodes[1]) == [{"type": "$pong"}]


def test_a_drain_sends_polls_to_the_other_node(two):
    one = comes(two, 0, join="room", user="7")
    one.begins()
    waiting = one.next()
    two.nodes[0].terminate()
    bye = waiting.wait().frames[-1]
    assert (bye["type"], bye["code"], bye["reconnect"]) == ("$bye", 1012, True)
    two.nodes[0].wait_exit()
    two.publish(1, "room", "meanwhile")
    # A poll that knows nothing of it is told.
    assert one.frames(edge=two.nodes[1])[-1]["code"] == 4408
    frames = one.begins(edge=two.nodes[1])
    assert [frame["type"] for frame in frames] == ["$welcome", "message", "$live"] and frames[0]["resumed"] is True
    assert events(two.app) == ["open"]
    one.edge = two.nodes[1]
    assert one.until("reply", post("x", id="a"))[-1]["payload"] == "x"


def test_a_node_that_dies_leaves_the_positions(two):
    one = comes(two, 0, join="room")
    one.begins()
    two.publish(1, "room", "seen")
    one.until("message")
    two.kill(0)
    two.publish(1, "room", "missed")
    # Until the others know that it is dead, they cannot say what has become of the session.
    body = {"resume": one.token, "n": one.n + 1}
    answer = one.post(body, edge=two.nodes[1]).wait()
    while answer.status == 503:
        answer = one.post(body, edge=two.nodes[1]).wait()
    assert answer.types == ["$bye"]
    frames = one.begins(edge=two.nodes[1])
    assert frames[0]["resumed"] is False
    assert [frame["payload"] for frame in frames if frame["type"] == "message"] == ["missed"]


def test_a_kick_on_another_node_is_told(two):
    one = comes(two, 0)
    one.begins()
    one.frames({"type": "$ping"})
    two.api(1).want(204, "DELETE", f"/v1/connections/{one.welcome['session']}")
    bye = one.frames(edge=two.nodes[1])[-1]
    assert bye["type"] == "$bye" and bye["reconnect"] is False
    assert json.loads(two.app.wait_events(1, "close")[0].body)["code"] == bye["code"]


def test_the_api_reaches_a_client_that_polls(two):
    one = comes(two, 0, user="42")
    one.begins()
    listed = two.api(1).want(200, "GET", "/v1/connections").json["connections"]
    assert [(c["node"], c["state"]) for c in listed] == [("web-1", "attached")]
    two.api(1).want(200, "POST", "/v1/users/42/messages", "hello", TEXT)
    assert [frame["payload"] for frame in one.frames()] == ["hello"]


def test_a_node_that_does_not_answer_for_a_while_costs_nothing(make_cluster, redis):
    settings = {"CLUSTER_LEASE": "30s", "CLUSTER_TIMEOUT": "300ms", "HTTP_PATHS": "/http", "POLL_TIMEOUT": "1s"}
    two = make_cluster(2, redis, **settings, relayed=True)
    one = comes(two, 0)
    one.begins()
    one.frames({"type": "$ping"})
    two.relays[0].hold()
    body = {"resume": one.token, "n": one.n + 1, "send": [post("x", id="a")]}
    answer = one.post(body, edge=two.nodes[1]).wait()
    assert answer.status == 503 and "retry-after" in answer.headers
    two.relays[0].flow()
    answers = []

    def repeat():
        answers.append(one.post(body, edge=two.nodes[1]).wait())
        return answers[-1].status == 200

    eventually(repeat, "the node answers again", interval=0.2)
    assert len(two.app.events("message")) == 1 and events(two.app)[:1] == ["open"]
    assert "open" not in events(two.app)[1:]
