"""Sessions move: to the node that their client comes back to, and away from a node that stops."""

import json
import threading
import time

import pytest
from support.app import Reply, gate
from support.cluster import target
from support.net import eventually
from support.protocol import JSON, MSGPACK, ProtocolClient, lose
from support.publishing import TEXT

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def two(make_cluster, redis):
    return make_cluster(2, redis, CLUSTER_LEASE="3s", relayed=True)


def comes(cluster, number, protocol=JSON, **query):
    return ProtocolClient(cluster.nodes[number], target("/ws", **query), protocol=protocol)


def send(cluster, number, client, text):
    path = f"/v1/connections/{client.welcome['session']}/messages"
    return cluster.api(number).want(200, "POST", path, text, TEXT).json


def events(app):
    return [event.event for event in app.events()]


def states(cluster, number=0):
    """Where the connections are, and what state they are in, as a node lists them."""
    listed = cluster.api(number).want(200, "GET", "/v1/connections").json
    assert "missing" not in listed
    return sorted((one["node"], one["state"]) for one in listed["connections"])


# The client comes back to another node


@pytest.mark.parametrize("encoding", [JSON, MSGPACK], ids=["json", "msgpack"])
def test_a_client_gets_its_session_on_another_node(two, encoding):
    one = comes(two, 0, encoding, user="42", join=["room", "other"], state="opaque")
    assert len(one.welcome["resume"]) == 43 + 16
    one.post({"n": 1}, id="1")
    one.frame_of("reply", seq=1)
    two.publish(1, "room", "seen")
    one.frame_of("message", channel="room")
    lose(one)
    send(two, 1, one, "direct")
    two.publish(0, "room", "first")
    two.publish(1, "room", "second")
    back = one.resumes(edge=two.nodes[1])
    assert back.welcome["seq"] == 1 and back.welcome["user"] == "42"
    assert back.welcome["channels"]["room"]["recovered"] and back.welcome["channels"]["other"]["recovered"]
    assert [frame["payload"] for frame in back.missed] == ["direct", "first", "second"]
    assert states(two) == [("web-2", "attached")]
    # What was answered is known, and is not handled again.
    back.post({"n": 1}, id="1")
    back.frame_of("reply", re="1", seq=1, payload={"n": 1})
    back.post({"n": 2}, id="2")
    back.frame_of("reply", re="2", seq=3)
    two.publish(0, "room", "live")
    back.frame_of("message", channel="room", payload="live")
    send(two, 0, back, "over there")
    back.frame_of("message", seq=4, payload="over there")
    assert events(two.app) == ["open", "message", "message"]
    assert [event.sequence for event in two.app.events()] == [1, 2, 3]
    last = two.app.events("message")[-1]
    assert last.header("ce-userid") == "42" and last.header("ce-connectionstate") == "opaque"
    assert two.nodes[0].metric("handovers_total", result="resumed") == 1
    assert two.nodes[1].metric("resumes_total", result="resumed") == 1
    assert two.nodes[0].metric("connections") == 0 and two.nodes[0].metric("sessions_detached") == 0
    back.close()
    (closed,) = two.app.wait_events(1, "close")
    assert closed.sequence == 4 and json.loads(closed.body)["messagesIn"] == 2


def test_back_and_forth(two):
    one = comes(two, 0, join="room")
    for number in range(8):
        lose(one)
        send(two, number % 2, one, f"direct {number}")
        two.publish(number % 2, "room", f"{number}")
        one = one.resumes(edge=two.nodes[(number + 1) % 2])
        assert [frame["payload"] for frame in one.missed] == [f"direct {number}", f"{number}"]
    assert events(two.app) == ["open"]


def test_a_node_that_was_not_there_before_finds_it_too(two):
    one = comes(two, 0)
    lose(one)
    back = one.resumes(edge=two.nodes[1])
    lose(back)
    # The first token names the first node, which has given the session away.
    third = two.add()
    two.wait_up()
    again = back.resumes(edge=third)
    again.post(id="1")
    again.frame_of("reply", re="1")
    assert events(two.app) == ["open", "message"]


def test_the_old_token_works_as_long_as_the_client_has_said_nothing(two):
    one = comes(two, 0)
    lose(one)
    back = one.returns(edge=two.nodes[1])
    back.welcome = back.frame_of("$welcome", resumed=True)
    back.until_live()
    back.reset()
    eventually(lambda: two.nodes[1].metric("sessions_detached") == 1, "the session is detached")
    # `$welcome` was lost, as far as the client is concerned.
    for number in (0, 1):
        again = one.resumes(edge=two.nodes[number])
        if number == 0:
            again.reset()
            eventually(lambda: two.nodes[0].metric("sessions_detached") == 1, "the session is detached")
    again.quiet()
    refused = back.returns(edge=two.nodes[0])
    refused.frame_of("$welcome", resumed=False)


def test_a_resume_wins_over_a_connection_that_looks_alive_on_another_node(two):
    one = comes(two, 0, join="room")
    back = one.resumes(edge=two.nodes[1])
    one.expect_goodbye(4409, reconnect=False)
    two.publish(0, "room", "x")
    back.frame_of("message", channel="room")
    assert events(two.app) == ["open"]


def test_an_event_under_way_is_answered_first(two):
    held = gate()
    two.app.on(Reply(200, "done", gate=held), event="message")
    one = comes(two, 0)
    one.post(id="1")
    two.app.wait_head("/ws")
    lose(one)
    back = one.returns(edge=two.nodes[1])
    held.set()
    back.welcome = back.frame_of("$welcome", resumed=True, session=one.welcome["session"])
    (reply,) = back.until_live()
    assert (reply["type"], reply["re"], reply["seq"]) == ("reply", "1", 1)
    back.post(id="1")
    back.frame_of("reply", re="1", seq=1)
    assert events(two.app) == ["open", "message"]


def test_an_app_that_does_not_answer_in_time_keeps_the_session_where_it_is(make_cluster, redis):
    two = make_cluster(2, redis, HANDSHAKE_TIMEOUT="2s", WEBHOOK_TIMEOUT="30s")
    held = gate()
    two.app.on(Reply(200, "done", gate=held), event="message")
    one = comes(two, 0)
    one.post(id="1")
    two.app.wait_head("/ws")
    lose(one)
    back = one.returns(edge=two.nodes[1])
    bye = back.frame_of("$bye", code=4408, reconnect=True)
    assert bye["after"] > 0
    assert two.nodes[1].metric("resumes_total", result="busy") == 1
    held.set()
    again = one.resumes(edge=two.nodes[1])
    assert [frame["re"] for frame in again.missed] == ["1"]
    assert events(two.app) == ["open", "message"]


@pytest.mark.parametrize("what", ["path", "origin", "token"])
def test_a_token_is_bound_on_other_nodes_too(make_cluster, redis, what):
    two = make_cluster(2, redis, ALLOWED_ORIGINS="https://a.example,https://b.example")
    one = ProtocolClient(two.nodes[0], "/ws/one", origin="https://a.example")
    lose(one)
    how = {"origin": "https://a.example", **({"target": "/ws/two"} if what == "path" else {})}
    if what == "origin":
        how["origin"] = "https://b.example"
    if what == "token":
        token = one.welcome["resume"]
        how["token"] = ("B" if token[0] == "A" else "A") + token[1:]
    new = one.returns(edge=two.nodes[1], **how)
    new.frame_of("$welcome", resumed=False)
    back = one.resumes(edge=two.nodes[1], origin="https://a.example")
    assert back.welcome["session"] == one.welcome["session"]


def test_a_client_that_lacks_what_is_no_longer_kept_gets_a_new_session(two):
    one = comes(two, 0)
    for number in range(3):
        send(two, 0, one, str(number))
        one.frame_of("message", seq=number + 1)
    one.give(type="$ack", seq=3)
    one.quiet()
    lose(one)
    one.seq = 1
    back = one.returns(edge=two.nodes[1])
    back.frame_of("$bye", code=4408, reconnect=True, after=0)
    two.app.wait_events(1, "close")
    assert two.nodes[0].metric("resumes_total", result="behind") == 1


def test_rates_go_along(make_cluster, redis):
    two = make_cluster(2, redis, MESSAGE_RATE="3/1m", RATE_LIMIT_ACTION="close")
    one = comes(two, 0)
    for number in range(3):
        one.post(id=str(number))
        one.frame_of("reply")
    lose(one)
    back = one.returns(edge=two.nodes[1])
    back.frame_of("$welcome", resumed=True)
    back.frame_of("$live")
    back.post(id="3")
    back.frame_of("$bye", code=4429)


def test_a_users_limit_counts_a_session_once(make_cluster, redis):
    two = make_cluster(2, redis, MAX_CONNECTIONS_PER_USER=2)
    one = comes(two, 0, user="bob")
    for number in (1, 0, 1):
        lose(one)
        one = one.resumes(edge=two.nodes[number])
    eventually(lambda: two.nodes[0].metric("handovers_total", result="resumed") == 2, "it has left")
    other = comes(two, 0, user="bob")
    assert is_refused(two)
    other.close()
    one.close()
    two.app.wait_events(2, "close")
    eventually(lambda: not is_refused(two), "there is room")


@pytest.mark.parametrize("number", [0, 1], ids=["here", "there"])
def test_a_users_absent_session_makes_room_on_any_node(make_cluster, redis, number):
    two = make_cluster(2, redis, MAX_CONNECTIONS_PER_USER=2)
    gone, stays = comes(two, 0, user="bob"), comes(two, 1, user="bob")
    lose(gone)
    new = comes(two, number, user="bob")
    (closed,) = two.app.wait_events(1, "close")
    assert closed.header("ce-connectionid") == gone.welcome["session"]
    # Of those that are there, none yields.
    assert is_refused(two)
    stays.quiet()
    new.quiet()


def is_refused(cluster):
    status = ProtocolClient(cluster.nodes[0], target("/ws", user="bob"), greet=False).answer.status
    assert status in (101, 429), status
    return status == 429


# Faults


def test_without_the_engine_there_is_a_new_session_and_the_old_one_ends_in_time(make_cluster, redis):
    two = make_cluster(2, redis, RESUME_WINDOW="4s")
    one = comes(two, 0)
    lose(one)
    redis.kill()
    eventually(lambda: two.nodes[1].metric("cluster_up") == 0, "the node knows it", 20)
    back = one.returns(edge=two.nodes[1])
    back.frame_of("$welcome", resumed=False)
    (closed,) = two.app.wait_events(1, "close", 20)
    assert closed.header("ce-connectionid") == one.welcome["session"]
    redis.start()


def test_an_old_session_ends_as_soon_as_its_node_is_heard_of_again(make_cluster, redis):
    two = make_cluster(2, redis, CLUSTER_LEASE="20s", CLUSTER_TIMEOUT="300ms", relayed=True)
    one, stays = comes(two, 0, user="42"), comes(two, 0)
    lose(one)
    two.relays[0].hold()
    back = one.returns(edge=two.nodes[1])
    back.welcome = back.frame_of("$welcome", resumed=False)
    assert two.nodes[0].metric("sessions_detached") == 1
    two.relays[0].flow()
    eventually(lambda: two.nodes[0].metric("sessions_detached") == 0, "the old one has ended")
    two.app.wait_events(1, "close")
    stays.quiet()
    back.give(type="$ping")
    assert events(two.app) == ["open", "open", "open", "close"]


@pytest.mark.parametrize("lost", ["the answer", "the confirmation"])
def test_a_session_is_with_one_node_whatever_is_lost(two, lost):
    one = comes(two, 0, join="room")
    lose(one)
    send(two, 0, one, "direct")
    back = ProtocolClient(
        two.nodes[1], "/ws?join=room", protocol=f"{JSON}, sidesocket.resume.{one.welcome['resume']}", greet=False
    )
    back.encoding = JSON
    if lost == "the answer":
        # What the second node hears from the engine is lost from now on.
        two.relays[1].swallow_replies()
    else:
        two.relays[0].swallow_replies()
    back.give(type="$resume", seq=0, channels={}, session=one.welcome["session"])
    if lost == "the answer":
        back.frame_of("$bye", code=4408)
        two.relays[1].mend()
        eventually(lambda: two.nodes[0].metric("sessions_detached") == 1, "it is back", 20)
    else:
        two.relays[0].mend()
    two.wait_up()

    def resumes():
        again = one.returns(edge=two.nodes[1])
        if again.answer.status != 101:
            return False
        got = again.frame_()
        return got["type"] == "$welcome" and got["resumed"]

    eventually(resumes, "the session is somewhere", 30, 0.5)
    eventually(lambda: len(states(two)) == 1, lambda: f"it is there once: {states(two)}", 20, 0.2)
    assert "close" not in events(two.app)


def test_a_client_that_returns_while_its_session_is_on_its_way(two):
    one = comes(two, 0, join="room")
    lose(one)
    send(two, 0, one, "direct")
    away = ProtocolClient(
        two.nodes[1], "/ws?join=room", protocol=f"{JSON}, sidesocket.resume.{one.welcome['resume']}", greet=False
    )
    away.encoding = JSON
    # The second node does not hear that it gets the session, and its client has left it.
    two.relays[1].swallow_replies()
    away.give(type="$resume", seq=0, channels={}, session=one.welcome["session"])
    eventually(lambda: two.nodes[0].metric("sessions_detached") == 0, "the session has left")
    away.reset()
    threading.Timer(1.5, two.relays[1].mend).start()
    back = one.resumes(edge=two.nodes[0])
    assert [frame["payload"] for frame in back.missed] == ["direct"]
    assert events(two.app) == ["open"]


def test_a_stopping_node_ends_its_sessions_itself_while_the_engine_is_away(two, redis):
    one, absent = comes(two, 0), comes(two, 0)
    lose(absent)
    redis.kill()
    eventually(lambda: two.nodes[0].metric("cluster_up") == 0, "the node knows it", 20)
    began = time.monotonic()
    stops(two, 0)
    one.frame_of("$bye", code=1012, reconnect=True)
    two.app.wait_events(2, "close")
    two.nodes[0].process.wait(30)
    assert time.monotonic() - began < 10
    redis.start()


def test_a_node_that_dies_right_after_it_took_a_session(two):
    one = comes(two, 0, join="room")
    lose(one)
    back = one.resumes(edge=two.nodes[1])
    two.kill(1)
    (closed,) = two.app.wait_events(1, "close", 30)
    assert closed.header("ce-id") == f"{one.welcome['session']}-lost"
    back.exit = True
    # What it had of the channel, the client gets all the same.
    two.publish(0, "room", "later")
    new = back.returns(edge=two.nodes[0])
    new.welcome = new.frame_of("$welcome", resumed=False)
    assert new.welcome["channels"]["room"]["recovered"]
    assert [frame["payload"] for frame in new.until_live()] == ["later"]


# A node stops


def stops(cluster, number):
    """Asks a node to stop."""
    node = cluster.nodes[number]
    node.exit_expected = True
    node.process.terminate()
    return node


def drains(cluster, number):
    """The same, and waits until it has begun."""
    node = stops(cluster, number)
    eventually(lambda: any(line["message"] == "draining" for line in node.logs), "it drains")


def test_a_node_that_stops_gives_its_sessions_away(two):
    clients = [comes(two, 0, MSGPACK if n % 2 else JSON, user=f"u{n}", join="room") for n in range(20)]
    absent = comes(two, 0, user="absent", join="room")
    lose(absent)
    raw, _ = two.member(0, join="room")
    send(two, 0, absent, "kept")
    clients[0].post({"n": 1}, id="1")
    clients[0].frame_of("reply")
    stops(two, 0)
    for client in clients:
        bye = client.frame_of("$bye", code=1012, reconnect=True)
        assert 0 <= bye["after"] <= 5000
        assert client.expect_close().code == 1012
    assert raw.expect_close().code == 1012
    two.publish(1, "room", "meanwhile")
    kept = []
    for client in clients:
        back = client.resumes(edge=two.nodes[1])
        kept.append(back)
        assert [frame["payload"] for frame in back.missed] == ["meanwhile"]
        back.post({"n": 2}, id="2")
        back.frame_of("reply", re="2")
    back = absent.resumes(edge=two.nodes[1])
    assert [frame["payload"] for frame in back.missed] == ["kept", "meanwhile"]
    two.nodes[0].process.wait(30)
    # The raw client's is the only end that the app hears of.
    assert events(two.app).count("open") == 22 and events(two.app).count("close") == 1
    assert [state for _, state in states(two, 1)] == ["attached"] * 21


def test_messages_under_way_are_answered_before_a_session_goes(two):
    held = gate()
    two.app.on(Reply(200, "done", gate=held), event="message")
    one = comes(two, 0)
    for number in range(3):
        one.post(number, id=str(number))
    two.app.wait_head("/ws")
    drains(two, 0)
    held.set()
    assert [one.frame_of("reply")["re"] for _ in range(3)] == ["0", "1", "2"]
    one.frame_of("$bye", code=1012)
    back = one.resumes(edge=two.nodes[1])
    assert back.missed == []
    assert events(two.app) == ["open"] + ["message"] * 3


def test_a_client_that_goes_during_the_drain_finds_its_session_elsewhere(make_cluster, redis):
    two = make_cluster(2, redis, DRAIN_TIMEOUT="10s")
    held = gate()
    two.app.on(Reply(200, "done", gate=held), event="message")
    one = comes(two, 0)
    one.post(id="1")
    two.app.wait_head("/ws")
    drains(two, 0)
    lose(one)
    held.set()
    back = one.resumes(edge=two.nodes[1])
    assert [frame["re"] for frame in back.missed] == ["1"]
    assert events(two.app) == ["open", "message"]


def resumed(client, node):
    back = client.returns(edge=node)
    if back.answer.status != 101:
        return None
    got = back.frame_()
    if got["type"] != "$welcome" or not got["resumed"]:
        return None
    back.welcome, back.missed = got, back.until_live()
    return back


def test_the_app_is_told_of_absences_on_any_node(make_cluster, redis):
    two = make_cluster(2, redis, SESSION_EVENTS="on")
    one = comes(two, 0)
    lose(one)
    two.app.wait_events(1, "detached")
    back = one.resumes(edge=two.nodes[1])
    two.app.wait_events(1, "resumed")
    stops(two, 1)
    back.frame_of("$bye", code=1012)
    two.app.wait_events(2, "detached")
    again = back.resumes(edge=two.nodes[0])
    two.app.wait_events(2, "resumed")
    again.resumes(edge=two.nodes[0]).close()
    two.app.wait_events(1, "close")
    assert events(two.app) == ["open", "detached", "resumed", "detached", "resumed", "close"]
    assert [event.sequence for event in two.app.events()] == [1, 2, 3, 4, 5, 6]


def test_a_rolling_update_is_invisible(make_cluster, redis):
    """Clients that ask and listen while each node is replaced in turn: nothing is lost, and the app sees no end."""
    two = make_cluster(2, redis, HISTORY_SIZE=1000)
    wrong, stop = [], threading.Event()
    asked, begun = [0], threading.Barrier(9, timeout=20)

    def live(number):
        client = comes(two, number % 2, join="room")
        begun.wait()
        sent, heard = 0, []
        try:
            while not stop.is_set() or heard[-1:] != ["end"]:
                client.post({"c": number, "n": sent}, id=f"{number}-{sent}")
                while True:
                    frame = client.frame_()
                    if frame["type"] == "message" and "channel" in frame:
                        heard.append(frame["payload"])
                    elif frame["type"] == "reply" and frame["re"] == f"{number}-{sent}":
                        sent += 1
                        asked[0] += 1
                        break
                    elif frame["type"] == "$bye":
                        assert frame["code"] == 1012 and frame["reconnect"], frame
                        client = eventually(lambda: back(client), "the session goes on", 20, 0.1)
                        heard += [f["payload"] for f in client.missed if "channel" in f]
                        again = [f for f in client.missed if f.get("re") == f"{number}-{sent}"]
                        if again:
                            sent += 1
                            break
                        client.post({"c": number, "n": sent}, id=f"{number}-{sent}")
                time.sleep(0.01)
            return client, heard
        except BaseException as fault:
            wrong.append(f"client {number}: {fault!r}")

    def back(client):
        for node in [one for _, one in two.live]:
            try:
                found = resumed(client, node)
            except (OSError, AssertionError, EOFError):
                continue
            if found:
                return found
        return None

    results = {}
    threads = [threading.Thread(target=lambda n=n: results.update({n: live(n)}), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    begun.wait()
    published = 0
    for number in (0, 1):
        for _ in range(20):
            two.publish(1 - number, "room", str(published))
            published += 1
            time.sleep(0.02)
        node = stops(two, number)
        while node.process.poll() is None:
            two.publish(1 - number, "room", str(published))
            published += 1
            time.sleep(0.02)
        two.replace(number)
        two.wait_up()
    stop.set()
    two.publish(0, "room", "end")
    for thread in threads:
        thread.join(40)
    assert not wrong, wrong[:3]
    for number in range(8):
        assert results[number][1] == [str(n) for n in range(published)] + ["end"], number
    assert asked[0] > 100
    # Each message has reached the app once, under one id.
    seen = [(event.header("ce-connectionid"), event.header("ce-messageid")) for event in two.app.events("message")]
    assert len(seen) == len(set(seen))
    assert set(events(two.app)) == {"open", "message"} and events(two.app).count("open") == 8
