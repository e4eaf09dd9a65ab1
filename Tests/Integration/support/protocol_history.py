"""Clients of the protocol whose connections are cut, stalled and doubled at random, and what each of them has to see.

Each `Wanderer` asks the app, listens to a channel, and comes back to its session whenever it has lost its connection. It
notes what breaks a promise of docs/protocol.md as soon as it sees it. `judge` looks at what only all of them together
show.
"""

import collections
import contextlib
import json
import random
import threading
import time

import msgpack

from .app import Reply
from .net import eventually
from .polled import Polled
from .protocol import JSON, MSGPACK, ProtocolClient
from .ws import CLOSE, close_payload

CHANNEL = "room"
KINDS = ["echo", "echo", "nothing", "publish", "refuse"]


def answer(request):
    """The app: what a message says it should do."""
    form = request.header("content-type")
    kind = (json.loads if form == "application/json" else msgpack.unpackb)(request.body)["do"]
    if kind == "nothing":
        return Reply(204)
    if kind == "refuse":
        return Reply(422, "no", {"Content-Type": "text/plain"})
    if kind == "publish":
        return Reply(200, request.header("ce-messageid"), {"Content-Type": "text/plain", "Sidesocket-Publish": CHANNEL})
    return Reply(200, request.body, {"Content-Type": form})


class Wanderer(threading.Thread):
    """One client; `world.doors()` are the ports at which it may come back."""

    def __init__(self, world, number):
        super().__init__(daemon=True)
        self.world, self.name = world, f"client {number}"
        self.random = random.Random(f"{world.seed} {number}")
        self.encoding = self.random.choice([JSON, MSGPACK])
        self.polls = self.encoding == JSON and world.polls
        self.client = None
        self.session, self.sessions = None, []
        # Requests without an answer, in their order; how many had one.
        self.open, self.answered, self.sent = {}, 0, 0
        self.repeats = collections.Counter()
        # What it has heard in the channel, by offset; direct messages, by session.
        self.heard, self.direct = {}, []
        self.returns = collections.Counter()
        self.violations = []

    def wrong(self, what):
        self.violations.append(f"{self.name}: {what}")

    # The life of it

    def run(self):
        try:
            while not self.is_done:
                self._connect()
                with contextlib.suppress(EOFError, OSError, AssertionError):
                    self._live()
            self.client.give(type="$ack", seq=self.client.seq)
            self.client.frame(CLOSE, close_payload(1000))
            self.client.sock.settimeout(8)
            self.client.expect_close(skip_messages=True)
        except Exception as fault:  # noqa: BLE001 - whatever it is, the test has to show it
            self.wrong(f"{type(fault).__name__}: {fault}")

    @property
    def is_done(self):
        return self.world.stopping.is_set() and not self.open and self.world.has_last(self) and self.client is not None

    def _connect(self):
        """Tries until it is welcome; what it gets on the way is handled."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if self._try_once():
                    return
            except (EOFError, OSError, AssertionError):
                self.returns["cut"] += 1
            time.sleep(self.random.uniform(0.02, 0.3))
        raise RuntimeError(f"it did not come back within a minute: {dict(self.returns)}")

    def _try_once(self):
        door = self.random.choice(self.world.doors())
        target = f"/ws?join={CHANNEL}&user=u{self.name.split()[1]}"
        polls = self.polls and self.random.random() < 0.7
        if self.session is None:
            if polls:
                made = Polled(self.world.doors, target, self.random, key=f"{self.world.seed} {self.name} of this test")
            else:
                made = ProtocolClient(door, target, protocol=self.encoding)
            return self._welcomed(made, made.welcome)
        self.claimed = self.client.positions[CHANNEL]["offset"], max(self.heard, default=None)
        self.how = "replay"
        if polls:
            made = Polled(self.world.doors, target, self.random, self.client)
            self.returns["polled"] += 1
        else:
            made = ProtocolClient.returns(self.client, edge=door, target=target)
        try:
            return self._comes_back(made)
        except (EOFError, OSError, AssertionError):
            # As a client does that gives up a try.
            made.reset()
            raise

    def _comes_back(self, made):
        if made.answer.status != 101:
            self.returns[made.answer.status] += 1
            return False
        made.sock.settimeout(8)
        first = made.frame_()
        if first["type"] == "$bye":
            self.returns["told to wait"] += 1
            assert first["reconnect"], first
            return False
        assert first["type"] == "$welcome", first
        made.welcome = first
        return self._welcomed(made, first)

    def _welcomed(self, made, welcome):
        before = self.client
        made.sock.settimeout(8)
        if welcome["resumed"]:
            self.returns["resumed"] += 1
            if welcome["session"] != self.session:
                self.wrong(f"another session: {welcome}")
            if welcome["seq"] != before.seq:
                self.wrong(f"its numbers begin at {welcome['seq']} instead of {before.seq}")
        else:
            if self.session is not None:
                self.returns["new"] += 1
                self.wrong(f"its session {self.session} is lost; {self.world.results()}")
                self.open.clear()
            made.seq = self.known_seq = 0
            self.session = welcome["session"]
            self.sessions.append(self.session)
            self.world.session_of[self.session] = self
        place = welcome["channels"].get(CHANNEL)
        if place is None or place.get("pending"):
            self.wrong(f"no place in the channel: {welcome['channels']}")
        elif before is not None and not place.get("recovered"):
            self.wrong(f"not recovered: {place}")
        elif before is not None and place["offset"] != before.positions[CHANNEL]["offset"]:
            self.wrong(f"it goes on at {place['offset']} instead of {before.positions[CHANNEL]['offset']}")
        old, self.client = self.client, made
        if old is not None and self.random.random() < 0.5:
            # The other half is left open, as a page does that has not noticed yet.
            old.reset()
        # From now on the old token is worth nothing, wherever an older attempt may come from.
        made.give(type="$ack", seq=made.seq)
        if before is not None:
            while (frame := made.frame_())["type"] != "$live":
                self._handle(frame)
            self.how = "live"
            for id, payload in list(self.open.items()):
                # The answer to the first one may be on its way.
                self.repeats[id] += 1
                made.post(payload, id=id)
        return True

    def _live(self):
        self.client.sock.settimeout(0.05)
        unacknowledged = 0
        while not self.is_done:
            if not self.world.stopping.is_set() and self.random.random() < 0.3 and len(self.open) < 20:
                self._ask()
            if self.random.random() < self.world.doubles:
                return  # comes again although the connection is good
            try:
                frame = self.client.frame_()
            except TimeoutError:
                self._probe()
                continue
            if frame["type"] == "$bye":
                self.returns["goodbye"] += 1
                if not frame["reconnect"]:
                    self.wrong(f"it is not to come back: {frame}")
                return
            self._handle(frame)
            unacknowledged += "seq" in frame
            if unacknowledged > 16:
                self.client.give(type="$ack", seq=self.client.seq)
                unacknowledged = 0

    def _probe(self):
        """Nothing has come: a stalled connection is given up after a while."""
        now = time.monotonic()
        if self.open and now - self.world.patience > self.asked_at:
            self.returns["stalled"] += 1
            raise EOFError("stalled")

    def _ask(self):
        self.sent += 1
        id, kind = f"{self.sent}", self.random.choice(KINDS)
        self.open[id] = {"c": self.name, "i": self.sent, "do": kind}
        self.asked_at = time.monotonic()
        self.client.post(self.open[id], id=id)

    # What comes

    def _handle(self, frame):
        kind = frame["type"]
        # `note` has taken the maximum already, so the check goes by what was seen before.
        if "channel" in frame and "offset" in frame and not kind.startswith("$"):
            return self._publication(frame)
        if "seq" in frame:
            return self._numbered(frame)
        if kind == "$ack" or (kind == "$error" and frame["code"] != "in_progress"):
            return self._answered(frame["re"], frame)
        if kind in ("$error", "$pong"):
            return None
        self.wrong(f"an unexpected frame: {frame}")

    def _publication(self, frame):
        offset = frame["offset"]
        last = max(self.heard, default=None)
        if last is not None and offset != last + 1:
            self.wrong(f"offset {offset} after {last}; it had come back with {self.claimed} {self.how}")
        self.heard[offset] = json.dumps(frame["payload"])

    def _numbered(self, frame):
        known = self.known_seq
        seq, id = frame["seq"], frame.get("re")
        if seq <= known:
            # A repeated reply keeps its number.
            if id not in self.open and not self.repeats[id]:
                self.wrong(f"seq {seq} again, after {known}: {frame}")
        elif seq != known + 1:
            self.wrong(f"seq {seq} after {known}")
        self.known_seq = max(known, seq)
        if id is not None:
            return self._answered(id, frame)
        self.direct.append(frame["payload"])

    known_seq = 0
    claimed = how = None

    def _answered(self, id, frame):
        asked = self.open.pop(id, None)
        if asked is None and self.repeats[id]:
            self.repeats[id] -= 1
            return None
        if asked is None:
            return self.wrong(f"an answer to {id}, which has one: {frame}")
        wanted = {"echo": "reply", "nothing": "$ack", "publish": "$ack", "refuse": "$error"}[asked["do"]]
        if frame["type"] != wanted or (wanted == "reply" and frame["payload"] != asked):
            self.wrong(f"{asked} was answered by {frame}")
        self.answered += 1


class World:
    """All of it: clients, an app, publishers, and what disturbs them."""

    def __init__(self, app, doors, api, *, seed, clients, doubles=0.002, patience=4.0, polls=True):
        self.app, self.doors, self.api, self.seed = app, doors, api, seed
        self.doubles, self.patience, self.polls = doubles, patience, polls
        self.random = random.Random(seed)
        self.stopping = threading.Event()
        self.session_of, self.promised = {}, collections.defaultdict(list)
        self.last = None
        app.one_at_a_time = False
        app.on(answer, event="message")
        self.clients = [Wanderer(self, number) for number in range(clients)]

    def results(self):
        """What the nodes say has become of sessions."""
        found = []
        for edge in {door.edge for door in self.doors()}:
            with contextlib.suppress(OSError, AssertionError):
                lines = edge.control("/metrics")[2].splitlines()
                names = ("sidesocket_resumes_total", "sidesocket_handovers_total", "sidesocket_limited_total")
                found.append([line for line in lines if line.startswith(names) and not line.endswith(" 0")])
        return found

    def has_last(self, client):
        return self.last is not None and self.last in client.heard and client.direct[-1:] == ["last"]

    def run(self, seconds, disturb):
        """Runs for some time; `disturb(random)` is called again and again."""
        for client in self.clients:
            client.start()
        eventually(lambda: len(self.session_of) == len(self.clients), "all have begun", 60, 0.05)
        workers = [threading.Thread(target=work, daemon=True) for work in (self._publish, self._send)]
        for worker in workers:
            worker.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            disturb(self.random)
        self.stopping.set()
        for worker in workers:
            worker.join(30)
        return self

    def finish(self, timeout=60):
        """Nothing disturbs any more: each gets what is last, and leaves."""
        for client in self.clients:
            eventually(lambda c=client: self._tell(c, "last"), f"{client.name} is told", 30, 0.1)
        self.last = eventually(lambda: self._say("last"), "the last publication", 30, 0.1)
        end = time.monotonic() + timeout
        for client in self.clients:
            client.join(max(0, end - time.monotonic()))
        return self

    def _say(self, text):
        path = f"/v1/channels/{CHANNEL}/messages"
        with contextlib.suppress(EOFError, OSError):
            got = self.api().ask("POST", path, text, {"Content-Type": "text/plain"})
            return got.json["offset"] if got.status == 200 else None

    def _publish(self):
        number = 0
        while not self.stopping.wait(self.random.uniform(0, 0.1)):
            number += 1
            self._say(f"news {number}")

    def _tell(self, client, text):
        path = f"/v1/connections/{client.session}/messages"
        with contextlib.suppress(EOFError, OSError):
            got = self.api().ask("POST", path, text, {"Content-Type": "text/plain"})
            return got.status == 200 and got.json["queued"] == 1

    def _send(self):
        number = 0
        while not self.stopping.wait(self.random.uniform(0, 0.1)):
            number += 1
            client = self.random.choice(self.clients)
            if self._tell(client, f"direct {number}"):
                self.promised[client].append(f"direct {number}")

    # The verdict

    def judge(self, of_app=True):
        wrong = [what for client in self.clients for what in client.violations]
        for client in self.clients:
            for lost in client.sessions[:-1]:
                wrong.append(f"{lost} ended by {[e.body for e in self.app.events('close', lost)]}")
        for client in self.clients:
            if client.is_alive():
                wrong.append(f"{client.name} is not done: open {client.open}, direct {client.direct[-2:]}, last {max(client.heard)} of {self.last}")
            # One whose answer was lost may have been sent all the same.
            got = [text for text in client.direct if text != "last"]
            if [text for text in got if text in set(self.promised[client])] != self.promised[client]:
                wrong.append(f"{client.name} got {got} of {self.promised[client]}")
            if len(set(got)) != len(got):
                wrong.append(f"{client.name} got one message twice: {got}")
        # All have heard the same at each place.
        said = collections.defaultdict(set)
        for client in self.clients:
            for offset, payload in client.heard.items():
                said[offset].add(payload)
        wrong += [f"offset {offset} is {sorted(what)}" for offset, what in said.items() if len(what) > 1]
        wrong += self._judge_app() if of_app else []
        assert not wrong, f"seed {self.seed}: {len(wrong)} of them:\n" + "\n".join(sorted(wrong[:400], key=lambda w: "ended by" not in w)[:16])

    def _judge_app(self):
        wrong, ids = [], collections.defaultdict(set)
        order = collections.defaultdict(list)
        for event in self.app.events():
            connection, id = event.header("ce-connectionid"), event.header("ce-id")
            if event.event == "message":
                ids[connection, event.header("ce-messageid")].add(id)
            if id not in order[connection]:
                order[connection].append(id)
        wrong += [f"{what} reached the app as {sorted(under)}" for what, under in ids.items() if len(under) > 1]
        for connection in self.session_of:
            kinds = [e.event for e in self.app.events(connection_id=connection)]
            if kinds.count("open") != 1 or kinds[0] != "open":
                wrong.append(f"{connection} was opened {kinds.count('open')} times")
            closes = {e.header("ce-id") for e in self.app.events("close", connection)}
            if len(closes) != 1 or kinds[-1] != "close":
                wrong.append(f"{connection} was closed {len(closes)} times, and ended with {kinds[-1]}")
            numbers = [int(id.rsplit("-", 1)[1]) for id in order[connection]]
            if numbers != list(range(1, len(numbers) + 1)):
                wrong.append(f"{connection} has the events {numbers}")
        return wrong

    @property
    def summary(self):
        total = sum((client.returns for client in self.clients), collections.Counter())
        asked = sum(client.answered for client in self.clients)
        heard = sum(len(client.heard) for client in self.clients)
        return f"{len(self.clients)} clients, {asked} answers, {heard} publications heard, {dict(total)}"
