"""Sessions outlive their connection: the app notices nothing, and the client gets what it has missed."""

import json
import threading

import pytest
from support.api import API
from support.app import Reply, gate
from support.net import eventually
from support.protocol import JSON, MSGPACK, ProtocolClient, lose
from support.publishing import TEXT

HISTORY = {"HISTORY_SIZE": "100"}


@pytest.fixture
def edge(script, sidesocket):
    return sidesocket(script, **HISTORY)


def publish(api, channel, text, headers=TEXT):
    return api.want(200, "POST", f"/v1/channels/{channel}/messages", text, headers).json


def send(api, client, text):
    return api.want(200, "POST", f"/v1/connections/{client.welcome['session']}/messages", text, TEXT).json


def events(app):
    return [event.event for event in app.events()]


# The same session


def test_a_client_gets_its_session_again(script, client, api):
    one = client("/ws?user=42&join=room")
    assert one.welcome["ttl"] == 120_000 and len(one.welcome["resume"]) == 43
    one.post("x", id="1")
    one.frame_of("reply", seq=1)
    publish(api, "room", "seen")
    one.frame_of("message", channel="room")
    lose(one)
    send(api, one, "direct")
    publish(api, "room", "first")
    publish(api, "room", "second")
    two = one.resumes()
    assert two.welcome["resume"] != one.welcome["resume"]
    assert two.welcome["seq"] == 1 and two.welcome["user"] == "42"
    begins = two.welcome["channels"]["room"]
    assert begins["recovered"] and begins["offset"] == one.positions["room"]["offset"]
    assert [frame["payload"] for frame in two.missed] == ["direct", "first", "second"]
    two.post("y", id="2")
    two.frame_of("reply", re="2", seq=3)
    publish(api, "room", "live")
    two.frame_of("message", channel="room", payload="live")
    assert events(script) == ["open", "message", "message"]
    assert [event.sequence for event in script.events()] == [1, 2, 3]
    two.close()
    script.wait_events(1, "close")


def test_a_client_that_has_seen_nothing_can_resume(script, client, api):
    one = client("/ws?join=room")
    lose(one)
    publish(api, "room", "first")
    assert [frame["payload"] for frame in one.resumes().missed] == ["first"]


def test_again_and_again(script, client, api):
    one = client("/ws?join=room")
    for number in range(10):
        lose(one)
        publish(api, "room", f"{number}")
        send(api, one, f"direct {number}")
        one = one.resumes()
        assert [frame["payload"] for frame in one.missed] == [f"direct {number}", f"{number}"]
    assert events(script) == ["open"]


def test_the_numbers_go_on(script, client, api):
    one = client()
    for number in range(3):
        send(api, one, str(number))
        one.frame_of("message", seq=number + 1)
    lose(one)
    # It has read two of them only.
    one.seq = 2
    two = one.resumes()
    assert [frame["seq"] for frame in two.missed] == [3]
    two.give(type="$ack", seq=3)
    two.quiet()
    lose(two)
    assert two.resumes().missed == []


def test_an_answer_finds_a_session_that_has_been_resumed_many_times(script, client):
    held = gate()
    script.on(Reply(200, "done", gate=held), event="message")
    one = client()
    one.post(id="1")
    script.wait_head("/ws")
    # Each connection is on one of the event loops.
    for _ in range(12):
        lose(one)
        one = one.resumes()
    held.set()
    one.frame_of("reply", re="1", seq=1, payload="done")
    one.post(id="2")
    one.frame_of("reply", re="2", seq=2)


def test_an_answer_that_the_client_has_not_got_comes_with_the_resume(script, client):
    held = gate()
    script.on(Reply(200, "done", gate=held), event="message")
    one = client()
    one.post(id="1")
    script.wait_head("/ws")
    lose(one)
    two = one.resumes()
    assert two.missed == []
    two.post(id="1")
    two.frame_of("$error", re="1", code="in_progress")
    held.set()
    two.frame_of("reply", re="1", seq=1, payload="done")
    lose(two)
    three = two.resumes()
    three.post(id="1")
    three.frame_of("reply", re="1", seq=1, payload="done")
    assert events(script) == ["open", "message"]


def test_what_was_sent_before_the_cut_still_reaches_the_app(script, client):
    held = gate()
    script.on(Reply(204), event="message")
    script.on(Reply(204, gate=held), event="message", times=1)
    one = client()
    for number in range(5):
        one.post(number, id=str(number))
    one.barrier()
    lose(one)
    held.set()
    script.wait_events(5, "message")
    two = one.resumes()
    for number in range(5):
        two.post(number, id=str(number))
        two.frame_of("$ack", re=str(number), dup=True)
    assert len(script.events("message")) == 5


# Losing a welcome, and taking over


def test_the_old_token_is_valid_until_the_client_says_something(script, client):
    one = client()
    lose(one)
    two = one.resumes()
    # The welcome of `two` might have been lost: the client would come with the old token again.
    three = one.resumes()
    assert two.expect_close(4409, skip_messages=True)
    three.quiet()
    four = one.returns()
    four.frame_of("$welcome", resumed=False)
    five = three.resumes()
    five.quiet()
    six = two.returns()
    six.frame_of("$welcome", resumed=False)


def test_a_resume_wins_over_a_connection_that_looks_alive(script, client, api):
    one = client()
    two = one.resumes()
    assert one.frame_of("$bye", code=4409, reconnect=False)
    assert one.expect_close().code == 4409
    send(api, two, "x")
    two.frame_of("message", payload="x")
    assert events(script) == ["open"]


def test_what_a_client_sends_before_it_is_welcome_is_refused(script, client):
    one = client()
    lose(one)
    two = one.returns(resume={})
    two.welcome = two.frame_of("$welcome")
    assert two.until_live() == []
    lose(two)
    three = ProtocolClient(
        one.edge, one.target, protocol=f"{one.encoding}, sidesocket.resume.{two.welcome['resume']}", greet=False
    )
    three.encoding = three.chosen
    three.post(id="1")
    three.give(type="$resume", seq=0)
    three.frame_of("$error", re="1", code="bad_frame")
    three.frame_of("$welcome", resumed=True)
    three.frame_of("$live")
    assert script.events("message") == []


# A new session instead


@pytest.mark.parametrize("token", ["x" * 43, "nonsense", "-", "A" * 44])
def test_an_unknown_token_begins_a_new_session_with_the_old_positions(script, client, api, token):
    # A channel in memory that nobody is in is forgotten.
    stays, one = client("/ws?join=room"), client("/ws?join=room")
    lose(one)
    api.want(204, "DELETE", f"/v1/connections/{one.welcome['session']}")
    script.wait_events(1, "close")
    publish(api, "room", "missed")
    two = one.returns(token=token)
    welcome = two.frame_of("$welcome", resumed=False)
    assert welcome["session"] != one.welcome["session"]
    assert welcome["channels"]["room"]["recovered"] is True
    assert [frame["payload"] for frame in two.until_live()] == ["missed"]
    assert events(script) == ["open", "open", "close", "open"]
    stays.frame_of("message", payload="missed")


def test_positions_that_history_does_not_cover_are_not_recovered(script, sidesocket, encoding):
    edge = sidesocket(script, HISTORY_SIZE="3")
    api = API(edge)
    one = ProtocolClient(edge, "/ws?join=room", protocol=encoding)
    lose(one)
    for number in range(5):
        last = publish(api, "room", str(number))
    two = one.resumes()
    begins = two.welcome["channels"]["room"]
    assert begins["recovered"] is False and begins["offset"] == last["offset"]
    assert two.missed == []
    publish(api, "room", "live")
    two.frame_of("message", payload="live")


@pytest.mark.parametrize(
    "position",
    [
        {"offset": 0, "epoch": "zzz", "id": "0" * 16},
        {"offset": 1 << 52, "epoch": None, "id": "0" * 16},
    ],
)
def test_positions_of_other_epochs_and_of_the_future_are_not_recovered(script, client, api, position):
    one = client("/ws?join=room")
    publish(api, "room", "x")
    lose(one)
    position = {**position, "epoch": position["epoch"] or one.positions["room"]["epoch"]}
    two = one.resumes(resume={"channels": {"room": position, "other": position}})
    assert two.welcome["channels"]["room"]["recovered"] is False
    assert set(two.welcome["channels"]) == {"room"} and two.missed == []


def test_nothing_from_before_a_rejoin_leaks(script, client, api):
    one = client("/ws?join=room")
    old = one.positions
    member = f"/v1/channels/room/connections/{one.welcome['session']}"
    api.want(204, "DELETE", member)
    publish(api, "room", "secret")
    api.want(204, "PUT", member)
    publish(api, "room", "after")
    lose(one)
    two = one.resumes(resume={"channels": old})
    assert two.welcome["channels"]["room"]["recovered"] is False and two.missed == []
    lose(two)
    # Without a position the channel begins where the session joined.
    three = two.resumes(resume={"channels": {}})
    assert three.welcome["channels"]["room"]["recovered"] is True
    assert [frame["payload"] for frame in three.missed] == ["after"]


def test_an_excluded_sender_does_not_get_its_own_message_from_the_history(script, edge, api):
    one, other = (ProtocolClient(edge, "/ws?join=room") for _ in range(2))
    headers = {"Sidesocket-Publish": "room", "Sidesocket-Exclude": "self"}
    one.post({"answer": {"body": "mine", "headers": headers}}, id="1")
    one.frame_of("$ack", re="1")
    other.frame_of("message", payload="mine")
    publish(api, "room", "of others")
    one.frame_of("message", payload="of others")
    one.positions["room"]["offset"] -= 2
    one.positions["room"]["id"] = "0" * 16
    lose(one)
    two = one.resumes()
    assert [frame["payload"] for frame in two.missed] == ["of others"]
    two.close()
    # Not even in a new session.
    three = two.returns(resume={"channels": one.positions})
    three.frame_of("$welcome", resumed=False)
    assert [frame["payload"] for frame in three.until_live()] == ["of others"]


def test_what_a_client_was_spared_may_be_gone_from_the_history(script, sidesocket):
    edge = sidesocket(script, HISTORY_SIZE="2")
    api = API(edge)
    one = ProtocolClient(edge, "/ws?join=room")
    publish(api, "room", "seen")
    one.frame_of("message", payload="seen")
    headers = {"Sidesocket-Publish": "room", "Sidesocket-Exclude": "self"}
    for number in range(5):
        one.post({"answer": {"body": "mine", "headers": headers}}, id=str(number))
        one.frame_of("$ack", re=str(number))
    lose(one)
    publish(api, "room", "missed")
    two = one.resumes()
    assert two.welcome["channels"]["room"]["recovered"] is True
    assert [frame["payload"] for frame in two.missed] == ["missed"]


# What ends a session


@pytest.mark.parametrize("code, ends", [(1000, True), (1001, True), (4000, True), (4001, False)])
def test_a_client_that_says_goodbye(script, client, code, ends):
    one = client()
    one.close(code)
    if ends:
        assert json.loads(script.wait_events(1, "close")[0].body)["code"] == code
        assert one.edge.metric("sessions_detached") == 0
        one.returns().frame_of("$welcome", resumed=False)
    else:
        one.resumes()
        assert events(script) == ["open"]


def test_the_window_ends(script, sidesocket, encoding):
    edge = sidesocket(script, RESUME_WINDOW="1s")
    one = ProtocolClient(edge, "/ws?join=room", protocol=encoding)
    assert one.welcome["ttl"] == 1000
    lose(one)
    assert json.loads(script.wait_events(1, "close")[0].body)["code"] == 1006
    assert edge.metric("sessions_detached") == 0 and edge.metric("subscriptions") == 0
    one.returns().frame_of("$welcome", resumed=False)
    assert edge.metric("resumes_total", result="unknown") == 1


def test_with_the_window_off_a_session_ends_with_its_connection(script, sidesocket):
    edge = sidesocket(script, RESUME_WINDOW="off")
    one = ProtocolClient(edge)
    assert "resume" not in one.welcome and "ttl" not in one.welcome
    one.reset()
    script.wait_events(1, "close")


@pytest.mark.parametrize("how", ["kick", "ban", "app"])
def test_a_session_without_a_client_ends_by_others(script, edge, api, how):
    one = ProtocolClient(edge, "/ws?user=42")
    if how == "app":
        script.on(Reply(204, headers={"Sidesocket-Close": "4000"}), event="message")
        held = gate()
        script.on(Reply(204, headers={"Sidesocket-Close": "4000"}, gate=held), event="message")
        one.post("x")
        one.barrier()
    lose(one)
    if how == "kick":
        api.want(204, "DELETE", f"/v1/connections/{one.welcome['session']}")
    elif how == "ban":
        api.ban("user", "42")
    else:
        held.set()
    script.wait_events(1, "close")
    assert edge.metric("sessions_detached") == 0
    if how != "ban":
        one.returns().frame_of("$welcome", resumed=False)


def test_a_protocol_violation_ends_the_session(script, client):
    one = client()
    one.frame(1, b"\xff")
    one.expect_close(1007)
    script.wait_events(1, "close")
    one.returns().frame_of("$welcome", resumed=False)


def test_the_oldest_session_ends_when_there_are_too_many(script, sidesocket):
    edge = sidesocket(script, MAX_DETACHED="2", THREADS="1")
    clients = [ProtocolClient(edge) for _ in range(4)]
    for client in clients[:2]:
        lose(client)
    for client in clients[2:]:
        client.reset()
    closed = [event.header("ce-connectionid") for event in script.wait_events(2, "close")]
    assert closed == [client.welcome["session"] for client in clients[:2]]
    assert edge.metric("limited_total", limit="max_detached", action="closed") == 2
    for client in clients[2:]:
        client.resumes()


def test_a_users_absent_session_makes_room_for_a_new_one(script, sidesocket):
    edge = sidesocket(script, MAX_CONNECTIONS_PER_USER="2")
    one, two = (ProtocolClient(edge, "/ws?user=42") for _ in range(2))
    assert ProtocolClient(edge, "/ws?user=42", greet=False).answer.status == 429
    lose(one)
    three = ProtocolClient(edge, "/ws?user=42")
    # The app had been asked about the one that was refused, and is told of its end.
    assert script.wait_events(2, "close")[1].header("ce-connectionid") == one.welcome["session"]
    lose(two)
    # A session that comes back needs no second place.
    two = two.resumes()
    assert ProtocolClient(edge, "/ws?user=42", greet=False).answer.status == 429
    two.quiet()
    three.quiet()


def test_in_a_dry_run_no_absent_session_makes_room(script, sidesocket):
    edge = sidesocket(script, MAX_CONNECTIONS_PER_USER="1", DRY_RUN="max_connections_per_user")
    one = ProtocolClient(edge, "/ws?user=42")
    lose(one)
    two = ProtocolClient(edge, "/ws?user=42")
    assert one.resumes().welcome["session"] == one.welcome["session"]
    two.quiet()
    assert script.events("close") == []


def test_too_much_for_an_absent_client_ends_its_session(script, sidesocket):
    edge = sidesocket(script, MAX_SEND_BUFFER_BYTES="16KiB")
    api = API(edge)
    one = ProtocolClient(edge)
    lose(one)
    for number in range(7):
        send(api, one, "x" * 2000)
    assert edge.metric("session_buffer_bytes") > 14_000
    two = one.resumes()
    assert len(two.missed) == 7
    lose(two)
    path = f"/v1/connections/{one.welcome['session']}/messages"
    for _ in range(10):
        status = api.ask("POST", path, "x" * 2000, TEXT).status
    assert status == 404
    script.wait_events(1, "close")
    eventually(lambda: edge.metric("session_buffer_bytes") == 0, "nothing is kept any more")


def test_too_much_for_a_client_that_is_there_costs_the_way_back_until_it_acknowledges(script, sidesocket):
    edge = sidesocket(script, MAX_SEND_BUFFER_BYTES="16KiB")
    api = API(edge)
    one = ProtocolClient(edge)
    for number in range(10):
        send(api, one, "x" * 2000)
        one.frame_of("message", seq=number + 1)
    lose(one)
    # It has got all of them.
    two = one.resumes()
    for number in range(10):
        send(api, two, "x" * 2000)
    lose(two)
    two.seq = 11
    three = two.returns()
    assert three.frame_of("$bye", code=4408, reconnect=True, after=0)
    assert three.expect_close().code == 4408
    script.wait_events(1, "close")
    assert edge.metric("resumes_total", result="behind") == 1


# Who may resume


def test_a_token_is_bound_to_origin_and_path(script, sidesocket):
    edge = sidesocket(script, ALLOWED_ORIGINS="https://a.example,https://b.example")
    one = ProtocolClient(edge, "/ws?x=1", origin="https://a.example")
    lose(one)
    for how in ({"origin": "https://b.example"}, {}, {"origin": "https://a.example", "target": "/other"}):
        one.returns(**how).frame_of("$welcome", resumed=False)
    assert edge.metric("resumes_total", result="refused") == 3
    # The query may change, as it does with a new ticket.
    one.resumes(origin="https://a.example", target="/ws?x=2")


def test_a_token_is_bound_to_the_cookies_that_are_named(script, sidesocket):
    edge = sidesocket(script, RESUME_COOKIES="session,csrf")
    one = ProtocolClient(edge, headers={"Cookie": "theme=dark; session=1"})
    lose(one)
    for cookie in ("session=2", "theme=dark", "session=1; csrf=2", "xsession=1", "session=1; session=2"):
        one.returns(headers={"Cookie": cookie}).frame_of("$welcome", resumed=False)
    two = one.resumes(headers={"Cookie": "session=1; theme=light"})
    two.post("x", id="1")
    two.frame_of("reply", re="1")
    # The newest handshake's headers go with later events.
    assert script.events("message")[0].header("cookie") == "session=1; theme=light"


def test_another_encoding_is_another_session(script, edge):
    one = ProtocolClient(edge)
    lose(one)
    two = one.returns(encoding=MSGPACK)
    two.frame_of("$welcome", resumed=False)
    one.resumes()


def test_a_token_that_is_replayed_after_its_end_is_worth_nothing(script, client):
    one = client()
    lose(one)
    two = one.resumes()
    two.quiet()
    one.returns().frame_of("$welcome", resumed=False)
    two.quiet()


def test_tokens_are_nowhere_to_be_seen(script, client):
    one = client()
    lose(one)
    two = one.resumes()
    two.post("x", id="1")
    two.frame_of("reply", re="1")
    token = one.welcome["resume"].encode()
    assert all(token not in request.head for request in script.requests)
    assert one.welcome["resume"] not in one.edge.output
    one.edge.control("/metrics")


# A `$resume` that is wrong


def test_without_a_resume_in_time_the_attempt_ends_and_not_the_session(script, sidesocket):
    edge = sidesocket(script, HANDSHAKE_TIMEOUT="1s", RESUME_WINDOW="1m")
    one = ProtocolClient(edge)
    lose(one)
    offered = f"{JSON}, sidesocket.resume.{one.welcome['resume']}"
    two = ProtocolClient(edge, protocol=offered, greet=False)
    assert two.expect_close().code == 4408
    one.resumes()
    assert events(script) == ["open"]
    # A new session that never says what it has ends too.
    three = ProtocolClient(edge, protocol=f"{JSON}, sidesocket.resume.-", greet=False)
    assert three.expect_close(skip_messages=True).code == 4408
    assert json.loads(script.wait_events(1, "close")[0].body)["code"] == 4408


@pytest.mark.parametrize(
    "resume",
    [
        {"seq": "x"},
        {"seq": -1},
        {"seq": 2**60},
        {"channels": []},
        {"channels": {"room": None}},
        {"channels": {"room": {}}},
        {"channels": {"room": {"offset": "1", "epoch": "x", "id": "0" * 16}}},
        {"channels": {"room": {"offset": 1, "epoch": "", "id": "0" * 16}}},
        {"channels": {"room": {"offset": 1, "epoch": "x" * 20, "id": "0" * 16}}},
        {"channels": {"room": {"offset": 1, "epoch": "k3", "id": "x"}}},
        {"channels": {"room": {"offset": -1, "epoch": "k3", "id": "0" * 16}}},
        {"session": 5},
    ],
    ids=range(12),
)
def test_a_resume_of_the_wrong_shape_is_an_error_and_may_be_repeated(script, client, resume):
    one = client("/ws?join=room")
    lose(one)
    two = one.returns(resume=resume)
    # At once: a client that waited for $welcome would wait until it is closed.
    two.frame_of("$error", code="bad_frame")
    two.give(type="$resume", seq=0)
    two.frame_of("$welcome", resumed=True)
    two.frame_of("$live")


def test_a_second_resume_is_an_error(script, client):
    one = client()
    lose(one)
    two = one.resumes()
    two.give(type="$resume", seq=0)
    two.frame_of("$error", code="bad_frame")
    three = client()
    three.give(type="$resume", seq=0)
    three.frame_of("$error", code="bad_frame")


def test_a_client_that_has_more_than_was_sent_cannot_resume(script, client):
    one = client()
    lose(one)
    two = one.returns(resume={"seq": 7})
    two.frame_of("$bye", code=4408, reconnect=True)
    two.expect_close(4408)
    script.wait_events(1, "close")


def test_an_acknowledgement_beyond_what_was_sent_is_an_error(client):
    one = client()
    one.give(type="$ack", seq=1)
    one.frame_of("$error", code="bad_frame")
    one.quiet()


def test_a_channel_name_that_is_none_is_left_out(script, client):
    one = client("/ws?join=room")
    lose(one)
    position = {"offset": 1, "epoch": "k3", "id": "0" * 16}
    two = one.resumes(resume={"channels": {"a b": position, "x" * 300: position, **one.positions}})
    assert set(two.welcome["channels"]) == {"room"}


# Many


def test_a_storm_of_resumes(script, sidesocket):
    edge = sidesocket(
        script, HISTORY_SIZE="100", MAX_CONNECTIONS_PER_IP="off", CONNECT_RATE_PER_IP="off", MESSAGE_RATE="off"
    )
    api = API(edge)
    clients = [ProtocolClient(edge, "/ws?join=room", protocol=JSON) for _ in range(100)]
    for client in clients:
        client.reset()
    eventually(lambda: edge.metric("sessions_detached") == 100, "all are detached")
    for number in range(20):
        publish(api, "room", f"{number}")
    failed, kept = [], []

    def come_back(client):
        try:
            new = client.resumes()
            kept.append(new)
            got = [frame["payload"] for frame in new.missed]
            assert got == [str(number) for number in range(20)], got
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=come_back, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert edge.metric("sessions_detached") == 0 and edge.metric("connections") == 100
    assert edge.metric("resumes_total", result="resumed") == 100
    assert events(script) == ["open"] * 100


def test_a_long_replay_goes_out_as_the_client_reads(script, sidesocket, encoding):
    edge = sidesocket(script, HISTORY_SIZE="2000", MAX_SEND_BUFFER_BYTES="32KiB", SLOW_CLIENT_ACTION="close")
    api = API(edge)
    one = ProtocolClient(edge, "/ws?join=room", protocol=encoding)
    lose(one)
    for number in range(1000):
        publish(api, "room", f"{number:04}" + "x" * 2000)
    two = one.returns(receive_buffer=4096)
    welcome = two.frame_of("$welcome", resumed=True)
    assert welcome["channels"]["room"]["recovered"] is True
    # While it does not read, something new is published.
    publish(api, "room", "new")
    got = [frame["payload"][:4] for frame in two.until_live()]
    assert got == [f"{number:04}" for number in range(1000)]
    two.frame_of("message", payload="new")
    assert edge.metric("connections") == 1


def test_a_session_in_the_list_says_that_its_client_is_away(script, edge, api):
    one = ProtocolClient(edge, "/ws?user=42&join=room")
    session = f"/v1/connections/{one.welcome['session']}"
    assert api.want(200, "GET", session).json.get("state") == "attached"
    lose(one)
    assert api.want(200, "GET", session).json["state"] == "detached"
    room = api.want(200, "GET", "/v1/channels/room").json
    assert room["users"] == ["42"] and room["connections"] == 1
    two = one.resumes()
    assert api.want(200, "GET", session).json["state"] == "attached"
    two.quiet()
    assert edge.metric("connections") == 1


def test_a_drain_ends_sessions_without_a_client(script, edge):
    one, two = ProtocolClient(edge), ProtocolClient(edge)
    lose(one)
    edge.terminate()
    two.expect_goodbye(1012, reconnect=True)
    assert edge.wait_exit() == 0
    assert len(script.events("close")) == 2


# What the app is told


def test_the_app_is_told_in_order_when_a_client_goes_and_returns(script, sidesocket, encoding):
    edge = sidesocket(script, SESSION_EVENTS="on")
    held = gate()
    script.on(Reply(200, "while you were away", {"Content-Type": "text/plain"}), event="detached")
    script.on(Reply(200, "welcome back", {"Content-Type": "text/plain"}), event="resumed")
    script.on(Reply(204, gate=held), event="message")
    one = ProtocolClient(edge, protocol=encoding)
    one.post("x")
    one.barrier()
    lose(one)
    held.set()
    script.wait_events(1, "detached")
    two = one.resumes()
    got = two.missed
    while [frame["payload"] for frame in got] != ["while you were away", "welcome back"]:
        got.append(two.frame_())
    two.close()
    script.wait_events(1, "close")
    assert events(script) == ["open", "message", "detached", "resumed", "close"]
    assert [event.sequence for event in script.events()] == [1, 2, 3, 4, 5]
    assert all(event.body == b"" for event in script.events("detached") + script.events("resumed"))


def test_a_connection_that_is_taken_over_is_no_news(script, sidesocket):
    edge = sidesocket(script, SESSION_EVENTS="on")
    one = ProtocolClient(edge)
    two = one.resumes()
    two.quiet()
    assert events(script) == ["open"]


def test_an_app_that_fails_at_such_an_event_loses_nobody(script, sidesocket):
    edge = sidesocket(script, SESSION_EVENTS="on")
    script.on(Reply(500), event="detached")
    script.on(Reply(422), event="resumed")
    one = ProtocolClient(edge)
    lose(one)
    two = one.resumes()
    two.post("x", id="1")
    two.frame_of("reply", re="1")
    assert edge.metric("messages_dropped_total", reason="session_event_undelivered") == 2
