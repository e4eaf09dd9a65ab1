"""Messages of clients of the protocol and what comes of them: replies by id, errors instead of closes, repeats."""

import json
import time

import msgpack
import pytest
from support.app import Reply, commands, gate
from support.protocol import JSON, MSGPACK, ProtocolClient


def order(**answer):
    return {"answer": answer}


def last(app):
    return app.wait_events(1, "message")[-1]


# What the app gets


def test_a_message_is_an_event_with_its_payload_alone(script, client):
    one = client()
    one.post({"text": "hi", "n": [1, 2.5, None, True]}, id="a1", type="chat message")
    one.frame_of("reply", re="a1", payload={"text": "hi", "n": [1, 2.5, None, True]})
    event = last(script)
    assert event.header("ce-messagetype") == "chat%20message"
    assert event.header("ce-messageid") == "a1"
    assert event.header("ce-sequence") == "2"
    if one.encoding == JSON:
        assert event.header("content-type") == "application/json"
        assert event.body == b'{"text":"hi","n":[1,2.5,null,true]}'
    else:
        assert event.header("content-type") == "application/msgpack"
        assert event.body == msgpack.packb({"text": "hi", "n": [1, 2.5, None, True]})


@pytest.mark.parametrize(
    "frame, body",
    [
        ('{"type":"post","payload":{"a" : 1,\n"a":2}}', b'{"a" : 1,\n"a":2}'),
        ('{"payload":"\\ud800 \\u0041","type":"post"}', b'"\\ud800 \\u0041"'),
        (' { "type" : "post" , "payload" : 1e400 } ', b"1e400"),
        ('{"type":"post","payload":"text"}', b'"text"'),
        ('{"type":"post","payload":null}', b"null"),
        ('{"type":"post"}', b"null"),
        ('{"\\u0074ype":"p\\u006fst","payload":[],"more":{"payload":1,"type":{}}}', b"[]"),
        ('{"type":"post","payload":' + "[" * 100 + "]" * 100 + "}", b"[" * 100 + b"]" * 100),
    ],
)
def test_the_payload_is_what_stood_in_the_frame(script, edge, frame, body):
    client = ProtocolClient(edge)
    client.text(frame)
    assert last(script).body == body
    assert last(script).header("ce-messagetype") == "post"
    assert last(script).header("ce-messageid") is None


def test_bytes_in_messagepack_are_bytes_for_the_app(script, edge):
    client = ProtocolClient(edge, protocol=MSGPACK)
    client.post(b"\x00\xff", id="1")
    client.frame_of("reply", re="1", payload=b"\x00\xff")
    assert last(script).header("content-type") == "application/octet-stream"
    assert last(script).body == b"\x00\xff"


# What the client gets


@pytest.mark.parametrize(
    "answer, in_json, in_msgpack",
    [
        ({"body": {"a": [1, -1, 1.5, "é", True, None]}, "type": "application/json"},) + ({"a": [1, -1, 1.5, "é", True, None]},) * 2,
        ({"body": "not { json", "type": "application/json"},) + ("not { json",) * 2,
        ({"body": "{} {}", "type": "application/json"},) + ("{} {}",) * 2,
        ({"body": "\ufeff [1] \n", "type": "application/hal+json"},) + ([1],) * 2,
        ({"body": "[" * 600 + "]" * 600, "type": "application/json"},) + ("[" * 600 + "]" * 600,) * 2,
        ({"body": '"\\ud800"', "type": "application/json"}, "\ud800", '"\\ud800"'),
        ({"body": '{"quoted"} \\ \n', "type": "text/plain"},) + ('{"quoted"} \\ \n',) * 2,
        ({"body": "<a/>", "type": "application/xml"},) + ("<a/>",) * 2,
        ({"hex": "00ff", "type": "application/octet-stream"}, {"base64": "AP8="}, b"\x00\xff"),
        ({"hex": "93c0a16181", "type": "application/msgpack"}, {"base64": "k8ChYYE="}, bytes.fromhex("93c0a16181")),
        ({"hex": "93c0a161c3", "type": "application/msgpack"}, {"base64": "k8ChYcM="}, [None, "a", True]),
    ],
)
def test_the_reply_of_the_app_becomes_the_payload(script, edge, answer, in_json, in_msgpack):
    for protocol, wanted in [(JSON, in_json), (MSGPACK, in_msgpack)]:
        script.on(lambda request: obey_always(answer), event="message")
        client = ProtocolClient(edge, protocol=protocol)
        client.post(id="1")
        got = client.frame_of("reply", re="1", seq=1)
        assert got["payload"] == wanted
        assert abs(got["ts"] - time.time() * 1000) < 60_000


def obey_always(answer):
    body = bytes.fromhex(answer["hex"]) if "hex" in answer else answer["body"]
    body = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return Reply(200, body, {"Content-Type": answer["type"]})


def test_an_empty_reply_is_an_acknowledgement(script, client):
    script.on(Reply(204), event="message")
    one = client()
    one.post(id="1")
    assert one.frame_of("$ack", re="1") == {"type": "$ack", "re": "1"}
    one.post()
    one.quiet()


def test_a_message_without_an_id_is_not_answered_but_the_app_may_send_something(script, client):
    one = client()
    one.post("x")
    assert "re" not in one.frame_of("message", seq=1)


def test_the_app_names_its_replies(script, edge):
    client = ProtocolClient(edge)
    client.post(order(body="1", headers={"Sidesocket-Event": "price"}), id="1")
    client.frame_of("price", re="1", seq=1, payload="1")
    client.post(order(body="2", headers={"Sidesocket-Event": "price"}))
    client.frame_of("price", seq=2, payload="2")


@pytest.mark.parametrize("name", ["$ack", "client-x", "x" * 129])
def test_the_app_may_not_take_the_names_of_the_protocol(script, edge, name):
    client = ProtocolClient(edge)
    client.post(order(body="1", headers={"Sidesocket-Event": name}), id="1")
    client.frame_of("$error", re="1", code="failed", retry=False)
    client.quiet()


def test_of_commands_the_first_send_is_the_reply(script, client):
    one = client()
    script.on(commands({"state": "x"}, {"send": {"text": "one"}}, {"send": {"text": "two"}}), event="message", times=1)
    one.post(id="1")
    one.frame_of("reply", re="1", seq=1, payload="one")
    assert "re" not in one.frame_of("message", seq=2, payload="two")


def test_commands_that_send_nothing_are_acknowledged(script, client):
    script.on(commands({"state": "x"}), event="message")
    one = client()
    one.post(id="1")
    one.frame_of("$ack", re="1")


def test_replies_come_in_the_order_of_the_messages(script, client):
    one = client()
    for number in range(50):
        one.post(number, id=str(number))
    for number in range(50):
        one.frame_of("reply", re=str(number), seq=number + 1, payload=number)


# Errors


@pytest.mark.parametrize(
    "answer, error",
    [
        (
            {"status": 422, "body": {"field": "text"}, "type": "application/json"},
            {"code": "rejected", "status": 422, "retry": False, "payload": {"field": "text"}},
        ),
        ({"status": 404, "body": "none", "type": "text/plain"}, {"code": "rejected", "status": 404, "payload": "none"}),
        ({"status": 403}, {"code": "rejected", "status": 403, "payload": None}),
        ({"status": 500, "body": "trace"}, {"code": "failed", "status": None, "retry": False, "payload": None}),
        ({"status": 302}, {"code": "failed", "status": None, "retry": False, "payload": None}),
        ({"status": 200, "headers": {"Sidesocket-Close": "70000"}, "body": "x"}, {"code": "failed", "retry": False}),
        ({"status": 503}, {"code": "unavailable", "retry": True, "payload": None}),
        ({"status": 429, "body": "later"}, {"code": "unavailable", "retry": True, "payload": None}),
    ],
)
def test_a_message_that_the_app_does_not_accept_is_an_error_and_the_socket_stays(script, edge, answer, error):
    client = ProtocolClient(edge)
    client.post(order(**answer), id="1")
    got = client.frame_of("$error", re="1", **error)
    assert got["message"].endswith(".")
    client.post("still here", id="2")
    client.frame_of("reply", re="2")
    assert edge.metric("protocol_errors_total", code=error["code"]) == 1
    assert edge.metric("connections") == 1


def test_an_error_without_an_id_is_only_counted(script, edge):
    client = ProtocolClient(edge)
    client.post(order(status=422))
    client.post(order(status=500))
    client.post("x", id="1")
    client.frame_of("reply", re="1")
    assert edge.metric("messages_dropped_total", reason="app_failed") == 2


def test_an_app_that_is_not_there_is_unavailable(app, edge):
    client = ProtocolClient(edge)
    app.stop_listening()
    client.post(id="1")
    client.frame_of("$error", re="1", code="unavailable", retry=True)


# Ids


def test_a_repeat_gets_the_same_answer_and_does_not_reach_the_app(script, client):
    one = client()
    one.post("x", id="1")
    first = one.frame_of("reply", re="1")
    one.post("y", id="1")
    assert one.frame_() == first
    one.post("x", id="2")
    one.frame_of("reply", re="2", seq=2)
    assert len(script.events("message")) == 2


def test_a_repeat_of_what_was_acknowledged_is_acknowledged_as_such(script, client):
    script.on(Reply(204), event="message")
    one = client()
    one.post(id="1")
    one.frame_of("$ack", re="1")
    one.post(id="1")
    one.frame_of("$ack", re="1", dup=True)
    assert len(script.events("message")) == 1


def test_a_repeat_of_what_was_rejected_is_rejected(script, edge):
    client = ProtocolClient(edge)
    client.post(order(status=422, body="no", type="text/plain"), id="1")
    first = client.frame_of("$error", re="1", code="rejected")
    client.post(id="1")
    assert client.frame_() == first
    assert len(script.events("message")) == 1


def test_a_repeat_of_what_is_at_work_waits_for_its_answer(script, client):
    held = gate()
    script.on(Reply(200, "done", gate=held), event="message")
    one = client()
    one.post(id="1")
    one.post(id="1")
    one.frame_of("$error", re="1", code="in_progress", retry=False)
    held.set()
    one.frame_of("reply", re="1", payload="done")
    assert len(script.events("message")) == 1


def test_what_may_be_tried_again_is_handled_anew(script, client):
    script.on(Reply(503), event="message", times=1)
    one = client()
    one.post("x", id="1")
    one.frame_of("$error", re="1", code="unavailable", retry=True)
    one.post("x", id="1")
    one.frame_of("reply", re="1", payload="x")
    first, second = script.events("message")
    assert first.header("ce-messageid") == second.header("ce-messageid") == "1"
    assert first.header("ce-id") != second.header("ce-id")


def test_an_answer_that_is_no_longer_kept_is_an_acknowledgement(script, sidesocket):
    edge = sidesocket(script, MAX_SEND_BUFFER_BYTES="8KiB")
    client = ProtocolClient(edge)
    for number in range(8):
        client.post("x" * 2000, id=str(number))
        client.frame_of("reply", re=str(number))
    client.post(id="0")
    client.frame_of("$ack", re="0", dup=True)
    client.post(id="7")
    client.frame_of("reply", re="7", seq=8)
    assert len(script.events("message")) == 8


def test_a_thousand_ids_are_remembered(script, sidesocket):
    script.on(Reply(204), event="message")
    edge = sidesocket(script, MESSAGE_RATE="off")
    client = ProtocolClient(edge)
    for number in range(1025):
        client.post(id=str(number))
    for number in range(1025):
        client.frame_of("$ack", re=str(number))
    client.post(id="1")
    client.frame_of("$ack", re="1", dup=True)
    client.post(id="0")
    assert "dup" not in client.frame_of("$ack", re="0")


# Ends


def test_the_app_closes(script, edge):
    client = ProtocolClient(edge)
    client.post(order(headers={"Sidesocket-Close": "4000 bye"}, body="last"), id="1")
    client.frame_of("reply", re="1", payload="last")
    client.expect_goodbye(4000, reconnect=False)
    assert json.loads(script.wait_events(1, "close")[0].body)["code"] == 4000


def test_a_message_that_ends_the_connection_is_acknowledged_before(script, edge):
    client = ProtocolClient(edge)
    client.post(order(headers={"Sidesocket-Close": "1000"}), id="1")
    client.frame_of("$ack", re="1")
    client.expect_goodbye(1000, reconnect=False)


def test_a_drain_says_when_to_come_back(script, edge):
    client = ProtocolClient(edge)
    edge.terminate()
    assert 0 <= client.expect_goodbye(1012, reconnect=True)["after"] <= 5000
    assert edge.wait_exit() == 0


def test_an_operator_closes(script, edge, api):
    client = ProtocolClient(edge)
    api.want(204, "DELETE", f"/v1/connections/{client.welcome['session']}")
    client.expect_goodbye(1008, reconnect=False)


# Life


def test_a_ping_is_answered(client, encoding):
    one = client()
    one.give(type="$ping")
    assert one.frame_() == {"type": "$pong"}
    one.give(type="$pong")
    one.give(type="$ack", seq=0)
    one.quiet()


def test_what_the_app_sends_by_itself_has_numbers_too(script, edge, api, encoding):
    client = ProtocolClient(edge, "/ws?user=42", protocol=encoding)
    session = client.welcome["session"]
    text = {"Content-Type": "text/plain"}
    api.want(200, "POST", f"/v1/connections/{session}/messages", "one", text)
    assert "re" not in client.frame_of("message", seq=1, payload="one")
    data = {"Content-Type": "application/json", "Sidesocket-Event": "news"}
    api.want(200, "POST", "/v1/users/42/messages", '{"n":1}', data)
    client.frame_of("news", seq=2, payload={"n": 1})
    client.post("x", id="1")
    client.frame_of("reply", re="1", seq=3)
    client.close()
    assert json.loads(script.wait_events(1, "close")[0].body)["messagesOut"] == 3


def test_a_batch_leaves_messages_with_ids_alone(script, sidesocket):
    held = gate()
    script.on(Reply(204))
    script.on(Reply(204, gate=held), event="message", times=1)
    client = ProtocolClient(sidesocket(script, WEBHOOK_BATCH="10"))
    for number in range(6):
        client.post(number, id="x" if number == 3 else None)
    client.barrier()
    held.set()
    client.frame_of("$ack", re="x")
    bodies = [json.loads(r.body) for r in script.requests if r.method == "POST" and r.body][:3]
    assert bodies[0] == 0 and bodies[2] == 3
    assert [(item["data"], item["messagetype"]) for item in bodies[1]] == [(1, "post"), (2, "post")]
