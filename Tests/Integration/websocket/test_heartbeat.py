"""Pings, what counts as life, and how a socket ends that is dead, idle or old."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.app import Reply, gate
from support.heartbeats import RESOLUTION, SLACK, beat, close_event
from support.net import PATIENCE, eventually, free_port
from support.process import run
from support.swarm import Swarm
from support.ws import BINARY, PING, PONG, TEXT, frame

URL = "http://127.0.0.1:3000"
EX_CONFIG = 78
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


# Standing still


def stop_for(process, seconds):
    """SIGSTOP, a while, SIGCONT."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        # Time itself is tested.
        time.sleep(seconds)
    finally:
        os.kill(process.pid, signal.SIGCONT)


def test_clients_that_answer_survive_that_the_sidecar_stood_still(app, sidesocket, swarm):
    edge = sidesocket(app, **beat(500, 1000, CLIENT_IDLE_TIMEOUT="30s"))
    app.echo()
    clients = swarm(edge)
    members = clients.enter(100)
    eventually(lambda: all(m.pings for m in members), "a ping each", interval=0.02)
    stop_for(edge.process, 4)
    resumed = time.monotonic()
    eventually(lambda: all(m.pings[-1] > resumed for m in members), "pings go on", interval=0.02)
    settled = {m: len(m.pings) for m in members}
    eventually(lambda: all(len(m.pings) > settled[m] + 3 for m in members), "and on", interval=0.05)
    assert clients.alive == members
    assert edge.metric("pong_timeouts_total") == 0
    clients.send(frame(TEXT, "hello"))
    eventually(lambda: all(m.messages for m in members), "everybody is echoed")


def test_a_client_far_away_survives_a_short_stop_that_hides_its_answer(app, sidesocket, swarm):
    """The answers come half a second late, so they lie unread when their time is over at the end of the stop.

    in the sockets is read.
    """
    edge = sidesocket(app, **beat(400, 1000, THREADS="1"))
    clients = swarm(edge, delay=0.5)
    members = clients.enter(300)
    eventually(lambda: all(len(m.pings) > 5 for m in members), "pings", interval=0.02)
    assert clients.alive == members, "nobody is closed before the stop"
    for _ in range(2):
        stop_for(edge.process, 1.2)
        resumed = time.monotonic()
        eventually(lambda r=resumed: all(m.pings[-1] > r or m.code for m in members), "pings go on", interval=0.02)
    # Long enough for what would be judged late.
    resumed = time.monotonic()
    eventually(lambda: all(m.pings[-1] > resumed + 1 or m.code for m in members), "pings go on", interval=0.05)
    dead = [m for m in members if m.code]
    assert not dead, f"{len(dead)} of {len(members)} were closed with { {m.code for m in dead} }"
    assert edge.metric("pong_timeouts_total") == 0


def test_the_dead_are_still_found_after_the_sidecar_stood_still(app, sidesocket, swarm):
    edge = sidesocket(app, **beat(300, 500))
    clients = swarm(edge)
    good = clients.enter(5)
    deaf = swarm(edge, delay=None)
    bad = deaf.enter(5)
    eventually(lambda: all(m.pings for m in bad), "a ping each", interval=0.005)
    stop_for(edge.process, 2)
    resumed = time.monotonic()
    eventually(lambda: all(m.code for m in bad), "the dead are closed")
    assert {m.code for m in bad} == {1001}
    assert max(m.closed_at for m in bad) - resumed <= 0.33 + 2 * 0.5 + 2 * RESOLUTION + SLACK
    assert clients.alive == good


CLIENT = """
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1], ping_interval=None) as socket:
        print("open", flush=True)
        await socket.wait_closed()
        print("closed", socket.close_code, flush=True)
asyncio.run(main())
"""


@pytest.fixture
def other_process():
    """A client in a process of its own: `other_process(url)`."""
    started = []

    def start(url, before=()):
        process = subprocess.Popen(
            [*before, sys.executable, "-c", CLIENT, url], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "open\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_client_that_is_stopped_is_noticed_within_interval_and_timeout(app, sidesocket, other_process):
    edge = sidesocket(app, **beat(500, 800))
    process = other_process(f"ws://127.0.0.1:{edge.port}/ws")
    eventually(lambda: edge.metric("ping_rtt_seconds_count") >= 3, "it answers")
    assert edge.metric("connections") == 1
    os.kill(process.pid, signal.SIGSTOP)
    stopped = time.monotonic()
    body = close_event(app)
    took = time.monotonic() - stopped
    assert (body["code"], body["initiator"]) == (1001, "server")
    # An answer may just have been under way.
    assert 0.8 - 0.1 <= took <= 0.55 + 0.8 + 2 * RESOLUTION + SLACK
    os.kill(process.pid, signal.SIGCONT)


# Cut off


class Relay:
    """A TCP relay that can stop forwarding without closing anything, as a hop that lost its state does."""

    def __init__(self, to):
        self.to = to
        self.cut = threading.Event()
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to), PATIENCE)
            far.settimeout(None)
            self._sockets += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one, other):
        try:
            while data := one.recv(65536):
                if not self.cut.is_set():
                    other.sendall(data)
        except OSError:
            pass

    def close(self):
        for each in [self._listener, *self._sockets]:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()


def test_a_client_behind_a_relay_that_stops_is_noticed_within_interval_and_timeout(app, sidesocket):
    edge = sidesocket(app, **beat(500, 800))
    relay = Relay(edge.port)
    try:
        with Swarm(relay.port) as clients:
            (member,) = clients.enter(1)
            eventually(lambda: len(member.pings) >= 3, "pings arrive")
            assert edge.metric("connections") == 1
            relay.cut.set()
            cut = time.monotonic()
            body = close_event(app)
            assert 0.8 - 0.1 <= time.monotonic() - cut <= 0.55 + 0.8 + 2 * RESOLUTION + SLACK
            assert body["code"] == 1001
            edge.wait_metric("pong_timeouts_total", 1)
            # Nothing of it is left, although the other side never answers the Close.
            edge.wait_metric("connections", 0)
    finally:
        relay.close()


def test_a_client_in_a_network_that_is_cut_off_is_noticed_within_interval_and_timeout(app, sidesocket, other_process):
    """Here nobody acknowledges anything: the kernel's timeout (`TCP_USER_TIMEOUT`) may be first."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and ip (Debian: apt-get install iproute2)")
    name = f"sst{os.getpid() % 100_000}"
    near, far = "10.231.77.1", "10.231.77.2"

    def ip(*words, check=True):
        done = subprocess.run(["ip", *words], capture_output=True, text=True)
        if check and done.returncode:
            pytest.skip(f"ip {' '.join(words)}: {done.stderr.strip()}")

    ip("netns", "add", name)
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", f"{near}/30", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "addr", "add", f"{far}/30", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        port, control = free_port(), free_port()
        edge = sidesocket(
            app, **beat(500, 800), LISTEN=f"127.0.0.1:{port},{near}:{port}", CONTROL_LISTEN=f"127.0.0.1:{control}",
            wait=False,
        )  # fmt: skip
        edge.port, edge.control_port = port, control
        eventually(lambda: edge.readyz()[0] == 200, lambda: f"ready: {edge.output}", timeout=20)
        other_process(f"ws://{near}:{port}/ws", before=["ip", "netns", "exec", name])
        eventually(lambda: edge.metric("ping_rtt_seconds_count") >= 3, "it answers")
        ip("-n", name, "link", "set", "eth0", "down")
        cut = time.monotonic()
        body = close_event(app)
        assert time.monotonic() - cut <= 0.55 + 0.8 + 2 * RESOLUTION + SLACK
        assert body["code"] in (1001, 1006)
        edge.wait_metric("connections", 0)
    finally:
        ip("link", "del", name, check=False)
        ip("netns", "del", name, check=False)


# The wall clock


def faketime_library():
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")) or sorted(
        Path("/usr/lib").glob("faketime/libfaketimeMT.so.1")
    )
    if not found:
        pytest.skip("faketime is not installed (Debian: apt-get install faketime)")
    return str(found[0])


@pytest.mark.parametrize("jump", ["+1h", "-1h"])
def test_a_jump_of_the_wall_clock_closes_nobody(app, sidesocket, swarm, tmp_path, jump):
    from datetime import datetime

    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    edge = sidesocket(
        app,
        **beat(400, 1000, CLIENT_IDLE_TIMEOUT="1m", MAX_CONNECTION_AGE="5m"),
        env={
            "LD_PRELOAD": faketime_library(),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        },
    )
    clients = swarm(edge)
    members = clients.enter(50)
    eventually(lambda: all(m.pings for m in members), "a ping each", interval=0.02)
    (tmp_path / "new").write_text(f"{jump}\n")
    (tmp_path / "new").replace(clock)
    jumped = time.monotonic()

    def pinged():
        return all(m.code or m.pings[-1] > jumped + 2 for m in members)

    eventually(pinged, "pings go on", interval=0.05)
    assert clients.alive == members
    # As before: neither a storm of pings nor a drought.
    for member in members:
        since = [at for at in member.pings if jumped < at <= jumped + 2]
        assert 1 <= len(since) <= 7, len(since)
    # The jump has really happened to it.
    clients.send(frame(TEXT, "what time is it?"), members[:1])
    told = datetime.fromisoformat(app.wait_events(1, "message")[0].header("ce-time")).timestamp()
    assert abs(told - time.time() - (3600 if jump == "+1h" else -3600)) < 60
    assert edge.metric("pong_timeouts_total") == 0
    assert edge.metric("limited_total") == 0


# What `check` says and what the start refuses

# Idle and absolute timeouts in seconds, as the balancers have them unless somebody changed them.
PRESETS = {
    "aws-alb": (60, None), "aws-nlb": (350, None), "aws-clb": (60, None), "cloudfront": (600, None),
    "cloudflare": (100, None), "gcp-alb": (None, 30), "gcp-tcp": (600, None), "azure-appgw": (20, None),
    "azure-frontdoor": (300, 14400), "azure-lb": (240, None), "heroku": (55, None), "fly": (60, None),
    "railway": (60, None), "digitalocean": (60, None), "nginx": (60, None), "ingress-nginx": (60, None),
    "haproxy": (60, None), "openshift": (30, None), "envoy": (300, None), "istio": (3600, None),
    "traefik": (None, None), "caddy": (None, None), "apache": (60, None), "varnish": (60, None), "mobile": (30, None),
}  # fmt: skip
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
DURATION = r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+"


def seconds(text):
    return sum(float(n) * UNITS[unit] for n, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text))


def heartbeat(**settings):
    """The lines that `check` prints below "Heartbeat", be they comments or not."""
    done = run("check", APP_URL=URL, **{"TRUSTED_PROXIES": "private", **settings})
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.lstrip("# ") for line in done.stdout.splitlines()]
    assert lines.count("Heartbeat") == 1, done.stdout
    return "\n".join(lines[lines.index("Heartbeat") + 1 :])


def durations(line):
    return [seconds(found) for found in re.findall(rf"\b{DURATION}\b", line)]


def said_times(text):
    """(idle, interval, age) in seconds as `check` says them."""
    lines = text.splitlines()
    idle = next(durations(line)[0] for line in lines if "idle" in line and durations(line))
    interval = next((durations(line)[0] for line in lines if "ping is sent" in line), None)
    age = next((durations(line)[0] for line in lines if "closed at the age" in line), None)
    return idle, interval, age


@pytest.mark.parametrize("preset", PRESETS)
def test_check_knows_the_preset(preset):
    idle, absolute = PRESETS[preset]
    text = heartbeat(LB=preset)
    assert preset in text
    said = said_times(text)
    assert said[0] == (idle or 60)
    assert said[1] == pytest.approx((idle or 60) * 5 / 12, abs=0.01)
    assert said[2] == (pytest.approx(absolute * 0.9, abs=0.01) if absolute else None)
    if idle:
        assert f"The shortest idle timeout is that of {preset}:" in text
    assert "Warning" not in text


def test_no_preset_is_missing_from_the_help():
    done = run("check", APP_URL=URL, LB="nonsense")
    assert done.returncode == EX_CONFIG
    said = done.stdout + done.stderr
    assert "SIDESOCKET_LB" in said and "nonsense" in said
    for preset in PRESETS:
        assert re.search(rf"\b{preset}\b", said), preset


def test_the_smallest_idle_timeout_of_a_chain_rules():
    text = heartbeat(LB="cloudflare,aws-alb,nginx")
    chain = text.splitlines()[0]
    assert chain.index("cloudflare") < chain.index("aws-alb") < chain.index("nginx")
    assert said_times(text) == (60, 25, None)
    text = heartbeat(LB="cloudfront, azure-frontdoor, openshift, gcp-alb")
    assert "that of openshift:" in text and "before gcp-alb" in text
    assert said_times(text) == (30, 12.5, 27)
    assert said_times(heartbeat(LB="traefik,istio")) == (3600, 1500, None)
    assert said_times(heartbeat(LB="none")) == said_times(heartbeat()) == (60, 25, None)


def test_what_is_set_rules_over_the_presets():
    text = heartbeat(LB="aws-alb", LB_IDLE_TIMEOUT="24s")
    assert said_times(text) == (24, 10, None)
    assert "LB_IDLE_TIMEOUT" in text and "Warning" not in text
    text = heartbeat(LB="aws-alb", PING_INTERVAL="7s")
    assert said_times(text) == (60, 7, None)
    assert "PING_INTERVAL" in text
    assert said_times(heartbeat(LB="azure-frontdoor", MAX_CONNECTION_AGE="1h"))[2] == 3600
    assert said_times(heartbeat(PING_INTERVAL="off"))[1] is None


@pytest.mark.parametrize(
    "settings",
    [
        {"PING_INTERVAL": "60s"},
        {"PING_INTERVAL": "1h"},
        {"PING_INTERVAL": "20s", "LB": "azure-appgw"},
        {"PING_INTERVAL": "30s", "LB": "aws-nlb,mobile"},
        {"PING_INTERVAL": "3s", "LB_IDLE_TIMEOUT": "3s", "LB": "aws-alb"},
    ],
    ids=str,
)
def test_pings_that_come_too_late_for_the_balancer_are_refused_at_the_start(settings):
    for arguments in ((), ("check",)):
        done = run(
            *arguments,
            APP_URL=URL,
            LISTEN=f"127.0.0.1:{free_port()}",
            CONTROL_LISTEN=f"127.0.0.1:{free_port()}",
            **settings,
        )
        said = done.stdout + done.stderr
        assert done.returncode == EX_CONFIG, said
        assert "SIDESOCKET_PING_INTERVAL" in said and settings["PING_INTERVAL"] in said
        # It says what to change.
        assert "at most" in said and "SIDESOCKET_LB_IDLE_TIMEOUT" in said


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"PING_INTERVAL": "31s"}, ["PING_INTERVAL", "30s"]),
        ({"PING_INTERVAL": "16s", "LB": "openshift"}, ["PING_INTERVAL", "15s"]),
        ({"PING_INTERVAL": "2s", "LB_IDLE_TIMEOUT": "3s"}, ["PING_INTERVAL", "1500ms"]),
        ({"PING_INTERVAL": "off", "LB": "aws-alb"}, ["PING_INTERVAL"]),
        ({"LB": "nginx", "LB_IDLE_TIMEOUT": "5m"}, ["LB_IDLE_TIMEOUT", "nginx"]),
        ({"LB": "gcp-alb", "MAX_CONNECTION_AGE": "1h"}, ["MAX_CONNECTION_AGE", "gcp-alb"]),
        ({"LB": "azure-frontdoor", "MAX_CONNECTION_AGE": "off"}, ["MAX_CONNECTION_AGE", "azure-frontdoor"]),
    ],
    ids=str,
)
def test_what_does_not_fit_is_a_warning_in_check(settings, names):
    lines = [line for line in heartbeat(**settings).splitlines() if "Warning" in line]
    assert len(lines) == 1, lines
    for name in names:
        assert name in lines[0]


@pytest.mark.parametrize("interval", ["30s", "25s", "50ms"])
def test_half_of_the_idle_timeout_is_no_warning(interval):
    assert "Warning" not in heartbeat(PING_INTERVAL=interval)


def test_the_start_logs_the_chain_and_what_does_not_fit(app, sidesocket):
    edge = sidesocket(app, LB="cloudflare,aws-alb", PING_INTERVAL="31s")
    eventually(lambda: "that of aws-alb:" in edge.output, "the log explains the heartbeat")
    warnings = [line for line in edge.logs if line.get("level") == "warning"]
    assert any("SIDESOCKET_PING_INTERVAL" in json.dumps(line) for line in warnings), edge.output
