"""Helpers for the tests of the guard: clients from other addresses, PROXY headers, deflate, and shared sidecars."""

import asyncio
import base64
import os
import socket
import struct
import zlib
from contextlib import contextmanager

import pytest
import websockets

from .app import App, open_gates
from .net import PATIENCE, eventually
from .process import Sidesocket
from .raw import _clients, close_clients, encode
from .ws import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, WebSocket, check_accept, frame, handshake_headers

# No limit that one client meets by itself; for tests of something else.
UNLIMITED = {
    "CONNECT_RATE_PER_IP": "off",
    "MAX_CONNECTIONS_PER_IP": "off",
    "MESSAGE_RATE": "off",
}


# Clients

# Python would close the socket of a client that no variable holds, and so make room for another.
_inside = []


class Guest(WebSocket):
    """A client from an address of its own; `before` is sent ahead of everything, as a PROXY header is."""

    def __init__(self, port, source="127.0.0.1", before=b"", receive_buffer=None, to="127.0.0.1"):
        self.host = f"[{to}]:{port}" if ":" in to else f"{to}:{port}"
        self.sock = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET)
        _clients.add(self)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        if ":" not in to:
            self.sock.bind((source, 0))
        self.sock.connect((to, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.ended = None
        self.answer = None
        if before:
            self.send(before)

    def shake(self, target="/ws", headers=(), host=None, **handshake):
        """Shakes hands and returns itself; `answer` says whether the server agreed."""
        key = handshake.setdefault("key", base64.b64encode(os.urandom(16)).decode())
        pairs = handshake_headers(**handshake) + list(headers.items() if isinstance(headers, dict) else headers)
        self.send(encode("GET", target, pairs, host=host or self.host))
        self.answer = self.response()
        if self.answer.status == 101:
            check_accept(self.answer, key)
            _inside[:] = [guest for guest in _inside if guest.sock.fileno() >= 0] + [self]
        return self

    @property
    def status(self):
        return self.answer.status


def knock(process, source="127.0.0.1", before=b"", receive_buffer=None, **handshake):
    """A handshake from `source`; it may have been refused."""
    return Guest(process.port, source, before, receive_buffer).shake(**handshake)


def enter(process, source="127.0.0.1", **more):
    """A handshake from `source` that must be accepted."""
    guest = knock(process, source, **more)
    assert guest.status == 101, f"{guest.status}: {guest.answer.text}"
    return guest


def check_refused(guest, status):
    """Checks a refusal: the status, one plain sentence, the end of the connection."""
    answer = guest.answer
    assert answer.status == status, f"{answer.status} {answer.text}"
    text = answer.text.strip()
    assert answer.header("content-type").startswith("text/plain")
    assert 0 < len(text) < 300 and len(text.splitlines()) == 1, text
    guest.wait_closed()
    return answer


# Sidecars


def guard_pair(**settings):
    """A fixture for a module: one app and one sidecar with these settings, for many small cases."""

    @pytest.fixture(scope="module")
    def pair():
        app = App()
        process = Sidesocket(APP_URL=app.url, **{**UNLIMITED, **settings})
        yield app, process
        open_gates()
        process.kill()
        app.stop()
        assert app.faults == [], "the app was sent bad HTTP"

    return pair


def fresh(pair):
    """The pair with no client of an earlier test left and a blank script."""
    app, process = pair
    process.check_alive()
    close_clients()
    eventually(lambda: _quiet(app, process), "every WebSocket is gone and its close event delivered")
    app.reset_script()
    return app, process


def _quiet(app, process):
    gauges = ("connections", "webhook_in_flight", "webhook_queue_depth")
    return app.in_flight == 0 and all(process.metric(name) == 0 for name in gauges)


@contextmanager
def counted(process, *wanted):
    """Checks that each counter of `wanted`, (name, labels, by), goes up by so much; `None` for by any number."""
    before = [process.metric(name, **labels) for name, labels, _ in wanted]
    yield
    for (name, labels, by), old in zip(wanted, before, strict=True):

        def risen(name=name, labels=labels, old=old):
            return process.metric(name, **labels) - old

        if by is None:
            eventually(risen, f"{name}{labels} goes up")
        else:
            eventually(
                lambda risen=risen, by=by: risen() == by,
                lambda name=name, labels=labels, by=by, risen=risen: f"{name}{labels} up by {by}, it is {risen()}",
            )


def limited(limit, action, by=1):
    """What `counted` wants of `limited_total`."""
    return "limited_total", {"limit": limit, "action": action}, by


def logged_client(process, code):
    """The client that the log line about the end of the connection with this close code names."""

    def find():
        for entry in process.logs:
            if str(entry.get("code", entry.get("metadata", {}).get("code"))) == str(code):
                return entry.get("client", entry.get("metadata", {}).get("client"))
        return None

    return eventually(find, lambda: f"a log line of the connection that ended with {code} in:\n{process.output}")


# PROXY protocol

V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def proxy_v1(source, destination="127.0.0.1", source_port=40000, port=80):
    """The text header for a TCP connection."""
    family = "TCP6" if ":" in source else "TCP4"
    if family == "TCP6" and ":" not in destination:
        destination = "::1"
    return f"PROXY {family} {source} {destination} {source_port} {port}\r\n".encode()


def proxy_v2(source=None, destination="127.0.0.1", source_port=40000, port=80, tlv=b"", command=1, kind=None):
    """The binary header; without a source, and with `command` 0, what LOCAL looks like."""
    if source is None:
        family, addresses = 0x00, b""
    elif ":" in source:
        destination = destination if ":" in destination else "::1"
        family = 0x21
        addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    else:
        family = 0x11
        addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    if addresses:
        addresses += struct.pack("!HH", source_port, port)
    block = addresses + tlv
    kind = family if kind is None else kind
    return V2_SIGNATURE + bytes([0x20 | command, kind]) + struct.pack("!H", len(block)) + block


def tlv(kind, value):
    """An extension of the binary header."""
    return bytes([kind]) + struct.pack("!H", len(value)) + value


# permessage-deflate

DEFLATE = "permessage-deflate; client_max_window_bits"


def deflated(data, *, final=False, bits=15):
    """The payload of a compressed message (RFC 7692 §7.2.1); `final` ends with a BFINAL block (§7.2.3.4)."""
    if isinstance(data, str):
        data = data.encode()
    packer = zlib.compressobj(9, zlib.DEFLATED, -bits)
    if final:
        return packer.compress(data) + packer.flush(zlib.Z_FINISH) + b"\0"
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def bomb(wire, unit=1 << 20):
    """About `wire` bytes that inflate to a thousand times as much: one flushed block of zeros, over and over."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(b"\0" * unit) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * max(1, wire // len(block)) + b"\0"


class DeflateGuest(Guest):
    """A client with permessage-deflate; `takeover` says whether the server's messages lean on one another."""

    takeover = False
    last_was_compressed = False

    def shake(self, *arguments, extensions=DEFLATE, **more):
        super().shake(*arguments, extensions=extensions, **more)
        if self.status == 101:
            agreed = self.answer.header("sec-websocket-extensions") or ""
            self.agreed = [part.strip() for part in agreed.split(";")]
            self.takeover = "server_no_context_takeover" not in self.agreed
        self._inflater = zlib.decompressobj(-15)
        return self

    def compressed(self, data, opcode=TEXT):
        """Sends a compressed message in one frame."""
        self.frame(opcode, deflated(data), rsv=4, mask=os.urandom(4))

    def receive(self):
        """One frame with its RSV1 bit, which a frame of this class alone may have; in `Frame.fin` order."""
        first, second = self.exactly(2)
        fin, opcode, rsv = bool(first & 0x80), first & 15, first >> 4 & 7
        assert rsv in (0, 4) and not second & 0x80 and opcode in (0, 1, 2, 8, 9, 10), f"{first:#x} {second:#x}"
        assert not rsv or opcode in (TEXT, BINARY), "RSV1 where it must not be"
        size = second & 127
        if size > 125:
            size = struct.unpack("!H" if size == 126 else "!Q", self.exactly(2 if size == 126 else 8))[0]
        got = Frame(opcode, self.exactly(size), fin)
        got.compressed = bool(rsv)
        return got

    def message(self):
        """The next data message, inflated."""
        parts, kind, packed = [], None, False
        while True:
            got = self.receive()
            if got.opcode == PING:
                self.frame(PONG, got.payload)
                continue
            if got.opcode == PONG:
                continue
            assert got.opcode != CLOSE, f"closed with {got.code} {got.payload[2:]!r} instead of a message"
            if got.opcode != CONTINUATION:
                kind, packed = got.opcode, got.compressed
            parts.append(got.payload)
            if got.fin:
                break
        data = b"".join(parts)
        self.last_was_compressed = packed
        if packed:
            data = self._inflater.decompress(data + b"\0\0\xff\xff")
            if not self.takeover:
                self._inflater = zlib.decompressobj(-15)
        return data.decode() if kind == TEXT else data


def enter_deflate(process, source="127.0.0.1", receive_buffer=None, **handshake):
    """A handshake that must agree on permessage-deflate."""
    guest = DeflateGuest(process.port, source, receive_buffer=receive_buffer).shake(**handshake)
    assert guest.status == 101, f"{guest.status}: {guest.answer.text}"
    assert guest.agreed[0] == "permessage-deflate", guest.agreed
    return guest


__all__ = [
    "DEFLATE", "UNLIMITED", "V2_SIGNATURE", "DeflateGuest", "Guest", "bomb", "check_refused", "counted", "deflated",
    "enter", "enter_deflate", "frame", "fresh", "guard_pair", "knock", "limited", "logged_client", "proxy_v1",
    "proxy_v2", "tlv",
]  # fmt: skip


def websockets_echo(port, texts, **how):
    """Sends each text and wants it back; returns the answer's extensions."""

    async def talk():
        async with websockets.connect(f"ws://127.0.0.1:{port}/ws", max_size=None, **how) as socket:
            for text in texts:
                await socket.send(text)
                assert await socket.recv() == text
            return socket.response.headers.get("Sec-WebSocket-Extensions", "")

    return asyncio.run(asyncio.wait_for(talk(), 3 * PATIENCE))
