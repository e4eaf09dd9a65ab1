"""CHANNEL_EVENTS: the app hears which channels have subscribers, once a change has lasted for five seconds."""

import time

import pytest
from support.api import API
from support.app import Reply
from support.net import eventually
from support.process import run

LAST = 5.0


def joining(app, *channels):
    """Lets who comes next into these channels."""
    app.on(Reply(204, headers={"Sidesocket-Subscribe": ", ".join(channels)}), event="open")


def told(app):
    """What the app was told of channels, in order."""
    return [(r.event.removeprefix("channel."), r.header("ce-channel")) for r in app.events() if "channel." in r.event]


def events_of(app, kind, count, timeout=20):
    return app.wait_events(count, f"channel.{kind}", timeout)


@pytest.fixture
def edge(app, sidesocket):
    return sidesocket(app, CHANNEL_EVENTS="on")


def test_the_app_hears_of_a_channel_that_has_subscribers_and_that_has_none_any_more(app, edge):
    joining(app, "room:1")
    began = time.monotonic()
    one, two = edge.websocket("/ws"), edge.websocket("/ws")
    event = events_of(app, "occupied", 1)[0]
    assert LAST - 0.1 < time.monotonic() - began < LAST + 5
    assert (event.method, event.target, event.body) == ("POST", "/", b"")
    assert event.header("ce-channel") == "room:1"
    assert event.header("ce-subject") == "room:1"
    assert event.header("ce-specversion") == "1.0"
    assert event.header("ce-source") == "/sidesocket/test-node"
    assert event.header("ce-time")
    assert event.header("ce-connectionid") is None and event.header("ce-sequence") is None
    one.close()
    app.wait_events(1, "close")
    ended = time.monotonic()
    two.close()
    gone = events_of(app, "vacated", 1)[0]
    assert time.monotonic() - ended > LAST - 0.1
    assert gone.header("ce-channel") == "room:1"
    assert gone.header("ce-id") != event.header("ce-id")
    assert told(app) == [("occupied", "room:1"), ("vacated", "room:1")]
    count = edge.metric("webhook_requests_total", event="channel", outcome="2xx")
    assert count == 2


def test_who_comes_and_goes_again_is_no_event_and_a_page_loaded_anew_neither(app, edge):
    joining(app, "short", "long")
    stays = edge.websocket("/ws")
    joining(app, "short")
    edge.websocket("/ws").close()
    joining(app, "brief")
    edge.websocket("/ws").close()
    app.wait_events(2, "close")
    joining(app, "long")
    events_of(app, "occupied", 2)
    stays.close()
    app.wait_events(3, "close")
    again = edge.websocket("/ws")
    began = time.monotonic()
    # `short` has lost its last one when `long` lost it too; the one that came back keeps that one.
    assert [r.header("ce-channel") for r in events_of(app, "vacated", 1)] == ["short"]
    assert time.monotonic() - began > LAST - 1
    assert sorted(told(app)) == [("occupied", "long"), ("occupied", "short"), ("vacated", "short")]
    again.barrier()


def test_an_event_is_tried_again_with_the_same_id_and_its_answer_may_publish(app, sidesocket):
    edge = sidesocket(app, CHANNEL_EVENTS="on", WEBHOOK_RETRY_FOR="1m", WEBHOOK_SECRET="whsec_" + "QUJD" * 11,
                      WEBHOOK_URL=app.url + "/hooks?from=ws")  # fmt: skip
    joining(app, "100%:a/b")
    welcome = {"Sidesocket-Publish": "100%:a/b", "Content-Type": "text/plain"}
    app.on(Reply(200, "somebody is here", welcome), event="channel.occupied")
    app.on(Reply(503), event="channel.occupied", times=2)
    socket = edge.websocket("/ws")
    got = socket.message()
    assert got == "somebody is here"
    tries = events_of(app, "occupied", 3)
    assert {r.header("ce-channel") for r in tries} == {"100%25:a/b"}
    assert {r.target for r in tries} == {"/hooks?from=ws"}
    assert len({r.header("ce-id") for r in tries}) == 1
    assert {r.header("webhook-id") for r in tries} == {tries[0].header("ce-id")}
    assert edge.metric("webhook_retries_total", event="channel") == 2


def test_an_event_that_the_app_refuses_is_counted_and_logged_and_holds_up_no_other(app, edge):
    app.on(Reply(422), event="channel.occupied", times=1)
    joining(app, "refused")
    first = edge.websocket("/ws")
    events_of(app, "occupied", 1)
    joining(app, "other")
    second = edge.websocket("/ws")
    assert events_of(app, "occupied", 2)[1].header("ce-channel") == "other"
    assert edge.metric("messages_dropped_total", reason="channel_event_undelivered") == 1
    line = next(line for line in edge.logs if line.get("channel") == "refused")
    assert line["level"] == "error"
    first.barrier()
    second.barrier()


def test_an_app_that_was_away_is_told_when_it_is_back(app, edge):
    app.on(Reply(503), event="channel.occupied", times=1)
    joining(app, "room")
    socket = edge.websocket("/ws")
    events_of(app, "occupied", 2, 30)
    assert edge.metric("messages_dropped_total", reason="channel_event_undelivered") == 0
    assert [line["level"] for line in edge.logs if line.get("channel") == "room"] == ["warning"]
    socket.barrier()


def test_an_answer_that_cannot_be_understood_is_logged_and_the_event_counts_as_delivered(app, edge):
    app.on(Reply(200, "x", {"Sidesocket-Publish": "bad name"}), event="channel.occupied")
    joining(app, "room")
    socket = edge.websocket("/ws")
    events_of(app, "occupied", 1)
    line = eventually(lambda: next((line for line in edge.logs if line.get("channel") == "room"), None))
    assert line["level"] == "warning" and "channel's name" in line["why"]
    assert edge.metric("messages_dropped_total", reason="channel_event_undelivered") == 0
    socket.barrier()
    assert len(app.events("channel.occupied")) == 1


def test_a_drain_tells_at_once_and_only_what_the_app_needs_to_know(app, edge):
    joining(app, "told")
    told_of = edge.websocket("/ws")
    events_of(app, "occupied", 1)
    joining(app, "news")
    news = edge.websocket("/ws")
    began = time.monotonic()
    edge.terminate()
    assert edge.wait_exit(30) == 0
    assert time.monotonic() - began < LAST + 20
    assert told(app) == [("occupied", "told"), ("vacated", "told")]
    told_of.expect_close(1012)
    news.expect_close(1012)


def test_it_is_off_unless_it_is_asked_for(app, sidesocket):
    quiet = sidesocket(app)
    watching = sidesocket(app, CHANNEL_EVENTS="on")
    joining(app, "quiet")
    one = quiet.websocket("/ws")
    joining(app, "watched")
    two = watching.websocket("/ws")
    assert events_of(app, "occupied", 1)[0].header("ce-channel") == "watched"
    assert told(app) == [("occupied", "watched")]
    one.barrier()
    two.barrier()


@pytest.mark.parametrize("value", ["yes please", "5s", ""])
def test_anything_but_on_and_off_is_an_error_at_the_start(value):
    done = run("check", CHANNEL_EVENTS=value, APP_URL="http://127.0.0.1:1")
    assert done.returncode == 78
    assert "CHANNEL_EVENTS" in done.stderr + done.stdout


def test_channels_by_the_thousand_are_all_told_and_the_app_is_not_stampeded(app, sidesocket):
    edge = sidesocket(app, CHANNEL_EVENTS="on", MAX_CHANNELS_PER_CONNECTION="2000", WEBHOOK_MAX_IN_FLIGHT="8")
    names = [f"c:{n}" for n in range(1000)]
    app.on(Reply(204, headers=[("Sidesocket-Subscribe", name) for name in names[:150]]), event="open")
    socket = edge.websocket("/ws")
    api = API(edge)
    one = app.events("open")[0].header("ce-connectionid")
    for name in names[150:]:
        api.want(204, "PUT", f"/v1/channels/{name}/connections/{one}")
    seen = events_of(app, "occupied", 1000, timeout=60)
    assert sorted(r.header("ce-channel") for r in seen) == sorted(names)
    assert len({r.header("ce-id") for r in seen}) == 1000
    assert app.most_in_flight <= 8
    socket.close()
    gone = events_of(app, "vacated", 1000, timeout=60)
    assert sorted(r.header("ce-channel") for r in gone) == sorted(names)
    eventually(lambda: edge.metric("channels") == 0)
