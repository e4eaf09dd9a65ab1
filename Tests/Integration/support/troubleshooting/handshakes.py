"""Cases in which the handshake is refused."""

import json
import threading
import time

from ..api import API
from ..app import Reply
from ..guard import Guest, enter, knock, proxy_v1
from ..net import eventually, free_port
from ..polling import TYPE, PollClient
from ..raw import close_clients, encode
from ..sse import EventStream
from ..tokens import mint
from ..ws import handshake_headers
from .quotes import NAME, PLAIN, SECRET, after, answer, ask, closed, raw, said, shows


@shows(
    (400, "The Connection header does not name Upgrade."), (400, "A WebSocket handshake needs HTTP/1.1."),
    (400, "The request line is malformed."), (400, NAME), (403, "The Origin is not allowed here."),
    (403, "The request comes from a page of another origin, without an allowed Origin."),
    (404, "There is no WebSocket at this path."), (426, "Only version 13 of the WebSocket protocol is supported."),
    (431, "The header section is too large."),
)  # fmt: skip
def refused_at_once(app, start):
    edge = start(WS_PATHS="/ws", SSE_PATHS="/events")
    stream = EventStream(edge.port, headers={"Sec-Fetch-Site": "cross-site"})
    # A proxy that drops both headers makes an ordinary request of a handshake.
    assert ask(edge, target="/ws", headers=handshake_headers(upgrade=None, connection=None))[0] == 200
    assert [request.event for request in app.requests] == [None]
    return [
        ask(edge, target="/ws", headers=handshake_headers(connection=None)),
        raw(edge, encode("GET", "/ws", handshake_headers(), version="HTTP/1.0")),
        raw(edge, proxy_v1("203.0.113.7") + encode()),
        answer(knock(edge, headers={"X_Forwarded_For": "203.0.113.7"})),
        answer(knock(edge, host="localhost:8080", origin="http://127.0.0.1:8080")),
        (stream.status, stream.until(b"\n").decode()),
        answer(knock(edge, target="/ws/")),
        answer(knock(edge, version="8")),
        answer(knock(edge, headers={"Cookie": "x" * 40_000})),
    ]


@shows((403, "The Origin is an http page, but the host was requested over https."))
def page_over_http(app, start):
    edge = start(TRUSTED_PROXIES="loopback")
    https = {"X-Forwarded-Proto": "https"}
    return [answer(knock(edge, host="shop.example", origin="http://shop.example", headers=https))]


@shows((403, "The request has no Origin."))
def no_browser(app, start):
    return [answer(knock(start(ALLOW_MISSING_ORIGIN=False)))]


@shows((403, "Access is denied."), (4403, "access is denied"))
def banned(app, start):
    edge = start()
    guest = enter(edge)
    API(edge).ban("ip", "127.0.0.1")
    seen = [closed(guest), answer(knock(edge))]
    assert API(edge).bans() == ["127.0.0.1"]
    API(edge).want(204, "DELETE", "/v1/bans/ip/127.0.0.1")
    enter(edge)
    return seen


@shows((408, "The request head took too long."))
def slow_head(app, start):
    return [raw(start(HANDSHAKE_TIMEOUT="200ms"), b"GET / HTTP/1.1\r\n")]


@shows((429, "This address is opening connections too fast."))
def too_fast(app, start):
    edge = start(CONNECT_RATE_PER_IP="1/1h")
    enter(edge)
    return [answer(knock(edge))]


@shows(
    (429, "This address has too many connections open."),
    (None, "an untrusted peer sends forwarding headers; all clients behind it count as one address"),
)
def everybody_is_one_client(app, start):
    def come(edge, last):
        return knock(edge, headers={"X-Forwarded-For": f"203.0.113.{last}"})

    edge = start(MAX_CONNECTIONS_PER_IP=2)
    guests = [come(edge, last) for last in range(3)]
    assert [guest.status for guest in guests] == [101, 101, 429]
    guests[0].close(4321)
    seen = [answer(guests[2]), said(edge, "4321")]
    assert "SIDESOCKET_TRUSTED_PROXIES" in edge.output
    assert next(e for e in edge.logs if e["message"] == "connection closed")["client"] == "127.0.0.1"
    # What helps.
    edge = start(MAX_CONNECTIONS_PER_IP=2, TRUSTED_PROXIES="loopback")
    assert [come(edge, last).status for last in range(3)] == [101] * 3
    return seen


@shows((429, "This user has too many connections open."), (1008, "this user has too many connections open"))
def many_of_a_user(app, start):
    edge = start(MAX_CONNECTIONS_PER_USER=1)
    later = enter(edge)
    alice = Reply(204, headers={"Sidesocket-User": "alice"})
    app.on(alice, event="open")
    app.on(alice, event="message")
    enter(edge)
    later.text("I am Alice")
    return [answer(knock(edge)), closed(later)]


@shows(
    (502, "The application cannot be reached."), (503, "The application is not available."),
    (None, "circuit breaker opened: the app is failing; events wait"), (None, "no usable response from the app"),
)  # fmt: skip
def app_away(app, start):
    edge = start()
    app.stop_listening()
    seen = [ask(edge), *[answer(knock(edge)) for _ in range(6)]]
    assert json.loads(edge.readyz()[1])["apps"][0]["breaker"] == "open"
    return [*seen, said(edge, "breaker opened", "no usable response from the app")]


@shows(
    (502, "The application's response is invalid."),
    (502, "The application chose a subprotocol that was not offered."),
)
def bad_answers_to_open(app, start):
    edge = start()
    replies = [
        {"Content-Encoding": "gzip"}, {"Sidesocket-Room": "1"}, {"Sidesocket-Subscribe": "room 1"},
        {"Sec-WebSocket-Protocol": "chat"},
    ]  # fmt: skip
    seen = [after(Reply(200, b"x", headers), edge, app, "open") for headers in replies]
    assert [status for status, _ in seen] == [502] * 4
    said(edge, "Sidesocket-Room", "content coding", "channel's name")
    return seen


@shows((503, "The server has no room for more connections."))
def full(app, start):
    edge = start(MAX_CONNECTIONS=1)
    guest = enter(edge)
    seen = [answer(knock(edge))]
    guest.close()
    return seen


@shows(
    (503, "Too much is waiting for the application."),
    (1013, "too many messages are partly received"),
)
def too_much_waits(app, start):
    edge = start(MAX_PENDING_BYTES="8KiB", MAX_TOTAL_PENDING_BYTES="8KiB")
    big = enter(edge)
    big.text("x" * 8000)
    seen = [closed(big)]
    gate = threading.Event()
    app.on(Reply(204, gate=gate), event="message")
    guest = enter(edge)
    for _ in range(9):
        guest.text("x" * 1000)
    eventually(lambda: edge.metric("pending_bytes") >= 6 << 10, "the budget is spent")

    def refused():
        got = knock(edge)
        return got if got.status != 101 else got.sock.close()

    seen.append(answer(eventually(refused, "a handshake is refused")))
    gate.set()
    return seen


@shows((503, "Too many clients are connecting; try again later."))
def full_house(app, start):
    edge = start(HANDSHAKE_TIMEOUT="300ms", WEBHOOK_MAX_IN_FLIGHT=1)
    gate = threading.Event()
    app.on(Reply(204, gate=gate), event="open")
    first = Guest(edge.port)
    first.request(target="/ws", headers=handshake_headers())
    app.wait_events(1, "open")
    seen = [answer(knock(edge))]
    gate.set()
    assert first.response().status == 101
    return seen


@shows((503, "Tokens cannot be verified yet; try again later."))
def no_key_set(app, start):
    url = f"http://127.0.0.1:{free_port()}/jwks.json"
    edge = start(AUTH="required", JWT_JWKS_URL=url, JWT_ALGORITHMS="RS256")
    return [answer(knock(edge, headers={"Authorization": f"Bearer {mint(SECRET)}"}))]


@shows((504, "The application did not answer in time."))
def slow_app(app, start):
    edge = start(WEBHOOK_TIMEOUT="200ms", PROXY_TIMEOUT="200ms")
    app.on(Reply(204, gate=threading.Event()))
    seen = [answer(knock(edge)), ask(edge)]
    assert seen[0] == seen[1]
    return seen


@shows((503, "The server is restarting."), (1012, "the server is restarting"))
def drain(app, start):
    edge = start(DRAIN_TIMEOUT="10s")
    gate = threading.Event()
    app.on(Reply(200, b"the answer", PLAIN, gate=gate), event="message")
    busy, idle, early = enter(edge), enter(edge), edge.client()
    busy.text("x")
    app.wait_events(1, "message")
    edge.terminate()
    seen = [closed(idle)]
    early.request(target="/ws", headers=handshake_headers())
    seen.append(answer(early.response()))
    early.sock.close()
    # docs/upgrading.md: ordinary requests pass, and the event under way is answered.
    assert ask(edge, target="/page")[0] == 200
    gate.set()
    assert busy.message() == "the answer"
    busy.expect_close(1012)
    close_clients()
    assert edge.wait_exit() == 0
    assert [request.event for request in app.events()].count("close") == 2
    return seen


@shows((401, "A token is required."), (401, "The token has expired."), (4401, "the token has expired"))
def tokens(app, start):
    edge = start(AUTH="required", JWT_KEY=SECRET, JWT_ALGORITHMS="HS256", JWT_LEEWAY="30s")

    def bearer(age):
        return {"Authorization": f"Bearer {mint(SECRET, exp=int(time.time()) - age)}"}

    return [answer(knock(edge)), answer(knock(edge, headers=bearer(60))), closed(enter(edge, headers=bearer(29)))]


@shows((4401, "no token was received in time"), (4403, "the application refuses the connection"))
def tokens_in_messages(app, start):
    edge = start(AUTH="required", JWT_KEY=SECRET, JWT_ALGORITHMS="HS256", JWT_SOURCES="message", AUTH_TIMEOUT="1s")
    silent, refused = enter(edge), enter(edge)
    app.on(Reply(403), event="open")
    refused.text(mint(SECRET))
    return [closed(refused), closed(silent)]


@shows(
    (415, "The Content-Type must be exactly application/vnd.sidesocket.v1+json."),
    (409, "The POST is out of turn; n counts up by one, with two under way at most."),
)
def posts_of_the_protocol(app, start):
    one = PollClient(start(HTTP_PATHS="/poll"), "/poll")
    charset = one.post({"n": 1}, headers={"Content-Type": f"{TYPE}; charset=utf-8"}).wait()
    one.begins()
    far = one.post({"resume": one.token, "n": 9}).wait()
    return [(charset.status, charset.body.decode()), (far.status, far.body.decode())]
