"""Channels: the app says who is in, and what is published reaches all of them, in one order, and nobody else."""

import base64
import json
import threading
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from support.api import API
from support.app import Reply, commands, gate
from support.guard import enter_deflate
from support.net import eventually
from support.process import run
from support.swarm import Swarm

TEXT = {"Content-Type": "text/plain"}
BAD_NAMES = ["", "a b", "a,b", 'a"b', "a\r\nb", "a\0b", "é", "\x7f", "x" * 201, "x" * 300]


def admit(request):
    """The app's answer to `open`: `/ws?user=42&join=room:1,room:2`."""
    asked = parse_qs(urlsplit(request.target).query)
    names = {"user": "Sidesocket-User", "join": "Sidesocket-Subscribe"}
    return Reply(204, headers={names[key]: values[0] for key, values in asked.items() if key in names})


def obey(request):
    """The app's answer to a message that says what to answer: a list of commands, or headers and a body."""
    order = json.loads(request.text)
    return commands(*order) if isinstance(order, list) else Reply(200, order["body"], {**TEXT, **order["headers"]})


def tell(socket, *items, body="", **headers):
    """Lets the app answer these commands, or the body with headers: `publish="room:1"`."""
    named = {f"Sidesocket-{name.title()}": value for name, value in headers.items()}
    socket.text(json.dumps(list(items) or {"body": body, "headers": named}))


def member(app, edge, *channels, **how):
    """A socket in these channels, and its id."""
    query = urlencode({"join": ",".join(channels)} if channels else {})
    socket = edge.websocket(f"/ws?{query}", **how)
    return socket, app.events("open")[-1].header("ce-connectionid")


def publish(api, channel, text, **query):
    return api.want(200, "POST", f"/v1/channels/{quote(channel, safe='')}/messages", text, TEXT, **query).json


def inside(api, one):
    """The channels that a connection is in."""
    return sorted(api.want(200, "GET", f"/v1/connections/{one}").json["channels"])


def heard(socket, text):
    got = socket.message()
    assert got == text, f"{got[:60]!r} instead of {text[:60]!r}"


@pytest.fixture
def script(app):
    app.on(obey, event="message")
    app.on(admit, event="open")
    return app


@pytest.fixture
def api(script, edge):
    return API(edge)


# Membership


def test_the_answer_to_open_puts_the_client_into_channels_from_the_first_moment(app, edge, api):
    socket, one = member(app, edge, "room:1", "room:2")
    outside, _ = member(app, edge, "room:3")
    assert inside(api, one) == ["room:1", "room:2"]
    for name in ("room:1", "room:2"):
        answer = publish(api, name, f"to {name}")
        assert (answer["channel"], answer["matched"], answer["queued"], answer["dropped"]) == (name, 1, 1, 0)
        heard(socket, f"to {name}")
    outside.barrier()


def test_reply_headers_are_lists_and_may_come_several_times(app, edge, api):
    socket, one = member(app, edge)
    headers = [("Sidesocket-Subscribe", "a, b"), ("Sidesocket-Subscribe", "c ,a"), ("Sidesocket-Subscribe", "d")]
    app.on(Reply(204, headers=headers), event="message", times=1)
    socket.text("join")
    eventually(lambda: inside(api, one) == ["a", "b", "c", "d"], lambda: str(inside(api, one)))
    tell(socket, unsubscribe="a,c, never-in")
    eventually(lambda: inside(api, one) == ["b", "d"], lambda: str(inside(api, one)))
    assert publish(api, "a", "x")["matched"] == 0
    assert publish(api, "b", "heard")["matched"] == 1
    heard(socket, "heard")


def test_commands_join_and_leave_in_their_order_and_joining_twice_is_fine(app, edge, api):
    socket, one = member(app, edge)
    tell(socket, {"subscribe": "a"}, {"subscribe": "a"}, {"subscribe": "b"}, {"unsubscribe": "b"},
         {"unsubscribe": "never-in"}, {"unsubscribe": "c"}, {"subscribe": "c"}, {"send": {"text": "done"}})  # fmt: skip
    heard(socket, "done")
    assert inside(api, one) == ["a", "c"]
    assert publish(api, "a", "once")["matched"] == 1
    heard(socket, "once")
    socket.barrier()


def test_the_api_puts_in_and_takes_out(app, edge, api):
    socket, one = member(app, edge)
    path = f"/v1/channels/room:1/connections/{one}"
    for _ in range(2):
        api.want(204, "PUT", path)
        assert inside(api, one) == ["room:1"]
    publish(api, "room:1", "in")
    heard(socket, "in")
    for _ in range(2):
        api.want(204, "DELETE", path)
        assert publish(api, "room:1", "out")["matched"] == 0
    for method in ("PUT", "DELETE"):
        api.want(404, method, "/v1/channels/room:1/connections/nope")
        api.want(400, method, f"/v1/channels/a%20b/connections/{one}")
    socket.barrier()
    api.want(404, "GET", "/v1/channels/room:1")


def test_a_connection_is_in_no_more_channels_than_allowed(script, sidesocket):
    edge = sidesocket(script, MAX_CHANNELS_PER_CONNECTION=2, WEBHOOK_FAILURE="keep")
    api = API(edge)
    socket, one = member(script, edge, "a", "b")
    api.want(409, "PUT", f"/v1/channels/c/connections/{one}")
    api.want(204, "PUT", f"/v1/channels/a/connections/{one}")
    # Nothing of the reply is applied.
    tell(socket, {"send": {"text": "never"}}, {"unsubscribe": "a"}, {"subscribe": "c"}, {"subscribe": "d"})
    tell(socket, {"send": {"text": "after"}})
    heard(socket, "after")
    assert inside(api, one) == ["a", "b"]
    tell(socket, {"unsubscribe": "a"}, {"subscribe": "c"}, {"send": {"text": "swapped"}})
    heard(socket, "swapped")
    assert inside(api, one) == ["b", "c"]
    assert edge.try_websocket("/ws?join=a,b,c").answer.status == 502
    assert edge.metric("subscriptions") == 2


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
@pytest.mark.parametrize("command", ["subscribe", "unsubscribe", "publish"])
def test_a_bad_name_in_a_command_is_a_final_failure_of_the_whole_reply(shared, name, command):
    app, edge = shared
    app.on(obey, event="message")
    socket, _ = member(app, edge)
    bad = {"publish": {"channel": name, "text": "x"}} if command == "publish" else {command: name}
    tell(socket, {"subscribe": "good"}, {"send": {"text": "never"}}, bad)
    socket.expect_close(1011)


@pytest.mark.parametrize("header", ["Subscribe", "Unsubscribe", "Publish"])
@pytest.mark.parametrize("name", ["a b", 'a"b', "x" * 201, "\xe9"], ids=ascii)
def test_a_bad_name_in_a_header_is_a_final_failure(shared, header, name):
    app, edge = shared
    bad = Reply(200, "never", {**TEXT, f"Sidesocket-{header}": f"good, {name}"})
    app.on(bad, event="message")
    socket, _ = member(app, edge)
    socket.text("go")
    socket.expect_close(1011)
    if header == "Subscribe":
        app.on(bad, event="open")
        assert edge.try_websocket().answer.status == 502


# Publishing

WAYS = ["header", "command", "binary command", "api", "batch"]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_publishing_reaches_all_subscribers_and_nobody_else(app, edge, api, way):
    inner = [member(app, edge, "room:1")[0] for _ in range(3)]
    outside, _ = member(app, edge, "room:2")
    wanted = b"\0\xff" if way == "binary command" else "grüße"
    if way == "header":
        tell(outside, publish="room:1", body=wanted)
    elif way == "command":
        tell(outside, {"publish": {"channel": "room:1", "text": wanted}})
    elif way == "binary command":
        tell(outside, {"publish": {"channel": "room:1", "base64": base64.b64encode(wanted).decode()}})
    elif way == "api":
        assert publish(api, "room:1", wanted.encode())["queued"] == 3
    else:
        (answer,) = api.want(200, "POST", "/v1/messages", json.dumps([{"channel": "room:1", "text": wanted}])).json
        assert answer["queued"] == 3
    for socket in inner:
        heard(socket, wanted)
    outside.barrier()


def test_one_header_publishes_to_several_channels_and_an_empty_body_to_none(app, edge, api):
    first, second, sender = member(app, edge, "a")[0], member(app, edge, "b")[0], member(app, edge)[0]
    tell(sender, publish="a, b", body="")
    tell(sender, publish="a, b", body="both")
    heard(first, "both")
    heard(second, "both")
    sender.barrier()


def test_who_joins_and_speaks_in_one_reply_hears_itself(app, edge, api):
    first, second = member(app, edge)[0], member(app, edge)[0]
    tell(first, subscribe="a", publish="a", body="header")
    heard(first, "header")
    tell(second, {"subscribe": "b"}, {"publish": {"channel": "b", "text": "command"}})
    heard(second, "command")


def test_the_sender_can_be_left_out(app, edge, api):
    sender, one = member(app, edge, "room")
    other, _ = member(app, edge, "room")
    tell(sender, publish="room", exclude="self", body="by header")
    heard(other, "by header")
    tell(sender, {"publish": {"channel": "room", "text": "by command", "exclude": "self"}})
    heard(other, "by command")
    path = "/v1/channels/room/messages"
    answer = api.want(200, "POST", path, "by api", {**TEXT, "Sidesocket-Exclude": one}).json
    assert (answer["matched"], answer["queued"]) == (1, 1)
    heard(other, "by api")
    api.want(200, "POST", path, "for all", {**TEXT, "Sidesocket-Exclude": "nope"})
    # All of a channel see one order: what comes before the last would have come first.
    heard(sender, "for all")
    heard(other, "for all")


def test_answers_and_publications_of_one_reply_reach_the_sender_in_its_order(app, edge, api):
    socket, _ = member(app, edge, "a", "b")
    items, wanted = [], []
    for n in range(60):
        wanted.append(str(n))
        channel = "ab"[n % 2]
        items.append({"send": {"text": str(n)}} if n % 3 else {"publish": {"channel": channel, "text": str(n)}})
    tell(socket, *items)
    assert [socket.message() for _ in wanted] == wanted


def test_the_answer_to_close_is_a_farewell(app, edge, api):
    kept, _ = member(app, edge, "room")
    goes, _ = member(app, edge, "room")
    farewell = {**TEXT, "Sidesocket-Publish": "room", "Sidesocket-Subscribe": "late"}
    app.on(Reply(200, "bye", farewell), event="close", times=1)
    goes.close()
    heard(kept, "bye")
    api.want(404, "GET", "/v1/channels/late")
    assert api.want(200, "GET", "/v1/channels/room").json["connections"] == 1


def test_an_answer_to_close_that_cannot_be_understood_is_logged_and_the_event_counts_as_delivered(app, edge, api):
    goes, _ = member(app, edge, "room")
    app.on(Reply(200, "bye", {**TEXT, "Sidesocket-Publish": "bad name"}), event="close", times=1)
    goes.close()
    line = eventually(lambda: next((line for line in edge.logs if line.get("event") == "close"), None), "a log line")
    assert line["level"] == "warning" and "channel's name" in line["why"], line
    assert len(app.events("close")) == 1
    assert edge.metric("messages_dropped_total", reason="close_undelivered") == 0


def test_all_subscribers_see_one_order_whoever_publishes(script, sidesocket):
    edge = sidesocket(script, THREADS=2)
    api = API(edge)
    listeners = [member(script, edge, "room")[0] for _ in range(8)]
    senders = [member(script, edge)[0] for _ in range(2)]
    offsets = {}

    def post(name):
        for n in range(50):
            text = f"{name} {n}"
            offsets[text] = publish(api, "room", text)["offset"]

    threads = [threading.Thread(target=post, args=(f"api{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for n in range(50):
        for number, sender in enumerate(senders):
            tell(sender, publish="room", body=f"client{number} {n}")
    lists = [[socket.message() for _ in range(200)] for socket in listeners]
    for thread in threads:
        thread.join(20)
    assert all(one == lists[0] for one in lists)
    for name in ("api0", "api1", "client0", "client1"):
        assert [text for text in lists[0] if text.startswith(name)] == [f"{name} {n}" for n in range(50)]
    # An offset is the place in that order.
    assert len(offsets) == 100 and len({lists[0].index(text) - offset for text, offset in offsets.items()}) == 1


@pytest.mark.parametrize("takeover", ["on", "off"])
def test_compressed_and_plain_subscribers_hear_the_same(script, sidesocket, takeover):
    edge = sidesocket(script, COMPRESSION_CONTEXT_TAKEOVER=takeover, THREADS=2)
    api = API(edge)
    plain = [member(script, edge, "room")[0] for _ in range(2)]
    packed = [enter_deflate(edge, target="/ws?join=room") for _ in range(2)]
    assert packed[0].takeover == (takeover == "on")
    for n in range(20):
        text = f"{n}: " + " ".join(f"All work and no play, {i} times." for i in range(100))
        assert publish(api, "room", text)["queued"] == 4
        # One's own messages lie between those of the channel.
        tell(packed[0], {"send": {"text": text[::-1]}})
        for socket in plain + packed:
            heard(socket, text)
        heard(packed[0], text[::-1])
        assert packed[0].last_was_compressed and packed[1].last_was_compressed


# Those who are slow, go, or are gone


@pytest.mark.parametrize("action", ["close", "drop-oldest", "drop-newest"])
def test_a_slow_subscriber_holds_up_nobody_and_is_counted_truthfully(script, sidesocket, action):
    edge = sidesocket(script, THREADS=2, SLOW_CLIENT_ACTION=action)
    api = API(edge)
    fast, _ = member(script, edge, "room")
    slow, _ = member(script, edge, "room", receive_buffer=8 << 10)
    before, total, answers = edge.rss, 250, []
    for n in range(total):
        # More than every buffer on the way in the end.
        text = f"{n:08d} " + "x" * 60_000
        answers.append(publish(api, "room", text))
        heard(fast, text)
        assert answers[-1]["queued"] + answers[-1]["dropped"] == answers[-1]["matched"]
    assert edge.rss - before < 64 << 20
    told, lost = sum(answer["dropped"] for answer in answers), int(edge.metric("slow_client_total"))
    if action == "close":
        body = json.loads(script.wait_events(1, "close")[0].body)
        assert (body["code"], body["initiator"]) == (1008, "server")
        assert answers[0]["matched"] == 2 and answers[-1]["matched"] == 1 and (told, lost) == (1, 1)
        return
    assert {answer["matched"] for answer in answers} == {2} and 0 < lost < total
    got = [int(slow.message().split()[0]) for _ in range(total - lost)]
    assert got == sorted(set(got))
    if action == "drop-oldest":
        assert got[-1] == total - 1
    else:
        assert told == lost == edge.metric("deliveries_total", result="dropped") and got[0] == 0
    tell(slow, {"send": {"text": "not one more was lost"}})
    heard(slow, "not one more was lost")


def test_a_policy_sets_the_action_by_channel(script, sidesocket):
    edge = sidesocket(script, CHANNEL_POLICIES="ticker:*=drop-newest;chat:*=close", MAX_SEND_BUFFER_BYTES="64KiB")
    api = API(edge)
    slow, _ = member(script, edge, "ticker:1", "chat:1", receive_buffer=8 << 10)
    text = "x" * 60_000
    eventually(lambda: publish(api, "ticker:1", text)["dropped"], "a message is dropped", interval=0)
    assert publish(api, "ticker:1", text)["matched"] == 1
    eventually(lambda: publish(api, "chat:1", text)["dropped"], "the connection is given up", interval=0)
    assert json.loads(script.wait_events(1, "close")[0].body)["code"] == 1008


def test_a_session_before_its_acceptance_hears_nothing(app, edge, api):
    held = gate()
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "room"}, gate=held), event="open", times=1)
    made = []
    thread = threading.Thread(target=lambda: made.append(edge.websocket()))
    thread.start()
    app.wait_events(1, "open")
    assert publish(api, "room", "early")["matched"] == 0
    one = app.events("open")[0].header("ce-connectionid")
    api.want(404, "PUT", f"/v1/channels/room/connections/{one}")
    held.set()
    thread.join(10)
    publish(api, "room", "in time")
    heard(made[0], "in time")


def test_a_session_that_closes_hears_nothing_more_and_leaves_its_channels(app, edge, api):
    kept, _ = member(app, edge, "room")
    goes, _ = member(app, edge, "room", "own")
    held = gate()
    app.on(Reply(204, gate=held), event="close")
    tell(goes, publish="room", close="4000 bye", body="last words")
    heard(kept, "last words")
    heard(goes, "last words")
    eventually(lambda: publish(api, "room", "later")["matched"] == 1, "it has left")
    goes.expect_close(4000, skip_messages=True)
    assert kept.message() == "later"
    # Although its close event is still under way.
    app.wait_events(1, "close")
    api.want(404, "GET", "/v1/channels/own")
    assert edge.metric("subscriptions") == edge.metric("channels") == 1


def test_a_drain_closes_subscribers_while_their_farewells_are_published(script, sidesocket):
    edge = sidesocket(script, DRAIN_TIMEOUT="2s", THREADS=2)
    api = API(edge)
    script.on(Reply(200, "bye", {**TEXT, "Sidesocket-Publish": "room"}), event="close")
    with Swarm(edge.port, target="/ws?join=room") as swarm:
        swarm.enter(40)
        assert publish(api, "room", "all there")["queued"] == 40
        edge.terminate()
        eventually(lambda: not swarm.alive, "all are closed")
        assert edge.wait_exit() == 0
        assert {one.code for one in swarm.members} == {1012}
        for one in swarm.members:
            texts = [text for _, text in one.messages]
            assert texts[0] == b"all there" and set(texts[1:]) <= {b"bye"}
    assert len(script.events("close")) == 40


def test_a_mass_disconnect_amid_publications_leaves_nothing_behind(script, sidesocket):
    edge = sidesocket(script, THREADS=2)
    api = API(edge)
    kept, _ = member(script, edge, "room")
    script.on(Reply(200, "bye", {**TEXT, "Sidesocket-Publish": "room", "Sidesocket-Exclude": "self"}), event="close")
    with Swarm(edge.port, target="/ws?join=room,other") as swarm:
        swarm.enter(300)
        edge.wait_metric("subscriptions", 601)
        matched = [publish(api, "room", "before")["matched"]]
    eventually(lambda: matched.append(publish(api, "room", "during")["matched"]) or matched[-1] == 1, "all are gone")
    assert matched[0] == 301 and matched == sorted(matched, reverse=True)
    edge.wait_metric("subscriptions", 1)
    edge.wait_metric("channels", 1)
    edge.wait_metric("send_buffer_bytes", 0)
    script.wait_events(300, "close")
    got = [kept.message() for _ in range(300 + len(matched))]
    assert got.count("bye") == 300 and got.count("during") == len(matched) - 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAX_CHANNELS_PER_CONNECTION", "0"), ("MAX_CHANNELS_PER_CONNECTION", "x"), ("CHANNEL_POLICIES", "a"),
     ("CHANNEL_POLICIES", "a=what"), ("CHANNEL_POLICIES", "a b=close"), ("CHANNEL_POLICIES", "a=close,history=x"),
     ("PUBLISH_RATE", "x"), ("HISTORY_SIZE", "-1"), ("HISTORY_TTL", "x"), ("MAX_HISTORY_BYTES", "-1")],
)  # fmt: skip
def test_a_wrong_setting_is_an_error_at_the_start(name, value):
    done = run("check", APP_URL="http://127.0.0.1:1", **{name: value})
    assert done.returncode == 78 and f"SIDESOCKET_{name}" in done.stdout + done.stderr
