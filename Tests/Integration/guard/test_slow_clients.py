"""Clients that do not read: at most the send budget, then the slow-client action, and nobody else notices."""

import json
import random
import time

import pytest
from support.app import Reply, commands
from support.guard import UNLIMITED, DeflateGuest, Guest, counted, enter, knock
from support.net import eventually
from support.ws import CLOSE, PING, PONG, TEXT, frame

PAGE = 400  # messages in one reply of the app
SIZE = 2000  # bytes of one message
PAGES = 16  # 12.8 MB: more than every buffer on the way
BUDGET = 256 << 10


def numbered(n):
    """A message that shows whether it is whole."""
    head = f"{n:08d} "
    return head + "x" * (SIZE - len(head) - 1) + "!"


def number(text):
    assert len(text) == SIZE and text.endswith("!"), f"a message of {len(text)} bytes: {text[:40]!r}"
    return int(text[:8])


def pages(app):
    """Answers the n-th message with PAGE numbered ones; `echo …` with itself."""

    def answer(request):
        if request.text.startswith("echo"):
            return Reply(200, request.text, {"Content-Type": "text/plain"})
        first = int(request.text) * PAGE
        return commands(*({"send": {"text": numbered(n)}} for n in range(first, first + PAGE)))

    app.on(answer, event="message")


def stall(edge, app, **how):
    """A client that asks for PAGES pages and reads none of them; returns it at once."""
    slow = knock(edge, receive_buffer=8 << 10, **how)
    assert slow.status == 101
    for n in range(PAGES):
        slow.try_send(frame(TEXT, str(n)))
    return slow


def actions(edge, action):
    """How often the action was taken, whichever way its label is written."""
    return sum(
        value
        for (name, labels), value in edge.metrics().items()
        if name == "sidesocket_slow_client_total" and dict(labels)["action"].replace("_", "-") == action
    )


def asked(app):
    """How many pages the app was asked for."""
    return sum(not event.text.startswith("echo") for event in app.events("message"))


def read_to_the_end(slow):
    """Reads all messages that wait, up to the answer to a last one; returns their numbers."""
    got = []
    slow.text("echo the end")
    while (text := slow.message()) != "echo the end":
        got.append(number(text))
    return got


def test_case_35_close_ends_the_connection_with_1008(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED)
    pages(app)
    other = enter(edge)
    before = edge.rss
    with counted(edge, ("connections_closed_total", {"code": "1008", "initiator": "server"}, 1)):
        slow = stall(edge, app)
        body = json.loads(app.wait_events(1, "close", timeout=20)[-1].body)
    assert (body["code"], body["initiator"]) == (1008, "server")
    assert actions(edge, "close") == 1
    edge.wait_metric("connections", 1)
    assert edge.rss - before < 32 << 20
    other.text("echo other")
    assert other.message() == "echo other"
    # What had left us is whole messages in order; then the connection ends.
    numbers = []
    try:
        while (got := slow.receive()).opcode != CLOSE:
            if got.opcode == TEXT:
                numbers.append(number(got.payload.decode()))
        assert got.code == 1008
    except EOFError:
        pass
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("action", ["drop-oldest", "drop-newest"])
def test_case_35_dropping_leaves_whole_messages_and_counts_each(app, sidesocket, action):
    edge = sidesocket(app, **UNLIMITED, SLOW_CLIENT_ACTION=action)
    pages(app)
    other = enter(edge)
    before = edge.rss
    slow = stall(edge, app)
    longest = 0.0
    while asked(app) < PAGES:
        began = time.monotonic()
        other.text("echo other")
        assert other.message() == "echo other"
        longest = max(longest, time.monotonic() - began)
    eventually(lambda: edge.metric("webhook_in_flight") == 0, "the last page is taken")
    assert longest < 2.0, f"another client waited {longest:.1f} s"
    eventually(lambda: actions(edge, action) > 0, "messages are dropped")
    # A stalled reader holds its budget and no more.
    assert 0 < edge.metric("send_buffer_bytes") <= BUDGET + SIZE + 64
    assert edge.rss - before < 32 << 20
    got = read_to_the_end(slow)
    assert got == sorted(set(got)), "out of order or twice"
    total = PAGES * PAGE
    assert len(got) + actions(edge, action) == total, "each message is either read or counted as dropped"
    if action == "drop-oldest":
        assert got[-1] == total - 1
    else:
        # The first that arrived, without a gap up to where the budget was full.
        assert got[: BUDGET // SIZE] == list(range(BUDGET // SIZE))
        assert got[-1] < total - 1
    # It was slow, not wrong: the connection goes on.
    slow.text("echo again")
    assert slow.message() == "echo again"
    slow.close()
    assert edge.metric("connections_closed_total", code="1008") == 0


@pytest.mark.parametrize("action", ["drop-oldest", "drop-newest"])
def test_control_frames_are_not_dropped(app, sidesocket, action):
    edge = sidesocket(app, **UNLIMITED, SLOW_CLIENT_ACTION=action)
    pages(app)
    slow = stall(edge, app)
    eventually(lambda: len(app.events("message")) >= PAGES and actions(edge, action) > 0, "messages are dropped", 20)
    slow.try_send(frame(PING, b"still there?"))
    got = slow.receive()
    while got.opcode != PONG:
        got = slow.receive()
    assert got.payload == b"still there?"
    slow.frame(CLOSE, b"\x03\xe8")
    slow.expect_close(1000, skip_messages=True)


@pytest.mark.parametrize("action", ["drop-oldest", "drop-newest"])
def test_compressed_messages_stay_readable_when_some_are_dropped(app, sidesocket, action):
    """With context takeover a message that was compressed and then dropped would break every one after it."""
    edge = sidesocket(app, **UNLIMITED, SLOW_CLIENT_ACTION=action, COMPRESSION_CONTEXT_TAKEOVER="on")
    noise = random.Random(3)
    words = [noise.randbytes(700).hex() for _ in range(PAGE)]

    def answer(request):
        if request.text.startswith("echo"):
            return Reply(200, request.text, {"Content-Type": "text/plain"})
        return commands(*({"send": {"text": f"{request.text} {n} {word}!"}} for n, word in enumerate(words)))

    app.on(answer, event="message")
    slow = DeflateGuest(edge.port, receive_buffer=8 << 10).shake()
    assert slow.takeover
    for n in range(2 * PAGES):
        slow.try_send(frame(TEXT, str(n)))
    eventually(lambda: len(app.events("message")) >= 2 * PAGES and actions(edge, action) > 0, "some are dropped", 30)
    slow.text("echo the end")
    count = 0
    while (text := slow.message()) != "echo the end":
        page, n, word = text.split(" ")
        assert word == words[int(n)] + "!"
        count += 1
    assert 0 < count < 2 * PAGES * PAGE


def test_a_client_that_reads_slowly_but_reads_is_not_slow(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED, MAX_SEND_BUFFER_BYTES="8MiB")
    app.on(lambda request: Reply(200, "y" * 60_000, {"Content-Type": "text/plain"}), event="message")
    guest = Guest(edge.port, receive_buffer=8 << 10).shake()
    for _ in range(50):
        guest.text("more")
        assert len(guest.message()) == 60_000
    assert edge.metric("slow_client_total") == 0


def test_many_stalled_clients_hold_their_budgets_and_delay_nobody(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED, SLOW_CLIENT_ACTION="drop-oldest", MAX_SEND_BUFFER_BYTES="64KiB")
    pages(app)
    other = enter(edge)
    before = edge.rss
    slow = [stall(edge, app) for _ in range(6)]
    waits = []
    while asked(app) < PAGES * len(slow):
        began = time.monotonic()
        other.text("echo other")
        assert other.message() == "echo other"
        waits.append(time.monotonic() - began)
    assert max(waits) < 3.0
    assert edge.metric("send_buffer_bytes") <= len(slow) * ((64 << 10) + SIZE + 64)
    assert edge.rss - before < 48 << 20


def test_tiny_messages_to_clients_that_do_not_read_cost_no_more_than_the_budget(app, sidesocket):
    edge = sidesocket(app, SLOW_CLIENT_ACTION="drop-newest", **UNLIMITED)
    fill, tiny = commands({"send": {"text": "y" * 240_000}}), commands(*[{"send": {"text": "x"}}] * 900)
    app.on(lambda request: fill if request.text == "fill" else tiny, event="message")
    guests = [enter(edge, receive_buffer=2304) for _ in range(4)]
    edge.forget_peak_rss()
    before = edge.rss
    for guest in guests:
        # First all buffers of the system.
        for _ in range(40):
            guest.text("fill")
        for _ in range(30):
            guest.text("tiny")
    app.wait_events(4 * 70, "message", timeout=30)
    edge.wait_metric("pending_bytes", 0)
    assert edge.metric("slow_client_total", action="drop-newest") > 10_000
    assert edge.metric("send_buffer_bytes") <= 4 * (BUDGET + (8 << 10))
    assert edge.peak_rss - before < 24 << 20


@pytest.mark.parametrize("size", [5_001, 20_001])
def test_a_client_that_resets_in_the_middle_of_a_burst_leaves_nothing_behind_in_the_gauge(app, sidesocket, size):
    """64 messages of 62 bytes, then a large one whose header is the byte too much to be gathered."""
    edge = sidesocket(app, MAX_SEND_BUFFER_BYTES="4MiB", COMPRESSION="off", THREADS=1)
    sends = [{"send": {"text": "x" * (size if n % 65 == 64 else 62)}} for n in range(650)]
    app.on(commands(*sends), event="message")
    for clients in range(1, 41):
        one = edge.websocket("/ws")
        one.text("go")
        for _ in range(7 * clients):
            one.message()
        one.reset()
    app.wait_events(40, "close", timeout=30)
    edge.wait_metric("connections", 0)
    edge.wait_metric("send_buffer_bytes", 0)
