"""The heartbeat when something stands still or is cut off: the sidecar, a client, the network, the wall clock."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.heartbeats import RESOLUTION, SLACK, beat, close_event
from support.net import PATIENCE, eventually, free_port
from support.swarm import Swarm
from support.ws import TEXT, frame

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
