"""Who is where: presence, connections, users, bans and limits are the same on every node, by whichever one is asked."""

import json
import time
from urllib.parse import quote

import pytest
from support.api import check_problem
from support.app import Reply
from support.net import eventually
from support.publishing import TEXT, post
from support.swarm import Swarm

ABSENT = "A" * 22


def present(cluster, channel, connections, users):
    """Every node knows who is in a channel."""
    for n, _ in cluster.live:

        def says(n=n):
            answer = cluster.api(n).ask("GET", f"/v1/channels/{quote(channel, safe='')}")
            if connections == 0 and answer.status == 404:
                return True
            got = answer.json or {}
            return (got.get("connections"), got.get("users")) == (connections, users)

        eventually(
            says, lambda n=n: f"{channel} at {n}: {cluster.api(n).ask('GET', f'/v1/channels/{channel}').text}"
        )  # fmt: skip


# Presence


def test_presence_covers_all_nodes(make_cluster, redis):
    cluster = make_cluster(3, redis)
    sockets = [cluster.socket(n, join=["room", f"own:{n}"], user=user) for n, user in enumerate(("bob", "ann", "bob"))]
    sockets.append(cluster.socket(0, join="room"))
    present(cluster, "room", 4, ["ann", "bob"])
    present(cluster, "own:1", 1, ["ann"])
    for n in range(3):
        listed = cluster.api(n).want(200, "GET", "/v1/channels").json["channels"]
        counts = {one["channel"]: one["connections"] for one in listed}
        assert counts == {"room": 4, "own:0": 1, "own:1": 1, "own:2": 1}
        some = cluster.api(n).want(200, "GET", "/v1/channels", prefix="own:").json["channels"]
        assert [one["channel"] for one in some] == ["own:0", "own:1", "own:2"]
    sockets[0].close()
    present(cluster, "room", 3, ["ann", "bob"])
    sockets[2].close()
    present(cluster, "room", 2, ["ann"])
    present(cluster, "own:2", 0, [])


def test_lists_of_channels_are_read_in_pages_over_nodes(pair):
    names = [f"c:{n:03}" for n in range(150)]
    for n, part in enumerate((names[:90], names[60:])):
        pair.socket(n, join=part, user="u")
    present(pair, names[0], 1, ["u"])
    present(pair, names[75], 2, ["u"])
    present(pair, names[-1], 1, ["u"])
    for node in (0, 1):
        seen, query = [], {}
        while True:
            page = pair.api(node).want(200, "GET", "/v1/channels", limit=40, **query).json
            seen += [(one["channel"], one["connections"]) for one in page["channels"]]
            if page["next"] is None:
                break
            query = {"after": page["next"]}
        assert seen == [(name, 2 if 60 <= n < 90 else 1) for n, name in enumerate(names)]


@pytest.mark.nightly
@pytest.mark.timeout(180)
def test_users_of_a_channel_come_in_pages(make_cluster, redis):
    cluster = make_cluster(2, redis, MAX_CONNECTIONS="4000")
    sockets = [cluster.socket(n % 2, join="room", user=f"u{n:04}") for n in range(2400)]
    users, query = [], {}
    while True:
        page = cluster.api(1).want(200, "GET", "/v1/channels/room", **query).json
        assert len(page["users"]) <= 1000 and page["connections"] == len(sockets)
        users += page["users"]
        if not page.get("next"):
            break
        query = {"after": page["next"]}
    assert users == [f"u{n:04}" for n in range(2400)]


# Connections


def test_connections_are_found_on_every_node(pair):
    first, one = pair.member(0, user="bob", join="room")
    second, two = pair.member(1, user="ann")
    for asked in (0, 1):
        api = pair.api(asked)
        listed = {c["id"]: c for c in api.connections()}
        assert set(listed) == {one, two}
        assert (listed[one]["node"], listed[two]["node"]) == ("web-1", "web-2")
        assert [c["id"] for c in api.connections(user="ann")] == [two]
        assert [c["id"] for c in api.connections(channel="room")] == [one]
        assert {c["id"] for c in api.connections(ip="127.0.0.1")} == {one, two}
        for name, user in ((one, "bob"), (two, "ann")):
            got = api.want(200, "GET", f"/v1/connections/{name}").json
            assert (got["id"], got["user"]) == (name, user)
            post(api, f"/v1/connections/{name}/messages", f"from {asked}")
        api.want(404, "GET", f"/v1/connections/{ABSENT}")
        api.want(404, "DELETE", f"/v1/connections/{ABSENT}")
        post(api, f"/v1/connections/{ABSENT}/messages", "x", 404)
    for socket in (first, second):
        assert [socket.message(), socket.message()] == ["from 0", "from 1"]


def test_lists_of_connections_are_read_in_pages_over_nodes(pair):
    with Swarm(pair.nodes[0].port) as first, Swarm(pair.nodes[1].port) as second:
        first.enter(130)
        second.enter(120)
        wanted = sorted(event.header("ce-connectionid") for event in pair.app.events("open"))
        for node in (0, 1):
            seen, query = [], {}
            while True:
                page = pair.api(node).want(200, "GET", "/v1/connections", limit=70, **query).json
                assert len(page["connections"]) <= 70
                seen += [one["id"] for one in page["connections"]]
                if page["next"] is None:
                    break
                query = {"after": page["next"]}
            assert seen == wanted


def test_a_connection_of_the_other_node_is_closed_and_joined_and_left(pair):
    socket, one = pair.member(1)
    path = f"/v1/channels/room/connections/{one}"
    for _ in range(2):
        pair.api(0).want(204, "PUT", path)
    pair.publish(0, "room", "in")
    assert socket.message() == "in"
    assert pair.api(0).want(200, "GET", f"/v1/connections/{one}").json["channels"] == ["room"]
    pair.api(0).want(204, "DELETE", path)
    pair.publish(1, "room", "out")
    socket.barrier()
    pair.api(0).want(204, "DELETE", f"/v1/connections/{one}", code=4000, reason="bye, é")
    assert socket.expect_close(4000).reason == "bye, é"
    event = pair.app.wait_events(1, "close")[0]
    body = json.loads(event.body)
    assert (body["code"], body["initiator"]) == (4000, "server")
    for node in (0, 1):
        eventually(
            lambda n=node: pair.api(n).ask("DELETE", f"/v1/connections/{one}").status == 404, "gone everywhere"
        )  # fmt: skip


def test_wrong_calls_for_a_connection_of_the_other_node_are_refused_as_for_ones_own(make_cluster, redis):
    cluster = make_cluster(2, redis, MAX_CHANNELS_PER_CONNECTION=1, MAX_REPLY_BYTES="1KiB")
    socket, one = cluster.member(1, join="a")
    for node in (0, 1):
        api = cluster.api(node)
        api.want(409, "PUT", f"/v1/channels/b/connections/{one}")
        api.want(400, "DELETE", f"/v1/connections/{one}", code="1006")
        post(api, f"/v1/connections/{one}/messages", "x" * 1025, 413)
        post(api, f"/v1/connections/{one}/messages", b"\xff\xfe", 400)
    socket.barrier()


def test_a_message_to_one_connection_can_be_waited_for_and_repeated_with_its_key(pair):
    socket, one = pair.member(1)
    path = f"/v1/connections/{one}/messages"
    answer = pair.api(0).want(200, "POST", path, "a", TEXT, wait="written").json
    assert (answer["matched"], answer["queued"], answer["dropped"]) == (1, 1, 0)
    for node in (0, 1, 0):
        post(pair.api(node), path, "once", Idempotency_Key="k")
    post(pair.api(0), path, "last")
    assert [socket.message() for _ in range(3)] == ["a", "once", "last"]


# Users


def test_a_user_is_reached_on_all_nodes(make_cluster, redis):
    cluster = make_cluster(3, redis)
    sockets = [cluster.socket(n, user="a/b") for n in (0, 0, 1, 2)]
    other = cluster.socket(1, user="a")
    path = "/v1/users/a%2Fb"
    for n in range(3):
        post(cluster.api(n), f"{path}/messages", f"from {n}")
    answer = cluster.api(2).want(200, "POST", f"{path}/messages", "last", TEXT, wait="written").json
    assert (answer["scope"], answer["matched"], answer["queued"]) == ("cluster", 4, 4)
    for socket in sockets:
        got = [socket.message() for _ in range(4)]
        assert sorted(got[:3]) == ["from 0", "from 1", "from 2"] and got[3] == "last"
    for _ in range(2):
        post(cluster.api(0), f"{path}/messages", "once", Idempotency_Key="k")
        post(cluster.api(1), f"{path}/messages", "once", Idempotency_Key="k")
    assert [socket.message() for socket in sockets] == ["once"] * 4
    for n in range(3):
        assert len(cluster.api(n).connections(user="a/b")) == 4
    answer = cluster.api(0).want(200, "DELETE", f"{path}/connections", code=4002, reason="bye")
    assert answer.json == {"closed": 4}
    for socket in sockets:
        assert socket.expect_close(4002).reason == "bye"
    other.barrier()
    eventually(
        lambda: cluster.api(1).want(200, "DELETE", f"{path}/connections").json == {"closed": 0}, "all are gone"
    )  # fmt: skip


def test_who_is_named_later_is_found_by_that_name(app, pair):
    socket, one = pair.member(0)
    app.on(Reply(204, headers={"Sidesocket-User": "late"}), event="message")
    socket.text("log me in")
    eventually(lambda: [c["id"] for c in pair.api(1).connections(user="late")] == [one], "the other node knows")
    post(pair.api(1), "/v1/users/late/messages", "hello")
    assert socket.message() == "hello"


# Nodes that do not answer


def test_a_node_that_does_not_answer_is_named_and_never_a_wrong_404(make_cluster, redis):
    cluster = make_cluster(2, redis, CLUSTER_TIMEOUT="500ms", CLUSTER_LEASE="60s")
    _, one = cluster.member(0, user="u", join="room")
    _, two = cluster.member(1, user="u", join="room")
    present(cluster, "room", 2, ["u"])
    cluster.nodes[1].process.send_signal(19)
    try:
        api = cluster.api(0)
        listed = api.want(200, "GET", "/v1/connections").json
        assert [c["id"] for c in listed["connections"]] == [one] and listed["missing"] == ["web-2"]
        for method, path in (("GET", f"/v1/connections/{two}"), ("DELETE", f"/v1/connections/{two}"),
                             ("PUT", f"/v1/channels/x/connections/{two}"), ("GET", f"/v1/connections/{ABSENT}")):  # fmt: skip
            began = time.monotonic()
            answer = api.ask(method, path)
            assert answer.status == 503 and "web-2" in answer.text, (method, path, answer.text)
            check_problem(answer)
            assert time.monotonic() - began < 2
        answer = api.ask("POST", f"/v1/connections/{two}/messages", "x", TEXT)
        assert answer.status == 503 and "web-2" in answer.text
        assert api.ask("GET", f"/v1/connections/{one}").status == 200
        users = api.ask("DELETE", "/v1/users/u/connections")
        assert users.status in (200, 503) and "web-2" in users.text
    finally:
        cluster.nodes[1].process.send_signal(18)
    eventually(lambda: cluster.api(0).ask("GET", f"/v1/connections/{ABSENT}").status == 404, "it answers again")


def test_while_the_engine_is_away_presence_is_503_and_ones_own_connections_are_found(make_cluster, redis):
    cluster = make_cluster(2, redis)
    socket, one = cluster.member(0, join="room", user="u")
    _, two = cluster.member(1)
    redis.kill()
    for node in cluster.nodes:
        node.wait_metric("cluster_up", 0)
    api = cluster.api(0)
    for path in ("/v1/channels", "/v1/channels/room"):
        assert api.ask("GET", path).status == 503
    assert api.ask("GET", f"/v1/connections/{one}").status == 200
    assert api.ask("GET", f"/v1/connections/{two}").status == 503
    post(api, f"/v1/connections/{one}/messages", "x")
    assert socket.message() == "x"
    redis.start()
    cluster.wait_up()
    # The engine has lost everything; the nodes say again who is there.
    present(cluster, "room", 1, ["u"])
    eventually(lambda: len(cluster.api(0).connections()) == 2, "both are known again")


# Nodes


def test_the_nodes_are_listed(make_cluster, redis):
    cluster = make_cluster(2, redis)
    cluster.socket(0, join=["a", "b"])
    cluster.socket(1, join="b")
    for n in (0, 1):

        def listed(n=n):
            got = cluster.api(n).want(200, "GET", "/v1/nodes").json
            assert got["engine"] == {"kind": "redis", "up": True}
            nodes = {one["name"]: one for one in got["nodes"]}
            return set(nodes) == {"web-1", "web-2"} and (
                [nodes[name]["connections"] for name in ("web-1", "web-2")] == [1, 1]
            )

        eventually(listed, lambda n=n: cluster.api(n).ask("GET", "/v1/nodes").text, 20)
    one = cluster.api(0).want(200, "GET", "/v1/nodes").json["nodes"][0]
    assert {"name", "version", "startedAt", "connections", "channels", "leaseMs"} <= set(one)
    assert 0 < one["leaseMs"] <= 10_000
    assert [node.metric("cluster_nodes") for node in cluster.nodes] == [2, 2]
    cluster.nodes[1].terminate()
    assert cluster.nodes[1].wait_exit(40) == 0
    # Whoever leaves in order is gone at once.
    eventually(
        lambda: [one["name"] for one in cluster.api(0).want(200, "GET", "/v1/nodes").json["nodes"]] == ["web-1"],
        "it is gone", 3,
    )  # fmt: skip


def test_nodes_with_different_policies_are_told(make_cluster, redis):
    cluster = make_cluster(1, redis, CHANNEL_POLICIES="a:*=history=10")
    cluster.add(CHANNEL_POLICIES="a:*=history=20")
    cluster.wait_up()
    eventually(
        lambda: "olicies" in cluster.api(0).want(200, "GET", "/v1/nodes").text, "/v1/nodes says that they differ", 20
    )  # fmt: skip


@pytest.mark.timeout(90)
def test_two_nodes_that_keep_one_name_are_an_error(make_cluster, redis):
    cluster = make_cluster(0, redis, CLUSTER_LEASE="3s")
    for _ in range(2):
        cluster.add(NODE_NAME="same")
    cluster.wait_up()
    for node in cluster.nodes:
        eventually(
            lambda node=node: any(line["level"] == "error" and "same" in str(line) for line in node.logs),
            "both say so", 15, 0.05,
        )  # fmt: skip
    assert len(cluster.api(0).want(200, "GET", "/v1/nodes").json["nodes"]) == 2


def test_a_node_that_is_restarted_at_once_is_no_second_one(make_cluster, redis):
    cluster = make_cluster(2, redis, CLUSTER_LEASE="3s")
    cluster.kill(1)
    cluster.replace(1)
    cluster.wait_up()
    socket = cluster.socket(1, join="room")
    cluster.publish(0, "room", "x")
    assert socket.message() == "x"
    eventually(
        lambda: [one["name"] for one in cluster.api(0).want(200, "GET", "/v1/nodes").json["nodes"]]
        == ["web-1", "web-2"],
        "two nodes", 15,
    )  # fmt: skip
    assert not [line for line in cluster.nodes[0].logs if line["level"] == "error"]


# Events of channels


@pytest.mark.parametrize("last", [0, 1])
def test_that_a_channel_has_nobody_any_more_is_told_whichever_node_is_last(make_cluster, redis, last):
    cluster = make_cluster(2, redis, CHANNEL_EVENTS="on")
    sockets = [cluster.socket(n, join="room") for n in (0, 1)]
    cluster.app.wait_events(1, "channel.occupied", 20)
    sockets[1 - last].close()
    cluster.app.wait_events(1, "close")
    sockets[last].close()
    cluster.app.wait_events(1, "channel.vacated", 20)


def test_channel_events_are_told_once_per_cluster(make_cluster, redis):
    cluster = make_cluster(2, redis, CHANNEL_EVENTS="on")
    first, second = cluster.socket(0, join="room"), cluster.socket(1, join="room")
    event = cluster.app.wait_events(1, "channel.occupied", 20)[0]
    assert event.header("ce-channel") == "room"
    first.close()
    # One of two nodes has none any more: nothing to tell.
    own = cluster.socket(0, join="own")
    cluster.app.wait_events(2, "channel.occupied", 20)
    assert cluster.app.events("channel.vacated") == []
    second.close()
    cluster.app.wait_events(1, "channel.vacated", 20)
    own.barrier()
    for kind, names in (("occupied", ["own", "room"]), ("vacated", ["room"])):
        events = cluster.app.events(f"channel.{kind}")
        # At least once; a repeat has the same id.
        assert sorted({(one.header("ce-channel"), one.header("ce-id")) for one in events}) == sorted(
            {one.header("ce-channel"): (one.header("ce-channel"), one.header("ce-id")) for one in events}.values()
        )
        assert sorted({one.header("ce-channel") for one in events}) == names


# Secrets


def test_what_is_stored_of_connections_is_encrypted(make_cluster, redis):
    cluster = make_cluster(2, redis)
    headers = {"Cookie": "session=c00kie-of-the-client", "Authorization": "Bearer t0ken-of-the-client"}
    socket = cluster.nodes[0].websocket("/ws?join=room&user=bob&state=0paque-state", headers=headers)
    present(cluster, "room", 1, ["bob"])
    with redis.client() as line:
        for key in line.command("KEYS", "*"):
            data = line.command("DUMP", key)
            data = data.encode() if isinstance(data, str) else data or b""
            for secret in (b"c00kie-of", b"t0ken-of", b"0paque-state"):
                assert secret not in data, key
    socket.barrier()


def test_who_lacks_the_secret_can_close_nobody(make_cluster, redis):
    cluster = make_cluster(1, redis)
    stranger = make_cluster(1, redis, CLUSTER_SECRET="another-secret-of-somebody-else")
    socket, one = cluster.member(0, user="u")
    for method, path in (("DELETE", f"/v1/connections/{one}"), ("DELETE", "/v1/users/u/connections")):
        stranger.api(0).ask(method, path)
    # What was heard may be said again by anybody who listens: it must not count.
    heard = []
    listener = redis.client()
    listener.command("PSUBSCRIBE", "*")
    stranger.api(0).ask("DELETE", f"/v1/connections/{one}")
    listener.sock.settimeout(0.3)
    try:
        while True:
            heard.append(listener.reply())
    except TimeoutError:
        pass
    for message in heard:
        if message[0] == "pmessage":
            redis.command("PUBLISH", message[2], message[3])
    socket.barrier()
