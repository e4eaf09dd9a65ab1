"""A history of what clients sent and saw and what the app got, and the program that checks it.

```
  HistoryClient ── sent, seen ──▶ History ◀── got ── note_app() on each app
                                     │
                                  faults()   what breaks the promise of delivery, as sentences
```
"""

import itertools
import os
import random
import socket
import threading
import time
from dataclasses import dataclass, field

from .net import reset
from .ws import CLOSE, PING, PONG, TEXT, WebSocket, close_payload, frame

# A message that ends with this is one whose answer the client does not wait for: it may be refused for good.
HOPELESS = "!"


def scale(name, default):
    """A number from the environment: CI takes the default, a nightly run more."""
    return int(os.environ.get(f"SIDESOCKET_{name}", default))


@dataclass
class Session:
    """One connection as its client knows it."""

    label: str
    # The server answered a ping behind that many messages: it had received them.
    sent: list = field(default_factory=list)
    received: int = 0
    seen: list = field(default_factory=list)
    # The close code that the server sent without being asked, or how else the connection ended on us.
    broken: str | None = None
    end: str | None = None


@dataclass
class Arrival:
    """One event as an app got it, on any attempt."""

    at: float
    id: str
    connection: str
    sequence: int
    event: str
    label: str
    body: bytes
    time: str
    content_type: str | None


class History:
    """Everything that happened, in the order in which it was noted."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sessions = []
        self.arrivals = []

    # Recording

    def session(self, label):
        session = Session(label)
        with self.lock:
            self.sessions.append(session)
        return session

    def got(self, request):
        """Notes an event; call it when the body is there and before anything is answered."""
        if not request.event:
            return
        arrival = Arrival(
            time.monotonic(), request.header("ce-id"), request.header("ce-connectionid"), request.sequence,
            request.event, request.header("ce-subject"), bytes(request.body), request.header("ce-time"),
            request.header("content-type"),
        )  # fmt: skip
        with self.lock:
            self.arrivals.append(arrival)

    def recording(self, answer):
        """The function of a request that notes it and then answers like `answer`, a function or a Reply."""

        def reply(request):
            self.got(request)
            return answer(request) if callable(answer) else answer

        return reply

    # Reading

    def by_connection(self):
        """The arrivals of each connection, in the order of arrival."""
        found = {}
        with self.lock:
            for arrival in self.arrivals:
                found.setdefault(arrival.connection, []).append(arrival)
        return found

    @property
    def retries(self):
        """How many arrivals repeated an event that the app had got already."""
        with self.lock:
            return len(self.arrivals) - len({a.id for a in self.arrivals})

    def closes_owed(self):
        """Labels of connections that their client saw opened and whose close the app has not got yet."""
        with self.lock:
            closed = {a.label for a in self.arrivals if a.event == "close"}
            return [s.label for s in self.sessions if s.label not in closed]

    def faults(self, *, everything_answered=True, everything_received=True, unbroken=True):
        """What breaks the promise, as sentences; an empty list is a good history.

        `everything_answered`: each message but the hopeless ones was answered to its client.
        `everything_received`: what the server had received, by its pong, reached the app.
        `unbroken`: no connection ended before its client wanted it to.
        """
        faults = []
        connections = self.by_connection()
        first = {}
        for arrival in itertools.chain.from_iterable(connections.values()):
            known = first.setdefault(arrival.id, arrival)
            if arrival.id != f"{arrival.connection}-{arrival.sequence}":
                faults.append(f"{arrival.id}: not connection and sequence ({arrival.connection}, {arrival.sequence})")
            for name in ("event", "sequence", "body", "time", "content_type", "label", "connection"):
                if getattr(known, name) != getattr(arrival, name):
                    faults.append(
                        f"{arrival.id}: {name} was {getattr(known, name)!r}, on a retry {getattr(arrival, name)!r}"
                    )
        by_label = {}
        for key, arrivals in connections.items():
            # Duplicates aside: a first attempt that hung somewhere may come in long after its retry.
            order = _first_arrivals(arrivals)
            numbers = [a.sequence for a in order]
            if numbers != list(range(1, len(numbers) + 1)):
                faults.append(f"{key} ({order[0].label}): the events came as {numbers}")
            if order[0].event != "open" or any(a.event == "open" for a in order[1:]):
                faults.append(f"{key}: open is not the first event and the only one: {[a.event for a in order]}")
            closes = [a for a in order if a.event == "close"]
            if len(closes) > 1:
                faults.append(f"{key}: {len(closes)} closes: {[a.id for a in closes]}")
            if closes and order[-1].event != "close":
                faults.append(f"{key}: close is not the last event: {[a.event for a in order][-5:]}")
            by_label.setdefault(order[0].label, []).append(order)
        for session in self.sessions:
            faults += self._session_faults(
                session, by_label.get(session.label, []), everything_answered, everything_received, unbroken
            )
        return faults

    @staticmethod
    def _session_faults(session, heard, everything_answered, everything_received, unbroken):
        faults = []
        # A handshake that the client repeated after a refusal has a connection of its own, without a close.
        heard = [order for order in heard if len(order) > 1]
        if len(heard) != 1:
            return [f"{session.label}: the app heard of {len(heard)} connections with more than an open"]
        (order,) = heard
        if order[-1].event != "close":
            faults.append(f"{session.label}: no close event; the client ended by {session.end or session.broken}")
        got = [a.body.decode() for a in order if a.event == "message"]
        if got != session.sent[: len(got)]:
            at = next((i for i, (a, b) in enumerate(zip(got, session.sent, strict=False)) if a != b), len(session.sent))
            faults.append(
                f"{session.label}: from message {at} on the app got {got[at : at + 3]}, "
                f"sent was {session.sent[at : at + 3]}"
            )
        if everything_received and len(got) < session.received:
            faults.append(
                f"{session.label}: the server had received {session.received} messages, the app got {len(got)}"
            )
        reached = set(got)
        for text in session.seen:
            if text not in reached:
                faults.append(f"{session.label}: {text!r} was answered and never reached the app")
        wanted = [text for text in session.sent if not text.endswith(HOPELESS)]
        if session.seen != wanted[: len(session.seen)]:
            faults.append(f"{session.label}: the answers are not in order, or some came twice: {session.seen[-8:]}")
        if everything_answered and session.end != "vanished" and session.seen != wanted:
            faults.append(f"{session.label}: {len(wanted) - len(session.seen)} messages were not answered")
        if unbroken and session.broken:
            faults.append(f"{session.label}: the connection broke: {session.broken}")
        return faults


def _first_arrivals(arrivals):
    seen, order = set(), []
    for arrival in arrivals:
        if arrival.id not in seen:
            seen.add(arrival.id)
            order.append(arrival)
    return order


# Clients


class HistoryClient(threading.Thread):
    """Opens connections one after another, sends, reads the answers, and ends each in some way until told to stop."""

    def __init__(self, history, port, name, *, pace=0.1, hopeless=0.0, sessions=None, patience=60.0, seed=0):
        """`pace`: seconds between bursts; `hopeless`: the share of messages that may be refused for good."""
        super().__init__(daemon=True, name=name)
        self.history = history
        self.port = port
        self.pace = pace
        self.hopeless = hopeless
        self.sessions = sessions
        self.patience = patience
        self.random = random.Random(f"{name}/{seed}")
        self.stopping = threading.Event()
        self.refusals = 0
        self.error = None

    def run(self):
        try:
            for number in itertools.count():
                if self.stopping.is_set() or (self.sessions is not None and number >= self.sessions):
                    return
                self._session(f"/ws?c={self.name}.{number}")
        except Exception as error:  # noqa: BLE001 - the test shows it
            self.error = error

    def finish(self, timeout):
        self.stopping.set()
        self.join(timeout)
        assert not self.is_alive(), f"client {self.name} is still waiting"
        if self.error:
            raise self.error

    def _open(self, target):
        while True:
            ws = WebSocket(self.port, target)
            if ws.answer.status == 101:
                ws.sock.settimeout(self.patience)
                return ws
            # The app is away, and the answer says so; what else would be a fault.
            assert ws.answer.status in (429, 500, 502, 503, 504), (ws.answer.status, ws.answer.text)
            ws.sock.close()
            self.refusals += 1
            if self.stopping.wait(self.random.uniform(0.05, 0.4)):
                return None

    def _session(self, target):
        ws = self._open(target)
        if ws is None:
            return
        session = self.history.session(target)
        try:
            # Long enough to live through a few restarts, short enough that ends happen all the time.
            for _ in range(self.random.randint(3, 25)):
                if self.stopping.wait(self.random.uniform(0, 2 * self.pace)):
                    break
                self._burst(ws, session)
            self._end(ws, session)
        except (_Broken, EOFError, OSError) as error:
            session.broken = f"{type(error).__name__} {error}"
        finally:
            ws.sock.close()

    def _burst(self, ws, session):
        texts = []
        for _ in range(self.random.choice((1, 1, 1, 2, 4))):
            mark = HOPELESS if self.random.random() < self.hopeless else ""
            texts.append(f"{session.label} {len(session.sent) + len(texts)}{mark}")
        session.sent += texts
        ws.send(b"".join(frame(TEXT, text) for text in texts))
        if self.random.random() < 0.3:
            self._barrier(ws, session)
        self._catch_up(ws, session)

    def _catch_up(self, ws, session):
        wanted = sum(1 for text in session.sent if not text.endswith(HOPELESS))
        while len(session.seen) < wanted:
            self._receive(ws, session)

    def _receive(self, ws, session):
        got = ws.receive()
        if got.opcode == PING:
            ws.frame(PONG, got.payload)
        elif got.opcode == CLOSE:
            raise _Broken(f"closed with {got.code} {got.reason!r}")
        elif got.opcode == TEXT:
            session.seen.append(got.payload.decode())
        return got

    def _barrier(self, ws, session):
        """The server has received what was sent so far: it answers a ping behind it, whatever the app does."""
        count, mark = len(session.sent), os.urandom(8)
        ws.ping(mark)
        while True:
            got = self._receive(ws, session)
            if got.opcode == PONG and got.payload == mark:
                session.received = max(session.received, count)
                return

    def _end(self, ws, session):
        end = self.random.choice(("close", "close", "reset", "fin", "vanished"))
        if end == "vanished":
            # Messages that the server has received and nobody waits for the answers of.
            texts = [f"{session.label} {len(session.sent) + i}" for i in range(3)]
            session.sent += texts
            ws.send(b"".join(frame(TEXT, text) for text in texts))
            self._barrier(ws, session)
            session.end = end
            reset(ws.sock)
            return
        self._barrier(ws, session)
        session.end = end
        if end == "close":
            ws.frame(CLOSE, close_payload(1000))
            while (got := ws.receive()).opcode != CLOSE:
                pass
            assert got.code == 1000, got
        elif end == "reset":
            reset(ws.sock)


class _Broken(Exception):
    pass


# The way between


class Relay:
    """A TCP relay before an app that can hold back bytes, as a stopping network does, or cut everything."""

    def __init__(self, to_port):
        self.to_port = to_port
        self.flowing = threading.Event()
        self.flowing.set()
        self.refusing = False
        self._lock = threading.Lock()
        self._sockets = set()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(512)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self):
        """Nothing passes any more, and nobody is told."""
        self.flowing.clear()

    def flow(self):
        self.flowing.set()

    def cut(self):
        """Resets every connection."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            # A thread may sit in recv on it: wake it first.
            try:
                one.shutdown(socket.SHUT_RD)
            except OSError:
                pass
            reset(one)

    def stop(self):
        self.flow()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        if self.refusing:
            reset(near)
            return
        try:
            far = socket.create_connection(("127.0.0.1", self.to_port), timeout=10)
        except OSError:
            reset(near)
            return
        far.settimeout(None)
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._sockets |= {near, far}
        back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
        back.start()
        self._pump(near, far)
        back.join()
        with self._lock:
            self._sockets -= {near, far}
        near.close()
        far.close()

    def _pump(self, source, target):
        try:
            while data := source.recv(1 << 16):
                self.flowing.wait()
                target.sendall(data)
            self.flowing.wait()
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for one in (source, target):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


__all__ = ["HOPELESS", "Arrival", "History", "HistoryClient", "Relay", "Session", "scale"]
