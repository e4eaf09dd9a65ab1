"""permessage-deflate: agreed on strictly, understood by real clients, and what is sent."""

import asyncio
import os
import random
import zlib

import aiohttp
import pytest
import websockets
from support.guard import DEFLATE, deflated, enter, enter_deflate, fresh, guard_pair, knock, websockets_echo
from support.net import PATIENCE
from support.ws import BINARY, TEXT

pair = guard_pair()
takeover = guard_pair(COMPRESSION_CONTEXT_TAKEOVER="on")
# Shrinks well.
LONG = "".join(f"All work and no play makes Jack a dull boy, {n} times. " for n in range(250))


def raw(guest, payload, opcode=BINARY, **how):
    """One frame with RSV1."""
    guest.frame(opcode, payload, rsv=4, **how)


# Real clients


TEXTS = ["", "x", "héllo" * 20, LONG, LONG, bytes(range(256)) * 40, random.Random(1).randbytes(20_000), b"\0" * 4096]


def test_the_websockets_library_compresses_both_ways(pair):
    app, process = fresh(pair)
    app.echo()
    wire = {d: process.metric("message_bytes_total", direction=d, stage="wire") for d in ("in", "out")}
    payload = {d: process.metric("message_bytes_total", direction=d, stage="payload") for d in ("in", "out")}
    agreed = websockets_echo(process.port, [LONG] * 3)
    assert "permessage-deflate" in agreed
    assert "server_no_context_takeover" in agreed and "client_no_context_takeover" in agreed
    for direction in ("in", "out"):
        more = process.metric("message_bytes_total", direction=direction, stage="payload") - payload[direction]
        assert more == 3 * len(LONG)
        less = process.metric("message_bytes_total", direction=direction, stage="wire") - wire[direction]
        assert 0 < less < more / 5
    assert [event.text for event in app.events("message")] == [LONG] * 3


@pytest.mark.parametrize("which", ["pair", "takeover"])
def test_the_websockets_library_gets_back_what_it_sent(request, which):
    app, process = fresh(request.getfixturevalue(which))
    app.echo()
    agreed = websockets_echo(process.port, TEXTS * 5)
    assert ("server_no_context_takeover" in agreed) == (which == "pair")


@pytest.mark.parametrize("which", ["pair", "takeover"])
@pytest.mark.parametrize("bits", [15, 9])
def test_the_aiohttp_library_gets_back_what_it_sent(request, which, bits):
    app, process = fresh(request.getfixturevalue(which))
    app.echo()

    async def talk():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"http://127.0.0.1:{process.port}/ws", compress=bits) as socket:
                assert socket.compress
                for text in TEXTS * 3:
                    if isinstance(text, str):
                        await socket.send_str(text)
                        assert await socket.receive_str() == text
                    else:
                        await socket.send_bytes(text)
                        assert await socket.receive_bytes() == text
            assert socket.close_code == 1000

    asyncio.run(asyncio.wait_for(talk(), 3 * PATIENCE))


def test_a_client_that_sends_its_messages_in_fragments(pair):
    app, process = fresh(pair)
    app.echo()

    async def talk():
        async with websockets.connect(f"ws://127.0.0.1:{process.port}/ws") as socket:
            await socket.send([LONG[i : i + 1000] for i in range(0, len(LONG), 1000)])
            assert await socket.recv() == LONG

    asyncio.run(asyncio.wait_for(talk(), PATIENCE))


def test_compression_off_declines_it(app, sidesocket):
    edge = sidesocket(app, COMPRESSION="off")
    app.echo()
    assert websockets_echo(edge.port, [LONG]) == ""
    guest = enter(edge, extensions=DEFLATE)
    assert guest.answer.all("sec-websocket-extensions") == []
    raw(guest, deflated("x"))
    guest.expect_close(1002)


# The agreement

SERVER, CLIENT = "server_no_context_takeover", "client_no_context_takeover"


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=15",
        'permessage-deflate; client_max_window_bits="10"',
        "permessage-deflate;server_no_context_takeover;client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=12",
        "permessage-deflate; server_max_window_bits=9",
        "x-webkit-deflate-frame, permessage-deflate",
        "permessage-bzip2; level=9, permessage-deflate",
    ],
)
def test_a_good_offer_is_answered_within_its_terms(pair, offer):
    app, process = fresh(pair)
    app.echo()
    guest = enter_deflate(process, extensions=offer)
    assert SERVER in guest.agreed and CLIENT in guest.agreed
    answer = guest.answer.header("sec-websocket-extensions")
    if "client_max_window_bits" not in offer:
        assert "client_max_window_bits" not in answer
    if "server_max_window_bits" in offer:
        assert any(int(part.split("=")[1]) <= 12 for part in guest.agreed if part.startswith("server_max_window_bits"))
    guest.compressed(LONG)
    assert guest.message() == LONG
    guest.close()


BAD_OFFERS = [
    "permessage-deflate; server_max_window_bits=7",
    "permessage-deflate; server_max_window_bits=8",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=abc",
    "permessage-deflate; server_max_window_bits",
    "permessage-deflate; server_max_window_bits=012",
    "permessage-deflate; server_max_window_bits=-12",
    "permessage-deflate; server_max_window_bits=99999999999999999999",
    "permessage-deflate; client_max_window_bits=7",
    "permessage-deflate; client_max_window_bits=16",
    "permessage-deflate; client_max_window_bits=abc",
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_max_window_bits; client_max_window_bits=15",
    "permessage-deflate; server_max_window_bits=12; server_max_window_bits=12",
    "permessage-deflate; unknown",
    "permessage-deflate; unknown=1",
    "permessage-deflate-2",
    "x-permessage-deflate",
]


@pytest.mark.parametrize("offer", BAD_OFFERS)
def test_case_10_a_bad_offer_is_declined_and_the_next_one_tried(pair, offer):
    app, process = fresh(pair)
    app.echo()
    guest = enter(process, extensions=offer)
    assert guest.answer.all("sec-websocket-extensions") == []
    guest.text("plain")
    assert guest.message() == "plain"
    raw(guest, deflated("x"))
    guest.expect_close(1002)
    for both in ({"extensions": f"{offer}, permessage-deflate"},
                 {"extensions": offer, "headers": [("Sec-WebSocket-Extensions", "permessage-deflate")]}):  # fmt: skip
        guest = enter_deflate(process, **both)
        guest.compressed(LONG)
        assert guest.message() == LONG


@pytest.mark.parametrize("offer", ["permessage-deflate;", "permessage-deflate; =", ";", ",", "a b", '"', "=", "\\"])
def test_case_10_an_offer_that_is_no_list_never_turns_compression_on(pair, offer):
    _, process = fresh(pair)
    guest = knock(process, extensions=offer)
    assert guest.status in (101, 400)
    assert guest.answer.all("sec-websocket-extensions") == []


def test_case_10_what_was_not_offered_is_not_answered(pair):
    _, process = fresh(pair)
    for offers in (None, "x-webkit-deflate-frame", ""):
        assert enter(process, extensions=offers).answer.all("sec-websocket-extensions") == []


# What is sent


def test_small_messages_and_those_that_do_not_shrink_go_as_they_are(pair):
    app, process = fresh(pair)
    app.echo()
    guest = enter_deflate(process)
    for data, is_compressed in (("short", False), (LONG, True), ("", False), (os.urandom(5000), False), (LONG, True)):
        guest.compressed(data, TEXT if isinstance(data, str) else BINARY)
        assert guest.message() == data
        assert guest.last_was_compressed is is_compressed
    # A client that has agreed may still send messages as they are.
    guest.text(LONG)
    assert guest.message() == LONG


def test_without_takeover_our_messages_do_not_lean_on_one_another(pair):
    app, process = fresh(pair)
    app.echo()
    guest = enter_deflate(process)
    sizes = set()
    for _ in range(3):
        guest.compressed(LONG)
        got = guest.receive()
        assert got.compressed
        sizes.add(len(got.payload))
        assert zlib.decompressobj(-15).decompress(got.payload + b"\0\0\xff\xff").decode() == LONG
    assert len(sizes) == 1


def test_with_takeover_they_do_and_so_may_the_clients(takeover):
    app, process = fresh(takeover)
    app.echo()
    guest = enter_deflate(process)
    assert guest.takeover and CLIENT not in guest.agreed
    noise = random.Random(2).randbytes(3000)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    sizes = []
    for _ in range(4):
        raw(guest, (packer.compress(noise) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4])
        assert guest.message() == noise
        sizes.append(guest.last_was_compressed)
    # The first does not shrink; whether it is remembered is the server's choice, the rest must arrive in any case.
    assert process.metric("messages_total", direction="out") >= 4


def test_a_client_may_ask_for_no_takeover_where_it_is_on(takeover):
    app, process = fresh(takeover)
    app.echo()
    guest = enter_deflate(process, extensions=f"permessage-deflate; {SERVER}; {CLIENT}")
    assert SERVER in guest.agreed
    for _ in range(3):
        guest.compressed(LONG)
        assert guest.message() == LONG
