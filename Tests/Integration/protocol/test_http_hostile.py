"""The protocol over HTTP under bad input, floods and pages of other sites."""

import http.client
import json
import socket

import pytest
from support.api import API
from support.app import Reply, gate
from support.net import eventually
from support.polling import TYPE, PollClient, StreamClient
from support.publishing import TEXT

SETTINGS = {"HTTP_PATHS": "/http", "POLL_TIMEOUT": "1s"}
PAGE = "https://shop.example"


@pytest.fixture
def edge(script, sidesocket):
    return sidesocket(script, **SETTINGS)


@pytest.fixture
def poll(edge):
    return lambda target="/http", **how: PollClient(edge, target, **how)


def post(payload, id=None, type="post"):
    return {"type": type, "payload": payload, **({"id": id} if id else {})}


# Bodies


@pytest.mark.parametrize(
    "body, part",
    [
        (b"", "object"),
        (b"[]", "object"),
        (b"{", "object"),
        (b'{"n":1}{}', "object"),
        (b'{"n":1,"x":"\xff"}', "UTF-8"),
        (b"{}", "n, the number"),
        (b'{"n":0}', "n, the number"),
        (b'{"n":"1"}', "as n"),
        (b'{"n":1e3}', "as n"),
        (b'{"n":1,"n":1}', "twice"),
        (b'{"n":2}', "token"),
        (b'{"n":1,"key":7}', "key"),
        (b'{"n":1,"key":"' + b"k" * 500 + b'"}', "key"),
        (b'{"n":1,"send":{}}', "array"),
        (b'{"n":1,"resume":{}}', "resume"),
        (b'{"n":1,"channels":{"a":1}}', "channels"),
        (b'{"n":1,"send":[' + b"[" * 200 + b"]" * 200 + b"]}", "deep"),
    ],
)
def test_a_body_that_is_none_gets_a_sentence(script, poll, edge, body, part):
    answer = poll().post(body).wait()
    assert answer.status == 400 and part in answer.body.decode(), answer.body
    assert edge.metric("http_refused_total", reason="bad_post") == 1
    assert script.events() == []


@pytest.mark.parametrize(
    "frame, code",
    [
        ("{}", "bad_frame"),
        ('{"type":"$nonsense","id":"a"}', "bad_frame"),
        ('{"type":"post","id":"' + "i" * 65 + '"}', "bad_frame"),
        ('{"type":"post","type":"post"}', "bad_frame"),
        ('{"type":"$ack","seq":99}', "bad_frame"),
        ('{"type":"$resume","seq":0}', "bad_frame"),
    ],
)
def test_a_bad_frame_is_answered_like_any(poll, frame, code):
    one = poll()
    one.begins()
    answer = one.post(f'{{"resume":"{one.token}","n":2,"send":[{frame}]}}'.encode()).wait()
    assert [(f["type"], f["code"]) for f in answer.frames] == [("$error", code)]


@pytest.mark.parametrize("frame", ["1", "null", '"x"', "[]"])
def test_what_is_no_frame_ends_the_session(script, poll, frame):
    one = poll()
    one.begins()
    answer = one.post(f'{{"resume":"{one.token}","n":2,"send":[{frame}]}}'.encode()).wait()
    assert answer.frames[-1] == {"type": "$bye", "code": 4400, "reconnect": False}
    script.wait_events(1, "close")


def test_a_frame_that_is_too_big_ends_the_session(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, MAX_MESSAGE_BYTES="1000")
    one = PollClient(edge)
    one.begins()
    assert one.until("reply", post("x" * 900, id="a"))[-1]["re"] == "a"
    frames = one.frames(post("x" * 1000))
    assert frames[-1]["code"] == 1009
    assert edge.metric("limited_total", limit="message_too_big", action="closed") == 1


def test_a_poll_of_ten_megabytes_is_refused_at_its_head(poll, edge):
    one = poll()
    one.begins()
    with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as sock:
        head = f"POST /http HTTP/1.1\r\nHost: a\r\nContent-Type: {TYPE}\r\nContent-Length: 10485760\r\n\r\n"
        sock.sendall(head.encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as sock:
        sock.sendall(f"POST /http HTTP/1.1\r\nHost: a\r\nContent-Type: {TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        answered = b""
        try:
            for _ in range(100):
                sock.sendall(b"19000\r\n" + b" " * 0x19000 + b"\r\n")
        except OSError:
            pass
        try:
            answered = sock.recv(4096)
        except OSError:
            pass
        assert answered.startswith(b"HTTP/1.1 413 "), answered
    assert edge.metric("http_refused_total", reason="post_too_large") == 2
    assert one.frames({"type": "$ping"}) == [{"type": "$pong"}]


def test_a_slow_body_is_cut_off(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, MESSAGE_ASSEMBLY_TIMEOUT="1s")
    with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as sock:
        sock.sendall(f"POST /http HTTP/1.1\r\nHost: a\r\nContent-Type: {TYPE}\r\nContent-Length: 7\r\n\r\n{{".encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 408 ")
    assert edge.metric("http_refused_total", reason="timeout") == 1


@pytest.mark.parametrize("type", [TYPE + "; charset=utf-8", TYPE + ";", TYPE + "x"])
def test_another_type_is_not_taken(script, poll, type):
    answer = poll().post({"n": 1}, headers={"Content-Type": type}).wait()
    assert answer.status == 415 and TYPE in answer.body.decode()
    assert script.requests == []


@pytest.mark.parametrize("how", [{"method": "PUT"}, {"path": "/http/"}, {"type": "application/json"}])
def test_everything_else_is_the_apps(script, edge, how):
    connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=10)
    headers = {"Content-Type": how.get("type", TYPE)}
    connection.request(how.get("method", "POST"), how.get("path", "/http"), '{"n":1}', headers)
    assert connection.getresponse().status == 200
    assert script.events() == []


# Tokens


def test_a_token_is_of_use_only_where_it_was_given(script, sidesocket):
    edge = sidesocket(script, **{**SETTINGS, "HTTP_PATHS": "/http,/other"}, RESUME_COOKIES="sid", ALLOWED_ORIGINS="*")
    headers = {"Cookie": "sid=1", "Origin": PAGE}
    one = PollClient(edge, headers=headers)
    one.begins()
    for stolen in [
        {"headers": {"Cookie": "sid=2", "Origin": PAGE}},
        {"headers": {"Origin": PAGE}},
        {"headers": {"Cookie": "sid=1", "Origin": "https://evil.example"}},
        {"headers": {"Cookie": "sid=1"}},
        {"headers": headers, "target": "/other"},
    ]:
        thief = PollClient(edge, **stolen)
        thief.token, thief.welcome = one.token, one.welcome
        answer = thief.post({"resume": one.token, "n": 2, "send": [post("stolen")]}).wait()
        assert answer.frames == [{"type": "$bye", "code": 4408, "reconnect": True, "after": 0}]
        assert thief.begins()[0]["session"] != one.welcome["session"]
    assert one.until("reply", post("own", id="a"))[-1]["payload"] == "own"
    assert [json.loads(event.body) for event in script.events("message")] == ["own"]


def test_old_tokens_are_worth_nothing(script, poll):
    one = poll()
    one.begins()
    first = one.token
    one.begins()
    second = one.token
    one.frames({"type": "$ping"})
    for token in (first, "A" * 43, "nonsense"):
        answer = one.post({"resume": token, "n": 2, "send": [post("x")]}).wait()
        assert answer.types == ["$bye"]
    assert first != second and script.events("message") == []
    new = one.post({"resume": first, "n": 1}).wait().frames[0]
    assert new["resumed"] is False and new["session"] != one.welcome["session"]


def test_guesses_are_paced_like_handshakes(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, CONNECT_RATE_PER_IP="5/1h,burst=5")
    one = PollClient(edge)
    statuses = [one.post({"resume": "A" * 43, "n": 2}).wait().status for _ in range(8)]
    assert statuses == [200] * 5 + [429] * 3


# Too much


def test_polls_in_parallel_with_one_token(script, poll, edge):
    one = poll()
    one.begins()
    body = {"resume": one.token, "n": 2, "send": [post("x", id="a")]}
    answers = [p.wait() for p in [one.post(body) for _ in range(30)]]
    assert {answer.status for answer in answers} <= {200, 204}
    assert len(script.events("message")) == 1
    numbers = [one.post({"resume": one.token, "n": n}) for n in range(3, 23)]
    assert {p.wait().status for p in numbers} <= {200, 204, 409}
    assert edge.metric("connections", transport="poll") == 1


def test_ten_thousand_posts_in_a_row(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, MESSAGE_RATE="off", BYTE_RATE="off", MAX_PENDING_BYTES="20000")
    one = PollClient(edge)
    one.begins()
    total, got = 10_000, []
    send = [post(number, id=str(number)) for number in range(total)]
    while send or len(got) < total:
        part, send = send[:100], send[100:]
        got += one.frames({"type": "$ack", "seq": one.seq}, *part)
        assert got == [] or got[-1]["type"] == "reply", got[-1]
    assert [frame["re"] for frame in got] == [str(number) for number in range(total)]


def test_thousands_of_posts_at_once(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, MESSAGE_RATE="off", BYTE_RATE="off", MAX_PENDING_BYTES="20000")
    one = PollClient(edge)
    one.begins()
    total = 3_000
    got = one.frames(*[post(number, id=str(number)) for number in range(total)])
    while len(got) < total:
        got += one.frames()
    assert [frame["re"] for frame in got] == [str(number) for number in range(total)]


def test_what_the_app_has_no_room_for_waits(script, sidesocket):
    held = gate()
    script.on(Reply(204, gate=held), event="message")
    edge = sidesocket(script, **SETTINGS, MESSAGE_RATE="off", BYTE_RATE="off", MAX_PENDING_BYTES="70000")
    one = PollClient(edge)
    one.begins()
    posts = []
    for number in range(2, 7):
        send = [post("x" * 60_000, id=f"{number}-{i}") for i in range(2)]
        posts.append(one.post({"resume": one.token, "n": number, "send": send}))
    # Two are taken, the third waits for room and the fourth for its turn; more than that are not from a right client.
    eventually(lambda: posts[4].answer, "the fifth is answered")
    assert posts[4].answer.status == 409
    assert edge.metric("pending_bytes") < 400_000
    held.set()
    for number in range(4):
        assert posts[number].wait().status in (200, 204)
    eventually(lambda: len(script.events("message")) == 8, "all are with the app")


def test_polls_without_pause_are_paced(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, MESSAGE_RATE="10/1s,burst=10", RATE_LIMIT_ACTION="close")
    one = PollClient(edge)
    one.begins()
    posts = []
    for _ in range(20):
        posts.append(one.next())
        eventually(lambda: len(posts) < 2 or not posts[-2].is_waiting, "the one before is answered")
    last = [frame for p in posts for frame in (p.wait().frames or [])][-1]
    assert last["type"] == "$bye"
    assert edge.metric("limited_total", limit="message_rate", action="closed") == 1


def test_a_client_that_does_not_fetch_holds_no_more_than_its_buffer(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, MAX_SEND_BUFFER_BYTES="100000")
    api = API(edge)
    one = PollClient(edge, "/http?join=room")
    one.begins()
    for _ in range(40):
        api.want(200, "POST", "/v1/channels/room/messages", "x" * 10_000, TEXT)
    assert edge.metric("send_buffer_bytes") <= 110_000
    frames = one.frames()
    assert frames[-1]["type"] in ("$bye", "message", "$gap")


# Pages of other sites


@pytest.fixture
def listed(script, sidesocket):
    return sidesocket(script, **SETTINGS, ALLOWED_ORIGINS=f"{PAGE},same-host")


def preflight(edge, origin, path="/http"):
    connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=10)
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    connection.request("OPTIONS", path, headers={**headers, "Origin": origin})
    response = connection.getresponse()
    response.read()
    return response.status, {name.lower(): value for name, value in response.getheaders()}


def test_a_preflight_of_a_listed_page(listed):
    status, headers = preflight(listed, PAGE)
    assert status == 204
    assert headers["access-control-allow-origin"] == PAGE and headers["access-control-allow-credentials"] == "true"
    assert headers["access-control-allow-methods"] == "POST" and headers["vary"] == "Origin"
    assert {name.strip().lower() for name in headers["access-control-allow-headers"].split(",")} == {
        "content-type",
        "authorization",
    }


def test_a_preflight_of_any_other_page_is_refused(script, listed):
    status, headers = preflight(listed, "https://evil.example")
    assert status == 403 and not any(name.startswith("access-control-") for name in headers)
    assert headers["vary"] == "Origin"
    # On other paths it is the app that answers.
    assert preflight(listed, "https://evil.example", "/else")[0] == 200


def test_a_listed_page_may_read_every_answer(script, listed):
    one = PollClient(listed, headers={"Origin": PAGE})
    answers = [one.post({"n": 1}).wait(), one.post(b"nonsense").wait(), one.post({"n": 1}, headers={"Content-Type": TYPE + ";"}).wait()]
    script.on(Reply(403, "no"), event="open")
    answers.append(one.post({"n": 1}).wait())
    assert [answer.status for answer in answers] == [200, 400, 415, 403]
    for answer in [answers[0], answers[1], answers[3]]:
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["access-control-expose-headers"] == "Retry-After" and answer.headers["vary"] == "Origin"


def test_a_listed_page_may_read_a_stream(listed, script):
    script.on(Reply(200, "", {"Access-Control-Allow-Origin": "*"}), event="open")
    one = StreamClient(listed, headers={"Origin": PAGE})
    assert one.begins()["type"] == "$welcome"
    assert one.response.headers.get_all("access-control-allow-origin") == [PAGE]


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://a, https://b"}],
)
def test_any_other_page_gets_nothing(script, listed, headers):
    answer = PollClient(listed, headers=headers).post({"n": 1}).wait()
    assert answer.status == 403 and not any(name.startswith("access-control-") for name in answer.headers)
    assert script.events() == []
    assert listed.metric("handshakes_total", result="origin") == 1


def test_a_star_lets_pages_in_without_their_cookies(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, ALLOWED_ORIGINS="*")
    answer = PollClient(edge, headers={"Origin": PAGE}).post({"n": 1}).wait()
    assert answer.status == 200 and answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    status, headers = preflight(edge, PAGE)
    assert status == 204 and "access-control-allow-credentials" not in headers


def test_a_banned_address_gets_nothing(edge, poll):
    one = poll()
    one.begins()
    waiting = one.next()
    API(edge).ban("ip", "127.0.0.1")
    assert waiting.wait().frames[-1]["code"] == 4403
    assert one.next().wait().status == 403


def test_with_the_protocol_off_there_are_no_such_paths(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, PROTOCOL="off")
    answer = PollClient(edge).post({"n": 1}).wait()
    assert answer.status == 200 and script.events() == []


def test_lost_connections_while_the_app_decides(script, sidesocket):
    edge = sidesocket(script, **SETTINGS)
    held = gate()
    script.on(Reply(200, gate=held), event="open")
    lost = [PollClient(edge).post({"n": 1}) for _ in range(5)]
    script.wait_events(5, "open")
    for one in lost:
        one.lose()
    edge.wait_metric("handshakes_total", 5, result="client_gone")
    held.set()
    script.wait_events(5, "close")
    assert edge.metric("connections", transport="poll") == 0


# What a review has found


@pytest.mark.parametrize("how", ["cut", "resume"])
@pytest.mark.parametrize("kind", [StreamClient, PollClient], ids=["stream", "poll"])
def test_what_was_taken_over_reaches_the_app_whatever_becomes_of_the_connection(script, sidesocket, kind, how):
    held = gate()
    script.on(Reply(204), event="message")
    script.on(Reply(204, gate=held), event="message", times=1)
    edge = sidesocket(script, **SETTINGS, MESSAGE_RATE="50/1s,burst=100", MAX_PENDING_BYTES="4KiB")
    one = kind(edge)
    one.begins()
    waiting = one.next([post(number) for number in range(400)])
    if kind is StreamClient:
        assert waiting.wait().status == 204
        if how == "cut":
            one.lose()
            eventually(lambda: edge.metric("sessions_detached") == 1, "the session waits")
    else:
        eventually(lambda: edge.metric("pending_bytes") > 0, "they are there")
    if how == "resume" or kind is PollClient:
        again = kind(edge)
        again.seq, again.positions, again.token, again.welcome = one.seq, one.positions, one.token, one.welcome
        again.begins()
    held.set()
    script.wait_events(400, "message", timeout=30)
    assert [json.loads(event.body) for event in script.events("message")] == list(range(400))
    assert edge.metric("messages_dropped_total", reason="closed") == 0


def test_bodies_are_not_kept_for_what_little_they_bring(script, sidesocket):
    held = gate()
    script.on(Reply(204, gate=held), event="message")
    edge = sidesocket(script, **SETTINGS, MESSAGE_RATE="off", BYTE_RATE="off")
    one = StreamClient(edge)
    one.begins()
    before = edge.rss
    for number in range(2, 302):
        small = {"type": "post", "payload": 1, "pad": "p" * 20_000}
        body = {"resume": one.token, "n": number, "pad": "p" * 160_000, "send": [small]}
        assert one.post(body).wait().status == 204
    assert edge.rss - before < 25 << 20
    held.set()


def test_requests_that_are_sent_ahead_keep_their_order_and_their_answers(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, THREADS="1")
    one = PollClient(edge)
    one.begins()

    def request(body):
        text = json.dumps(body).encode()
        return f"POST /http HTTP/1.1\r\nHost: a\r\nContent-Type: {TYPE}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text

    with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as ahead:
        second = {"resume": one.token, "n": 4, "send": [post("second", id="s")]}
        ahead.sendall(request({"resume": one.token, "n": 2}) + request(second))
        eventually(lambda: edge.metric("connections", transport="poll") == 1, "it is there")
        first = one.post({"resume": one.token, "n": 3, "send": [post("first", id="f")]})
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 2 or b'"re":"s"' not in answers and first.is_waiting:
            answers += ahead.recv(65536)
        assert answers.startswith(b"HTTP/1.1 20")
    eventually(lambda: len(script.events("message")) == 2, "both are there")
    assert [json.loads(event.body) for event in script.events("message")] == ["first", "second"]


def test_a_client_that_asks_and_does_not_read_is_not_answered_for_ever(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, MESSAGE_RATE="off", BYTE_RATE="off")
    one = PollClient(edge, "/http?join=room")
    one.begins()
    body = {"resume": one.token, "n": 2, "send": [post("x" * 60_000, id="a")]}
    one.post(body).wait()
    text = json.dumps({"resume": one.token, "n": 2}).encode()
    head = f"POST /http HTTP/1.1\r\nHost: a\r\nContent-Type: {TYPE}\r\nContent-Length: {len(text)}\r\n\r\n".encode()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(5)
        deaf.connect(("127.0.0.1", edge.port))
        try:
            for _ in range(2_000):
                deaf.sendall(head + text)
        except OSError:
            pass
        assert edge.metric("send_buffer_bytes") < 4 << 20


def test_those_that_poll_count_as_connections(script, sidesocket):
    edge = sidesocket(script, **SETTINGS, MAX_CONNECTIONS="20", MAX_CONNECTIONS_PER_IP="off", CONNECT_RATE_PER_IP="off")
    answers = [PollClient(edge).post({"n": 1}).wait() for _ in range(25)]
    assert [answer.status for answer in answers] == [200] * 20 + [503] * 5
    assert edge.metric("limited_total", limit="max_connections", action="refused") == 5


def test_a_refusal_of_the_app_has_one_origin(script, listed):
    headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "X", "Vary": "Cookie"}
    script.on(Reply(403, "no", headers), event="open")
    one = PollClient(listed, headers={"Origin": PAGE}).post({"n": 1})
    assert one.wait().status == 403
    assert one.answer.all("access-control-allow-origin") == [PAGE]
    assert sorted(one.answer.all("vary")) == ["Cookie", "Origin"]


def test_two_under_way_are_allowed_also_while_there_is_no_room(script, sidesocket):
    held = gate()
    script.on(Reply(204, gate=held), event="message")
    edge = sidesocket(script, **SETTINGS, MESSAGE_RATE="off", BYTE_RATE="off", MAX_PENDING_BYTES="4KiB")
    one = PollClient(edge)
    one.begins()
    posts = [one.next([post("x" * 60_000, id=f"{number}-{i}") for i in range(3)]) for number in range(2)]
    posts.append(one.next([post("last", id="last")]))
    # Longer than one waits whose predecessor never comes.
    posts[2].thread.join(6)
    assert posts[1].is_waiting and posts[2].is_waiting
    held.set()
    assert {p.wait().status for p in posts} <= {200, 204}
    script.wait_events(7, "message")


def test_a_frame_that_is_too_big_does_not_slip_through_at_the_end(script, sidesocket):
    held = gate()
    script.on(Reply(204, gate=held), event="message")
    edge = sidesocket(script, **SETTINGS, MAX_MESSAGE_BYTES="1000", MAX_PENDING_BYTES="1KiB")
    one = StreamClient(edge)
    one.begins()
    one.send(post("x" * 900), post("x" * 900), post("y" * 2_000), post("last"))
    one.lose()
    eventually(lambda: edge.metric("limited_total", limit="message_too_big", action="closed") == 1, "it is refused")
    held.set()
    script.wait_events(1, "close")
    assert [len(event.body) for event in script.events("message")] == [902, 902]
