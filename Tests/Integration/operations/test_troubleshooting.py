"""docs/troubleshooting.md and the binary: what the tables quote is provoked here and has to come word for word."""

import json
import re
import shlex
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
from support.api import API
from support.app import Reply, open_gates
from support.guard import DEFLATE, DeflateGuest, Guest, deflated, enter, knock, proxy_v1
from support.net import eventually, free_port
from support.pages import command
from support.process import ROOT, Sidesocket, run
from support.proxies import Front
from support.proxies import command as program
from support.raw import Client, close_clients, encode
from support.sse import EventStream
from support.tokens import mint
from support.ws import BINARY, CLOSE, PING, PONG, TEXT, frame, handshake_headers

PAGE = "docs/troubleshooting.md"
PAGES = [PAGE, "docs/upgrading.md", "SECURITY.md"]
SECRET = "k" * 32
PLAIN = {"Content-Type": "text/plain"}
EVENT_JSON = {"Content-Type": "application/cloudevents+json"}


# What the page quotes


def quotes():
    """What the first columns quote, as (status or close code before it, or None; words)."""
    found = set()
    for line in (ROOT / PAGE).read_text().splitlines():
        if not line.startswith("| "):
            continue
        code = None
        # 401 `one`, `another`, 403 `a third` and `what has no code`
        for number, comma, words in re.findall(r"(?:\b(\d{3,4}) |(, ))?`([^`]+)`", line.split(" | ")[0]):
            code = int(number) if number else code if comma else None
            # A single word is a name, such as that of a header.
            if " " in words or words.startswith('"'):
                found.add((code, words))
    return found


def is_quoted(pair):
    """True for what a first column quotes, and for a line of the log that the page quotes anywhere."""
    return pair in quotes() or pair[0] is None and f"`{pair[1]}`" in (ROOT / PAGE).read_text()


# Each case shows some of that: a function of (app, start) that returns what it has seen, as pairs like those, where
# the text without a code is whatever was printed. `start` starts a sidecar before the app.
CASES = {}


def shows(*pairs):
    def register(function):
        CASES[function.__name__] = (function, set(pairs))
        return function

    return register


def answer(got):
    """An answer as a pair."""
    got = getattr(got, "answer", got)
    return got.status, got.text.strip()


def problem(got):
    """An answer of the API as a pair."""
    return got.status, got.json["detail"] if got.status >= 400 else got.text


def closed(guest):
    end = guest.expect_close(skip_messages=True)
    return end.code, end.reason


def said(edge, *words):
    """All that it has printed, when these words are among it."""
    eventually(lambda: all(one in edge.output for one in words), lambda: f"{words} in:\n{edge.output}")
    return None, edge.output


def ask(edge, *arguments, **more):
    with edge.client() as client:
        return answer(client.ask(*arguments, **more))


def raw(edge, data):
    with edge.client() as client:
        client.send(data)
        return answer(client.response())


def after(reply, edge, app, event="message"):
    """How a connection ends whose message (or `open`) the app answers so."""
    app.on(reply, event=event)
    guest = knock(edge)
    if guest.status != 101:
        return answer(guest)
    guest.text("x")
    return closed(guest)


# It does not start


@shows((None, "unknown setting"), (None, "is not below the idle timeout"))
def wrong_settings(app, start):
    done = run("check", APP_URL=app.url, LISTEM="127.0.0.1:1", PING_INTERVAL="1m")
    assert done.returncode == 78
    return [(None, done.stderr)]


@shows((None, "The limit on open files (ulimit -n) is too low"))
def few_descriptors(app, start):
    done = run(APP_URL=app.url, max_files=60)
    assert done.returncode == 78
    return [(None, done.stderr)]


@shows((None, "is in use by another process"), (None, "stopping after a fatal error"), (None, "address already in use"))
def two_processes(app, start):
    own = {"LISTEN": f"127.0.0.1:{free_port()}", "CONTROL_LISTEN": f"127.0.0.1:{free_port()}"}
    first = start(OUTBOX_DIR=start.folder)
    second = run(APP_URL=app.url, OUTBOX_DIR=start.folder, **own)
    third = run(APP_URL=app.url, **{**own, "LISTEN": f"127.0.0.1:{first.port}"})
    assert (second.returncode, third.returncode) == (78, 1)
    # docs/upgrading.md: the check may run beside the process that serves.
    assert run("check", APP_URL=app.url, OUTBOX_DIR=start.folder).returncode == 0
    return [(None, second.stderr), (None, third.stderr)]


@shows((None, "these settings need a restart; the old values stay in force"), (None, "settings not reloaded; the old ones stay in force"))
def reloads(app, start):
    file = start.folder / "settings.yaml"
    file.write_text("max_connections: 100\n")
    edge = start(CONFIG=file)
    file.write_text("max_connections: 200\n")
    edge.process.send_signal(signal.SIGHUP)
    said(edge, "these settings need a restart")
    file.write_text("max_connection: 200\n")
    edge.process.send_signal(signal.SIGHUP)
    return [said(edge, "settings not reloaded", "max_connection ")]


@shows((None, "cannot accept connections"), (None, "too few file descriptors are left"))
def all_descriptors_taken(app, start):
    edge = start(max_files=80, THREADS=1)
    clients = [edge.client() for _ in range(80)]
    seen = said(edge, "cannot accept connections", "too few file descriptors are left")
    for client in clients:
        client.sock.close()
    eventually(lambda: try_to_enter(edge), "accepting goes on by itself")
    return [seen]


def try_to_enter(edge):
    guest = knock(edge)
    guest.sock.close()
    return guest.status == 101


# The handshake is refused


NAME = "A header name imitates a reserved one: write it with hyphens, or choose another."


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
def crowd(app, start):
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


# Connections end


@shows((1001, "no answer to a ping"), (1001, "no message for too long"), (1001, "the connection is too old; reconnect"))
def heartbeats(app, start):
    edge = start(PING_INTERVAL="200ms", PONG_TIMEOUT="200ms", CLIENT_IDLE_TIMEOUT="1s")
    aging = enter(start(MAX_CONNECTION_AGE="1s"))
    dead, idle = enter(edge), enter(edge)
    while (got := idle.receive()).opcode == PING:
        idle.frame(PONG, got.payload)
    assert got.opcode == CLOSE
    return [(got.code, got.reason), closed(dead), closed(aging)]


@shows((4403, "no longer welcome"))
def revalidation(app, start):
    app.on(Reply(403), event="revalidate")
    return [closed(enter(start(REVALIDATE_INTERVAL="1s")))]


@shows(
    (1008, "the application refused the message"), (1011, "the application failed"),
    (1013, "the application is not available"), (None, "connection closed"),
)  # fmt: skip
def failing_app(app, start):
    edge = start()
    ends = {status: after(Reply(status), edge, app) for status in (400, 404, 302, 500, 429, 502, 503, 504)}
    assert [code for code, _ in ends.values()] == [1008, 1008, 1011, 1011, 1013, 1013, 1013, 1013]
    for reply in (Reply(200, b"\xff", PLAIN), Reply(200, b"x" * (2 << 20)), Reply(204, headers={"Sidesocket-X": "1"})):
        assert after(reply, edge, app)[0] == 1011
    line = eventually(
        lambda: next((e for e in edge.logs if e.get("event") == "message" and "404" in e.get("why", "")), None),
        "the status is in the log",
    )
    assert line["connection"]
    return [*ends.values(), said(edge, "connection closed", '"initiator":"server"')]


@shows((1008, "the client reads too slowly"))
def slow_reader(app, start):
    edge = start(MAX_SEND_BUFFER_BYTES="16KiB", MAX_PENDING_BYTES="4MiB")
    app.on(Reply(200, b"x" * 500_000, {"Content-Type": "application/octet-stream"}), event="message")
    guest = enter(edge, receive_buffer=4096)
    for _ in range(20):
        guest.text("more")
    edge.wait_metric("slow_client_total", 1, action="close")
    return [closed(guest)]


@shows((1008, "the message took too long"), (1009, "The message has too many fragments."))
def pieces(app, start):
    edge = start(MESSAGE_ASSEMBLY_TIMEOUT="200ms", MAX_FRAGMENTS=2)
    slow, many = enter(edge), enter(edge)
    slow.frame(TEXT, "x", fin=False)
    many.send(frame(TEXT, "a", fin=False) + frame(0, "b", fin=False) + frame(0, "c"))
    return [closed(many), closed(slow)]


@shows((1008, "closed by the operator"))
def kicked(app, start):
    edge = start()
    guest = enter(edge)
    API(edge).want(204, "DELETE", f"/v1/connections/{API(edge).connections()[0]['id']}")
    return [closed(guest), said(edge, "connection.close")]


@shows((1009, "The message is too big."), (1009, "The message's compression ratio is too high."))
def big_messages(app, start):
    big = enter(start())
    big.text("x" * (64 << 10))
    big.text("x" * ((64 << 10) + 1))
    bomb = DeflateGuest(start(MAX_MESSAGE_BYTES="4MiB").port).shake(extensions=DEFLATE)
    bomb.frame(BINARY, deflated(bytes(256 << 10)), rsv=4)
    bomb.frame(BINARY, deflated(bytes(2 << 20)), rsv=4)
    return [closed(big), closed(bomb)]


@shows((4429, "too many messages"))
def message_rate(app, start):
    guest = enter(start(MESSAGE_RATE="1/1h", RATE_LIMIT_ACTION="close"))
    guest.text("x")
    guest.text("x")
    return [closed(guest)]


# Ordinary requests


@shows(
    (400, "The Host header is missing."), (400, NAME), (403, "Events of type sidesocket.* come from Sidesocket alone."),
    (400, "The body is not a valid JSON event: an event must be an object."),
    (413, "A JSON event may be at most 1048576 bytes."),
    (415, "A JSON event must not be compressed."), (415, "A JSON event must be UTF-8."),
    (404, "There is nothing at this path."), (505, "Only HTTP/1.0 and HTTP/1.1 are supported."),
)  # fmt: skip
def ordinary_requests(app, start):
    edge = start(WEBHOOK_URL="/hook", WEBHOOK_SECRET="whsec_" + "A" * 44)

    def post(headers, body=b"x"):
        return ask(edge, "POST", "/", headers, body)

    for name in ("X_Request_Id", "X-My.Header", "Ce-Type"):
        assert post({name: "com.example"})[0] == 200
    names = [post({name: "x"}) for name in ("X_Forwarded_For", "Content_Type", "Webhook.Event", "Ce_Anything")]
    assert len(set(names)) == 1
    hooks = [ask(edge, "POST", path) for path in ("/hook", "/HOOK", "/hook/", "/%68ook")]
    assert len(set(hooks)) == 1
    return [
        names[0], hooks[0],
        raw(edge, b"GET / HTTP/1.1\r\n\r\n"),
        raw(edge, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        post({"ce-type": "sidesocket.message"}),
        post(EVENT_JSON, b"[]x"), post(EVENT_JSON, b"x"),
        post(EVENT_JSON, b" " * (1 << 20) + b"{}"),
        post({**EVENT_JSON, "Content-Encoding": "gzip"}),
        post({"Content-Type": "application/cloudevents+json; charset=utf-16"}),
    ]  # fmt: skip


@shows((None, "wrong version number"))
def tls_to_a_plain_port(app, start):
    with socket.create_connection(("127.0.0.1", start().port)) as line, pytest.raises(ssl.SSLError) as error:
        ssl.create_default_context().wrap_socket(line, server_hostname="localhost")
    return [(None, str(error.value).replace("_", " ").lower())]


# Events and messages, and the API


@shows((None, '"matched":0'), (None, '"dropped":1'), (None, "Sidesocket-Broadcast not published"))
def publishing(app, start):
    edge = start(SLOW_CLIENT_ACTION="drop-newest", MAX_SEND_BUFFER_BYTES="4KiB")
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "room:1"}), event="open")
    guest = enter(edge, receive_buffer=4096)

    def publish(channel, body=b"x"):
        return API(edge).want(200, "POST", f"/v1/channels/{channel}/messages", body, PLAIN).text

    nobody = publish("Room%3A1")
    assert '"matched":1' in publish("room%3A1")
    assert guest.message() == "x"

    def drop():
        text = publish("room:1", b"x" * 500_000)
        return text if '"dropped":1' in text else None

    dropped = eventually(drop, "a message is dropped")
    for value in ("room:1", "room:1 gr\xfc\xdf", "room:1 " + "x" * 9000):
        app.on(Reply(200, headers={"Sidesocket-Broadcast": value}), path="/page")
        assert ask(edge, target="/page")[0] == 200
    eventually(lambda: edge.output.count("Sidesocket-Broadcast not published") == 3, "three lines")
    return [(None, nobody), (None, dropped), (None, edge.output)]


@shows(
    (401, "The API requires the bearer token in SIDESOCKET_CONTROL_TOKEN."),
    (403, "The API needs SIDESOCKET_CONTROL_TOKEN on a listener that is not loopback."),
    (403, "Pages of other origins may not use the API."),
    (415, "A multipart form is not a message. Send the message itself as the body, as text/plain, application/json or "
          "application/octet-stream."),
    (413, "The body is too large."),
)  # fmt: skip
def the_api(app, start):
    path = "/v1/channels/a/messages"
    by_name = {"Host": "sidesocket:9090"}
    locked, local = start(CONTROL_TOKEN="right"), start()
    port = free_port()
    shared = start(wait=False, CONTROL_LISTEN=f"0.0.0.0:{port}")
    shared.control_port = port
    eventually(lambda: shared.readyz()[0] == 200, "it is ready")
    API(locked, "right").want(200, "GET", "/v1/connections", headers=by_name)
    return [
        problem(API(locked, "wrong").ask("GET", "/v1/connections")),
        problem(API(shared).ask("GET", "/v1/connections")),
        problem(API(local).ask("GET", "/v1/connections", headers=by_name)),
        problem(API(local).ask("POST", path, b"x", {"Content-Type": "multipart/form-data; boundary=x"})),
        problem(API(local).ask("POST", path, b"x" * ((1 << 20) + 1), PLAIN)),
    ]


# The tests


@pytest.fixture
def start(app, tmp_path):
    """Starts sidecars before `app`; one attempt for each event."""
    started = []

    def begin(**settings):
        started.append(Sidesocket(**{"APP_URL": app.url, "WEBHOOK_RETRY_FOR": "off", **settings}))
        return started[-1]

    begin.folder = tmp_path
    yield begin
    close_clients()
    open_gates()
    for one in started:
        if one.process.poll() is None:
            one.kill()


@pytest.mark.parametrize("name", CASES)
def test_what_the_page_quotes_is_what_users_see(app, start, name):
    case, pairs = CASES[name]
    assert [pair for pair in pairs if not is_quoted(pair)] == [], "the page quotes something else"
    seen = case(app, start)
    for code, words in pairs:
        if code is None:
            assert any(words in text for _, text in seen), f"{words!r} in {seen}"
        else:
            assert (code, words) in {(number, str(text).strip()) for number, text in seen}


def test_every_quote_of_the_page_is_provoked():
    assert quotes() - set.union(*(pairs for _, pairs in CASES.values())) == set()


def test_a_connection_that_ends_without_an_answer(app, start, certificate):
    def end(edge, clients=1):
        others = [edge.client() for _ in range(clients - 1)]
        with edge.client() as client:
            client.try_send(encode())
            assert client.rest() == b""
        return len(others)

    end(start(MAX_CONNECTIONS_PER_IP=1), clients=3)
    end(start(PROXY_PROTOCOL="v1", TRUSTED_PROXIES="loopback"))
    end(start(TLS_CERT=certificate[1][0], TLS_KEY=certificate[1][1]))


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 405, 415, 422, 429])
def test_the_client_gets_the_apps_own_refusal(app, start, status):
    edge = start()
    app.on(Reply(status, b"a page of the app"), event="open")
    assert answer(knock(edge)) == (status, "a page of the app")
    edge.wait_metric("handshakes_total", 1, result="app_refused")


@pytest.fixture
def nginx(tmp_path):
    """Starts nginx with `location / { … }` before a port."""
    fronts = []

    def begin(to, text):
        port = free_port()
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; pid {tmp_path}/nginx.pid; worker_processes 1; events {{ worker_connections 64; }}\n"
            f"http {{ access_log off; proxy_temp_path {tmp_path}/proxy; client_body_temp_path {tmp_path}/body;\n"
            f"fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n"
            f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{to}; {text} }} }} }}\n"
        )
        arguments = [program("nginx"), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
        fronts.append(Front(arguments, port))
        return port

    yield begin
    for front in fronts:
        front.stop()


UPGRADE = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Host $http_host;"


def test_a_proxy_that_drops_idle_connections_shows_as_1006_of_the_network(app, start, nginx):
    settings = UPGRADE + 'proxy_set_header Connection "upgrade"; proxy_read_timeout 1s;'
    edge = start(PING_INTERVAL="off")
    guest = Guest(nginx(edge.port, settings)).shake()
    assert guest.status == 101 and guest.rest() == b""
    line = eventually(lambda: next((e for e in edge.logs if e["message"] == "connection closed"), None), "the line")
    assert (int(line["code"]), line["initiator"]) == (1006, "network")
    assert 900 <= int(line["duration_ms"]) <= 3000
    # What helps: pings come in time, and keep it open for longer than that.
    edge = start(LB="nginx", LB_IDLE_TIMEOUT="1s")
    guest = Guest(nginx(edge.port, settings)).shake()
    for _ in range(4):
        assert guest.receive().opcode == PING
        guest.frame(PONG, b"")


def test_a_stream_of_the_app_that_a_proxy_compresses_is_late_unless_it_says_no_buffering(app, start, nginx):
    edge = start(SSE_PATHS="/events", PING_INTERVAL="off")
    port = nginx(edge.port, UPGRADE + "gzip on; gzip_types text/event-stream;")
    gate = threading.Event()

    def stream(more):
        def write(connection, request):
            connection.send(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{more}\r\ndata: 1\n\n".encode())
            gate.wait(10)
            return "close"

        return write

    app.on(path="/late", stream=stream(""))
    app.on(path="/prompt", stream=stream("X-Accel-Buffering: no\r\n"))
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "a"}), event="open")
    clients = {path: Client(port) for path in ("/late", "/prompt", "/events")}
    for path, client in clients.items():
        client.request(target=path, headers={"Accept": "text/event-stream", "Accept-Encoding": "gzip"})
    assert clients["/events"].head().status == 200
    clients["/events"].buffer.clear()
    API(edge).want(200, "POST", "/v1/channels/a/messages", b"x", PLAIN)
    assert clients["/events"].fill()
    assert clients["/prompt"].head().status == 200
    # Whatever nginx was going to send at once is there by then.
    clients["/late"].sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        clients["/late"].head()
    clients["/late"].sock.settimeout(10)
    gate.set()
    assert clients["/late"].head().status == 200


def test_what_the_app_sees_of_https_and_cookies(app, start):
    https = {"X-Forwarded-Proto": "https", "Cookie": "session=1"}
    seen = {}
    for name, settings in {
        "unnamed": {}, "named": {"TRUSTED_PROXIES": "loopback"}, "no cookies": {"FORWARD_HEADERS": "authorization"},
    }.items():  # fmt: skip
        app.reset_script()
        guest = enter(start(**settings), headers=https)
        guest.text("x")
        opened, message = app.wait_events(2)[:2]
        seen[name] = [opened.header("x-forwarded-proto"), opened.header("cookie"), message.header("cookie")]
    assert seen == {
        "unnamed": ["http", "session=1", "session=1"],
        "named": ["https", "session=1", "session=1"],
        "no cookies": ["http", "session=1", None],
    }


def test_the_same_event_twice(app, start):
    edge = start(WEBHOOK_RETRY_FOR="10s", WEBHOOK_TIMEOUT="200ms")
    app.on(Reply(204), event="message")
    app.on(Reply(raw=b""), event="message", times=1)
    enter(edge).text("x")
    first, second = app.wait_events(2, "message")
    assert first.header("ce-id") == second.header("ce-id") and first.body == second.body
    edge.wait_metric("webhook_retries_total", 1, event="message")


def test_only_answers_to_events_publish_with_the_header_of_events(app, start):
    edge = start()
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "room:1"}), event="open")
    app.on(Reply(200, b"by a page", {**PLAIN, "Sidesocket-Publish": "room:1"}), path="/page")
    excluding = {**PLAIN, "Sidesocket-Publish": "room:1", "Sidesocket-Exclude": "self"}
    app.on(Reply(200, b"by an event", excluding), event="message")
    speaker, listener = enter(edge), enter(edge)
    assert ask(edge, target="/page") == (200, "by a page")
    speaker.text("x")
    assert listener.message() == "by an event"
    speaker.barrier()


def test_messages_above_the_rate_are_late_and_not_lost(app, start):
    edge = start(MESSAGE_RATE="10/1s,burst=1")
    app.echo()
    guest = enter(edge)
    for number in range(5):
        guest.text(str(number))
    assert [guest.message() for _ in range(5)] == [*"01234"]
    assert edge.metric("limited_total", limit="message_rate", action="throttled") > 0


def test_the_counters_without_prometheus(app, start):
    edge = start()
    knock(edge, origin="http://evil.example")
    line = command(PAGE, "curl -s").replace("127.0.0.1:9090", f"127.0.0.1:{edge.control_port}")
    printed = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=10, check=True).stdout
    for name in ("handshakes_total", "http_refused_total", "limited_total"):
        assert re.search(rf"^sidesocket_{name}\{{.*origin.*\}} 1", printed, re.M), printed


# The pages


@pytest.mark.parametrize("name", PAGES)
def test_settings_and_metrics_that_a_page_names_exist(name):
    text = (ROOT / name).read_text()
    settings = set(re.findall(r"--\S+  SIDESOCKET_(\w+)", run("--help").stdout))
    named = set(re.findall(r"`(?:SIDESOCKET_)?([A-Z][A-Z_]*_[A-Z_]+)(?:=[^`]*)?`", text)) - {"ALLOWED_HOSTS"}
    assert named and {one for one in named if one.removesuffix("_FILE") not in settings} == set()
    metrics = set(re.findall(r"`((?:sidesocket|process)_\w+)", text))
    assert metrics <= set(re.findall(r"`((?:sidesocket|process)_\w+)`", (ROOT / "docs/metrics.md").read_text()))


def anchors(path):
    """The fragments of a page's headings, as the forges make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere():
    broken = []
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, fragment = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if "://" in link or target.exists() and (not fragment or fragment in anchors(target)):
                continue
            broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert len(pages) > len(PAGES) and broken == []


def test_the_pages_are_listed():
    for index, names in {"README.md": PAGES, "docs/README.md": ["troubleshooting.md", "upgrading.md"]}.items():
        text = (ROOT / index).read_text()
        assert all(f"]({name})" in text for name in names), index


def test_an_unknown_setting_of_a_later_version_is_named_by_check(app):
    lines = shlex.split(command("docs/upgrading.md", "./sidesocket-new"))
    assert lines[1] == "check"
    done = run("check", APP_URL=app.url, SETTING_OF_A_LATER_VERSION="1")
    assert done.returncode == 78 and "SIDESOCKET_SETTING_OF_A_LATER_VERSION" in done.stderr


def test_an_event_stream_that_resumes_at_another_process_begins_with_a_reset(start, app):
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "a"}), event="open")
    edge = start(SSE_PATHS="/events", HISTORY_SIZE=10)
    stream = EventStream(edge.port)
    API(edge).want(200, "POST", "/v1/channels/a/messages", b"x", PLAIN)
    assert stream.event() == ("message", "x")
    edge.terminate()
    stream.ends()
    assert 1000 <= stream.retry <= 10_000
    again = EventStream(start(SSE_PATHS="/events", HISTORY_SIZE=10).port, headers={"Last-Event-ID": stream.last_id})
    assert again.event()[0] == "reset"
