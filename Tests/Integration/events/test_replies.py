"""What the replies of the app do: messages, commands, closes, a user and state."""

import base64
import json

import pytest
from support.app import Reply, commands, gate

TEXT_PLAIN = {"Content-Type": "text/plain"}


def close_event(app, timeout=10):
    """The body of the (last) close event."""
    return json.loads(app.wait_events(1, "close", timeout)[-1].body)


# Answers that are not text


@pytest.mark.parametrize("name", ["Sidesocket-User", "Sidesocket-State", "Sidesocket-Subscribe"])
def test_a_header_that_is_not_utf8_is_a_bad_reply(app, edge, name):
    app.on(Reply(204, headers={name: "jos\xe9"}), event="open", times=1)
    assert edge.try_websocket().answer.status == 502
    assert edge.metric("handshakes_total", result="app_failed") == 1
    app.on(Reply(204, headers={name: "jos\xe9"}), event="message")
    socket = edge.websocket()
    socket.text("x")
    assert socket.expect_close() is not None


# Replies

TEXT_TYPES = [
    "text/plain", "text/html; charset=utf-8", "TEXT/CSV", "application/json", "application/json; charset=utf-8",
    "application/xml", "application/problem+json", "image/svg+xml", "application/JSON", None,
]  # fmt: skip
BINARY_TYPES = ["application/octet-stream", "image/png", "application/cbor", "application/jsonx", "application/x-text"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("kind", TEXT_TYPES + BINARY_TYPES, ids=str)
def test_the_type_of_the_reply_decides_text_or_binary(shared, kind, chunked):
    app, process = shared
    headers = {} if kind is None else {"Content-Type": kind}
    app.on(Reply(200, "grüße", headers, chunked=chunked), event="message")
    socket = process.websocket()
    socket.binary(b"x")
    assert socket.message() == ("grüße" if kind in TEXT_TYPES else "grüße".encode())


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
def test_any_2xx_with_a_body_is_a_message(shared, status):
    app, process = shared
    app.on(Reply(status, "ok", TEXT_PLAIN), event="message")
    socket = process.websocket()
    socket.text("x")
    assert socket.message() == "ok"


@pytest.mark.parametrize(
    "silent",
    [
        Reply(204),
        Reply(200),
        Reply(200, headers=TEXT_PLAIN),
        Reply(202, chunked=True),
        Reply(200, headers={"Content-Type": "application/octet-stream"}),
        Reply(raw=b"HTTP/1.1 200 \r\n\r\n", close=True),
        Reply(raw=b"HTTP/1.1 204\r\n\r\n"),
    ],
    ids=["204", "200", "200 with a type", "chunked", "octet-stream", "until close", "no reason"],
)
def test_an_empty_reply_sends_nothing(shared, silent):
    app, process = shared
    app.echo()
    app.on(silent, event="message", times=1)
    socket = process.websocket()
    socket.text("silent")
    socket.text("loud")
    assert socket.message() == "loud"
    socket.close()


def test_a_reply_that_ends_with_the_connection(shared):
    app, process = shared
    app.on(Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end", close=True), event="message")
    socket = process.websocket()
    for _ in range(3):
        socket.text("x")
        assert socket.message() == "until the end"


def test_informational_answers_before_the_reply_are_skipped(shared):
    app, process = shared
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    app.on(lambda r: Reply(raw=early + Reply(200, r.body, TEXT_PLAIN).encode("POST")), event="message")
    socket = process.websocket()
    for text in ("a", "b"):
        socket.text(text)
        assert socket.message() == text


def test_the_command_list(shared):
    app, process = shared
    app.on(
        commands(
            {"send": {"text": "one é"}},
            {"send": {"base64": base64.b64encode(b"\x00\xff").decode()}},
            {"send": {"text": ""}},
            {"user": "42"},
            {"state": "s1"},
            {"send": {"text": "two"}},
        ),
        event="message",
        times=1,
    )
    socket = process.websocket()
    socket.text("x")
    assert [socket.message() for _ in range(4)] == ["one é", b"\x00\xff", "", "two"]
    socket.text("y")
    event = app.wait_events(2, "message")[1]
    assert (event.header("ce-userid"), event.header("ce-connectionstate")) == ("42", "s1")


def test_a_close_command_comes_after_what_was_sent(shared):
    app, process = shared
    app.on(commands({"send": {"text": "last"}}, {"close": {"code": 4000, "reason": "bye"}}), event="message")
    socket = process.websocket()
    socket.text("x")
    assert socket.message() == "last"
    got = socket.expect_close(4000)
    assert got.reason == "bye"
    body = close_event(app)
    assert (body["code"], body["reason"], body["initiator"]) == (4000, "bye", "server")


def test_an_empty_command_list_does_nothing(shared):
    app, process = shared
    app.echo()
    app.on(commands(), event="message", times=1)
    socket = process.websocket()
    socket.text("x")
    socket.text("y")
    assert socket.message() == "y"


def test_commands_in_the_reply_to_open(shared):
    app, process = shared
    app.on(commands({"send": {"text": "hi"}}, {"user": "7"}), event="open")
    socket = process.websocket()
    assert socket.message() == "hi"
    socket.text("x")
    assert app.wait_events(1, "message")[0].header("ce-userid") == "7"


@pytest.mark.parametrize(
    "body",
    [
        "{", "null", "{}", '"send"', "[1]", '[{"send":{}}]', '[{"send":{"text":1}}]', '[{"send":"x"}]',
        '[{"send":{"base64":"*"}}]', '[{"send":{"text":"a","base64":"YQ=="}}]', '[{"sned":{"text":"x"}}]', '[{}]',
        '[{"user":42}]', '[{"state":{}}]', '[{"close":"now"}]', '[{"close":{"code":"x"}}]', "[" * 100_000,
        '[{"send":{"text":"\\ud800"}}]', '[{"send":{"text":"a"}}] x', "[{\"send\":{\"text\":\"a\tb\"}}", "\xff",
    ],
    ids=lambda body: body[:30],
)  # fmt: skip
def test_a_malformed_command_list_is_a_final_failure(shared, body):
    app, process = shared
    app.on(Reply(200, body.encode("latin-1"), {"Content-Type": "application/vnd.sidesocket+json"}), event="message")
    socket = process.websocket()
    socket.text("x")
    socket.expect_close(1011)
    assert close_event(app)["code"] == 1011


@pytest.mark.parametrize(
    ("value", "code", "reason"),
    [("4000 bye", 4000, "bye"), ("4000", 4000, ""), ("1000 all done here", 1000, "all done here"), ("3000 ", 3000, "")],
)
def test_sidesocket_close_after_sending(shared, value, code, reason):
    app, process = shared
    app.on(Reply(200, "last", {**TEXT_PLAIN, "Sidesocket-Close": value}), event="message")
    socket = process.websocket()
    socket.text("x")
    assert socket.message() == "last"
    got = socket.expect_close(code)
    assert got.reason == reason
    body = close_event(app)
    assert (body["code"], body["reason"], body["initiator"]) == (code, reason, "server")
    assert (body["messagesIn"], body["messagesOut"]) == (1, 1)


def test_sidesocket_close_in_the_reply_to_open(shared):
    app, process = shared
    app.on(Reply(200, "hi", {**TEXT_PLAIN, "Sidesocket-Close": "4001 no room"}), event="open")
    socket = process.websocket()
    assert socket.message() == "hi"
    assert socket.expect_close(4001).reason == "no room"
    assert close_event(app)["code"] == 4001


def test_messages_behind_a_close_by_the_app_are_not_delivered(shared):
    app, process = shared
    held = gate()
    app.on(Reply(204, headers={"Sidesocket-Close": "4000"}, gate=held), event="message")
    socket = process.websocket()
    socket.text("one")
    app.wait_events(1, "message")
    socket.text("two")
    socket.barrier()
    held.set()
    socket.expect_close(4000)
    app.wait_events(1, "close")
    events = app.events()
    assert [e.event for e in events] == ["open", "message", "close"]
    assert [e.sequence for e in events] == [1, 2, 3]


def test_user_and_state_are_repeated_until_changed(shared):
    app, process = shared
    app.on(Reply(204, headers={"Sidesocket-User": "42", "Sidesocket-State": "a=1; b"}), event="open")
    socket = process.websocket()
    seen = []
    for headers in ({}, {"Sidesocket-State": "next"}, {"Sidesocket-User": "43"}, {"Sidesocket-State": ""}, {}):
        app.on(Reply(204, headers=headers), event="message")
        socket.text("x")
        event = app.wait_events(len(seen) + 1, "message")[-1]
        seen.append((event.header("ce-userid"), event.header("ce-connectionstate")))
        socket.barrier()
    socket.close()
    event = app.wait_events(1, "close")[0]
    seen.append((event.header("ce-userid"), event.header("ce-connectionstate")))
    users = [user for user, _ in seen]
    assert users == ["42", "42", "42", "43", "43", "43"]
    # A space is percent-encoded in CloudEvents headers.
    assert [state for _, state in seen] == ["a=1;%20b", "a=1;%20b", "next", "next", None, None]


@pytest.mark.parametrize(("size", "kept"), [(4095, True), (4096, True), (4097, False)])
def test_at_most_4_kib_of_state_are_kept(shared, size, kept):
    app, process = shared
    app.on(Reply(204, headers={"Sidesocket-State": "s" * size}), event="message", times=1)
    socket = process.websocket()
    socket.text("x")
    app.wait_events(1, "message")
    if kept:
        socket.text("y")
        assert app.wait_events(2, "message")[1].header("ce-connectionstate") == "s" * size
    else:
        socket.expect_close(1011)
        assert app.wait_events(1, "close")[0].header("ce-connectionstate") is None


def test_values_that_cloudevents_percent_encodes(shared):
    app, process = shared
    app.on(commands({"user": 'ü "1" 50%'}, {"state": "a\nb€"}), event="open")
    socket = process.websocket()
    socket.text("x")
    event = app.wait_events(1, "message")[0]
    assert event.header("ce-userid") == "%C3%BC%20%221%22%2050%25"
    assert event.header("ce-connectionstate") == "a%0Ab%E2%82%AC"
