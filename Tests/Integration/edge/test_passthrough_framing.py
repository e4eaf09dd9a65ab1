"""Bodies, trailers, connections and `Expect` of what is passed through, whichever way each side frames it."""

import pytest
from support.app import Reply
from support.raw import encode

# Framing


@pytest.mark.parametrize("status", [200, 404])
def test_head_has_the_headers_and_no_body(shared, status):
    app, process = shared
    app.on(Reply(status, "twelve bytes"), method="HEAD")
    with process.client() as client:
        for _ in range(2):
            answer = client.ask("HEAD")
            assert (answer.status, answer.header("content-length"), answer.body) == (status, "12", b"")
        assert client.ask("GET").text == "from the app"


@pytest.mark.parametrize("pipelined", [False, True], ids=["one after the other", "pipelined"])
def test_the_refusal_of_a_bad_request_behind_a_head_has_its_body(shared, pipelined):
    _, process = shared
    bad = b" \0bad\r\n\r\n"
    with process.client() as client:
        client.send(encode("HEAD") + (bad if pipelined else b""))
        assert client.response("HEAD").status == 200
        if not pipelined:
            client.send(bad)
        answer = client.response("GET")
        assert answer.status == 400
        assert not answer.truncated and len(answer.body) == int(answer.header("content-length")) > 0
        client.wait_closed()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: x\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["204", "304 with a length", "304", "empty", "empty chunked"],
)
def test_answers_without_a_body_leave_the_connection_usable(shared, raw):
    app, process = shared
    app.on(Reply(raw=raw), path="/empty")
    with process.client() as client:
        for _ in range(3):
            assert client.ask(target="/empty").body == b""
            assert client.ask(target="/next").text == "from the app"


def test_a_chunked_body_with_trailers_arrives(shared):
    app, process = shared
    chunks = b"5;ext=1\r\nhello\r\n6\r\n world\r\nA\r\n0123456789\r\n0\r\nX-Checksum: abc\r\n\r\n"
    with process.client() as client:
        headers = {"Transfer-Encoding": "chunked", "Trailer": "X-Checksum"}
        client.send(encode("POST", "/", headers) + chunks)
        assert client.response().status == 200
        assert client.ask().status == 200
    request = app.plain()[0]
    assert request.body == b"hello world0123456789"
    assert request.trailers in ([("X-Checksum", "abc")], [])


def test_trailers_of_the_app_arrive(shared):
    app, process = shared
    app.on(Reply(200, "abc" * 10, {"Trailer": "X-Sum"}, chunked=True, trailers=[("X-Sum", "1")]))
    with process.client() as client:
        for _ in range(2):
            answer = client.ask(headers={"TE": "trailers"})
            assert answer.text == "abc" * 10
            assert answer.trailers == [("X-Sum", "1")]


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "X-Forwarded-For",
        "Content-Length",
        "Transfer-Encoding",
        "Authorization",
        "Cookie",
        "ce-type",
        "Sidesocket-User",
    ],
)
def test_case_25_dangerous_trailers_are_dropped_or_refused(shared, name):
    app, process = shared
    value = "sidesocket.open" if name == "ce-type" else "6"
    with process.client() as client:
        chunks = f"5\r\nhello\r\n0\r\n{name}: {value}\r\n\r\n".encode()
        client.send(encode("POST", "/", {"Transfer-Encoding": "chunked"}) + chunks)
        assert client.response().status in (200, 400)
    for request in app.plain():
        assert request.trailers == []


def test_an_answer_without_length_ends_with_the_connection_of_the_app(shared):
    app, process = shared
    app.on(Reply(raw=b"HTTP/1.1 200 OK\r\n\r\nuntil the end", close=True), path="/end")
    with process.client() as client:
        assert client.ask(target="/end").text == "until the end"


def test_http_1_0_client_gets_an_answer_it_understands(shared):
    app, process = shared
    app.on(Reply(200, "chunk " * 100, chunked=True))
    with process.client() as client:
        client.send(b"GET /old HTTP/1.0\r\nHost: x\r\n\r\n")
        answer = client.response()
        assert answer.all("transfer-encoding") == []
        assert answer.text == "chunk " * 100
        client.wait_closed()


def test_connection_close_of_the_client_is_obeyed(shared):
    app, process = shared
    with process.client() as client:
        answer = client.ask(headers={"Connection": "close"})
        assert answer.text == "from the app"
        assert answer.header("connection").lower() == "close"
        assert client.wait_closed() == "fin"


def test_connection_close_of_the_app_is_its_own_affair(shared):
    app, process = shared
    app.on(Reply(200, "bye", close=True))
    with process.client() as client:
        for _ in range(3):
            assert client.ask().text == "bye"


def test_keep_alive_reuses_connections_to_the_app(shared):
    app, process = shared
    before = len(app.connections)
    with process.client() as client:
        for _ in range(50):
            assert client.ask().status == 200
    assert len(app.connections) - before <= 2


# Expect: 100-continue


def test_expect_100_continue(shared):
    app, process = shared

    def accept(connection, request):
        if request.header("expect"):
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.body = b"".join(connection.body(request))
        connection.send(Reply(200, request.body).encode("POST"))

    app.on(stream=accept, method="POST")
    with process.client() as client:
        for _ in range(2):
            client.send(encode("POST", "/", {"Expect": "100-continue", "Content-Length": "5"}))
            assert client.head().status == 100
            client.send(b"hello")
            assert client.response().text == "hello"


def test_expect_100_continue_may_be_refused_by_the_app(shared):
    app, process = shared

    def refuse(connection, request):
        connection.send(Reply(417, "no", close=True).encode("POST"))
        return "close"

    app.on(stream=refuse, method="POST")
    with process.client() as client:
        client.send(encode("POST", "/", {"Expect": "100-continue", "Content-Length": "5000000"}))
        answer = client.response()
        assert (answer.status, answer.text) == (417, "no")


def test_a_client_that_does_not_wait_for_100_is_served(shared):
    app, process = shared
    with process.client() as client:
        client.send(encode("POST", "/", {"Expect": "100-continue"}, b"at once"))
        answer = client.response()
        assert answer.status == 200
        assert client.ask().status == 200
    assert app.plain()[0].body == b"at once"


def test_informational_answers_do_not_confuse(shared):
    app, process = shared
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    app.on(Reply(raw=early + Reply(200, "final").encode("GET")))
    with process.client() as client:
        for _ in range(3):
            answer = client.ask()
            assert (answer.status, answer.text) == (200, "final")
            assert answer.informational in ([], [103])
