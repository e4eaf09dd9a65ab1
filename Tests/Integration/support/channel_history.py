"""What happened to the channels of a cluster, as records.

```
  publishers ── Published ──────────────┐
  readers    ── Opened Received Told Closed ──▶ Recording ──▶ channel_checker.check() ──▶ violations
  app        ── Heard ──────────────────┤
  faults     ── Fault Killed ───────────┘
```
"""

import threading
import time
from dataclasses import dataclass, field

STORED, UNKNOWN, REFUSED = "stored", "unknown", "refused"


@dataclass(frozen=True)
class Published:
    """One attempt to publish; every attempt with one idempotency key has the same payload, no others have.

    `result` is STORED after a 200, REFUSED after an answer that says it was not published, UNKNOWN after a 503, a
    timeout or a broken connection, and always for what a reply of the app publishes. `sender` names whoever sends one
    after the other without waiting for answers, on one connection, so that the order is promised.
    """

    channel: str
    payload: str
    began: float
    ended: float
    result: str
    node: str = ""
    offset: int | None = None
    epoch: str | None = None
    id: str | None = None
    status: int | None = None
    sender: str | None = None

    @property
    def at(self):
        return self.ended


@dataclass(frozen=True)
class Opened:
    """A reader's connection is open, in all its channels; `resumed` if it offered where it had been."""

    reader: str
    at: float
    channels: tuple
    resumed: bool = False
    node: str = ""


@dataclass(frozen=True)
class Received:
    """A reader got a message."""

    reader: str
    channel: str
    payload: str
    at: float
    event_id: str | None = None


@dataclass(frozen=True)
class Told:
    """A reader was told that messages may be missing: `event: reset`, or the close code 4410."""

    reader: str
    at: float
    how: str = "reset"


@dataclass(frozen=True)
class Closed:
    """A reader's connection has ended; `stopped` if the reader itself stopped reading for good."""

    reader: str
    at: float
    why: str = ""
    stopped: bool = False


@dataclass(frozen=True)
class Heard:
    """The app got an event of a connection and answered it with a 2xx; `event` is `open`, `message` or `close`."""

    event: str
    connection: str
    id: str
    at: float
    code: int | None = None
    label: str = ""
    node: str = ""


@dataclass(frozen=True)
class Fault:
    """Something was broken from `began` to `ended`; `loses` if the engine may have lost what it had confirmed."""

    name: str
    began: float
    ended: float
    loses: bool = False

    @property
    def at(self):
        return self.began


@dataclass(frozen=True)
class Killed:
    """A node was ended at once, as by kill -9."""

    node: str
    at: float


@dataclass
class Recording:
    """Everything that happened, in the order in which it was noted."""

    records: list = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, record):
        with self.lock:
            self.records.append(record)

    def all(self):
        with self.lock:
            return list(self.records)

    def of(self, kind, **wanted):
        """The records of a kind whose fields have these values."""
        return [
            one
            for one in self.all()
            if isinstance(one, kind) and all(getattr(one, name) == value for name, value in wanted.items())
        ]

    def fault(self, name, loses=False):
        """Notes what a `with` block breaks."""
        return _Broken(self, name, loses)

    def around(self, channel, payload=None, count=40):
        """The last records that are about a channel or all of them, as lines; of a payload, up to a while behind it."""
        found = [
            one
            for one in self.all()
            if not isinstance(one, Heard)
            and getattr(one, "channel", channel) == channel
            and channel in getattr(one, "channels", (channel,))
        ]
        last = max(
            (n for n, one in enumerate(found) if payload and getattr(one, "payload", None) == payload), default=None
        )
        if last is not None:
            found = found[: last + count // 4]
        return "\n".join(f"  {one.at:.3f} {one}" for one in found[-count:])


class _Broken:
    def __init__(self, recording, name, loses):
        self.recording, self.name, self.loses = recording, name, loses

    def __enter__(self):
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        self.recording.add(Fault(self.name, self.began, time.monotonic(), self.loses))


__all__ = [
    "REFUSED", "STORED", "UNKNOWN", "Closed", "Fault", "Heard", "Killed", "Opened", "Published", "Received", "Recording",
    "Told",
]  # fmt: skip
