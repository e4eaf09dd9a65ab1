"""`?wait=written` over nodes: who waits is told of all of them, and of those that do not answer."""

import json
import time

from support.publishing import TEXT


def test_whoever_waits_until_it_is_written_is_told_of_all_nodes(make_cluster, redis):
    cluster = make_cluster(3, redis)
    sockets = [cluster.socket(n, join="room") for n in (0, 1, 1, 1)]
    answer = cluster.publish(0, "room", "x", wait="written")
    assert (answer["scope"], answer["matched"], answer["queued"], answer["dropped"]) == ("cluster", 4, 4, 0)
    # Those that have subscribers, and the one that was asked.
    assert answer["nodes"] == 2 and "missing" not in answer
    assert [socket.message() for socket in sockets] == ["x"] * 4
    answer = cluster.publish(2, "room", "y", wait="written")
    assert (answer["scope"], answer["queued"]) == ("cluster", 4)
    (empty,) = [cluster.publish(2, "empty", "z", wait="written")]
    assert (empty["scope"], empty["matched"]) == ("cluster", 0)


def test_a_node_that_does_not_answer_is_named(make_cluster, redis):
    cluster = make_cluster(2, redis, CLUSTER_TIMEOUT="500ms")
    here, there = cluster.socket(0, join="room"), cluster.socket(1, join="room")
    cluster.nodes[1].process.send_signal(19)
    try:
        answer = cluster.api(0, timeout=30).want(
            200, "POST", "/v1/channels/room/messages", "x", TEXT, wait="written"
        ).json  # fmt: skip
    finally:
        cluster.nodes[1].process.send_signal(18)
    assert answer["scope"] == "cluster" and answer["missing"] == ["web-2"] and answer["queued"] == 1
    assert here.message() == there.message() == "x"


def test_a_list_that_failed_while_the_engine_was_away_is_published_when_it_is_sent_again(make_cluster, redis):
    cluster = make_cluster(1, redis, CLUSTER_TIMEOUT="500ms")
    socket = cluster.socket(0, join="room")
    body = json.dumps([{"channel": "room", "text": str(number)} for number in range(20)])
    headers = {"Content-Type": "application/json", "Idempotency-Key": "list"}

    def send():
        return cluster.api(0, timeout=30).want(200, "POST", "/v1/messages", body, headers).json

    redis.kill()
    began = time.monotonic()
    assert [entry["status"] for entry in send()] == [503] * 20
    # All of them together wait as long as one.
    assert time.monotonic() - began < 3
    redis.start()
    cluster.wait_up()
    for _ in range(2):
        assert all("offset" in entry for entry in send())
    assert [socket.message() for _ in range(20)] == [str(number) for number in range(20)]
    socket.barrier()
