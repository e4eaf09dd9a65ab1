"""The history of a channel: what was published can be read again, within its bounds, and no gap goes unnoticed."""

import base64
import json
import time
from datetime import datetime
from urllib.parse import quote

import pytest
from support.api import API
from support.app import Reply
from support.net import eventually

TEXT = {"Content-Type": "text/plain"}


def path(channel):
    return f"/v1/channels/{quote(channel, safe='')}/messages"


def publish(api, channel, text, **headers):
    return api.want(200, "POST", path(channel), text.encode(), {**TEXT, **headers}).json


def history(api, channel, status=200, **query):
    return api.want(status, "GET", path(channel), **query).json


def texts(api, channel, **query):
    return [message["text"] for message in history(api, channel, **query)["messages"]]


@pytest.fixture
def api(app, sidesocket):
    """The API of a sidecar that keeps ten messages of each channel."""
    return API(sidesocket(app, HISTORY_SIZE=10))


def test_it_is_off_by_default(app, edge):
    api = API(edge)
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "room"}), event="open")
    socket = edge.websocket()
    first, second = publish(api, "room", "a"), publish(api, "room", "b")
    # The offset counts all the same.
    assert second["offset"] == first["offset"] + 1 and second["epoch"] == first["epoch"]
    assert [socket.message(), socket.message()] == ["a", "b"]
    history(api, "room", 404)
    assert edge.metric("history_bytes") == 0
    socket.close()
    eventually(lambda: api.ask("GET", "/v1/channels/room").status == 404, "it is gone with its last subscriber")


def test_what_was_published_is_told_with_offset_time_and_content(api):
    first = publish(api, "room:1", "grüße")
    second = api.want(200, "POST", path("room:1"), b"\0\xff", {"Content-Type": "application/octet-stream"}).json
    third = publish(api, "room:1", "")
    got = history(api, "room:1")
    assert (got["channel"], got["epoch"]) == ("room:1", first["epoch"])
    assert [one["offset"] for one in got["messages"]] == [one["offset"] for one in (first, second, third)]
    for message in got["messages"]:
        moment = message.pop("time")
        assert moment.endswith("Z") and abs(datetime.fromisoformat(moment).timestamp() - time.time()) < 60
        message.pop("offset")
    assert got["messages"] == [{"text": "grüße"}, {"base64": base64.b64encode(b"\0\xff").decode()}, {"text": ""}]


def test_only_the_newest_are_kept_and_a_gap_is_gone(api):
    answers = [publish(api, "room", str(n)) for n in range(15)]
    offsets = [answer["offset"] for answer in answers]
    assert offsets == list(range(offsets[0], offsets[0] + 15))
    epoch = answers[0]["epoch"]
    assert {answer["epoch"] for answer in answers} == {epoch}
    assert texts(api, "room") == [str(n) for n in range(5, 15)]
    assert texts(api, "room", after=offsets[9], epoch=epoch) == ["10", "11", "12", "13", "14"]
    assert texts(api, "room", after=offsets[9], epoch=epoch, limit=2) == ["10", "11"]
    assert texts(api, "room", after=offsets[9]) == ["10", "11", "12", "13", "14"]
    # Whoever has the newest misses nothing; whoever has the one before the oldest does not either.
    assert texts(api, "room", after=offsets[14], epoch=epoch) == []
    assert texts(api, "room", after=offsets[4], epoch=epoch) == [str(n) for n in range(5, 15)]
    history(api, "room", 410, after=offsets[3], epoch=epoch)
    history(api, "room", 410, after=offsets[3])
    history(api, "room", 410, after=offsets[9], epoch="other")
    history(api, "elsewhere", 404)


def test_the_newest_can_be_read_without_knowing_a_place(api):
    answers = [publish(api, "room", str(n)) for n in range(15)]
    assert texts(api, "room", last=3) == ["12", "13", "14"]
    assert texts(api, "room", last=1, epoch=answers[0]["epoch"]) == ["14"]
    assert texts(api, "room", last=1000) == [str(n) for n in range(5, 15)]
    history(api, "room", 410, last=3, epoch="other")
    history(api, "elsewhere", 404, last=3)


@pytest.mark.parametrize(
    "query",
    [
        {"after": "x"},
        {"after": "-1"},
        {"after": "9" * 30},
        {"limit": "0"},
        {"limit": "x"},
        {"last": "0"},
        {"last": "1001"},
        {"last": "x"},
        {"last": "3", "after": "1"},
        {"last": "3", "limit": "3"},
    ],
    ids=str,
)
def test_a_wrong_question_is_a_bad_request(api, query):
    publish(api, "room", "a")
    history(api, "room", 400, **query)


def test_publications_of_replies_are_in_it_too(app, sidesocket):
    edge = sidesocket(app, HISTORY_SIZE=10)
    api = API(edge)
    said = {**TEXT, "Sidesocket-Publish": "room", "Sidesocket-Exclude": "self"}
    app.on(lambda request: Reply(200, request.body, said), event="message")
    socket = edge.websocket()
    for n in range(3):
        socket.text(str(n))
    eventually(lambda: api.ask("GET", path("room")).status == 200 and texts(api, "room") == ["0", "1", "2"])


def test_a_channel_with_history_exists_without_subscribers(api):
    answer = publish(api, "room", "a")
    assert (answer["matched"], answer["queued"], answer["dropped"]) == (0, 0, 0)
    assert api.want(200, "GET", "/v1/channels/room").json == {
        "channel": "room", "connections": 0, "users": [], "offset": answer["offset"], "epoch": answer["epoch"],
    }  # fmt: skip
    assert api.want(200, "GET", "/v1/channels").json["channels"] == [{"channel": "room", "connections": 0}]


def test_the_epoch_of_another_process_is_another(app, sidesocket):
    answers = [publish(API(sidesocket(app, HISTORY_SIZE=10)), "room", "a") for _ in range(2)]
    assert answers[0]["epoch"] != answers[1]["epoch"]


def test_what_is_older_than_its_time_to_live_is_gone(app, sidesocket):
    edge = sidesocket(app, HISTORY_SIZE=10, HISTORY_TTL="1s")
    api = API(edge)
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "kept"}), event="open")
    socket = edge.websocket()
    old = {name: publish(api, name, "old") for name in ("kept", "left")}
    assert texts(api, "left") == ["old"]
    # A channel without subscribers goes with its last message.
    eventually(lambda: api.ask("GET", "/v1/channels/left").status == 404, "it is gone")
    eventually(lambda: texts(api, "kept") == [], "the message is gone")
    edge.wait_metric("history_bytes", 0)
    new = {name: publish(api, name, "new") for name in ("kept", "left")}
    assert texts(api, "kept") == ["new"]
    assert (new["kept"]["epoch"], new["kept"]["offset"]) == (old["kept"]["epoch"], old["kept"]["offset"] + 1)
    # Nobody may take the new message for the old one.
    assert new["left"]["epoch"] != old["left"]["epoch"]
    history(api, "left", 410, after=old["left"]["offset"], epoch=old["left"]["epoch"])
    history(api, "kept", 410, after=old["kept"]["offset"] - 1, epoch=old["kept"]["epoch"])
    assert [socket.message(), socket.message()] == ["old", "new"]


def test_all_histories_together_are_bounded_and_the_oldest_goes_first(app, sidesocket):
    edge = sidesocket(app, HISTORY_SIZE=100, MAX_HISTORY_BYTES="256KiB")
    api = API(edge)
    before, filler = edge.rss, "x" * 4000
    first = publish(api, "first", filler)
    publish(api, "second", f"0 {filler}")
    for n in range(1, 90):
        publish(api, "second", f"{n} {filler}")
        assert edge.metric("history_bytes") <= 256 << 10
    assert edge.metric("history_bytes") > 128 << 10
    assert api.ask("GET", path("first"), after=first["offset"] - 1, epoch=first["epoch"]).status in (404, 410)
    numbers = [int(text.split()[0]) for text in texts(api, "second", limit=1000)]
    assert numbers == list(range(90 - len(numbers), 90)) and 30 < len(numbers) < 90
    # Many channels with little in each count as well: what a channel costs is part of it.
    for start in range(0, 5000, 1000):
        items = [{"channel": f"c{n}", "text": "x"} for n in range(start, start + 1000)]
        api.want(200, "POST", "/v1/messages", json.dumps(items))
    assert edge.metric("history_bytes") <= 256 << 10
    assert edge.rss - before < 48 << 20


def test_a_message_larger_than_all_history_is_sent_but_not_kept(app, sidesocket):
    edge = sidesocket(app, HISTORY_SIZE=10, MAX_HISTORY_BYTES="16KiB")
    api = API(edge)
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "room"}), event="open")
    socket = edge.websocket()
    first = publish(api, "room", "small")
    publish(api, "room", "x" * 30_000)
    assert [socket.message(), socket.message()] == ["small", "x" * 30_000]
    assert edge.metric("history_bytes") <= 16 << 10
    # It is a gap, and one that is told.
    history(api, "room", 410, after=first["offset"], epoch=first["epoch"])


def test_a_policy_gives_history_to_the_channels_of_its_pattern(app, sidesocket):
    edge = sidesocket(app, CHANNEL_POLICIES="chat:*=close,history=3,ttl=1h;ticker:*=drop-oldest")
    api = API(edge)
    for n in range(5):
        for name in ("chat:1", "chat:2", "ticker:1", "chat"):
            publish(api, name, f"{name} {n}")
    assert texts(api, "chat:1") == [f"chat:1 {n}" for n in (2, 3, 4)]
    assert texts(api, "chat:2") == [f"chat:2 {n}" for n in (2, 3, 4)]
    for name in ("ticker:1", "chat"):
        history(api, name, 404)
