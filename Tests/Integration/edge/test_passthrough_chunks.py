"""Bodies in tiny chunks: what comes together goes on together, and nothing waits for more."""

import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from support.net import PATIENCE, eventually
from support.raw import encode

COUNT = 20_000
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def tiny(count=COUNT, size=1):
    """`count` chunks, and the body that they are."""
    body = bytes(n % 251 for n in range(count * size))
    return b"".join(chunk(body[n : n + size]) for n in range(0, len(body), size)), body


class Wire:
    """One accepted connection: everything that comes, read by read."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""
        self.reads = 0
        sock.settimeout(PATIENCE)

    def more(self):
        data = self.sock.recv(1 << 18)
        assert data, "the connection ended"
        self.reads += 1
        self.buffer += data

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        found, self.buffer = self.buffer.split(mark, 1)
        return found + mark

    def chunk(self):
        """The next chunk; the last one is empty."""
        size = int(self.until(b"\r\n"), 16)
        if size == 0:
            return b""
        while len(self.buffer) < size + 2:
            self.more()
        data, end, self.buffer = self.buffer[:size], self.buffer[size : size + 2], self.buffer[size + 2 :]
        assert end == b"\r\n"
        return data

    def chunks(self, trailers=b""):
        """The chunks up to the last one, as they were framed."""
        found = list(iter(self.chunk, b""))
        assert self.until(b"\r\n") == (trailers or b"\r\n")
        return found

    def data(self, size):
        """So many bytes of chunks that end with them."""
        found = b""
        while len(found) < size:
            found += self.chunk()
        return found


@pytest.fixture
def raw_app():
    """An app of one connection at a time; `serve(wire)` is called for each."""
    listener = socket.create_server(("127.0.0.1", 0))
    faults = []

    @contextmanager
    def start(serve):
        def run():
            sock, _ = listener.accept()
            with sock:
                try:
                    serve(Wire(sock))
                except Exception as error:
                    faults.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(PATIENCE)
        assert not faults and not thread.is_alive(), faults

    yield start
    listener.close()


@pytest.mark.parametrize("size", [1, 3, 16, 100])
def test_a_request_body_of_tiny_chunks_reaches_the_app_in_few(raw_app, sidesocket, size):
    wire, body = tiny(COUNT // size, size)
    got = {}

    def serve(app):
        app.until(b"\r\n\r\n")
        got["chunks"], got["reads"] = app.chunks(), app.reads
        app.sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with raw_app(serve) as url:
        edge = sidesocket(APP_URL=url)
        with edge.client() as client:
            client.send(encode("POST", "/", {"Transfer-Encoding": "chunked"}) + wire + b"0\r\n\r\n")
            assert client.response().status == 204
    assert b"".join(got["chunks"]) == body
    # At most a few for each read of up to 64 KiB, which begin small.
    assert len(got["chunks"]) < 60, len(got["chunks"])
    assert got["reads"] < 80


def test_an_answer_of_tiny_chunks_reaches_the_client_in_few(raw_app, sidesocket):
    wire, body = tiny()

    def serve(app):
        app.until(b"\r\n\r\n")
        app.sock.sendall(HEAD + wire + b"0\r\nX-End: 1\r\n\r\n")

    with raw_app(serve) as url:
        edge = sidesocket(APP_URL=url)
        with edge.client() as client:
            client.request()
            reader = Wire(client.sock)
            assert b"200" in reader.until(b"\r\n\r\n")
            found = reader.chunks(trailers=b"X-End: 1\r\n")
    assert b"".join(found) == body
    assert len(found) < 60, len(found)


def test_each_part_goes_out_when_it_has_come(raw_app, sidesocket):
    parts = [b"a", b"bc", b"d" * 40, b"e" * 5000, b"f"]

    def serve(app):
        app.until(b"\r\n\r\n")
        head = HEAD
        for part in parts:
            assert app.data(len(part)) == part
            # An answer part by part, while the request goes on.
            app.sock.sendall(head + chunk(part))
            head = b""
        assert app.chunks() == []
        app.sock.sendall(b"0\r\n\r\n")

    longest = 0.0
    with raw_app(serve) as url:
        edge = sidesocket(APP_URL=url)
        with edge.client() as client:
            client.send(encode("POST", "/", {"Transfer-Encoding": "chunked"}))
            reader = Wire(client.sock)
            for part in parts:
                began = time.monotonic()
                client.send(chunk(part))
                if part == parts[0]:
                    assert b" 200 " in reader.until(b"\r\n\r\n")
                assert reader.data(len(part)) == part
                longest = max(longest, time.monotonic() - began)
            client.send("0\r\n\r\n")
            assert reader.chunks() == []
    assert longest < 1.0


def test_a_fault_behind_good_chunks_of_the_same_read_ends_the_request(app, edge):
    with edge.client() as client:
        client.send(encode("POST", "/", {"Transfer-Encoding": "chunked"}) + chunk(b"a") * 100 + b"x\r\n")
        assert client.response().status == 400
        client.wait_closed()
    eventually(lambda: app.in_flight == 0, "the app is not left waiting")


def test_a_slow_app_still_holds_up_the_sender(raw_app, sidesocket):
    wire, _ = tiny(60_000)
    go = threading.Event()

    def serve(app):
        app.until(b"\r\n\r\n")
        assert go.wait(PATIENCE)
        with suppress(ConnectionError):
            while app.sock.recv(1 << 20):
                pass

    with raw_app(serve) as url:
        edge = sidesocket(APP_URL=url)
        with edge.client() as client:
            client.send(encode("POST", "/", {"Transfer-Encoding": "chunked"}))
            before = edge.rss
            client.sock.settimeout(0.5)
            sent = 0
            try:
                while sent < 256 << 20:
                    sent += client.sock.send(wire)
            except TimeoutError:
                pass
            assert sent < 128 << 20, "it was read on"
            assert edge.rss - before < 24 << 20
            client.sock.close()
            go.set()
