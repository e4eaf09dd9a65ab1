"""JWT_JWKS_URL: keys that are fetched, rotate, and stay while their endpoint misbehaves."""

import json
import signal
import time
from contextlib import ExitStack

import pytest
from support.app import App, Gone, Reply, open_gates
from support.guard import Guest, check_refused, knock
from support.net import eventually
from support.process import Sidesocket
from support.tokens import SECRET, bearer, jwk, leaks, make_key, mint, pem
from support.ws import handshake_headers

A, B = make_key("RS256"), make_key("RS256", 1)
EC, ED = make_key("ES256"), make_key("EdDSA")
# Sidesocket fetches at most once in 30 s.
PATIENT = 40


def serve(endpoint, *keys, **how):
    endpoint.on(Reply(200, json.dumps({"keys": list(keys)}), {"Content-Type": "application/json"}, **how), path="/jwks")


def settings(endpoint, **more):
    return {
        "AUTH": "required", "JWT_JWKS_URL": f"{endpoint.url}/jwks", "JWT_ALGORITHMS": "RS256,ES256,EdDSA",
        "LOG_LEVEL": "debug", "WEBHOOK_RETRY_FOR": "off", **more,
    }  # fmt: skip


def status(edge, token):
    """How a handshake with the token is answered; its socket is closed at once."""
    with knock(edge, headers=bearer(token)) as guest:
        return guest.status


def become(edge, wanted, mint_one, timeout=10):
    eventually(lambda: status(edge, mint_one()) == wanted, f"a handshake is answered {wanted}", timeout, 0.05)


def of(key, kid, alg="RS256", **more):
    return mint(key, alg, header={"kid": kid}, **more)


def alive(edge):
    """A sidecar without keys may not say that it is ready, but it must say that it lives."""

    def answers():
        try:
            return edge.control("/healthz")[0] == 200
        except OSError:
            return False

    eventually(answers, lambda: f"alive: {edge.output}", timeout=20)
    return edge


def check_unavailable(edge):
    # More than once: the answer of the endpoint may be on its way.
    for _ in range(10):
        answer = check_refused(knock(edge, headers=bearer(of(A, "a"))), 503)
        assert answer.header("retry-after").isdigit()


@pytest.fixture(scope="module")
def aged():
    """Sidecars that got key `a` at the start of this module, by name, so that the 30 s pass for all at once."""
    found = {}
    with ExitStack() as stack:
        stack.callback(open_gates)
        for name in ("flood", "rotation", "down", "hanging", "recovery"):
            app, endpoint = App(), App()
            if name == "recovery":
                endpoint.on(Reply(500), path="/jwks")
            else:
                serve(endpoint, jwk(A, "a", use="sig", alg="RS256"))
            edge = Sidesocket(**settings(endpoint, APP_URL=app.url), wait=False)
            for one in (app.stop, endpoint.stop, edge.kill):
                stack.callback(one)
            found[name] = alive(edge), app, endpoint
        yield found
        for edge, app, endpoint in found.values():
            edge.check_alive()
            assert app.faults == endpoint.faults == []
            assert leaks(edge.output) == []


def test_each_kind_of_key_serves_tokens_of_its_kid_and_algorithm(app, make_app, sidesocket):
    endpoint = make_app()
    odd = [{"kty": "new", "kid": "new"}, {}, {"kty": "RSA", "kid": "torn", "n": "AQAB"}]
    encryption = jwk(B, "encryption", use="enc")
    serve(endpoint, *odd, jwk(A, "a"), jwk(EC, "ec", alg="ES256"), jwk(ED, "ed"), encryption)
    more = {"JWT_KEY": SECRET, "JWT_KEY_ID": "own", "JWT_ALGORITHMS": "HS256,RS256,ES256,EdDSA"}
    edge = sidesocket(app, **settings(endpoint, **more))
    become(edge, 101, lambda: of(A, "a"))
    for good in (of(EC, "ec", "ES256"), of(ED, "ed", "EdDSA"), of(SECRET, "own", "HS256")):
        assert status(edge, good) == 101
    bad = {
        "another key's kid": of(B, "a"), "no kid": of(A, None), "unknown kid": of(A, "z"), "enc": of(B, "encryption"),
        "another kind's kid": of(A, "ec"), "kid of the secret": of(A, "own"), "torn": of(A, "torn"),
        "not in the list": of(A, "a", "PS256"), "public key as secret": of(pem(A), "a", "HS256"),
        "secret with a public kid": of(SECRET, "a", "HS256"),
        "kid as JSON": of(A, ["a"]), "expired": of(A, "a", exp=1),
    }  # fmt: skip
    assert {name: status(edge, token) for name, token in bad.items()} == dict.fromkeys(bad, 401)
    request = endpoint.requests[0]
    assert request.method == "GET" and request.all("authorization") == request.all("cookie") == []
    # One at the start, one at most for the unknown kids.
    assert len(endpoint.requests) <= 2


@pytest.mark.parametrize(
    "answer",
    [
        Reply(500), Reply(404, '{"keys":[]}'), Reply(204), Reply(200, "no JSON"), Reply(200, "[]"), Reply(200, "{}"),
        Reply(200, '{"keys":{}}'), Reply(200, '{"keys":' + "[" * 50_000), Reply(200, b"\xff\xfe"),
        Reply(200, json.dumps({"keys": [jwk(A, "a")], "pad": "x" * (256 << 10)})), Reply(reset=True), Reply(raw=b""),
        Reply(200, json.dumps({"keys": [jwk(A, "a")]}), {"Content-Length": "100000"}),
    ],
    ids=["500", "404", "204", "text", "list", "no keys", "keys object", "deep", "no UTF-8", "256 KiB", "reset", "hangs",
         "torn"],
)  # fmt: skip
def test_before_the_first_success_handshakes_are_answered_503_at_once(app, make_app, sidesocket, answer):
    endpoint = make_app()
    endpoint.on(answer, path="/jwks")
    edge = alive(sidesocket(app, **settings(endpoint), wait=False))
    endpoint.wait_head("/jwks")
    started = time.monotonic()
    check_unavailable(edge)
    assert time.monotonic() - started < 3
    assert app.events() == []


def test_a_reload_with_the_right_authority_brings_the_keys_at_once(app, make_app, sidesocket, certificate, tmp_path):
    ca, pair = certificate
    endpoint = make_app(tls=pair)
    serve(endpoint, jwk(A, "a", use="sig", alg="RS256"))
    path = tmp_path / "settings.json"
    path.write_text("{}")
    edge = sidesocket(app, CONFIG=path, **settings(endpoint))
    line = eventually(lambda: [e for e in edge.logs if e["message"] == "cannot fetch the JWKS"], lambda: edge.output)[0]
    assert line["why"].startswith("No connection to the issuer: the TLS handshake failed: ")
    check_unavailable(edge)
    path.write_text(json.dumps({"app_ca_file": ca}))
    edge.process.send_signal(signal.SIGHUP)
    become(edge, 101, lambda: of(A, "a"))


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(app, make_app, sidesocket, code):
    endpoint, target = make_app(), make_app()
    serve(target, jwk(A, "a"))
    endpoint.on(Reply(code, headers={"Location": f"{target.url}/jwks"}), path="/jwks")
    edge = alive(sidesocket(app, **settings(endpoint), wait=False))
    eventually(lambda: endpoint.requests, "the fetch")
    check_unavailable(edge)
    assert target.connections == []


@pytest.mark.parametrize("framing", ["Content-Length: 1073741824", "Transfer-Encoding: chunked"])
def test_a_body_of_1_gb_is_cut(app, make_app, sidesocket, framing):
    endpoint, sent, over = make_app(), [], []

    def endless(connection, _):
        connection.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        part = b" " * 65536
        try:
            for _ in range(16384):
                connection.send(b"10000\r\n" + part + b"\r\n" if "chunked" in framing else part)
                sent.append(len(part))
        except Gone:
            pass
        over.append(True)
        return "close"

    endpoint.on(path="/jwks", stream=endless)
    edge = alive(sidesocket(app, **settings(endpoint), wait=False))
    eventually(lambda: over, "the fetch is cut")
    # What the buffers of the kernel take counts as well.
    assert sum(sent) < 32 << 20
    assert edge.peak_rss < 256 << 20
    check_unavailable(edge)


def test_a_flood_of_unknown_kids_causes_at_most_one_more_fetch(aged):
    edge, app, endpoint = aged["flood"]
    become(edge, 101, lambda: of(A, "a"))
    before, began = len(endpoint.requests), time.monotonic()
    app.reset_script()
    with ExitStack() as stack:
        guests = [stack.enter_context(Guest(edge.port)) for _ in range(500)]
        for number, guest in enumerate(guests):
            pairs = handshake_headers() + list(bearer(of(B, f"kid-{number}")).items())
            guest.request("GET", "/ws", pairs)
        assert {guest.response().status for guest in guests} == {401}
    assert status(edge, of(A, "unknown")) == 401 and status(edge, of(A, "a")) == 101
    assert time.monotonic() - began < 25, "too slow to tell"
    assert len(endpoint.requests) - before <= 1
    assert [r for r in app.events() if r.header("ce-userid") != "alice"] == []


# What takes up to 30 s, counted from the start of the module for all of them


def test_an_endpoint_that_comes_up_late_is_found_by_itself(aged):
    # The first of these tests, so that it is up before the next fetch.
    edge, _, endpoint = aged["recovery"]
    check_unavailable(edge)
    endpoint.reset_script()
    serve(endpoint, jwk(A, "a"))
    become(edge, 101, lambda: of(A, "a"), PATIENT)


def test_an_unknown_kid_brings_the_keys_after_a_rotation(aged):
    edge, _, endpoint = aged["rotation"]
    become(edge, 101, lambda: of(A, "a"))
    endpoint.reset_script()
    serve(endpoint, jwk(B, "b"))
    become(edge, 101, lambda: of(B, "b"), PATIENT)
    assert status(edge, of(A, "a")) == 401
    assert len(endpoint.requests) == 1


def test_old_keys_stay_while_the_endpoint_is_down(aged):
    edge, _, endpoint = aged["down"]
    become(edge, 101, lambda: of(A, "a"))
    endpoint.reset_script()
    endpoint.on(Reply(500, "private words of the endpoint"), path="/jwks")
    eventually(lambda: status(edge, of(B, "b")) and endpoint.requests, "a fetch that fails", PATIENT, 0.05)
    assert status(edge, of(A, "a")) == 101 and status(edge, of(B, "b")) == 401


def test_an_endpoint_that_hangs_delays_nobody_whose_key_is_known(aged):
    edge, _, endpoint = aged["hanging"]
    become(edge, 101, lambda: of(A, "a"))
    endpoint.reset_script()
    endpoint.on(Reply(raw=b""), path="/jwks")
    waiting = []

    def fetching():
        guest = Guest(edge.port)
        guest.request("GET", "/ws", handshake_headers() + list(bearer(of(B, "b")).items()))
        waiting.append(guest)
        return endpoint.heads

    eventually(fetching, "a fetch for the unknown kid", PATIENT, 0.2)
    started = time.monotonic()
    assert status(edge, of(A, "a")) == 101
    assert time.monotonic() - started < 2
    for guest in waiting:
        # It may wait for the fetch, but no longer than that may take.
        guest.sock.settimeout(15)
        assert guest.response().status == 401
