"""What a first attack on tokens, bans and the API found."""

import time

import pytest
from support.api import API
from support.app import Reply
from support.net import eventually
from support.tokens import PREFIX, SECRET, b64, bearer, mint
from support.ws import TEXT, frame

HMAC = {"AUTH": "required", "JWT_KEY": SECRET, "JWT_ALGORITHMS": "HS256"}
MESSAGE = {**HMAC, "JWT_SOURCES": "authorization,message"}
USER = "ce-userid"


def connection(app, n=1):
    return app.wait_events(n, "open")[n - 1].header("ce-connectionid")


@pytest.mark.parametrize("nested", ["[" * 480 + "1," * 4000 + "1" + "]" * 480, "[" * 6000, '{"a":' * 2000 + "1"])
def test_a_hostile_header_costs_nobody_time(app, sidesocket, nested):
    edge = sidesocket(app, **HMAC, THREADS=1)
    head = b64(('{"alg":"HS256","a":' + nested + "}").encode())
    started = time.monotonic()
    with edge.client() as client:
        client.request(headers={**handshake(), **bearer(f"{head}.e30.AAAA")})
        assert client.response().status == 401
    assert time.monotonic() - started < 1


def handshake():
    return {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip


def test_a_token_that_expires_while_the_app_thinks_closes_the_socket(app, sidesocket):
    edge = sidesocket(app, **HMAC, JWT_LEEWAY="0s")
    until = int(time.time()) + 2

    def slow(request):
        eventually(lambda: time.time() > until, "the token has expired")
        return Reply(204)

    app.on(slow, event="open")
    edge.websocket(headers=bearer(mint(exp=until))).expect_close(4401)


def test_half_a_message_of_somebody_unknown_counts_against_the_budget(app, sidesocket):
    edge = sidesocket(app, **MESSAGE, MAX_TOTAL_PENDING_BYTES="1MiB", MAX_MESSAGE_BYTES="256KiB")
    sockets = [edge.websocket() for _ in range(12)]
    half = frame(TEXT, "x" * 200_000)[:-1]
    for socket in sockets:
        socket.send(half)
    # Some of them are closed, so that the others fit.
    limit = {"limit": "max_total_pending_bytes", "action": "closed"}
    eventually(lambda: edge.metric("limited_total", **limit) >= 1, "one of them is closed")
    known = edge.websocket(headers=bearer(mint()))
    app.echo()
    known.text("still there")
    assert known.message() == "still there"


def test_a_ban_of_the_user_holds_for_renewals(app, sidesocket):
    edge = sidesocket(app, **{**MESSAGE, "AUTH": "optional"})
    API(edge).ban("user", "mallory")
    socket = edge.websocket()
    one = connection(app)
    API(edge).want(422, "POST", f"/v1/connections/{one}/token", mint(sub="mallory"))
    socket.text(PREFIX + mint(sub="mallory"))
    socket.expect_close(4403)
    assert not any(event.header(USER) for event in app.events("close"))


def test_a_ban_of_the_address_closes_who_has_yet_to_say_who_it_is(app, sidesocket):
    edge = sidesocket(app, **MESSAGE)
    socket = edge.websocket()
    API(edge).ban("ip", "127.0.0.1")
    socket.expect_close(4403)
    assert app.events("open") == []


def test_renewals_count_against_the_rate(app, sidesocket):
    edge = sidesocket(app, **MESSAGE, MESSAGE_RATE="2/1m", RATE_LIMIT_ACTION="close")
    socket = edge.websocket(headers=bearer(mint()))
    for _ in range(3):
        socket.text(PREFIX + mint())
    socket.expect_close(4429)


def test_a_close_that_the_app_or_the_operator_chose_is_no_violation(app, sidesocket):
    edge = sidesocket(app, AUTO_BAN="2/1m,ttl=1h")
    app.on(Reply(204, headers={"Sidesocket-Close": "1009 enough"}), event="message")
    for _ in range(5):
        socket = edge.websocket()
        socket.text("x")
        socket.expect_close(1009)
    assert API(edge).bans() == []


def test_who_leaves_without_a_word_is_counted_as_not_let_in(app, sidesocket):
    edge = sidesocket(app, **MESSAGE)
    edge.websocket().close()
    edge.wait_metric("handshakes_total", 1, result="auth")
    socket = edge.websocket()
    edge.terminate()
    socket.expect_close(1012)
    assert app.events("open") == []


def test_a_violation_before_the_token_counts(app, sidesocket):
    edge = sidesocket(app, **MESSAGE, AUTO_BAN="2/1m,ttl=1h")
    for _ in range(3):
        socket = edge.websocket()
        socket.send(b"\xff\xff\xff\xff")
        socket.expect_close(1002)
    eventually(lambda: API(edge).bans() == ["127.0.0.1"], "the ban")


def test_a_renewal_leaves_the_name_that_the_app_gave(app, sidesocket):
    edge = sidesocket(app, **MESSAGE)
    app.on(Reply(204, headers={"Sidesocket-User": "42"}), event="open")
    socket = edge.websocket(headers=bearer(mint(sub="alice")))
    socket.text(PREFIX + mint(sub="alice"))
    socket.text("x")
    assert app.wait_events(1, "message")[0].header(USER) == "42"


def test_two_spellings_of_a_name_are_two_users(app, sidesocket):
    edge = sidesocket(app, **MESSAGE)
    socket = edge.websocket(headers=bearer(mint(sub="é")))
    socket.text(PREFIX + mint(sub="e\u0301"))
    socket.expect_close(4403)


def test_the_api_shows_no_token_that_came_in_the_query(app, sidesocket):
    edge = sidesocket(app, **{**HMAC, "JWT_SOURCES": "query:t"})
    socket = edge.websocket(f"/ws?x=1&t={mint()}")
    (one,) = API(edge).connections()
    assert one["subject"] == "/ws"
    socket.close()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9090", "127.0.0.1.evil.example", "localhost.evil"])
def test_a_page_that_points_its_own_name_here_does_not_reach_the_api(app, edge, host):
    API(edge).want(403, "GET", "/v1/connections", None, {"Host": host})
    for own in (f"localhost:{edge.control_port}", f"[::1]:{edge.control_port}", "127.0.0.1"):
        API(edge).want(200, "GET", "/v1/connections", None, {"Host": own})


@pytest.mark.parametrize("status", [429, 503])
def test_any_answer_but_2xx_to_a_revalidation_ends_it_when_the_time_for_retries_is_over(app, sidesocket, status):
    edge = sidesocket(app, REVALIDATE_INTERVAL="200ms", WEBHOOK_RETRY_FOR="off")
    app.on(Reply(status), event="revalidate")
    edge.websocket().expect_close(4403)
