"""What goes on while a cluster is hurt: publishers and readers that note everything they do and see."""

import contextlib
import http.client
import itertools
import json
import random
import threading
import time
from urllib.parse import parse_qs, quote, urlsplit

from .api import API
from .app import Reply
from .channel_checker import check, unclosed
from .channel_history import REFUSED, STORED, UNKNOWN, Heard, Published, Recording
from .cluster import admit
from .cluster_clients import Publisher, ReplyPublisher, SocketReader, StreamReader, short
from .net import eventually

PLAIN = {"Content-Type": "text/plain"}
# What a call waits for: longer than a node may take to answer that it does not know.
CALL = 4.0


class Load:
    """Publishers and readers at a cluster; `with load: …` runs them while the block hurts it."""

    def __init__(self, cluster, *, seed=0, channels=6, publishers=2, repliers=1, streams=4, sockets=4, pace=0.03):
        self.cluster, self.seed, self.pace = cluster, seed, pace
        # The threads that are publishing through the API at this moment.
        self.calls = set()
        self.recording = Recording()
        self.channels = [f"c:{n}" for n in range(channels)]
        self.publishers = [Publisher(self, f"p{n}") for n in range(publishers)]
        self.publishers += [ReplyPublisher(self, f"q{n}") for n in range(repliers)]
        chance = random.Random(seed)
        some = lambda: chance.sample(self.channels, chance.randint(1, min(3, channels)))  # noqa: E731
        self.readers = [StreamReader(self, f"stream{n}", some()) for n in range(streams)]
        self.readers += [SocketReader(self, f"socket{n}", some()) for n in range(sockets)]
        self.violations = None
        app = cluster.app
        app.on(self._noted(admit), event="open")
        app.on(self._noted(lambda _: Reply(204)), event="close")
        app.on(self._noted(_publish), event="message")

    def _noted(self, answer):
        def reply(request):
            code = json.loads(request.body)["code"] if request.event == "close" else None
            asked = parse_qs(urlsplit(request.target).query)
            label, node = (asked.get(name, [""])[0] for name in ("r", "n"))
            one, id = request.header("ce-connectionid"), request.header("ce-id")
            self.recording.add(Heard(request.event, one, id, time.monotonic(), code, label, node))
            return answer(request)

        return reply

    def __enter__(self):
        for one in self.readers:
            one.start()
        for one in self.readers:
            assert one.connected.wait(20), f"{one.name} is connected"
        for one in self.publishers:
            one.start()
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            for one in [*self.publishers, *self.readers]:
                one.stopping.set()

    def fault(self, name, loses=False):
        return self.recording.fault(name, loses)

    def publish(self, node, channel, payload, key=None):
        """Publishes once and notes the result, which is returned."""
        if node is None:
            return UNKNOWN
        began, status, place, result = time.monotonic(), None, {}, UNKNOWN
        headers = {**PLAIN, "Idempotency-Key": key} if key else PLAIN
        try:
            path = f"/v1/channels/{quote(channel, safe='')}/messages"
            self.calls.add(threading.get_ident())
            answer = API(node, timeout=CALL).ask("POST", path, payload, headers)
            status = answer.status
            if status == 200:
                result, place = STORED, {name: answer.json.get(name) for name in ("offset", "epoch", "id")}
            elif status not in (500, 502, 503, 504):
                result = REFUSED
        except (OSError, EOFError, http.client.HTTPException):
            pass
        finally:
            self.calls.discard(threading.get_ident())
        ended = time.monotonic()
        self.recording.add(Published(channel, short(payload), began, ended, result, node.name, status=status, **place))
        return result

    def published(self, count, timeout=30):
        """Waits until so many more publications were answered with 200."""
        wanted = len(self.recording.of(Published, result=STORED)) + count
        return eventually(
            lambda: len(self.recording.of(Published, result=STORED)) >= wanted,
            lambda: f"{count} more publications; {self.shown()}",
            timeout,
            0.02,
        )

    def settle(self, *, timeout=30, closes=True, grace=1.0, both_closes=False):
        """Ends the publishers, waits until readers have what is last, and judges what was recorded."""
        self._finish(self.publishers)
        self.cluster.wait_up(timeout)
        self._deliver_marks(timeout)
        self._finish(self.readers)
        if closes:
            eventually(
                lambda: not self._owed(),
                lambda: f"a close event of each connection; missing {self._owed()[:5]}",
                timeout,
                0.05,
            )
        stored = len(self.recording.of(Published, result=STORED))
        assert stored > 5 * len(self.channels), "hardly anything was published: the test shows nothing"
        self.judge(closes=closes, grace=grace, both_closes=both_closes)
        return self

    def judge(self, **how):
        """Fails with the seed and the last records of the channel concerned if a promise was broken."""
        self.violations = check(self.recording.all(), **how)
        assert not self.violations, self.shown()

    @staticmethod
    def _finish(workers):
        for one in workers:
            one.stopping.set()
        for one in workers:
            one.finish()

    def _deliver_marks(self, timeout):
        """Publishes until each reader has got something that was sent since the trouble ended."""
        marks, deadline = itertools.count(), time.monotonic() + timeout
        since = {reader: dict(reader.got) for reader in self.readers}

        def waiting():
            return [
                (reader.name, channel)
                for reader in self.readers
                for channel in reader.channels
                if reader.got[channel] == since[reader][channel] or "|mark|" not in reader.got[channel]
            ]

        while waiting() and time.monotonic() < deadline:
            number = next(marks)
            for channel in sorted({channel for _, channel in waiting()}):
                node = self.cluster.live[number % len(self.cluster.live)][1]
                self.publish(node, channel, f"{channel}|mark|{number}")
            # Readers that come again meanwhile get the next ones.
            with contextlib.suppress(AssertionError):
                eventually(lambda: not waiting(), "every reader has a mark", 1, 0.02)
        assert not waiting(), f"never got what was published after the trouble: {waiting()[:6]}; {self.shown()}"

    def _owed(self):
        return [f"{one.connection} ({one.label})" for one in unclosed(self.recording.all())]

    def shown(self, count=40):
        """What a failure prints: the seed, what is wrong, and the last records of the channel concerned."""
        wrong = self.violations or []
        lines = [f"seed {self.seed}; {len(wrong)} violations", *map(str, wrong[:12])]
        concerned = next((one for one in wrong if one.channel), None)
        if concerned:
            lines.append(f"the last of {concerned.channel} around {concerned.payload!r}:")
            lines.append(self.recording.around(concerned.channel, concerned.payload, count))
        else:
            lines += [f"  {one.at:.3f} {one}" for one in self.recording.all()[-count:]]
        return "\n".join(lines)


def _publish(request):
    channel = request.text.split("|", 1)[0]
    return Reply(200, request.body, {**PLAIN, "Sidesocket-Publish": channel})


__all__ = ["Load"]
