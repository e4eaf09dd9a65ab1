"""Retries: an event that the app did not take comes again, the same, until it does or time is up."""

import json
import time

import pytest
from support.app import Reply
from support.net import eventually

TEXT_PLAIN = {"Content-Type": "text/plain"}
# The longest pause of the breaker and something for a busy machine.
BREAKER = 15.0


def close_body(app, timeout=BREAKER):
    return json.loads(app.wait_events(1, "close", timeout)[-1].body)


def same(events):
    """Checks that all these requests are one event; a signature alone may differ."""
    varying = ("webhook-signature", "webhook-timestamp", "traceparent")
    for event in events[1:]:
        assert event.body == events[0].body
        assert event.target == events[0].target
        assert [h for h in event.headers if h[0].lower() not in varying] == [
            h for h in events[0].headers if h[0].lower() not in varying
        ]
    return events[0]


def timed(app, reply, times, event="message"):
    """Answers with `reply`; returns the list of the times at which the events came."""
    arrivals = []

    def answer(request):
        arrivals.append(time.monotonic())
        return reply(request) if callable(reply) else reply

    app.on(answer, event=event, times=times)
    return arrivals


# What is retried


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_app_gets_the_event_again(app, edge, status):
    app.echo()
    app.on(Reply(status, "not now", TEXT_PLAIN), event="message", times=2)
    socket = edge.websocket(headers={"Cookie": "a=1"})
    socket.text("héllo")
    assert socket.message() == "héllo"
    attempts = app.events("message")
    assert len(attempts) == 3
    event = same(attempts)
    assert event.header("ce-id") == f"{event.header('ce-connectionid')}-2" and event.header("ce-sequence") == "2"
    assert event.header("ce-time") and event.header("cookie") == "a=1"
    assert edge.metric("webhook_retries_total", event="message") == 2
    assert edge.metric("webhook_retries_total", event="open") == 0
    assert edge.metric("webhook_requests_total", event="message", outcome="2xx") == 1
    assert edge.metric("webhook_requests_total", event="message", outcome=f"{status // 100}xx") == 2
    assert edge.metric("messages_dropped_total") == 0
    socket.close()
    app.wait_events(1, "close")
    assert [e.sequence for e in app.events("close")] == [3]


def test_binary_and_empty_messages_come_again_unchanged(app, edge):
    app.echo()
    socket = edge.websocket()
    for data in (b"\x00\x01\xff" * 5000, b"", bytes(range(256))):
        app.on(Reply(503), event="message", times=1)
        socket.binary(data)
        assert socket.message() == data
        assert same(app.events("message")[-2:]).header("content-type") == "application/octet-stream"


def test_a_refused_connection_is_tried_again_until_the_app_is_back(app, edge):
    app.echo()
    socket = edge.websocket()
    app.stop_listening()
    socket.text("x")
    eventually(lambda: edge.metric("webhook_requests_total", event="message", outcome="connect_error"), "an attempt")
    socket.barrier()
    app.listen()
    assert socket.message() == "x"
    assert len(app.events("message")) == 1
    assert edge.metric("webhook_retries_total", event="message") >= 1


def test_a_timeout_is_tried_again(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_TIMEOUT="300ms")
    app.echo()
    app.on(Reply(raw=b""), event="message", times=1)
    app.on(Reply(200, "x" * 1000, TEXT_PLAIN, drip=0.05), event="message", times=1)
    socket = edge.websocket()
    socket.text("x")
    assert socket.message() == "x"
    attempts = eventually(lambda: len(e := app.events("message")) == 3 and e, "three attempts")
    same(attempts)
    assert len({e.connection for e in attempts}) == 3, "a connection was used on after a timeout"
    assert edge.metric("webhook_requests_total", event="message", outcome="timeout") == 2


@pytest.mark.parametrize("how", ["reset", "closed"])
def test_case_33_an_answer_that_was_lost(app, edge, how):
    # The app has processed it; the id tells it so the second time.
    app.echo()
    app.on(Reply(raw=b"", reset=how == "reset", close=True), event="message", times=2)
    socket = edge.websocket()
    socket.text("pay 5")
    assert socket.message() == "pay 5"
    same(app.events("message"))
    assert len(app.events("message")) >= 3
    socket.text("next")
    assert socket.message() == "next"
    assert app.events("message")[-1].sequence == 3


def test_case_34_a_keep_alive_connection_that_closes_as_we_write(app, edge):
    # Closed behind each answer, without a word: some requests meet it on their way.
    app.on(
        lambda r: Reply(200, r.body, {**TEXT_PLAIN, "Connection": "keep-alive"}, close=True),
        event="message",
    )
    sockets = [edge.websocket() for _ in range(4)]
    started = time.monotonic()
    for i in range(100):
        for socket in sockets:
            socket.text(str(i))
        for socket in sockets:
            assert socket.message() == str(i)
    assert time.monotonic() - started < 20
    assert edge.metric("breaker_state") == 0


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(400), 1008), (Reply(404), 1008), (Reply(413), 1008), (Reply(408), 1008), (Reply(500), 1011),
        (Reply(501), 1011), (Reply(505), 1011), (Reply(301, headers={"Location": "/x"}), 1011), (Reply(304), 1011),
        (Reply(raw=b"garbage\r\n\r\n"), 1011), (Reply(200, b"\xff", TEXT_PLAIN), 1011),
        (Reply(200, "{", {"Content-Type": "application/vnd.sidesocket+json"}), 1011),
        (Reply(204, headers={"Sidesocket-Close": "70000"}), 1011),
    ],
    ids=lambda value: str(value.status if isinstance(value, Reply) else value),
)  # fmt: skip
def test_what_is_no_use_to_repeat_is_not_repeated(shared, reply, code):
    app, process = shared
    before = process.metric("webhook_retries_total")
    app.on(reply, event="message")
    # The breaker of the shared sidecar must not open for the many failures of this list.
    app.on(Reply(204), path="/well", event="message")
    well = process.websocket("/well")
    for _ in range(10):
        well.text("x")
    app.wait_events(10, "message")
    socket = process.websocket()
    socket.text("x")
    socket.expect_close(code)
    assert len([e for e in app.events("message") if e.path == "/ws"]) == 1
    eventually(lambda: [e for e in app.events("close") if e.path == "/ws"], "the close event")
    assert process.metric("webhook_retries_total") == before


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_handshake_is_not_repeated_but_relayed_at_once(app, edge, status):
    app.on(Reply(status, "later", {**TEXT_PLAIN, "Retry-After": "7"}), event="open")
    started = time.monotonic()
    socket = edge.try_websocket()
    assert (socket.answer.status, socket.answer.text) == (status, "later")
    assert socket.answer.header("retry-after") == "7"
    assert time.monotonic() - started < 5
    assert len(app.events("open")) == 1
    assert edge.metric("webhook_retries_total") == 0
    assert app.events("close") == []


def test_a_handshake_without_an_app_fails_at_once(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_TIMEOUT="400ms")
    app.on(Reply(raw=b""), event="open")
    assert edge.try_websocket().answer.status == 504
    app.stop_listening()
    started = time.monotonic()
    answer = edge.try_websocket().answer
    assert answer.status in (502, 503) and int(answer.header("retry-after")) >= 0
    assert time.monotonic() - started < 5
    assert edge.metric("webhook_retries_total") == 0


# When


def test_retry_after_is_obeyed(app, edge):
    app.echo()
    arrivals = timed(app, Reply(503, headers={"Retry-After": "1"}), 2)
    socket = edge.websocket()
    socket.text("x")
    assert socket.message() == "x"
    arrivals.append(time.monotonic())
    for earlier, later in zip(arrivals, arrivals[1:], strict=False):
        assert 0.95 < later - earlier < 8, arrivals


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "Wed, 21 Oct 2099 07:28:00 GMT", "99999999999999999999"])
def test_a_retry_after_that_means_nothing_harms_nothing(app, sidesocket, value):
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="2s")
    app.echo()
    app.on(Reply(503, headers={"Retry-After": value}), event="message", times=1)
    socket = edge.websocket()
    socket.text("x")
    assert socket.message() == "x"
    assert len(app.events("message")) == 2


def test_retry_after_never_reaches_beyond_the_end_of_the_time(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="1500ms")
    arrivals = timed(app, Reply(503, headers={"Retry-After": "3600"}), None)
    socket = edge.websocket()
    started = time.monotonic()
    socket.text("x")
    socket.expect_close(1013)
    assert 1.3 < time.monotonic() - started < 6
    # One attempt at the start and the last one at the end of the time.
    assert len(arrivals) == 2 and 1.3 < arrivals[1] - arrivals[0] < 5, arrivals


def test_the_back_off_doubles_with_jitter_and_ends_with_a_last_attempt(app, sidesocket):
    # 429 says nothing about the app's health, so no breaker comes between.
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="3s")
    arrivals = timed(app, Reply(429), None)
    sockets = [edge.websocket() for _ in range(8)]
    by_connection = {}

    def note(request):
        by_connection.setdefault(request.header("ce-connectionid"), []).append(time.monotonic())
        return Reply(429)

    app.on(note, event="message")
    for socket in sockets:
        socket.text("x")
    for socket in sockets:
        socket.expect_close(1013)
    assert len(by_connection) == 8 and arrivals == []
    slack = 1.0
    for times in by_connection.values():
        gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
        for i, gap in enumerate(gaps):
            assert gap < min(5, 0.1 * 2**i) + slack, gaps
        assert len(times) >= 4, times
        assert 2.5 < times[-1] - times[0] < 5, "no last attempt at the end of the time"
    assert sum(len(times) for times in by_connection.values()) < 8 * 20, "that hammers the app"
    firsts = {round(times[1] - times[0], 4) for times in by_connection.values()}
    assert len(firsts) > 4, f"no jitter: {firsts}"


# The end of the time


def test_off_means_one_attempt(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="off", WEBHOOK_TIMEOUT="500ms")
    for number, reply in enumerate((Reply(503), Reply(429), Reply(raw=b""), Reply(raw=b"", reset=True)), 1):
        app.reset_script()
        app.on(reply, event="message")
        app.on(reply, event="close")
        socket = edge.websocket()
        socket.text("x")
        socket.expect_close(1013)
        edge.wait_metric("messages_dropped_total", 2 * number)
        for event in ("message", "close"):
            # A kept connection that ends as we write is no answer: a fresh one is tried at once (abuse case 34).
            assert 1 <= len(app.events(event)) <= (2 if reply.reset else 1)
        if not reply.reset:
            assert edge.metric("webhook_retries_total") == 0


def test_off_and_a_refused_connection(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="off")
    socket = edge.websocket()
    app.stop_listening()
    socket.text("x")
    socket.expect_close(1013)
    assert edge.metric("webhook_retries_total") == 0


@pytest.mark.parametrize("how", ["429", "503", "refused", "hang"])
def test_when_the_time_is_over_the_client_gets_1013_and_the_app_the_close_event(app, sidesocket, how):
    # The close event has as much time again, from when its turn comes: more than the longest pause of the breaker.
    seconds = 2 if how == "429" else 6
    edge = sidesocket(app, WEBHOOK_RETRY_FOR=f"{seconds}s", WEBHOOK_TIMEOUT="500ms")
    socket = edge.websocket()
    if how == "refused":
        app.stop_listening()
    else:
        app.on(Reply(raw=b"") if how == "hang" else Reply(int(how)))
    started = time.monotonic()
    socket.text("x")
    socket.text("never tried")
    got = socket.expect_close(1013)
    assert seconds - 0.5 < time.monotonic() - started < seconds + 6
    assert got.reason
    app.reset_script()
    if how == "refused":
        app.listen()
    body = close_body(app)
    assert (body["code"], body["initiator"], body["messagesIn"]) == (1013, "server", 2)
    assert "never tried" not in [e.text for e in app.events("message")]
    assert edge.metric("messages_dropped_total") == 2
    line = eventually(
        lambda: [e for e in edge.logs if e["message"] == "delivery failed" and e["event"] == "message"],
        lambda: f"a log line in {edge.output}",
    )[-1]
    connection = app.events("close")[-1].header("ce-connectionid")
    assert line["event_id"] == f"{connection}-2" and line["level"] in ("warning", "error")


def test_an_event_whose_time_ends_in_a_pause_of_the_breaker_is_tried_once_more(app, sidesocket):
    # By then the app may long be back: nothing is given up without a last attempt.
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="3s")
    socket = edge.websocket()
    app.stop_listening()
    socket.text("x")
    socket.expect_close(1013)
    app.listen()
    assert close_body(app)["code"] == 1013


def test_keep_drops_what_cannot_be_delivered_and_goes_on(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_RETRY_FOR="500ms", WEBHOOK_FAILURE="keep")
    app.on(lambda r: Reply(429) if r.text == "lost" else Reply(200, r.body, TEXT_PLAIN), event="message")
    socket = edge.websocket()
    for i in range(3):
        socket.text("lost")
        socket.text(f"kept {i}")
        assert socket.message() == f"kept {i}"
    assert edge.metric("messages_dropped_total") == 3
    socket.close()
    app.wait_events(1, "close")
    distinct = list(dict.fromkeys(e.sequence for e in app.events()))
    assert distinct == list(range(1, 9)), "a sequence number was lost with its event"
    assert len([e for e in app.events("message") if e.text == "lost"]) >= 6
