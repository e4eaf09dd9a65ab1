"""Channels over several nodes: one order, the same history and positions everywhere, and answers that tell the truth."""

import json
import threading
from urllib.parse import quote

import pytest
from support.app import Reply, commands
from support.cluster import heard, texts
from support.net import PATIENCE
from support.publishing import TEXT, batch, post

NAMES = [
    "{}", "a{b}c", "{a}:{b}", "*", "a*", "a:b", "::", "sidesocket:x", "[a-z]?", "\\x", "100%", "%2e%2e%2f", "a/b",
    "$1", "__keyspace@0__:x", "'", "`;#", "~", "x" * 200, "{" * 100 + "}" * 100,
]  # fmt: skip


# Order


def test_what_is_published_on_one_node_is_received_on_the_other_in_order(pair):
    here, there = pair.socket(0, join="room"), pair.socket(1, join="room")
    stream = pair.stream(1, join="room")
    wanted = [f"{n} grüße" for n in range(200)]
    for n, text in enumerate(wanted):
        pair.publish(n % 2, "room", text)
    assert [here.message() for _ in wanted] == wanted
    assert [there.message() for _ in wanted] == wanted
    assert [data for _, data in heard(stream, 200)] == wanted


def test_two_nodes_that_publish_at_once_agree_on_one_order(pair):
    readers = [pair.socket(n % 2, join="room") for n in range(4)]
    offsets = {}

    def publish(node):
        for n in range(100):
            text = f"{node} {n}"
            offsets[text] = pair.publish(node, "room", text)["offset"]

    threads = [threading.Thread(target=publish, args=(node,)) for node in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    orders = [[reader.message() for _ in range(200)] for reader in readers]
    assert orders[0] == sorted(offsets, key=offsets.get)
    assert all(order == orders[0] for order in orders)
    assert sorted(offsets.values()) == list(range(min(offsets.values()), min(offsets.values()) + 200))


def test_bytes_empty_messages_and_names_of_events_arrive_as_they_are(pair):
    socket, stream = pair.socket(1, join="room"), pair.stream(1, join="room")
    api = pair.api(0)
    binary = {"Content-Type": "application/octet-stream"}
    large = b"\0\xff" * 200_000
    for body in (b"\0\xff\r\n", b"", large):
        api.want(200, "POST", "/v1/channels/room/messages", body, binary)
        assert socket.message() == body
        assert stream.event()[0] == "binary"
    post(api, "/v1/channels/room/messages", "", Sidesocket_Event="price")
    assert socket.message() == "" and stream.event() == ("price", "")


def test_more_nodes_and_more_channels(make_cluster, redis):
    cluster = make_cluster(4, redis)
    names = [f"c:{n}" for n in range(20)]
    sockets = [cluster.socket(n, join=names) for n in range(4)]
    for n in range(200):
        cluster.publish(n % 4, names[n % 20], f"{names[n % 20]} {n}")
    for socket in sockets:
        got = [socket.message() for _ in range(200)]
        for name in names:
            mine = [text for text in got if text.startswith(f"{name} ")]
            assert mine == [f"{name} {n}" for n in range(200) if names[n % 20] == name]


def test_a_node_that_joins_later_is_one_of_them(pair):
    pair.publish(0, "room", "before")
    pair.add()
    pair.wait_up()
    late, old = pair.socket(2, join="room"), pair.socket(0, join="room")
    pair.publish(1, "room", "one")
    pair.publish(2, "room", "two")
    assert [late.message(), late.message()] == [old.message(), old.message()] == ["one", "two"]
    assert texts(pair.history(2, "room")) == ["before", "one", "two"]


def test_who_leaves_a_channel_hears_nothing_and_who_comes_back_hears_again(pair):
    socket, one = pair.member(1, join="room")
    path = f"/v1/channels/room/connections/{one}"
    pair.publish(0, "room", "in")
    assert socket.message() == "in"
    pair.api(1).want(204, "DELETE", path)
    pair.publish(0, "room", "out")
    pair.api(1).want(204, "PUT", path)
    pair.publish(0, "room", "in again")
    assert socket.message() == "in again"
    # The last subscriber of a node leaves and comes again at once: nothing of the engine may get lost over it.
    for n in range(30):
        pair.api(1).want(204, "DELETE", path)
        pair.api(1).want(204, "PUT", path)
        pair.publish(0, "room", str(n))
        assert socket.message() == str(n)


# Answers


def test_the_answer_names_the_position_and_counts_the_node_that_was_asked(pair):
    here, there = pair.socket(0, join="room"), pair.socket(1, join="room")
    first, second = pair.publish(0, "room", "a"), pair.publish(1, "room", "b")
    for answer in (first, second):
        assert set(answer) == {"channel", "offset", "epoch", "id", "matched", "queued", "dropped", "scope"}
        assert (answer["channel"], answer["scope"]) == ("room", "node")
        assert (answer["matched"], answer["dropped"]) == (1, 0)
    assert second["offset"] == first["offset"] + 1 and second["epoch"] == first["epoch"]
    assert first["id"] and second["id"] and first["id"] != second["id"]
    assert [here.message(), here.message()] == [there.message(), there.message()] == ["a", "b"]
    assert pair.publish(0, "empty", "x")["matched"] == 0


def test_a_list_is_published_in_order_to_all_nodes(pair):
    socket, one = pair.member(0, join="room")
    there = pair.socket(1, join=["room", "other"])
    answers = batch(
        pair.api(0), {"channel": "room", "text": "1"}, {"channel": "other", "text": "2"},
        {"channel": "a b", "text": "bad"}, {"connection": one, "text": "3"}, {"channel": "room", "text": "4"},
    )  # fmt: skip
    assert [answer.get("scope") for answer in answers if "channel" in answer] == ["node"] * 3
    assert answers[2]["status"] == 400
    assert answers[4]["offset"] == answers[0]["offset"] + 1
    assert [there.message() for _ in range(3)] in (["1", "2", "4"], ["2", "1", "4"], ["1", "4", "2"])
    assert sorted(socket.message() for _ in range(3)) == ["1", "3", "4"]
    many = batch(pair.api(1), *({"channel": "room", "text": str(n)} for n in range(1000)))
    assert [one["offset"] for one in many] == list(range(many[0]["offset"], many[0]["offset"] + 1000))
    assert [there.message() for _ in range(1000)] == [str(n) for n in range(1000)]


# Publications of the app


def test_what_a_reply_publishes_reaches_the_other_node_in_the_order_of_the_reply(app, pair):
    sender, there = pair.socket(0, join="a"), pair.socket(1, join=["a", "b"])
    app.on(
        commands(
            {"publish": {"channel": "a", "text": "1"}}, {"publish": {"channel": "b", "text": "2"}},
            {"send": {"text": "own"}}, {"publish": {"channel": "a", "text": "3"}},
            {"publish": {"channel": "a", "text": "4", "exclude": "self"}},
        ),
        event="message",
    )  # fmt: skip
    sender.text("go")
    got = [there.message() for _ in range(4)]
    assert [text for text in got if text != "2"] == ["1", "3", "4"] and "2" in got
    own = [sender.message() for _ in range(3)]
    assert sorted(own) == ["1", "3", "own"] and own.index("1") < own.index("3")
    sender.barrier()
    app.on(lambda request: Reply(200, request.body, {**TEXT, "Sidesocket-Publish": "a"}), event="message")
    for n in range(100):
        sender.text(str(n))
    assert [there.message() for _ in range(100)] == [str(n) for n in range(100)]


def test_who_joins_and_speaks_in_one_reply_hears_itself(app, pair):
    there = pair.socket(1, join="room")
    socket = pair.socket(0)
    for n in range(10):
        app.on(
            commands({"subscribe": f"new:{n}"}, {"publish": {"channel": f"new:{n}", "text": str(n)}}),
            event="message", times=1,
        )  # fmt: skip
        socket.text("join")
        assert socket.message() == str(n)
    there.barrier()


def test_one_connection_is_left_out_wherever_it_is(pair):
    first, one = pair.member(0, join="room")
    second, two = pair.member(1, join="room")
    stream = pair.stream(1, join="room")
    pair.publish(0, "room", "not for the second", headers={"Sidesocket-Exclude": two})
    pair.publish(1, "room", "not for the first", headers={"Sidesocket-Exclude": one})
    pair.publish(0, "room", "for all")
    assert [first.message(), first.message()] == ["not for the second", "for all"]
    assert [second.message(), second.message()] == ["not for the first", "for all"]
    assert [data for _, data in heard(stream, 3)] == ["not for the second", "not for the first", "for all"]


def test_a_broadcast_header_reaches_all_nodes(app, pair):
    there = pair.socket(1, join="orders")
    app.on(Reply(200, "page", [("Sidesocket-Broadcast", 'orders {"id":7}')]), path="/page")
    with pair.nodes[0].client() as client:
        assert client.ask(target="/page").text == "page"
    assert there.message() == '{"id":7}'


# Idempotency


def test_a_key_holds_on_every_node(pair):
    socket = pair.socket(1, join="room")
    first = pair.publish(0, "room", "once", headers={"Idempotency-Key": "k"})
    again = pair.publish(1, "room", "once", headers={"Idempotency-Key": "k"})
    assert [again[name] for name in ("offset", "epoch", "id")] == [first[name] for name in ("offset", "epoch", "id")]
    pair.publish(1, "room", "other", headers={"Idempotency-Key": "l"})
    # The key is one of its target.
    pair.publish(1, "elsewhere", "x", headers={"Idempotency-Key": "k"})
    assert [socket.message(), socket.message()] == ["once", "other"]
    socket.barrier()
    assert texts(pair.history(0, "room")) == ["once", "other"]
    assert texts(pair.history(0, "elsewhere")) == ["x"]


def test_a_key_that_comes_to_all_nodes_at_once_publishes_once(make_cluster, redis):
    cluster = make_cluster(3, redis)
    socket = cluster.socket(2, join="room")
    for n in range(10):
        answers, how = [], {"headers": {"Idempotency-Key": f"k{n}"}}

        def publish(node, n=n, how=how, got=answers):
            got.append(cluster.publish(node, "room", str(n), **how))

        threads = [threading.Thread(target=publish, args=(i % 3,)) for i in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(answers) == 9 and len({(one["epoch"], one["offset"], one["id"]) for one in answers}) == 1
    assert [socket.message() for _ in range(10)] == [str(n) for n in range(10)]
    socket.barrier()


def test_a_list_with_a_key_is_published_once_over_nodes(pair):
    socket = pair.socket(1, join=["a", "b"])
    entries = json.dumps([{"channel": "a", "text": "1"}, {"channel": "b", "text": "2"}])
    key = {"Idempotency-Key": "list"}
    first = pair.api(0).want(200, "POST", "/v1/messages", entries, key).json
    again = pair.api(1).want(200, "POST", "/v1/messages", entries, key).json
    assert [(one["offset"], one["id"]) for one in first] == [(one["offset"], one["id"]) for one in again]
    assert sorted([socket.message(), socket.message()]) == ["1", "2"]
    socket.barrier()


# Names


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_every_name_is_a_channel_of_its_own(shared_cluster, name):
    cluster = shared_cluster
    where = f"/v1/channels/{quote(name, safe='')}"
    socket, one = cluster.member(1)
    other, two = cluster.member(1)
    cluster.api(1).want(204, "PUT", f"{where}/connections/{one}")
    cluster.api(1).want(204, "PUT", f"/v1/channels/{quote('x' + name[1:], safe='')}/connections/{two}")
    cluster.publish(0, name, f"to {name}")
    assert socket.message() == f"to {name}"
    assert texts(cluster.history(1, name)) == [f"to {name}"]
    assert cluster.history(0, name)["channel"] == name
    if name != "x" + name[1:]:
        other.barrier()


@pytest.mark.parametrize("name", ["a b", 'a"b', "a,b", "x" * 201, "ü", "a\0b"], ids=ascii)
def test_a_name_that_is_none_is_refused(shared_cluster, name):
    shared_cluster.publish(0, name, "x", 400)


def test_two_prefixes_never_see_each_other(make_cluster, redis):
    prefixes = ("one", "one_two")
    clusters = [make_cluster(1, redis, CLUSTER_PREFIX=prefix) for prefix in prefixes]
    sockets = [cluster.socket(0, join=["room", "two:room"]) for cluster in clusters]
    for prefix, cluster in zip(prefixes, clusters, strict=True):
        cluster.publish(0, "room", prefix, headers={"Idempotency-Key": "same"})
        cluster.publish(0, "two:room", prefix)
    for prefix, cluster, socket in zip(prefixes, clusters, sockets, strict=True):
        assert [socket.message(), socket.message()] == [prefix, prefix]
        socket.barrier()
        assert texts(cluster.history(0, "room")) == [prefix]
        assert [one["channel"] for one in cluster.api(0).want(200, "GET", "/v1/channels").json["channels"]] == [
            "room", "two:room",
        ]  # fmt: skip
    keys = redis.command("KEYS", "*")
    assert keys and all(key.startswith(prefixes) for key in keys), keys


def test_everything_in_the_engine_goes_by_itself(make_cluster, redis):
    cluster = make_cluster(1, redis)
    socket = cluster.socket(0, join="room")
    cluster.publish(0, "room", "x", headers={"Idempotency-Key": "k"})
    assert socket.message() == "x"

    def forever(first, last):
        for n in range(first, last):
            cluster.publish(0, f"c:{n}", "x", headers={"Idempotency-Key": f"k{n}"})
        return {key for key in redis.command("KEYS", "*") if redis.command("TTL", key) == -1}

    # What counts over all channels may stay; it must not grow with channels, keys or messages.
    before = forever(0, 200)
    assert forever(200, 500) == before, "keys that never expire"
