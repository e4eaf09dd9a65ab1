"""Pings and pongs have a rate: above it the socket is read more slowly, and nobody else notices."""

import multiprocessing
import signal
import statistics
import time

import pytest
from support.guard import UNLIMITED, counted, enter, limited
from support.net import eventually
from support.ws import CLOSE, PING, PONG, TEXT, close_payload, frame

LIMIT = "control_rate"


def throttled(edge):
    return edge.metric("limited_total", limit=LIMIT, action="throttled")


def pongs(guest, count):
    """The payloads of the next `count` pongs, as numbers."""
    found = []
    while len(found) < count:
        got = guest.receive()
        assert got.opcode == PONG, got
        found.append(int(got.payload))
    return found


@pytest.mark.alone
def test_above_the_rate_pings_are_answered_at_the_rate_and_none_is_lost(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED, CONTROL_RATE="40/1s,burst=10")
    app.echo()
    guest, other = enter(edge), enter(edge)
    began = time.monotonic()
    guest.send(b"".join(frame(PING, b"%d" % n) for n in range(50)) + frame(TEXT, "behind them"))
    eventually(lambda: throttled(edge) > 0, "it is throttled")
    other.text("quick")
    assert other.message() == "quick"
    assert time.monotonic() - began < 0.6, "the other client waited"
    assert pongs(guest, 50) == list(range(50))
    assert guest.message() == "behind them"
    # Forty more than the burst, at 40 a second.
    assert time.monotonic() - began > 0.8
    assert edge.metric("connections") == 2


def test_by_default_two_hundred_pass_at_once_and_fifty_a_second_after_that(app, sidesocket):
    guest = enter(sidesocket(app, CONTROL_RATE=None))
    guest.send(b"".join(frame(PING, b"%d" % n) for n in range(1000)))
    assert pongs(guest, 200) == list(range(200))
    began = time.monotonic()
    assert pongs(guest, 50) == list(range(200, 250))
    assert time.monotonic() - began > 0.7


def test_pongs_that_nobody_asked_for_count_as_well(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED, CONTROL_RATE="20/1s,burst=5")
    app.echo()
    guest = enter(edge)
    began = time.monotonic()
    guest.send(b"".join(frame(PONG, b"%d" % n) for n in range(25)) + frame(TEXT, "behind them"))
    assert guest.message() == "behind them"
    assert time.monotonic() - began > 0.8
    assert throttled(edge) > 0


def test_data_messages_are_not_counted_and_a_client_within_the_rate_never_waits(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED, CONTROL_RATE="5/1h")
    app.echo()
    guest = enter(edge)
    for n in range(5):
        guest.ping(b"%d" % n)
        for m in range(20):
            guest.text(f"{n} {m}")
        assert pongs(guest, 1) == [n]
        assert [guest.message() for _ in range(20)] == [f"{n} {m}" for m in range(20)]
    assert throttled(edge) == 0
    guest.ping(b"5")
    eventually(lambda: throttled(edge) == 1, "the sixth is one too many")


def test_answers_to_our_own_pings_cost_nothing(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED, CONTROL_RATE="1/1h", PING_INTERVAL="100ms")
    app.echo()
    guest = enter(edge)
    for _ in range(8):
        got = guest.receive()
        assert got.opcode == PING
        guest.frame(PONG, got.payload)
    guest.text("still read")
    while (got := guest.receive()).opcode == PING:
        guest.frame(PONG, got.payload)
    assert (got.opcode, got.payload) == (TEXT, b"still read")
    assert throttled(edge) == 0


@pytest.mark.alone
def test_a_flood_fills_the_socket_of_who_sends_it_and_delays_nobody(app, sidesocket):
    """Four sockets that send pings as fast as they can: the goal is twice the p99 of an idle server."""
    edge = sidesocket(app, **UNLIMITED, CONTROL_RATE=None)
    app.echo()
    other = enter(edge)

    def round_trips(count=400):
        found = []
        for n in range(count):
            began = time.monotonic()
            other.text(f"{n}")
            assert other.message() == f"{n}"
            found.append(time.monotonic() - began)
        return statistics.quantiles(found, n=100)[-1]

    quiet = min(round_trips() for _ in range(3))
    floods = [flooding(enter(edge)) for _ in range(4)]
    try:
        eventually(lambda: throttled(edge) > 8, "they are throttled")
        cpu, began = edge.cpu_seconds, time.monotonic()
        busy = min(round_trips() for _ in range(3))
        spent, took = edge.cpu_seconds - cpu, time.monotonic() - began
    finally:
        for flood in floods:
            flood.kill()
            flood.join()
    # Without the rate it is ten times as long and two cores are full; the milliseconds are for a busy machine.
    assert busy < 2 * quiet + 0.003, f"p99 went from {quiet * 1000:.1f} to {busy * 1000:.1f} ms"
    assert spent < took, f"{spent:.2f} s of CPU in {took:.2f} s"


def flooding(guest):
    """A process that sends pings on a socket as fast as it takes them: threads would slow down the test's own."""

    def flood():
        guest.sock.settimeout(None)
        many = frame(PING, b"flood") * 1000
        while True:
            guest.sock.sendall(many)

    process = multiprocessing.get_context("fork").Process(target=flood, daemon=True)
    process.start()
    return process


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_throttled_client_that_leaves_is_noticed(app, sidesocket, leave):
    edge = sidesocket(app, **UNLIMITED, CONTROL_RATE="50/1s,burst=1")
    guest = enter(edge)
    guest.send(b"".join(frame(PING, b"%d" % n) for n in range(10)))
    eventually(lambda: throttled(edge) > 0, "it is throttled")
    if leave == "reset":
        guest.reset()
    else:
        guest.frame(CLOSE, close_payload(1000))
        guest.expect_close(1000)
    app.wait_events(1, "close")
    edge.wait_metric("connections", 0)


def test_a_dry_run_counts_and_delays_nothing(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED, CONTROL_RATE="1/1h", DRY_RUN="control_rate")
    guest = enter(edge)
    with counted(edge, limited(LIMIT, "dry_run", 49)):
        guest.send(b"".join(frame(PING, b"%d" % n) for n in range(50)))
        assert pongs(guest, 50) == list(range(50))
    assert throttled(edge) == 0


def test_off_is_off_and_a_reload_changes_it_for_sockets_that_are_open(app, sidesocket, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("control_rate: 1/1h\n")
    edge = sidesocket(app, **UNLIMITED, CONFIG=str(file), CONTROL_RATE=None)
    guest = enter(edge)

    def change(rate):
        done = edge.output.count("settings reloaded")
        file.write_text(f"control_rate: {rate}\n")
        edge.process.send_signal(signal.SIGHUP)
        eventually(lambda: edge.output.count("settings reloaded") > done, "the settings are read again")

    guest.send(b"".join(frame(PING, b"%d" % n) for n in range(50)))
    eventually(lambda: throttled(edge) > 0, "it is throttled")
    change("off")
    assert pongs(guest, 50) == list(range(50))
    before = throttled(edge)
    guest.send(b"".join(frame(PING, b"%d" % n) for n in range(500)))
    assert pongs(guest, 500) == list(range(500))
    assert throttled(edge) == before
    change("1/1h")
    guest.send(frame(PING, b"1") + frame(PING, b"2"))
    eventually(lambda: throttled(edge) > before, "it is throttled")
