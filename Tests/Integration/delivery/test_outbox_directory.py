"""OUTBOX_DIR: what lies there after an orderly end, what may lie there, and a disk that is full."""

import functools
import os
import random
import resource
import stat
import subprocess
import time

import pytest
from support.app import Reply
from support.net import eventually
from support.outbox import BREAKER, check_closed, check_retries, errors, everything, kill, outbox_state, told
from support.process import run
from support.ws import TEXT, frame

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
