"""What happens while Redis is stopped or killed, and how long it takes after its return until all channels work."""

import json
import re
import selectors
import threading
import time

from measuring import cpu, percentile, show, wait_for
from rig import at_once, close_all, open_sockets
from servers import WebSocket, post

CHANNELS, SOCKETS, ROUNDS, SECONDS, WARMING = 10_000, 20, 3, 10, 1
PUBLISHERS, TALKING, QUIET, PATIENCE, LIST = 8, 100, 5, 15, 500
MESSAGE = re.compile(rb"c(\d+) r(\d+);")


def run(rig):
    channels, seconds = rig.scaled(CHANNELS), rig.options.seconds or SECONDS
    # It keeps on disk what it was told, as the documentation advises.
    redis = rig.redis(appendonly="yes", appendfsync="everysec")
    nodes = rig.nodes(2, redis, HISTORY_SIZE="10", HISTORY_TTL="10m")
    each = -(-channels // SOCKETS)
    targets = [f"/ws?from={n}&count={min(each, channels - n)}" for n in range(0, channels, each)]
    sockets = open_sockets(nodes[1].port, targets)
    listener = Listener(sockets, channels)
    rows = {"up": [], "stopped": [], "killed": []}
    for number in range(rig.options.rounds or ROUNDS):
        for name, measured in rows.items():
            hurt = {"up": lambda: None, "stopped": redis.pause, "killed": redis.kill}[name]
            said = _load(rig, nodes, seconds, hurt) | _quiet(nodes) | _list(rig, nodes[0])
            if name == "stopped":
                redis.resume()
            elif name == "killed":
                redis.start()
                wait_for(redis.answers, "Redis has loaded its file", interval=0.01)
            measured.append(said | _return(nodes[0], listener))
            _check(rig, number, name, said)
            wait_for(lambda: all(one.is_up for one in nodes), "the nodes have Redis again")
    listener.stop()
    close_all(sockets)
    print(f"2 nodes, {channels} channels on {len(sockets)} sockets, {rig.options.rate:g} publications/s through one "
          f"node for {seconds:g} s, {TALKING} messages/s to the app through the other; medians")  # fmt: skip
    show(rows)
    longest = {name: max(one["publish max ms"] for one in measured) for name, measured in rows.items()}
    print("longest answer to a publication of all rounds: " + ", ".join(f"{n} {v:.0f} ms" for n, v in longest.items()))


def _check(rig, number, name, said):
    """Publications fail while Redis is away and at no other time; messages to the app never do."""
    if said["replies"] == 0 or (name == "up" and said["not stored"]):
        rig.failed = True
        print(f"round {number}: {name}: {said}")


def _load(rig, nodes, seconds, hurt):
    """Publishes and talks to the app, and hurts Redis meanwhile; returns how long the answers took that came later."""
    moment = time.monotonic() + WARMING
    until, took, failed = moment + seconds, [], []

    def publish(place):
        line, sent, began = nodes[0].line(timeout=60), 0, time.monotonic()
        while (now := time.monotonic()) < until:
            status, _ = post(line, f"/v1/channels/load:{place}/messages", "x" * rig.options.size)
            if time.monotonic() > moment:
                took.append(time.monotonic() - now)
            if status != 200:
                failed.append(status)
            sent += 1
            _sleep_until(began + sent * PUBLISHERS / rig.options.rate)
        line.close()

    def talk():
        trips, socket = [], WebSocket(nodes[1].port, "/ws")
        while (now := time.monotonic()) < until:
            socket.text("x" * rig.options.size)
            socket.message()
            if time.monotonic() > moment:
                trips.append(time.monotonic() - now)
            _sleep_until(now + 1 / TALKING)
        socket.sock.close()
        return trips

    def disturb():
        _sleep_until(moment)
        hurt()

    publishers = [lambda place=place: publish(place) for place in range(PUBLISHERS)]
    trips = at_once(lambda work: work(), [talk, disturb, *publishers])[0]
    return {
        "publish p50 ms": percentile(took, 0.5) * 1e3,
        "publish max ms": max(took) * 1e3,
        "not stored": len(failed),
        "reply p50 ms": percentile(trips, 0.5) * 1e3,
        "reply p99 ms": percentile(trips, 0.99) * 1e3,
        "replies": len(trips),
    }


def _quiet(nodes):
    """CPU of the nodes while nobody asks them for anything."""
    before = [cpu(one.pid) for one in nodes]
    time.sleep(QUIET)
    used = [(cpu(one.pid) - was) / QUIET * 1e3 for one, was in zip(nodes, before, strict=True)]
    return {"idle CPU ms/s": used[0], "subscribed": used[1]}


def _list(rig, node):
    """How long one list of publications takes; None if PATIENCE is not enough."""
    line, began = node.line(timeout=PATIENCE), time.monotonic()
    entries = [{"channel": f"load:{n}", "text": "x" * rig.options.size} for n in range(rig.options.batch)]
    status, _ = post(line, "/v1/messages", json.dumps(entries), "application/json")
    line.close()
    return {"a list ms": (time.monotonic() - began) * 1e3 if status else None}


def _return(node, listener):
    """Publishes to each channel until each has got something: how long that takes from now on."""
    began, round = time.monotonic(), listener.begin()
    lines = [node.line(timeout=30) for _ in range(listener.channels // LIST + 1)]
    while (missing := listener.missing()) and time.monotonic() < began + 120:
        lists = [missing[n : n + LIST] for n in range(0, len(missing), LIST)]

        def publish(job, round=round):
            line, numbers = job
            body = json.dumps([{"channel": f"c{n}", "text": f"c{n} r{round};"} for n in numbers])
            status, answer = post(line, "/v1/messages", body, "application/json")
            return status == 200 and b'"status":' not in answer

        is_stored = all(at_once(publish, zip(lines, lists, strict=False)))
        listener.wait(1 if is_stored else 0.02)
    for line in lines:
        line.close()
    return {"all channels s": None if listener.missing() else listener.last - began}


class Listener:
    """Reads all sockets on a thread of its own, and knows which channels have got a message of this round."""

    def __init__(self, sockets, channels):
        self.channels, self.last = channels, 0.0
        self._round, self._missing, self._lock = 0, set(), threading.Lock()
        self._complete, self._stopping = threading.Event(), threading.Event()
        self._selector = selectors.DefaultSelector()
        for one in sockets:
            one.setblocking(False)
            self._selector.register(one, selectors.EVENT_READ, bytearray())
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def begin(self):
        """Begins the next round and returns its number: each channel is missing."""
        with self._lock:
            self._round += 1
            self._missing = set(range(self.channels))
            self._complete.clear()
            return self._round

    def missing(self):
        with self._lock:
            return sorted(self._missing)

    def wait(self, seconds):
        """Waits until no channel is missing, or so long."""
        self._complete.wait(seconds)

    def stop(self):
        self._stopping.set()
        self._thread.join()
        self._selector.close()

    def _read(self):
        while not self._stopping.is_set():
            for key, _ in self._selector.select(0.1):
                data = key.fileobj.recv(1 << 18)
                if not data:
                    self._selector.unregister(key.fileobj)
                    continue
                key.data.extend(data)
                self._take(key.data)

    def _take(self, data):
        """Takes the texts in what came; the frames around them do not matter."""
        end = 0
        with self._lock:
            for found in MESSAGE.finditer(data):
                end = found.end()
                if int(found[2]) == self._round and int(found[1]) in self._missing:
                    self._missing.discard(int(found[1]))
                    self.last = time.monotonic()
            if not self._missing:
                self._complete.set()
        del data[:end]


def _sleep_until(moment):
    time.sleep(max(moment - time.monotonic(), 0))
