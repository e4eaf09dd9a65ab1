"""Limits on connections and handshakes, limits that are off or dry, and the memory that they take."""

import json
import re
import time

import pytest
from support.app import Reply
from support.guard import UNLIMITED, Guest, check_refused, counted, enter, knock, limited
from support.net import eventually
from support.raw import encode
from support.ws import TEXT, frame, handshake_headers


def named(request):
    """The answer of an app that lets the client say who it is: `/ws?user=42`."""
    _, _, user = request.target.partition("user=")
    return Reply(204, headers={"Sidesocket-User": user} if user else {})


def last_close(app, count=1):
    return json.loads(app.wait_events(count, "close")[-1].body)


def check_rate_limit_fields(answer, quota, window):
    """`Retry-After` and the fields of draft-ietf-httpapi-ratelimit-headers, which name the same moment."""
    retry_after = int(answer.header("retry-after"))
    policy = re.fullmatch(r'"([!-~]+)";q=(\d+);w=(\d+)', answer.header("ratelimit-policy"))
    limit = re.fullmatch(r'"([!-~]+)";r=(\d+);t=(\d+)', answer.header("ratelimit"))
    assert policy and limit, answer.headers
    assert policy[1] == limit[1]
    assert (int(policy[2]), int(policy[3])) == (quota, window)
    assert int(limit[2]) == 0
    assert int(limit[3]) == retry_after >= 1
    return retry_after


# Connections


def test_case_37_one_more_connection_of_an_address_is_refused(app, sidesocket):
    edge = sidesocket(app, MAX_CONNECTIONS_PER_IP="3", CONNECT_RATE_PER_IP="off")
    first, *_ = [enter(edge) for _ in range(3)]
    app.wait_events(3, "open")
    with counted(
        edge,
        ("handshakes_total", {"result": "connection_limit"}, 1),
        limited("max_connections_per_ip", "refused"),
    ):
        answer = check_refused(knock(edge), 429)
    assert int(answer.header("retry-after")) >= 1
    assert len(app.events("open")) == 3
    # Another address has its own count, and room is made by whoever leaves.
    enter(edge, "127.0.0.2")
    first.close()
    app.wait_events(1, "close")
    eventually(lambda: knock(edge).status == 101, "room for another")
    assert knock(edge).status == 429


def test_a_vanished_client_makes_room(app, sidesocket):
    edge = sidesocket(app, MAX_CONNECTIONS_PER_IP="1", CONNECT_RATE_PER_IP="off")
    enter(edge).reset()
    eventually(lambda: knock(edge).status == 101, "room for another")


def test_a_refused_handshake_holds_no_place(app, sidesocket):
    edge = sidesocket(app, MAX_CONNECTIONS_PER_IP="2", CONNECT_RATE_PER_IP="off")
    app.on(Reply(403), event="open", times=5)
    for _ in range(5):
        assert knock(edge).status == 403
    for _ in range(5):
        assert knock(edge, origin="https://evil.example").status == 403
    guests = [knock(edge) for _ in range(3)]
    assert [guest.status for guest in guests] == [101, 101, 429]


def test_plain_requests_are_no_connections_of_the_limit(app, sidesocket):
    edge = sidesocket(app, MAX_CONNECTIONS_PER_IP="2", CONNECT_RATE_PER_IP="2/1h")
    with edge.client() as one, edge.client() as two:
        for n in range(5):
            assert one.ask(target=f"/{n}").status == two.ask(target=f"/{n}").status == 200
        _first, _second = enter(edge), enter(edge)
        assert one.ask(target="/after").status == 200


def test_connections_of_one_user_are_limited_over_all_addresses(app, sidesocket):
    edge = sidesocket(app, MAX_CONNECTIONS_PER_USER="2")
    app.on(named, event="open")
    one = enter(edge, "127.0.0.1", target="/ws?user=42")
    enter(edge, "127.0.0.2", target="/ws?user=42")
    with counted(
        edge,
        ("handshakes_total", {"result": "connection_limit"}, 1),
        limited("max_connections_per_user", "refused"),
    ):
        check_refused(knock(edge, "127.0.0.3", target="/ws?user=42"), 429)
    # The app had said yes to it, so it learns of the end as well.
    assert last_close(app)["initiator"] == "server"
    enter(edge, target="/ws?user=43")
    enter(edge, target="/ws")
    enter(edge, target="/ws")
    one.close()
    app.wait_events(2, "close")
    eventually(lambda: knock(edge, target="/ws?user=42").status == 101, "room for another")


# Handshakes


def test_case_37_handshakes_above_the_rate_are_refused_with_the_time_to_wait(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="3/1h")
    for _ in range(3):
        enter(edge).close()
    app.wait_events(3, "close")
    heads = len(app.heads)
    with counted(edge, ("handshakes_total", {"result": "rate_limited"}, 1), limited("connect_rate_per_ip", "refused")):
        answer = check_refused(knock(edge), 429)
    assert 1000 < check_rate_limit_fields(answer, quota=3, window=3600) <= 1200
    assert len(app.heads) == heads
    enter(edge, "127.0.0.2")
    with edge.client() as client:
        assert client.ask().status == 200


def test_refused_handshakes_count_too(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="4/1h", WS_PATHS="/ws")
    for more in ({"origin": "https://evil.example"}, {"target": "/nowhere"}, {"version": "12"}, {"origin": "null"}):
        assert knock(edge, **more).status in (403, 404, 426)
    check_refused(knock(edge), 429)


def test_the_burst_comes_back_at_the_rate(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="1/1s,burst=2")
    began = time.monotonic()
    for _ in range(2):
        enter(edge)
    answer = knock(edge).answer
    if answer.status == 429:
        assert check_rate_limit_fields(answer, quota=1, window=1) == 1
    # Asking again and again does not put it off.
    eventually(lambda: knock(edge).status == 101, "a handshake passes again", interval=0.05)
    assert time.monotonic() - began > 0.95


def test_with_default_settings_a_flood_of_handshakes_meets_the_rate(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP=None, MAX_CONNECTIONS_PER_IP=None)
    guests = [Guest(edge.port) for _ in range(160)]
    began = time.monotonic()
    for guest in guests:
        guest.send(encode("GET", "/ws", handshake_headers()))
    statuses = [guest.response().status for guest in guests]
    elapsed = time.monotonic() - began
    assert set(statuses) <= {101, 429}
    assert 40 <= statuses.count(101) <= min(100, 40 + 20 * elapsed + 1)


# Off, and dry


def test_off_is_off(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED)
    app.echo()
    guests = [enter(edge) for _ in range(120)]
    guests[0].send(b"".join(frame(TEXT, str(n)) for n in range(500)))
    assert [guests[0].message() for _ in range(500)] == [str(n) for n in range(500)]
    assert edge.metric("limited_total") == 0


def _handshakes(edge, app):
    for _ in range(4):
        enter(edge)


def _users(edge, app):
    for _ in range(4):
        enter(edge, target="/ws?user=42")


def _messages(edge, app):
    guest = enter(edge, target="/ws?user=42")
    guest.send(b"".join(frame(TEXT, "1234") for _ in range(4)))
    guest.barrier()
    app.wait_events(4, "message")


DRY = {
    "CONNECT_RATE_PER_IP": ("2/1h", _handshakes),
    "MAX_CONNECTIONS_PER_IP": ("2", _handshakes),
    "MAX_CONNECTIONS_PER_USER": ("2", _users),
    "MESSAGE_RATE": ("2/1h", _messages),
    "MESSAGE_RATE_PER_IP": ("2/1h", _messages),
    "MESSAGE_RATE_PER_USER": ("2/1h", _messages),
    "BYTE_RATE": ("8/1h", _messages),
}


@pytest.mark.parametrize("action", ["throttle", "close"])
@pytest.mark.parametrize("name", DRY)
def test_dry_run_counts_what_it_would_have_refused_and_lets_it_pass(app, sidesocket, name, action):
    value, use = DRY[name]
    app.on(named, event="open")
    edge = sidesocket(app, **{**UNLIMITED, name: value, "DRY_RUN": name.lower(), "RATE_LIMIT_ACTION": action})
    use(edge, app)
    # Throttling pauses once a bucket is empty, which may be one message sooner than a refusal.
    wanted = (2, 3) if use is _messages and action == "throttle" else (2,)
    name = name.lower()
    eventually(lambda: edge.metric("limited_total", limit=name, action="dry_run") in wanted, f"{wanted} counted")
    assert edge.metric("limited_total") in wanted
    refused = ("rate_limited", "connection_limit")
    assert sum(edge.metric("handshakes_total", result=result) for result in refused) == 0


def test_limits_that_are_not_named_bite_beside_a_dry_run(app, sidesocket):
    edge = sidesocket(
        app, CONNECT_RATE_PER_IP="2/1h", MAX_CONNECTIONS_PER_IP="4", DRY_RUN="SIDESOCKET_CONNECT_RATE_PER_IP,byte_rate"
    )
    assert [knock(edge).status for _ in range(5)] == [101, 101, 101, 101, 429]


# Memory


def test_case_37_many_addresses_take_no_memory_that_grows_with_them(app, sidesocket):
    edge = sidesocket(app, TRUSTED_PROXIES="127.0.0.1", CONNECT_RATE_PER_IP="20/1s,burst=40")

    def visit(first, count):
        # Refused, so that only the limiter can remember them.
        for n in range(first, first + count):
            address = f"198.{18 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"
            with knock(edge, origin="https://evil.example", headers={"X-Forwarded-For": address}) as guest:
                assert guest.status == 403

    visit(0, 500)
    before, series = edge.rss, set(edge.metrics())
    visit(500, 2000)
    assert edge.rss - before < 8 << 20
    assert set(edge.metrics()) == series
