"""Thousands reconnect at once: `open` events wait for their turn, and established sockets don't queue behind them.

SIDESOCKET_STORM_SOCKETS sets the number of handshakes of the first test, 5000 for the nightly run.
"""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from support.app import Reply, gate
from support.net import PATIENCE, eventually
from support.swarm import Swarm
from support.ws import TEXT, frame

SOCKETS = int(os.environ.get("SIDESOCKET_STORM_SOCKETS", "300"))
ESTABLISHED = 50

# The storm comes from a process of its own, so that it does not slow down who measures.
STORM = """
import asyncio, json, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
HEAD = (
    "GET /ws HTTP/1.1\\r\\nHost: 127.0.0.1:%d\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n" % port
).encode()
async def one():
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD)
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    return int(head.split()[1]), time.monotonic() - began, writer
async def main():
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    began = time.monotonic()
    found = await asyncio.gather(*(one() for _ in range(count)), return_exceptions=True)
    took = time.monotonic() - began
    good = [f for f in found if isinstance(f, tuple)]
    print(json.dumps({
        "took": took, "statuses": [f[0] for f in good], "slowest": max([f[1] for f in good], default=0),
        "failed": [repr(f) for f in found if not isinstance(f, tuple)][:5],
    }), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
asyncio.run(main())
"""


@pytest.fixture
def storm():
    """Starts the process of the storm: `storm(edge, count)`; a line on its stdin lets it loose, another ends it."""
    started = []

    def start(edge, count):
        process = subprocess.Popen(
            [sys.executable, "-c", STORM, str(edge.port), str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


class Opens:
    """An `open` that takes its time, and counts how many there are at once."""

    def __init__(self, app, seconds=0.0, held=None):
        self.now = self.most = self.total = 0
        self._lock = threading.Lock()
        self._seconds, self._held = seconds, held
        app.on(self._answer, event="open")

    def _answer(self, request):
        with self._lock:
            self.now += 1
            self.total += 1
            self.most = max(self.most, self.now)
        time.sleep(self._seconds)
        if self._held:
            self._held.wait(50)
        with self._lock:
            self.now -= 1
        return Reply(204)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def wait_quiet(edge):
    """Nothing is left with the app and nothing waits."""

    def quiet():
        metrics = edge.metrics()
        return all(
            value == 0
            for (name, _), value in metrics.items()
            if name in ("sidesocket_webhook_in_flight", "sidesocket_webhook_queue_depth")
        )

    eventually(quiet, "webhook_in_flight and webhook_queue_depth are 0", interval=0.02)


@pytest.mark.alone
def test_a_storm_of_handshakes_reaches_the_app_in_good_order(app, sidesocket, storm):
    in_flight = 8 if SOCKETS <= 1000 else 64
    edge = sidesocket(
        app, WEBHOOK_MAX_IN_FLIGHT=str(in_flight), HANDSHAKE_TIMEOUT="30s", MAX_CONNECTIONS=str(SOCKETS + 200)
    )
    app.echo()
    established = [edge.websocket() for _ in range(ESTABLISHED)]
    process = storm(edge, SOCKETS)
    opens = Opens(app, seconds=0.02)

    def measure(until):
        """Round trips of one message after the other, over all established sockets in turn."""
        found = []
        while not until(found):
            socket = established[len(found) % ESTABLISHED]
            began = time.monotonic()
            socket.text("how long?")
            assert socket.message() == "how long?"
            found.append(time.monotonic() - began)
            # The pace of a quiet client, not a flood.
            time.sleep(0.002)
        return found

    quiet = measure(lambda found: len(found) >= 300)
    report = []
    process.stdin.write("go\n")
    process.stdin.flush()
    reader = threading.Thread(target=lambda: report.append(json.loads(process.stdout.readline())))
    reader.start()
    eventually(lambda: opens.total > 0, "the storm has begun")
    stormy = measure(lambda found: not reader.is_alive() and len(found) >= 50)
    storm_report = report[0]
    print(
        f"\n{SOCKETS} handshakes in {storm_report['took']:.2f} s, the slowest {storm_report['slowest']:.2f} s, "
        f"at most {opens.most} opens at once; an established socket's round trip, p50 and p99: "
        f"quiet {percentile(quiet, 0.5) * 1e3:.1f} and {percentile(quiet, 0.99) * 1e3:.1f} ms, "
        f"storm {percentile(stormy, 0.5) * 1e3:.1f} and {percentile(stormy, 0.99) * 1e3:.1f} ms ({len(stormy)})"
    )
    assert storm_report["failed"] == []
    assert set(storm_report["statuses"]) == {101} and len(storm_report["statuses"]) == SOCKETS
    assert opens.total == SOCKETS
    assert 1 < opens.most <= in_flight // 2
    # Behind the whole storm a message would take as long as the storm takes.
    assert percentile(stormy, 0.5) < max(0.1, 4 * percentile(quiet, 0.5))
    assert percentile(stormy, 0.99) < max(0.35, 10 * percentile(quiet, 0.99))
    wait_quiet(edge)
    assert edge.metric("connections") == SOCKETS + ESTABLISHED
    process.stdin.write("end\n")
    process.stdin.flush()
    process.wait(PATIENCE)
    eventually(lambda: edge.metric("connections") == ESTABLISHED, "the storm is over", 30, 0.05)
    wait_quiet(edge)


def test_who_waits_too_long_is_sent_away_to_come_again_at_differing_times(app, sidesocket, swarm):
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT="6", HANDSHAKE_TIMEOUT="1s", WEBHOOK_TIMEOUT="40s")
    app.echo()
    established = edge.websocket()
    held = gate()
    opens = Opens(app, held=held)
    clients = swarm(edge)
    members = clients.begin(63)
    eventually(lambda: sum(m.status is not None for m in members) >= 60, "those that wait are answered")
    refused = [m for m in members if m.status]
    assert len(refused) == 60 and {m.status for m in refused} == {503}
    waits = [int(m.headers["retry-after"]) for m in refused]
    assert all(1 <= wait <= 10 for wait in waits) and len(set(waits)) > 4, waits
    assert all(0.9 <= m.opened - m.born <= 1 + 1.5 for m in refused)
    assert all(m.headers.get("connection", "").lower() == "close" for m in refused)
    eventually(lambda: all(m.ended_at for m in refused), "their connections end")
    assert edge.metric("handshakes_total", result="timeout") == 60
    assert edge.metric("limited_total", limit="handshake_timeout", action="refused") == 60
    # The app has heard of none of them, and who is inside doesn't notice.
    assert (opens.total, opens.now) == (3, 3)
    began = time.monotonic()
    established.text("hello")
    assert established.message() == "hello"
    assert time.monotonic() - began < 2
    held.set()
    eventually(lambda: all(m.status for m in members), "the three are let in")
    assert sorted(m.status for m in members)[:3] == [101] * 3
    wait_quiet(edge)
    assert app.events("close") == []
    # There is room again.
    edge.websocket().close()


def test_who_leaves_the_queue_is_forgotten(app, sidesocket, swarm):
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT="4", WEBHOOK_TIMEOUT="40s")
    held = gate()
    opens = Opens(app, held=held)
    clients = swarm(edge)
    inside = clients.begin(2)
    eventually(lambda: opens.now == 2, "two are with the app")
    with Swarm(edge.port) as fickle:
        fickle.begin(40)
        eventually(lambda: edge.metric("webhook_queue_depth") == 40, "forty wait", interval=0.02)
    eventually(lambda: edge.metric("webhook_queue_depth") == 0, "they have left, and it is noticed", interval=0.02)
    patient = clients.begin(3)
    eventually(lambda: edge.metric("webhook_queue_depth") == 3, "three wait", interval=0.02)
    held.set()
    eventually(lambda: all(m.status for m in inside + patient), "who has stayed is let in")
    assert {m.status for m in inside + patient} == {101}
    wait_quiet(edge)
    assert opens.total == 5, "the app was asked about clients that had gone"
    eventually(lambda: edge.metric("connections") == 5, "nothing else is connected")
    assert app.events("close") == []


def test_no_permit_is_lost_in_the_turmoil(app, sidesocket, swarm):
    """Time-outs, clients that leave at every stage: in the end as many opens fit as in the beginning."""
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT="8", HANDSHAKE_TIMEOUT="300ms", WEBHOOK_TIMEOUT="30s")
    first = Opens(app, seconds=0.05)
    for _ in range(4):
        with Swarm(edge.port) as clients:
            members = clients.begin(60)
            eventually(lambda m=members: sum(bool(one.status) for one in m) >= 8, "some are answered")
    wait_quiet(edge)
    eventually(lambda: edge.metric("connections") == 0, "all have left")
    held = gate()
    opens = Opens(app, held=held)
    again = swarm(edge)
    members = again.begin(20)
    eventually(lambda: sum(m.status == 503 for m in members) == 16, "the others are sent away")
    assert opens.now == 4
    held.set()
    eventually(lambda: sum(m.status == 101 for m in members) == 4, "four are let in")
    wait_quiet(edge)
    again.__exit__()
    # Whom the app let in it is told the end of, also of those who had left before its answer came.
    eventually(
        lambda: len(app.events("close")) == first.total + opens.total,
        lambda: f"{first.total + opens.total} close events, there are {len(app.events('close'))}",
        interval=0.05,
    )


@pytest.mark.parametrize("in_flight", ["1", "2"])
def test_handshakes_move_while_established_sockets_are_busy(app, sidesocket, swarm, in_flight):
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT=in_flight, HANDSHAKE_TIMEOUT="8s")
    clients = swarm(edge)
    busy = clients.enter(8)
    app.on(lambda r: time.sleep(0.02) or Reply(204), event="message")
    # More than the app can answer in the time of this test.
    clients.send(frame(TEXT, "x") * 400, busy)
    app.wait_events(20, "message")
    began = time.monotonic()
    late = clients.begin(5)
    eventually(lambda: all(m.status for m in late), "the handshakes are answered")
    assert {m.status for m in late} == {101}
    assert time.monotonic() - began < 5
    assert len(app.events("message")) < 8 * 400
    assert clients.alive == busy + late


def test_a_drain_sends_away_who_waits_to_be_let_in(app, sidesocket, swarm):
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT="4", HANDSHAKE_TIMEOUT="20s", DRAIN_TIMEOUT="20s")
    held = gate()
    opens = Opens(app, held=held)
    clients = swarm(edge)
    members = clients.begin(42)
    eventually(lambda: opens.now == 2 and edge.metric("webhook_queue_depth") == 40, "forty wait", interval=0.02)
    edge.terminate()
    eventually(lambda: sum(m.status == 503 for m in members) == 40, "they are sent away at once")
    refused = [m for m in members if m.status]
    assert len({m.headers["retry-after"] for m in refused}) > 3
    assert edge.metric("handshakes_total", result="draining") == 40
    held.set()
    assert edge.wait_exit() == 0
    eventually(lambda: all(m.ended_at for m in members), "all have ended")
    assert opens.total == 2
    assert {m.code for m in members if m.status == 101} <= {1012}
    assert len(app.events("close")) == 2
