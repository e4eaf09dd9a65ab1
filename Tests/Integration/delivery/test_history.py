"""Recorded histories: whatever the app and the network do, each connection's events arrive in order, none is lost.

`SIDESOCKET_HISTORY_CLIENTS` and `SIDESOCKET_HISTORY_SECONDS` make them large for a nightly run (200 and 120),
`SIDESOCKET_OUTAGE_SECONDS` makes the outage long (20).
"""

import random
import threading
import time

import pytest
from support.app import Reply
from support.history import HOPELESS, History, HistoryClient, Relay, scale
from support.net import eventually
from support.ws import TEXT, frame

TEXT_PLAIN = {"Content-Type": "text/plain"}
CLIENTS = scale("HISTORY_CLIENTS", 40)
SECONDS = scale("HISTORY_SECONDS", 8)
OUTAGE = scale("OUTAGE_SECONDS", 5)
# Time for what is due when the trouble is over: the longest pause of the breaker and a queue of events.
RECOVERY = 30 + SECONDS / 2

pytestmark = pytest.mark.timeout(int(SECONDS + OUTAGE + 2 * RECOVERY + 60))


def echo(request):
    return Reply(200, request.body, TEXT_PLAIN)


def prepared(make_app, history, answer=echo):
    """An app that notes each event in `history` and answers messages with `answer`, other events with 204."""
    app = make_app()
    # After a reset or a timeout the retry comes while the app may still work on what it got before.
    app.one_at_a_time = False
    app.on(history.recording(Reply(204)))
    app.on(history.recording(answer), event="message")
    return app


def start_clients(history, edge, **how):
    """Starts the clients."""
    pace = max(0.05, CLIENTS / 300)
    clients = [HistoryClient(history, edge.port, f"c{i}", pace=pace, **how) for i in range(CLIENTS)]
    for client in clients:
        client.start()
    return clients


def settle(history, edge, clients):
    """Ends the clients, waits for every close event, and checks what was recorded."""
    for client in clients:
        client.stopping.set()
    deadline = time.monotonic() + RECOVERY
    for client in clients:
        client.finish(max(1, deadline - time.monotonic()))
    eventually(
        lambda: not history.closes_owed(),
        lambda: f"a close event for each connection, missing {history.closes_owed()[:5]}; readyz {edge.readyz()[1]}",
        RECOVERY,
        interval=0.05,
    )
    eventually(lambda: edge.metric("connections") == 0, "no connection is left")
    eventually(lambda: edge.metric("pending_bytes") == 0, lambda: f"pending {edge.metric('pending_bytes')}")
    assert edge.metric("webhook_queue_depth") == edge.metric("webhook_in_flight") == 0
    edge.check_alive()
    busy = [session for session in history.sessions if session.seen]
    assert len(busy) >= CLIENTS * 0.9, "hardly anything happened: the test shows nothing"
    faults = history.faults()
    assert faults == [], "\n".join(faults[:20])


def test_the_app_is_killed_and_restarted_every_few_seconds(make_app, sidesocket):
    history = History()
    app = prepared(make_app, history)
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="60s")
    clients = start_clients(history, edge)
    chance = random.Random(5)
    until = time.monotonic() + SECONDS
    restarts = 0
    while time.monotonic() < until:
        time.sleep(chance.uniform(0.5, 1.5 if SECONDS < 30 else 4))
        app.stop()
        time.sleep(chance.uniform(0.05, 1))
        app.listen()
        restarts += 1
    settle(history, edge, clients)
    assert restarts >= 3


def test_an_app_restarts_under_work_that_it_has_done_but_not_answered(make_app, sidesocket):
    # Half of the events were processed when the app dies: their answers are lost, and they come again.
    history = History()
    app = prepared(make_app, history)

    def slow(request):
        time.sleep(0.05)
        return echo(request)

    app.on(history.recording(slow), event="message")
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="60s", WEBHOOK_MAX_IN_FLIGHT=16)
    clients = start_clients(history, edge)
    for _ in range(4):
        eventually(lambda: app.in_flight >= 2, "the app works", RECOVERY)
        app.stop()
        time.sleep(0.2)
        app.listen()
        done = len(history.arrivals)
        eventually(lambda done=done: len(history.arrivals) > done + 50, "the app is at work again", RECOVERY)
    settle(history, edge, clients)
    assert history.retries > 0


def moody(history, share):
    """Answers that fail in every way on the first attempts of some events, and hopeless messages for good."""
    attempts = {}
    lock = threading.Lock()
    chance = random.Random(11)
    # What each hurts: the attempt, and the connection perhaps.
    passing = [
        Reply(503), Reply(429), Reply(502), Reply(504), Reply(503, headers={"Retry-After": "1"}),
        Reply(503, "busy", TEXT_PLAIN, close=True), Reply(raw=b"", reset=True), Reply(raw=b"", close=True),
        Reply(raw=b""), Reply(200, "x" * 1000, TEXT_PLAIN, drip=0.05),
    ]  # fmt: skip
    final = [
        Reply(500), Reply(404), Reply(301), Reply(raw=b"garbage\r\n\r\n", close=True),
        Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Le", reset=True),
        Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", reset=True),
    ]  # fmt: skip

    def answer(request):
        key = request.header("ce-id")
        with lock:
            attempt = attempts[key] = attempts.get(key, 0) + 1
            lot, mood, last = chance.random(), chance.choice(passing), chance.choice(final)
        if request.event == "message" and request.text.endswith(HOPELESS):
            return last if attempt == 1 else Reply(204)
        if attempt <= 3 and lot < share:
            return mood
        if request.event != "message":
            return Reply(204)
        # Now and then a keep-alive connection is closed without a word.
        quiet = lot > 0.9
        headers = {**TEXT_PLAIN, "Connection": "keep-alive"} if quiet else TEXT_PLAIN
        return Reply(200, request.body, headers, close=quiet)

    return answer


@pytest.mark.parametrize("share", [0.1, 0.6], ids=["now and then", "most of the time"])
def test_an_app_that_fails_in_every_way(make_app, sidesocket, share):
    history = History()
    app = prepared(make_app, history)
    answer = history.recording(moody(history, share))
    app.on(answer, event="message")
    app.on(answer, event="close")
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="120s", WEBHOOK_TIMEOUT="500ms", WEBHOOK_FAILURE="keep")
    clients = start_clients(history, edge, hopeless=0.05)
    time.sleep(SECONDS)
    # The rest of the test waits for what is due, in an app that is well.
    well = history.recording(lambda r: Reply(204) if r.text.endswith(HOPELESS) else echo(r))
    app.on(well, event="message")
    app.on(history.recording(Reply(204)), event="close")
    settle(history, edge, clients)
    assert history.retries > 10


@pytest.mark.nightly
def test_an_app_that_answers_500_503_and_429_in_turns(make_app, sidesocket):
    # In turns over all events: what gets the 500 is lost to its client, but not the connection and not the order.
    history = History()
    app = prepared(make_app, history)
    turns = iter([None, 503, None, 429, None, None, 503] * 1_000_000)
    lock = threading.Lock()

    def answer(request):
        with lock:
            status = next(turns)
        if request.text.endswith(HOPELESS):
            return Reply(500)
        return Reply(status) if status else echo(request)

    app.on(history.recording(answer), event="message")
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="60s", WEBHOOK_FAILURE="keep")
    clients = start_clients(history, edge, hopeless=0.1)
    time.sleep(SECONDS)
    settle(history, edge, clients)
    assert history.retries > 10


def test_an_app_that_closes_keep_alive_connections_under_us(make_app, sidesocket):
    # Abuse case 34: the app closes an idle connection while the next request is on its way.
    history = History()
    chance = random.Random(3)

    def answer(request):
        rude = chance.random() < 0.5
        headers = {**TEXT_PLAIN, "Connection": "keep-alive"}
        return Reply(200, request.body, headers, close=rude)

    app = prepared(make_app, history, answer)
    edge = sidesocket(app)
    clients = start_clients(history, edge)
    time.sleep(SECONDS)
    settle(history, edge, clients)


def test_a_network_that_stops_and_cuts(make_app, sidesocket):
    history = History()
    app = prepared(make_app, history)
    relay = Relay(app.port)
    try:
        edge = sidesocket(APP_URL=relay.url, WEBHOOK_RETRY_FOR="60s", WEBHOOK_TIMEOUT="700ms")
        clients = start_clients(history, edge)
        chance = random.Random(9)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            time.sleep(chance.uniform(0.3, 1.5))
            kind = chance.choice(("stop", "stop", "cut", "refuse"))
            if kind == "stop":
                relay.hold()
                time.sleep(chance.uniform(0.2, 1.5))
                relay.flow()
            elif kind == "cut":
                relay.cut()
            else:
                relay.refusing = True
                relay.cut()
                time.sleep(chance.uniform(0.2, 1.0))
                relay.refusing = False
        settle(history, edge, clients)
    finally:
        relay.stop()


def test_two_apps_that_are_restarted_in_turn(make_app, sidesocket):
    # What a rolling deployment looks like from here.
    history = History()
    apps = [prepared(make_app, history) for _ in range(2)]
    edge = sidesocket(APP_URL=",".join(app.url for app in apps), WEBHOOK_RETRY_FOR="60s")
    clients = start_clients(history, edge)
    until = time.monotonic() + SECONDS
    for turn in range(1000):
        app = apps[turn % 2]
        time.sleep(0.5)
        app.stop()
        time.sleep(0.7)
        app.listen()
        if time.monotonic() > until:
            break
    settle(history, edge, clients)
    assert all(app.events("message") for app in apps)


@pytest.mark.parametrize("how", ["refused", "503", "hang"])
def test_sockets_stay_up_through_an_outage_of_the_app(make_app, sidesocket, how):
    history = History()
    app = prepared(make_app, history)
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="60s", WEBHOOK_TIMEOUT="1s")
    sockets = [edge.websocket(f"/ws?c={i}") for i in range(30)]
    sessions = [history.session(f"/ws?c={i}") for i in range(30)]

    def send(text):
        for socket, session in zip(sockets, sessions, strict=True):
            session.sent.append(f"{session.label} {text}")
            socket.send(frame(TEXT, session.sent[-1]))
        for socket, session in zip(sockets, sessions, strict=True):
            socket.barrier()
            session.received = len(session.sent)

    if how == "refused":
        app.stop()
    else:
        app.on(history.recording(Reply(503) if how == "503" else Reply(raw=b"")))
    started = time.monotonic()
    number = 0
    while time.monotonic() - started < OUTAGE:
        # The sockets live: each answers pings at once.
        send(f"outage {number}")
        number += 1
        time.sleep(OUTAGE / 8)
    assert edge.metric("connections") == 30
    assert edge.metric("pending_bytes") > 0
    if how == "refused":
        app.listen()
    else:
        app.on(history.recording(echo), event="message")
        app.on(history.recording(Reply(204)), event="close")
    for socket, session in zip(sockets, sessions, strict=True):
        socket.sock.settimeout(RECOVERY)
        while len(session.seen) < len(session.sent):
            session.seen.append(socket.message())
        session.end = "close"
        socket.close()
    eventually(lambda: not history.closes_owed(), "each close event", RECOVERY)
    faults = history.faults()
    assert faults == [], "\n".join(faults[:20])
    assert edge.metric("messages_dropped_total") == 0


# The program that judges must see what is wrong


def recorded(*events):
    """A history of one connection, given as (sequence, event, body)."""
    history = History()
    session = history.session("/ws")
    session.sent, session.seen, session.end = ["a", "b"], ["a", "b"], "close"

    class Request:
        def __init__(self, sequence, event, body):
            self.sequence, self.event, self.body = sequence, event, body.encode()

        def header(self, name):
            return {
                "ce-id": f"C-{self.sequence}", "ce-connectionid": "C", "ce-subject": "/ws", "ce-time": "t",
                "content-type": "text/plain",
            }[name]  # fmt: skip

    for event in events:
        history.got(Request(*event))
    return history


GOOD = [(1, "open", ""), (2, "message", "a"), (3, "message", "b"), (4, "close", "{}")]


def test_the_checker_accepts_a_good_history():
    assert recorded(*GOOD).faults() == []
    assert recorded(*GOOD[:2], *GOOD[1:], *GOOD[1:]).faults() == []


@pytest.mark.parametrize(
    "events",
    [
        GOOD[:3],
        GOOD[:1] + GOOD[3:],
        GOOD[:2] + GOOD[3:],
        [GOOD[0], GOOD[2], GOOD[1], GOOD[3]],
        [*GOOD[:3], (4, "message", "c"), (5, "close", "{}")],
        [*GOOD, (5, "close", "{}")],
        [*GOOD, (5, "message", "b")],
        [*GOOD[:2], (2, "message", "b"), *GOOD[2:]],
        GOOD[1:],
        [],
    ],
    ids=[
        "no close", "both messages lost", "one lost and a gap", "out of order", "one made up", "two closes",
        "a message behind the close", "an id for two messages", "no open", "nothing",
    ],
)  # fmt: skip
def test_the_checker_sees_what_is_wrong(events):
    assert recorded(*events).faults() != []
