"""The HTTP/1.1 of the scriptable app: requests as they came, replies as they go, and connections from the proxy."""

import ssl
import threading
from dataclasses import dataclass, field

from .net import PATIENCE


class Gone(Exception):
    """The peer closed or reset the connection."""


@dataclass
class Request:
    """One request as it came from the proxy."""

    method: str
    target: str
    headers: list
    head: bytes
    connection: "Connection"
    on_connection: int
    body: bytes = b""
    trailers: list = field(default_factory=list)
    complete: bool = False

    def all(self, name):
        """Every value of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        """The one value of a header, or None; a doubled header fails the test."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def path(self):
        return self.target.split("?", 1)[0]

    @property
    def event(self):
        """`open`, `message` or `close` for an event of Sidesocket, else None."""
        values = self.all("ce-type")
        if values and values[0].startswith("sidesocket."):
            return values[0].removeprefix("sidesocket.")
        return None

    @property
    def sequence(self):
        return int(self.header("ce-sequence"))

    @property
    def text(self):
        return self.body.decode()


@dataclass
class Reply:
    """What the app answers; `raw` bytes replace the generated ones (b"" answers nothing and waits)."""

    status: int = 200
    body: bytes | str = b""
    headers: list | dict = field(default_factory=list)
    reason: str = "Whatever"
    raw: bytes | None = None
    gate: threading.Event | None = None
    chunked: bool = False
    trailers: list = field(default_factory=list)
    close: bool = False
    reset: bool = False
    drip: float | None = None

    def encode(self, method):
        if self.raw is not None:
            return self.raw
        body = self.body.encode() if isinstance(self.body, str) else self.body
        headers = list(self.headers.items()) if isinstance(self.headers, dict) else list(self.headers)
        names = {name.lower() for name, _ in headers}
        if self.chunked:
            headers.append(("Transfer-Encoding", "chunked"))
            size = max(1, (len(body) + 2) // 3)
            parts = [body[i : i + size] for i in range(0, len(body), size)]
            framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n"
            framed += b"".join(f"{n}: {v}\r\n".encode("latin-1") for n, v in self.trailers) + b"\r\n"
            body = framed
        elif "content-length" not in names and self.status not in (204, 304) and self.status >= 200:
            headers.append(("Content-Length", str(len(body))))
        if self.close and "connection" not in names:
            headers.append(("Connection", "close"))
        head = f"HTTP/1.1 {self.status} {self.reason}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n"
        if method == "HEAD" or self.status in (204, 304):
            body = b""
        return head.encode("latin-1") + body


class Connection:
    """One connection from the proxy."""

    def __init__(self, app, sock, number):
        self.app = app
        self.sock = sock
        self.number = number
        self.buffer = bytearray()
        self.requests = 0
        self.closed = threading.Event()
        self.how = None
        self.idle = True

    # Reading

    def fill(self):
        try:
            data = self.sock.recv(1 << 18)
        except (TimeoutError, ssl.SSLWantReadError):
            raise Gone from None
        except OSError as error:
            self.note("reset" if isinstance(error, ConnectionResetError) else "error")
            raise Gone from None
        if not data:
            self.note("fin")
            raise Gone
        self.buffer += data

    def note(self, how):
        self.how = self.how or how
        self.closed.set()

    def read_head(self):
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            self.fill()
        head = bytes(self.buffer[: end + 4])
        del self.buffer[: end + 4]
        return head

    def read_line(self):
        while (end := self.buffer.find(b"\r\n")) < 0:
            self.fill()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line

    def take(self, limit):
        if not self.buffer:
            self.fill()
        part = bytes(self.buffer[:limit])
        del self.buffer[: len(part)]
        return part

    def body(self, request):
        """Yields the body's bytes as they come and marks the request complete at its end."""
        length = request.header("content-length")
        if length is not None:
            left = int(length)
            while left:
                part = self.take(left)
                left -= len(part)
                yield part
        elif request.all("transfer-encoding"):
            while size := int(self.read_line().split(b";")[0], 16):
                while size:
                    part = self.take(size)
                    size -= len(part)
                    yield part
                if self.read_line():
                    self.app.faults.append("a chunk is longer than its size says")
            while line := self.read_line():
                name, _, value = line.decode("latin-1").partition(":")
                request.trailers.append((name, value.strip()))
        request.complete = True

    # Writing

    def send(self, data):
        try:
            self.sock.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            self.note("reset" if isinstance(error, ConnectionResetError) else "fin")
            raise Gone from None

    def wait_closed(self, timeout=PATIENCE):
        """Waits until the proxy has closed this connection (a read must be going on)."""
        assert self.closed.wait(timeout), "the proxy kept its connection to the app open"
        return self.how
