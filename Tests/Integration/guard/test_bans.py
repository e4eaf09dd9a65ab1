"""Bans of addresses, networks and users: they close what is open, refuse what comes, and end by themselves."""

import json
import threading
import time
from datetime import datetime

import pytest
from support.api import API, ban_path, check_problem, named
from support.app import Reply, gate
from support.guard import check_refused, counted, enter, knock, limited
from support.net import eventually
from support.process import run
from support.raw import Client
from support.ws import TEXT, frame

REFUSED = (("handshakes_total", {"result": "auth"}, 1), limited("ban", "refused"))


@pytest.fixture
def api(app, edge):
    app.on(named, event="open")
    return API(edge)


def alive(*sockets):
    for socket in sockets:
        socket.barrier()


def refused(app, edge, source, **handshake):
    """A handshake that is answered 403, counted, and unknown to the app."""
    before = len(app.events("open"))
    with counted(edge, *REFUSED):
        check_refused(knock(edge, source, **handshake), 403)
    assert len(app.events("open")) == before


def until(ban):
    return datetime.fromisoformat(ban["expiresAt"]).timestamp() - time.time()


def test_a_banned_address_is_closed_with_4403_and_refused(app, edge, api):
    gone = [enter(edge, "127.0.0.2") for _ in range(2)]
    kept = enter(edge, "127.0.0.3")
    ban = api.ban("ip", "127.0.0.2")
    assert set(ban) == {"kind", "value", "expiresAt", "reason"}
    assert (ban["kind"], ban["value"]) == ("ip", "127.0.0.2") and 3540 < until(ban) < 3660
    for socket in gone:
        socket.expect_close(4403)
    bodies = [json.loads(event.body) for event in app.wait_events(2, "close")]
    assert {(body["code"], body["initiator"]) for body in bodies} == {(4403, "server")}
    refused(app, edge, "127.0.0.2")
    alive(kept, enter(edge, "127.0.0.3"))
    assert api.want(200, "GET", ban_path("ip", "127.0.0.2")).json == ban
    assert api.want(200, "GET", "/v1/bans").json == {"bans": [ban]}
    api.want(204, "DELETE", ban_path("ip", "127.0.0.2"))
    enter(edge, "127.0.0.2")
    api.want(404, "DELETE", ban_path("ip", "127.0.0.2"))
    api.want(404, "GET", ban_path("ip", "127.0.0.2"))
    assert api.bans() == []


def test_a_banned_network_is_closed_and_refused_and_no_other(app, edge, api):
    gone = [enter(edge, f"127.0.0.{n}") for n in (16, 20, 31)]
    kept = [enter(edge, f"127.0.0.{n}") for n in (15, 32)]
    ban = api.ban("ip", "127.0.0.16/28", ttl="5m", reason="scraper é")
    assert ban["value"] == "127.0.0.16/28" and ban["reason"] == "scraper é" and 240 < until(ban) < 360
    for socket in gone:
        socket.expect_close(4403)
    refused(app, edge, "127.0.0.29")
    alive(*kept)
    second = api.ban("ip", "127.0.0.16/28", status=200, ttl="20m", reason="two")
    assert until(second) > until(ban) + 600 and api.want(200, "GET", "/v1/bans").json == {"bans": [second]}
    # The ban of one address within is a ban of its own.
    api.want(404, "GET", ban_path("ip", "127.0.0.20"))
    api.want(404, "DELETE", ban_path("ip", "127.0.0.20"))
    api.want(204, "DELETE", ban_path("ip", "127.0.0.16/28"))
    enter(edge, "127.0.0.20")


def test_a_banned_user_is_closed_everywhere_and_refused_when_the_app_names_it(app, edge, api):
    gone = [enter(edge, f"127.0.0.{n}", target="/ws?user=a%2Fb") for n in (1, 2, 3)]
    kept = enter(edge, target="/ws?user=a")
    assert api.ban("user", "a/b")["value"] == "a/b"
    for socket in gone:
        socket.expect_close(4403)
    with counted(edge, *REFUSED):
        check_refused(knock(edge, "127.0.0.4", target="/ws?user=a%2Fb"), 403)
    # Whoever gets the name of a banned user later is closed then.
    app.on(Reply(204, headers={"Sidesocket-User": "a/b"}), event="message")
    late = enter(edge, target="/ws")
    late.text("log me in")
    late.expect_close(4403)
    alive(kept)
    api.want(204, "DELETE", ban_path("user", "a/b"))
    enter(edge, target="/ws?user=a%2Fb")


def test_a_ban_that_is_lifted_at_once_was_made_all_the_same(app, edge, api):
    answers = []

    def lift():
        while len(answers) < 100:
            api.ask("DELETE", ban_path("user", "q"))

    thread = threading.Thread(target=lift)
    thread.start()
    while len(answers) < 100:
        answers.append(api.ask("PUT", ban_path("user", "q")).status)
    thread.join()
    assert set(answers) <= {200, 201}


def test_a_ban_ends_by_itself(app, edge, api):
    started = time.monotonic()
    api.ban("ip", "127.0.0.2", ttl="1s")
    assert knock(edge, "127.0.0.2").status == 403
    eventually(lambda: knock(edge, "127.0.0.2").status == 101, "the ban is over", interval=0.05)
    assert 0.9 < time.monotonic() - started < 5
    api.want(404, "GET", ban_path("ip", "127.0.0.2"))
    assert api.bans() == []
    api.ban("ip", "127.0.0.2")


@pytest.mark.parametrize("ttl", ["0s", "999ms", "721h", "10", "x", "-5s", "1d2", "", "off", "1e9s"])
def test_a_wrong_ttl_bans_nobody(shared, ttl):
    api = API(shared[1])
    api.want(400, "PUT", ban_path("ip", "127.0.0.77"), ttl=ttl)
    assert api.bans() == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [("ip", v) for v in ("nonsense", "127.0.0", "127.0.0.256", "127.0.0.1/33", "127.0.0.1/", "::1/129", "1::2::3",
                         "127.0.0.1/-1", "127.0.0.1/8/8", " ", "127.0.0.1:80", "\0")]
    + [("user", "u" * 257), ("host", "example.com")],
)  # fmt: skip
def test_a_wrong_value_bans_nobody(shared, kind, value):
    api = API(shared[1])
    answer = api.ask("PUT", ban_path(kind, value))
    assert answer.status == 404 if kind == "host" else answer.status == 400, answer.status
    check_problem(answer)
    assert api.bans() == []


@pytest.mark.parametrize(
    "body",
    ["ttl=10m", "[]", "nonsense", '{"ttl":600}', '{"duration":"10m"}', '{"ttl":"721h"}', '{"ttl":"1m","ttl":"2m"}'],
)
def test_terms_that_are_not_understood_ban_nobody(shared, body):
    api = API(shared[1])
    api.want(400, "PUT", ban_path("ip", "127.0.0.77"), body)
    api.want(400, "PUT", ban_path("ip", "127.0.0.77"), '{"ttl":"10m"}', ttl="10m")
    api.want(400, "PUT", ban_path("ip", "127.0.0.77"), tll="10m")
    api.want(413, "PUT", ban_path("ip", "127.0.0.77"), " " * 5000)
    assert api.bans() == []


def test_the_terms_of_a_ban_may_be_its_body(app, edge, api):
    ban = api.want(201, "PUT", ban_path("ip", "127.0.0.2"), '{"ttl":"5m","reason":"scraper é"}'.encode()).json
    assert ban["reason"] == "scraper é" and 240 < until(ban) < 360
    assert 3540 < until(api.want(201, "PUT", ban_path("ip", "127.0.0.3"), "{}").json) < 3660
    assert 60 < until(api.want(201, "PUT", ban_path("user", "u"), '{"reason":"x"}', ttl="2m").json) < 180


def test_behind_a_proxy_the_client_is_banned_and_not_the_proxy(app, sidesocket):
    edge = sidesocket(app, TRUSTED_PROXIES="127.0.0.1")
    bad, good = {"X-Forwarded-For": "2001:db8::7"}, {"X-Forwarded-For": "2001:db8::8"}
    gone, kept = enter(edge, headers=bad), enter(edge, headers=good)
    # However it is written.
    API(edge).ban("ip", "2001:DB8:0:0::0007")
    gone.expect_close(4403)
    refused(app, edge, "127.0.0.1", headers=bad)
    alive(kept, enter(edge, headers=good))
    API(edge).ban("ip", "127.0.0.1")
    alive(kept)
    API(edge).want(204, "DELETE", ban_path("ip", "2001:db8::7"))
    enter(edge, headers=bad)


def test_a_socket_that_is_opening_when_the_ban_comes_is_not_left_open(app, edge, api):
    held = gate()
    app.on(Reply(204, gate=held), event="open", times=1)
    got = []
    thread = threading.Thread(target=lambda: got.append(knock(edge, "127.0.0.2")))
    thread.start()
    app.wait_events(1, "open")
    api.ban("ip", "127.0.0.2")
    held.set()
    thread.join(10)
    if got[0].status == 101:
        got[0].expect_close(4403)
    else:
        assert got[0].status == 403
    edge.wait_metric("connections", 0)


def fill_bans(edge, parts):
    """Makes 2,500 bans for each part, all at once."""
    failed = []

    def fill(part):
        with Client(edge.control_port) as client:
            for start in range(0, 2500, 100):
                paths = [f"/v1/bans/ip/10.{part}.{(start + n) // 250}.{(start + n) % 250}" for n in range(100)]
                head = "PUT {} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
                client.send("".join(head.format(path) for path in paths))
                failed.extend(s for s in (client.response().status for _ in paths) if s != 201)

    threads = [threading.Thread(target=fill, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert failed == [] and not any(thread.is_alive() for thread in threads)


def test_ten_thousand_bans_are_the_most(app, sidesocket, tmp_path):
    edge = sidesocket(app, AUDIT_LOG=tmp_path / "audit", AUTO_BAN="1/1m,ttl=10m")
    api = API(edge)
    fill_bans(edge, range(2))
    # Half of the places are the operator's.
    for _ in range(3):
        offend(edge, "127.0.0.9", 1007)
    edge.wait_metric("limited_total", 2, limit="ban_table", action="refused")
    assert edge.metric("limited_total", limit="auto_ban") == 0
    (line,) = [entry for entry in edge.logs if "no room" in entry["message"]]
    assert line["level"] == "warning" and line["address"] == "127.0.0.9"
    fill_bans(edge, range(2, 4))
    assert len(api.bans()) == 10_000
    api.want(507, "PUT", ban_path("ip", "127.0.0.2"))
    api.want(507, "PUT", ban_path("user", "u"))
    api.ban("ip", "10.0.0.0", status=200)
    # So many bans slow nobody down.
    started = time.monotonic()
    for _ in range(50):
        enter(edge, "127.0.0.2").close()
    assert time.monotonic() - started < 5
    api.want(204, "DELETE", ban_path("ip", "10.0.0.0"))
    api.ban("ip", "127.0.0.2")
    assert knock(edge, "127.0.0.2").status == 403


# Automatic bans


BYTES = {
    1002: frame(TEXT, b"x", rsv=2), 1007: frame(TEXT, b"\xff"), 1009: frame(TEXT, "x" * 2000),
    4429: frame(TEXT, "x") * 2,
}  # fmt: skip


def offend(edge, source, what, **more):
    """A socket that is closed with this code, or a handshake that is answered so."""
    if what not in BYTES:
        assert knock(edge, source, **more).status == what
        return
    socket = enter(edge, source, **more)
    socket.send(BYTES[what])
    socket.expect_close(what)


RATE = {"MESSAGE_RATE": "1/1h,burst=1", "RATE_LIMIT_ACTION": "close"}
JWT = {"AUTH": "required", "JWT_ALGORITHMS": "HS256", "JWT_KEY": "k" * 32}


@pytest.mark.parametrize(
    ("what", "settings"),
    [(1002, {}), (1007, {}), (1009, {"MAX_MESSAGE_BYTES": "1KiB"}), (4429, RATE),
     (429, {"CONNECT_RATE_PER_IP": "1/1h,burst=1"}), (401, JWT)],
)  # fmt: skip
def test_who_offends_more_often_than_allowed_is_banned_and_no_other(app, sidesocket, what, settings):
    edge = sidesocket(app, AUTO_BAN="3/1m,ttl=10m", **settings)
    api = API(edge)
    open_one = knock(edge, "127.0.0.2")
    # Without a token that was the first offence.
    for _ in range(2 if what == 401 else 3):
        offend(edge, "127.0.0.2", what)
    assert api.bans() == []
    offend(edge, "127.0.0.2", what)
    eventually(lambda: api.bans() == ["127.0.0.2"], "the ban")
    (ban,) = api.want(200, "GET", "/v1/bans").json["bans"]
    assert ban["kind"] == "ip" and 540 < until(ban) < 660
    refused(app, edge, "127.0.0.2")
    if what != 401:
        open_one.expect_close(4403)
    assert knock(edge, "127.0.0.3").status == (401 if what == 401 else 101)
    api.want(204, "DELETE", ban_path("ip", "127.0.0.2"))
    # Whoever is pardoned begins anew.
    offend(edge, "127.0.0.2", what)
    assert api.bans() == []


def test_what_is_no_offence_bans_nobody(app, sidesocket):
    edge = sidesocket(app, AUTO_BAN="1/1m,ttl=10m")
    for _ in range(4):
        enter(edge, "127.0.0.2").close()
        enter(edge, "127.0.0.2").close(4429)
        enter(edge, "127.0.0.2").reset()
        app.on(Reply(403), event="open", times=1)
        assert knock(edge, "127.0.0.2").status == 403
        app.on(Reply(204, headers={"Sidesocket-Close": "4000 bye"}), event="message", times=1)
        socket = enter(edge, "127.0.0.2")
        socket.text("x")
        socket.expect_close(4000)
    app.wait_events(16, "close")
    assert API(edge).bans() == []


def test_ipv6_clients_are_banned_with_their_network(app, sidesocket):
    edge = sidesocket(app, AUTO_BAN="1/1m,ttl=10m", TRUSTED_PROXIES="127.0.0.1")
    for last in ("1", "2"):
        offend(edge, "127.0.0.1", 1007, headers={"X-Forwarded-For": f"2001:db8::{last}"})
    assert eventually(lambda: API(edge).bans(), "the ban") == ["2001:db8::/64"]
    refused(app, edge, "127.0.0.1", headers={"X-Forwarded-For": "2001:db8::99"})
    enter(edge, headers={"X-Forwarded-For": "2001:db8:0:1::1"})


@pytest.mark.parametrize("value", ["3", "on", "0/10s,ttl=1m", "-1/10s,ttl=1m", "3/10s,ttl=x", "3/x,ttl=1m"])
def test_a_wrong_threshold_is_an_error_at_the_start(value):
    done = run("check", APP_URL="http://127.0.0.1:1", AUTO_BAN=value)
    assert done.returncode == 78 and "SIDESOCKET_AUTO_BAN" in done.stderr
