"""`?wait=written` over nodes: who waits is told of all of them, and of those that do not answer."""

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
