"""The history of a channel is the same on every node, and a position that one has given holds at every other."""

import threading

import pytest
from support.cluster import heard, texts
from support.net import PATIENCE, eventually


def test_history_is_the_same_on_every_node(pair):
    answers = [pair.publish(n % 2, "room", str(n)) for n in range(15)]
    both = [pair.history(n, "room") for n in (0, 1)]
    assert both[0] == both[1]
    assert texts(both[0]) == [str(n) for n in range(15)]
    assert [one["offset"] for one in both[0]["messages"]] == [one["offset"] for one in answers]
    place = {"after": answers[9]["offset"], "epoch": answers[9]["epoch"]}
    assert texts(pair.history(1, "room", **place)) == [str(n) for n in range(10, 15)]
    assert texts(pair.history(0, "room", **place, limit=2)) == ["10", "11"]
    assert texts(pair.history(0, "room", last=2)) == ["13", "14"]
    pair.history(1, "room", 410, after=answers[9]["offset"], epoch="other")
    pair.history(1, "elsewhere", 404)


def test_only_the_newest_are_kept_at_the_engine_and_a_gap_is_gone(make_cluster, redis):
    cluster = make_cluster(2, redis, CHANNEL_POLICIES="few:*=history=3;none:*=history=0")
    answers = [cluster.publish(n % 2, "few:1", str(n)) for n in range(10)]
    assert texts(cluster.history(1, "few:1")) == ["7", "8", "9"]
    cluster.history(1, "few:1", 410, after=answers[5]["offset"], epoch=answers[5]["epoch"])
    place = {"after": answers[6]["offset"], "epoch": answers[6]["epoch"]}
    assert texts(cluster.history(1, "few:1", **place)) == ["7", "8", "9"]
    cluster.publish(0, "none:1", "x")
    cluster.history(1, "none:1", 404)


def test_a_stream_goes_on_at_another_node_where_it_was(pair):
    stream = pair.stream(0, join=["a", "b"])
    for n in range(6):
        pair.publish(n % 2, "ab"[n % 2], str(n))
    got = [data for _, data in heard(stream, 4)]
    stream.close()
    pair.publish(0, "a", "6")
    again = pair.stream(1, stream.last_id, join=["a", "b"])
    rest = [data for _, data in heard(again, 3)]
    everything = got + rest
    for channel in (0, 1):
        mine = [text for text in everything if int(text) % 2 == channel]
        assert mine == [str(n) for n in range(7) if n % 2 == channel]
    pair.publish(1, "b", "7")
    assert again.event() == ("message", "7")


def test_a_stream_goes_on_while_others_publish_and_misses_nothing(pair):
    stop, sent = threading.Event(), []

    def publish():
        while not stop.is_set():
            sent.append(str(len(sent)))
            pair.publish(len(sent) % 2, "room", sent[-1])

    stream = pair.stream(0, join="room")
    thread = threading.Thread(target=publish)
    thread.start()
    got = []
    try:
        for turn in range(20):
            got += [data for _, data in heard(stream, 3)]
            stream.close()
            stream = pair.stream((turn + 1) % 2, stream.last_id, join="room")
    finally:
        stop.set()
        thread.join(PATIENCE)
    while len(got) < len(sent):
        got.append(stream.event()[1])
    assert got == sent


def test_who_was_let_in_hears_what_is_published_from_then_on_wherever(pair):
    for n in range(150):
        with pair.socket(1, join=f"room:{n}") as socket:
            pair.publish(0, f"room:{n}", str(n))
            assert socket.message() == str(n)
    socket, one = pair.member(1)
    for n in range(100):
        path = f"/v1/channels/again/connections/{one}"
        pair.api(1).want(204, "PUT", path)
        pair.publish(0, "again", str(n))
        assert socket.message() == str(n)
        pair.api(1).want(204, "DELETE", path)


def test_who_comes_while_others_publish_gets_a_run_without_holes(pair):
    stop, sent = threading.Event(), []

    def publish():
        while not stop.is_set():
            pair.publish(len(sent) % 2, "room", str(len(sent)))
            sent.append(None)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for turn in range(20):
            # The node's first subscriber, each time.
            socket = pair.socket(turn % 2, join="room")
            first = int(socket.message())
            assert [int(socket.message()) for _ in range(5)] == list(range(first + 1, first + 6))
            socket.close()
    finally:
        stop.set()
        thread.join(PATIENCE)


@pytest.mark.parametrize("how", ["fell out", "forged", "another channel was added"])
def test_a_gap_is_told_with_a_reset_on_every_node(make_cluster, redis, how):
    cluster = make_cluster(2, redis, CHANNEL_POLICIES="a=history=2")
    stream = cluster.stream(0, join="a")
    cluster.publish(0, "a", "0")
    assert stream.event()[1] == "0"
    seen = stream.last_id
    for n in range(1, 5 if how == "fell out" else 2):
        cluster.publish(1, "a", str(n))
    if how == "forged":
        seen = "../../etc/passwd\t%00"
    joined = ["a", "new"] if how == "another channel was added" else "a"
    if how == "another channel was added":
        cluster.publish(0, "new", "from before it joined")
    again = cluster.stream(1, seen, join=joined)
    if how != "another channel was added":
        assert again.event() == ("reset", "")
    cluster.publish(0, "a", "new")
    while (event := again.event())[1] != "new":
        assert event[0] in ("message", "reset")


def test_positions_outlive_the_nodes(make_cluster, redis):
    cluster = make_cluster(2, redis)
    stream = cluster.stream(0, join="room")
    first = cluster.publish(1, "room", "0")
    assert stream.event()[1] == "0"
    for node in cluster.nodes:
        node.terminate()
    for node in cluster.nodes:
        assert node.wait_exit(40) == 0
    cluster.replace(0)
    second = cluster.publish(0, "room", "1")
    assert (second["epoch"], second["offset"]) == (first["epoch"], first["offset"] + 1)
    again = cluster.stream(0, stream.last_id, join="room")
    assert again.event() == ("message", "1")


def test_a_node_that_is_killed_costs_the_others_nothing_and_its_streams_go_on_elsewhere(pair):
    stream, stays = pair.stream(0, join="room"), pair.socket(1, join="room")
    for n in range(3):
        pair.publish(0, "room", str(n))
    assert [stream.event()[1] for _ in range(3)] == ["0", "1", "2"]
    pair.kill(0)
    pair.publish(1, "room", "3")
    again = pair.stream(1, stream.last_id, join="room")
    assert again.event() == ("message", "3")
    assert [stays.message() for _ in range(4)] == ["0", "1", "2", "3"]
    pair.replace(0)
    pair.wait_up()
    assert texts(pair.history(0, "room")) == ["0", "1", "2", "3"]


def test_history_goes_when_its_time_is_over(make_cluster, redis):
    cluster = make_cluster(2, redis, CHANNEL_POLICIES="short=ttl=1s")
    socket = cluster.socket(1, join="short")
    old = cluster.publish(0, "short", "old")
    assert socket.message() == "old"
    eventually(lambda: cluster.api(1).ask("GET", "/v1/channels/short/messages").json["messages"] == [], "it is gone")
    new = cluster.publish(0, "short", "new")
    assert (new["epoch"], new["offset"]) == (old["epoch"], old["offset"] + 1)
    assert socket.message() == "new"
