"""The program that judges recorded histories of channels: `check` returns what breaks the promises of a cluster.

Per reader and channel strictly forward, no repeat, and no hole without a gap that was told; all readers see one order;
every 200 is delivered or a gap is told; every connection that was opened is closed at the app exactly once, where
repeats carry the same connection.
"""

import bisect
import graphlib
import itertools
from collections import defaultdict
from dataclasses import dataclass, field

from .channel_history import REFUSED, STORED, Closed, Fault, Heard, Killed, Opened, Published, Received, Told


# Seconds within which a loss of the engine is noticed.
LATE = 15.0
# Seconds within which survivors have told the app of the connections of a lost node.
CLAIMED = 20.0


@dataclass(frozen=True)
class Violation:
    """A broken promise: its sort, the channel and the message it is about, and a sentence."""

    sort: str
    channel: str | None
    sentence: str
    payload: str | None = None

    def __str__(self):
        return f"{self.sort}: {self.sentence}"


@dataclass
class Run:
    """What a reader got of a channel without a break that it was told of.

    `start` is `fresh` (it came without a position), `told` (behind a gap) or `anew` (its position was refused, so that
    messages from before may come again). `end` is `open`, `told` or `closed`.
    """

    reader: str
    channel: str
    start: str
    since: float
    payloads: list = field(default_factory=list)
    end: str = "open"


@dataclass
class Story:
    """The publications of one channel, put together by payload."""

    first: dict = field(default_factory=dict)
    last: dict = field(default_factory=dict)
    attempts: dict = field(default_factory=lambda: defaultdict(int))
    stored: dict = field(default_factory=dict)
    refused: set = field(default_factory=set)
    senders: dict = field(default_factory=lambda: defaultdict(list))
    # By epoch, in the order of their first answers: offsets and payloads in order.
    lines: dict = field(default_factory=lambda: defaultdict(list))

    def place(self, payload):
        """The epoch and offset of a publication that was answered with 200, else None."""
        found = self.stored.get(payload)
        return (found.epoch, found.offset) if found else None

    def between(self, epoch, after=None, before=None):
        """The payloads of an epoch that lie behind one offset and before another, in order."""
        line = self.lines[epoch]
        first = 0 if after is None else bisect.bisect_right(line, after, key=lambda one: one[0])
        last = len(line) if before is None else bisect.bisect_left(line, before, key=lambda one: one[0])
        return [payload for _, payload in line[first:last]]

    def behind(self, payload):
        """The payloads that lie behind a stored one, those of later epochs too."""
        epoch, offset = self.place(payload)
        epochs = list(self.lines)
        later = epochs[epochs.index(epoch) + 1 :]
        return self.between(epoch, after=offset) + [one for name in later for one in self.between(name)]


def check(records, *, finished=True, closes=True, grace=1.0, both_closes=False):
    """What breaks the promises, as a list of `Violation`; an empty list is a good history.

    `finished`: whoever is still connected at the end has had the time to get everything.
    `closes`: the app has had the time to get the close events of all connections.
    `grace`: seconds that a reader without a position takes, from its answer on, until its subscriptions hold.
    `both_closes`: a lost node that came back without its engine may have sent a close event beside that of others.
    """
    faults = [one for one in records if isinstance(one, Fault)]
    stories = _stories(records)
    runs, violations = _runs(records)
    told = defaultdict(list)
    for one in records:
        if isinstance(one, Told):
            told[one.reader].append(one.at)
    for run in runs:
        story = stories[run.channel]
        violations += _foreign(run, story)
        violations += _forward(run, story)
        violations += _holes(run, story, faults, grace, told[run.reader])
        if finished and run.end == "open":
            violations += _tail(run, story, faults, grace, told[run.reader])
    violations += _again(runs, stories, faults)
    for channel, story in stories.items():
        violations += _positions(channel, story, faults)
        violations += _one_order(channel, story, [run for run in runs if run.channel == channel], faults)
    violations += _connections(records, closes, both_closes)
    return violations


def _stories(records):
    stories = defaultdict(Story)
    for one in records:
        if not isinstance(one, Published):
            continue
        story = stories[one.channel]
        story.first[one.payload] = min(one.began, story.first.get(one.payload, one.began))
        story.last[one.payload] = max(one.ended, story.last.get(one.payload, one.ended))
        story.attempts[one.payload] += 1
        if one.result == STORED:
            story.stored.setdefault(one.payload, one)
        if one.sender:
            story.senders[one.sender].append(one.payload)
    results = defaultdict(set)
    for one in records:
        if isinstance(one, Published):
            results[one.channel, one.payload].add(one.result)
    for (channel, payload), found in results.items():
        if found == {REFUSED}:
            stories[channel].refused.add(payload)
    for story in stories.values():
        for one in sorted(story.stored.values(), key=lambda one: one.ended):
            story.lines[one.epoch].append((one.offset, one.payload))
        for line in story.lines.values():
            line.sort()
    return stories


# Readers


def _runs(records):
    """The runs of all readers, and what cannot belong to any."""
    runs, current, opened, violations = [], {}, {}, []

    def begin(reader, channel, start, at):
        run = current[reader, channel] = Run(reader, channel, start, at)
        runs.append(run)

    def end(reader, how):
        for (name, _), run in current.items():
            if name == reader and run.end == "open":
                run.end = how

    for one in records:
        if isinstance(one, Opened):
            known = one.reader in opened and one.resumed
            opened[one.reader] = [one, 0]
            if known:
                for channel in one.channels:
                    if (one.reader, channel) in current:
                        current[one.reader, channel].end = "open"
                    else:
                        begin(one.reader, channel, "fresh", one.at)
                continue
            end(one.reader, "closed")
            for channel in one.channels:
                begin(one.reader, channel, "fresh", one.at)
        elif isinstance(one, Received):
            run = current.get((one.reader, one.channel))
            if run is None:
                text = f"{one.reader} got {one.payload!r} of {one.channel}, in which it is not"
                violations.append(Violation("foreign", one.channel, text))
                continue
            opened[one.reader][1] += 1
            run.payloads.append(one.payload)
        elif isinstance(one, Told) and one.reader in opened:
            connection, count = opened[one.reader]
            start = "anew" if connection.resumed and count == 0 else "told"
            end(one.reader, "told")
            for channel in connection.channels:
                begin(one.reader, channel, start, one.at)
        elif isinstance(one, Closed) and not one.stopped:
            end(one.reader, "closed")
    return runs, violations


def _foreign(run, story):
    for payload in run.payloads:
        if payload not in story.first:
            yield Violation("foreign", run.channel, f"{run.reader} got {payload!r}, which nobody published")
        elif payload in story.refused:
            yield Violation("refused", run.channel, f"{run.reader} got {payload!r}, whose publication was refused")


def _forward(run, story):
    """Within a run no message comes twice, and none behind a later one."""
    seen, left, last = set(), set(), None
    for payload in run.payloads:
        if payload in seen:
            yield Violation("repeat", run.channel, f"{run.reader} got {payload!r} twice", payload)
            continue
        seen.add(payload)
        if not (place := story.place(payload)):
            continue
        epoch, offset = place
        if epoch in left:
            yield Violation(
                "backwards", run.channel, f"{run.reader} went back to the epoch {epoch} at {payload!r}", payload
            )
        elif last and last[0] == epoch and last[1] >= offset:
            text = f"{run.reader} got {payload!r} at {epoch} {offset} behind {last[2]!r} at {last[1]}"
            yield Violation("backwards", run.channel, text, payload)
        if last and last[0] != epoch:
            left.add(last[0])
        last = (epoch, offset, payload)


def _holes(run, story, faults, grace, told):
    """Between two messages of a run nothing that is stored is missing, nor before the first from when it held."""
    seen = set(run.payloads)
    known = [payload for payload in run.payloads if payload in story.stored]
    for before, after in itertools.pairwise(known):
        for missing in _between(story, before, after):
            if missing not in seen and not _is_told_later(story.stored[missing], faults, told):
                text = f"{run.reader} got {before!r} and then {after!r} without {_placed(story, missing)}"
                yield Violation("hole", run.channel, text, after)
    if known:
        epoch, offset = story.place(known[0])
        for payload in story.between(epoch, before=offset):
            if payload not in seen and _is_due(story.stored[payload].began, run.since, faults, grace):
                text = f"{run.reader} was there and began with {known[0]!r}, without {_placed(story, payload)}"
                yield Violation("hole", run.channel, text, known[0])


def _is_told_later(missing, faults, told):
    """Whether the engine has lost a message, and the reader was told so as soon as that is to be noticed."""
    losses = [one for one in faults if one.loses and one.began - LATE < missing.ended and missing.began < one.ended]
    return any(missing.began < at < one.ended + LATE for one in losses for at in told)


def _between(story, before, after):
    """The stored messages after one and before another one; over a change of epochs, the ends of both."""
    first, last = story.place(before), story.place(after)
    if first[0] == last[0]:
        return story.between(first[0], first[1], last[1])
    return story.between(first[0], after=first[1]) + story.between(last[0], before=last[1])


def _tail(run, story, faults, grace, told):
    """Whoever is connected at the end has got the last messages too."""
    seen = set(run.payloads)
    known = [payload for payload in run.payloads if payload in story.stored]
    if known:
        due = story.behind(known[-1])
    else:
        due = [name for name, one in story.stored.items() if _is_due(one.began, run.since, faults, grace)]
    last = repr(known[-1]) if known else "nothing"
    for payload in due:
        # Of two servers that took writes one has lost its own, which may look as if they were the later ones.
        if payload not in seen and not _is_told_later(story.stored[payload], faults, told):
            text = f"{run.reader}, there since {run.since:.3f}, got {last} last, and never {_placed(story, payload)}"
            yield Violation("undelivered", run.channel, text, payload)


def _is_due(published, since, faults, grace):
    """Whether a reader that came at `since` without a position must have been subscribed at `published`."""
    if published < since + grace:
        return False
    return not any(one.began < published and one.ended + grace > since - grace for one in faults)


def _again(runs, stories, faults):
    """Behind a gap that was told while connected, nothing comes again and nothing from further back."""
    previous = {}
    for run in runs:
        before = previous.get((run.reader, run.channel))
        previous[run.reader, run.channel] = run
        if before is None or run.start != "told" or any(one.loses for one in faults):
            continue
        story = stories[run.channel]
        for payload in set(before.payloads) & set(run.payloads):
            text = f"{run.reader} got {payload!r} again behind a gap that it was told"
            yield Violation("repeat", run.channel, text, payload)
        old = [place for payload in before.payloads if (place := story.place(payload))]
        new = [place for payload in run.payloads if (place := story.place(payload))]
        if old and new and old[-1][0] == new[0][0] and new[0][1] < old[-1][1]:
            text = f"{run.reader} was at {old[-1]} and got {new[0]} behind a gap that it was told"
            yield Violation("backwards", run.channel, text)


# Channels


def _positions(channel, story, faults):
    """No two messages have one position, and what is published after an answer lies behind it."""
    may_lose = any(one.loses for one in faults)
    places = {}
    for payload, one in story.stored.items():
        other = places.setdefault((one.epoch, one.offset), payload)
        if other != payload and not may_lose:
            text = f"{other!r} and {payload!r} both are at {one.epoch} {one.offset}"
            yield Violation("position", channel, text, payload)
    if may_lose:
        return
    highest = {}
    starts = sorted(story.stored, key=lambda payload: story.first[payload])
    ends = sorted(story.stored, key=lambda payload: story.last[payload])
    done = 0
    for payload in starts:
        while done < len(ends) and story.last[ends[done]] < story.first[payload]:
            one = story.stored[ends[done]]
            if one.offset > highest.get(one.epoch, (0, ""))[0]:
                highest[one.epoch] = (one.offset, ends[done])
            done += 1
        one = story.stored[payload]
        before = highest.get(one.epoch)
        if before and before[0] >= one.offset:
            text = f"{payload!r} was sent after {before[1]!r} was answered, and is at {one.offset}, that at {before[0]}"
            yield Violation("position", channel, text, payload)


def _one_order(channel, story, runs, faults):
    """There is one order that agrees with what all readers saw, with the offsets, and with each sender."""
    after = defaultdict(set)
    may_lose = any(one.loses for one in faults)
    # Stored, lost and stored again, a message may have two places.
    moving = {payload for payload, count in story.attempts.items() if count > 1} if may_lose else set()

    def chain(payloads):
        steady = [payload for payload in dict.fromkeys(payloads) if payload not in moving]
        for before, behind in itertools.pairwise(steady):
            after[behind].add(before)

    for run in runs:
        chain(run.payloads)
    received = {payload for run in runs for payload in run.payloads}
    for payloads in story.senders.values():
        chain(payload for payload in payloads if payload in received)
    if not may_lose:
        for line in story.lines.values():
            chain(payload for _, payload in line)
    try:
        graphlib.TopologicalSorter(after).prepare()
    except graphlib.CycleError as error:
        cycle = list(reversed(error.args[1]))
        text = f"there is no order in which all readers saw {cycle[:8]}: each came before the next"
        yield Violation("order", channel, text, cycle[0])


def _placed(story, payload):
    one = story.stored[payload]
    return f"{payload!r}, answered 200 at {one.ended:.3f} with {one.epoch} {one.offset}"


# Connections


def _connections(records, closes, both_closes):
    """Every connection whose `open` the app accepted is closed there once, and nothing of it comes behind that."""
    opened, closed, known = {}, defaultdict(set), set()
    for one in records:
        if not isinstance(one, Heard):
            continue
        if one.event == "open":
            opened.setdefault(one.connection, one)
        elif one.event == "close":
            if one.connection not in opened:
                text = f"the app got the close event {one.id} of a connection whose open it never accepted"
                yield Violation("close", None, text)
            closed[one.connection].add(one.id)
        elif one.connection in closed and one.id not in known:
            yield Violation("close", None, f"the app got {one.id} behind the close event of its connection")
        known.add(one.id)
    for connection, ids in closed.items():
        if len(ids) > 1 and not both_closes:
            text = f"the app got {len(ids)} close events of {connection}: {sorted(ids)}"
            yield Violation("close", None, text)
    for one in unclosed(records) if closes else []:
        text = f"the app never got a close event of {one.connection} ({one.label}), opened at {one.at:.3f}"
        yield Violation("close", None, text)


def unclosed(records):
    """The `open` events of the connections whose close event is still due.

    None is where the engine may have lost the connections of a killed node before survivors had told the app of them.
    """
    closed = {one.connection for one in records if isinstance(one, Heard) and one.event == "close"}
    opened = {one.connection: one for one in reversed(records) if isinstance(one, Heard) and one.event == "open"}
    losses = [one for one in records if isinstance(one, Fault) and one.loses]
    forgotten = [
        one
        for one in records
        if isinstance(one, Killed) and any(loss.began < one.at + CLAIMED and one.at < loss.ended for loss in losses)
    ]
    return [
        one
        for connection, one in opened.items()
        if connection not in closed and not any(lost.node == one.node and one.at < lost.at for lost in forgotten)
    ]


__all__ = ["Run", "Violation", "check", "unclosed"]
