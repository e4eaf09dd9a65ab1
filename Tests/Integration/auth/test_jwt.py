"""JWT: which tokens are good, where they may be, and settings that show no secret."""

import pytest
from support.app import Reply
from support.guard import enter, fresh, knock
from support.jwt import HMAC, allow, now, offer, refuse
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
