"""Publishing by `XADD` (`INGEST_URL`) through the real binary, with and without other nodes."""

import base64

from support.net import eventually


def add(redis, *fields):
    return redis.command("XADD", "jobs", "*", *fields)


def acknowledged(redis):
    eventually(lambda: redis.command("XPENDING", "jobs", "sidesocket")[0] == 0, "all are acknowledged")


def test_entries_reach_the_subscribers_on_all_nodes_in_their_order(make_cluster, redis):
    cluster = make_cluster(2, redis, INGEST_URL=f"{redis.url}?stream=jobs")
    sockets = [cluster.socket(n, join="room") for n in (0, 1)]
    for n in range(50):
        add(redis, "channel", "room", "text", str(n))
    for socket in sockets:
        assert [socket.message() for _ in range(50)] == [str(n) for n in range(50)]
    acknowledged(redis)
    # Both nodes know the stream; each entry is read by one of them.
    assert sum(node.metric("ingest_total", source="jobs", result="published") for node in cluster.nodes) == 50
    assert sum(node.metric("publications_total", source="ingest") for node in cluster.nodes) == 50


def test_what_cannot_be_published_is_told_and_skipped(make_cluster, redis):
    cluster = make_cluster(1, redis, INGEST_URL=f"{redis.url}?stream=jobs")
    socket, node = cluster.socket(0, join="room"), cluster.nodes[0]
    bad = [
        ("text", "no channel"), ("channel", "a b", "text", "x"), ("channel", "room"),
        ("channel", "room", "base64", "?"), ("channel", "room", "text", "x", "event", "a\nb"),
        ("channel", "room", "text", b"\xc3("), ("channel", "room", "text", "x", "colour", "red"),
    ]  # fmt: skip
    for fields in bad:
        add(redis, *fields)
    add(redis, "channel", "room", "base64", base64.b64encode(b"good").decode(), "id", "1")
    add(redis, "channel", "room", "text", "the same id", "id", "1")
    add(redis, "channel", "room", "text", "last")
    assert [socket.message(), socket.message()] == [b"good", "last"]
    acknowledged(redis)
    assert node.metric("ingest_total", result="bad") == len(bad)
    assert [line for line in node.logs if line["level"] == "warning" and "entry" in str(line)]


def test_a_reader_that_is_killed_is_followed_by_the_next(make_cluster, redis):
    cluster = make_cluster(2, redis, INGEST_URL=f"{redis.url}?stream=jobs")
    add(redis, "channel", "room", "text", "first")
    reading = lambda: [n for n in (0, 1) if cluster.nodes[n].metric("ingest_total") > 0]  # noqa: E731
    (reader,) = eventually(reading, "one of them reads")
    socket = cluster.socket(1 - reader, join="room")
    cluster.kill(reader)
    for n in range(10):
        add(redis, "channel", "room", "text", str(n))
    assert [socket.message() for _ in range(10)] == [str(n) for n in range(10)]
    acknowledged(redis)
