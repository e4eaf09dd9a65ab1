"""Many raw WebSocket clients in one thread, which note what comes and when."""

import asyncio
import base64
import os
import struct
import threading
import time

from .net import PATIENCE, eventually
from .raw import encode
from .ws import CLOSE, PING, PONG, TEXT, frame, handshake_headers


class Member(asyncio.Protocol):
    """One client of a `Swarm`; every time is of `time.monotonic`."""

    def __init__(self, swarm):
        self.swarm = swarm
        self.born = time.monotonic()
        self.status = None
        self.headers = {}
        self.opened = None
        self.pings = []
        self.messages = []
        self.code = None
        self.closed_at = None
        self.ended_at = None
        self._buffer = b""

    def connection_made(self, transport):
        self.transport = transport
        pairs = handshake_headers(key=base64.b64encode(os.urandom(16)).decode())
        transport.write(encode("GET", self.swarm.target, pairs))

    def connection_lost(self, error):
        self.ended_at = time.monotonic()

    def data_received(self, data):
        self._buffer += data
        if self.status is None:
            head, mark, rest = self._buffer.partition(b"\r\n\r\n")
            if not mark:
                return
            lines = head.decode("latin-1").split("\r\n")
            self.headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
            self.opened = time.monotonic()
            self._buffer = rest
            self.status = int(lines[0].split()[1])
        if self.status == 101:
            while self._frame():
                pass

    def _frame(self):
        data = self._buffer
        if len(data) < 2 or len(data) < (start := {126: 4, 127: 10}.get(data[1] & 127, 2)):
            return False
        size = data[1] & 127
        if size > 125:
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            return False
        opcode, payload, self._buffer = data[0] & 15, data[start : start + size], data[start + size :]
        now = time.monotonic()
        if opcode == PING:
            self.pings.append(now)
            if self.swarm.delay is not None:
                self.swarm.loop.call_later(self.swarm.delay, self.write, frame(PONG, payload))
        elif opcode == CLOSE:
            self.code = struct.unpack("!H", payload[:2])[0] if payload else 1005
            self.closed_at = now
            self.write(frame(CLOSE, payload[:2]))
        elif opcode == TEXT:
            self.messages.append((now, payload))
        return True

    def write(self, data):
        if not self.transport.is_closing():
            self.transport.write(data)


class Swarm:
    """Clients that one thread serves. They answer pings after `delay` seconds, or with None never."""

    def __init__(self, port, delay=0.0, target="/ws"):
        self.port, self.delay, self.target = port, delay, target
        self.members = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self._thread.is_alive():
            return

        async def close():
            for member in self.members:
                member.transport.abort()

        asyncio.run_coroutine_threadsafe(close(), self.loop).result(PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)

    def begin(self, count, at_once=100):
        """Starts `count` handshakes, `at_once` connecting at a time, and returns the new members."""

        async def connect():
            found = []
            for start in range(0, count, at_once):
                found += await asyncio.gather(
                    *(
                        self.loop.create_connection(lambda: Member(self), "127.0.0.1", self.port)
                        for _ in range(min(at_once, count - start))
                    )
                )
            return [member for _, member in found]

        new = asyncio.run_coroutine_threadsafe(connect(), self.loop).result(60)
        self.members += new
        return new

    def enter(self, count, timeout=30):
        """`count` clients that must be accepted."""
        new = self.begin(count)
        eventually(lambda: all(m.status for m in new), "every handshake is answered", timeout, 0.02)
        assert {m.status for m in new} == {101}
        return new

    def send(self, data, members=None):
        for member in self.members if members is None else members:
            self.loop.call_soon_threadsafe(member.write, data)

    @property
    def alive(self):
        return [m for m in self.members if m.code is None and m.ended_at is None]
