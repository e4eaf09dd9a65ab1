"""A raw WebSocket client on a plain socket: it can send any bytes, and checks every frame it gets."""

import base64
import hashlib
import os
import struct
from dataclasses import dataclass

from .raw import Client, encode

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@dataclass
class Frame:
    """One frame from the server."""

    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def code(self):
        return struct.unpack("!H", self.payload[:2])[0] if len(self.payload) >= 2 else 1005

    @property
    def reason(self):
        return self.payload[2:].decode()


def frame(opcode, payload=b"", *, fin=True, rsv=0, mask=b"\x37\xfa\x21\x3d", masked=True, length=None, form=None):
    """A client frame; `length` lies about the size, `form` (7, 16, 64) forces how it is written."""
    if isinstance(payload, str):
        payload = payload.encode()
    first = (0x80 if fin else 0) | (rsv << 4) | opcode
    size = len(payload) if length is None else length
    form = form or (7 if size < 126 else 16 if size < 65536 else 64)
    bit = 0x80 if masked else 0
    if form == 7:
        head = bytes([first, bit | size])
    elif form == 16:
        head = bytes([first, bit | 126]) + struct.pack("!H", size)
    else:
        head = bytes([first, bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    return head + mask + apply_mask(payload, mask)


def apply_mask(payload, mask):
    if not payload or mask == b"\0\0\0\0":
        return payload
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")


def close_payload(code, reason=b""):
    if isinstance(reason, str):
        reason = reason.encode()
    return struct.pack("!H", code) + reason


def handshake_headers(**replace):
    """The headers of a good handshake as pairs; a keyword replaces one, None leaves it out.

    Keywords: `upgrade`, `connection`, `key`, `version`, `protocol`, `extensions`, `origin`.
    """
    names = {
        "upgrade": ("Upgrade", "websocket"),
        "connection": ("Connection", "Upgrade"),
        "key": ("Sec-WebSocket-Key", KEY),
        "version": ("Sec-WebSocket-Version", "13"),
        "protocol": ("Sec-WebSocket-Protocol", None),
        "extensions": ("Sec-WebSocket-Extensions", None),
        "origin": ("Origin", None),
    }
    pairs = []
    for word, (name, default) in names.items():
        value = replace.get(word, default)
        if value is not None:
            pairs.append((name, value))
    return pairs


class WebSocket(Client):
    """A connection that has shaken hands, unless the server refused: then `answer` says how."""

    def __init__(self, port, target="/ws", headers=(), host=None, unix=None, receive_buffer=None, **handshake):
        super().__init__(port, unix=unix, receive_buffer=receive_buffer)
        handshake.setdefault("key", base64.b64encode(os.urandom(16)).decode())
        pairs = handshake_headers(**handshake) + list(headers.items() if isinstance(headers, dict) else headers)
        self.send(encode("GET", target, pairs, host=host or self.host))
        self.answer = self.response()
        if self.answer.status == 101:
            check_accept(self.answer, handshake["key"])

    # Sending

    def frame(self, opcode, payload=b"", **how):
        self.send(frame(opcode, payload, **how))

    def text(self, text):
        self.frame(TEXT, text, mask=os.urandom(4))

    def binary(self, data):
        self.frame(BINARY, data, mask=os.urandom(4))

    def ping(self, data=b""):
        self.frame(PING, data)

    def close(self, code=1000, reason=""):
        """Closes the WebSocket and waits for the server's answer and the end of the connection."""
        self.frame(CLOSE, close_payload(code, reason))
        return self.expect_close(code)

    # Receiving

    def receive(self):
        """One frame, checked: unmasked, no RSV bits, known opcode, minimal length."""
        first, second = self.exactly(2)
        fin, opcode = bool(first & 0x80), first & 15
        assert not first & 0x70, f"RSV bits in {first:#x}"
        assert opcode in (0, 1, 2, 8, 9, 10), f"opcode {opcode}"
        assert not second & 0x80, "a masked frame from the server"
        size = second & 127
        if size == 126:
            size = struct.unpack("!H", self.exactly(2))[0]
            assert size > 125, "the length is not minimal"
        elif size == 127:
            size = struct.unpack("!Q", self.exactly(8))[0]
            assert size > 65535, "the length is not minimal"
        if opcode >= 8:
            assert fin and size <= 125, "a bad control frame from the server"
        return Frame(opcode, self.exactly(size), fin)

    def message(self):
        """The next data message as str or bytes; the server's pings are answered, a close fails the test."""
        parts, kind = [], None
        while True:
            got = self.receive()
            if got.opcode == PING:
                self.frame(PONG, got.payload)
            elif got.opcode == CLOSE:
                raise AssertionError(f"closed with {got.code} {got.payload[2:]!r} instead of a message")
            elif got.opcode != PONG:
                kind = kind or got.opcode
                parts.append(got.payload)
                if got.fin:
                    data = b"".join(parts)
                    return data.decode() if kind == TEXT else data

    def expect(self, opcode):
        """The next frame must have this opcode; pings from the server are skipped."""
        while (got := self.receive()).opcode == PING and opcode != PING:
            self.frame(PONG, got.payload)
        assert got.opcode == opcode, f"frame {got} instead of opcode {opcode}"
        return got

    def expect_close(self, *codes, skip_messages=False):
        """The server must send Close with one of `codes` (any if none), then end the stream with a FIN."""
        while True:
            got = self.receive()
            if got.opcode == CLOSE:
                break
            if got.opcode in (PING, PONG) or skip_messages:
                continue
            raise AssertionError(f"frame {got} instead of a close")
        assert not codes or got.code in codes, f"closed with {got.code} {got.payload[2:]!r}, wanted {codes}"
        # An answer to a Close that the server started; it may have closed its side already.
        self.try_send(frame(CLOSE, got.payload[:2]))
        assert self.wait_closed() == "fin", "the connection was reset instead of closed"
        return got

    def barrier(self):
        """Returns when the server has read everything sent so far: it has answered a ping behind it."""
        mark = os.urandom(8)
        self.ping(mark)
        while True:
            got = self.receive()
            if got.opcode == PONG and got.payload == mark:
                return
            assert got.opcode in (PING, PONG), f"frame {got} instead of the pong"


def check_accept(answer, key):
    """RFC 6455 section 4.2.2: what a client checks in the 101."""
    assert answer.header("upgrade").lower() == "websocket"
    assert "upgrade" in answer.header("connection").lower()
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    assert answer.header("sec-websocket-accept") == base64.b64encode(digest).decode()
