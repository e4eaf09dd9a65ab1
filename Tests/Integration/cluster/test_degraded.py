"""While the engine is away the main job goes on, publications are refused in time, and what was on its way is not lost."""

import re
import threading
import time

import pytest
from support.api import check_problem
from support.app import Reply, commands
from support.cluster import attempt
from support.net import PATIENCE, eventually
from support.process import Sidesocket
from support.publishing import TEXT
from support.relay import TO_ENGINE, TO_NODE

# What a caller waits at most while the engine is away, with CLUSTER_TIMEOUT=1s.
IN_TIME = 1.2


def refused(cluster, node=0):
    """A publication is answered 503, in time and with what to do."""
    took = []
    for n in range(3):
        answer, seconds = attempt(cluster, node, f"refused {n}")
        assert answer.status == 503, answer.text
        check_problem(answer)
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        took.append(seconds)
    # A busy machine may hold up one of them.
    assert min(took) <= IN_TIME and max(took) <= IN_TIME + 1, took


def echoes(socket, text):
    socket.text(text)
    assert socket.message() == text


def notable(node, since=0):
    """The lines from `since` on that an operator sees, without those of single connections."""
    return [line for line in node.logs[since:] if line["level"] in ("notice", "warning", "error", "critical")]


WAYS = ["killed", "paused", "black hole", "refused", "answers lost"]


def break_it(cluster, redis, how):
    relay = cluster.relays[0]
    if how == "killed":
        redis.kill()
    elif how == "paused":
        redis.pause()
    elif how == "black hole":
        relay.hold()
    elif how == "refused":
        relay.refuse()
    else:
        relay.swallow_replies()


def mend(cluster, redis, how):
    if how == "killed":
        redis.start()
    elif how == "paused":
        redis.resume()
    cluster.relays[0].mend()
    cluster.wait_up()


# The outage


@pytest.mark.parametrize("how", WAYS)
def test_publications_are_refused_in_time_and_the_main_job_goes_on(make_cluster, redis, how):
    cluster = make_cluster(2, redis, relayed=True)
    node = cluster.nodes[0]
    socket = cluster.socket(0, join="room")
    echoes(socket, "before")
    lines = len(node.logs)
    break_it(cluster, redis, how)
    refused(cluster)
    echoes(socket, "during")
    late = cluster.socket(0, join="room")
    echoes(late, "opened during")
    began = time.monotonic()
    node.wait_metric("cluster_up", 0)
    assert time.monotonic() - began < 5
    status, body = node.readyz()
    assert status == 200 and "cluster" in body or "engine" in body
    # Once it is known to be away, nobody waits for it.
    answer, seconds = attempt(cluster, 0, "known")
    assert answer.status == 503 and seconds <= IN_TIME
    assert cluster.api(0).ask("GET", "/v1/channels/room").status == 503
    during = notable(node, lines)
    assert len(during) == 1, during
    mend(cluster, redis, how)
    eventually(lambda: attempt(cluster, 0, "after")[0].status == 200, "it publishes again")
    # Of what was refused nothing comes, but what was on its way may have been stored.
    for one in (socket, late):
        while (text := one.message()) != "after":
            assert text.startswith(("refused", "known")), text
    # An engine that comes back empty has lost messages and the list of nodes, which is told in lines of their own.
    told = [one for one in notable(node, lines) if not re.search("lost|is in the cluster", one["message"])]
    assert len(told) == 2, told
    echoes(socket, "after it")


def test_subscriptions_catch_up_when_the_engine_is_back(make_cluster, redis):
    cluster = make_cluster(2, redis, relayed=True)
    socket, stream = cluster.socket(0, join="room"), cluster.stream(0, join="room")
    cluster.publish(1, "room", "0")
    assert socket.message() == stream.event()[1] == "0"
    cluster.relays[0].refuse()
    cluster.nodes[0].wait_metric("cluster_up", 0)
    for n in range(1, 20):
        cluster.publish(1, "room", str(n))
    cluster.relays[0].mend()
    cluster.wait_up()
    cluster.publish(0, "room", "20")
    assert [socket.message() for _ in range(20)] == [str(n) for n in range(1, 21)]
    assert [stream.event()[1] for _ in range(20)] == [str(n) for n in range(1, 21)]
    assert cluster.nodes[0].metric("cluster_resyncs_total") > 0
    assert cluster.nodes[0].metric("gaps_total") == 0


def test_a_connection_that_is_up_but_silent_is_noticed_within_four_seconds(make_cluster, redis):
    cluster = make_cluster(1, redis, relayed=True)
    cluster.relays[0].hold()
    began = time.monotonic()
    cluster.nodes[0].wait_metric("cluster_up", 0)
    assert time.monotonic() - began < 5
    cluster.relays[0].mend()
    cluster.wait_up()
    assert cluster.nodes[0].metric("cluster_reconnects_total") > 0


def test_readiness_needs_the_engine_where_that_is_asked_for(make_cluster, redis):
    cluster = make_cluster(1, redis, READY_NEEDS_CLUSTER="true")
    assert cluster.nodes[0].readyz()[0] == 200
    redis.kill()
    eventually(lambda: cluster.nodes[0].readyz()[0] == 503, "not ready")
    redis.start()
    eventually(lambda: cluster.nodes[0].readyz()[0] == 200, "ready again")


def test_an_engine_that_is_away_is_not_asked_all_the_time(make_cluster, redis):
    cluster = make_cluster(1, redis)
    socket = cluster.socket(0, join=[f"c:{n}" for n in range(100)])
    redis.kill()
    cluster.nodes[0].wait_metric("cluster_up", 0)
    before, began = cluster.nodes[0].cpu_seconds, time.monotonic()
    lines = len(cluster.nodes[0].raw_lines)
    eventually(lambda: time.monotonic() - began > 3, "three seconds", interval=0.5)
    assert (cluster.nodes[0].cpu_seconds - before) / (time.monotonic() - began) < 0.15
    assert len(cluster.nodes[0].raw_lines) - lines <= 1
    socket.barrier()


# The start


def test_an_engine_that_is_away_at_the_start_does_not_keep_the_main_job_from_starting(make_cluster, redis):
    redis.kill()
    cluster = make_cluster(2, redis, wait=False)
    socket, stream = cluster.socket(0, join="room"), cluster.stream(1, join="room")
    echoes(socket, "hello")
    refused(cluster)
    assert [node.metric("cluster_up") for node in cluster.nodes] == [0, 0]
    redis.start()
    cluster.wait_up()
    cluster.publish(0, "room", "there")
    assert socket.message() == "there"
    while (event := stream.event())[0] == "reset":
        pass
    assert event == ("message", "there")


def test_a_node_drains_while_the_engine_is_away(make_cluster, redis):
    cluster = make_cluster(1, redis, DRAIN_TIMEOUT="3s")
    socket = cluster.socket(0, join="room")
    redis.kill()
    cluster.nodes[0].wait_metric("cluster_up", 0)
    cluster.nodes[0].terminate()
    socket.expect_close(1012)
    assert cluster.nodes[0].wait_exit(20) == 0
    cluster.app.wait_events(1, "close")


def test_a_stream_whose_place_cannot_be_looked_up_is_told_or_goes_on(make_cluster, redis):
    cluster = make_cluster(1, redis, relayed=True)
    stream = cluster.stream(0, join="room")
    cluster.publish(0, "room", "0")
    assert stream.event()[1] == "0"
    stream.close()
    cluster.relays[0].refuse()
    cluster.nodes[0].wait_metric("cluster_up", 0)
    again = cluster.stream(0, stream.last_id, join="room")
    cluster.relays[0].mend()
    cluster.wait_up()
    cluster.publish(0, "room", "1")
    event = again.event()
    assert event in (("message", "1"), ("reset", ""))
    if event[0] == "reset":
        while again.event()[1] != "1":
            pass


# Publications in replies


def test_publications_of_replies_wait_for_the_engine_in_their_order(app, make_cluster, redis):
    cluster = make_cluster(2, redis, relayed=True, WEBHOOK_RETRY_FOR="30s")
    sender, there = cluster.socket(0, join="room"), cluster.socket(1, join="room")
    app.on(
        lambda request: commands({"publish": {"channel": "room", "text": request.text}}, {"send": {"text": "done"}}),
        event="message",
    )
    cluster.relays[0].refuse()
    cluster.nodes[0].wait_metric("cluster_up", 0)
    for n in range(20):
        sender.text(str(n))
        # What goes to its own client does not wait for the engine.
        assert sender.message() == "done"
    cluster.relays[0].mend()
    assert [there.message() for _ in range(20)] == [str(n) for n in range(20)]
    assert [sender.message() for _ in range(20)] == [str(n) for n in range(20)]


def test_publications_of_one_connection_keep_their_order_through_outages(app, make_cluster, redis):
    # Those that are sent before, during and after an outage, by a node that is not in the channel itself.
    cluster = make_cluster(2, redis, relayed=True)
    sender, there = cluster.socket(0), cluster.socket(1, join="room")
    app.on(lambda request: Reply(200, request.body, {**TEXT, "Sidesocket-Publish": "room"}), event="message")
    sent = []

    def send(until):
        while not until():
            sender.text(str(len(sent)))
            sender.barrier()
            sent.append(str(len(sent)))
            time.sleep(0.01)

    for turn in range(5):
        send(lambda: len(sent) % 10 == 9)
        cluster.relays[0].refuse()
        # About as long as an attempt may take.
        end = time.monotonic() + 0.6 + 0.2 * turn
        send(lambda end=end: time.monotonic() > end)
        cluster.relays[0].mend()
        send(lambda: cluster.nodes[0].metric("cluster_up") == 1)
        sent.append(str(len(sent)))
        sender.text(sent[-1])
    assert [there.message() for _ in sent] == sent


def test_publications_of_replies_that_wait_too_long_are_dropped_and_counted(app, make_cluster, redis):
    cluster = make_cluster(2, redis, relayed=True, WEBHOOK_RETRY_FOR="2s")
    sender, there = cluster.socket(0, join="room"), cluster.socket(1, join="room")
    app.on(lambda request: Reply(200, request.body, {**TEXT, "Sidesocket-Publish": "room"}), event="message")
    node = cluster.nodes[0]
    cluster.relays[0].refuse()
    node.wait_metric("cluster_up", 0)
    for n in range(3):
        sender.text(str(n))
    eventually(lambda: node.metric("publish_failures_total") == 3, "they are counted")
    assert any("publi" in line["message"] for line in notable(node)), notable(node)
    cluster.relays[0].mend()
    cluster.wait_up()
    sender.text("after")
    assert there.message() == sender.message() == "after"


# Publications whose outcome is unknown


def test_a_publication_whose_answer_is_lost_is_tried_again_and_published_once(make_cluster, redis):
    cluster = make_cluster(2, redis, relayed=True)
    there = cluster.socket(1, join="room")
    # With each loss the node waits longer until it connects again, so a third might take too long.
    for n in range(2):
        sprung = cluster.relays[0].swallow_after(b"needle %d" % n)
        answers = []
        thread = threading.Thread(target=lambda n=n, got=answers: got.append(attempt(cluster, 0, f"needle {n}")))
        thread.start()
        assert sprung.wait(PATIENCE)
        cluster.relays[0].mend()
        thread.join(PATIENCE)
        assert answers[0][0].status == 200, answers[0][0].text
        cluster.wait_up()
    assert [there.message() for _ in range(2)] == ["needle 0", "needle 1"]
    there.barrier()
    assert len(cluster.history(1, "room")["messages"]) == 2


def test_a_publication_whose_outcome_stays_unknown_is_503_and_may_be_sent_again_with_its_key(make_cluster, redis):
    cluster = make_cluster(2, redis, relayed=True)
    there = cluster.socket(1, join="room")
    cluster.relays[0].swallow_replies()
    answer, seconds = attempt(cluster, 0, "maybe")
    assert answer.status == 503 and "may" in answer.json["detail"], answer.text
    answer, seconds = attempt(cluster, 0, "once", **{"Idempotency-Key": "k"})
    assert answer.status == 503 and answer.headers["retry-after"] and seconds < 2 * IN_TIME
    cluster.publish(1, "room", "once", headers={"Idempotency-Key": "k"})
    cluster.relays[0].mend()
    cluster.wait_up()
    cluster.publish(0, "room", "once", headers={"Idempotency-Key": "k"})
    cluster.publish(0, "room", "last")
    got = [there.message()]
    while got[-1] != "last":
        got.append(there.message())
    assert got.count("once") == 1 and got.count("maybe") <= 1, got
    there.barrier()


@pytest.mark.parametrize("way", [TO_NODE, TO_ENGINE])
def test_a_connection_that_is_cut_inside_a_frame_loses_nothing(make_cluster, redis, way):
    cluster = make_cluster(2, redis, relayed=True)
    socket, stream = cluster.socket(0, join="room"), cluster.stream(0, join="room")
    wanted = []
    for n in range(10 if way == TO_NODE else 2):
        sprung = cluster.relays[0].cut_inside(b"needle %d" % n, after=3, way=way)
        wanted.append(f"needle {n} {'x' * 1000}")
        # The message is cut on its way to node 0, or the request of node 0 is.
        publisher = 1 if way == TO_NODE else 0
        assert attempt(cluster, publisher, wanted[-1])[0].status == 200
        assert sprung.wait(PATIENCE)
    assert [socket.message() for _ in wanted] == wanted
    assert [stream.event() for _ in wanted] == [("message", text) for text in wanted]
    assert cluster.nodes[0].metric("gaps_total") == 0


# Alone


def test_a_node_without_an_engine_of_its_own_is_as_it_was(app):
    # No setting, no metric of a cluster that would be 0 for ever, no field in the answers.
    node = Sidesocket(APP_URL=app.url)
    try:
        assert not [name for name, _ in node.metrics() if name.startswith("sidesocket_cluster")]
    finally:
        node.kill()
