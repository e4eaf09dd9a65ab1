"""The circuit breaker: a failing app is left alone, tried with one event at a time, and comes back gently."""

import json
import threading
import time

import pytest
from support.app import Reply, gate
from support.net import eventually
from support.ws import TEXT, frame

TEXT_PLAIN = {"Content-Type": "text/plain"}
# The longest pause and something for a busy machine.
BREAKER = 15.0
CLOSED, HALF_OPEN, OPEN = 0, 1, 2


def state(edge):
    return edge.metric("breaker_state")


def breaker_of(edge, index=0):
    """What /readyz says about the app's address."""
    return json.loads(edge.readyz()[1])["apps"][index]["breaker"]


def said(edge, what):
    return [e for e in edge.logs if what in e["message"]]


def hurt(edge, sockets, text="x"):
    """Sends one message on each socket, to an app that answers none of them now."""
    for socket in sockets:
        socket.text(text)
    for socket in sockets:
        socket.barrier()


def opened(edge, app, sockets, reply=None):
    """The app answers events with `reply` (503) until the breaker has opened."""
    app.on(reply or Reply(503), event="message")
    hurt(edge, sockets)
    eventually(lambda: said(edge, "breaker opened"), lambda: f"the breaker opens, it says {edge.output}")
    eventually(lambda: edge.metric("webhook_in_flight") == 0, "what was under way when it opened is over")


def test_it_is_closed_at_first(app, edge):
    edge.websocket().close()
    app.wait_events(1, "close")
    assert state(edge) == CLOSED
    (entry,) = json.loads(edge.readyz()[1])["apps"]
    assert entry["breaker"] == "closed" and entry["address"] == app.url and entry["inFlight"] == 0
    (labels,) = [dict(pairs) for (name, pairs) in edge.metrics() if name == "sidesocket_breaker_state"]
    assert set(labels) == {"address"} and labels["address"] in (app.url, "0", "1")
    assert said(edge, "breaker") == []


@pytest.mark.parametrize("how", ["500", "503", "refused", "reset", "hang"])
def test_it_opens_when_the_app_fails_and_closes_when_it_is_well(app, sidesocket, how):
    edge = sidesocket(app, WEBHOOK_FAILURE="keep", WEBHOOK_TIMEOUT="500ms")
    sockets = [edge.websocket() for _ in range(8)]
    app.echo()
    if how == "refused":
        app.stop_listening()
    else:
        replies = {
            "reset": Reply(raw=b"", reset=True),
            "hang": Reply(raw=b""),
        }
        app.on(replies.get(how) or Reply(int(how)), event="message")
    hurt(edge, sockets)
    eventually(lambda: state(edge) != CLOSED, "the breaker opens")
    assert eventually(lambda: said(edge, "breaker opened"), "a log line")[0]["level"] in ("warning", "error")
    assert app.url in json.dumps(said(edge, "breaker opened"))
    eventually(lambda: breaker_of(edge) in ("open", "half-open"), "readyz says so")
    # The sidecar itself is ready: without it the app would not come back sooner.
    assert edge.readyz()[0] == 200
    app.reset_script()
    app.echo()
    if how == "refused":
        app.listen()
    for n, socket in enumerate(sockets):
        socket.sock.settimeout(BREAKER)
        socket.text(f"well {n}")
        while socket.message() != f"well {n}":
            pass
    # A few successes more close it.
    for i in range(80):
        sockets[0].text(str(i))
        assert sockets[0].message() == str(i)
    eventually(lambda: state(edge) == CLOSED, lambda: f"closed, it is {state(edge)}", BREAKER)
    assert breaker_of(edge) == "closed"
    assert said(edge, "breaker closed")


def test_while_it_is_open_events_wait_and_sockets_stay_up(app, edge):
    sockets = [edge.websocket() for _ in range(20)]
    opened(edge, app, sockets)
    for i in range(5):
        hurt(edge, sockets, f"later {i}")
    assert edge.metric("connections") == 20
    eventually(lambda: edge.metric("webhook_queue_depth") > 0, "events wait for the breaker")
    app.on(lambda r: Reply(200, r.body, TEXT_PLAIN), event="message")
    for socket in sockets:
        socket.sock.settimeout(BREAKER)
        assert [socket.message() for _ in range(6)] == ["x"] + [f"later {i}" for i in range(5)]
    assert edge.metric("messages_dropped_total") == 0


@pytest.mark.parametrize("how", ["503", "refused"])
def test_an_app_that_is_down_is_not_hammered(app, edge, how):
    sockets = [edge.websocket() for _ in range(50)]
    attempts = []
    if how == "refused":
        app.stop_listening()
        hurt(edge, sockets)
    else:
        opened(edge, app, sockets, lambda r: attempts.append(1) or Reply(503))

    def calls():
        return edge.metric("webhook_requests_total", event="message")

    eventually(lambda: state(edge) == OPEN, "it opens")
    eventually(lambda: edge.metric("webhook_in_flight") == 0, "what was under way is over")
    before, since = calls(), time.monotonic()
    # Time itself is tested: probes after 0.5, 1, 2 and 4 s; the first of them may be under way already.
    time.sleep(4)
    made = calls() - before
    took = time.monotonic() - since
    assert made > 0, "nobody looks whether the app is back"
    assert edge.metric("connections") == 50
    if took > 6:
        pytest.skip(f"this machine stood still for {took - 4:.1f} s")
    assert made <= 4, made


def test_one_probe_at_a_time(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_TIMEOUT="1m")
    sockets = [edge.websocket() for _ in range(20)]
    opened(edge, app, sockets)
    held = gate()
    app.on(lambda r: Reply(200, r.body, TEXT_PLAIN, gate=held), event="message")
    app.most_in_flight = 0
    eventually(lambda: app.in_flight == 1, "a probe", BREAKER)
    assert state(edge) == HALF_OPEN and breaker_of(edge) == "half-open"
    hurt(edge, sockets, "more")
    # Time is what is tested: nobody follows the probe before it is answered.
    time.sleep(1.2)
    assert app.most_in_flight == 1
    assert json.loads(edge.readyz()[1])["apps"][0]["inFlight"] == 1
    held.set()
    for socket in sockets:
        socket.sock.settimeout(BREAKER)
        assert [socket.message(), socket.message()] == ["x", "more"]


def test_a_probe_that_fails_opens_it_again_for_longer(app, edge):
    sockets = [edge.websocket() for _ in range(10)]
    probes = []

    def down(request):
        probes.append(time.monotonic())
        return Reply(503)

    opened(edge, app, sockets, down)
    eventually(lambda: edge.metric("webhook_in_flight") == 0, "what was under way is over")
    probes.clear()
    eventually(lambda: len(probes) >= 3, "three probes", BREAKER)
    first, second = probes[1] - probes[0], probes[2] - probes[1]
    assert 0.7 < first < 4 and 1.5 < second < 6, (first, second)


def test_recovery_is_paced(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT=32)
    sockets = [edge.websocket() for _ in range(60)]
    opened(edge, app, sockets)
    for i in range(4):
        hurt(edge, sockets, str(i))
    eventually(lambda: edge.metric("webhook_in_flight") == 0, "what was under way is over")
    lock = threading.Lock()
    seen = []
    finished = [0]

    def answer(request):
        with lock:
            # This one is counted in already, and one that has just been answered may still be.
            seen.append((app.in_flight, finished[0]))
        time.sleep(0.05)
        with lock:
            finished[0] += 1
        return Reply(200, request.body, TEXT_PLAIN)

    app.on(answer, event="message")
    for socket in sockets:
        socket.sock.settimeout(BREAKER)
        assert [socket.message() for _ in range(5)] == ["x", "0", "1", "2", "3"]
    for in_flight, successes in seen:
        assert in_flight <= 2**successes, f"{in_flight} at once after {successes} successes: a stampede\n{seen[:40]}"
    assert max(in_flight for in_flight, _ in seen) >= 16, "it never came back to its full strength"
    eventually(lambda: state(edge) == CLOSED, "closed")


def test_a_failure_while_it_recovers_opens_it_again(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT=64)
    sockets = [edge.websocket() for _ in range(30)]
    opened(edge, app, sockets)
    eventually(lambda: edge.metric("webhook_in_flight") == 0, "what was under way is over")
    calls = []

    def relapse(request):
        calls.append(1)
        # Well for a moment, then down again.
        return Reply(200, request.body, TEXT_PLAIN) if len(calls) <= 3 else Reply(503)

    app.on(relapse, event="message")
    eventually(lambda: len(calls) >= 4, "the relapse", BREAKER)
    eventually(lambda: state(edge) == OPEN, lambda: f"open again, it is {state(edge)}", 3)
    # Three are well. The last of these may be heard of after four failures, which are no row of five then; five more
    # open it, while three others are under way; and one probe may have begun since.
    assert len(calls) <= 3 + 4 + 5 + 3 + 1, "30 messages wait: they did not all go to an app that is down"
    app.echo()
    for socket in sockets:
        socket.sock.settimeout(20)
        assert socket.message() == "x"


def test_handshakes_get_503_while_it_is_open(app, edge):
    sockets = [edge.websocket() for _ in range(10)]
    app.on(Reply(500, "relayed", TEXT_PLAIN), event="open")
    opened(edge, app, sockets)

    def turned_away():
        before = len(app.events("open"))
        answer = edge.try_websocket().answer
        if answer.text == "relayed":
            # It was the probe.
            return None
        assert len(app.events("open")) == before
        return answer

    answer = eventually(turned_away, "a handshake that the app does not hear of", BREAKER)
    assert answer.status == 503 and int(answer.header("retry-after")) >= 1
    assert answer.header("content-type").startswith("text/plain") and answer.text.strip()
    assert answer.header("connection").lower() == "close"
    assert edge.metric("handshakes_total", result="app_failed") >= 1
    app.on(Reply(204), event="open")
    app.on(Reply(204), event="message")
    eventually(lambda: edge.try_websocket().answer.status == 101, "a handshake is accepted again", BREAKER)


def test_other_requests_pass_while_it_is_open(app, edge):
    # An app whose events fail may well serve pages.
    sockets = [edge.websocket() for _ in range(10)]
    opened(edge, app, sockets)
    for _ in range(5):
        with edge.client() as client:
            assert client.ask(target="/page").status == 200


@pytest.mark.parametrize("status", [400, 404, 422, 429])
def test_a_4xx_never_opens_it(app, sidesocket, status):
    edge = sidesocket(app, WEBHOOK_FAILURE="keep", WEBHOOK_RETRY_FOR="300ms")
    app.on(lambda r: Reply(status) if r.text == "bad" else Reply(200, r.body, TEXT_PLAIN), event="message")
    sockets = [edge.websocket() for _ in range(10)]
    for i in range(3):
        for socket in sockets:
            socket.send(frame(TEXT, "bad") + frame(TEXT, f"good {i}"))
        for socket in sockets:
            assert socket.message() == f"good {i}"
        assert state(edge) == CLOSED
    assert said(edge, "breaker") == []
    assert edge.metric("webhook_requests_total", event="message", outcome="4xx") >= 30


def test_a_few_failures_among_many_successes_do_not_open_it(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_FAILURE="keep")
    app.on(lambda r: Reply(500) if r.text == "bad" else Reply(200, r.body, TEXT_PLAIN), event="message")
    socket = edge.websocket()
    for i in range(12):
        socket.send(b"".join(frame(TEXT, f"{i}-{n}") for n in range(5)))
        socket.text("bad")
        assert [socket.message() for _ in range(5)] == [f"{i}-{n}" for n in range(5)]
    assert said(edge, "breaker") == [] and state(edge) == CLOSED


def test_a_handful_of_failures_does_not_open_it(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_FAILURE="keep")
    app.on(lambda r: Reply(500) if r.text == "bad" else Reply(200, r.body, TEXT_PLAIN), event="message")
    socket = edge.websocket()
    for _ in range(4):
        socket.text("bad")
    socket.text("good")
    assert socket.message() == "good"
    assert said(edge, "breaker") == [] and state(edge) == CLOSED


def test_failing_handshakes_open_it_too(app, edge):
    app.on(Reply(500), event="open")
    for _ in range(12):
        edge.try_websocket()
    assert said(edge, "breaker opened")


def test_a_refusing_app_does_not_open_it(app, edge):
    app.on(Reply(401), event="open")
    for _ in range(12):
        assert edge.try_websocket().answer.status == 401
    assert state(edge) == CLOSED and said(edge, "breaker") == []


def test_close_events_wait_for_it_and_come_when_it_closes(app, edge):
    sockets = [edge.websocket() for _ in range(10)]
    leaving = [edge.websocket() for _ in range(10)]
    opened(edge, app, sockets)
    app.on(Reply(503), event="close")
    for socket in leaving:
        socket.close(4001)
    edge.wait_metric("connections", 10)
    app.reset_script()
    events = app.wait_events(10, "close", BREAKER)
    assert {json.loads(e.body)["code"] for e in events} == {4001}


def test_a_client_that_leaves_while_it_waits_leaves_no_hole_in_the_permits(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_MAX_IN_FLIGHT=2)
    sockets = [edge.websocket() for _ in range(10)]
    opened(edge, app, sockets)
    # Handshakes that give up while they wait behind a probe.
    held = gate()
    app.on(lambda r: Reply(204, gate=held), event="message")
    eventually(lambda: app.in_flight == 1, "a probe", BREAKER)
    for _ in range(10):
        client = edge.client()
        client.request(
            target="/ws",
            headers={
                "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            },
        )  # fmt: skip
        client.reset()
    held.set()
    app.reset_script()
    app.echo()
    for socket in sockets:
        socket.sock.settimeout(BREAKER)
    for i in range(20):
        for socket in sockets:
            socket.text(str(i))
        for socket in sockets:
            while socket.message() != str(i):
                pass
    edge.wait_metric("webhook_in_flight", 0)
    edge.wait_metric("webhook_queue_depth", 0)
