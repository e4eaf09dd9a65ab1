"""Publishing through the API: answers that tell the truth, who is there, and input that nobody should send."""

import json
from urllib.parse import quote

import pytest
from support.api import API, TOKEN
from support.app import Reply, commands
from support.guard import counted
from support.net import eventually, free_port
from support.publishing import ROOM, TEXT, admit, batch, member, post
from support.raw import Client
from support.swarm import Swarm

# Answers


def test_users_connections_and_channels_are_told_how_many_it_reached(app, edge, api):
    first, one = member(app, edge, user="a/b", join="room")
    second, _ = member(app, edge, user="a/b")
    answer = post(api, ROOM, "x").json
    assert set(answer) == {"channel", "offset", "epoch", "matched", "queued", "dropped"}
    assert answer["channel"] == "room" and isinstance(answer["offset"], int) and answer["epoch"]
    assert post(api, f"/v1/connections/{one}/messages", "y").json == {"matched": 1, "queued": 1, "dropped": 0}
    assert post(api, "/v1/users/a%2Fb/messages", "z").json == {"matched": 2, "queued": 2, "dropped": 0}
    assert post(api, "/v1/users/nobody/messages", "z").json == {"matched": 0, "queued": 0, "dropped": 0}
    assert post(api, "/v1/channels/empty/messages", "z").json["matched"] == 0
    post(api, "/v1/connections/nope/messages", "z", 404)
    assert [first.message() for _ in range(3)] == ["x", "y", "z"]
    assert second.message() == "z"
    post(api, ROOM, "")
    api.want(200, "POST", ROOM, b"\0\xff", {"Content-Type": "application/octet-stream"})
    assert [first.message(), first.message()] == ["", b"\0\xff"]


def test_a_batch_is_answered_in_order_good_and_bad(app, edge, api):
    first, one = member(app, edge, user="u", join="room")
    second, _ = member(app, edge, join="room")
    good = [
        {"channel": "room", "text": "1"}, {"user": "u", "text": "2"}, {"connection": one, "base64": "AP8="},
        {"channel": "room", "text": "4", "exclude": one}, {"channel": "room", "text": ""},
    ]  # fmt: skip
    bad = [
        {"channel": "a b", "text": "x"}, {"text": "x"}, {"channel": "room"}, {"channel": "room", "text": 1},
        {"channel": "room", "text": "x", "base64": "AP8="}, {"channel": "room", "base64": "?"},
        {"channel": "room", "user": "u", "text": "x"}, {"connection": "nope", "text": "x"},
    ]  # fmt: skip
    answers = batch(api, *good, *bad)
    assert [answer.get("matched") for answer in answers] == [2, 1, 1, 1, 2] + [None] * len(bad)
    assert [answer["status"] for answer in answers[len(good) :]] == [400] * 7 + [404]
    assert all(answer["detail"] for answer in answers[len(good) :])
    assert answers[4]["offset"] == answers[0]["offset"] + 2
    assert [first.message() for _ in range(4)] == ["1", "2", b"\0\xff", ""]
    assert [second.message() for _ in range(3)] == ["1", "4", ""]
    many = batch(api, *({"channel": "room", "text": str(n)} for n in range(1000)))
    assert [answer["offset"] for answer in many] == list(range(many[0]["offset"], many[0]["offset"] + 1000))
    assert [first.message() for _ in range(1000)] == [str(n) for n in range(1000)]
    batch(api, *[{"channel": "room", "text": "x"}] * 1001, status=400)


@pytest.mark.parametrize("body", ["", "[]", "{}", "null", "[1", '[{"channel":"room","text":"x"}] x', "[" * 100_000])
def test_what_is_no_batch_is_a_bad_request_and_does_nothing(app, edge, api, body):
    socket, _ = member(app, edge, join="room")
    api.want(400, "POST", "/v1/messages", body)
    socket.barrier()


# Users


def test_users_whose_names_only_look_alike_are_two(app, sidesocket):
    edge = sidesocket(app, MAX_CONNECTIONS_PER_USER="1")
    app.echo()
    app.on(admit, event="open")
    api = API(edge)
    composed, decomposed = "\u00e9", "e\u0301"
    one, _ = member(app, edge, user=composed, join="room")
    two, _ = member(app, edge, user=decomposed, join="room")
    path = f"/v1/users/{quote(composed)}"
    assert post(api, f"{path}/messages", "for one").json["matched"] == 1
    assert one.message() == "for one"
    assert len(api.want(200, "GET", "/v1/connections", user=composed).json["connections"]) == 1
    assert api.want(200, "GET", "/v1/channels/room").json["users"] == [decomposed, composed]
    api.ban("user", composed)
    one.expect_close(4403)
    two.barrier()
    assert api.want(200, "DELETE", f"{path}/connections").json["closed"] == 0
    two.barrier()


@pytest.mark.parametrize(
    "path", ["/v1/users/jos%E9/messages", "/v1/connections/%FF/messages", "/v1/channels/%C3/messages"]
)
def test_a_path_that_is_not_utf8_is_refused(app, edge, api, path):
    post(api, path, "x", 400)


# What is no message, and too many


@pytest.mark.parametrize("path", [ROOM, "/v1/users/u/messages", "/v1/connections/{}/messages"])
def test_what_curl_sends_is_text_and_what_is_no_message_is_refused_with_the_remedy(app, edge, api, path):
    socket, name = member(app, edge, user="u", join="room")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    api.want(200, "POST", path.format(name), '{"id":7}', form)
    assert socket.message() == '{"id":7}'
    assert "application/octet-stream" in api.want(415, "POST", path.format(name), b"\xff", form).json["detail"]
    for kind in ("multipart/form-data; boundary=x", "application/vnd.sidesocket+json"):
        assert "text/plain" in api.want(415, "POST", path.format(name), "[]", {"Content-Type": kind}).json["detail"]
    api.want(200, "POST", path.format(name), "last", TEXT)
    assert socket.message() == "last"


def test_a_client_that_asks_before_it_sends_its_body_is_told_to(app, edge, api):
    socket, _ = member(app, edge, join="room")
    head = f"POST {ROOM} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\n"
    with Client(edge.control_port) as client:
        for text in ("one", "two"):
            client.send(f"{head}Content-Length: 3\r\n\r\n")
            assert client.head().status == 100
            client.send(text)
            assert client.response().status == 200
            assert socket.message() == text
        # The second of two that come at once is told behind the answer to the first.
        client.send(f"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n{head}Content-Length: 3\r\n\r\n")
        assert client.response().text == "ok\n" and client.head().status == 100
        client.send("six")
        assert client.response().status == 200
        # One that does not wait is not told, nor one that is refused for its head.
        client.send(f"{head}Content-Length: 3\r\n\r\nfix")
        answer = client.response()
        assert answer.status == 200 and answer.informational in ([], [100])
        client.send(f"{head}Origin: http://evil.example\r\nContent-Length: 3\r\n\r\n")
        answer = client.response()
        assert answer.status == 403 and answer.informational == []


def test_a_body_that_is_coded_or_broken_is_refused(app, edge, api):
    post(api, ROOM, "x", 400, Content_Encoding="gzip")
    client = Client(edge.control_port)
    client.send(f"POST {ROOM} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n".encode())
    assert client.response().status == 400


def test_more_publications_than_the_rate_are_refused_and_not_sent(app, sidesocket):
    edge = sidesocket(app, PUBLISH_RATE="5/1h,burst=5")
    app.on(admit, event="open")
    api = API(edge)
    socket, _ = member(app, edge, join="room")
    for n in range(4):
        post(api, ROOM, str(n))
    post(api, "/v1/channels/a%20b/messages", "x", 400)
    statuses = []
    while not statuses or statuses[-1] == 200:
        answer = api.ask("POST", ROOM, str(4 + len(statuses)), TEXT)
        statuses.append(answer.status)
    assert statuses[-1] == 429 and int(answer.headers["retry-after"]) > 0 and len(statuses) <= 2
    answer = api.ask("POST", "/v1/messages", json.dumps([{"channel": "room", "text": "x"}]))
    assert answer.status == 429 or answer.json[0]["status"] == 429
    assert [socket.message() for _ in range(3 + len(statuses))] == [str(n) for n in range(3 + len(statuses))]
    socket.barrier()


# Presence


def test_presence_names_each_user_once(app, edge, api):
    for user in ("bob", "alice", "bob", None):
        member(app, edge, join="room", **({"user": user} if user else {}))
    last = post(api, ROOM, "x").json
    wanted = {"channel": "room", "connections": 4, "users": ["alice", "bob"]}
    assert api.want(200, "GET", "/v1/channels/room").json == {**wanted, **{k: last[k] for k in ("offset", "epoch")}}
    api.want(404, "GET", "/v1/channels/other")
    api.want(400, "GET", "/v1/channels/a%20b")
    _, other = member(app, edge, join="other,b,a")
    assert [one["id"] for one in api.connections(channel="other")] == [other]
    assert len(api.connections(channel="room")) == 4 and api.connections(channel="nobody") == []
    assert sorted(api.connections(channel="other")[0]["channels"]) == ["a", "b", "other"]


def test_channels_are_listed_by_prefix_and_in_pages(app, edge, api):
    names = sorted(f"room:{n}" for n in range(90)) + ["zoo", "a/b?c=%41&d"]
    for start in range(0, len(names), 50):
        member(app, edge, join=",".join(names[start : start + 50]))
    member(app, edge, join="zoo")
    seen, query = [], {"limit": 20}
    while True:
        page = api.want(200, "GET", "/v1/channels", **query).json
        seen += page["channels"]
        assert len(page["channels"]) <= 20
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert seen == [{"channel": name, "connections": 1 + (name == "zoo")} for name in sorted(names)]
    found = api.want(200, "GET", "/v1/channels", prefix="room:1").json["channels"]
    assert [one["channel"] for one in found] == [name for name in sorted(names) if name.startswith("room:1")]
    assert api.want(200, "GET", "/v1/channels", prefix="none").json["channels"] == []
    assert api.want(200, "GET", f"/v1/channels/{quote(names[-1], safe='')}").json["channel"] == names[-1]
    for limit in ("0", "-1", "x", "1001"):
        api.want(400, "GET", "/v1/channels", limit=limit)


# Input that nobody should send


@pytest.mark.parametrize(
    "name",
    ["a%0D%0Ab", "a%0Ab", "a%00b", "%7F", "x" * 201, "x" * 300, "%C3%A9", "%ff", "a,b", "a%2Cb", "a%22b", "a%20b"],
    ids=lambda name: name[:12] + str(len(name)),
)
def test_a_bad_name_is_a_bad_request_everywhere(shared, name):
    api = API(shared[1])
    for method, end in (("GET", ""), ("GET", "/messages"), ("POST", "/messages"), ("PUT", "/connections/x"),
                        ("DELETE", "/connections/x")):  # fmt: skip
        api.want(400, method, f"/v1/channels/{name}{end}", "x" if method == "POST" else None, TEXT)
    assert api.ask("POST", "/v1/channels//messages", "x", TEXT).status in (400, 404)
    assert post(api, f"/v1/channels/{'x' * 200}/messages", "x").json["channel"] == "x" * 200
    assert post(api, "/v1/channels/a%2F..%2F%25/messages", "x").json["channel"] == "a/../%"


def test_a_message_that_cannot_be_sent_reaches_nobody(app, sidesocket):
    edge = sidesocket(app, MAX_REPLY_BYTES="1KiB")
    app.on(admit, event="open")
    api = API(edge)
    socket, one = member(app, edge, user="u", join="room")
    for path in (ROOM, "/v1/users/u/messages", f"/v1/connections/{one}/messages"):
        post(api, path, b"x" * 1025, 413)
        post(api, path, b"\xff\xfe", 400)
        post(api, path, b"x" * 1024)
        assert socket.message() == "x" * 1024


def test_ten_thousand_subscriptions_in_one_reply_are_refused_or_held_as_the_limit_says(app, sidesocket):
    names = [f"channel:{n}" for n in range(10_000)]
    app.on(Reply(204, headers={"Sidesocket-Subscribe": ",".join(names)}), event="message", times=1)
    socket = sidesocket(app).websocket()
    socket.text("go")
    socket.expect_close(1011)
    # A reply's head has its own limit, and a list of commands too: they come in parts.
    for start in range(0, 10_000, 1000):
        part = ({"subscribe": name} for name in names[start : start + 1000])
        app.on(commands(*part, {"send": {"text": "in"}}), event="message", times=1)
    edge = sidesocket(app, MAX_CHANNELS_PER_CONNECTION=10_000)
    socket, api = edge.websocket(), API(edge)
    for _ in range(10):
        socket.text("go")
        assert socket.message() == "in"
    assert edge.metric("subscriptions") == edge.metric("channels") == 10_000
    assert post(api, "/v1/channels/channel:9999/messages", "x").json["matched"] == 1
    assert socket.message() == "x"
    socket.close()
    edge.wait_metric("subscriptions", 0)
    edge.wait_metric("channels", 0)


def test_a_user_with_200_sockets_hears_it_on_each(app, edge, api):
    with Swarm(edge.port, target="/ws?user=u&join=room") as swarm:
        swarm.enter(200)
        assert post(api, "/v1/users/u/messages", "to all").json == {"matched": 200, "queued": 200, "dropped": 0}
        eventually(lambda: all([text for _, text in one.messages] == [b"to all"] for one in swarm.members))
        assert api.want(200, "GET", "/v1/channels/room").json["users"] == ["u"]
    eventually(lambda: post(api, "/v1/users/u/messages", "x").json["matched"] == 0, "all are gone")


CALLS = [
    ("POST", ROOM), ("POST", "/v1/users/u/messages"), ("POST", "/v1/connections/ID/messages"), ("POST", "/v1/messages"),
    ("PUT", "/v1/channels/other/connections/ID"), ("DELETE", "/v1/channels/room/connections/ID"),
    ("GET", "/v1/channels"), ("GET", "/v1/channels/room"), ("GET", ROOM),
]  # fmt: skip


def test_nobody_publishes_or_looks_without_the_token_or_off_loopback(app, sidesocket):
    app.on(admit, event="open")
    inner, wide = free_port(), free_port()
    bare = sidesocket(app, CONTROL_LISTEN=f"0.0.0.0:{wide},127.0.0.1:{inner}", wait=False)
    bare.control_port = inner
    eventually(lambda: bare.readyz()[0] == 200, lambda: f"ready: {bare.output}", timeout=20)
    guarded = sidesocket(app, CONTROL_TOKEN=TOKEN)
    for edge, outside, inside, status in (
        (bare, API(bare, port=wide), API(bare), 403), (guarded, API(guarded), API(guarded, TOKEN), 401),
    ):  # fmt: skip
        socket, one = member(app, edge, user="u", join="room")
        body = json.dumps([{"channel": "room", "text": "x"}])
        for method, path in CALLS:
            outside.want(status, method, path.replace("ID", one), body if method == "POST" else None)
        assert inside.want(200, "GET", f"/v1/connections/{one}").json["channels"] == ["room"]
        post(inside, ROOM, "still here")
        assert socket.message() == "still here"


def test_metrics_count_publications_and_deliveries(app, edge, api):
    first, _ = member(app, edge, join="room,own")
    member(app, edge, join="room")
    assert (edge.metric("channels"), edge.metric("subscriptions")) == (2, 3)
    app.on(commands({"publish": {"channel": "room", "text": "x"}}), event="message")
    with counted(
        edge, ("publications_total", {"source": "api"}, 2), ("publications_total", {"source": "reply"}, 1),
        ("deliveries_total", {"result": "queued"}, 5), ("deliveries_total", {"result": "dropped"}, 0),
        ("publish_duration_seconds_count", {}, None), ("messages_total", {"direction": "out", "type": "text"}, 5),
    ):  # fmt: skip
        post(api, ROOM, "x")
        batch(api, {"channel": "own", "text": "x"})
        first.text("go")
        assert [first.message() for _ in range(3)] == ["x"] * 3
