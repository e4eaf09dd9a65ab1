"""WEBHOOK_BATCH: what is queued of one connection goes as one list of CloudEvents and is answered by a list."""

import base64
import json
import re
import time

import pytest
from support.app import Reply, gate
from support.net import eventually
from support.net import reset as abort
from support.process import run
from support.ws import CLOSE, TEXT, close_payload, frame

TEXT_PLAIN = {"Content-Type": "text/plain"}
COMMANDS = {"Content-Type": "application/vnd.sidesocket+json"}
BATCH = "application/cloudevents-batch+json"
BREAKER = 15.0


def is_batch(request):
    return (request.header("content-type") or "").split(";")[0].strip().lower() == BATCH


class Batching:
    """An app that understands batches and single messages and notes each event as a dict, however it came."""

    def __init__(self, app):
        self.app = app
        self.sizes = []
        self.events = []
        self.requests = []
        app.on(self.answer, method="POST")

    def answer(self, request):
        events = self.read(request)
        if events is None:
            return Reply(204)
        self.note(request, events)
        replies = [self.reply(event) for event in events]
        if is_batch(request):
            return Reply(200, json.dumps(replies), COMMANDS)
        return Reply(200, json.dumps(replies[0]), COMMANDS)

    def note(self, request, events):
        self.sizes.append(len(events))
        self.events += events
        self.requests.append(request)

    @staticmethod
    def read(request):
        """The messages in a request; None when it is another event."""
        if is_batch(request):
            return [unpack(one) for one in json.loads(request.body)]
        if request.event != "message":
            return None
        text = request.header("content-type").startswith("text/")
        return [
            {
                "id": request.header("ce-id"),
                "sequence": request.sequence,
                "connection": request.header("ce-connectionid"),
                "time": request.header("ce-time"),
                "data": request.text if text else request.body,
            }
        ]

    def reply(self, event):
        data = event["data"]
        if isinstance(data, str):
            return [{"send": {"text": data}}]
        return [{"send": {"base64": base64.b64encode(data).decode()}}]


def unpack(one):
    """An event of a batch, checked member by member."""
    assert one["specversion"] == "1.0" and one["type"] == "sidesocket.message"
    assert one["source"] == "/sidesocket/test-node"
    assert one["subject"].startswith("/")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"])
    assert one["id"] == f"{one['connectionid']}-{one['sequence']}"
    known = {
        "specversion", "type", "source", "id", "time", "subject", "connectionid", "sequence", "userid",
        "connectionstate", "datacontenttype", "data", "data_base64",
    }  # fmt: skip
    assert set(one) <= known, set(one) - known
    assert ("data" in one) != ("data_base64" in one), "one of data and data_base64"
    if "data" in one:
        assert one["datacontenttype"].startswith("text/plain") and isinstance(one["data"], str)
        data = one["data"]
    else:
        assert one["datacontenttype"] == "application/octet-stream"
        data = base64.b64decode(one["data_base64"], validate=True)
    return {
        "id": one["id"],
        "sequence": int(one["sequence"]),
        "connection": one["connectionid"],
        "time": one["time"],
        "data": data,
        "user": one.get("userid"),
        "state": one.get("connectionstate"),
        "subject": one["subject"],
    }


def queued(edge, app, messages, target="/ws", **more):
    """A socket whose first message is held by the app while `messages` queue behind it; returns it and the gate."""
    held = gate()
    app.on(Reply(204, gate=held), event="message", times=1, path=target.split("?")[0])
    socket = edge.websocket(target, **more)
    socket.text("first")
    app.wait_events(1, "message")
    socket.send(b"".join(messages))
    socket.barrier()
    return socket, held


def texts(*items):
    return [frame(TEXT, item) for item in items]


def batches(app):
    with app.lock:
        return [r for r in app.requests if is_batch(r)]


# The setting


@pytest.mark.parametrize("value", ["1", "0", "-1", "1025", "many", "16.5"])
def test_a_wrong_value_is_an_error_at_the_start(value):
    done = run("check", APP_URL="http://127.0.0.1:1", WEBHOOK_BATCH=value)
    assert done.returncode == 78 and "SIDESOCKET_WEBHOOK_BATCH" in done.stdout + done.stderr


@pytest.mark.parametrize("value", ["2", "16", "1024", "off"])
def test_a_right_value(value):
    assert run("check", APP_URL="http://127.0.0.1:1", WEBHOOK_BATCH=value).returncode == 0


def test_it_is_off_by_default(app, edge):
    socket, held = queued(edge, app, texts(*map(str, range(20))))
    app.echo()
    held.set()
    assert [socket.message() for _ in range(20)] == [str(i) for i in range(20)]
    assert batches(app) == []


# The request


def test_what_is_queued_goes_as_one_request(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=16)
    reader = Batching(app)
    binary = frame(2, b"\x00\xff\x80")
    messages = [*texts("hällo", '"quo\\te"\n', "", "\x00\x1f\u2028🎉"), binary, frame(2, b"")]
    socket, held = queued(edge, app, messages, "/ws/chat?q=1", headers={"Cookie": "a=1", "Authorization": "Bearer t"})
    held.set()
    got = [socket.message() for _ in messages]
    assert got == ["hällo", '"quo\\te"\n', "", "\x00\x1f\u2028🎉", b"\x00\xff\x80", b""]
    (request,) = batches(app)
    assert (request.method, request.target) == ("POST", "/ws/chat?q=1")
    assert request.header("content-type").split(";")[0] == BATCH
    assert request.header("cookie") == "a=1" and request.header("authorization") == "Bearer t"
    assert request.header("x-forwarded-for") == "127.0.0.1"
    assert request.header("content-length") == str(len(request.body))
    # An event's headers belong to an event; this request is several.
    for name in ("ce-id", "ce-type", "ce-sequence", "ce-time", "ce-specversion"):
        assert request.all(name) == [], name
    assert [e["sequence"] for e in reader.events] == list(range(3, 9))
    assert [e["data"] for e in reader.events] == got
    assert len({e["connection"] for e in reader.events}) == 1
    assert {e["subject"] for e in reader.events} == {"/ws/chat?q=1"}
    opening = app.events("open")[0]
    assert reader.events[0]["connection"] == opening.header("ce-connectionid")
    socket.close()
    close = app.wait_events(1, "close")[0]
    assert close.sequence == 9 and not is_batch(close)
    assert json.loads(close.body)["messagesIn"] == 7 and json.loads(close.body)["messagesOut"] == 6


def test_one_message_goes_as_ever(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=16)
    app.echo()
    socket = edge.websocket()
    for i in range(10):
        socket.text(str(i))
        assert socket.message() == str(i)
    assert batches(app) == []
    assert [e.header("content-type") for e in app.events("message")] == ["text/plain; charset=utf-8"] * 10


@pytest.mark.parametrize(("limit", "sizes"), [(2, [2, 2, 2, 2, 1]), (4, [4, 4, 1]), (9, [9]), (1024, [9])])
def test_a_batch_is_at_most_so_large(app, sidesocket, limit, sizes):
    edge = sidesocket(app, WEBHOOK_BATCH=limit)
    reader = Batching(app)
    socket, held = queued(edge, app, texts(*map(str, range(9))))
    held.set()
    assert [socket.message() for _ in range(9)] == [str(i) for i in range(9)]
    assert reader.sizes == sizes
    assert [e["sequence"] for e in reader.events] == list(range(3, 12))


def test_user_and_state_are_in_each_event(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=16)
    reader = Batching(app)
    app.on(Reply(204, headers={"Sidesocket-User": "42", "Sidesocket-State": "s 1"}), event="open")
    socket, held = queued(edge, app, texts("a", "b"))
    held.set()
    assert [socket.message(), socket.message()] == ["a", "b"]
    # JSON needs no percent-encoding.
    assert {(e["user"], e["state"]) for e in reader.events} == {("42", "s 1")}


def test_connections_are_never_mixed(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=64, WEBHOOK_MAX_IN_FLIGHT=1)
    reader = Batching(app)
    held = gate()
    app.on(Reply(204, gate=held), event="message", times=1, path="/hold")
    sockets = [edge.websocket() for _ in range(10)]
    holding = edge.websocket("/hold")
    holding.text("first")
    app.wait_events(1, "message")
    for n, socket in enumerate(sockets):
        socket.send(b"".join(texts(*(f"{n}-{i}" for i in range(8)))))
        socket.barrier()
    held.set()
    for n, socket in enumerate(sockets):
        assert [socket.message() for _ in range(8)] == [f"{n}-{i}" for i in range(8)]
    for request in batches(app):
        assert len({one["connectionid"] for one in json.loads(request.body)}) == 1
    # The first of each was on its way to the app, alone, before others came behind it.
    assert max(reader.sizes) == 7


def test_the_close_event_comes_behind_the_batch_and_alone(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=16)
    reader = Batching(app)
    socket, held = queued(edge, app, texts(*map(str, range(5))))
    abort(socket.sock)
    edge.wait_metric("connections", 0)
    held.set()
    close = app.wait_events(1, "close")[0]
    assert close.sequence == 8 and close.header("ce-type") == "sidesocket.close"
    assert [e["data"] for e in reader.events] == [str(i) for i in range(5)]


def test_a_large_batch_stays_within_bounds(app, sidesocket):
    sizes = {"MAX_PENDING_BYTES": "1MiB", "MAX_REPLY_BYTES": "8MiB", "MAX_SEND_BUFFER_BYTES": "4MiB"}
    edge = sidesocket(app, WEBHOOK_BATCH=1024, **sizes)
    reader = Batching(app)
    # Every byte takes six in JSON.
    text = "\x01" * 60_000
    socket, held = queued(edge, app, texts(*[text] * 10))
    before = edge.rss
    held.set()
    for _ in range(10):
        assert socket.message() == text
    assert len(reader.events) == 10
    assert edge.rss - before < 128 << 20


# The answer


@pytest.mark.parametrize(
    "silent", [Reply(204), Reply(200), Reply(202, headers=COMMANDS)], ids=["204", "200", "202 with a type"]
)
def test_an_empty_answer_sends_nothing(app, sidesocket, silent):
    edge = sidesocket(app, WEBHOOK_BATCH=16)
    socket, held = queued(edge, app, texts("a", "b", "c"))
    app.on(lambda r: silent if is_batch(r) else Reply(204), method="POST")
    app.echo()
    held.set()
    eventually(lambda: batches(app), "the batch")
    eventually(lambda: edge.metric("webhook_in_flight") == 0, "it is answered")
    socket.text("loud")
    assert socket.message() == "loud"
    socket.close()


def test_each_entry_is_the_answer_to_its_event(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=16)
    answer = [
        [{"send": {"text": "1a"}}, {"send": {"text": "1b"}}],
        [],
        [{"user": "42"}, {"state": "new"}],
        [{"send": {"base64": base64.b64encode(b"\x00\x01").decode()}}],
    ]
    socket, held = queued(edge, app, texts("a", "b", "c", "d"))
    app.on(lambda r: Reply(200, json.dumps(answer), COMMANDS) if is_batch(r) else Reply(204), method="POST")
    held.set()
    assert [socket.message() for _ in range(3)] == ["1a", "1b", b"\x00\x01"]
    socket.text("e")
    event = app.wait_events(2, "message")[-1]
    assert (event.header("ce-userid"), event.header("ce-connectionstate")) == ("42", "new")
    assert event.sequence == 7


def test_a_close_in_the_middle_ends_it_there(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=16)
    answer = [
        [{"send": {"text": "one"}}],
        [{"send": {"text": "two"}}, {"close": {"code": 4000, "reason": "enough"}}],
        [{"send": {"text": "never"}}],
    ]
    socket, held = queued(edge, app, texts("a", "b", "c"))
    app.on(lambda r: Reply(200, json.dumps(answer), COMMANDS) if is_batch(r) else Reply(204), method="POST")
    held.set()
    assert [socket.message(), socket.message()] == ["one", "two"]
    assert socket.expect_close(4000).reason == "enough"
    assert app.wait_events(1, "close")[0].sequence == 6


def test_the_header_of_the_answer_closes_after_everything(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=16)
    answer = [[{"send": {"text": "one"}}], [{"send": {"text": "two"}}]]
    socket, held = queued(edge, app, texts("a", "b"))
    headers = {**COMMANDS, "Sidesocket-Close": "4000 bye"}
    app.on(lambda r: Reply(200, json.dumps(answer), headers) if is_batch(r) else Reply(204), method="POST")
    held.set()
    assert [socket.message(), socket.message()] == ["one", "two"]
    socket.expect_close(4000)


@pytest.mark.parametrize(
    "body",
    [
        "[]", "[[]]", "[[],[]]", "[[],[],[],[]]", "{}", "null", "[", "[[],[],{}]", "[[],[],null]",
        '[{"send":{"text":"x"}},{"send":{"text":"y"}},{"send":{"text":"z"}}]', '[[],[],[{"sned":1}]]',
        '[[],[],[{"close":{"code":70000}}]]', '[[],[],[]] x', "[" * 100_000, '[[],[],[{"send":{"text":"\\ud800"}}]]',
    ],
    ids=lambda body: body[:40],
)  # fmt: skip
def test_a_malformed_answer_is_a_final_failure(app, sidesocket, body):
    edge = sidesocket(app, WEBHOOK_BATCH=16)
    socket, held = queued(edge, app, texts("a", "b", "c"))
    app.on(lambda r: Reply(200, body, COMMANDS) if is_batch(r) else Reply(204), method="POST")
    held.set()
    socket.expect_close(1011)
    close = app.wait_events(1, "close")[0]
    assert json.loads(close.body)["code"] == 1011 and close.sequence == 6
    # Nothing of a bad answer is carried out.
    assert len(batches(app)) == 1


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/octet-stream"])
def test_a_body_that_is_no_list_of_answers_is_a_final_failure(app, sidesocket, kind):
    edge = sidesocket(app, WEBHOOK_BATCH=16)
    socket, held = queued(edge, app, texts("a", "b"))
    app.on(lambda r: Reply(200, "hi", {"Content-Type": kind}) if is_batch(r) else Reply(204), method="POST")
    held.set()
    socket.expect_close(1011)
    app.wait_events(1, "close")


@pytest.mark.parametrize(("status", "code"), [(400, 1008), (415, 1008), (500, 1011)])
def test_a_refused_batch_closes(app, sidesocket, status, code):
    edge = sidesocket(app, WEBHOOK_BATCH=16)
    socket, held = queued(edge, app, texts("a", "b"))
    app.on(lambda r: Reply(status) if is_batch(r) else Reply(204), method="POST")
    held.set()
    socket.expect_close(code)
    app.wait_events(1, "close")
    edge.wait_metric("messages_dropped_total", 2)


def test_keep_drops_the_batch_counts_its_messages_and_goes_on(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=3, WEBHOOK_FAILURE="keep")
    reader = Batching(app)
    socket, held = queued(edge, app, texts("a", "b", "c", "d", "e", "f"))
    failed = []

    def first_fails(request):
        if is_batch(request) and not failed:
            failed.append(request)
            return Reply(500)
        return reader.answer(request)

    app.on(first_fails, method="POST")
    held.set()
    assert [socket.message() for _ in range(3)] == ["d", "e", "f"]
    assert edge.metric("messages_dropped_total") == 3
    assert [e["sequence"] for e in reader.events] == [6, 7, 8]


# Retries


def test_a_retry_repeats_the_same_batch(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=16)
    reader = Batching(app)
    socket, held = queued(edge, app, texts("a", "b", "c"))
    tries = []

    def busy(request):
        if is_batch(request) and len(tries) < 3:
            tries.append(request)
            return [Reply(503), Reply(429), Reply(raw=b"", reset=True)][len(tries) - 1]
        return reader.answer(request)

    app.on(busy, method="POST")
    held.set()
    eventually(lambda: tries, "the first attempt")
    # These come later and must not slip into the batch that is being repeated.
    socket.send(b"".join(texts("d", "e")))
    assert [socket.message() for _ in range(5)] == ["a", "b", "c", "d", "e"]
    first = batches(app)[0]
    for request in batches(app)[1:4]:
        assert request.body == first.body
        assert request.header("content-type") == first.header("content-type")
    assert [one["data"] for one in json.loads(first.body)] == ["a", "b", "c"]
    assert edge.metric("webhook_retries_total", event="message") >= 3
    assert edge.metric("messages_dropped_total") == 0


def test_when_the_time_is_over_all_of_it_is_lost_and_it_closes_1013(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=16, WEBHOOK_RETRY_FOR="1s")
    socket, held = queued(edge, app, texts("a", "b", "c"))
    app.on(lambda r: Reply(429) if is_batch(r) else Reply(204), method="POST")
    held.set()
    socket.expect_close(1013)
    app.wait_events(1, "close", BREAKER)
    edge.wait_metric("messages_dropped_total", 3)


# What it is for


def test_a_busy_socket_gets_through_a_slow_app_faster(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=64)
    reader = Batching(app)
    answer = reader.answer

    def slow(request):
        time.sleep(0.05)
        return answer(request)

    app.on(slow, method="POST")
    socket = edge.websocket()
    wanted = [f"message {i}" for i in range(400)]
    started = time.monotonic()
    socket.send(b"".join(frame(TEXT, text) for text in wanted))
    assert [socket.message() for _ in wanted] == wanted
    # One by one it would take 20 s.
    assert time.monotonic() - started < 10
    assert [e["sequence"] for e in reader.events] == list(range(2, 402))
    assert max(reader.sizes) <= 64


def test_pending_bytes_and_the_queue_are_given_back(app, sidesocket):
    edge = sidesocket(app, WEBHOOK_BATCH=8)
    Batching(app)
    sockets = [edge.websocket() for _ in range(10)]
    for socket in sockets:
        socket.send(b"".join(texts(*map(str, range(50)))))
    for socket in sockets:
        assert [socket.message() for _ in range(50)] == [str(i) for i in range(50)]
    eventually(lambda: edge.metric("pending_bytes") == 0, lambda: f"pending {edge.metric('pending_bytes')}")
    assert edge.metric("webhook_queue_depth") == edge.metric("webhook_in_flight") == 0
    for socket in sockets:
        socket.frame(CLOSE, close_payload(1000))
    app.wait_events(10, "close")
