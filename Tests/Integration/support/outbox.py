"""What the tests of the outbox share: how a sidecar is killed, and what the app must have been told."""

import json
from pathlib import Path

from .net import eventually, stable

BREAKER = 15.0


def kill(edge, settle=True):
    """kill -9; with `settle` when what was received has come to the disk, as the promise is about that."""
    if settle:
        stable(lambda: sorted((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in everything(edge.outbox)), 0.2)
    edge.exit_expected = True
    edge.kill()


def told(app, connection):
    """The events of a connection as the app got them: (sequence, event), duplicates aside."""
    return list(dict.fromkeys((e.sequence, e.event) for e in app.events(connection_id=connection)))


def check_retries(app):
    """Requests with one id are one event."""
    known = {}
    for event in app.events():
        facts = (event.event, event.body, event.header("ce-time"), event.header("ce-sequence"), event.target,
                 event.header("ce-subject"), event.header("content-type"), event.header("ce-userid"),
                 event.header("cookie"))  # fmt: skip
        assert known.setdefault(event.header("ce-id"), facts) == facts


def check_closed(app, connection, messages):
    """The app got open, so many messages and then one close with code 1006, without gaps."""
    eventually(lambda: app.events("close", connection), lambda: f"a close event, got {told(app, connection)}", BREAKER)
    assert told(app, connection) == [
        (1, "open"), *[(n, "message") for n in range(2, messages + 2)], (messages + 2, "close"),
    ]  # fmt: skip
    close = app.events("close", connection)[-1]
    body = json.loads(close.body)
    assert body["code"] == 1006 and body["initiator"] in ("server", "network"), body
    assert {"reason", "messagesIn", "messagesOut", "durationMs"} <= set(body)
    assert close.header("ce-id") == f"{connection}-{messages + 2}"


def outbox_state(edge):
    """What the metric and /readyz say of the disk."""
    return edge.metric("outbox_failing"), json.loads(edge.readyz()[1])["outbox"]["writable"]


def errors(edge):
    return [e for e in edge.logs if e["level"] in ("error", "critical")]


def everything(folder):
    return [path for path in Path(folder).rglob("*") if path.is_file()]
