"""The publishers and readers of a `Load`: each is a thread that notes all it does and sees."""

import contextlib
import itertools
import random
import threading
import time

from .channel_history import UNKNOWN, Closed, Opened, Published, Received, Told
from .cluster import target
from .sse import EventStream
from .ws import CLOSE, PING, PONG, TEXT, WebSocket, frame

GAP = 4410


def short(payload):
    """What is noted of a payload: its beginning names it."""
    return payload[:80]


class _Stopped(Exception):
    """The reader is to stop reading."""


class Worker(threading.Thread):
    """A thread that works until it is told to stop; what goes wrong in it is shown by `finish`."""

    def __init__(self, load, name):
        super().__init__(daemon=True, name=name)
        self.load, self.cluster, self.recording = load, load.cluster, load.recording
        self.random = random.Random(f"{load.seed}/{name}")
        self.stopping = threading.Event()
        self.error = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.work()
        except _Stopped:
            pass
        except Exception as error:  # noqa: BLE001 - the test shows it
            self.error = error

    def node(self):
        """A node that runs."""
        live = self.cluster.live
        return self.random.choice(live)[1] if live else None

    def finish(self, timeout=30):
        self.stopping.set()
        self.join(timeout)
        assert not self.is_alive(), f"{self.name} still waits"
        if self.error:
            raise self.error


# Publishers


class Publisher(Worker):
    """Publishes by the API of any node, one message after the other; with a key it tries again what is unknown."""

    def __init__(self, load, name):
        super().__init__(load, name)
        self.numbers = itertools.count()

    def work(self):
        channel = self.random.choice(self.load.channels)
        payload = f"{channel}|{self.name}|{next(self.numbers)}"
        key = payload if self.random.random() < 0.7 else None
        for _ in range(6 if key else 1):
            if self.load.publish(self.node(), channel, payload, key) != UNKNOWN:
                break
            if self.stopping.wait(self.random.uniform(0.05, 0.4)):
                return
        self.stopping.wait(self.random.uniform(0, 2 * self.load.pace))


class ReplyPublisher(Worker):
    """A client whose messages the app publishes by its replies."""

    def __init__(self, load, name):
        super().__init__(load, name)
        self.connections = itertools.count()

    def work(self):
        node = self.node()
        sender = f"{self.name}.{next(self.connections)}"
        try:
            ws = WebSocket(node.port, target("/ws", r=sender, n=node.name))
        except (OSError, EOFError, AttributeError):
            self.stopping.wait(0.1)
            return
        with ws, contextlib.suppress(OSError, EOFError, AssertionError):
            if ws.answer.status != 101:
                self.stopping.wait(0.1)
                return
            for number in range(self.random.randint(5, 60)):
                channel = self.random.choice(self.load.channels)
                payload = f"{channel}|{sender}|{number}"
                now = time.monotonic()
                self.recording.add(Published(channel, payload, now, now, UNKNOWN, node.name, sender=sender))
                ws.text(payload)
                ws.barrier()
                if self.stopping.wait(self.random.uniform(0, 4 * self.load.pace)):
                    return


# Readers


class Reader(Worker):
    """Reads some channels at any node, comes again when its connection ends, and notes what it is told."""

    def __init__(self, load, name, channels):
        super().__init__(load, name)
        self.channels = tuple(channels)
        self.got = {channel: None for channel in channels}
        self.connected = threading.Event()

    def work(self):
        node = self.node()
        why = ""
        try:
            if node and self.open(node):
                try:
                    self.connected.set()
                    while True:
                        self.read()
                finally:
                    self.connected.clear()
        except _Stopped:
            self.note(Closed, stopped=True)
            raise
        except (OSError, EOFError, AssertionError, IndexError, ValueError) as error:
            why = f"{type(error).__name__} {error}"[:100]
        finally:
            self.leave()
        if self.is_open:
            self.is_open = False
            self.note(Closed, why=why)
        self.stopping.wait(self.random.uniform(0.02, 0.3))

    is_open = False

    def note(self, kind, **fields):
        self.recording.add(kind(self.name, at=time.monotonic(), **fields))

    def received(self, payload, event_id=None):
        channel = payload.split("|", 1)[0]
        self.got[channel] = payload
        self.recording.add(Received(self.name, channel, short(payload), time.monotonic(), event_id))

    def check_stop(self):
        if self.stopping.is_set():
            raise _Stopped


class StreamReader(Reader):
    """An event stream, which goes on behind the last event it has got."""

    stream = None
    last = None

    def open(self, node):
        self.stream = None
        headers = {"Last-Event-ID": self.last} if self.last else {}
        self.stream = EventStream(node.port, target("/events", r=self.name, n=node.name, join=self.channels), headers)
        if self.stream.status != 200:
            return False
        self.stream.last_id = self.last
        self.stream.sock.settimeout(0.2)
        self.is_open = True
        self.note(Opened, channels=self.channels, resumed=self.last is not None, node=node.name)
        return True

    def read(self):
        self.check_stop()
        try:
            kind, data = self.stream.event()
        except TimeoutError:
            return
        finally:
            self.last = self.stream.last_id
        if kind == "reset":
            self.note(Told)
        else:
            self.received(data, self.last)

    def leave(self):
        if self.stream:
            self.stream.close()


class SocketReader(Reader):
    """A raw WebSocket, which comes again without a position."""

    ws = None

    def open(self, node):
        self.ws = None
        self.ws = _PatientSocket(node.port, target("/ws", r=self.name, n=node.name, join=self.channels), self.check_stop)
        if self.ws.answer.status != 101:
            return False
        self.is_open = True
        self.note(Opened, channels=self.channels, node=node.name)
        return True

    def read(self):
        got = self.ws.receive()
        if got.opcode == PING:
            self.ws.frame(PONG, got.payload)
        elif got.opcode == TEXT:
            self.received(got.payload.decode())
        elif got.opcode == CLOSE:
            self.ws.try_send(frame(CLOSE, got.payload[:2]))
            if got.code == GAP:
                self.note(Told, how=str(GAP))
            raise EOFError(f"closed with {got.code} {got.reason}")

    def leave(self):
        if self.ws:
            self.ws.sock.close()


class _PatientSocket(WebSocket):
    """A WebSocket that waits for ever, and calls `look` now and then."""

    def __init__(self, port, where, look):
        self.look = look
        super().__init__(port, where)
        self.sock.settimeout(0.2)

    def fill(self, limit=1 << 18):
        for _ in range(1 << 30):
            try:
                return super().fill(limit)
            except TimeoutError:
                if self.sock.gettimeout() > 1:
                    raise
                self.look()
        return False


__all__ = ["Publisher", "ReplyPublisher", "SocketReader", "StreamReader", "short"]
