"""Requests that are passed through when the client gives up or the app fails."""

import threading

import pytest
from support.app import Gone, Reply, gate
from support.net import eventually
from support.raw import encode

MB = 1 << 20
BLOCK = bytes(range(256)) * 4096  # 1 MiB


# The client gives up


@pytest.mark.parametrize("how", ["reset", "fin"])
def test_a_client_that_leaves_while_the_app_works_aborts_the_request(app, edge, how):
    app.on(Reply(raw=b""), path="/slow")
    client = edge.client()
    client.request(target="/slow")
    request = app.wait_head("/slow")
    client.reset() if how == "reset" else client.sock.close()
    request.connection.wait_closed(5)


def test_a_client_that_leaves_during_its_upload_aborts_the_request(app, edge):
    client = edge.client()
    client.send(encode("POST", "/up", {"Content-Length": "1000000"}) + b"x" * 1000)
    request = app.wait_head("/up")
    client.reset()
    request.connection.wait_closed(5)
    assert not request.complete


def test_a_client_that_leaves_during_a_chunked_upload_does_not_complete_it(app, edge):
    client = edge.client()
    client.send(encode("POST", "/up", {"Transfer-Encoding": "chunked"}) + b"5\r\nhello\r\n")
    request = app.wait_head("/up")
    client.sock.close()
    request.connection.wait_closed(5)
    assert not request.complete


def test_a_client_that_leaves_during_a_download_aborts_the_request(app, edge):
    ended = threading.Event()

    def write(connection, request):
        try:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
            while True:
                connection.send(BLOCK)
        except Gone:
            ended.set()
            raise

    app.on(stream=write)
    client = edge.client()
    client.request()
    client.exactly(1 << 20)
    client.reset()
    assert ended.wait(5)


def test_half_closed_clients_still_get_their_answer_or_a_clean_end(app, edge):
    import socket

    held = gate()
    app.on(Reply(200, "late", gate=held), path="/late")
    with edge.client() as client:
        client.request(target="/late")
        app.wait_head("/late")
        client.sock.shutdown(socket.SHUT_WR)
        held.set()
        # A proxy may take the FIN as the client's end; it must not hang or answer garbage.
        rest = client.rest()
        assert rest == b"" or rest.endswith(b"late")


# The app fails


def test_no_connection_to_the_app_gives_502(app, edge):
    app.stop_listening()
    with edge.client() as client:
        answer = client.ask("POST", "/", body=b"x" * 1000)
        assert answer.status in (502, 503)
        assert answer.header("retry-after")
    app.listen()
    with edge.client() as client:
        assert client.ask().text == "from the app"


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "reset"])
def test_an_app_that_breaks_off_inside_its_body_shows_as_a_cut_answer(shared, framing, reset):
    app, process = shared
    head = (
        b"Content-Length: 100\r\n\r\nhalf"
        if framing == "length"
        else b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    )
    app.on(Reply(raw=b"HTTP/1.1 200 OK\r\n" + head, close=True, reset=reset))
    with process.client() as client:
        client.request()
        first = client.head()
        if first.status == 502:
            return  # nothing of the answer had been passed on yet
        rest = client.rest()
        # Never a second head, and never an end that looks complete.
        assert b"HTTP/1.1" not in rest
        assert not rest.endswith(b"0\r\n\r\n")
        assert len(rest) < 100


def test_an_idempotent_request_on_a_stale_connection_is_retried_unseen(app, edge):
    lost = []

    def drop_reused(connection, request):
        request.body = b"".join(connection.body(request))
        if connection.requests > 1:
            lost.append(request)
            return "close"
        connection.send(Reply(200, "fresh").encode("GET"))

    app.on(stream=drop_reused)
    for _ in range(10):
        with edge.client() as client:
            assert client.ask(target="/page").text == "fresh"
    assert lost, "no connection was reused: the test shows nothing"


def test_a_post_is_not_sent_twice(app, edge):
    seen = []

    def drop_reused(connection, request):
        request.body = b"".join(connection.body(request))
        if request.method == "POST":
            seen.append(request)
            return "close"
        connection.send(Reply(200, "ok").encode("GET"))

    app.on(stream=drop_reused)
    with edge.client() as client:
        assert client.ask().status == 200
        answer = client.ask("POST", "/pay", body=b"100 EUR")
        assert answer.status == 502
    assert len(seen) == 1


def test_an_early_answer_to_an_upload_reaches_the_client(app, edge):
    def refuse(connection, request):
        connection.send(Reply(413, "too big", close=True).encode("POST"))
        # Reads on, as a careful server does, so that no RST destroys the answer.
        try:
            for _ in connection.body(request):
                pass
        except Gone:
            pass
        return "close"

    app.on(stream=refuse)
    with edge.client() as client:
        client.send(encode("POST", "/up", {"Content-Length": str(5 * MB)}) + b"x" * 1000)
        answer = client.response()
        assert (answer.status, answer.text) == (413, "too big")
        client.try_send(b"x" * (5 * MB - 1000))
    with edge.client() as client:
        app.on(Reply(200, "next"))
        assert client.ask().text == "next"


def test_no_request_outlives_the_sidecars_files(app, edge):
    with edge.client() as client:
        client.ask()
    before = eventually(lambda: edge.open_files)
    for _ in range(100):
        client = edge.client()
        client.request(target="/page")
        client.reset()
    eventually(lambda: edge.open_files <= before + 20, lambda: f"{edge.open_files} files open, {before} before")
