"""Thousands of sessions whose clients come back at once: the others hardly notice, and history is not read for each.

SIDESOCKET_STORM_SESSIONS sets how many; scripts/nightly.sh takes 5,000.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import pytest
from support.cluster import target
from support.net import eventually
from support.protocol import ProtocolClient
from support.raw import encode
from support.ws import frame, handshake_headers

SESSIONS = int(os.environ.get("SIDESOCKET_STORM_SESSIONS", "500"))
MESSAGES = 20
# A client that stays, in a process of its own: it says how long each answer took, in milliseconds.
PROBE = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from support.protocol import ProtocolClient

class Edge:
    port = int(sys.argv[2])

client = ProtocolClient(Edge, "/ws?user=probe")
print("ready", flush=True)
for line in sys.stdin:
    took, end = [], time.monotonic() + float(line)
    while time.monotonic() < end:
        began = time.monotonic()
        client.post(0, id=str(began))
        client.frame_of("reply")
        took.append(1000 * (time.monotonic() - began))
        time.sleep(0.002)
    print(json.dumps(took), flush=True)
"""

pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]


class Probe:
    def __init__(self, edge):
        here = str(pathlib.Path(__file__).resolve().parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROBE, here, str(edge.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def begin(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()

    def end(self):
        """The median and the 99th percentile."""
        took = json.loads(self.process.stdout.readline())
        cuts = statistics.quantiles(took, n=100)
        return cuts[49], cuts[98]


def evaluations(redis):
    """How many scripts Redis has run."""
    calls = [value.split("calls=")[1] for name, value in redis.info("commandstats").items() if "_eval" in name]
    return sum(int(value.split(",")[0]) for value in calls)


def test_thousands_come_back_at_once(make_cluster, redis):
    cluster = make_cluster(
        1, redis, HISTORY_SIZE=100, MAX_CONNECTIONS_PER_IP="off", CONNECT_RATE_PER_IP="off", MESSAGE_RATE="off"
    )
    edge = cluster.nodes[0]
    clients = [ProtocolClient(edge, target("/ws", join="room")) for _ in range(SESSIONS)]
    probe = Probe(edge)
    probe.begin(4)
    usual = probe.end()
    for client in clients:
        client.reset()
    eventually(lambda: edge.metric("sessions_detached") == SESSIONS, "all are detached", 30)
    for number in range(MESSAGES):
        cluster.publish(0, "room", str(number))
    before = evaluations(redis)
    seconds = max(3, SESSIONS / 700)
    probe.begin(seconds)
    began = time.monotonic()
    # All of them connect before the first one is read.
    back = [Returning(edge, client) for client in clients]
    for one in back:
        one.says_what_it_has()
    for one in back:
        one.expects([str(number) for number in range(MESSAGES)])
    took = time.monotonic() - began
    stormy = probe.end()
    read = evaluations(redis) - before
    print(
        f"\n{SESSIONS} sessions resumed in {took:.1f} s, {read} scripts at Redis; a client that stayed waited "
        f"{usual[0]:.2f} ms (p99 {usual[1]:.2f}) before and {stormy[0]:.2f} ms (p99 {stormy[1]:.2f}) meanwhile"
    )
    assert edge.metric("resumes_total", result="resumed") == SESSIONS
    assert edge.metric("sessions_detached") == 0
    probe.process.kill()
    # Registering them again costs some; reading the history for each would cost as many as there are.
    assert read < 50 + SESSIONS / 5, read
    assert len(cluster.app.events("open")) == SESSIONS + 1


class Returning:
    """A client that has sent its handshake, and reads later."""

    def __init__(self, edge, old):
        offered = f"{old.encoding}, sidesocket.resume.{old.welcome['resume']}"
        self.old, self.client = old, edge.client()
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        pairs = handshake_headers(key=key, protocol=offered)
        self.client.send(encode("GET", old.target, pairs, host=self.client.host))

    def says_what_it_has(self):
        assert self.client.response().status == 101
        asked = {"type": "$resume", "seq": 0, "channels": self.old.positions, "session": self.old.welcome["session"]}
        self.client.send(frame(1, json.dumps(asked).encode()))

    def expects(self, texts):
        socket = ProtocolClient.__new__(ProtocolClient)
        socket.__dict__.update(self.client.__dict__)
        socket.encoding, socket.seq, socket.positions = self.old.encoding, 0, {}
        welcome = socket.frame_of("$welcome", resumed=True)
        assert welcome["channels"]["room"]["recovered"]
        assert [frame["payload"] for frame in socket.until_live()] == texts
