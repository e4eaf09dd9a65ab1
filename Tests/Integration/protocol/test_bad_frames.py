"""What is not a frame closes the socket with 4400; a frame that breaks a rule is answered, and the socket stays."""

import json
import threading

import msgpack
import pytest
from support.protocol import MSGPACK, ProtocolClient

NO_FRAMES = [
    "",
    " ",
    "hello",
    "[]",
    "null",
    '"type"',
    "1",
    "{",
    '{"type":"post"',
    '{"type":"post",}',
    '{"type":"post"}x',
    '{"type":"post"}{"type":"post"}',
    "{type:'post'}",
    '{"type":"post","payload":01}',
    '{"type":"post","payload":+1}',
    '{"type":"post","payload":NaN}',
    '{"type":"post","payload":"\x01"}',
    '{"type":"post","payload":"\\x"}',
    '{"type":"post","payload":"\\u12"}',
    '{"type":"post","payload":[1,]}',
    '{"type":"post","payload":{"a" 1}}',
    '{"type":"post","payload":}',
    '{"type":"post","payload":tru}',
    '{"\\ud800":1,"type":"post"}',
    "\ufeff\ufeff{}",
]

NO_MAPS = [
    b"",
    b"\xc0",
    b"\x90",
    b"\xc1",
    b"\xa4type",
    b"\x81",
    b"\x81\xa4type",
    b"\x81\xa4type\xa4pos",
    b"\x81\xa4type\xa4post\x00",
    b"\xdf\xff\xff\xff\xff",
    b"\xde\xff\xff\xa4type\xa4post",
    b"\x82\xa4type\xa4post\xa7payload\xdd\xff\xff\xff\xff",
    b"\x82\xa4type\xa4post\xa7payload\xdb\xff\xff\xff\xff",
    b"\x82\xa4type\xa4post\xa7payload\xc6\xff\xff\xff\xffx",
    b"\x82\xa4type\xa4post\xa7payload\xc9\xff\xff\xff\xff\x01",
    b"\x82\xa4type\xa4post\xa7payload\xc1",
]

BAD = [
    ({}, None),
    ({"id": "a"}, "a"),
    ({"type": 5, "id": "a"}, "a"),
    ({"id": "a", "type": None}, "a"),
    ({"id": "a", "type": ["post"]}, "a"),
    ({"id": "a", "type": ""}, "a"),
    ({"id": "a", "type": "x" * 129}, "a"),
    ({"id": "a", "type": "é"}, "a"),
    ({"id": "a", "type": "a\nb"}, "a"),
    ({"id": "a", "type": "$welcome"}, "a"),
    ({"id": "a", "type": "$"}, "a"),
    ({"id": "a", "type": "$nonsense"}, "a"),
    ({"id": "a", "type": "client-typing"}, "a"),
    ({"id": "a", "type": "client-typing", "channel": "a b"}, "a"),
    ({"id": "a", "type": "client-typing", "channel": 1}, "a"),
    ({"type": "post", "id": 5}, None),
    ({"type": "post", "id": ""}, None),
    ({"type": "post", "id": "x" * 65}, None),
    ({"type": "post", "id": "é"}, None),
    ({"type": "post", "id": {}}, None),
    ({"type": "post", "id": "a\r\nb"}, None),
    ({"type": "$ack"}, None),
    ({"type": "$ack", "seq": "1"}, None),
    ({"type": "$ack", "seq": -1}, None),
    ({"type": "$ack", "seq": 1.5}, None),
    ({"type": "$ack", "seq": 2**53 + 1}, None),
    ({"type": "$ack", "seq": None}, None),
    ({"type": "$token"}, None),
    ({"type": "$token", "token": 1, "id": "a"}, "a"),
    ({"type": "post", "id": "a", **{str(n): n for n in range(63)}}, "a"),
    ({"type": "post", "id": "a", "x" * 257: 1}, "a"),
]


@pytest.mark.parametrize("text", NO_FRAMES, ids=range(len(NO_FRAMES)))
def test_text_that_is_no_object_closes(script, edge, text):
    client = ProtocolClient(edge)
    client.text(text)
    client.expect_goodbye(4400, reconnect=False)
    assert edge.metric("connections_closed_total", code=4400, reason="protocol_error") == 1
    assert script.events("message") == []
    assert json.loads(script.wait_events(1, "close")[0].body)["code"] == 4400


@pytest.mark.parametrize("data", NO_MAPS, ids=range(len(NO_MAPS)))
def test_bytes_that_are_no_map_close(script, edge, data):
    client = ProtocolClient(edge, protocol=MSGPACK)
    client.binary(data)
    client.expect_goodbye(4400, reconnect=False)
    assert script.events("message") == []


def test_the_wrong_kind_of_message_closes(script, edge):
    one = ProtocolClient(edge)
    one.binary(b'{"type":"post"}')
    one.expect_goodbye(4400, reconnect=False)
    two = ProtocolClient(edge, protocol=MSGPACK)
    two.text(msgpack.packb({"type": "post"}).decode("latin-1"))
    two.expect_goodbye(4400, reconnect=False)


@pytest.mark.parametrize("frame, about", BAD, ids=range(len(BAD)))
def test_a_frame_that_breaks_a_rule_is_an_error(script, client, frame, about):
    one = client()
    one.give(**frame)
    got = one.frame_of("$error", retry=False)
    assert got["code"] == ("forbidden" if frame.get("channel") == "room" else "bad_frame")
    assert got.get("re") == about and got["message"]
    one.post("x", id="ok")
    one.frame_of("reply", re="ok")
    assert len(script.events("message")) == 1


@pytest.mark.parametrize(
    "text, about",
    [
        ('{"type":"post","type":"post","id":"a"}', "a"),
        ('{"type":"post","\\u0074ype":"post","id":"a"}', "a"),
        ('{"type":"post","id":"a","id":"b"}', "b"),
        ('{"type":"post","payload":1,"payload":2,"id":"a"}', "a"),
        ('{"type":"post","id":"a","payload":' + "[" * 101 + "]" * 101 + "}", "a"),
        ('{"type":"post","payload":' + '{"a":' * 101 + "1" + "}" * 101 + ',"id":"a"}', None),
        ('{"type":"post","id":"\\ud800"}', None),
    ],
    ids=range(7),
)
def test_doubled_and_deep_members_are_errors(script, edge, text, about):
    client = ProtocolClient(edge)
    client.text(text)
    assert client.frame_of("$error", code="bad_frame").get("re") == about
    client.quiet()
    assert script.events("message") == []


def test_the_same_in_messagepack(script, edge):
    doubled = b"\x83\xa4type\xa4post\xa2id\xa1a\xa4type\xa4post"
    deep = b"\x83\xa2id\xa1a\xa4type\xa4post\xa7payload" + b"\x91" * 101 + b"\xc0"
    not_a_string = b"\x83\xa2id\xa1a\xa4type\xa4post\x01\x02"
    not_utf8 = b"\x82\xa2id\xa1a\xa4type\xa2\xff\xfe"
    client = ProtocolClient(edge, protocol=MSGPACK)
    for data in (doubled, deep, not_a_string, not_utf8):
        client.binary(data)
        client.frame_of("$error", code="bad_frame", re="a")
    # Numbers as other libraries write them.
    for number in (b"\x00", b"\xcc\x00", b"\xcd\x00\x00", b"\xd0\x00", b"\xd3" + b"\0" * 8, b"\xcb" + b"\0" * 8):
        client.binary(b"\x82\xa4type\xa4$ack\xa3seq" + number)
    client.quiet()


def test_unknown_members_are_ignored(script, edge):
    client = ProtocolClient(edge)
    client.give(type="post", id="a", payload=1, channel=5, seq="x", token=[], later={"type": "$ack"})
    client.frame_of("reply", re="a", payload=1)


def test_a_message_above_the_limit_closes(script, sidesocket):
    client = ProtocolClient(sidesocket(script, MAX_MESSAGE_BYTES="1KiB"))
    client.post("x" * 1100, id="x" * 64)
    client.expect_close(1009)


def test_an_id_of_a_megabyte_is_an_error(script, sidesocket):
    client = ProtocolClient(sidesocket(script, MAX_MESSAGE_BYTES="4MiB"))
    client.post(id="x" * (1 << 20))
    assert "re" not in client.frame_of("$error", code="bad_frame")


def test_ten_thousand_messages_at_once_are_all_answered(script, sidesocket):
    edge = sidesocket(script, MESSAGE_RATE="off")
    client = ProtocolClient(edge)
    before = edge.rss
    count = 10_000
    sender = threading.Thread(target=lambda: [client.post(n, id=str(n)) for n in range(count)])
    sender.start()
    for number in range(count):
        client.frame_of("reply", re=str(number), seq=number + 1)
    sender.join()
    assert edge.rss - before < 64 << 20


def test_bad_frames_count_against_the_rate_of_messages(script, sidesocket):
    edge = sidesocket(script, MESSAGE_RATE="5/1s,burst=5", RATE_LIMIT_ACTION="close")
    client = ProtocolClient(edge)
    for _ in range(7):
        client.give()
    client.expect_close(4429, skip_messages=True)


def test_repeated_nonsense_leads_to_a_ban(script, sidesocket):
    edge = sidesocket(script, AUTO_BAN="3/1m,ttl=1m")
    for _ in range(4):
        client = ProtocolClient(edge)
        client.text("nonsense")
        client.expect_close(4400, 4403, skip_messages=True)
    assert ProtocolClient(edge, greet=False).answer.status == 403


def test_a_frame_in_pieces_is_the_same_frame(script, edge):
    client = ProtocolClient(edge)
    text = json.dumps({"type": "post", "id": "1", "payload": {"é": "\u2028"}}, ensure_ascii=False).encode()
    for split in range(len(text)):
        client.frame(1, text[:split], fin=False)
        client.frame(0, text[split:])
        client.frame_()
    assert {event.body for event in script.events("message")} == {'{"é": "\u2028"}'.encode()}
