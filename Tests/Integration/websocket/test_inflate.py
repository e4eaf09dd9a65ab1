"""Compressed messages that are received: cut anywhere, corrupt, or bombs, and no way to fill our memory."""

import gc
import json
import os
import random
import zlib

import pytest
from support.app import Reply
from support.guard import DeflateGuest, bomb, counted, deflated, enter_deflate, fresh, guard_pair, websockets_echo
from support.net import stable
from support.ws import BINARY, CONTINUATION, PING, TEXT, frame

pair = guard_pair()
takeover = guard_pair(COMPRESSION_CONTEXT_TAKEOVER="on")
MB = 1 << 20
# Shrinks well.
LONG = "".join(f"All work and no play makes Jack a dull boy, {n} times. " for n in range(250))


def raw(guest, payload, opcode=BINARY, **how):
    """One frame with RSV1."""
    guest.frame(opcode, payload, rsv=4, **how)


# What is received

HELLO = {
    "one block (RFC 7692 7.2.3.1)": b"\xf2\x48\xcd\xc9\xc9\x07\x00",
    "no compression (7.2.3.3)": b"\x00\x05\x00\xfa\xffHello\x00",
    "a BFINAL block (7.2.3.4)": b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
    "two blocks (7.2.3.5)": b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
}


@pytest.mark.parametrize("which", ["pair", "takeover"])
@pytest.mark.parametrize("name", HELLO)
def test_case_22_the_examples_of_the_rfc(request, which, name):
    app, process = fresh(request.getfixturevalue(which))
    app.echo()
    guest = enter_deflate(process)
    for _ in range(2):
        raw(guest, HELLO[name], TEXT)
        assert guest.message() == "Hello"


def test_a_compressed_message_in_fragments_cut_anywhere(pair):
    app, process = fresh(pair)
    app.echo()
    guest = enter_deflate(process)
    payload = HELLO["one block (RFC 7692 7.2.3.1)"]
    for cut in range(len(payload) + 1):
        raw(guest, payload[:cut], TEXT, fin=False)
        guest.ping(b"between")
        guest.frame(CONTINUATION, payload[cut:])
        assert guest.receive().payload == b"between"
        assert guest.message() == "Hello"
    # Byte by byte, with an empty frame at the end.
    raw(guest, b"", TEXT, fin=False)
    for byte in payload:
        guest.frame(CONTINUATION, bytes([byte]), fin=False)
    guest.frame(CONTINUATION, b"")
    assert guest.message() == "Hello"


def test_an_empty_compressed_message(pair):
    app, process = fresh(pair)
    app.echo()
    guest = enter_deflate(process)
    for payload in (b"\0", b"\x02\0", b""):
        raw(guest, payload, TEXT)
        assert guest.message() == ""


def test_takeover_that_was_not_agreed_on_is_corrupt(pair, takeover):
    second = b"\xf2\x00\x11\x00\x00"  # RFC 7692 §7.2.3.2: "Hello" by reference to the message before.
    app, process = fresh(takeover)
    app.echo()
    guest = enter_deflate(process)
    raw(guest, HELLO["one block (RFC 7692 7.2.3.1)"], TEXT)
    raw(guest, second, TEXT)
    assert [guest.message(), guest.message()] == ["Hello", "Hello"]
    app, process = fresh(pair)
    app.echo()
    guest = enter_deflate(process)
    raw(guest, HELLO["one block (RFC 7692 7.2.3.1)"], TEXT)
    assert guest.message() == "Hello"
    raw(guest, second, TEXT)
    guest.expect_close(1007)


CORRUPT = {
    "a reserved block type": b"\x07",
    "noise": b"\xff" * 50,
    "a bad length of a stored block": b"\x00\x05\x00\xfa\xfeHello\x00",
    "bytes behind the final block": b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00" + b"\xff" * 20,
    "a block cut off": deflated(os.urandom(500))[:200],
}


@pytest.mark.parametrize("name", CORRUPT)
def test_case_22_corrupt_deflate_is_1007(pair, name):
    app, process = fresh(pair)
    guest = enter_deflate(process)
    raw(guest, CORRUPT[name])
    guest.expect_close(1007)
    app.wait_events(1, "close")
    assert app.events("message") == []


def test_case_22_rsv1_belongs_to_the_first_frame_of_a_data_message(pair):
    _, process = fresh(pair)
    guest = enter_deflate(process)
    raw(guest, deflated("Hello")[:3], TEXT, fin=False)
    guest.frame(CONTINUATION, deflated("Hello")[3:], rsv=4)
    guest.expect_close(1002)
    guest = enter_deflate(process)
    guest.frame(PING, b"", rsv=4)
    guest.expect_close(1002)
    for bits in (1, 2, 3, 5, 6, 7):
        guest = enter_deflate(process)
        guest.frame(TEXT, deflated("Hello"), rsv=bits)
        guest.expect_close(1002)


def test_text_is_checked_after_inflating(pair):
    app, process = fresh(pair)
    app.echo()
    guest = enter_deflate(process)
    guest.compressed("κόσμε" * 100)
    assert guest.message() == "κόσμε" * 100
    guest.compressed(b"\xce\xba\xe1\xbd")
    guest.expect_close(1007)
    # Binary is not text.
    guest = enter_deflate(process)
    guest.compressed(b"\xff" * 600, BINARY)
    assert guest.message() == b"\xff" * 600


# Bombs


def check_bomb(app, process, send, code=1009):
    """The client of `send` is closed; memory stays flat and others are served meanwhile."""
    app.echo()
    other = enter_deflate(process)
    other.compressed(LONG)
    assert other.message() == LONG
    process.forget_peak_rss()
    before = process.peak_rss
    guest = enter_deflate(process)
    send(guest)
    guest.expect_close(code)
    assert process.peak_rss - before < 16 * MB
    other.compressed(LONG)
    assert other.message() == LONG
    assert {event.text for event in app.events("message")} == {LONG}


def in_one_frame(payload):
    return lambda guest: guest.try_send(frame(BINARY, payload, rsv=4))


def in_frames(payload, count):
    size = len(payload) // count + 1
    parts = [payload[i : i + size] for i in range(0, len(payload), size)]
    frames = [frame(CONTINUATION if i else BINARY, part, rsv=0 if i else 4, fin=i == len(parts) - 1)
              for i, part in enumerate(parts)]  # fmt: skip
    return lambda guest: guest.try_send(b"".join(frames))


@pytest.mark.parametrize("form", ["whole", "fragmented", "drop by drop"])
@pytest.mark.parametrize("wire", [60_000, MB], ids=["60 KB to 60 MB", "1 MB to 1 GB"])
def test_case_21_a_bomb_is_1009_before_it_has_grown(pair, wire, form):
    app, process = fresh(pair)
    payload = bomb(wire)
    count = {"whole": 1, "fragmented": 20, "drop by drop": 120}[form]
    check_bomb(app, process, in_frames(payload, count) if count > 1 else in_one_frame(payload))


@pytest.mark.parametrize(
    "settings",
    [
        {"MAX_COMPRESSION_RATIO": "off"},
        {"MAX_MESSAGE_BYTES": "1GiB"},
        {"MAX_COMPRESSION_RATIO": "10000", "MAX_MESSAGE_BYTES": "1MiB"},
        {"COMPRESSION_CONTEXT_TAKEOVER": "on"},
    ],
    ids=str,
)
def test_case_21_either_limit_alone_stops_a_bomb(app, sidesocket, settings):
    edge = sidesocket(app, MESSAGE_RATE="off", **settings)
    check_bomb(app, edge, in_one_frame(bomb(MB)))


@pytest.mark.parametrize("size, passes", [(65_535, True), (65_536, True), (65_537, False)])
def test_the_size_of_a_message_counts_after_inflating(pair, size, passes):
    app, process = fresh(pair)
    app.echo()
    guest = enter_deflate(process)
    # Half noise, so that the ratio is far from its limit.
    data = (os.urandom(size // 2) + bytes(size))[:size]
    guest.compressed(data, BINARY)
    if passes:
        assert guest.message() == data
    else:
        guest.expect_close(1009)


def test_zeros_of_any_size_are_no_bomb_while_the_limits_allow_them(app, sidesocket):
    edge = sidesocket(app, MAX_COMPRESSION_RATIO="off", MAX_MESSAGE_BYTES="256KiB", MAX_SEND_BUFFER_BYTES="4MiB")
    app.echo()
    guest = enter_deflate(edge)
    # Around every size that a buffer may have; at its end zlib has no output left and no input either.
    for power in range(9, 19):
        for size in ((1 << power) - 1, 1 << power, (1 << power) + 1, 3 << power - 1):
            if size <= 256 << 10:
                guest.compressed(b"\0" * size, BINARY)
                assert guest.message() == b"\0" * size


def test_the_ratio_does_not_count_the_first_256_kib(app, sidesocket):
    edge = sidesocket(
        app, MAX_COMPRESSION_RATIO="20", MESSAGE_RATE="off", MAX_MESSAGE_BYTES="1MiB", MAX_SEND_BUFFER_BYTES="4MiB",
        MAX_PENDING_BYTES="4MiB",
    )  # fmt: skip
    app.echo()
    most = 256 << 10
    for _ in range(10):
        most = (256 << 10) + 20 * len(deflated(bytes(most)))
    guest = enter_deflate(edge)
    for size in (1, 57_600, 256 << 10, most - 1, most):
        raw(guest, deflated(bytes(size)))
        assert guest.message() == bytes(size)
    for size in (most + 1, 600_000):
        guest = enter_deflate(edge)
        raw(guest, deflated(bytes(size)))
        guest.expect_close(1009)
    # Ordinary text shrinks less than that.
    text = " ".join(str(n) for n in range(90_000))
    guest = enter_deflate(edge)
    guest.compressed(text)
    assert guest.message() == text


ROWS = [{"id": n, "price": 1000, "currency": "EUR", "status": "open", "tags": ["new", "sale"]} for n in range(600)]
ORDINARY = {
    "51 KB of regular JSON": json.dumps([ROWS[0]] * 620),
    "a table of JSON": json.dumps(ROWS),
    "a blank canvas": bytes(57_600),
    "spaces up to the limit": " " * 65_536,
}


@pytest.mark.parametrize("which", ["pair", "takeover"])
@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_data_passes_however_well_it_shrinks(request, which, name):
    app, process = fresh(request.getfixturevalue(which))
    app.echo()
    websockets_echo(process.port, [ORDINARY[name]] * 2)


def test_the_same_message_twice_passes_with_context_takeover(takeover):
    app, process = fresh(takeover)
    app.echo()
    text = "".join(f"{random.Random(n).random()}," for n in range(1050))
    assert len(text) > 19_000
    guest = enter_deflate(process)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    sizes = []
    for _ in range(3):
        payload = (packer.compress(text.encode()) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        sizes.append(len(payload))
        raw(guest, payload, TEXT)
        assert guest.message() == text
    assert sizes[1] * 100 < len(text)


def test_with_the_ratio_off_zeros_pass_up_to_the_size(app, sidesocket):
    edge = sidesocket(app, MAX_COMPRESSION_RATIO="off")
    app.echo()
    guest = enter_deflate(edge)
    guest.compressed(b"\0" * 65_536, BINARY)
    assert guest.message() == b"\0" * 65_536
    guest.compressed(b"\0" * 65_537, BINARY)
    guest.expect_close(1009)


def test_a_bomb_is_counted_as_a_close_of_ours(pair):
    app, process = fresh(pair)
    with counted(process, ("connections_closed_total", {"code": "1009", "initiator": "server"}, 1)):
        guest = enter_deflate(process)
        in_one_frame(bomb(60_000))(guest)
        guest.expect_close(1009)


# Memory


def test_an_idle_connection_owns_no_memory_of_zlib(pair):
    app, process = fresh(pair)
    app.echo()

    def enter_clients(count):
        guests = [enter_deflate(process) for _ in range(count)]
        for guest in guests:
            guest.compressed(LONG)
            assert guest.message() == LONG
        return guests

    enter_clients(20)
    before = process.rss
    guests = enter_clients(200)
    each = (stable(lambda: process.rss) - before) / len(guests)
    # A decompressor and a compressor would be about 77 KiB.
    assert each < 48 << 10, f"{each / 1024:.0f} KiB a connection"


def test_case_23_connections_that_come_and_go_leave_nothing(pair):
    app, process = fresh(pair)
    app.on(Reply(204))
    peaks = []
    for _ in range(5):
        for _ in range(10):
            guests = [DeflateGuest(process.port).shake() for _ in range(20)]
            for guest in guests:
                guest.compressed(LONG)
            for guest in guests:
                guest.close()
        peaks.append(stable(lambda: process.rss))
        gc.collect()
    assert peaks[-1] - peaks[1] < 6 * MB, [f"{peak / MB:.1f}" for peak in peaks]
