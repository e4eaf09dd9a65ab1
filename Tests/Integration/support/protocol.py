"""A client of the protocol on a raw socket: it sees every frame, and sends what a test wants, right or wrong."""

import json

import msgpack

from .net import eventually
from .ws import WebSocket

JSON, MSGPACK = "sidesocket.v1.json", "sidesocket.v1.msgpack"
ENCODINGS = [JSON, MSGPACK]


class ProtocolClient(WebSocket):
    """A client that has offered the protocol; `welcome` is the first frame, unless the server chose otherwise."""

    def __init__(self, edge, target="/ws", protocol=JSON, greet=True, **how):
        super().__init__(edge.port, target, protocol=protocol, **how)
        self.edge, self.target = edge, target
        self.seq, self.positions = 0, {}
        self.chosen = self.answer.header("sec-websocket-protocol")
        self.encoding = self.chosen or protocol
        self.welcome = None
        if greet and self.answer.status == 101:
            assert self.chosen in ENCODINGS, f"{self.answer.status} {self.chosen}: {self.answer.text}"
            self.welcome = self.frame_of("$welcome")

    # Sending

    def give(self, **members):
        """Sends a frame; a name in Python that is none in JSON gets an underscore behind it."""
        members = {name.rstrip("_"): value for name, value in members.items()}
        if self.encoding == JSON:
            self.text(json.dumps(members, separators=(",", ":")))
        else:
            self.binary(msgpack.packb(members))

    def post(self, payload=None, id=None, type="post"):
        self.give(type=type, payload=payload, **({"id": id} if id is not None else {}))

    # Receiving

    def frame_(self):
        """The next frame as a dict."""
        message = self.message()
        if self.encoding == JSON:
            assert isinstance(message, str), f"binary {message[:60]!r}"
            return self.note(json.loads(message))
        assert isinstance(message, bytes), f"text {message[:60]!r}"
        return self.note(msgpack.unpackb(message))

    def note(self, frame):
        """Remembers what a client has to know for a resume."""
        self.seq = max(self.seq, frame.get("seq", 0))
        if frame["type"] == "$welcome":
            self.positions = {c: place(at) for c, at in frame["channels"].items() if "offset" in at}
        elif frame["type"] == "$left":
            self.positions.pop(frame["channel"], None)
        elif "offset" in frame:
            at = self.positions.get(frame["channel"], {})
            self.positions[frame["channel"]] = {**at, **place(frame)}
        return frame

    def frame_of(self, type, **members):
        """The next frame, which must be of this type and have these members."""
        got = self.frame_()
        wanted = {"type": type, **members}
        assert {name: got.get(name) for name in wanted} == wanted, f"{got} instead of {wanted}"
        return got

    def returns(self, edge=None, target=None, token=None, encoding=None, resume=None, **how):
        """The same client on a new connection; `resume` replaces members of its `$resume`, None sends none."""
        token = token or self.welcome["resume"]
        offered = f"{encoding or self.encoding}, sidesocket.resume.{token}"
        new = ProtocolClient(edge or self.edge, target or self.target, protocol=offered, greet=False, **how)
        if new.answer.status != 101:
            return new
        new.encoding = new.chosen
        new.seq, new.positions = self.seq, dict(self.positions)
        frame = {"seq": self.seq, "channels": self.positions, "session": self.welcome["session"], **(resume or {})}
        new.give(type="$resume", **frame)
        return new

    def resumes(self, **how):
        """The same client on a new connection, which has got its session again; `missed` is what it gets before `$live`."""
        new = self.returns(**how)
        assert new.answer.status == 101, new.answer.text
        new.welcome = new.frame_of("$welcome", session=self.welcome["session"], resumed=True)
        new.missed = new.until_live()
        return new

    def until_live(self):
        got = []
        while (frame := self.frame_())["type"] != "$live":
            got.append(frame)
        return got

    def quiet(self):
        """Nothing more has come: the server has read everything, and its next frame answers a ping."""
        self.give(type="$ping")
        self.frame_of("$pong")

    def expect_goodbye(self, code, reconnect):
        """`$bye`, then the close."""
        bye = self.frame_of("$bye", code=code, reconnect=reconnect)
        assert ("after" in bye) == reconnect
        assert self.expect_close().code == code
        return bye



def place(frame):
    """The position in a frame; a publication has no epoch, which stays as it was."""
    return {name: frame[name] for name in ("offset", "epoch", "id") if name in frame}


def lose(client):
    """The connection is gone without a word, and Sidesocket knows it."""
    edge = client.edge
    before = edge.metric("sessions_detached")
    client.reset()
    eventually(lambda: edge.metric("sessions_detached") == before + 1, "the session is detached")
