"""The protocol over HTTP: what a client of polls and one of a stream get."""

import http.client
import json

import pytest
from support.api import API
from support.app import Reply, gate
from support.browser import browser, page
from support.net import eventually
from support.polling import PollClient, StreamClient
from support.protocol import ProtocolClient, lose
from support.publishing import TEXT

SETTINGS = {"HTTP_PATHS": "/http", "HISTORY_SIZE": "100", "POLL_TIMEOUT": "1s"}


@pytest.fixture
def edge(script, sidesocket):
    return sidesocket(script, **SETTINGS)


def publish(api, channel, text):
    return api.want(200, "POST", f"/v1/channels/{channel}/messages", text.encode(), TEXT).json


def post(payload, id=None, type="post"):
    return {"type": type, "payload": payload, **({"id": id} if id else {})}


@pytest.fixture
def poll(edge):
    return lambda target="/http", **how: PollClient(edge, target, **how)


@pytest.fixture
def stream(edge):
    return lambda target="/http", **how: StreamClient(edge, target, **how)


# Polls


def test_a_client_polls(script, poll, edge, api):
    one = poll("/http?user=42&join=room")
    first = one.begins()
    assert [frame["type"] for frame in first] == ["$welcome"]
    assert one.welcome["user"] == "42" and one.welcome["resumed"] is False and one.welcome["seq"] == 0
    assert one.welcome["ttl"] == 120_000 and len(one.token) == 43
    opened = script.wait_events(1, "open")[0]
    assert opened.header("ce-transport") == "poll" and opened.header("ce-connectionid") == one.welcome["session"]
    assert edge.metric("connections", transport="poll") == 1
    assert [frame["payload"] for frame in one.until("reply", post({"x": 1}, id="a"), re="a", seq=1)] == [{"x": 1}]
    publish(api, "room", "first")
    publish(api, "room", "second")
    assert [frame["payload"] for frame in one.until("message")] == ["first", "second"]
    assert one.frames() == []
    assert one.frames({"type": "$ping"}) == [{"type": "$pong"}]


def test_a_poll_is_answered_at_once_when_something_comes(poll, api):
    one = poll("/http?join=room")
    one.begins()
    waiting = one.next()
    publish(api, "room", "now")
    assert [frame["payload"] for frame in one.take(waiting)] == ["now"]


def test_what_comes_between_two_polls_waits_for_the_next(poll, api):
    one = poll("/http?join=room")
    one.begins()
    api.want(200, "POST", f"/v1/connections/{one.welcome['session']}/messages", "direct", TEXT)
    for number in range(20):
        publish(api, "room", str(number))
    frames = one.frames()
    assert frames[0]["seq"] == 1 and [frame["payload"] for frame in frames] == ["direct", *map(str, range(20))]


def test_a_newer_poll_ends_the_older(poll, edge):
    one = poll()
    one.begins()
    older = one.next()
    eventually(lambda: older.is_waiting, "the older waits")
    newer = one.next([post("x", id="a")])
    assert older.wait().status == 204
    assert newer.wait().types == ["reply"]
    assert edge.metric("posts_total", result="replaced") == 1


def test_what_the_first_post_brings_is_taken_after_the_welcome_and_once(script, poll):
    one = poll()
    body = {"key": "0123456789abcdef", "n": 1, "send": [post("x")]}
    first, again = one.post(body).wait(), one.post(body).wait()
    assert first.frames[0] == again.frames[0] and first.types[0] == "$welcome"
    one.note(first.frames[0])
    one.n, frames = 1, first.frames[1:]
    while not frames:
        frames = one.frames()
    assert [(frame["type"], frame["seq"]) for frame in frames] == [("message", 1)]
    # The same with a resume: its answer may be lost, too.
    body = one.first(send=[post("y")], seq=0)
    first, again = one.post(body).wait(), one.post(body).wait()
    assert first.frames[0] == again.frames[0] and first.frames[0]["resumed"] is True
    eventually(lambda: len(script.events("message")) == 2, "both are there")
    assert [json.loads(event.body) for event in script.events("message")] == ["x", "y"]
    assert len(script.events("open")) == 1


def test_a_stream_is_not_opened_with_frames(script, stream):
    answer = stream().begins(send=[post("x")])
    assert answer.status == 400 and b"beside the stream" in answer.body
    assert script.events() == []


@pytest.mark.parametrize("size", [20, 5_000])
@pytest.mark.parametrize("kind", ["poll", "stream", "websocket"])
def test_a_long_absence_is_replayed_whole_and_in_order(script, sidesocket, kind, size):
    edge = sidesocket(script, **SETTINGS, RESUME_WINDOW="1h")
    api, target = API(edge), "/http?join=room"
    if kind == "websocket":
        one = ProtocolClient(edge, target)
        lose(one)
    else:
        one = StreamClient(edge, target)
        one.begins()
        one.lose()
        eventually(lambda: edge.metric("sessions_detached") == 1, "the session waits")
    path, count = f"/v1/connections/{one.welcome['session']}/messages", 200_000 // size if size > 20 else 900
    for number in range(count):
        api.want(200, "POST", path, f"{number} " + "x" * size, TEXT)
    for number in range(5):
        publish(api, "room", f"news {number}")
    if kind == "poll":
        two = PollClient(edge, target)
        two.seq, two.positions, two.token, two.welcome = one.seq, one.positions, one.token, one.welcome
        frames = two.begins()
        while frames[-1]["type"] != "$live":
            frames += two.frames()
        frames = frames[1:-1]
    elif kind == "stream":
        assert one.begins()["resumed"] is True
        frames = list(iter(one.frame, {"type": "$live"}))
    else:
        frames = one.resumes().missed
    direct = [int(frame["payload"].split()[0]) for frame in frames if "channel" not in frame]
    assert direct == list(range(count))
    assert [frame["payload"] for frame in frames[count:]] == [f"news {number}" for number in range(5)]


@pytest.mark.parametrize("size, count", [(20_000, 10), (60_000, 10), (1_000, 200)])
def test_a_replay_that_is_larger_than_the_buffer_comes_in_portions(script, sidesocket, size, count):
    edge = sidesocket(script, **{**SETTINGS, "HISTORY_SIZE": "1000"}, MAX_SEND_BUFFER_BYTES="64KiB")
    api, one = API(edge), StreamClient(edge, "/http?join=room")
    one.begins()
    one.lose()
    eventually(lambda: edge.metric("sessions_detached") == 1, "the session waits")
    for number in range(count):
        publish(api, "room", f"{number} " + "x" * size)
    two = PollClient(edge, "/http?join=room")
    two.seq, two.positions, two.token, two.welcome = one.seq, one.positions, one.token, one.welcome
    answers = [two.begins()]
    while answers[-1][-1]["type"] != "$live":
        answers.append(two.frames())
    frames = [frame for answer in answers for frame in answer]
    heard = [int(frame["payload"].split()[0]) for frame in frames if frame["type"] == "message"]
    assert heard == list(range(count))
    assert len(answers) > 2


def test_an_app_that_refuses_is_relayed_and_its_cookies_come_with_the_acceptance(script, poll):
    script.on(Reply(403, "not you", {"X-Why": "because"}), event="open", times=1)
    refused = poll().post({"n": 1}).wait()
    assert (refused.status, refused.body, refused.headers["x-why"]) == (403, b"not you", "because")
    script.on(Reply(200, "", {"Set-Cookie": "s=1; HttpOnly", "Content-Type": "text/plain"}), event="open", times=1)
    opening = {"n": 1, "key": "0123456789abcdef"}
    accepted = poll().post(opening).wait()
    again = poll().post(opening).wait()
    assert accepted.headers["set-cookie"] == again.headers["set-cookie"] == "s=1; HttpOnly" and accepted.types == ["$welcome"]
    assert accepted.headers["content-type"] == "application/json" and accepted.headers["cache-control"] == "no-store"


def test_a_connection_serves_many_polls(poll, edge, script):
    """One connection, one poll after the other, with something else in between."""
    connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=10)
    one = poll()

    def ask(body):
        headers = {"Content-Type": "application/vnd.sidesocket.v1+json"}
        connection.request("POST", "/http", json.dumps(body), headers)
        response = connection.getresponse()
        return [one.note(frame) for frame in json.loads(response.read())["frames"]]

    ask({"n": 1})
    for number in range(2, 6):
        ask({"resume": one.token, "n": number, "send": [post(number, id=str(number))]})
        connection.request("GET", "/other")
        assert connection.getresponse().read() is not None
    assert edge.metric("posts_total", result="frames") >= 5


def test_a_poll_that_is_gone_is_not_answered(script, poll, edge, api):
    one = poll("/http?join=room")
    one.begins()
    lost = one.next()
    lost.lose()
    publish(api, "room", "later")
    # The same number again: it has not been answered.
    again = one.post({"resume": one.token, "n": 2})
    assert [frame["payload"] for frame in one.take(again)] == ["later"]


# Each POST counts once


def test_a_repeat_gets_the_answer_of_before(script, poll, edge, api):
    one = poll("/http?join=room")
    one.begins()
    publish(api, "room", "x")
    body = {"resume": one.token, "n": 2, "send": [post("p", id="a")]}
    first = one.post(body).wait()
    # Its reply, too, must not come again.
    for _ in range(3):
        assert one.post(body).wait().frames == first.frames
    one.n = 2
    one.until("message" if first.types == ["reply"] else "reply")
    assert len(script.events("message")) == 1
    assert edge.metric("posts_total", result="repeated") == 3


def test_the_repeat_of_the_first_post_opens_no_second_session(script, poll, edge):
    one = poll()
    body = {"key": "0123456789abcdef", "n": 1}
    first = one.post(body).wait()
    again = one.post(body).wait()
    assert again.frames == first.frames
    assert len(script.events("open")) == 1
    # Somebody else with the same key.
    for headers in [{"Cookie": "a=b"}, {"Authorization": "x"}]:
        other = one.post(body, headers=headers).wait()
        assert other.frames[0]["session"] != first.frames[0]["session"]
    # When the client has gone on, the key is used up.
    one.note(first.frames[0])
    one.n = 1
    one.frames()
    later = one.post(body).wait()
    assert later.frames[0]["session"] not in (first.frames[0]["session"], other.frames[0]["session"])


def test_the_first_post_is_repeated_while_the_app_decides(script, poll):
    held = gate()
    script.on(Reply(200, gate=held), event="open", times=1)
    one = poll()
    body = {"key": "0123456789abcdef", "n": 1}
    first = one.post(body)
    script.wait_events(1, "open")
    again = one.post(body)
    held.set()
    # The repeat may have replaced it, as its connection may be dead.
    answers = [first.wait(), again.wait()]
    sessions = {frame["session"] for answer in answers for frame in answer.frames or []}
    assert len(sessions) == 1 and {answer.status for answer in answers} <= {200, 204}
    assert len(script.events("open")) == 1


def test_the_repeat_of_a_resume_gets_the_answer_of_before(script, poll):
    one = poll()
    one.begins()
    body = one.first()
    first = one.post(body).wait()
    assert first.types == ["$welcome", "$live"]
    assert one.post(body).wait().frames == first.frames


def test_posts_are_taken_in_their_order(script, poll):
    one = poll()
    one.begins()
    late = one.post({"resume": one.token, "n": 3, "send": [post("third")]})
    one.post({"resume": one.token, "n": 2, "send": [post("second")]})
    eventually(lambda: len(script.events("message")) == 2, "both are there")
    assert [json.loads(event.body) for event in script.events("message")] == ["second", "third"]
    late.wait()


@pytest.mark.parametrize("number", [4, 100, 2**53])
def test_a_post_out_of_turn_is_refused(poll, edge, number):
    one = poll()
    one.begins()
    assert one.post({"resume": one.token, "n": number}).wait().status == 409
    assert edge.metric("posts_total", result="out_of_turn") == 1
    assert edge.metric("http_refused_total", reason="post_out_of_turn") == 1
    assert one.frames() == []


def test_a_post_whose_predecessor_never_comes_is_refused(poll):
    one = poll()
    one.begins()
    assert one.post({"resume": one.token, "n": 3}).wait().status == 409


# Streams


def test_a_client_streams(script, stream, edge, api):
    one = stream("/http?user=42&join=room")
    assert one.begins()["type"] == "$welcome"
    assert one.response.headers["cache-control"] == "no-store"
    assert script.wait_events(1, "open")[0].header("ce-transport") == "stream"
    assert edge.metric("connections", transport="stream") == 1
    one.send(post("x", id="a"), post("y", id="b"))
    assert one.frame_of("reply", re="a", seq=1)["payload"] == "x"
    assert one.frame_of("reply", re="b", seq=2)["payload"] == "y"
    # JSON of several lines is one line of the stream.
    body = '{\n "a":\r\n [1,\n2] }'
    api.want(200, "POST", "/v1/channels/room/messages", body, {"Content-Type": "application/json"})
    one.frame_of("message", payload={"a": [1, 2]})
    publish(api, "room", "é\n")
    one.frame_of("message", payload="é\n")


def test_a_post_beside_a_stream_counts_once(script, stream):
    one = stream()
    one.begins()
    body = {"resume": one.token, "n": 2, "send": [post("x", id="a")]}
    for _ in range(3):
        assert one.post(body).wait().status == 204
    one.frame_of("reply", re="a")
    one.n = 2
    one.send({"type": "$ping"})
    one.frame_of("$pong")
    assert len(script.events("message")) == 1
    assert one.post({"resume": one.token, "n": 9}).wait().status == 409


def test_a_lost_stream_is_resumed(script, stream, edge, api):
    one = stream("/http?join=room")
    one.begins()
    publish(api, "room", "seen")
    one.frame_of("message", payload="seen")
    one.lose()
    eventually(lambda: edge.metric("sessions_detached") == 1, "the session waits")
    publish(api, "room", "missed")
    api.want(200, "POST", f"/v1/connections/{one.welcome['session']}/messages", "direct", TEXT)
    old = one.token
    welcome = one.begins()
    assert welcome["resumed"] is True and one.token != old
    assert [one.frame()["payload"] for _ in range(2)] == ["direct", "missed"]
    one.frame_of("$live")
    one.send(post("x", id="a"))
    one.frame_of("reply", re="a", seq=2)
    assert len(script.events("open")) == 1


def test_a_stream_that_is_opened_again_keeps_its_token(stream, edge, api):
    one = stream("/http?join=room")
    one.begins()
    one.send({"type": "$ping"})
    one.frame_of("$pong")
    one.lose()
    eventually(lambda: edge.metric("sessions_detached") == 1, "the session waits")
    publish(api, "room", "missed")
    token = one.token
    welcome = one.begins(n=3)
    assert welcome["resumed"] is True and one.token == token
    one.frame_of("message", payload="missed")
    one.frame_of("$live")
    one.n = 3
    one.send({"type": "$ping"})
    one.frame_of("$pong")


def test_a_first_post_for_a_stream_whose_answer_is_lost_leaves_one_session(script, stream, edge):
    one = stream()
    session = one.begins(key="0123456789abcdef")["session"]
    one.lose()
    two = stream()
    assert two.begins(key="0123456789abcdef")["session"] != session
    script.wait_events(1, "close")
    assert edge.metric("sessions_detached") == 0 and edge.metric("connections", transport="stream") == 1


# From one transport to another


def test_a_session_goes_from_one_transport_to_the_next(script, edge, api):
    target = "/http?join=room&user=42"
    one = PollClient(edge, target)
    one.begins()
    publish(api, "room", "poll")
    one.until("message")
    two = StreamClient(edge, target)
    two.seq, two.positions, two.token, two.welcome = one.seq, one.positions, one.token, one.welcome
    waiting = one.next()
    assert two.begins()["resumed"] is True
    bye = waiting.wait().frames[-1]
    assert (bye["type"], bye["code"], bye["reconnect"]) == ("$bye", 4409, False)
    two.frame_of("$live")
    publish(api, "room", "stream")
    two.frame_of("message", payload="stream")
    protocol = f"sidesocket.v1.json, sidesocket.resume.{two.token}"
    three = ProtocolClient(edge, target, protocol=protocol, greet=False)
    three.encoding = three.chosen
    three.give(type="$resume", seq=two.seq, channels=two.positions)
    three.frame_of("$welcome", resumed=True, session=one.welcome["session"])
    two.frame_of("$bye", code=4409)
    assert two.frame() is None
    three.frame_of("$live")
    assert [event.event for event in script.events()] == ["open"]
    four = PollClient(edge, target)
    four.seq, four.positions, four.token, four.welcome = two.seq, two.positions, two.token, two.welcome
    # The WebSocket's token was never confirmed, so the one before is still good.
    assert four.begins()[0]["resumed"] is True
    assert edge.metric("connections", transport="poll") == 1


def test_a_client_that_stops_polling_is_detached_and_comes_back(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, SESSION_EVENTS="on")
    api = API(edge)
    one = PollClient(edge, "/http?join=room")
    one.begins()
    one.frames()
    assert edge.metric("sessions_detached") == 0
    eventually(lambda: edge.metric("sessions_detached") == 1, "the session waits", timeout=20)
    script.wait_events(1, "detached")
    publish(api, "room", "missed")
    # The next poll is told to resume.
    (bye,) = one.frames()
    assert bye == {"type": "$bye", "code": 4408, "reconnect": True, "after": 0}
    frames = one.begins()
    assert [frame["type"] for frame in frames] == ["$welcome", "message", "$live"] and frames[0]["resumed"] is True
    script.wait_events(1, "resumed")


# The end


def test_a_client_says_goodbye(script, poll, stream):
    one = poll()
    one.begins()
    frames = one.frames(post("last"), {"type": "$close"})
    assert frames[-1] == {"type": "$bye", "code": 1000, "reconnect": False}
    closed = script.wait_events(1, "close")[0]
    assert json.loads(closed.body)["code"] == 1000 and json.loads(closed.body)["initiator"] == "client"
    assert [event.event for event in script.events()] == ["open", "message", "close"]
    two = stream()
    two.begins()
    two.send({"type": "$close"})
    two.frame_of("$bye", code=1000, reconnect=False)
    assert two.frame() is None
    script.wait_events(2, "close")


def test_a_websocket_has_a_close_frame_for_that(edge):
    one = ProtocolClient(edge, "/ws")
    one.give(type="$close")
    one.frame_of("$error", code="bad_frame")
    one.quiet()


@pytest.mark.parametrize("is_waiting", [True, False])
def test_a_kick_is_told(script, poll, api, is_waiting):
    one = poll()
    one.begins()
    # The answer is confirmed, so that the client has only this token.
    one.frames({"type": "$ping"})
    waiting = one.next() if is_waiting else None
    api.want(204, "DELETE", f"/v1/connections/{one.welcome['session']}")
    answer = (waiting or one.next()).wait()
    bye = answer.frames[-1]
    assert bye["type"] == "$bye" and bye["reconnect"] is False
    script.wait_events(1, "close")


def test_with_the_window_off_a_session_lives_as_long_as_it_is_polled(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, RESUME_WINDOW="off")
    one = PollClient(edge)
    one.begins()
    assert one.welcome["ttl"] == 0
    assert one.until("reply", post("x", id="a"))[-1]["payload"] == "x"
    two = StreamClient(edge)
    two.begins()
    two.lose()
    script.wait_events(1, "close")
    script.wait_events(2, "close", timeout=25)
    assert edge.metric("sessions_detached") == 0


def test_a_drain_says_goodbye_to_polls(script, poll, edge):
    one, two = poll(), poll()
    one.begins()
    two.begins()
    waiting = one.next()
    edge.terminate()
    bye = waiting.wait().frames[-1]
    assert (bye["type"], bye["code"], bye["reconnect"]) == ("$bye", 1012, True)
    script.wait_events(2, "close")
    edge.wait_exit()


# A browser

PAGE = """<!doctype html><pre id=log></pre><script type=module>
import { connect } from '//EDGE/sidesocket.js'
const log = text => (document.getElementById('log').textContent += text + '\\n')
// A network that no WebSocket passes.
class Blocked { constructor() { setTimeout(() => this.onclose({ code: 1006, reason: '' }), 1) } close() {} }
const { fetch } = window
if (location.search === '?poll') window.fetch = (url, how) =>
  how.headers.Accept === 'text/event-stream' ? Promise.reject(new TypeError('blocked')) : fetch(url, how)
const s = connect('ws://EDGE/ws', { http: 'http://EDGE/http?join=room', WebSocket: Blocked, queue: 1 })
s.on('state', ({ state }) => log(state))
s.channel('room').on('message', ({ payload }) => log('heard ' + payload))
s.request('post', 'zw\\u00f6lf').then(({ payload }) => log('answer ' + payload), error => log('error ' + error.code))
</script>"""


@pytest.mark.skipif(browser() is None, reason="chromium is not installed")
@pytest.mark.parametrize("transport", ["stream", "poll"])
def test_a_page_of_another_origin(script, make_app, sidesocket, tmp_path, transport):
    shop = make_app()
    origin = f"http://localhost:{shop.port}"
    edge = sidesocket(script, **SETTINGS, ALLOWED_ORIGINS=origin, CLIENT_SCRIPT="/sidesocket.js")
    text = PAGE.replace("EDGE", f"127.0.0.1:{edge.port}")
    shop.on(Reply(200, text, {"Content-Type": "text/html; charset=utf-8"}))
    with page(f"{origin}/{'?poll' if transport == 'poll' else ''}", tmp_path) as shows:
        shows("log", "answer zwölf")
        API(edge).want(200, "POST", "/v1/channels/room/messages", "für alle".encode(), TEXT)
        shows("log", "heard für alle")
    assert script.wait_events(1, "open")[0].header("ce-transport") == transport
