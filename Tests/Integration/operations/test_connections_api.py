"""The API of the connections: listing, looking up, sending to and closing sockets, and who may do it."""

import json
import time
from datetime import datetime

import pytest
from support.api import API, TOKEN, check_problem, named
from support.app import App
from support.guard import UNLIMITED, enter
from support.net import eventually, free_port
from support.process import Sidesocket
from support.swarm import Swarm

BAD_CODES = ["0", "999", "1004", "1005", "1006", "1015", "2999", "5000", "65536", "-1", "x", "", "1000.0"]
BAD_IDS = ["nope", "x" * 5000, "%00", "%2e%2e%2f", "%ff", "%F0%9F%8E%89", "a%2Fb", "'%20OR%201=1"]


@pytest.fixture
def api(app, edge):
    app.echo()
    app.on(named, event="open")
    return API(edge)


def ids(app):
    return [event.header("ce-connectionid") for event in app.events("open")]


def opened(app, edge, source="127.0.0.1", target="/ws"):
    """A socket and its id."""
    known = set(ids(app))
    socket = enter(edge, source, target=target)
    (one,) = set(ids(app)) - known
    return socket, one


def said(socket, text):
    socket.text(text)
    assert socket.message() == text


# Looking


def test_a_connection_is_described_by_what_it_is_and_did(app, edge, api):
    socket, one = opened(app, edge, "127.0.0.2", "/ws/chat?user=a%26b&x=1")
    said(socket, "one")
    said(socket, "two")
    wanted = {"id": one, "user": "a&b", "ip": "127.0.0.2", "subject": "/ws/chat?user=a%26b&x=1", "messagesIn": 2,
              "messagesOut": 2, "pendingBytes": 0, "channels": []}  # fmt: skip

    def settled():
        got = api.want(200, "GET", f"/v1/connections/{one}").json
        moment = got.pop("openedAt")
        assert moment.endswith("Z") and abs(datetime.fromisoformat(moment).timestamp() - time.time()) < 60
        return got == wanted

    eventually(settled, lambda: api.ask("GET", f"/v1/connections/{one}").text)
    (listed,) = api.connections()
    assert {k: v for k, v in listed.items() if k != "openedAt"} == wanted
    socket.close()
    eventually(lambda: api.connections() == [], "the closed connection is listed no more")
    api.want(404, "GET", f"/v1/connections/{one}")


def test_the_list_is_narrowed_by_user_and_address(app, edge, api):
    made = [
        opened(app, edge, source, f"/ws?user={user}")[1]
        for source, user in (("127.0.0.1", "1"), ("127.0.0.1", "2"), ("127.0.0.2", "1"), ("127.0.0.2", "11"))
    ]
    found = lambda **query: {one["id"] for one in api.connections(**query)}  # noqa: E731
    assert found() == set(made)
    assert found(user="1") == {made[0], made[2]}
    assert found(ip="127.0.0.2") == {made[2], made[3]}
    assert found(user="1", ip="127.0.0.2") == {made[2]}
    opened(app, edge)
    assert [one["user"] for one in api.connections()].count(None) == 1
    assert found(user="nobody") == found(ip="127.0.0.9") == set()


def test_a_list_of_250_is_read_in_pages(app, edge, api):
    with Swarm(edge.port) as swarm:
        swarm.enter(250)
        sizes, seen, query = [], [], {}
        while True:
            page = api.want(200, "GET", "/v1/connections", **query).json
            sizes.append(len(page["connections"]))
            seen += [one["id"] for one in page["connections"]]
            if page["next"] is None:
                break
            query = {"after": page["next"]}
        assert sizes[:3] == [100, 100, 50] and not any(sizes[3:])
        assert seen == sorted(seen) and len(set(seen)) == 250 and set(seen) == set(ids(app))
        assert [one["id"] for one in api.connections(limit=1000)] == seen
        assert [one["id"] for one in api.connections(limit=1)] == seen[:1]
        # The connection that a page ended with may be gone when the next one is asked for.
        page = api.want(200, "GET", "/v1/connections", limit=120).json
        api.want(204, "DELETE", f"/v1/connections/{seen[119]}")
        eventually(lambda: api.ask("GET", f"/v1/connections/{seen[119]}").status == 404, "it is gone")
        assert [one["id"] for one in api.connections(after=page["next"], limit=1000)] == seen[120:]
        assert [one["id"] for one in api.connections(after=seen[-1])] == []


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "1.5", "", "99999999999999999999"])
def test_a_wrong_limit_is_a_bad_request(shared, limit):
    API(shared[1]).want(400, "GET", "/v1/connections", limit=limit)


@pytest.mark.parametrize("one", BAD_IDS, ids=lambda one: one[:12])
def test_an_id_that_is_none_finds_nothing(shared, one):
    api = API(shared[1])
    for method, end in (("GET", ""), ("DELETE", ""), ("POST", "/messages")):
        answer = api.ask(method, f"/v1/connections/{one}{end}", b"x" if method == "POST" else None)
        assert answer.status in (400, 404), answer.status
        check_problem(answer)


# Sending


def test_a_message_goes_to_one_client_with_the_type_of_its_body(app, edge, api):
    socket, one = opened(app, edge)
    other, _ = opened(app, edge)
    path = f"/v1/connections/{one}/messages"
    bodies = [
        ("text/plain", "grüße", True), ("application/json", "[1]", True), ("application/octet-stream", "bin", False),
        ("image/png", "png", False),
    ]  # fmt: skip
    for kind, text, is_text in bodies:
        api.want(200, "POST", path, text.encode(), {"Content-Type": kind})
        assert socket.message() == (text if is_text else text.encode())
    for n in range(50):
        api.want(200, "POST", path, str(n), {"Content-Type": "text/plain"})
    assert [socket.message() for _ in range(50)] == [str(n) for n in range(50)]
    assert app.events("message") == []
    said(other, "heard only itself")


def test_a_message_that_cannot_be_sent_harms_nobody(app, sidesocket):
    edge = sidesocket(app, MAX_REPLY_BYTES="1KiB")
    app.echo()
    api = API(edge)
    socket, one = opened(app, edge)
    path, text = f"/v1/connections/{one}/messages", {"Content-Type": "text/plain"}
    api.want(413, "POST", path, b"x" * 1025, text)
    api.want(400, "POST", path, b"\xff\xfe", text)
    api.want(404, "POST", "/v1/connections/nope/messages", b"x", text)
    api.want(200, "POST", path, b"x" * 1024, text)
    assert socket.message() == "x" * 1024
    said(socket, "still here")


# Closing


def test_a_connection_is_closed_with_1008_or_what_the_call_says(app, edge, api):
    kept, _ = opened(app, edge)
    for query, code, reason in (({}, 1008, None), ({"code": 4000, "reason": "bye, é"}, 4000, "bye, é")):
        socket, one = opened(app, edge)
        api.want(204, "DELETE", f"/v1/connections/{one}", **query)
        got = socket.expect_close(code)
        assert reason is None or got.reason == reason
        body = json.loads(eventually(lambda one=one: app.events("close", one), "the close event")[0].body)
        assert (body["code"], body["initiator"]) == (code, "server")
        eventually(lambda one=one: api.ask("DELETE", f"/v1/connections/{one}").status == 404, "it is gone")
    said(kept, "still here")


@pytest.mark.parametrize("query", [*({"code": code} for code in BAD_CODES), {"reason": "x" * 124}], ids=str)
def test_a_wrong_code_or_reason_closes_nothing(shared, query):
    app, edge = shared
    app.echo()
    app.on(named, event="open")
    socket, one = opened(app, edge, target="/ws?user=u")
    api = API(edge)
    api.want(400, "DELETE", f"/v1/connections/{one}", **query)
    api.want(400, "DELETE", "/v1/users/u/connections", **query)
    said(socket, "still here")


@pytest.mark.parametrize(("user", "quoted"), [("42", "42"), ("a/b c", "a%2Fb%20c"), ("50%+1", "50%25%2B1")])
def test_all_connections_of_a_user_are_closed_at_once(app, edge, api, user, quoted):
    gone = [opened(app, edge, f"127.0.0.{n}", f"/ws?user={quoted}")[0] for n in (1, 2, 3)]
    kept = [opened(app, edge, target=target)[0] for target in ("/ws?user=4", "/ws")]
    answer = api.want(200, "DELETE", f"/v1/users/{quoted}/connections", code=4002, reason="bye")
    assert answer.json == {"closed": 3}
    for socket in gone:
        assert socket.expect_close(4002).reason == "bye"
    for socket in kept:
        said(socket, "still here")
    eventually(lambda: len(api.connections()) == 2, "the rest is there")
    assert api.want(200, "DELETE", f"/v1/users/{quoted}/connections").json == {"closed": 0}


# Who may

CALLS = [
    ("GET", "/v1/connections"), ("GET", "/v1/connections/ID"), ("POST", "/v1/connections/ID/messages"),
    ("POST", "/v1/connections/ID/token"), ("DELETE", "/v1/connections/ID"), ("DELETE", "/v1/users/u/connections"),
    ("PUT", "/v1/bans/ip/127.0.0.1"), ("PUT", "/v1/bans/user/u"), ("GET", "/v1/bans/ip/127.0.0.1"),
    ("DELETE", "/v1/bans/ip/127.0.0.1"), ("GET", "/v1/bans"),
]  # fmt: skip


@pytest.fixture(scope="module")
def guarded():
    """A sidecar with a token and two control listeners, a socket of user `u`, and the socket's id."""
    app = App()
    app.echo()
    app.on(named, event="open")
    process = Sidesocket(APP_URL=app.url, CONTROL_TOKEN=TOKEN, **UNLIMITED)
    socket, one = opened(app, process, target="/ws?user=u")
    yield process, socket, one
    process.kill()
    app.stop()


@pytest.mark.parametrize(
    "value",
    [None, "", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, f"Basic {TOKEN}"],
)
def test_without_the_token_no_call_does_or_tells_anything(guarded, value):
    process, socket, one = guarded
    api = API(process)
    for method, path in CALLS:
        headers = {} if value is None else {"Authorization": value}
        answer = api.want(401, method, path.replace("ID", one), b"x" if method == "POST" else None, headers)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert one not in answer.text and TOKEN not in answer.text
    said(socket, "still here")
    right = API(process, TOKEN)
    assert [c["id"] for c in right.connections()] == [one] and right.bans() == []


def test_without_a_token_other_listeners_than_loopback_refuse_every_call(app, sidesocket):
    inner, wide = free_port(), free_port()
    edge = sidesocket(app, CONTROL_LISTEN=f"0.0.0.0:{wide},127.0.0.1:{inner}", wait=False)
    edge.control_port = inner
    eventually(lambda: edge.readyz()[0] == 200, lambda: f"ready: {edge.output}", timeout=20)
    app.echo()
    app.on(named, event="open")
    socket, one = opened(app, edge, target="/ws?user=u")
    outside = API(edge, port=wide)
    for method, path in CALLS:
        answer = outside.want(403, method, path.replace("ID", one), b"x" if method == "POST" else None)
        assert "SIDESOCKET_CONTROL_TOKEN" in answer.text and one not in answer.text
    # Nor does a token help where none is set.
    API(edge, "", wide).want(403, "GET", "/v1/connections")
    said(socket, "still here")
    assert [c["id"] for c in API(edge).connections()] == [one]
