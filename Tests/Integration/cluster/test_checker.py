"""The program that judges recorded histories must see what is wrong, and nothing where nothing is."""

import itertools

import pytest
from support.channel_checker import check
from support.channel_history import (
    REFUSED, STORED, UNKNOWN, Closed, Fault, Heard, Killed, Opened, Published, Received, Recording, Told,
)  # fmt: skip


class Script:
    """A history that is written down by hand, a second for each step."""

    def __init__(self):
        self.clock = itertools.count(100)
        self.records = []
        self.offset = 0

    def add(self, record):
        self.records.append(record)
        return self

    def opened(self, *readers, resumed=False, channels=("c",)):
        for reader in readers:
            self.add(Opened(reader, next(self.clock), channels, resumed))
        return self

    def published(self, *payloads, result=STORED, epoch="e", offset=None, channel="c", sender=None):
        for payload in payloads:
            now = next(self.clock)
            self.offset = offset or self.offset + 1
            place = {"offset": self.offset, "epoch": epoch, "id": payload} if result == STORED else {}
            self.add(Published(channel, payload, now - 0.5, now, result, sender=sender, **place))
        return self

    def got(self, reader, *payloads, channel="c"):
        for payload in payloads:
            self.add(Received(reader, channel, payload, next(self.clock)))
        return self

    def told(self, reader, how="reset"):
        return self.add(Told(reader, next(self.clock), how))

    def closed(self, reader, stopped=False):
        return self.add(Closed(reader, next(self.clock), stopped=stopped))

    def fault(self, seconds=1, loses=False):
        now = next(self.clock)
        return self.add(Fault("a fault", now, now + seconds, loses))

    def heard(self, event, connection, id, node=""):
        return self.add(Heard(event, connection, id, next(self.clock), node=node))

    def killed(self, node):
        return self.add(Killed(node, next(self.clock)))

    def sorts(self, **how):
        """The sorts of what is wrong."""
        return sorted({one.sort for one in check(self.records, **how)})


def good():
    return Script().opened("r", "s").published("a", "b", "c").got("r", "a", "b", "c").got("s", "a", "b", "c")


# What is good


def test_a_good_history_has_no_violations():
    assert check(good().records) == []
    assert check([]) == []


def test_who_comes_late_begins_late():
    script = good().opened("late").published("d").got("r", "d").got("s", "d").got("late", "d")
    assert script.sorts() == []


def test_who_comes_is_not_owed_what_was_sent_before_its_subscription_holds():
    script = Script().opened("r")
    now = next(script.clock)
    script.add(Published("c", "a", now - 0.9, now, STORED, offset=1, epoch="e"))
    assert script.published("b", offset=2).got("r", "b").sorts(grace=1.0) == []
    assert script.sorts(grace=0.05) == ["hole"]


def test_a_hole_that_is_told_is_fine():
    script = Script().opened("r").published("a", "b", "c").got("r", "a").told("r").got("r", "c")
    assert script.sorts() == []


def test_a_stream_that_goes_on_where_it_was_is_one_run():
    script = Script().opened("r").published("a", "b").got("r", "a").closed("r").published("c")
    assert script.opened("r", resumed=True).got("r", "b", "c").sorts() == []


def test_a_position_that_is_refused_may_bring_old_messages_again():
    script = Script().opened("r").published("a", "b").got("r", "a", "b").closed("r")
    assert script.opened("r", resumed=True).told("r").got("r", "a", "b").sorts() == []


def test_a_socket_that_is_closed_for_its_gap_comes_without_a_position():
    script = Script().opened("r").published("a", "b", "c").got("r", "a").told("r", "4410").closed("r")
    assert script.opened("r").published("d").got("r", "d").sorts() == []


def test_what_is_not_known_to_be_stored_may_come_or_not():
    script = Script().opened("r", "s").published("a").published("x", "y", result=UNKNOWN).published("b")
    assert script.got("r", "a", "x", "b").got("s", "a", "x", "b").sorts() == []


def test_a_publication_that_was_tried_again_counts_once():
    script = Script().opened("r").published("a", result=UNKNOWN).published("a", "b").got("r", "a", "b")
    assert script.sorts() == []


def test_a_new_epoch_behind_a_gap_that_was_told_begins_anew():
    script = Script().opened("r").published("a", "b").got("r", "a", "b").fault(loses=True).told("r")
    script.published("c", epoch="f", offset=1).published("d", epoch="f", offset=2)
    assert script.got("r", "c", "d").sorts() == []


def test_a_lost_tail_whose_places_are_taken_again_is_fine_where_it_is_told():
    script = Script().opened("r").published("a", "b").got("r", "a", "b").fault(loses=True).told("r")
    assert script.published("c", epoch="e", offset=2).got("r", "c").sorts() == []


def test_what_the_engine_has_lost_may_be_told_late_and_nothing_else():
    script = Script().opened("r").published("a", "b", "c").got("r", "a", "c").told("r")
    assert script.sorts() == ["hole"]
    script = Script().opened("r").published("a", "b").fault(loses=True).published("c").got("r", "a", "c")
    assert script.sorts() == ["hole"]
    assert script.told("r").sorts() == []


def test_who_left_is_owed_nothing():
    script = Script().opened("r").published("a").got("r", "a").closed("r").published("b")
    assert script.sorts() == []


def test_who_stopped_reading_at_the_end_was_connected_to_it():
    script = Script().opened("r").published("a", "b").got("r", "a").closed("r", stopped=True)
    assert script.sorts() == ["undelivered"]


# What is wrong with readers


def test_a_repeat_is_seen():
    assert good().got("r", "c").sorts() == ["repeat"]
    script = Script().opened("r").published("a").got("r", "a").closed("r").opened("r", resumed=True).got("r", "a")
    assert script.sorts() == ["repeat"]
    script = Script().opened("r").published("a", "b").got("r", "a").told("r").got("r", "a", "b")
    assert "repeat" in script.sorts()


def test_a_repeat_of_what_is_not_known_to_be_stored_is_seen():
    script = Script().opened("r").published("x", result=UNKNOWN).got("r", "x", "x")
    assert script.sorts() == ["repeat"]


def test_a_hole_is_seen():
    script = Script().opened("r").published("a", "b", "c").got("r", "a", "c")
    assert script.sorts() == ["hole"]


def test_a_hole_over_a_reconnect_that_offered_a_position_is_seen():
    script = Script().opened("r").published("a", "b", "c").got("r", "a").closed("r")
    assert script.opened("r", resumed=True).got("r", "c").sorts() == ["hole"]


def test_a_hole_before_the_first_message_is_seen_unless_something_was_broken():
    script = Script().opened("r").published("x", "y", "a", "b").got("r", "a", "b")
    assert script.sorts() == ["hole"]
    script = Script().fault(50).opened("r").published("x", "y", "a", "b").got("r", "a", "b")
    assert script.sorts() == []


def test_a_hole_before_the_first_message_behind_a_gap_is_seen():
    script = Script().opened("r").published("a").got("r", "a").told("r").published("b", "c", "d").got("r", "d")
    assert script.sorts() == ["hole"]


def test_a_hole_around_a_message_of_unknown_place_is_seen():
    script = Script().opened("r").published("a").published("x", result=UNKNOWN).published("b", "c")
    assert script.got("r", "a", "x", "c").sorts() == ["hole"]


def test_a_hole_at_the_change_of_the_epoch_is_seen():
    script = Script().opened("r").published("a", "b").published("c", epoch="f", offset=1)
    assert script.got("r", "a", "c").sorts() == ["hole"]
    script = Script().opened("r").published("a").published("b", epoch="f", offset=1)
    assert script.published("c", epoch="f", offset=2).got("r", "a", "c").sorts() == ["hole"]


def test_a_reorder_is_seen():
    script = Script().opened("r").published("a", "b").got("r", "b", "a")
    assert "backwards" in script.sorts()


def test_going_back_to_an_epoch_that_was_left_is_seen():
    script = Script().opened("r").published("a").published("b", epoch="f", offset=1).published("c", offset=2)
    assert "backwards" in script.got("r", "a", "b", "c").sorts()


def test_two_readers_with_different_orders_are_seen_also_where_no_place_is_known():
    script = Script().opened("r", "s").published("x", "y", result=UNKNOWN)
    assert script.got("r", "x", "y").got("s", "y", "x").sorts() == ["order"]
    script = Script().opened("r", "s", "t").published("x", "y", "z", result=UNKNOWN)
    assert script.got("r", "x", "y").got("s", "y", "z").got("t", "z", "x").sorts() == ["order"]


def test_an_order_against_that_of_a_sender_is_seen():
    script = Script().opened("r").published("x", "y", result=UNKNOWN, sender="connection")
    assert script.got("r", "y", "x").sorts() == ["order"]
    script = Script().opened("r").published("x", "y", "z", result=UNKNOWN, sender="connection")
    assert script.got("r", "x", "z").sorts() == []


def test_a_200_that_nobody_got_is_seen_and_one_that_is_told_is_not():
    script = Script().opened("r").published("a", "b").got("r", "a")
    assert script.sorts() == ["undelivered"]
    assert script.sorts(finished=False) == []
    assert script.told("r").sorts() == []
    assert Script().opened("r").published("z", "a").sorts() == ["undelivered"]
    script = Script().opened("r").published("a").got("r", "a").published("b", epoch="f", offset=1)
    assert script.sorts() == ["undelivered"]


def test_what_nobody_published_or_was_refused_or_belongs_elsewhere_is_seen():
    assert Script().opened("r").got("r", "a").sorts() == ["foreign"]
    assert Script().opened("r").published("a", result=REFUSED).got("r", "a").sorts() == ["refused"]
    assert "foreign" in Script().opened("r").published("a", channel="d").got("r", "a", channel="d").sorts()


# What is wrong with positions


def test_two_messages_at_one_place_are_seen():
    script = Script().published("a", "b", offset=7)
    assert "position" in script.sorts()


def test_what_is_sent_after_an_answer_lies_behind_it():
    assert Script().published("a", offset=7).published("b", offset=6).sorts() == ["position"]
    assert Script().published("a", offset=7).published("b", offset=6).fault(loses=True).sorts() == []


# What is wrong with connections


def test_every_connection_is_closed_once():
    script = Script().heard("open", "C", "C-1").heard("message", "C", "C-2").heard("close", "C", "C-3")
    assert script.sorts() == []
    assert script.heard("close", "C", "C-3").heard("message", "C", "C-2").heard("open", "C", "C-1").sorts() == []
    assert Script().heard("open", "C", "C-1").heard("close", "C", "C-lost").sorts() == []


@pytest.mark.parametrize(
    "events",
    [
        [("open", "C", "C-1")],
        [("open", "C", "C-1"), ("close", "C", "C-2"), ("close", "C", "C-lost")],
        [("open", "C", "C-1"), ("close", "C", "C-2"), ("open", "D", "D-1")],
        [("close", "C", "C-2")],
        [("open", "C", "C-1"), ("close", "C", "C-3"), ("message", "C", "C-2")],
    ],
    ids=["no close", "two closes", "one of two", "no open", "a message behind the close"],
)
def test_connections_that_are_closed_wrongly_are_seen(events):
    script = Script()
    for event in events:
        script.heard(*event)
    assert script.sorts() == ["close"]


def test_closes_that_are_not_due_yet_and_those_of_a_node_that_came_back_are_fine():
    assert Script().heard("open", "C", "C-1").sorts(closes=False) == []
    script = Script().heard("open", "C", "C-1").heard("close", "C", "C-2").heard("close", "C", "C-lost")
    assert script.sorts(both_closes=True) == []


@pytest.mark.parametrize(
    ("node", "loses", "reopened", "sorts"),
    [
        ("web-1", True, False, []),
        ("web-1", False, False, ["close"]),
        ("web-2", True, False, ["close"]),
        ("web-1", True, True, ["close"]),
    ],
    ids=["forgotten", "nothing was lost", "another node", "opened at the next node of that name"],
)
def test_closes_that_the_engine_has_forgotten_are_not_due(node, loses, reopened, sorts):
    script = Script().heard("open", "C", "C-1", node).killed("web-1").fault(loses=loses)
    if reopened:
        script.heard("open", "D", "D-1", node)
    assert script.sorts() == sorts


# What is shown


def test_the_last_records_of_a_channel_are_shown():
    recording = Recording()
    for record in good().opened("t", channels=("d",)).published("z", channel="d").heard("open", "C", "C-1").records:
        recording.add(record)
    shown = recording.around("c", count=4)
    assert "'z'" not in shown and "C-1" not in shown and len(shown.splitlines()) == 4
    assert [line.split()[0] for line in recording.around("c", "a", 4).splitlines()] == [
        "105.000",
        "106.000",
        "107.000",
        "108.000",
    ]
    with recording.fault("pulled the plug"):
        pass
    assert "pulled the plug" in recording.around("c")


def test_what_the_losing_one_of_two_servers_took_is_not_due_at_the_other():
    script = Script().opened("r").published("a").got("r", "a").published("b", epoch="f", offset=1).fault(loses=True)
    assert script.told("r").published("c", offset=2).got("r", "c").sorts() == []
    script = Script().opened("r").published("a").got("r", "a").published("b", epoch="f", offset=1).fault(loses=True)
    assert script.published("c", offset=2).got("r", "c").sorts() == ["undelivered"]
