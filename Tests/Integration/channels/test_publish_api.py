"""Publishing through the API: answers that tell the truth, who is there, and input that nobody should send."""

import http.client
import json
import threading
import time
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from support.api import API, TOKEN
from support.app import Reply, commands
from support.guard import counted
from support.net import PATIENCE, eventually, free_port, reset
from support.raw import Client
from support.swarm import Swarm

TEXT = {"Content-Type": "text/plain"}
ROOM = "/v1/channels/room/messages"


# Python would close a socket that no variable holds.
kept = []


@pytest.fixture(autouse=True)
def keep():
    yield
    kept.clear()


def admit(request):
    """The app's answer to `open`: `/ws?user=42&join=room:1,room:2`."""
    asked = parse_qs(urlsplit(request.target).query)
    names = {"user": "Sidesocket-User", "join": "Sidesocket-Subscribe"}
    # The bytes of UTF-8, one by one, as a header has them.
    return Reply(204, headers={names[k]: v[0].encode().decode("latin-1") for k, v in asked.items() if k in names})


def member(app, edge, **query):
    """A socket, and its id: `member(app, edge, user="42", join="room:1,room:2")`."""
    how = {"receive_buffer": query.pop("receive_buffer", None)}
    socket = edge.websocket(f"/ws?{urlencode(query)}", **how)
    kept.append(socket)
    return socket, app.events("open")[-1].header("ce-connectionid")


def post(api, path, body, status=200, **headers):
    return api.want(status, "POST", path, body, {**TEXT, **{n.replace("_", "-"): v for n, v in headers.items()}})


def batch(api, *items, status=200):
    return api.want(status, "POST", "/v1/messages", json.dumps(items)).json


@pytest.fixture
def api(app, edge):
    app.echo()
    app.on(admit, event="open")
    return API(edge)


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


def test_wait_written_answers_when_the_kernel_took_it_or_the_socket_is_gone(app, sidesocket):
    edge = sidesocket(app, MAX_SEND_BUFFER_BYTES="64MiB")
    app.on(admit, event="open")
    api = API(edge)
    fast, _ = member(app, edge, join="fast")
    assert api.want(200, "POST", "/v1/channels/fast/messages", "x", TEXT, wait="written").json["queued"] == 1
    assert fast.message() == "x"
    api.want(400, "POST", "/v1/channels/fast/messages", "x", TEXT, wait="read")
    for leaves in (False, True):
        slow, _ = member(app, edge, join="slow", receive_buffer=8 << 10)
        text, answers = "y" * 900_000, []
        while edge.metric("send_buffer_bytes") < 4 << 20:
            post(api, "/v1/channels/slow/messages", text)
        queued = edge.metric("deliveries_total", result="queued")
        ask = ("POST", "/v1/channels/slow/messages", "last", TEXT)
        thread = threading.Thread(target=lambda ask=ask, got=answers: got.append(api.ask(*ask, wait="written")))
        thread.start()
        edge.wait_metric("deliveries_total", queued + 1, result="queued")
        assert answers == [], "answered before it was written"
        if leaves:
            reset(slow.sock)
        else:
            got = slow.message()
            while got != "last":
                got = slow.message()
        thread.join(PATIENCE)
        assert answers[0].status == 200 and answers[0].json["matched"] == 1
        # What has not been taken when its client is gone never was delivered.
        assert (answers[0].json["queued"], answers[0].json["dropped"]) == ((0, 1) if leaves else (1, 0))
        if not leaves:
            slow.sock.close()
        eventually(lambda: api.ask("GET", "/v1/channels/slow").status == 404, "the slow one is gone")


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


@pytest.mark.parametrize("path", ["/v1/users/jos%E9/messages", "/v1/connections/%FF/messages", "/v1/channels/%C3/messages"])
def test_a_path_that_is_not_utf8_is_refused(app, edge, api, path):
    post(api, path, "x", 400)


# Idempotency and rate


def test_a_repeated_key_gets_the_first_answer_and_sends_nothing(app, edge, api):
    socket, _ = member(app, edge, join="room")
    answers, path = [], "/v1/channels/room/messages"
    threads = [
        threading.Thread(target=lambda: answers.append(post(api, path, "once", Idempotency_Key="k" * 256).text))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(answers) == 8 and len(set(answers)) == 1
    second = post(api, path, "twice", Idempotency_Key="other").json
    assert second["offset"] == json.loads(answers[0])["offset"] + 1
    post(api, path, "again", Idempotency_Key="other")
    post(api, path, "end")
    assert [socket.message() for _ in range(3)] == ["once", "twice", "end"]
    for key in ("", "k" * 257):
        post(api, path, "x", 400, Idempotency_Key=key)


def test_keys_hold_for_users_connections_and_lists_too(app, edge, api):
    socket, name = member(app, edge, user="u", join="room")
    for path in ("/v1/users/u/messages", f"/v1/connections/{name}/messages"):
        first = post(api, path, path, Idempotency_Key="same")
        assert post(api, path, "again", Idempotency_Key="same").text == first.text
    entries = json.dumps([{"user": "u", "text": "list"}])
    for _ in range(2):
        api.want(200, "POST", "/v1/messages", entries, {"Idempotency-Key": "same"})
    post(api, "/v1/users/u/messages", "alike", Idempotency_Key="e\u0301".encode().decode("latin-1"))
    post(api, "/v1/users/u/messages", "alike too", Idempotency_Key="\u00e9".encode().decode("latin-1"))
    wanted = ["/v1/users/u/messages", f"/v1/connections/{name}/messages", "list", "alike", "alike too"]
    assert [socket.message() for _ in wanted] == wanted
    socket.barrier()


def test_a_key_whose_publication_failed_may_be_used_again(app, edge, api):
    path = "/v1/connections/nope/messages"
    post(api, path, "x", 404, Idempotency_Key="same")
    post(api, path, "x", 404, Idempotency_Key="same")
    socket, name = member(app, edge)
    path = f"/v1/connections/{name}/messages"
    post(api, path, "x", Idempotency_Key="same")
    assert socket.message() == "x"


def test_who_waits_for_a_message_that_is_written_at_once_is_told_at_once(app, edge, api):
    socket, name = member(app, edge, user="u")
    took = []
    with Client(edge.control_port) as client:
        for path in ["/v1/users/u/messages", f"/v1/connections/{name}/messages"] * 15:
            started = time.monotonic()
            answer = client.ask("POST", f"{path}?wait=written", TEXT, b"x", host="localhost")
            took.append(time.monotonic() - started)
            assert answer.status == 200 and json.loads(answer.text)["queued"] == 1
            assert socket.message() == "x"
    assert sorted(took)[len(took) // 2] < 0.008, took


def test_who_waits_for_a_client_that_never_reads_is_told_after_ten_seconds(app, sidesocket):
    edge = sidesocket(app, MAX_SEND_BUFFER_BYTES="64MiB")
    app.on(admit, event="open")
    api = API(edge, timeout=2 * PATIENCE)
    member(app, edge, join="slow", receive_buffer=8 << 10)
    while edge.metric("send_buffer_bytes") < 4 << 20:
        post(api, "/v1/channels/slow/messages", "y" * 900_000)
    began = time.monotonic()
    answer = api.want(200, "POST", "/v1/channels/slow/messages", "x", TEXT, wait="written")
    assert 9.5 < time.monotonic() - began < 18
    assert (answer.json["queued"], answer.json["dropped"]) == (1, 0)


def test_a_message_dropped_while_it_is_waited_for_counts_as_dropped(app, sidesocket):
    edge = sidesocket(app, MAX_SEND_BUFFER_BYTES="4MiB", SLOW_CLIENT_ACTION="drop-oldest")
    app.on(admit, event="open")
    api = API(edge)
    member(app, edge, join="slow", receive_buffer=8 << 10)
    while edge.metric("send_buffer_bytes") < 3 << 20:
        post(api, "/v1/channels/slow/messages", "y" * 900_000)
    queued, answers = edge.metric("deliveries_total", result="queued"), []
    thread = threading.Thread(
        target=lambda: answers.append(api.ask("POST", "/v1/channels/slow/messages", "x", TEXT, wait="written"))
    )
    thread.start()
    edge.wait_metric("deliveries_total", queued + 1, result="queued")
    started = time.monotonic()
    while thread.is_alive() and time.monotonic() - started < PATIENCE:
        post(api, "/v1/channels/slow/messages", "y" * 900_000)
    thread.join(PATIENCE)
    assert time.monotonic() - started < 5, "told by its patience"
    assert (answers[0].json["queued"], answers[0].json["dropped"]) == (0, 1)


def test_messages_past_channels_can_be_waited_for_too(app, sidesocket):
    edge = sidesocket(app, MAX_SEND_BUFFER_BYTES="64MiB")
    app.on(admit, event="open")
    api = API(edge)
    slow, name = member(app, edge, user="u", receive_buffer=8 << 10)
    with_text = json.dumps([{"user": "u", "text": "last"}])
    for path, body in [("users/u/messages", "last"), (f"connections/{name}/messages", "last"), ("messages", with_text)]:
        while edge.metric("send_buffer_bytes") < 4 << 20:
            post(api, "/v1/users/u/messages", "y" * 900_000)
        answers = []
        sent = edge.metric("messages_total", direction="out", type="text")
        thread = threading.Thread(
            target=lambda p=path, b=body, got=answers: got.append(api.ask("POST", f"/v1/{p}", b, TEXT, wait="written"))
        )
        thread.start()
        edge.wait_metric("messages_total", sent + 1, direction="out", type="text")
        assert answers == [], "answered before it was written"
        while slow.message() != "last":
            pass
        thread.join(PATIENCE)
        assert answers[0].status == 200
    for path in ("users/u/messages", "connections/x/messages", "messages"):
        api.want(400, "POST", f"/v1/{path}", "[]", TEXT, wait="bogus")


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


def test_a_key_of_a_megabyte_harms_nobody(app, edge, api):
    socket, _ = member(app, edge, join="room")
    before = edge.rss
    for _ in range(5):
        try:
            assert api.ask("POST", ROOM, "x", {**TEXT, "Idempotency-Key": "k" * (1 << 20)}).status in (400, 413, 431)
        except (OSError, http.client.HTTPException):
            pass  # It need not read all of it.
    # Nor do many keys of a legal size.
    for n in range(200):
        post(api, "/v1/channels/empty/messages", "x", Idempotency_Key=f"{n:0256d}")
    assert edge.rss - before < 24 << 20
    post(api, ROOM, "still here")
    assert socket.message() == "still here"


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
