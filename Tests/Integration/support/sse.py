"""A client of Server-Sent Events (HTML Living Standard §9.2) on a plain socket."""

import socket

from .net import PATIENCE


class EventStream:
    """An open stream; `status` and `headers` are those of the answer."""

    def __init__(self, port, target="/events", headers=None, receive_buffer=None):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", port))
        fields = {"Host": f"127.0.0.1:{port}", "Accept": "text/event-stream", **(headers or {})}
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self.sock.sendall("\r\n".join(lines).encode())
        self.buffer = b""
        head = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.status = int(head[0].split(" ")[1])
        self.headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.comments = 0
        self.retry = None
        self.last_id = None

    def until(self, mark):
        while mark not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(self.buffer)
            self.buffer += data
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def event(self):
        """The next event as (type, data); comments and `retry` on the way are noted."""
        while True:
            data, kind = [], "message"
            for line in self.until(b"\n\n").decode().split("\n"):
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "":
                    self.comments += 1
                elif name == "data":
                    data.append(value)
                elif name == "event":
                    kind = value
                elif name == "id":
                    self.last_id = value
                elif name == "retry":
                    self.retry = int(value)
            if data:
                return kind, "\n".join(data)

    def ends(self):
        """Reads to the end; returns what came."""
        try:
            while True:
                self.event()
        except EOFError as rest:
            return rest

    def close(self):
        self.sock.close()
