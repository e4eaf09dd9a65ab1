"""An app that answers nonsense: each is a final failure, nothing crashes, nobody else notices."""

import json
import threading
import time

import pytest
from support.app import App, Gone, Reply
from support.net import eventually

TEXT = {"Content-Type": "text/plain"}


@pytest.fixture(scope="module")
def pair():
    """An app that echoes on /other, and a sidecar with limits short enough to try them."""
    from support.process import Sidesocket

    app = App()
    process = Sidesocket(APP_URL=app.url, WEBHOOK_TIMEOUT="1s", MAX_REPLY_BYTES="64KiB", WEBHOOK_RETRY_FOR="off")
    yield app, process
    process.check_alive()
    process.kill()
    app.stop()


@pytest.fixture
def shared_other(pair):
    """`(app, process)`; at the end, another client's WebSocket must still work and no connection may leak."""
    app, process = pair
    app.reset_script()
    app.faults.clear()
    other = process.websocket("/other")
    app.on(lambda r: Reply(200, r.body, TEXT), path="/other", event="message")
    yield app, process
    app.on(lambda r: Reply(200, r.body, TEXT), path="/other", event="message")
    other.text("still here")
    assert other.message() == "still here"
    other.close()
    process.check_alive()
    assert app.faults == []


def message_fails(shared_other, reply, *codes, stream=None):
    """A message that the app answers with `reply` closes with one of `codes`; returns the message event."""
    app, process = shared_other
    app.on(reply, event="message", path="/ws", stream=stream)
    socket = process.websocket()
    before = process.rss
    socket.text("x")
    got = socket.expect_close(*codes)
    close = eventually(lambda: [e for e in app.events("close") if e.path == "/ws"], "the close event")
    assert json.loads(close[0].body)["code"] == got.code
    assert process.rss - before < 24 << 20
    return got


# Case 31


@pytest.mark.parametrize(
    "value",
    [
        "70000", "-1", "0", "1", "999", "1004", "1005", "1006", "1015", "1016", "2999", "5000", "65536", "abc", "",
        "4000.5", "0x1000", "+4000", "99999999999999999999", "4e3", "4000bye", "٤٠٠٠", " ",
    ],
)  # fmt: skip
def test_case_31_an_illegal_close_code_is_a_final_failure(shared_other, value):
    raw = f"HTTP/1.1 204 No Content\r\nSidesocket-Close: {value}\r\n\r\n".encode()
    message_fails(shared_other, Reply(raw=raw), 1011)


@pytest.mark.parametrize(
    "code", ["70000", "-1", "1005", "1006", "999", "4000.5", "1e400", "null", '"4000"', "[]", "18446744073709551616"]
)
def test_case_31_an_illegal_close_code_in_a_command(shared_other, code):
    body = '[{"close":{"code":%s,"reason":"x"}}]' % code
    message_fails(shared_other, Reply(200, body, {"Content-Type": "application/vnd.sidesocket+json"}), 1011)


@pytest.mark.parametrize("reason", ["r" * 123, "r" * 124, "r" * 200, "é" * 100, "🎉" * 31])
def test_case_31_a_long_reason_is_clamped_or_a_failure(shared_other, reason):
    raw = f"HTTP/1.1 204 No Content\r\nSidesocket-Close: 4000 {reason}\r\n\r\n".encode()
    got = message_fails(shared_other, Reply(raw=raw), 4000, 1011)
    assert len(got.payload) <= 125
    if len(reason.encode()) <= 123:
        assert (got.code, got.reason) == (4000, reason)
    elif got.code == 4000:
        # Cut between characters, not inside one.
        assert reason.startswith(got.reason)


def test_case_31_a_long_reason_in_a_command(shared_other):
    body = json.dumps([{"close": {"code": 4000, "reason": "🎉" * 60}}])
    got = message_fails(shared_other, Reply(200, body, {"Content-Type": "application/vnd.sidesocket+json"}), 4000, 1011)
    assert len(got.payload) <= 125 and (got.code == 1011 or ("🎉" * 60).startswith(got.reason))


def test_case_31_a_reason_of_invalid_utf8(shared_other):
    got = message_fails(
        shared_other, Reply(raw=b"HTTP/1.1 204 X\r\nSidesocket-Close: 4000 caf\xe9\r\n\r\n"), 4000, 1011
    )
    got.payload[2:].decode()


@pytest.mark.parametrize(
    "line",
    [
        b"Set-Cookie: a=\rSet-Cookie: evil=1", b"Set-Cookie: a=1\nSet-Cookie: evil=1", b"X-A: b\x00c",
        b"X-A: b\r c", b"X-A: b\x0bc", b"X-A: b\x1b[31m", b"X-A\x00: b", b"X A: b", b": b", b"X-A : b", b"nocolon",
        b" X-A: b",
    ],
)  # fmt: skip
def test_case_31_control_characters_in_a_header_refuse_the_handshake(shared_other, line):
    app, process = shared_other
    app.on(Reply(raw=b"HTTP/1.1 204 No Content\r\n" + line + b"\r\n\r\n"), event="open", path="/ws")
    socket = process.try_websocket()
    assert socket.answer.status == 502
    assert b"evil" not in socket.answer.head
    socket.wait_closed()


# Case 32


def test_case_32_a_redirect_is_not_followed(shared_other, make_app):
    target = make_app()
    headers = {"Location": f"{target.url}/latest/meta-data"}
    for status in (301, 302, 303, 307, 308):
        message_fails(shared_other, Reply(status, headers=headers), 1011)
    app, process = shared_other
    app.on(Reply(302, headers=headers), path="/page")
    with process.client() as client:
        answer = client.ask(target="/page")
        assert (answer.status, answer.header("location")) == (302, headers["Location"])
    assert target.connections == []


BROKEN = {
    "nothing, reset": (b"", 1013, 1013),
    "nothing, closed": (b"", 1013, 1013),
    "half a status line": (b"HTTP/1.1 20", 1011, 1013),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", 1011, 1013),
    "a head and no body": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 1011, 1013),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 1011, 1013),
    "half a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", 1011, 1013),
    "no last chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 1011, 1013),
    "no end of the trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", 1011, 1013),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "reset"])
def test_case_32_an_answer_that_breaks_off(shared_other, name, reset):
    raw, *codes = BROKEN[name]
    if not raw:
        reset = "reset" in name
    message_fails(shared_other, Reply(raw=raw, close=True, reset=reset), *codes)


GARBAGE = {
    "noise": b"\x00\xff\x13garbage\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"200 OK\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.12": b"HTTP/1.12 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 99 X\r\nContent-Length: 0\r\n\r\n",
    "status 20": b"HTTP/1.1 20 X\r\nContent-Length: 0\r\n\r\n",
    "status 2000": b"HTTP/1.1 2000 X\r\nContent-Length: 0\r\n\r\n",
    "status 000": b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n",
    "status -20": b"HTTP/1.1 -20 X\r\nContent-Length: 0\r\n\r\n",
    "status abc": b"HTTP/1.1 abc X\r\nContent-Length: 0\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    "an endless status line": b"HTTP/1.1 200 " + b"x" * (1 << 20),
    "a 101 nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length +5": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "length -1": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "length 2^64": b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
    "length abc": b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "an overflowing chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a negative chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "no CRLF behind a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
    "bare LFs": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "a folded header": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "an endless header": b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * (1 << 20),
    "an endless chunk extension": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * (1 << 20),
    "endless trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 100_000,
}


@pytest.mark.parametrize("name", GARBAGE)
def test_case_32_garbage_for_a_message(shared_other, name):
    message_fails(shared_other, Reply(raw=GARBAGE[name]), 1011)
    app, _ = shared_other
    app.events("message")[-1].connection.wait_closed()


@pytest.mark.parametrize("name", GARBAGE)
def test_case_32_garbage_for_a_plain_request(shared_other, name):
    app, process = shared_other
    app.on(Reply(raw=GARBAGE[name]), path="/page")
    with process.client() as client:
        client.request(target="/page")
        answer = client.response()
        # What fails inside the body can only show as a cut answer.
        assert answer.status == 502 or (answer.status == 200 and answer.truncated), (answer.status, answer.truncated)
        assert client.buffer == b""
    app.plain()[-1].connection.wait_closed()


@pytest.mark.parametrize("name", [n for n in BROKEN if "nothing" not in n])
def test_case_32_a_plain_answer_that_breaks_off(shared_other, name):
    app, process = shared_other
    app.on(Reply(raw=BROKEN[name][0], close=True), path="/page")
    with process.client() as client:
        client.request(target="/page")
        answer = client.response()
        assert answer.status == 502 or answer.truncated
        assert client.rest() == b"" or answer.status == 502


def test_case_32_three_hundred_headers(shared_other):
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(300)) + b"Content-Length: 2\r\n\r\nok"
    app, process = shared_other
    message_fails(shared_other, Reply(raw=head), 1011)
    app.on(Reply(raw=head), path="/page")
    with process.client() as client:
        assert client.ask(target="/page").status in (200, 502)


def _endless(connection, data):
    try:
        while True:
            connection.send(data)
    except Gone:
        pass
    return "close"


@pytest.mark.parametrize("kind", ["length", "chunked", "until close"])
def test_case_32_a_body_of_10_gb(shared_other, kind):
    app, _ = shared_other

    def answer(connection, request):
        b"".join(connection.body(request))
        head = {
            "length": b"Content-Length: 10737418240\r\n\r\n",
            "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
            "until close": b"\r\n",
        }[kind]
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + head)
        block = b"x" * 65536
        return _endless(connection, block if kind != "chunked" else b"10000\r\n" + block + b"\r\n")

    started = time.monotonic()
    message_fails(shared_other, None, 1011, stream=answer)
    assert time.monotonic() - started < 5
    eventually(lambda: app.events("message"), "the app's thread has noticed that it is cut off")


def test_case_32_endless_1xx(shared_other):
    app, process = shared_other

    def answer(connection, request):
        b"".join(connection.body(request))
        return _endless(connection, b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    message_fails(shared_other, None, 1011, 1013, stream=answer)
    app.on(stream=answer, path="/page")
    with process.client() as client:
        client.request(target="/page")
        # Informational answers may be passed on while they come, a bounded number of them.
        assert client.response().status in (502, 504)


def test_case_32_a_hang(shared_other):
    app, _ = shared_other
    message_fails(shared_other, Reply(raw=b""), 1013)
    app.events("message")[-1].connection.wait_closed()


def test_case_32_a_drip(shared_other):
    app, _ = shared_other
    message_fails(shared_other, Reply(200, "x" * 10_000, TEXT, drip=0.02), 1013)
    app.events("message")[-1].connection.wait_closed()


def test_case_32_a_drip_of_1xx(shared_other):
    def answer(connection, request):
        b"".join(connection.body(request))
        while not connection.closed.wait(0.05):
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return "close"

    message_fails(shared_other, None, 1011, 1013, stream=answer)


def test_what_follows_an_answer_is_never_taken_for_the_next_one(shared_other):
    app, process = shared_other
    evil = Reply(200, "evil", TEXT).encode("GET")
    app.on(lambda r: Reply(raw=Reply(200, f"true {r.text}", TEXT).encode("POST") + evil), event="message", path="/ws")
    app.on(lambda r: Reply(raw=Reply(200, f"true {r.target}").encode("GET") + evil), method="GET")
    socket = process.websocket()
    for i in range(10):
        socket.text(str(i))
        assert socket.message() == f"true {i}"
        with process.client() as client:
            assert client.ask(target=f"/{i}").text == f"true /{i}"
    socket.close()


def test_an_answer_before_the_request_is_not_believed(make_app, sidesocket):
    # An app (or somebody on its port) that talks first must not feed the next client.
    app = make_app()
    edge = sidesocket(app)
    app.on(Reply(raw=Reply(200, "first").encode("GET")), path="/one")
    with edge.client() as client:
        assert client.ask(target="/one").text == "first"
    kept = app.requests[0].connection
    try:
        kept.send(Reply(200, "unasked").encode("GET"))
    except Gone:
        pass
    with edge.client() as client:
        answer = client.ask(target="/two")
        assert answer.text == "from the app"


def test_a_head_reply_with_a_body_does_not_shift_the_next_answer(shared_other):
    app, process = shared_other
    app.on(Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), method="HEAD")
    app.on(lambda r: Reply(200, r.target), method="GET")
    for i in range(5):
        with process.client() as client:
            assert client.ask("HEAD", "/head").status == 200
            assert client.ask(target=f"/{i}").text == f"/{i}"


@pytest.mark.parametrize("length", ["", "Content-Length: 42\r\n"], ids=["silent", "announced"])
@pytest.mark.parametrize(
    ("method", "status"), [("GET", "304 Not Modified"), ("GET", "204 No Content"), ("HEAD", "200 OK")]
)
def test_a_body_that_comes_late_where_none_may_be_answers_nobody(shared_other, method, status, length):
    app, process = shared_other
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    sent = threading.Event()

    def late(request):
        def go():
            try:
                request.connection.sock.sendall(evil)
            except OSError:
                pass  # it has closed
            sent.set()

        threading.Timer(0.03, go).start()
        return Reply(raw=f"HTTP/1.1 {status}\r\n{length}\r\n".encode())

    app.on(late, path="/late")
    app.on(lambda r: Reply(200, r.target), path="/next")
    with process.client() as client:
        assert client.ask(method, "/late").status == int(status[:3])
        for _ in range(500):
            assert client.ask(target="/next").text == "/next"
            if sent.is_set():
                break
            time.sleep(0.002)
        assert client.ask(target="/next").text == "/next"


def test_a_204_with_a_body_does_not_shift_the_next_answer(shared_other):
    app, process = shared_other
    app.on(
        Reply(raw=b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        event="message",
        path="/ws",
        times=3,
    )
    socket = process.websocket()
    for _ in range(3):
        socket.text("x")
    eventually(lambda: len([e for e in app.events("message") if e.path == "/ws"]) >= 3, "three messages")
    app.on(lambda r: Reply(200, r.body, TEXT), event="message", path="/ws")
    socket.text("true")
    assert socket.message() == "true"
    socket.close()
