"""Frames on the wire: what RFC 6455 forbids, the limits, and the close handshake."""

import itertools
import json
import os
import struct
import time

import pytest
from support.app import Reply, gate
from support.net import eventually, send_until_blocked
from support.ws import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame


@pytest.fixture
def ws(shared):
    """A fresh WebSocket to an app that echoes."""
    app, process = shared
    app.echo()
    socket = process.websocket()
    socket.app = app
    socket.process = process
    return socket


def no_message(ws):
    """The app got no message event of this connection, and the close event has come."""
    closed = eventually(lambda: ws.app.events("close"), "the close event")
    assert ws.app.events("message") == []
    return json.loads(closed[-1].body)


# Violations

VIOLATIONS = {
    "13 unmasked text": frame(TEXT, "x", masked=False),
    "13 unmasked empty": frame(TEXT, masked=False),
    "13 unmasked ping": frame(PING, masked=False),
    "13 RSV1": frame(TEXT, "x", rsv=4),
    "13 RSV2": frame(TEXT, "x", rsv=2),
    "13 RSV3": frame(BINARY, "x", rsv=1),
    "13 RSV1 on a ping": frame(PING, "x", rsv=4),
    "22 RSV1 on a continuation": frame(TEXT, "x", fin=False) + frame(CONTINUATION, "x", rsv=4),
    "14 ping of 126 bytes": frame(PING, b"x" * 126),
    "14 ping FIN=0": frame(PING, b"x", fin=False),
    "14 close FIN=0": frame(CLOSE, close_payload(1000), fin=False),
    "14 close of 126 bytes": frame(CLOSE, close_payload(1000, b"x" * 124)),
    "14 close of 1 byte": frame(CLOSE, b"\x03"),
    "15 continuation first": frame(CONTINUATION, "x"),
    "15 empty continuation first": frame(CONTINUATION, fin=False),
    "15 text inside a message": frame(TEXT, "a", fin=False) + frame(TEXT, "b"),
    "15 binary inside a message": frame(TEXT, "a", fin=False) + frame(BINARY, "b", fin=False),
    "17 length 2^63": frame(BINARY, length=1 << 63, form=64),
    "17 length 2^64-1": frame(BINARY, length=(1 << 64) - 1, form=64),
    "17 length 5 as 16 bits": frame(BINARY, b"hello", form=16),
    "17 length 5 as 64 bits": frame(BINARY, b"hello", form=64),
    "17 length 125 as 16 bits": frame(BINARY, b"x" * 125, form=16),
    "17 length 65535 as 64 bits": frame(BINARY, b"x" * 65535, form=64),
    "17 ping length as 16 bits": frame(PING, b"hello", form=16),
}
VIOLATIONS |= {f"13 opcode {n:X}": frame(n, "x") for n in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)}
VIOLATIONS |= {
    f"14 close code {code}": frame(CLOSE, close_payload(code))
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
}


@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_cases_13_14_15_17_violations_close_with_1002(ws, data):
    ws.send(data)
    ws.expect_close(1002)
    assert no_message(ws)["code"] == 1002


@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_case_13_a_violation_in_one_byte_writes_gives_the_same(ws, data):
    for byte in data:
        if not ws.try_send(bytes([byte])):
            break
    ws.expect_close(1002)


def test_case_13_a_violation_is_answered_with_our_close_even_when_more_input_follows(ws):
    # Unread input makes a careless close an RST that destroys the Close frame on its way.
    ws.send(frame(TEXT, "x", rsv=2) + os.urandom(100_000))
    for _ in range(20):
        if not ws.try_send(os.urandom(50_000)):
            break
    ws.expect_close(1002)


def test_case_14_bad_utf8_in_a_close_reason(ws):
    for reason in (b"\xff", b"ok\xed\xa0\x80", b"\xe2\x82"):
        socket = ws.process.websocket()
        socket.frame(CLOSE, close_payload(1000, reason))
        socket.expect_close(1007)


def test_case_14_frames_after_close_are_ignored(ws):
    ws.send(frame(CLOSE, close_payload(1000, "bye")) + frame(TEXT, "late") + frame(PING, "late") + b"\xff" * 5000)
    ws.expect_close(1000)
    assert no_message(ws)["code"] == 1000


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (b"", {1000, 1005}),
        (close_payload(1000), {1000}),
        (close_payload(1001, "going"), {1001}),
        (close_payload(1003), {1003}),
        (close_payload(1014), {1014}),
        (close_payload(3000, "x" * 123), {3000}),
        (close_payload(4999, "ü"), {4999}),
    ],
)
def test_good_closes_are_answered(ws, payload, answer):
    ws.frame(CLOSE, payload)
    ws.expect_close(*answer)
    body = no_message(ws)
    assert body["initiator"] == "client"
    assert body["code"] == (struct.unpack("!H", payload[:2])[0] if payload else 1005)
    assert body["reason"] == payload[2:].decode()


# UTF-8

INVALID_UTF8 = {
    "a lone continuation byte": b"\x80",
    "overlong": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "ff": b"\xff",
    "in the middle": b"hello \xc3( world",
    "cut at the end": b"caf\xc3",
}


@pytest.mark.parametrize("data", INVALID_UTF8.values(), ids=INVALID_UTF8.keys())
def test_case_16_invalid_utf8_closes_with_1007(ws, data):
    ws.frame(TEXT, data)
    ws.expect_close(1007)
    no_message(ws)


@pytest.mark.parametrize("data", [d for d in INVALID_UTF8.values() if d != b"caf\xc3"], ids=repr)
def test_case_16_invalid_utf8_is_seen_in_an_unfinished_fragment(ws, data):
    ws.frame(TEXT, b"fine ", fin=False)
    ws.frame(CONTINUATION, data, fin=False)
    ws.expect_close(1007)
    no_message(ws)


def test_case_16_invalid_utf8_is_seen_in_an_unfinished_frame(ws):
    ws.send(frame(TEXT, b"fine \xff", length=500))
    ws.expect_close(1007)


def test_a_code_point_may_be_split_over_fragments_and_frames_with_pings_between(ws):
    text = "κόσμε 🎉 ẞ"
    for i, byte in enumerate(data := text.encode()):
        ws.frame(TEXT if i == 0 else CONTINUATION, bytes([byte]), fin=i == len(data) - 1)
        ws.ping(b"%d" % i)
    pongs = []
    while (got := ws.receive()).opcode == PONG:
        pongs.append(got.payload)
    assert (got.opcode, got.payload.decode()) == (TEXT, text)
    assert pongs == sorted(pongs, key=int)


def test_binary_may_hold_any_bytes(ws):
    data = bytes(range(256)) * 3
    ws.binary(data)
    assert ws.message() == data


# Sizes


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 9, 124, 125, 126, 127, 128, 4095, 4096, 65534, 65535, 65536])
def test_every_form_of_length_comes_back(ws, size):
    data = os.urandom(size)
    ws.binary(data)
    assert ws.message() == data
    ws.text("é" * (size // 2))
    assert ws.message() == "é" * (size // 2)


@pytest.fixture(scope="module")
def small_pair():
    """Limits so small that n−1, n and n+1 are easily tried."""
    from support.app import App
    from support.process import Sidesocket

    app = App()
    process = Sidesocket(APP_URL=app.url, MAX_MESSAGE_BYTES="1000", MAX_FRAGMENTS="4", MESSAGE_ASSEMBLY_TIMEOUT="700ms")
    yield app, process
    process.check_alive()
    process.kill()
    app.stop()


@pytest.fixture
def small(small_pair):
    app, process = small_pair
    app.reset_script()
    app.echo()
    socket = process.websocket()
    socket.app, socket.process = app, process
    return socket


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [999, 1000, 1001])
def test_max_message_bytes_in_one_frame(small, size, opcode):
    small.frame(opcode, b"x" * size)
    if size <= 1000:
        assert len(small.message()) == size
    else:
        small.expect_close(1009)


@pytest.mark.parametrize("size", [999, 1000, 1001])
def test_max_message_bytes_over_fragments(small, size):
    small.frame(BINARY, b"x" * 600, fin=False)
    small.frame(CONTINUATION, b"x" * (size - 600))
    if size <= 1000:
        assert len(small.message()) == size
    else:
        small.expect_close(1009)


@pytest.mark.parametrize("length", [1001, 65536, 1 << 31, (1 << 63) - 1])
def test_case_17_too_long_is_seen_at_the_header(small, length):
    small.send(frame(BINARY, length=length))
    small.expect_close(1009)


def test_case_17_too_long_is_seen_at_the_header_of_a_continuation(small):
    small.frame(BINARY, b"x" * 1000, fin=False)
    small.send(frame(CONTINUATION, length=1))
    small.expect_close(1009)


@pytest.mark.parametrize("content", [b"x", b""], ids=["full", "empty"])
@pytest.mark.parametrize("count", [3, 4, 5])
def test_case_18_max_fragments(small, count, content):
    for i in range(count):
        small.try_send(frame(TEXT if i == 0 else CONTINUATION, content, fin=i == count - 1))
    if count <= 4:
        assert small.message() == (content * count).decode()
    else:
        small.expect_close(1009)


@pytest.mark.parametrize("content", [b"x", b""], ids=["one byte", "empty"])
def test_case_18_endless_fragments_close_at_the_cap(ws, content):
    ws.send(frame(TEXT, content, fin=False))
    for block in itertools.repeat(frame(CONTINUATION, content, fin=False) * 1000, 1000):
        if not ws.try_send(block):
            break
    ws.expect_close(1009)
    no_message(ws)


def _drip(socket, data, pause):
    """Writes byte by byte, `pause` seconds apart, until the server says something."""
    socket.sock.settimeout(pause)
    for byte in data:
        if not socket.try_send(bytes([byte])):
            break
        try:
            socket.fill()
            break
        except TimeoutError:
            continue
    socket.sock.settimeout(10)


@pytest.mark.parametrize("how", ["silence", "fragments", "bytes of one frame", "pings between"])
def test_case_18_a_message_that_is_never_finished_meets_the_assembly_deadline(small, how):
    started = time.monotonic()
    if how == "silence":
        small.frame(TEXT, "x", fin=False)
    elif how == "fragments":
        small.frame(TEXT, "x", fin=False)
        _drip(small, frame(CONTINUATION, "x", fin=False) * 2 + frame(CONTINUATION, "x" * 200, fin=False), 0.1)
    elif how == "bytes of one frame":
        _drip(small, frame(TEXT, "x" * 500), 0.05)
    else:
        small.frame(TEXT, "x", fin=False)
        small.sock.settimeout(0.1)
        while time.monotonic() - started < 10 and not small.buffer.startswith(b"\x88"):
            small.try_send(frame(PING))
            try:
                small.fill()
            except TimeoutError:
                continue
            # An empty pong is two bytes: what is left begins with the Close, if that has come.
            while small.buffer.startswith(b"\x8a\x00"):
                del small.buffer[:2]
        small.sock.settimeout(10)
    small.expect_close(1008, 1009, 1002)
    assert 0.6 < time.monotonic() - started < 5


def test_the_assembly_deadline_is_no_idle_timeout(small):
    # A finished message, then silence for longer than the deadline: the connection stays.
    small.text("one")
    assert small.message() == "one"
    small.frame(TEXT, "t", fin=False)
    small.frame(CONTINUATION, "wo")
    assert small.message() == "two"
    small.sock.settimeout(1.2)
    with pytest.raises(TimeoutError):
        small.receive()
    small.sock.settimeout(10)
    small.text("three")
    assert small.message() == "three"


# Pings


@pytest.mark.parametrize("size", [0, 1, 124, 125])
def test_a_ping_is_answered_with_its_payload(ws, size):
    data = os.urandom(size)
    ws.ping(data)
    assert ws.expect(PONG).payload == data


def test_a_ping_between_fragments_is_answered_at_once(ws):
    ws.frame(TEXT, "a", fin=False)
    ws.ping(b"now")
    assert ws.expect(PONG).payload == b"now"
    ws.frame(CONTINUATION, "b")
    assert ws.message() == "ab"


def test_a_ping_is_answered_while_the_app_thinks(ws):
    held = gate()
    ws.app.on(lambda r: Reply(200, r.body, {"Content-Type": "text/plain"}, gate=held), event="message")
    ws.text("slow")
    ws.app.wait_events(1, "message")
    ws.ping(b"now")
    assert ws.expect(PONG).payload == b"now"
    held.set()
    assert ws.message() == "slow"


def test_case_19_pings_while_the_client_does_not_read(ws):
    process = ws.process
    before = process.rss
    last = b"%05d" % 9999 + b"x" * 120
    data = b"".join(frame(PING, b"%05d" % i + b"x" * 120) for i in range(10_000))
    ws.send(data)
    pongs = 0
    while True:
        got = ws.receive()
        if got.opcode == CLOSE:
            assert got.code == 1008
            break
        assert got.opcode == PONG
        pongs += 1
        if got.payload == last:
            break
    assert pongs > 0
    assert process.rss - before < 32 << 20


def test_case_19_pongs_nobody_asked_for(ws):
    before = ws.process.rss
    block = frame(PONG, b"x") * 10_000
    for _ in range(10):
        if not ws.try_send(block):
            break
    else:
        ws.text("still here")
        assert ws.message() == "still here"
    assert ws.process.rss - before < 32 << 20


def test_case_19_empty_messages_are_bounded(app, edge):
    # Each empty message costs the sidecar something although it carries no byte: that must be counted.
    app.on(Reply(204, gate=gate()), event="message")
    ws = edge.websocket()
    before = edge.rss
    assert send_until_blocked(ws.sock, frame(TEXT) * 10_000, limit=6_000_000) > 0
    assert edge.rss - before < 32 << 20
    assert edge.metric("pending_bytes") <= 512 << 10
    # Nor does it help to vanish: what was read is owed to the app, and no more is read.
    edge.forget_peak_rss()
    ws.reset()
    edge.wait_metric("connections", 0)
    assert edge.peak_rss - before < 48 << 20


# Case 20


def _transcript(socket):
    seen = []
    while True:
        got = socket.receive()
        seen.append((got.opcode, got.payload))
        if got.opcode == CLOSE:
            return [item for item in seen if item[0] == PONG], [item for item in seen if item[0] != PONG]


STREAM = [
    frame(TEXT, "hello"),
    frame(PING, b"p1"),
    frame(TEXT, "κό", fin=False),
    frame(PING, b"p2"),
    frame(CONTINUATION, "", fin=False),
    frame(CONTINUATION, "σμε"),
    frame(BINARY, bytes(range(200)), mask=b"\0\0\0\0"),
    frame(BINARY, b"z" * 70_0, mask=b"\xff\x00\x80\x01"),
]


def _finish(socket):
    """Waits until all echoes are back, then closes: a Close may overtake what the app still works on."""
    seen = []
    while sum(opcode in (TEXT, BINARY) for opcode, _ in seen) < 4:
        got = socket.receive()
        seen.append((got.opcode, got.payload))
    socket.frame(CLOSE, close_payload(1000, "end"))
    pongs, rest = _transcript(socket)
    return [i for i in seen if i[0] == PONG] + pongs, [i for i in seen if i[0] != PONG] + rest


def test_case_20_any_split_gives_the_same_transcript(ws):
    data = b"".join(STREAM)
    ws.send(data)
    whole = _finish(ws)
    assert [p for _, p in whole[0]] == [b"p1", b"p2"]
    assert [p for _, p in whole[1]][:3] == [b"hello", "κόσμε".encode(), bytes(range(200))]
    for step in (1, 2, 3, 7, 13, 64, 500):
        socket = ws.process.websocket()
        for i in range(0, len(data), step):
            socket.send(data[i : i + step])
        assert _finish(socket) == whole, f"in steps of {step}"


@pytest.mark.parametrize(
    "mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0", b"\0\0\0\x80", b"\xa6:\xd0\x56"], ids=repr
)
@pytest.mark.parametrize("size", [1, 3, 8, 15, 16, 17, 33, 1000])
def test_case_20_any_mask_gives_the_same_payload(ws, mask, size):
    data = bytes(i % 256 for i in range(size))
    ws.frame(BINARY, data, mask=mask)
    assert ws.message() == data


def test_a_client_that_never_answers_our_close_is_dropped(ws):
    ws.app.on(Reply(204, headers={"Sidesocket-Close": "4000 bye"}), event="message")
    ws.text("x")
    assert ws.expect(CLOSE).code == 4000
    # No answer from us, no FIN: the server ends it by itself.
    ws.wait_closed(timeout=20)
