"""Pings, what counts as life, and how a socket ends that is dead, idle or old."""

import json
import os
import time

import pytest
from support.app import Reply, gate
from support.heartbeats import RESOLUTION, SLACK, beat, close_event
from support.net import PATIENCE, eventually
from support.ws import BINARY, PING, PONG, TEXT, frame

# When a ping comes


def test_pings_come_after_the_interval_of_silence_give_or_take_a_tenth(app, sidesocket):
    edge = sidesocket(app, **beat(600, 20_000))
    before = time.monotonic()
    socket = edge.websocket()
    opened = time.monotonic()
    for n in range(1, 6):
        got = socket.receive()
        now = time.monotonic()
        assert (got.opcode, len(got.payload)) == (PING, 4)
        assert now - before >= n * 0.9 * 0.6, f"ping {n} came too early"
        assert now - opened <= n * (1.1 * 0.6 + RESOLUTION) + SLACK, f"ping {n} came too late"
        socket.frame(PONG, got.payload)
    assert edge.metric("pings_sent_total") >= 5


def test_the_interval_follows_from_the_idle_timeout(app, sidesocket):
    edge = sidesocket(app, LB_IDLE_TIMEOUT="1200ms")
    before = time.monotonic()
    socket = edge.websocket()
    opened = time.monotonic()
    socket.expect(PING)
    assert time.monotonic() - before >= 0.45
    assert time.monotonic() - opened <= 0.55 + RESOLUTION + SLACK


def test_no_ping_while_bytes_move_both_ways(app, sidesocket, swarm):
    edge = sidesocket(app, **beat(1500, 20_000))
    app.echo()
    clients = swarm(edge)
    (member,) = clients.enter(1)
    ended = member.opened + 4.0
    while time.monotonic() < ended:
        clients.send(frame(TEXT, "tick"))
        # Time itself is tested: traffic that is denser than the interval.
        time.sleep(0.1)
    moments = [member.opened] + [at for at, _ in member.messages]
    worst = max(b - a for a, b in zip(moments, moments[1:], strict=False))
    if worst > 1.2:
        pytest.skip(f"this machine stood still for {worst:.1f} s")
    assert len(member.messages) > 10
    assert member.pings == [] and edge.metric("pings_sent_total") == 0
    # Then silence.
    eventually(lambda: member.pings, "a ping after the traffic")


def test_a_stream_from_the_client_alone_still_gets_pings(app, sidesocket, swarm):
    edge = sidesocket(app, **beat(500, 20_000))
    clients = swarm(edge)
    (member,) = clients.enter(1)

    def ticked():
        clients.send(frame(TEXT, "tick"))
        return len(member.pings) >= 4

    eventually(ticked, "pings for a client that only sends", interval=0.1)
    assert member.pings[3] - member.born >= 4 * 0.45
    assert member.pings[3] - member.opened <= 4 * (0.55 + RESOLUTION) + SLACK
    assert member.messages == []


def one_way(app, sockets_messages=60, pace=0.1):
    """The app answers messages that were all sent at once, one after the other: a stream from the server."""
    app.on(lambda r: time.sleep(pace) or Reply(200, "tock", {"Content-Type": "text/plain"}), event="message")
    return b"".join(frame(TEXT, str(n)) for n in range(sockets_messages))


def test_a_stream_from_the_server_alone_still_gets_pings(app, sidesocket, swarm):
    edge = sidesocket(app, **beat(500, 20_000))
    burst = one_way(app)
    clients = swarm(edge, delay=None)
    (member,) = clients.enter(1)
    clients.send(burst)
    eventually(lambda: len(member.pings) >= 4, "pings for a client that only receives")
    assert member.pings[3] - member.born >= 4 * 0.45
    assert len(member.messages) < 60, "the stream was over before the pings came"


def test_a_reader_that_is_dead_is_noticed_while_the_server_streams(app, sidesocket, swarm):
    edge = sidesocket(app, **beat(500, 500))
    burst = one_way(app)
    clients = swarm(edge, delay=None)
    (member,) = clients.enter(1)
    clients.send(burst)
    eventually(lambda: member.code, "it is closed")
    assert member.code == 1001
    assert 0 < len(member.messages) < 60
    assert member.closed_at - member.opened <= 0.55 + 0.5 + 2 * RESOLUTION + SLACK
    assert edge.metric("pong_timeouts_total") == 1


def test_pings_of_many_sockets_spread_out(app, sidesocket, swarm):
    edge = sidesocket(app, **beat(1000, 20_000))
    clients = swarm(edge)
    members = clients.enter(100)
    eventually(lambda: all(len(m.pings) >= 3 for m in members), "three pings each", interval=0.05)
    # By its own clock each, since they did not all come at the same moment.
    first = sorted(m.pings[0] - m.opened for m in members)
    assert first[-1] - first[0] > 0.1, f"all first pings within {first[-1] - first[0]:.3f} s"
    assert first[0] >= 0.9 - SLACK / 2 and first[-1] <= 1.1 + RESOLUTION + SLACK
    third = sorted(m.pings[2] for m in members)
    assert third[-1] - third[0] > 0.1
    # The wheel must not gather what was drawn apart: the middle half is spread, too.
    assert first[75] - first[25] > 0.04, f"{[round(x, 2) for x in first]}"
    assert clients.alive == members


def test_no_pings_when_they_are_off(app, sidesocket):
    edge = sidesocket(app, LB_IDLE_TIMEOUT="200ms", PONG_TIMEOUT="50ms", PING_INTERVAL="off")
    app.echo()
    socket = edge.websocket()
    socket.sock.settimeout(1.2)
    # Time itself is tested: many times what would be the interval.
    with pytest.raises(TimeoutError):
        socket.receive()
    socket.sock.settimeout(PATIENCE)
    socket.text("still here")
    got = socket.receive()
    assert (got.opcode, got.payload) == (TEXT, b"still here")
    assert edge.metric("pings_sent_total") == 0


# Life and death


def test_a_client_that_never_answers_is_closed_with_1001(app, sidesocket):
    edge = sidesocket(app, **beat(500, 700))
    before = time.monotonic()
    socket = edge.websocket()
    opened = time.monotonic()
    # Skips the pings and answers none.
    socket.expect_close(1001)
    took = time.monotonic()
    assert took - before >= 0.9 * 0.5 + 0.7 - RESOLUTION
    assert took - opened <= 1.1 * 0.5 + 0.7 + 2 * RESOLUTION + SLACK
    body = close_event(app)
    assert (body["code"], body["initiator"]) == (1001, "server")
    assert edge.metric("pong_timeouts_total") == 1
    assert edge.metric("connections_closed_total", code=1001, initiator="server") == 1
    assert edge.metric("ping_rtt_seconds_count") == 0


def test_a_client_that_neither_answers_nor_reads_nor_closes_is_gone_all_the_same(app, sidesocket):
    edge = sidesocket(app, **beat(300, 300))
    socket = edge.websocket()
    opened = time.monotonic()
    assert close_event(app)["code"] == 1001
    assert time.monotonic() - opened <= 0.33 + 0.3 + 2 * RESOLUTION + SLACK
    edge.wait_metric("connections", 0)
    del socket


def test_a_client_that_answers_lives(app, sidesocket, swarm):
    edge = sidesocket(app, **beat(200, 600))
    clients = swarm(edge)
    members = clients.enter(20)
    eventually(lambda: all(len(m.pings) >= 12 for m in members), "a dozen pings each", interval=0.02)
    assert clients.alive == members
    assert edge.metric("pong_timeouts_total") == 0


def test_any_byte_of_the_client_is_life(app, sidesocket, swarm):
    edge = sidesocket(app, **beat(400, 1000))
    # A pong that nobody asked for, a ping, a message, a frame that never gets complete.
    kinds = [frame(PONG, b"?"), frame(PING, b"!"), frame(TEXT, "x"), b"x"]
    clients = swarm(edge, delay=None)
    members = clients.enter(len(kinds))
    clients.send(frame(BINARY, b"", length=60_000), members[3:])
    (silent,) = clients.enter(1)
    worst, last, until = 0.0, time.monotonic(), time.monotonic() + 3.5
    while time.monotonic() < until:
        for member, data in zip(members, kinds, strict=True):
            clients.send(data, [member])
        # Time itself is tested: a sign of life well within the timeout.
        time.sleep(0.1)
        worst, last = max(worst, time.monotonic() - last), time.monotonic()
    if worst > 0.8:
        pytest.skip(f"this machine stood still for {worst:.1f} s")
    assert silent.code == 1001
    assert [m.code for m in members] == [None] * 4
    # Where we answer pings, bytes move both ways, and none of ours is due.
    assert all(len(m.pings) >= 3 for n, m in enumerate(members) if n != 1)
    assert members[1].pings == []
    eventually(lambda: all(m.code for m in members), "silence is their end")
    assert {m.code for m in members} == {1001}
    assert edge.metric("pong_timeouts_total") == 5


def test_round_trip_times_are_measured(app, sidesocket, swarm):
    edge = sidesocket(app, **beat(400, 5000))
    clients = swarm(edge, delay=0.2)
    clients.enter(3)
    eventually(lambda: edge.metric("ping_rtt_seconds_count") >= 9, "round trips", interval=0.05)
    count, total = edge.metric("ping_rtt_seconds_count"), edge.metric("ping_rtt_seconds_sum")
    assert edge.metric("pings_sent_total") >= count
    assert 0.19 <= total / count <= 0.2 + SLACK / 2


def test_a_pong_with_another_number_is_life_but_no_round_trip(app, sidesocket):
    edge = sidesocket(app, **beat(200, 600))
    socket = edge.websocket()
    for _ in range(6):
        assert socket.receive().opcode == PING
        socket.frame(PONG, os.urandom(4))
        socket.frame(PONG, b"")
        socket.frame(PONG, b"x" * 125)
    socket.barrier()
    assert edge.metric("ping_rtt_seconds_count") == 0
    assert edge.metric("connections") == 1


def test_a_client_that_we_do_not_read_from_is_not_killed(app, sidesocket, swarm):
    """Its answers lie unread while the app hangs; it is our doing, not its death."""
    edge = sidesocket(app, **beat(300, 300, MAX_PENDING_BYTES="1KiB", WEBHOOK_TIMEOUT="40s", CLIENT_IDLE_TIMEOUT="2s"))
    held = gate()
    app.on(lambda r: Reply(200, r.body, {"Content-Type": "text/plain"}, gate=held), event="message")
    clients = swarm(edge)
    (member,) = clients.enter(1)
    texts = [f"{n}".ljust(600, ".") for n in range(4)]
    clients.send(b"".join(frame(TEXT, text) for text in texts))
    app.wait_events(1, "message")
    until = time.monotonic() + 3.0
    # Time itself is tested: five times what kills a client whose answers we read.
    eventually(lambda: time.monotonic() > until or member.code, "some time", interval=0.05)
    assert member.code is None
    held.set()
    eventually(lambda: len(member.messages) == 4, "the messages are echoed")
    assert [text.decode() for _, text in member.messages] == texts
    assert edge.metric("pong_timeouts_total") == 0
    # It is watched again.
    eventually(lambda: member.code == 1001, "it is idle by now")
    assert edge.metric("limited_total", limit="client_idle_timeout", action="closed") == 1


# Idle and old


def test_a_client_without_messages_is_closed_when_it_has_been_idle(app, sidesocket, swarm):
    edge = sidesocket(app, **beat(200, 2000, CLIENT_IDLE_TIMEOUT="1500ms"))
    app.echo()
    clients = swarm(edge)
    idle, busy, answering = clients.enter(3)
    worst, last = 0.0, time.monotonic()

    def both_gone():
        nonlocal worst, last
        clients.send(frame(TEXT, "x"), [busy])
        # A ping of the client's is no message.
        clients.send(frame(PING, b"x"), [answering])
        worst, last = max(worst, time.monotonic() - last), time.monotonic()
        return idle.code and answering.code

    eventually(both_gone, "closed as idle", interval=0.1)
    assert (idle.code, answering.code) == (1001, 1001)
    assert busy.code is None or worst > 1.2
    assert idle.pings
    for member in (idle, answering):
        assert member.closed_at - member.born >= 1.5
        assert member.closed_at - member.opened <= 1.5 + RESOLUTION + SLACK
    assert edge.metric("limited_total", limit="client_idle_timeout", action="closed") == 2
    assert edge.metric("pong_timeouts_total") == 0
    events = app.wait_events(2, "close")
    assert {json.loads(e.body)["code"] for e in events} == {1001}


def test_old_sockets_are_closed_and_not_all_at_once(app, sidesocket, swarm):
    edge = sidesocket(app, MAX_CONNECTION_AGE="2s")
    app.echo()
    clients = swarm(edge)
    members = clients.enter(100)

    def all_closed():
        # Traffic helps nobody.
        clients.send(frame(TEXT, "x"), members[:20])
        return all(m.code for m in members)

    eventually(all_closed, "closed as old", interval=0.2)
    assert {m.code for m in members} == {1001}
    ages = sorted(m.closed_at - m.opened for m in members)
    assert min(m.closed_at - m.born for m in members) >= 1.8
    assert ages[-1] <= 2.2 + RESOLUTION + SLACK
    assert ages[-1] - ages[0] > 0.15, f"all within {ages[-1] - ages[0]:.3f} s"
    assert edge.metric("limited_total", limit="max_connection_age", action="closed") == 100
    assert {json.loads(e.body)["code"] for e in app.wait_events(100, "close")} == {1001}
