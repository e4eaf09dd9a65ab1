"""What is passed through streams both ways, in constant memory, at the pace of the slower side."""

import threading
import zlib

import pytest
from support.app import Reply, gate
from support.net import eventually, send_until_blocked, stable
from support.raw import encode

MB = 1 << 20


def test_a_request_body_streams(shared):
    app, process = shared
    parts = []

    def read(connection, request):
        for part in connection.body(request):
            parts.append(part)
        connection.send(Reply(200, b"".join(parts)).encode("POST"))

    app.on(stream=read)
    with process.client() as client:
        client.send(encode("POST", "/up", {"Transfer-Encoding": "chunked"}))
        for i in range(5):
            client.send(b"2\r\n%02d\r\n" % i)
            eventually(lambda i=i: b"".join(parts) == b"".join(b"%02d" % n for n in range(i + 1)), f"part {i}")
        client.send(b"0\r\n\r\n")
        assert client.response().text == "0001020304"


@pytest.mark.parametrize("framing", ["chunked", "length", "until close"])
def test_an_answer_streams(shared, framing):
    app, process = shared
    step = threading.Semaphore(0)
    head = {
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
        "length": b"Content-Length: 10\r\n\r\n",
        "until close": b"Connection: close\r\n\r\n",
    }[framing]

    def write(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\n" + head)
        for i in range(5):
            connection.send(b"2\r\n%02d\r\n" % i if framing == "chunked" else b"%02d" % i)
            step.acquire(timeout=10)
        if framing == "chunked":
            connection.send(b"0\r\n\r\n")
        return "close" if framing == "until close" else None

    app.on(stream=write)
    with process.client() as client:
        client.request()
        assert client.head().status == 200
        for i in range(5):
            client.until(b"%02d" % i)
            step.release()


def test_server_sent_events_reach_the_client_at_once(shared):
    app, process = shared
    done = gate()

    def write(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\r\n")
        connection.send(b"data: 1\n\n")
        done.wait(10)
        return "close"

    app.on(stream=write)
    with process.client() as client:
        client.request()
        assert client.head().header("content-type") == "text/event-stream"
        client.until(b"data: 1\n\n")
        done.set()


BLOCK = bytes(range(256)) * 4096  # 1 MiB


def test_an_upload_of_200_mb_in_constant_memory(app, edge):
    seen = {"size": 0, "crc": 0}

    def read(connection, request):
        for part in connection.body(request):
            seen["size"] += len(part)
            seen["crc"] = zlib.crc32(part, seen["crc"])
        connection.send(Reply(200, "got it").encode("POST"))

    app.on(stream=read)
    crc = 0
    edge.forget_peak_rss()
    before = edge.rss
    with edge.client() as client:
        client.send(encode("PUT", "/up", {"Content-Length": str(200 * MB)}))
        for _ in range(200):
            client.send(BLOCK)
            crc = zlib.crc32(BLOCK, crc)
        assert client.response().text == "got it"
    assert seen == {"size": 200 * MB, "crc": crc}
    assert edge.peak_rss - before < 24 * MB


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_download_of_200_mb_in_constant_memory(app, edge, framing):
    def write(connection, request):
        if framing == "length":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (200 * MB))
        else:
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            connection.send(BLOCK if framing == "length" else b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK))
        if framing == "chunked":
            connection.send(b"0\r\n\r\n")

    app.on(stream=write)
    edge.forget_peak_rss()
    before = edge.rss
    with edge.client() as client:
        client.request()
        head = client.head()
        if head.all("content-length"):
            left, crc = 200 * MB, 0
            while left:
                if not client.buffer:
                    assert client.fill()
                crc = zlib.crc32(client.buffer, crc)
                left -= len(client.buffer)
                client.buffer.clear()
        else:
            crc = 0
            while size := int(client.until(b"\r\n"), 16):
                crc = zlib.crc32(client.exactly(size), crc)
                client.exactly(2)
            client.until(b"\r\n")
        expected = 0
        for _ in range(200):
            expected = zlib.crc32(BLOCK, expected)
        assert crc == expected
        assert edge.peak_rss - before < 24 * MB
        # The connection is still in step.
        app.on(Reply(200, "after"))
        assert client.ask().text == "after"


def test_a_client_that_reads_slowly_holds_back_the_app(app, edge):
    sent = {"bytes": 0}

    def write(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 * MB))
        for _ in range(1600):
            connection.send(BLOCK[: MB // 16])
            sent["bytes"] += MB // 16

    app.on(stream=write, path="/down")
    before = edge.rss
    with edge.client(receive_buffer=64 << 10) as client:
        client.request(target="/down")
        eventually(lambda: sent["bytes"] > 0)
        held = stable(lambda: sent["bytes"])
        assert held < 40 * MB
        assert edge.rss - before < 24 * MB
        # Others don't notice.
        with edge.client() as other:
            assert other.ask(target="/page").text == "from the app"
        answer = client.response()
        assert len(answer.body) == 100 * MB and not answer.truncated


def test_an_app_that_reads_slowly_holds_back_the_client(app, edge):
    held = gate()
    seen = {"size": 0}

    def read(connection, request):
        held.wait(50)
        for part in connection.body(request):
            seen["size"] += len(part)
        connection.send(Reply(200, "ok").encode("POST"))

    app.on(stream=read, path="/up")
    before = edge.rss
    with edge.client() as client:
        client.send(encode("POST", "/up", {"Content-Length": str(100 * MB)}))
        sent = send_until_blocked(client.sock, BLOCK, limit=100 * MB)
        assert sent < 50 * MB
        assert edge.rss - before < 24 * MB
        held.set()
        while sent < 100 * MB:
            part = BLOCK[sent % MB : sent % MB + min(MB, 100 * MB - sent)]
            client.send(part)
            sent += len(part)
        assert client.response().text == "ok"
    assert seen["size"] == 100 * MB


def test_a_slow_request_body_is_no_slow_head(app, sidesocket):
    # HANDSHAKE_TIMEOUT is for the head alone, and for that of every request anew.
    edge = sidesocket(app, HANDSHAKE_TIMEOUT="500ms")
    held = gate()
    app.on(Reply(200, "late", gate=held), path="/late")
    with edge.client() as client:
        client.request(target="/late")
        request = app.wait_head("/late")
        # The call to the app outlives the deadline by far.
        assert not request.connection.closed.wait(1.2)
        held.set()
        assert client.response().text == "late"
        assert client.ask(target="/page").text == "from the app"
