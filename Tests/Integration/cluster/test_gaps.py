"""What the engine has lost, or a node has missed, is told: a reset, a close with 4410, a count and a line in the log."""

import time

import pytest
from support.cluster import attempt
from support.net import eventually
from support.redis_servers import RedisServer

# By then a loss is noticed also where nothing is published.
NOTICED = 15.0


def lose(redis, how):
    if how == "flushed":
        redis.command("FLUSHALL")
    else:
        redis.restart(empty=True)


@pytest.mark.parametrize("how", ["flushed", "restarted empty"])
@pytest.mark.parametrize("quiet", [True, False], ids=["quiet", "published to"])
def test_what_the_engine_has_lost_is_told(make_cluster, redis, how, quiet):
    cluster = make_cluster(2, redis, CHANNEL_POLICIES="closed:*=gap=close")
    streams = [cluster.stream(n, join="room") for n in (0, 1)]
    plain = cluster.socket(0, join="room")
    closing = [cluster.socket(n, join="closed:1") for n in (0, 1)]
    bystander = cluster.socket(0)
    for channel in ("room", "closed:1"):
        first = cluster.publish(0, channel, "before")
    for socket in [plain, *closing]:
        assert socket.message() == "before"
    assert [stream.event()[1] for stream in streams] == ["before", "before"]
    lines = len(cluster.nodes[0].logs)
    began = time.monotonic()
    lose(redis, how)
    cluster.wait_up()
    if not quiet:
        for channel in ("room", "closed:1"):
            eventually(lambda name=channel: attempt(cluster, 1, "after", name)[0].status == 200, "it is published")
    for stream in streams:
        stream.sock.settimeout(NOTICED)
        assert stream.event() == ("reset", "")
    for socket in closing:
        socket.sock.settimeout(NOTICED)
        socket.expect_close(4410)
    assert time.monotonic() - began < NOTICED + 1
    if quiet:
        again = cluster.publish(1, "room", "after")
        assert again["epoch"] != first["epoch"]
    assert [stream.event() for stream in streams] == [("message", "after")] * 2
    assert plain.message() == "after"
    bystander.barrier()
    assert cluster.nodes[0].metric("gaps_total") >= 2
    assert any("gap" in str(line).lower() or "lost" in str(line).lower() for line in cluster.nodes[0].logs[lines:])


def test_a_place_of_before_the_loss_is_not_taken_for_one_of_after_it(make_cluster, redis):
    cluster = make_cluster(2, redis)
    stream = cluster.stream(0, join="room")
    for n in range(3):
        cluster.publish(0, "room", f"old {n}")
    assert [stream.event()[1] for _ in range(3)] == ["old 0", "old 1", "old 2"]
    stream.close()
    redis.command("FLUSHALL")
    # As many again, so that the offset exists; the id at it is another.
    for n in range(5):
        cluster.publish(1, "room", f"new {n}")
    again = cluster.stream(1, stream.last_id, join="room")
    assert again.event() == ("reset", "")


def test_a_restart_that_keeps_everything_is_no_gap(make_cluster, tmp_path):
    with RedisServer(tmp_path / "aof", appendonly="yes", appendfsync="always") as redis:
        cluster = make_cluster(2, redis.start())
        socket, stream = cluster.socket(0, join="room"), cluster.stream(1, join="room")
        first = cluster.publish(0, "room", "0")
        redis.restart()
        cluster.wait_up()
        second = eventually(lambda: (a := attempt(cluster, 0, "1")[0]).status == 200 and a.json, "it is published")
        assert (second["epoch"], second["offset"]) == (first["epoch"], first["offset"] + 1)
        assert [socket.message(), socket.message()] == ["0", "1"]
        assert [stream.event(), stream.event()] == [("message", "0"), ("message", "1")]
        assert sum(node.metric("gaps_total") for node in cluster.nodes) == 0


def test_who_missed_more_than_the_history_has_is_told(make_cluster, redis):
    cluster = make_cluster(2, redis, relayed=True, CHANNEL_POLICIES="closed:*=gap=close,history=3", HISTORY_SIZE=3)
    stream, closing = cluster.stream(0, join="room"), cluster.socket(0, join="closed:1")
    plain = cluster.socket(0, join="room")
    cluster.relays[0].refuse()
    cluster.nodes[0].wait_metric("cluster_up", 0)
    for n in range(10):
        cluster.publish(1, "room", str(n))
        cluster.publish(1, "closed:1", str(n))
    cluster.relays[0].mend()
    cluster.wait_up()
    closing.expect_close(4410, skip_messages=True)
    cluster.publish(1, "room", "last")
    got = [stream.event()]
    while got[-1][1] != "last":
        got.append(stream.event())
    assert got[0] == ("reset", "")
    assert [data for _, data in got[1:]] in (["last"], ["7", "8", "9", "last"])
    heard = [plain.message()]
    while heard[-1] != "last":
        heard.append(plain.message())
    assert cluster.nodes[0].metric("gaps_total") >= 2


def test_without_history_what_was_missed_is_told(make_cluster, redis):
    cluster = make_cluster(2, redis, relayed=True, HISTORY_SIZE=0)
    stream = cluster.stream(0, join="room")
    cluster.publish(1, "room", "0")
    assert stream.event() == ("message", "0")
    cluster.relays[0].refuse()
    cluster.nodes[0].wait_metric("cluster_up", 0)
    cluster.publish(1, "room", "missed")
    cluster.relays[0].mend()
    stream.sock.settimeout(NOTICED)
    # The newest may be kept for the order; otherwise the stream is told.
    event = stream.event()
    assert event in (("reset", ""), ("message", "missed"))
    cluster.wait_up()
    cluster.publish(1, "room", "2")
    while event[1] != "2":
        event = stream.event()


def test_an_outage_in_which_nothing_was_published_is_no_gap(make_cluster, redis):
    cluster = make_cluster(2, redis, relayed=True, HISTORY_SIZE=0, CHANNEL_POLICIES="closed:*=gap=close")
    stream, closing = cluster.stream(0, join="room"), cluster.socket(0, join="closed:1")
    for name in ("room", "closed:1"):
        cluster.publish(1, name, "0")
    assert stream.event()[1] == closing.message() == "0"
    cluster.relays[0].refuse()
    cluster.nodes[0].wait_metric("cluster_up", 0)
    cluster.relays[0].mend()
    node = cluster.nodes[0]
    eventually(lambda: node.metric("cluster_resyncs_total") >= 2, "both channels are subscribed to again")
    for name in ("room", "closed:1"):
        cluster.publish(1, name, "1")
    assert stream.event() == ("message", "1") and closing.message() == "1"


def test_what_was_confirmed_and_lost_is_counted(make_cluster, redis):
    cluster = make_cluster(1, redis, HISTORY_SIZE=0)
    node = cluster.nodes[0]
    stream = cluster.stream(0, join="room")
    cluster.publish(0, "room", "kept")
    (head,) = redis.command("KEYS", "sidesocket:1{*}:c:room")
    (published,) = redis.command("KEYS", "sidesocket:1{*}:p:*")
    before = redis.command("GET", head)
    cluster.publish(0, "room", "lost")
    assert [stream.event()[1] for _ in range(2)] == ["kept", "lost"]
    assert node.metric("publish_failures_total") == 0
    redis.command("SET", head, before)
    redis.command("HDEL", published, "2")
    redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    eventually(lambda: node.metric("publish_failures_total", reason="lost") == 1, "it is counted")
    assert node.metric("publish_failures_total") == 1
