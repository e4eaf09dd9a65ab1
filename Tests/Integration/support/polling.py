"""A client of the protocol over HTTP: polls, a stream, and POSTs that are right or wrong."""

import http.client
import json
import socket
import threading

from .net import PATIENCE
from .protocol import place

TYPE = "application/vnd.sidesocket.v1+json"
POLL, STREAM = "application/json", "text/event-stream"


class Answer:
    """The answer to a POST; `frames` are None where there is no body of frames."""

    def __init__(self, response):
        self.status = response.status
        self.fields = [(name.lower(), value) for name, value in response.getheaders()]
        self.headers = dict(self.fields)
        self.body = response.read()
        is_json = self.headers.get("content-type") == POLL
        self.frames = json.loads(self.body)["frames"] if is_json else None

    def all(self, wanted):
        """All values of a header."""
        return [value for name, value in self.fields if name == wanted]

    @property
    def types(self):
        return [frame["type"] for frame in self.frames]


class Post:
    """A POST under way on a connection of its own."""

    def __init__(self, port, target, body, headers):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3 * PATIENCE)
        self.answer, self.error = None, None
        body = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        self.connection.request("POST", target, body, headers)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            self.answer = Answer(self.connection.getresponse())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.error = error

    @property
    def is_waiting(self):
        return self.thread.is_alive()

    def wait(self, timeout=2 * PATIENCE):
        self.thread.join(timeout)
        assert not self.thread.is_alive(), "the POST is not answered"
        if self.error:
            raise self.error
        return self.answer

    def lose(self):
        """The connection is gone."""
        self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.connection.close()


class HTTPClient:
    """What both transports have: POSTs, and what a client has to remember."""

    def __init__(self, edge, target="/http", headers=None):
        self.edge, self.target, self.headers = edge, target, dict(headers or {})
        self.n, self.seq, self.positions, self.token, self.welcome = 0, 0, {}, None, None

    def post(self, body, accept=POLL, headers=None, edge=None):
        """Sends any body."""
        fields = {"Content-Type": TYPE, "Accept": accept, **self.headers, **(headers or {})}
        return Post((edge or self.edge).port, self.target, body, fields)

    def next(self, send=(), **how):
        """Sends the next POST, with frames."""
        self.n += 1
        body = {"resume": self.token, "n": self.n}
        if send:
            body["send"] = list(send)
        return self.post(body, **how)

    def first(self, **members):
        """The body of a first POST: of a new client, or of one that returns."""
        self.n = 1
        body = {"n": 1}
        if self.token:
            body |= {"resume": self.token, "seq": self.seq, "channels": self.positions}
            body |= {"session": self.welcome["session"]}
        return {name: value for name, value in {**body, **members}.items() if value is not None}

    def note(self, frame):
        """Remembers what a client has to know for a resume."""
        self.seq = max(self.seq, frame.get("seq", 0))
        if frame["type"] == "$welcome":
            self.welcome, self.token = frame, frame.get("resume")
            self.positions = {c: place(at) for c, at in frame["channels"].items() if "offset" in at}
        elif frame["type"] == "$left":
            self.positions.pop(frame["channel"], None)
        elif "offset" in frame:
            at = self.positions.get(frame["channel"], {})
            self.positions[frame["channel"]] = {**at, **place(frame)}
        return frame


class PollClient(HTTPClient):
    """A client that polls."""

    def begins(self, **members):
        """The first poll; returns its frames."""
        how = {name: members.pop(name) for name in ("edge", "headers") if name in members}
        return self.take(self.post(self.first(**members), **how))

    def take(self, post):
        """Waits for an answer with frames, and returns them."""
        answer = post.wait()
        assert answer.status == 200, f"{answer.status} {answer.body[:200]!r}"
        return [self.note(frame) for frame in answer.frames]

    def frames(self, *send, **how):
        """The frames of the next poll."""
        return self.take(self.next(send, **how))

    def until(self, type, *send, **members):
        """Polls until a frame of this type comes, and returns all that came; the last has these members."""
        got = self.frames(*send)
        while got[-1]["type"] != type:
            got += self.frames()
        wanted = {"type": type, **members}
        assert {name: got[-1].get(name) for name in wanted} == wanted, f"{got[-1]} instead of {wanted}"
        return got


class StreamClient(HTTPClient):
    """A client with a stream."""

    def begins(self, **members):
        """Opens the stream; returns the answer, or its first frame when it is a stream."""
        how = {name: members.pop(name) for name in ("edge", "headers") if name in members}
        body = json.dumps(self.first(**members)).encode()
        port = (how.get("edge") or self.edge).port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        fields = {"Content-Type": TYPE, "Accept": STREAM, **self.headers, **how.get("headers", {})}
        self.connection.request("POST", self.target, body, fields)
        self.response = self.connection.getresponse()
        if self.response.headers.get("content-type") != STREAM:
            return Answer(self.response)
        return self.frame()

    def frame(self):
        """The next frame; None at the end of the stream."""
        while line := self.response.readline():
            if line.startswith(b"data: "):
                return self.note(json.loads(line[6:]))
        return None

    def frame_of(self, type, **members):
        got = self.frame()
        wanted = {"type": type, **members}
        assert got and {name: got.get(name) for name in wanted} == wanted, f"{got} instead of {wanted}"
        return got

    def send(self, *frames, **how):
        """Sends frames beside the stream."""
        answer = self.next(frames, **how).wait()
        assert answer.status == 204, f"{answer.status} {answer.body[:200]!r}"

    def lose(self):
        self.connection.sock and self.connection.sock.close()
        self.response.close()
        self.connection.close()
