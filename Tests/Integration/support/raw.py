"""A raw HTTP/1.1 client: it can send any bytes and reads answers strictly."""

import re
import socket
import weakref
from dataclasses import dataclass, field

from .net import PATIENCE, reset

_STATUS_LINE = re.compile(rb"^HTTP/1\.1 [1-5][0-9][0-9] [^\x00-\x08\x0a-\x1f\x7f]*$")
_HEADER = re.compile(rb"^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[^\x00-\x08\x0a-\x1f\x7f]*$")


_clients = weakref.WeakSet()


def close_clients():
    """Closes every client that a test left open, as a failed one does."""
    for client in list(_clients):
        client.sock.close()


@dataclass
class Response:
    """One answer, head and body."""

    status: int
    headers: list
    head: bytes
    body: bytes = b""
    trailers: list = field(default_factory=list)
    informational: list = field(default_factory=list)
    truncated: bool = False

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")


class Client:
    """One connection to the proxy's public (or control) port."""

    def __init__(self, port, unix=None, receive_buffer=None):
        self.host = f"127.0.0.1:{port}"
        self.sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(unix or ("127.0.0.1", port))
        if not unix:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.ended = None
        _clients.add(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        if isinstance(data, str):
            data = data.encode("latin-1")
        self.sock.sendall(data)

    def try_send(self, data):
        """Sends `data`; returns False if the proxy has closed the connection by then."""
        try:
            self.send(data)
            return True
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            return False

    def request(self, method="GET", target="/", headers=(), body=None, host=None, version="HTTP/1.1"):
        """Sends a well-formed request; `headers` is a dict or a list of pairs."""
        self.send(encode(method, target, headers, body, self.host if host is None else host, version))

    def ask(self, method="GET", target="/", headers=(), body=None, **more):
        """Sends a request and reads its answer."""
        self.request(method, target, headers, body, **more)
        return self.response(method)

    # Reading

    def fill(self, limit=1 << 18):
        """Reads more, at most `limit` bytes; returns False at the end of the stream."""
        if self.ended:
            return False
        try:
            data = self.sock.recv(limit)
        except (ConnectionResetError, BrokenPipeError):
            self.ended = "reset"
            return False
        if not data:
            self.ended = "fin"
            return False
        self.buffer += data
        return True

    def until(self, mark):
        while (end := self.buffer.find(mark)) < 0:
            if not self.fill():
                raise EOFError(f"the connection ended ({self.ended}) after {bytes(self.buffer[:300])!r}")
        data = bytes(self.buffer[: end + len(mark)])
        del self.buffer[: end + len(mark)]
        return data

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise EOFError(f"the connection ended ({self.ended}), {count - len(self.buffer)} bytes short")
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def head(self):
        """Reads one response head, be it a 1xx one, and nothing of the body."""
        head = self.until(b"\r\n\r\n")
        lines = head[:-4].split(b"\r\n")
        assert _STATUS_LINE.match(lines[0]), f"status line {lines[0]!r}"
        for line in lines[1:]:
            assert _HEADER.match(line), f"header line {line!r}"
        pairs = [line.decode("latin-1").partition(":") for line in lines[1:]]
        return Response(int(lines[0].split(b" ")[1]), [(name, value.strip(" \t")) for name, _, value in pairs], head)

    def response(self, method="GET"):
        """Reads one whole answer; a body that ends early is marked `truncated`."""
        informational = []
        while (answer := self.head()).status < 200 and answer.status != 101:
            informational.append(answer.status)
        answer.informational = informational
        lengths, codings = answer.all("content-length"), answer.all("transfer-encoding")
        assert not (lengths and codings), f"both {lengths} and {codings}"
        if method == "HEAD" or answer.status in (101, 204, 304):
            assert not codings or method == "HEAD", "a body where none may be"
            return answer
        parts = []
        try:
            if codings:
                assert codings == ["chunked"]
                while size := int(self.until(b"\r\n").split(b";")[0], 16):
                    parts.append(self.exactly(size))
                    assert self.exactly(2) == b"\r\n"
                while (line := self.until(b"\r\n")) != b"\r\n":
                    name, _, value = line.decode("latin-1").partition(":")
                    answer.trailers.append((name, value.strip()))
            elif lengths:
                parts.append(self.exactly(int(answer.header("content-length"))))
            else:
                while self.fill():
                    pass
                parts.append(bytes(self.buffer))
                self.buffer.clear()
                answer.truncated = self.ended != "fin"
        except EOFError:
            parts.append(bytes(self.buffer))
            self.buffer.clear()
            answer.truncated = True
        answer.body = b"".join(parts)
        return answer

    def rest(self):
        """Everything up to the end of the stream; fails if the proxy keeps the connection open."""
        while self.fill():
            pass
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    def wait_closed(self, timeout=5.0):
        """Waits for the proxy to end the connection and returns `fin` or `reset`; later bytes fail the test."""
        self.sock.settimeout(timeout)
        try:
            extra = self.rest()
        except TimeoutError:
            raise AssertionError(f"the connection is still open after {timeout} s") from None
        assert extra == b"", f"unexpected bytes {extra[:300]!r}"
        return self.ended

    def reset(self):
        reset(self.sock)


def encode(method="GET", target="/", headers=(), body=None, host="sidesocket.test", version="HTTP/1.1"):
    """A request as bytes."""
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    if body is not None and not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in pairs):
        pairs.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} {version}"] + ([f"Host: {host}"] if host else [])
    lines += [f"{name}: {value}" for name, value in pairs]
    text = "\r\n".join(lines) + "\r\n\r\n"
    return text.encode("latin-1") + (body or b"")
