"""JWT and the session: what the app learns, the first message as the source, renewals, REVALIDATE_INTERVAL."""

import json
import time
from urllib.parse import unquote

import pytest
from support.app import Reply, gate
from support.guard import check_refused, enter, fresh, knock
from support.jwt import HMAC, QUICK, USER, allow, api, now, offer, outlive, refuse
from support.net import eventually
from support.tokens import PREFIX, bearer, leaks, mint, unsigned
from support.ws import BINARY, CONTINUATION, TEXT, handshake_headers

# Required, optional, off


def test_optional_lets_the_absence_of_a_token_pass_and_nothing_else(optional):
    allow(optional, user=None)
    allow(optional, mint())
    for token in (mint(exp=1), unsigned("none"), "nonsense", mint("x" * 32)):
        refuse(optional, token)


def test_without_auth_a_token_means_nothing(app, edge):
    socket = edge.websocket(headers=bearer("nonsense"))
    assert app.wait_events(1, "open")[0].header(USER) is None
    socket.close()


def test_limits_of_a_user_count_from_the_handshake(app, sidesocket):
    edge = sidesocket(app, **HMAC, MAX_CONNECTIONS_PER_USER="1")
    held = gate()
    app.on(Reply(204, gate=held), event="open", times=1)
    waiting = edge.client()
    waiting.request("GET", "/ws", handshake_headers() + list(bearer(mint()).items()))
    app.wait_head("/ws")
    # The app has not yet said yes to the first.
    check_refused(knock(edge, headers=bearer(mint())), 429)
    enter(edge, headers=bearer(mint(sub="bob")))
    held.set()
    assert waiting.response().status == 101


# What the app learns


def test_user_and_chosen_claims_come_with_every_event_and_a_client_cannot_forge_them(optional):
    app, process = fresh(optional)
    token = mint(sub="a b%", org_id="42\r\nx-evil: 1", roles=["x", {"y": 1}], note="gr\u00fc\u00df", secret="s")
    forged = {"ce-userid": "evil", "CE-ClaimOrgId": "evil", "ce-claimabsent": "evil", "ce-claimsecret": "evil"}
    socket = enter(process, headers={**forged, **bearer(token)})
    socket.text("x")
    app.wait_events(1, "message")
    socket.close()
    app.wait_events(1, "close")
    for event in app.events():
        assert event.header(USER) == "a%20b%25"
        assert unquote(event.header("ce-claimorgid")) == "42\r\nx-evil: 1"
        assert json.loads(unquote(event.header("ce-claimroles"))) == ["x", {"y": 1}]
        assert event.header("ce-claimnote") == "gr%C3%BC%C3%9F"
        assert event.all("ce-claimabsent") == event.all("ce-claimsecret") == event.all("x-evil") == []
    enter(process, headers=forged)
    anonymous = app.wait_events(2, "open")[1]
    assert [name for name, _ in anonymous.headers if name.lower().startswith(("ce-claim", USER))] == []


# The first message as the source


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_with_the_message_source_the_app_hears_nothing_before_the_token(first, prefix):
    app, process = fresh(first)
    socket = enter(process, **offer("chat"))
    assert socket.answer.all("sec-websocket-protocol") == []
    socket.barrier()
    assert app.heads == []
    held = gate()
    app.on(Reply(200, "welcome", {"Content-Type": "text/plain"}, gate=held), event="open")
    app.echo()
    token = prefix + mint()
    socket.frame(TEXT, token[:20], fin=False)
    socket.frame(CONTINUATION, token[20:])
    socket.text("one")
    socket.text("two")
    opening = eventually(lambda: app.events("open"), "the open event")[0]
    assert opening.header(USER) == "alice" and opening.sequence == 1
    # What comes right behind the token waits for the app's yes.
    assert app.events("message") == []
    held.set()
    assert [socket.message() for _ in range(3)] == ["welcome", "one", "two"]
    assert [(e.sequence, e.text, e.header(USER)) for e in app.events("message")] == [
        (2, "one", "alice"), (3, "two", "alice"),
    ]  # fmt: skip
    assert not any(token.encode() in r.head + r.body for r in app.requests)


@pytest.mark.parametrize(
    "message",
    [
        lambda: (TEXT, "hello"), lambda: (TEXT, ""), lambda: (BINARY, mint()), lambda: (TEXT, mint(exp=1)),
        lambda: (TEXT, unsigned("none")), lambda: (TEXT, PREFIX), lambda: (TEXT, f"Bearer {mint()}"),
        lambda: (TEXT, mint(pad="x" * (12 << 10))),
    ],
    ids=["text", "empty", "binary", "expired", "none", "prefix", "scheme", "16 KiB"],
)  # fmt: skip
def test_a_first_message_that_is_no_good_token_closes_with_4401(first, message):
    app, process = fresh(first)
    socket = enter(process)
    socket.frame(*message())
    socket.expect_close(4401)
    process.wait_metric("connections", 0)
    assert app.heads == []


def test_without_a_first_message_in_time_it_closes_with_4401(app, sidesocket):
    edge = sidesocket(app, **HMAC, JWT_SOURCES="message", AUTH_TIMEOUT="1s")
    started = time.monotonic()
    socket = edge.websocket()
    socket.ping()
    socket.frame(TEXT, "half", fin=False)
    socket.expect_close(4401)
    assert 0.8 < time.monotonic() - started < 4
    assert app.heads == []


def test_a_bad_token_in_an_earlier_source_gets_no_second_chance(first):
    refuse(first, mint(exp=1))
    allow(first, mint())


@pytest.mark.parametrize(("status", "codes"), [(401, [4403]), (403, [4403]), (500, [1011, 1013]), (503, [1011, 1013])])
def test_an_app_that_refuses_after_the_token_closes_the_socket(first, status, codes):
    app, process = fresh(first)
    app.on(Reply(status, "no"), event="open")
    socket = enter(process)
    socket.text(mint())
    socket.expect_close(*codes)


# The end of a token and renewals


def short_lived(app, edge, **claims):
    """A socket whose token and leeway end in two to three seconds: (socket, its id, its end)."""
    exp = now() + 2
    socket = edge.websocket(headers=bearer(mint(exp=exp, **claims)))
    opening = app.wait_events(1, "open")[-1]
    return socket, opening.header("ce-connectionid"), exp + 1


def test_at_the_end_of_its_token_and_the_leeway_a_socket_closes_with_4401(app, sidesocket):
    edge = sidesocket(app, **QUICK)
    socket, _, end = short_lived(app, edge)
    socket.text("x")
    app.wait_events(1, "message")
    socket.expect_close(4401)
    assert end - 0.1 <= time.time() < end + 2
    assert json.loads(app.wait_events(1, "close")[0].body)["code"] == 4401


@pytest.mark.parametrize("event", ["open", "message"])
def test_the_app_renews_with_a_reply_header(app, sidesocket, event):
    edge = sidesocket(app, **QUICK)
    app.on(lambda _: Reply(204, headers={"Sidesocket-Token": mint()}), event=event)
    socket, _, end = short_lived(app, edge)
    assert socket.answer.all("sidesocket-token") == []
    socket.text("x")
    app.wait_events(1, "message")
    outlive(socket, end)


@pytest.mark.parametrize("claims", [{"sub": "mallory"}, {"exp": 1}], ids=["another user", "expired"])
def test_a_bad_token_of_the_app_is_a_warning_and_renews_nothing(app, sidesocket, claims):
    edge = sidesocket(app, **QUICK)
    app.on(lambda _: Reply(204, headers={"Sidesocket-Token": mint(**claims)}), event="message")
    socket, _, end = short_lived(app, edge)
    before = len(edge.raw_lines)
    socket.text("x")
    eventually(lambda: any(b"warning" in line.lower() for line in edge.raw_lines[before:]), "a warning")
    socket.expect_close(4401)
    assert time.time() >= end - 0.1
    assert not leaks(edge.output)


def test_the_api_renews(app, sidesocket):
    edge = sidesocket(app, **QUICK)
    socket, connection, end = short_lived(app, edge)
    for bad in (mint(sub="mallory"), mint(exp=1), unsigned("none"), "nonsense"):
        assert api(edge, connection, bad) == 422
    assert api(edge, f"{connection}0", mint()) == 404
    assert api(edge, connection, mint()) == 204
    outlive(socket, end)
    assert not leaks(edge.output)


def test_the_client_renews_where_the_message_is_a_source(app, sidesocket):
    edge = sidesocket(app, **QUICK)
    app.echo()
    socket, _, end = short_lived(app, edge)
    socket.text(PREFIX + mint())
    socket.text("hello")
    assert socket.message() == "hello"
    outlive(socket, end)
    assert [e.text for e in app.events("message")] == ["hello"]


@pytest.mark.parametrize(
    ("token", "code"),
    [(lambda: mint(sub="mallory"), 4403), (lambda: mint(exp=1), 4401), (lambda: "x", 4401), (lambda: "", 4401)],
    ids=["another user", "expired", "nonsense", "empty"],
)
def test_a_bad_renewal_of_the_client_closes(first, token, code):
    app, process = fresh(first)
    socket = enter(process, headers=bearer(mint()))
    app.wait_events(1, "open")
    socket.text(PREFIX + token())
    socket.expect_close(code)
    app.wait_events(1, "close")
    assert app.events("message") == []


def test_where_the_message_is_no_source_such_a_message_is_the_apps(plain):
    app, process = fresh(plain)
    app.echo()
    socket = enter(process, headers=bearer(mint()))
    socket.text(PREFIX + "x")
    assert socket.message() == PREFIX + "x"


# Revalidation


def test_the_app_is_asked_again_and_may_keep_or_close(app, sidesocket):
    edge = sidesocket(app, REVALIDATE_INTERVAL="1s", **HMAC)
    app.on(Reply(200, "still here", {"Content-Type": "text/plain"}), event="revalidate", times=1)
    started = time.monotonic()
    socket = edge.websocket(headers=bearer(mint()))
    assert socket.message() == "still here"
    assert 0.8 < time.monotonic() - started < 3
    app.wait_events(2, "revalidate")
    socket.barrier()
    app.on(Reply(403), event="revalidate")
    socket.expect_close(4403)
    asked = app.events("revalidate")
    assert all(e.body == b"" and e.method == "POST" and e.header(USER) == "alice" for e in asked)
    assert [e.sequence for e in asked] == list(range(2, 2 + len(asked)))
    assert json.loads(app.wait_events(1, "close")[0].body)["code"] == 4403


@pytest.mark.parametrize("status", [401, 404, 302, 500])
def test_any_final_answer_but_2xx_to_a_revalidation_closes_with_4403(app, sidesocket, status):
    edge = sidesocket(app, REVALIDATE_INTERVAL="1s")
    app.on(Reply(status), event="revalidate")
    edge.websocket().expect_close(4403)
