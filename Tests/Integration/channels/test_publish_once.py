"""Publishing through the API so that one knows: idempotency keys, and waiting until it is written."""

import http.client
import json
import threading
import time

import pytest
from support.api import API
from support.net import PATIENCE, eventually, reset
from support.publishing import ROOM, TEXT, admit, member, post
from support.raw import Client


def test_wait_written_answers_when_the_kernel_took_it_or_the_socket_is_gone(app, sidesocket):
    edge = sidesocket(app, MAX_SEND_BUFFER_BYTES="64MiB")
    app.on(admit, event="open")
    api = API(edge)
    fast, _ = member(app, edge, join="fast")
    assert api.want(200, "POST", "/v1/channels/fast/messages", "x", TEXT, wait="written").json["queued"] == 1
    assert fast.message() == "x"
    api.want(400, "POST", "/v1/channels/fast/messages", "x", TEXT, wait="read")
    for leaves in (False, True):
        slow, _ = member(app, edge, join="slow", receive_buffer=8 << 10)
        text, answers = "y" * 900_000, []
        while edge.metric("send_buffer_bytes") < 4 << 20:
            post(api, "/v1/channels/slow/messages", text)
        queued = edge.metric("deliveries_total", result="queued")
        ask = ("POST", "/v1/channels/slow/messages", "last", TEXT)
        thread = threading.Thread(target=lambda ask=ask, got=answers: got.append(api.ask(*ask, wait="written")))
        thread.start()
        edge.wait_metric("deliveries_total", queued + 1, result="queued")
        assert answers == [], "answered before it was written"
        if leaves:
            reset(slow.sock)
        else:
            got = slow.message()
            while got != "last":
                got = slow.message()
        thread.join(PATIENCE)
        assert answers[0].status == 200 and answers[0].json["matched"] == 1
        # What has not been taken when its client is gone never was delivered.
        assert (answers[0].json["queued"], answers[0].json["dropped"]) == ((0, 1) if leaves else (1, 0))
        if not leaves:
            slow.sock.close()
        eventually(lambda: api.ask("GET", "/v1/channels/slow").status == 404, "the slow one is gone")


# Idempotency and waiting


def test_a_repeated_key_gets_the_first_answer_and_sends_nothing(app, edge, api):
    socket, _ = member(app, edge, join="room")
    answers, path = [], "/v1/channels/room/messages"
    threads = [
        threading.Thread(target=lambda: answers.append(post(api, path, "once", Idempotency_Key="k" * 256).text))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(answers) == 8 and len(set(answers)) == 1
    second = post(api, path, "twice", Idempotency_Key="other").json
    assert second["offset"] == json.loads(answers[0])["offset"] + 1
    post(api, path, "again", Idempotency_Key="other")
    post(api, path, "end")
    assert [socket.message() for _ in range(3)] == ["once", "twice", "end"]
    for key in ("", "k" * 257):
        post(api, path, "x", 400, Idempotency_Key=key)


def test_keys_hold_for_users_connections_and_lists_too(app, edge, api):
    socket, name = member(app, edge, user="u", join="room")
    for path in ("/v1/users/u/messages", f"/v1/connections/{name}/messages"):
        first = post(api, path, path, Idempotency_Key="same")
        assert post(api, path, "again", Idempotency_Key="same").text == first.text
    entries = json.dumps([{"user": "u", "text": "list"}])
    for _ in range(2):
        api.want(200, "POST", "/v1/messages", entries, {"Idempotency-Key": "same"})
    post(api, "/v1/users/u/messages", "alike", Idempotency_Key="e\u0301".encode().decode("latin-1"))
    post(api, "/v1/users/u/messages", "alike too", Idempotency_Key="\u00e9".encode().decode("latin-1"))
    wanted = ["/v1/users/u/messages", f"/v1/connections/{name}/messages", "list", "alike", "alike too"]
    assert [socket.message() for _ in wanted] == wanted
    socket.barrier()


def test_a_key_whose_publication_failed_may_be_used_again(app, edge, api):
    path = "/v1/connections/nope/messages"
    post(api, path, "x", 404, Idempotency_Key="same")
    post(api, path, "x", 404, Idempotency_Key="same")
    socket, name = member(app, edge)
    path = f"/v1/connections/{name}/messages"
    post(api, path, "x", Idempotency_Key="same")
    assert socket.message() == "x"


@pytest.mark.alone
def test_who_waits_for_a_message_that_is_written_at_once_is_told_at_once(app, edge, api):
    socket, name = member(app, edge, user="u")
    took = []
    with Client(edge.control_port) as client:
        for path in ["/v1/users/u/messages", f"/v1/connections/{name}/messages"] * 15:
            started = time.monotonic()
            answer = client.ask("POST", f"{path}?wait=written", TEXT, b"x", host="localhost")
            took.append(time.monotonic() - started)
            assert answer.status == 200 and json.loads(answer.text)["queued"] == 1
            assert socket.message() == "x"
    assert sorted(took)[len(took) // 2] < 0.008, took


def test_who_waits_for_a_client_that_never_reads_is_told_after_ten_seconds(app, sidesocket):
    edge = sidesocket(app, MAX_SEND_BUFFER_BYTES="64MiB")
    app.on(admit, event="open")
    api = API(edge, timeout=2 * PATIENCE)
    member(app, edge, join="slow", receive_buffer=8 << 10)
    while edge.metric("send_buffer_bytes") < 4 << 20:
        post(api, "/v1/channels/slow/messages", "y" * 900_000)
    began = time.monotonic()
    answer = api.want(200, "POST", "/v1/channels/slow/messages", "x", TEXT, wait="written")
    assert 9.5 < time.monotonic() - began < 18
    assert (answer.json["queued"], answer.json["dropped"]) == (1, 0)


def test_a_message_dropped_while_it_is_waited_for_counts_as_dropped(app, sidesocket):
    edge = sidesocket(app, MAX_SEND_BUFFER_BYTES="4MiB", SLOW_CLIENT_ACTION="drop-oldest")
    app.on(admit, event="open")
    api = API(edge)
    member(app, edge, join="slow", receive_buffer=8 << 10)
    while edge.metric("send_buffer_bytes") < 3 << 20:
        post(api, "/v1/channels/slow/messages", "y" * 900_000)
    queued, answers = edge.metric("deliveries_total", result="queued"), []
    thread = threading.Thread(
        target=lambda: answers.append(api.ask("POST", "/v1/channels/slow/messages", "x", TEXT, wait="written"))
    )
    thread.start()
    edge.wait_metric("deliveries_total", queued + 1, result="queued")
    started = time.monotonic()
    while thread.is_alive() and time.monotonic() - started < PATIENCE:
        post(api, "/v1/channels/slow/messages", "y" * 900_000)
    thread.join(PATIENCE)
    assert time.monotonic() - started < 5, "told by its patience"
    assert (answers[0].json["queued"], answers[0].json["dropped"]) == (0, 1)


def test_messages_past_channels_can_be_waited_for_too(app, sidesocket):
    edge = sidesocket(app, MAX_SEND_BUFFER_BYTES="64MiB")
    app.on(admit, event="open")
    api = API(edge)
    slow, name = member(app, edge, user="u", receive_buffer=8 << 10)
    with_text = json.dumps([{"user": "u", "text": "last"}])
    for path, body in [("users/u/messages", "last"), (f"connections/{name}/messages", "last"), ("messages", with_text)]:
        while edge.metric("send_buffer_bytes") < 4 << 20:
            post(api, "/v1/users/u/messages", "y" * 900_000)
        answers = []
        sent = edge.metric("messages_total", direction="out", type="text")
        thread = threading.Thread(
            target=lambda p=path, b=body, got=answers: got.append(api.ask("POST", f"/v1/{p}", b, TEXT, wait="written"))
        )
        thread.start()
        edge.wait_metric("messages_total", sent + 1, direction="out", type="text")
        assert answers == [], "answered before it was written"
        while slow.message() != "last":
            pass
        thread.join(PATIENCE)
        assert answers[0].status == 200
    for path in ("users/u/messages", "connections/x/messages", "messages"):
        api.want(400, "POST", f"/v1/{path}", "[]", TEXT, wait="bogus")


def test_a_key_of_a_megabyte_harms_nobody(app, edge, api):
    socket, _ = member(app, edge, join="room")
    before = edge.rss
    for _ in range(5):
        try:
            assert api.ask("POST", ROOM, "x", {**TEXT, "Idempotency-Key": "k" * (1 << 20)}).status in (400, 413, 431)
        except (OSError, http.client.HTTPException):
            pass  # It need not read all of it.
    # Nor do many keys of a legal size.
    for n in range(200):
        post(api, "/v1/channels/empty/messages", "x", Idempotency_Key=f"{n:0256d}")
    assert edge.rss - before < 24 << 20
    post(api, ROOM, "still here")
    assert socket.message() == "still here"
