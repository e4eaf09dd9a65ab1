"""OUTBOX_DIR: what the app has not answered survives a kill -9, and comes again with the same ids."""

import functools
import json
import os
import random
import resource
import stat
import subprocess
import time
from pathlib import Path

import pytest
from support.app import Reply, gate
from support.history import History, HistoryClient
from support.net import eventually, free_port, stable
from support.net import reset as abort
from support.process import run
from support.tokens import SECRET, bearer, mint
from support.ws import BINARY, TEXT, frame

TEXT_PLAIN = {"Content-Type": "text/plain"}
BREAKER = 15.0


@pytest.fixture
def box(tmp_path):
    """The directory of the outbox."""
    folder = tmp_path / "outbox"
    folder.mkdir()
    return folder


@pytest.fixture
def start(app, sidesocket, box):
    """Starts a sidecar with the outbox."""
    # A killed process leaves requests behind that the app may still work on.
    app.one_at_a_time = False

    def go(**settings):
        edge = sidesocket(app, OUTBOX_DIR=str(box), **settings)
        edge.outbox = box
        return edge

    return go


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
    eventually(
        lambda: app.events("close", connection), lambda: f"a close event, got {told(app, connection)}", BREAKER
    )
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


# A kill


def test_open_connections_get_their_close_event_after_a_kill(app, start):
    edge = start()
    sockets = [edge.websocket() for _ in range(10)]
    connections = [e.header("ce-connectionid") for e in app.wait_events(10, "open")]
    for n, socket in enumerate(sockets[:5]):
        for i in range(n):
            socket.text(str(i))
    app.wait_events(10, "message")
    for socket in sockets:
        socket.barrier()
    kill(edge)
    edge = start()
    app.wait_events(10, "close", BREAKER)
    told_by_length = sorted(len(told(app, c)) for c in connections)
    assert told_by_length == [2] * 6 + [3, 4, 5, 6]
    for connection in connections:
        check_closed(app, connection, len(told(app, connection)) - 2)
    check_retries(app)
    # Once is enough: the next start has nothing to say.
    eventually(lambda: edge.metric("webhook_in_flight") == 0, "all is delivered")
    edge.terminate()
    assert edge.wait_exit() == 0
    before = len(app.events())
    edge = start()
    edge.websocket()
    app.wait_events(11, "open")
    assert len(app.events()) == before + 1


@pytest.mark.parametrize("how", ["held", "503", "refused"])
def test_messages_that_the_app_had_not_answered_are_replayed(app, start, how):
    edge = start()
    socket = edge.websocket(headers={"Cookie": "a=1"})
    other = edge.websocket()
    app.on(Reply(204, headers={"Sidesocket-User": "42", "Sidesocket-State": "s1"}), event="message", times=1)
    socket.text("answered")
    (event,) = app.wait_events(1, "message")
    connection = event.header("ce-connectionid")
    eventually(lambda: edge.metric("webhook_requests_total", event="message", outcome="2xx") == 1, "the answer is here")
    held = gate()
    if how == "held":
        app.on(Reply(204, gate=held), event="message")
    elif how == "503":
        app.on(Reply(503), event="message")
    else:
        app.stop_listening()
    for i in range(4):
        socket.text(f"text {i}")
        socket.binary(bytes(range(256)) * (i + 1))
    socket.barrier()
    other.barrier()
    if how != "refused":
        app.wait_events(2, "message")
    kill(edge)
    app.on(Reply(204), event="message")
    held.set()
    if how == "refused":
        app.listen()
    start()
    check_closed(app, connection, 9)
    check_retries(app)
    bodies = {e.sequence: (e.body, e.header("content-type")) for e in app.events("message", connection)}
    for i in range(4):
        assert bodies[3 + 2 * i] == (f"text {i}".encode(), "text/plain; charset=utf-8")
        assert bodies[4 + 2 * i] == (bytes(range(256)) * (i + 1), "application/octet-stream")
    last = app.events("close", connection)[-1]
    assert (last.header("ce-userid"), last.header("ce-connectionstate")) == ("42", "s1")
    assert last.header("cookie") == "a=1" and last.target == "/ws"
    app.wait_events(2, "close", BREAKER)


def test_what_was_answered_is_not_replayed(app, start):
    app.echo()
    edge = start()
    socket = edge.websocket()
    for i in range(100):
        socket.text(str(i))
        assert socket.message() == str(i)
    kill(edge)
    start()
    connection = app.events("open")[0].header("ce-connectionid")
    check_closed(app, connection, 100)
    # At least once: the last ones may be asked for again, all of them not.
    assert len(app.events("message")) <= 110


def test_a_close_event_that_was_due_at_the_kill_keeps_its_code(app, start):
    edge = start()
    app.on(Reply(503), event="close")
    socket = edge.websocket()
    socket.close(4001, "bye, é")
    (first, *_) = app.wait_events(1, "close")
    edge.wait_metric("connections", 0)
    kill(edge)
    app.reset_script()
    start()
    again = app.wait_events(1, "close", BREAKER)[-1]
    assert again.header("ce-id") == first.header("ce-id")
    assert again.header("ce-time") == first.header("ce-time")
    assert again.body == first.body
    assert json.loads(again.body)["code"] == 4001


def test_a_close_event_that_nobody_has_seen_yet(app, start):
    # The client vanished while its messages waited; everything is on disk alone.
    edge = start()
    socket = edge.websocket()
    app.wait_events(1, "open")
    connection = app.events("open")[0].header("ce-connectionid")
    app.stop_listening()
    for i in range(5):
        socket.text(str(i))
    socket.barrier()
    abort(socket.sock)
    edge.wait_metric("connections", 0)
    kill(edge)
    app.listen()
    start()
    check_closed(app, connection, 5)
    assert [e.text for e in app.events("message", connection)] == [str(i) for i in range(5)]


@pytest.mark.parametrize("pause", [0, 0.3])
def test_who_the_client_is_survives_however_long_the_app_thought_about_it(app, start, pause):
    settings = {
        "AUTH": "required", "JWT_KEY": SECRET, "JWT_ALGORITHMS": "HS256", "JWT_FORWARD_CLAIMS": "org_id",
        "JWT_SOURCES": "authorization,message",
    }  # fmt: skip
    edge = start(**settings)
    named = [("Sidesocket-User", "bob"), ("Sidesocket-State", "s1")]

    def answer(request):
        time.sleep(pause)
        return Reply(204, headers=named if request.target == "/named" else [])

    app.on(answer, event="open")
    token = mint(org_id="7")
    sockets = [edge.websocket(target, headers=bearer(token)) for target in ("/plain", "/named")]
    sockets.append(edge.websocket("/late"))
    sockets[-1].text(token)
    opens = {e.target: e for e in app.wait_events(3, "open")}
    eventually(lambda: edge.metric("connections") == 3, "all are open")
    app.stop_listening()
    for socket in sockets:
        socket.text("x")
        socket.barrier()
    kill(edge)
    app.listen()
    start(**settings)
    app.wait_events(3, "close", BREAKER)
    for target, user, state in (("/plain", "alice", None), ("/named", "bob", "s1"), ("/late", "alice", None)):
        connection = opens[target].header("ce-connectionid")
        check_closed(app, connection, 1)
        for event in (*app.events("message", connection), *app.events("close", connection)):
            assert event.header("ce-userid") == user
            assert event.header("ce-connectionstate") == state
            assert event.header("ce-claimorgid") == opens[target].header("ce-claimorgid") is not None


def test_a_handshake_that_was_refused_leaves_nothing(app, start):
    edge = start()
    app.on(Reply(401), event="open")
    for _ in range(5):
        assert edge.try_websocket().answer.status == 401
    kill(edge)
    edge = start()
    app.on(Reply(204), event="open")
    edge.websocket().close()
    app.wait_events(1, "close")
    assert len(app.events("close")) == 1 and len(app.events("message")) == 0


def test_killed_again_and_again_while_it_replays(app, start):
    edge = start()
    sockets = [edge.websocket() for _ in range(10)]
    connections = [e.header("ce-connectionid") for e in app.wait_events(10, "open")]
    app.on(Reply(503), event="message")
    for socket in sockets:
        socket.send(b"".join(frame(TEXT, str(i)) for i in range(10)))
        socket.barrier()
    kill(edge)
    edge = start()
    chance = random.Random(7)
    app.on(lambda r: Reply(503) if chance.random() < 0.7 else Reply(204), event="message")
    for turn in range(4):
        seen = len(app.events())
        # All is on disk by the first kill; the later ones come at any moment.
        kill(edge, settle=turn == 0)
        edge = start()
        eventually(lambda seen=seen: len(app.events()) > seen, "it replays", BREAKER)
    app.on(Reply(204), event="message")
    for connection in connections:
        check_closed(app, connection, 10)
        assert list(dict.fromkeys(e.text for e in app.events("message", connection))) == [str(i) for i in range(10)]
    check_retries(app)


def test_the_app_is_away_when_it_starts_again(app, start):
    edge = start()
    socket = edge.websocket()
    app.wait_events(1, "open")
    app.stop_listening()
    socket.text("x")
    socket.barrier()
    kill(edge)
    edge = start()
    eventually(
        lambda: edge.metric("webhook_requests_total", outcome="connect_error") >= 1, "it tries", BREAKER
    )
    app.listen()
    check_closed(app, app.events("open")[0].header("ce-connectionid"), 1)


def test_new_clients_are_served_while_it_replays(app, start):
    edge = start()
    socket = edge.websocket("/old")
    app.wait_events(1, "open")
    app.on(Reply(429, headers={"Retry-After": "1"}), path="/old")
    socket.text("x")
    socket.barrier()
    kill(edge)
    edge = start()
    app.on(lambda r: Reply(200, r.body, TEXT_PLAIN), path="/new", event="message")
    other = edge.websocket("/new")
    other.text("hi")
    assert other.message() == "hi"
    app.on(Reply(204), path="/old")
    check_closed(app, app.events("open")[0].header("ce-connectionid"), 1)


def test_a_large_outbox_comes_back_in_bounds(app, start):
    edge = start(MAX_PENDING_BYTES="1MiB")
    sockets = [edge.websocket() for _ in range(30)]
    app.wait_events(30, "open")
    app.on(Reply(429), event="message")
    for n, socket in enumerate(sockets):
        socket.send(b"".join(frame(BINARY, bytes([n, i]) * 8000) for i in range(10)))
        socket.barrier()
    kill(edge)
    app.reset_script()
    edge = start(WEBHOOK_MAX_IN_FLIGHT=4)
    app.most_in_flight = 0
    app.wait_events(30, "close", 30)
    assert app.most_in_flight <= 4
    for connection in {e.header("ce-connectionid") for e in app.events("close")}:
        events = app.events("message", connection)
        assert [e.body for e in events] == [bytes([events[0].body[0], i]) * 8000 for i in range(10)]
    edge.wait_metric("pending_bytes", 0)


# An orderly end


def test_what_a_drain_could_not_deliver_comes_with_the_next_start(app, start):
    edge = start(DRAIN_TIMEOUT="1s")
    sockets = [edge.websocket() for _ in range(5)]
    connections = [e.header("ce-connectionid") for e in app.wait_events(5, "open")]
    app.stop_listening()
    for socket in sockets:
        socket.text("x")
        socket.barrier()
    edge.terminate()
    edge.wait_exit(20)
    # It is not lost, and nobody has to get up for it.
    assert not [e for e in errors(edge) if "not delivered" in e["message"]]
    assert [e for e in edge.logs if e["message"] == "undelivered events are kept for the next start"]
    app.listen()
    start()
    app.wait_events(5, "close", BREAKER)
    for connection in connections:
        assert told(app, connection) == [(1, "open"), (2, "message"), (3, "close")]
    check_retries(app)


def test_after_an_orderly_end_nothing_is_left(app, start, box):
    app.echo()
    edge = start()
    sockets = [edge.websocket() for _ in range(20)]
    for socket in sockets:
        socket.text("x")
        socket.message()
    for socket in sockets:
        socket.close()
    app.wait_events(20, "close")
    edge.terminate()
    assert edge.wait_exit() == 0
    left = sum(path.stat().st_size for path in everything(box))
    assert left < 1 << 20, f"{left} bytes in {everything(box)}"
    edge = start()
    edge.websocket().close()
    app.wait_events(21, "close")
    assert len(app.events("close")) == 21
    assert errors(edge) == []


def test_the_disk_does_not_fill_with_what_is_delivered(app, start, box):
    app.echo()
    edge = start()
    socket = edge.websocket()
    text = "x" * 10_000
    for _ in range(80):
        socket.send(b"".join(frame(TEXT, text) for _ in range(20)))
        for _ in range(20):
            assert socket.message() == text
    # Sixteen megabytes went through; what waits now is nothing.
    eventually(
        lambda: sum(path.stat().st_size for path in everything(box)) < 6 << 20,
        lambda: f"the outbox is small: {[(p.name, p.stat().st_size) for p in everything(box)]}",
    )
    socket.close()


# What lies in the directory


def test_a_directory_that_is_not_there_is_made_or_an_error(app, sidesocket, tmp_path):
    where = tmp_path / "not" / "there"
    done = run("check", APP_URL=app.url, OUTBOX_DIR=str(where))
    if done.returncode == 0:
        edge = sidesocket(app, OUTBOX_DIR=str(where), wait=False)
        eventually(lambda: edge.process.poll() is not None or edge.readyz()[0] == 200, "it starts or ends")
        if edge.process.poll() is None:
            assert where.is_dir() and stat.S_IMODE(where.stat().st_mode) & 0o007 == 0, "everybody may read it"
            edge.websocket().close()
            return
        done = edge.process
        edge.exit_expected = True
        assert "OUTBOX_DIR" in edge.output or str(where) in edge.output
    assert done.returncode in (1, 78)


def test_a_file_in_its_place_is_an_error(app, sidesocket, tmp_path):
    where = tmp_path / "file"
    where.write_text("precious")
    edge = sidesocket(app, OUTBOX_DIR=str(where), wait=False)
    assert edge.wait_exit(20) in (1, 78)
    assert str(where) in edge.output
    assert where.read_text() == "precious"


def test_what_clients_said_is_not_for_everybody_to_read(app, start, box):
    edge = start()
    app.on(Reply(503), event="message")
    socket = edge.websocket()
    socket.text("a secret")
    socket.barrier()
    files = eventually(lambda: everything(box), "something is on disk")
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, f"{path} is {oct(path.stat().st_mode)}"


def test_a_second_process_on_the_same_directory_is_an_error(app, sidesocket, start, box):
    edge = start()
    socket = edge.websocket()
    second = sidesocket(app, OUTBOX_DIR=str(box), wait=False)
    assert second.wait_exit(20) in (1, 78)
    assert str(box) in second.output or "OUTBOX_DIR" in second.output
    # The first one goes on, and its connection is not taken for a dead one.
    app.echo()
    socket.text("still here")
    assert socket.message() == "still here"
    assert app.events("close") == []
    # The lock goes with its process, however that ended.
    kill(edge)
    start()
    app.wait_events(1, "close", BREAKER)


FOREIGN = {
    "a note": ("README.txt", b"hands off"),
    "an empty file": ("empty", b""),
    "noise": ("noise.bin", random.Random(1).randbytes(100_000)),
    "a hidden file": (".DS_Store", b"\0\0\0\1Bud1"),
    "a name of no encoding": (b"\xff\xfe", b"?"),
    "JSON": ("session.json", b'{"id": 1}'),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_do_no_harm(app, start, box, name):
    edge = start()
    socket = edge.websocket()
    app.on(Reply(503), event="message")
    socket.text("x")
    socket.barrier()
    app.wait_events(1, "message")
    kill(edge)
    app.on(Reply(204), event="message")
    file, content = FOREIGN[name]
    path = os.path.join(os.fsencode(str(box)), file if isinstance(file, bytes) else file.encode())
    with open(path, "wb") as out:
        out.write(content)
    edge = start()
    check_closed(app, app.events("open")[0].header("ce-connectionid"), 1)
    # Wherever it was put, nobody deleted what is not ours.
    found = [
        os.path.join(folder, one)
        for folder, _, files in os.walk(os.fsencode(str(box.parent)))
        for one in files
        if os.path.getsize(os.path.join(folder, one)) == len(content)
    ]
    assert any(open(one, "rb").read() == content for one in found), "the file is gone"
    edge.websocket().close()


def test_foreign_folders_and_links_do_no_harm(app, start, box, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("untouched")
    (box / "folder").mkdir()
    (box / "folder" / "inside").write_text("x")
    os.symlink(precious, box / "link")
    os.symlink("/nowhere", box / "broken")
    os.mkfifo(box / "fifo")
    edge = start()
    edge.websocket().close()
    app.wait_events(1, "close")
    assert precious.read_text() == "untouched"


def damage_cut(data, chance):
    return data[: len(data) // 2]


def damage_tail(data, chance):
    return data[:-3]


def damage_append(data, chance):
    return data + chance.randbytes(97)


def damage_flip(data, chance):
    data = bytearray(data)
    for _ in range(8):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def damage_zero(data, chance):
    return bytes(len(data))


def damage_empty(data, chance):
    return b""


def damage_noise(data, chance):
    return chance.randbytes(max(len(data), 64))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "damage", [damage_cut, damage_tail, damage_append, damage_flip, damage_zero, damage_empty, damage_noise]
)
def test_torn_files_are_an_error_in_the_log_and_no_more(app, start, box, damage, seed):
    edge = start()
    app.on(Reply(503), event="message")
    sockets = [edge.websocket() for _ in range(4)]
    known = {e.header("ce-connectionid") for e in app.wait_events(4, "open")}
    for n, socket in enumerate(sockets):
        for i in range(3):
            socket.text(f"{n} {i} " + "x" * 100)
        socket.barrier()
    kill(edge)
    chance = random.Random(seed)
    damaged = [path for path in everything(box) if path.stat().st_size]
    assert damaged, "nothing was on disk"
    for path in damaged:
        path.write_bytes(damage(path.read_bytes(), chance))
    app.reset_script()
    # It starts, which the fixture waits for, and it works.
    edge = start()
    other = edge.websocket()
    connection = app.wait_events(1, "open")[-1].header("ce-connectionid")
    other.text("x")
    other.close()
    eventually(lambda: app.events("close", connection), "the new connection's close event", BREAKER)
    edge.wait_metric("webhook_in_flight", 0)
    eventually(lambda: edge.metric("webhook_queue_depth") == 0, "nothing waits")
    # What it could read it has delivered, and nothing that was never sent.
    for event in app.events():
        if event.header("ce-connectionid") == connection:
            continue
        assert event.header("ce-connectionid") in known, "an event that the noise made up"
        assert event.event in ("message", "close")
        if event.event == "message":
            n, i, filling = event.text.split(" ")
            assert filling == "x" * 100 and 0 <= int(n) < 4 and int(i) == event.sequence - 2
    if damage in (damage_zero, damage_noise):
        assert errors(edge), f"not a word about it: {edge.output}"
    # The next start is clean.
    edge.terminate()
    assert edge.wait_exit() == 0
    before = len(app.events())
    edge = start()
    assert errors(edge) == [], "the same complaint again: nothing was moved aside"
    edge.websocket().close()
    app.wait_events(before + 2)


def test_a_full_disk_harms_no_client(app, start, monkeypatch):
    # A file-size limit stands for the full disk; with the signal ignored, which Python does, a write fails.
    monkeypatch.setattr(subprocess, "Popen", functools.partial(subprocess.Popen, restore_signals=False))
    app.echo()
    edge = start()
    unlimited = resource.prlimit(edge.process.pid, resource.RLIMIT_FSIZE)
    assert outbox_state(edge) == (0, True)
    resource.prlimit(edge.process.pid, resource.RLIMIT_FSIZE, (1 << 16, unlimited[1]))
    socket = edge.websocket()
    text = "x" * 8000
    started = time.monotonic()
    for _ in range(60):
        socket.text(text)
        assert socket.message() == text
        assert time.monotonic() - started < 10, "each message waits for the disk"
    app.on(Reply(503), event="message", times=3)
    for _ in range(20):
        socket.text(text)
    for _ in range(20):
        assert socket.message() == text
    assert edge.process.poll() is None, edge.output
    assert errors(edge), "not a word about it"
    # The connection is owed its end, so that something waits for room.
    eventually(lambda: outbox_state(edge) == (1, False), lambda: outbox_state(edge))
    assert edge.readyz()[0] == 200
    resource.prlimit(edge.process.pid, resource.RLIMIT_FSIZE, unlimited)
    eventually(lambda: outbox_state(edge) == (0, True), lambda: outbox_state(edge))
    socket.close()


# A history


@pytest.mark.timeout(150)
def test_the_sidecar_is_killed_under_load_again_and_again(app, start):
    history = History()
    chance = random.Random(13)

    def answer(request):
        if chance.random() < 0.1:
            return Reply(chance.choice((429, 503)))
        return Reply(200, request.body, TEXT_PLAIN)

    app.on(history.recording(Reply(204)))
    app.on(history.recording(answer), event="message")
    port = free_port()
    settings = {"LISTEN": f"127.0.0.1:{port}", "WEBHOOK_RETRY_FOR": "60s"}
    edge = start(**settings)
    for turn in range(4):
        clients = [HistoryClient(history, port, f"k{turn}-{i}", pace=0.05, seed=turn) for i in range(20)]
        for client in clients:
            client.start()
        wanted = len(history.arrivals) + 300
        eventually(lambda wanted=wanted: len(history.arrivals) > wanted, "work is done", 30)
        for client in clients:
            client.stopping.set()
        kill(edge, settle=False)
        for client in clients:
            client.join(20)
        edge = start(**settings)
    opened = {s.label for s in history.sessions}

    def closed():
        return {a.label for a in list(history.arrivals) if a.event == "close"}

    eventually(lambda: opened <= closed(), lambda: f"no close event for {sorted(opened - closed())[:5]}", 40)
    eventually(lambda: edge.metric("webhook_in_flight") == 0, "all is delivered")
    faults = history.faults(everything_answered=False, unbroken=False, everything_received=False)
    assert faults == [], "\n".join(faults[:20])
    codes = {json.loads(a.body)["code"] for a in history.arrivals if a.event == "close"}
    assert 1006 in codes
