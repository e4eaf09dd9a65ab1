"""Limits on messages and bytes: what they delay or close, and whom they spare."""

import json
import random
import socket
import threading
import time

import pytest
from support.app import Reply, gate
from support.guard import counted, enter, limited
from support.net import PATIENCE, eventually, send_until_blocked
from support.ws import BINARY, CONTINUATION, TEXT, frame

CLOSE = {"RATE_LIMIT_ACTION": "close"}


def named(request):
    """The answer of an app that lets the client say who it is: `/ws?user=42`."""
    _, _, user = request.target.partition("user=")
    return Reply(204, headers={"Sidesocket-User": user} if user else {})


def messages(app, connection=None):
    return [event.text for event in app.events("message", connection)]


def last_close(app, count=1):
    return json.loads(app.wait_events(count, "close")[-1].body)


# Messages


def test_throttle_delays_messages_and_loses_none(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE="20/1s,burst=5")
    app.echo()
    guest, other = enter(edge), enter(edge)
    texts = [f"message {n}" for n in range(35)]
    began = time.monotonic()
    guest.send(b"".join(frame(TEXT, text) for text in texts))
    got = []
    reader = threading.Thread(target=lambda: got.extend(guest.message() for _ in texts))
    reader.start()
    # Five pass at once, then one every 50 ms; meanwhile the other client waits for nothing.
    eventually(lambda: edge.metric("limited_total", limit="message_rate", action="throttled") >= 1, "it is throttled")
    other.text("quick")
    assert other.message() == "quick"
    assert len(got) < len(texts), "the other client was served only after the throttled one"
    reader.join(PATIENCE)
    elapsed = time.monotonic() - began
    assert got == texts
    assert elapsed > 1.3, f"35 messages took {elapsed:.2f} s at 20 a second"
    assert edge.metric("connections") == 2


def test_the_burst_passes_at_once(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE="1/1h,burst=30")
    app.echo()
    guest = enter(edge)
    guest.send(b"".join(frame(TEXT, str(n)) for n in range(31)))
    assert [guest.message() for _ in range(30)] == [str(n) for n in range(30)]
    eventually(lambda: edge.metric("limited_total", limit="message_rate", action="throttled") == 1, "it is throttled")
    assert len(app.events("message")) <= 31


def test_a_pause_counts_only_when_something_waits_for_it(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE="1/1s,burst=1")

    def throttled():
        return edge.metric("limited_total", limit="message_rate", action="throttled")

    guest = enter(edge)
    guest.text("alone")
    app.wait_events(1, "message")
    # Time itself is tested: the rate allows the next message after a second.
    time.sleep(1.2)
    assert throttled() == 0
    guest.text("alone")
    app.wait_events(2, "message")
    guest.close()
    app.wait_events(1, "close")
    assert throttled() <= 1  # the close frame has waited
    before = throttled()
    # Whether it comes with the one before, or later.
    guest = enter(edge)
    guest.send(frame(TEXT, "one") + frame(TEXT, "two"))
    eventually(lambda: throttled() == before + 1, "two came at once")
    app.wait_events(4, "message")
    # Time itself is tested, as above.
    time.sleep(1.1)
    guest.text("three")
    app.wait_events(5, "message")
    guest.text("four")
    eventually(lambda: throttled() == before + 2, "the next came too soon")


def test_a_throttled_client_fills_its_own_socket_and_not_our_memory(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE="1/1h,burst=2")
    guest, other = enter(edge), enter(edge)
    before = edge.rss
    sent = send_until_blocked(guest.sock, frame(BINARY, b"x" * 60_000), limit=256 << 20)
    assert sent < 64 << 20, "it was read on"
    assert edge.rss - before < 24 << 20
    other.text("one")
    app.wait_events(1, "message")
    assert edge.metric("connections") == 2


def test_a_throttled_client_that_leaves_is_noticed(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE="1/1h,burst=1")
    guest = enter(edge)
    guest.send(frame(TEXT, "1") + frame(TEXT, "2") + frame(TEXT, "3"))
    eventually(lambda: edge.metric("limited_total", limit="message_rate", action="throttled") >= 1, "it is throttled")
    guest.reset()
    app.wait_events(1, "close")
    edge.wait_metric("connections", 0)


def test_action_close_closes_with_4429(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE="5/1h", **CLOSE)
    guest = enter(edge)
    guest.send(b"".join(frame(TEXT, str(n)) for n in range(5)))
    app.wait_events(5, "message")
    with counted(edge, limited("message_rate", "closed")):
        guest.send(frame(TEXT, "5") + frame(TEXT, "6"))
        guest.expect_close(4429)
        body = last_close(app)
    assert (body["code"], body["initiator"]) == (4429, "server")
    assert messages(app) == [str(n) for n in range(5)]
    assert body["messagesIn"] == 5
    # Another connection of the same client is another bucket.
    other = enter(edge)
    for n in range(5):
        other.text(str(n))
    other.barrier()


def test_only_whole_data_messages_count(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE="3/1h", **CLOSE)
    guest = enter(edge)
    for n in range(20):
        guest.ping(b"%d" % n)
        assert guest.receive().payload == b"%d" % n
    guest.frame(TEXT, "a", fin=False)
    for _ in range(20):
        guest.frame(CONTINUATION, "b", fin=False)
    guest.frame(CONTINUATION, "c")
    guest.text("two")
    guest.text("three")
    app.wait_events(3, "message")
    guest.barrier()
    guest.text("four")
    guest.expect_close(4429)


def test_case_19_empty_messages_count_like_others(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE="10/1h", **CLOSE)
    guest = enter(edge)
    guest.try_send(frame(TEXT) * 10_000)
    guest.expect_close(4429)
    # What still waited for the app when we closed is not delivered any more, but it was counted.
    assert last_close(app)["messagesIn"] == 10
    assert 1 <= len(app.events("message")) <= 10


def test_messages_of_one_address_over_all_its_connections(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE_PER_IP="5/1h", **CLOSE)
    one, two, other = enter(edge), enter(edge), enter(edge, "127.0.0.2")
    for socket in (one, two):
        socket.text("1")
        socket.text("2")
        socket.barrier()
    with counted(edge, limited("message_rate_per_ip", "closed")):
        one.text("3")
        one.barrier()
        two.text("3")
        two.expect_close(4429)
    for n in range(5):
        other.text(str(n))
    other.barrier()
    app.wait_events(10, "message")
    # A new connection does not start afresh.
    late = enter(edge)
    late.text("x")
    late.expect_close(4429)


def test_an_address_that_is_throttled_gets_its_messages_from_all_connections(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE_PER_IP="40/1s,burst=4")
    guests = [enter(edge) for _ in range(3)]
    began = time.monotonic()
    for guest in guests:
        guest.send(b"".join(frame(TEXT, str(n)) for n in range(16)))
    app.wait_events(48, "message")
    # Connections that share a bucket may go one message into debt each.
    assert time.monotonic() - began > 0.9
    for event in app.events("open"):
        assert messages(app, event.header("ce-connectionid")) == [str(n) for n in range(16)]


def test_messages_of_one_user_over_all_addresses(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE_PER_USER="4/1h", **CLOSE)
    app.on(named, event="open")
    one = enter(edge, "127.0.0.1", target="/ws?user=42")
    two = enter(edge, "127.0.0.2", target="/ws?user=42")
    other, nobody = enter(edge, target="/ws?user=43"), enter(edge, target="/ws")
    for socket in (one, two):
        socket.text("1")
        socket.text("2")
        socket.barrier()
    with counted(edge, limited("message_rate_per_user", "closed")):
        two.text("3")
        two.expect_close(4429)
    for n in range(4):
        other.text(str(n))
    other.barrier()
    for n in range(10):
        nobody.text(str(n))
    nobody.barrier()
    app.wait_events(18, "message")


def test_a_user_named_by_a_later_reply_is_limited_from_then_on(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE_PER_USER="2/1h", **CLOSE)
    app.on(Reply(204, headers={"Sidesocket-User": "42"}), event="message", times=1)
    guest = enter(edge)
    guest.text("this names the user")
    # The answer has been taken when the next message of this connection is asked about.
    guest.text("this one was read before or after")
    app.wait_events(2, "message")
    guest.try_send(b"".join(frame(TEXT, str(n)) for n in range(3)))
    guest.expect_close(4429)
    assert 3 <= last_close(app)["messagesIn"] <= 4


# Bytes


def test_bytes_above_the_rate_are_throttled(app, sidesocket):
    edge = sidesocket(app, BYTE_RATE="16KiB/1s", MESSAGE_RATE="off")
    guest = enter(edge)
    began = time.monotonic()
    with counted(edge, limited("byte_rate", "throttled", None)):
        for n in range(36):
            guest.binary(bytes([n]) * 1024)
        app.wait_events(36, "message")
    # 16 KiB at once, 20 KiB at 16 KiB a second.
    assert time.monotonic() - began > 1.0
    assert [event.body for event in app.events("message")] == [bytes([n]) * 1024 for n in range(36)]


def test_bytes_above_the_rate_close_where_that_is_the_action(app, sidesocket):
    edge = sidesocket(app, BYTE_RATE="4KiB/1h", **CLOSE)
    guest = enter(edge)
    guest.binary(b"x" * 4095)
    guest.text("y")
    guest.barrier()
    app.wait_events(2, "message")
    with counted(edge, limited("byte_rate", "closed")):
        guest.text("z")
        guest.expect_close(4429)


def test_a_message_larger_than_the_burst_passes_in_the_end(app, sidesocket):
    edge = sidesocket(app, BYTE_RATE="8KiB/1s,burst=1KiB", MESSAGE_RATE="off")
    guest = enter(edge)
    guest.binary(b"x" * 4096)
    guest.text("after")
    events = app.wait_events(2, "message")
    assert [len(event.body) for event in events] == [4096, 5]
    guest.barrier()


# Clients that leave


def test_what_a_client_sent_before_it_left_is_taken_at_its_rate_and_spares_its_neighbours(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE="10/1s", MESSAGE_RATE_PER_IP="50/1s")
    guest = enter(edge)
    started = time.monotonic()
    guest.send(b"".join(frame(TEXT, str(n)) for n in range(2000)))
    guest.sock.shutdown(socket.SHUT_WR)
    neighbour = enter(edge)
    for text in ("a", "b"):
        neighbour.text(text)
    eventually(lambda: {"a", "b"} <= set(messages(app)), "the neighbour is heard")
    assert len(messages(app)) < 15 + 10 * (time.monotonic() - started) + 10
    # Nobody is there any more whom waiting could slow down: the rest is dropped, counted, and the app hears of the end.
    body = last_close(app)
    assert time.monotonic() - started < 20
    taken = [text for text in messages(app) if text.isdigit()]
    assert taken == [str(n) for n in range(len(taken))]
    assert body["messagesIn"] == len(taken) < 120
    assert edge.metric("messages_dropped_total", reason="rate_limited") == 2000 - len(taken)


def test_clients_that_leave_a_lot_behind_stay_within_the_budgets(app, sidesocket):
    edge = sidesocket(app, MAX_PENDING_BYTES="16KiB", MAX_TOTAL_PENDING_BYTES="64KiB", WEBHOOK_TIMEOUT="60s")
    held = gate()
    app.on(Reply(204, gate=held), event="message")
    guests = [enter(edge) for _ in range(5)]
    for guest in guests:
        send_until_blocked(guest.sock, frame(TEXT, "x" * 100) * 100, limit=100_000)
        guest.sock.shutdown(socket.SHUT_WR)
    edge.wait_metric("connections", 0)
    # What they left is counted, so that others are not read from; nobody is closed for it.
    assert edge.metric("pending_bytes") > 64 << 10
    held.set()
    assert {json.loads(event.body)["messagesIn"] for event in app.wait_events(5, "close", 60)} == {1000}
    edge.wait_metric("pending_bytes", 0)


@pytest.mark.parametrize("reply", [Reply(400), Reply(204, headers={"Sidesocket-Close": "4000"})], ids=["400", "close"])
def test_nothing_is_held_of_clients_that_are_reset_while_the_app_closes_them(app, sidesocket, reply):
    """A client is found gone by writing the Close, while its rate holds back what it has sent."""
    edge = sidesocket(app, MESSAGE_RATE="2/1s")
    app.on(reply, event="message")
    ends = time.monotonic() + 4

    def come_and_go(seed):
        randomness = random.Random(seed)
        while time.monotonic() < ends:
            guest = enter(edge)
            guest.sock.sendall(frame(TEXT, "x" * 50) * 12)
            spin = time.monotonic() + randomness.uniform(0, 0.004)
            while time.monotonic() < spin:
                pass
            guest.reset()

    threads = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    edge.wait_metric("connections", 0)
    edge.wait_metric("webhook_in_flight", 0)
    edge.wait_metric("pending_bytes", 0)
    app.wait_events(len(app.events("open")), "close")


def test_a_user_who_is_named_after_the_client_has_gone_is_not_counted(app, sidesocket):
    edge = sidesocket(app, MAX_CONNECTIONS_PER_USER="2")
    held = gate()
    app.on(
        lambda request: Reply(204, headers={"Sidesocket-User": "42"}, gate=held if request.text == "slow" else None),
        event="message",
    )
    keeper = enter(edge)
    keeper.text("quick")
    for n in range(3):
        guest = enter(edge)
        guest.text("slow")
        app.wait_events(n + 2, "message")
        guest.reset()
    edge.wait_metric("connections", 1)
    held.set()
    closes = app.wait_events(3, "close")
    assert {event.header("ce-userid") for event in closes} == {"42"}
    second = enter(edge)
    second.text("quick")
    app.wait_events(5, "message")
    edge.wait_metric("webhook_in_flight", 0)
    second.ping(b"still here")
    assert second.receive().payload == b"still here"
