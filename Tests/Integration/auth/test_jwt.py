"""JWT: who may open a socket, as whom, and for how long; REVALIDATE_INTERVAL."""

import http.client
import json
import time
from urllib.parse import unquote

import pytest
from support.app import Reply, gate
from support.guard import check_refused, counted, enter, fresh, guard_pair, knock
from support.net import PATIENCE, eventually
from support.process import run
from support.tokens import (
    ALGORITHMS,
    CURVES,
    PREFIX,
    SECRET,
    b64,
    bearer,
    der_ecdsa,
    leaks,
    make_key,
    mint,
    pem,
    private_pem,
    unsigned,
)  # fmt: skip
from support.ws import BINARY, CONTINUATION, TEXT, handshake_headers

REFUSED = ("handshakes_total", {"result": "auth"}, 1)
HMAC = {"AUTH": "required", "JWT_KEY": SECRET, "JWT_ALGORITHMS": "HS256"}
QUICK = {**HMAC, "JWT_LEEWAY": "1s", "JWT_SOURCES": "authorization,message"}
USER = "ce-userid"

plain = guard_pair(**HMAC, LOG_LEVEL="debug", WEBHOOK_RETRY_FOR="off")
picky = guard_pair(
    **HMAC, JWT_ISSUER="https://issuer.test,other-issuer", JWT_AUDIENCE="api,other-api", JWT_USER_CLAIM="email",
    WEBHOOK_RETRY_FOR="off",
)  # fmt: skip
asymmetric = guard_pair(
    AUTH="required", JWT_KEY=pem(make_key("RS256")), JWT_ALGORITHMS="RS256", WEBHOOK_RETRY_FOR="off"
)
every = guard_pair(
    **HMAC, JWT_SOURCES="cookie:session,query:access_token,subprotocol,authorization", LOG_LEVEL="debug",
    WEBHOOK_RETRY_FOR="off",
)  # fmt: skip
optional = guard_pair(
    **{**HMAC, "AUTH": "optional"}, JWT_FORWARD_CLAIMS="org_id,roles,note,absent", WEBHOOK_RETRY_FOR="off"
)
first = guard_pair(
    **HMAC, JWT_SOURCES="subprotocol,authorization,message", LOG_LEVEL="debug", WEBHOOK_RETRY_FOR="off"
)


def refuse(pair, token=None, **handshake):
    """Wants 401, one count and nothing at the app."""
    app, process = fresh(pair)
    if token is not None:
        handshake["headers"] = bearer(token)
    with counted(process, REFUSED):
        answer = check_refused(knock(process, **handshake), 401)
    assert answer.header("www-authenticate").startswith("Bearer")
    assert app.heads == [] and not leaks(answer.text)


def allow(pair, token=None, user="alice", **handshake):
    """Wants 101 and the user in the open event, which it returns."""
    app, process = fresh(pair)
    if token is not None:
        handshake["headers"] = bearer(token)
    enter(process, **handshake)
    opening = app.wait_events(1, "open")[0]
    assert opening.header(USER) == user
    return opening


def offer(*entries):
    return {"protocol": ", ".join(entries)}


def now():
    return int(time.time())


def api(edge, connection, token):
    """Renews the token of a connection through the API; returns the status."""
    client = http.client.HTTPConnection("127.0.0.1", edge.control_port, timeout=PATIENCE)
    try:
        client.request("POST", f"/v1/connections/{connection}/token", body=token)
        answer = client.getresponse()
        assert not leaks(answer.read().decode())
        return answer.status
    finally:
        client.close()


def outlive(socket, moment):
    """Watches that the socket is open until half a second after `moment`, which only time can tell."""
    eventually(lambda: socket.barrier() or time.time() > moment + 0.5, "the time is over", interval=0.05)


# Which tokens are good


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_each_algorithm_accepts_its_key_and_nothing_else(app, sidesocket, alg):
    key = make_key(alg)
    edge = sidesocket(app, AUTH="required", JWT_KEY=pem(key), JWT_ALGORITHMS=alg)
    pair = app, edge
    token = mint(key, alg)
    allow(pair, token)
    head, body, signature = token.split(".")
    refuse(pair, mint(make_key(alg, 1), alg))
    refuse(pair, f"{head}.{b64({'sub': 'admin', 'exp': now() + 300})}.{signature}")
    refuse(pair, f"{head}.{body}.{b64(bytes(len(signature) * 3 // 4))}")
    refuse(pair, f"{head}.{body}.{signature[:-6]}")
    refuse(pair, f"{head}.{body}.")
    if alg in CURVES:
        refuse(pair, mint(key, alg, signer=der_ecdsa))
    for other in {"H": ALGORITHMS[:3], "R": ALGORITHMS[3:9], "P": ALGORITHMS[3:9]}.get(alg[0], []):
        if other != alg:
            refuse(pair, mint(key, other))
            refuse(pair, mint(key, alg, header={"alg": other}))


@pytest.mark.parametrize("alg", ["none", "nOnE", "None", "NONE", "", "hs256", "HS256 ", "HS999", None, 1, ["HS256"]])
def test_an_algorithm_that_is_none_or_unknown_is_refused(plain, asymmetric, alg):
    for pair in (plain, asymmetric):
        refuse(pair, unsigned(alg))
    refuse(plain, mint(header={"alg": alg}))


def test_an_algorithm_that_is_not_in_the_list_is_refused(plain):
    for alg in ("HS384", "HS512"):
        refuse(plain, mint(alg=alg))
    for alg in ("RS256", "ES256", "EdDSA"):
        refuse(plain, mint(make_key(alg), alg))


def test_the_public_key_is_no_secret_of_hmac(asymmetric):
    text = pem(make_key("RS256"))
    for secret in (text, text.strip(), text.replace("\n", ""), "".join(text.splitlines()[1:-1])):
        refuse(asymmetric, mint(secret))
        refuse(asymmetric, mint(secret, header={"alg": "RS256"}))


@pytest.mark.parametrize(
    "claims",
    [
        lambda: {"exp": None},
        lambda: {"exp": now() - 31},
        lambda: {"exp": 0},
        lambda: {"exp": -1},
        lambda: {"exp": str(now() + 300)},
        lambda: {"exp": [now() + 300]},
        lambda: {"exp": True},
        lambda: {"nbf": now() + 60},
        lambda: {"nbf": "tomorrow"},
        lambda: {"sub": None},
        lambda: {"sub": "x" * 257},
        lambda: {"sub": "é" * 129},
        lambda: {"sub": ["alice"]},
    ],
    ids=["no exp", "expired", "exp 0", "exp negative", "exp text", "exp list", "exp bool", "nbf", "nbf text", "no user",
         "user of 257", "user of 258 bytes", "user list"],
)  # fmt: skip
def test_claims_that_are_missing_or_wrong_are_refused(plain, claims):
    refuse(plain, mint(**claims()))


def test_times_have_a_leeway_and_a_user_may_have_256_bytes(plain):
    allow(plain, mint(exp=now() - 10))
    allow(plain, mint(nbf=now() + 10))
    allow(plain, mint(exp=now() + 300.5))
    allow(plain, mint(sub="x" * 256), "x" * 256)


@pytest.mark.parametrize("exp", [2**31, 2**53, 2**63, 2**64, 10**300, -(10**300)])
def test_times_at_the_end_of_all_numbers_do_no_harm(plain, exp):
    app, process = fresh(plain)
    assert knock(process, headers=bearer(mint(exp=exp))).status in (101, 401)
    assert knock(process, headers=bearer(mint(nbf=exp))).status in (101, 401)
    allow(plain, mint())


@pytest.mark.parametrize("crit", [["exp"], ["b64"], ["unknown"], [], "exp", {}], ids=str)
def test_critical_headers_are_refused(plain, crit):
    refuse(plain, mint(header={"crit": crit, "b64": True}))


def test_keys_that_a_token_brings_along_are_neither_trusted_nor_fetched(asymmetric, make_app):
    trap = make_app()
    theirs = make_key("RS256", 1)
    # The members of a JWK by hand: it must not matter that it is a right one.
    numbers = theirs.public_key().public_numbers()
    own = {"kty": "RSA", "n": b64(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
    for header in ({"jku": f"{trap.url}/keys"}, {"x5u": f"{trap.url}/certificate"}, {"jwk": own}, {"x5c": ["AAAA"]}):
        refuse(asymmetric, mint(theirs, "RS256", header=header))
        allow(asymmetric, mint(make_key("RS256"), "RS256", header=header))
    assert trap.connections == []


def test_issuer_audience_and_user_claim(picky):
    good = {"iss": "https://issuer.test", "aud": "api", "email": "a@example.com", "sub": None}
    for more in ({}, {"iss": "other-issuer"}, {"aud": "other-api"}, {"aud": ["x", "api"]}, {"sub": "somebody"}):
        allow(picky, mint(**{**good, **more}), "a@example.com")
    for more in (
        {"iss": None}, {"iss": "https://issuer.test/"}, {"iss": "HTTPS://ISSUER.TEST"}, {"iss": ""}, {"iss": 1},
        {"iss": ["https://issuer.test"]}, {"aud": None}, {"aud": "API"}, {"aud": "api "}, {"aud": []}, {"aud": ["x"]},
        {"aud": {"api": "api"}}, {"aud": "api,other-api"}, {"email": None, "sub": "alice"}, {"email": "x" * 257},
    ):  # fmt: skip
        refuse(picky, mint(**{**good, **more}))


def test_the_key_id_of_the_one_key(plain, app, sidesocket):
    refuse(plain, mint(header={"kid": "k1"}))
    pair = app, sidesocket(app, **HMAC, JWT_KEY_ID="k1")
    allow(pair, mint(header={"kid": "k1"}))
    for kid in ("k2", "K1", "", None, 1, ["k1"], "../k1", "k1' OR '1'='1"):
        refuse(pair, mint(header={"kid": kid}))


@pytest.mark.parametrize(
    "token",
    [
        "a", "a.b", "a.b.c", "..", "...", "a.b.c.d", "a.b.c.d.e",
        lambda: mint().split(".", 1)[1], lambda: mint() + ".", lambda: "." + mint(), lambda: mint() + "=",
        lambda: mint().replace(".", ".\u00e9", 1), lambda: mint(payload="[]"), lambda: mint(payload="null"),
        lambda: mint(payload="{"), lambda: mint(payload=""), lambda: mint(payload=b"\xff\xfe"),
        lambda: mint(payload="[" * 10_000), lambda: mint(payload='{"a":' * 2_000),
        lambda: mint(payload='{"sub":"alice"}'), lambda: f"{b64('[]')}.{mint().split('.', 1)[1]}",
        lambda: f"{b64('[' * 9_000)}.{b64('{}')}.AAAA", lambda: mint(pad="x" * (12 << 10)),
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused(plain, token):
    refuse(plain, token() if callable(token) else token)


def test_case_09_a_token_of_1_mb_meets_the_limit_of_the_headers(plain):
    app, process = fresh(plain)
    name = {"Authorization": "Bearer", "Sec-WebSocket-Protocol": "chat,"}
    for header, before in name.items():
        with process.client() as client:
            data = f"GET /ws HTTP/1.1\r\nHost: x\r\n{header}: {before} ".encode() + mint(pad="x" * 800_000).encode()
            for i in range(0, len(data), 4096):
                if not client.try_send(data[i : i + 4096]):
                    break
            assert client.response().status == 431
    assert app.heads == []
    allow(plain, mint())


# Where a token may be


@pytest.mark.parametrize(
    "place",
    [
        lambda t: {"headers": bearer(t)},
        lambda t: {"headers": {"authorization": f"bEARER {t}"}},
        lambda t: {"headers": {"Cookie": f"a=1; session={t}; b=2"}},
        lambda t: {"target": f"/ws?a=1&access_token={t}&b=2"},
        lambda t: offer("chat", PREFIX + t),
        lambda t: offer(PREFIX + t, "chat"),
    ],
    ids=["authorization", "any case", "cookie", "query", "subprotocol", "subprotocol first"],
)
def test_a_token_is_found_in_each_source(every, place):
    allow(every, **place(mint()))
    refuse(every, **place(mint(exp=1)))
    refuse(every, **place("nonsense"))


@pytest.mark.parametrize(
    "place",
    [
        lambda t: {"headers": {"Cookie": f"session={t}"}},
        lambda t: {"target": f"/ws?access_token={t}"},
        lambda t: {"headers": {"Authorization": f"Basic {t}"}},
        lambda t: {"headers": {"Authorization": t}},
        lambda t: {"headers": {"X-Authorization": f"Bearer {t}"}},
        lambda t: offer("chat", t),
    ],
)
def test_a_token_elsewhere_is_none_and_none_is_refused(plain, place):
    refuse(plain, **place(mint()))
    refuse(plain)


def test_the_first_source_that_has_a_token_decides_even_when_it_is_bad(every):
    def places(cookie, query, protocol, header):
        return {
            "headers": {**({"Cookie": f"session={cookie}"} if cookie else {}), **bearer(header)},
            "target": f"/ws?access_token={query}" if query else "/ws",
            "protocol": PREFIX + protocol,
        }

    one, two, three, four = (mint(sub=name) for name in ("one", "two", "three", "four"))
    allow(every, user="one", **places(one, two, three, four))
    allow(every, user="two", **places(None, two, three, four))
    allow(every, user="three", **places(None, None, three, four))
    refuse(every, **places(mint(exp=1), two, three, four))
    refuse(every, **places(None, None, unsigned("none"), four))


@pytest.mark.parametrize(
    "place",
    [
        lambda t: {"headers": [("Authorization", f"Bearer {t}")] * 2},
        lambda t: {"headers": {"Cookie": f"session={t}; session={t}"}},
        lambda t: {"headers": [("Cookie", f"session={t}")] * 2},
        lambda t: {"target": f"/ws?access_token={t}&access_token={t}"},
        lambda t: offer(PREFIX + t, "chat", PREFIX + mint(sub="other")),
    ],
    ids=["authorization", "cookie", "cookie fields", "query", "subprotocol"],
)
def test_two_tokens_in_one_source_are_refused(every, place):
    refuse(every, **place(mint()))


def test_the_token_among_the_subprotocols_is_for_sidesocket_alone(plain):
    app, process = fresh(plain)
    token = mint()
    app.on(Reply(204, headers={"Sec-WebSocket-Protocol": "chat"}), event="open", times=1)
    socket = enter(process, **offer("v2", PREFIX + token, "chat"))
    assert socket.answer.header("sec-websocket-protocol") == "chat"
    assert app.wait_events(1, "open")[0].header("sec-websocket-protocol") == "v2, chat"
    socket.text("x")
    app.wait_events(1, "message")
    socket.close()
    app.wait_events(1, "close")
    alone = enter(process, **offer(PREFIX + token))
    assert alone.answer.all("sec-websocket-protocol") == []
    assert app.wait_events(2, "open")[1].all("sec-websocket-protocol") == []
    assert not any(token.encode() in request.head for request in app.heads)


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


# Settings and secrets


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (["AUTH"], {"AUTH": "maybe"}),
        (["JWT_ALGORITHMS"], {"JWT_ALGORITHMS": None}),
        (["JWT_ALGORITHMS"], {"JWT_ALGORITHMS": ""}),
        (["JWT_ALGORITHMS"], {"JWT_ALGORITHMS": "none"}),
        (["JWT_ALGORITHMS"], {"JWT_ALGORITHMS": "HS256,nOnE"}),
        (["JWT_ALGORITHMS"], {"JWT_ALGORITHMS": "HS257"}),
        (["JWT_KEY", "JWT_JWKS_URL"], {"JWT_KEY": None}),
        (["JWT_KEY"], {"JWT_KEY": "hunter2-" * 3 + "1234567"}),
        (["JWT_KEY"], {"JWT_KEY": None, "JWT_KEY_FILE": "/nonexistent/key"}),
        (["JWT_KEY", "JWT_ALGORITHMS"], {"JWT_ALGORITHMS": "RS256"}),
        (["JWT_KEY", "JWT_ALGORITHMS"], {"JWT_KEY": pem(make_key("RS256"))}),
        (["JWT_KEY"], {"JWT_KEY": pem(make_key("RS256")).replace("MII", "???"), "JWT_ALGORITHMS": "RS256"}),
        # What looks like PEM but is none must not become an HMAC secret that half the world knows.
        (["JWT_KEY", "JWT_ALGORITHMS"], {"JWT_KEY": pem(make_key("RS256")).replace("MII", "???")}),
        (["JWT_KEY", "JWT_ALGORITHMS"], {"JWT_KEY": private_pem(make_key("ES256"))}),
        (["JWT_JWKS_URL"], {"JWT_JWKS_URL": "ftp://127.0.0.1/keys"}),
        (["JWT_JWKS_URL"], {"JWT_JWKS_URL": "keys.json"}),
        (["JWT_SOURCES"], {"JWT_SOURCES": "header"}),
        (["JWT_SOURCES"], {"JWT_SOURCES": "cookie"}),
        (["JWT_SOURCES"], {"JWT_SOURCES": "query:"}),
        (["JWT_SOURCES"], {"JWT_SOURCES": ""}),
        (["JWT_LEEWAY"], {"JWT_LEEWAY": "soon"}),
        (["AUTH_TIMEOUT"], {"AUTH_TIMEOUT": "-1s"}),
        (["REVALIDATE_INTERVAL"], {"REVALIDATE_INTERVAL": "often"}),
    ],
    ids=lambda value: "" if isinstance(value, list) else " ".join(f"{k}={str(v)[:12]}" for k, v in value.items()),
)
def test_a_wrong_setting_is_an_error_at_the_start_that_names_it_and_shows_no_secret(names, settings):
    chosen = {k: v for k, v in {**HMAC, **settings}.items() if v is not None}
    done = run("check", APP_URL="http://127.0.0.1:1", **chosen)
    said = done.stdout + done.stderr
    assert done.returncode == 78, said
    assert any(f"SIDESOCKET_{name}" in said for name in names), said
    key = chosen.get("JWT_KEY", SECRET)
    assert not any(line in said for line in [key, *key.splitlines()[1:-1]])


def test_check_never_prints_the_key_and_a_file_may_hold_it(app, sidesocket, tmp_path):
    file = tmp_path / "key"
    file.write_text(SECRET + "\n")
    in_file = {**HMAC, "JWT_KEY": None, "JWT_KEY_FILE": str(file)}
    for settings in (HMAC, {k: v for k, v in in_file.items() if v is not None}):
        done = run("check", APP_URL="http://127.0.0.1:1", **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
    pair = app, sidesocket(app, **in_file)
    allow(pair, mint())
    refuse(pair, mint(SECRET + "\n"))


def test_no_token_and_no_secret_is_in_the_log_whatever_was_sent(plain, every, first):
    """The sidecars of this file log at debug level and have seen good and bad tokens in every place."""
    for pair in (plain, every, first):
        _, process = fresh(pair)
        token = mint(exp=1)
        knock(process, headers={**bearer(token), "Cookie": f"session={token}"}, target=f"/ws?access_token={token}")
        socket = enter(process, headers=bearer(mint()))
        socket.close()
        process.wait_metric("connections", 0)
        assert leaks(process.output, SECRET) == []
