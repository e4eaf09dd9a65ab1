"""OUTBOX_DIR after an upgrade: what the last version had not delivered goes to the app as that version would have sent it."""

import json
import sqlite3

# As version 1 of the file was.
TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE connections (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, head BLOB NOT NULL, \
identity BLOB NOT NULL, opened_at INTEGER NOT NULL, messages_in INTEGER NOT NULL, \
last_answered INTEGER NOT NULL, close_sequence INTEGER, close_body BLOB, close_at INTEGER) STRICT;
CREATE TABLE messages (connection INTEGER NOT NULL, sequence INTEGER NOT NULL, is_text INTEGER NOT NULL, \
payload BLOB NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (connection, sequence)) STRICT;
PRAGMA application_id = 1935962991; PRAGMA user_version = 1;
"""
HEAD = [
    "POST /hook?x=1 HTTP/1.1", "Host: shop.example", "ce-specversion: 1.0", "ce-source: /sidesocket/node%201",
    "ce-subject: /ws/chat?room=1", "ce-connectionid: {id}", "X-Forwarded-For: 203.0.113.9",
    "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example", "Cookie: a=1",
]  # fmt: skip
CLOSE = b'{"code":4001,"reason":"a\\"b","initiator":"client","messagesIn":3,"messagesOut":2,"durationMs":8}'


def lines(*fields, **names):
    return "".join(field.format(**names) + "\r\n" for field in fields).encode()


def write(box):
    """A file with a connection that was open, and one that had ended."""
    box.mkdir(mode=0o700)
    database = sqlite3.connect(box / "outbox.sqlite", isolation_level=None)
    database.executescript(TABLES)
    identity = lines("ce-userid: a%20b", "ce-connectionstate: s1")
    row = "INSERT INTO connections VALUES (?, ?, ?, ?, 5, ?, ?, ?, ?, ?)"
    database.execute(row, (1, "open-1", lines(*HEAD, id="open-1"), identity, 3, 2, None, None, None))
    database.execute(row, (2, "ended-1", lines(*HEAD, id="ended-1"), b"", 0, 1, 2, CLOSE, 1_795_428_000_123))
    message = "INSERT INTO messages VALUES (1, ?, ?, ?, 1795428000123)"
    database.execute(message, (3, 1, b"text"))
    database.execute(message, (4, 0, b"\x00\xff"))
    database.close()


def test_what_the_last_version_had_not_delivered_goes_to_the_app_as_it_was(app, sidesocket, tmp_path):
    box = tmp_path / "outbox"
    write(box)
    edge = sidesocket(app, OUTBOX_DIR=str(box), NODE_NAME="other")
    events = app.wait_events(4)
    told = sorted((e.header("ce-id"), e.event, e.body) for e in events if e.event != "close")
    assert told == [("open-1-3", "message", b"text"), ("open-1-4", "message", b"\x00\xff")]
    closes = {e.header("ce-id"): e for e in events if e.event == "close"}
    assert closes["ended-1-2"].body == CLOSE
    assert closes["ended-1-2"].header("ce-time") == "2026-11-23T10:00:00.123Z"
    assert json.loads(closes["open-1-5"].body)["code"] == 1006
    for event in events:
        assert event.target == "/hook?x=1"
        assert event.header("host") == "shop.example"
        assert event.header("ce-source") == "/sidesocket/node%201"
        assert event.header("ce-subject") == "/ws/chat?room=1"
        assert event.header("x-forwarded-for") == "203.0.113.9"
        assert event.header("cookie") == "a=1"
        is_known = event.header("ce-connectionid") == "open-1"
        assert event.header("ce-userid") == ("a%20b" if is_known else None)
        assert event.header("ce-connectionstate") == ("s1" if is_known else None)
    assert not [entry for entry in edge.logs if entry["level"] in ("error", "critical")]
    edge.terminate()
    assert edge.wait_exit() == 0
    # It is this version's file now, and empty.
    edge = sidesocket(app, OUTBOX_DIR=str(box))
    edge.websocket().close()
    app.wait_events(6)
    assert [e.event for e in app.events()[4:]] == ["open", "close"]
