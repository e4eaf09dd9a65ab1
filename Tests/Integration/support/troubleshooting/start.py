"""Cases in which Sidesocket does not start or reload."""

import signal

from ..guard import knock
from ..net import eventually, free_port
from ..process import run
from .quotes import said, shows


@shows((None, "unknown setting"), (None, "is not below the idle timeout"))
def wrong_settings(app, start):
    done = run("check", APP_URL=app.url, LISTEM="127.0.0.1:1", PING_INTERVAL="1m")
    assert done.returncode == 78
    return [(None, done.stderr)]


@shows((None, "The limit on open files (ulimit -n) is too low"))
def few_descriptors(app, start):
    done = run(APP_URL=app.url, max_files=60)
    assert done.returncode == 78
    return [(None, done.stderr)]


@shows((None, "is in use by another process"), (None, "stopping after a fatal error"), (None, "address already in use"))
def two_processes(app, start):
    own = {"LISTEN": f"127.0.0.1:{free_port()}", "CONTROL_LISTEN": f"127.0.0.1:{free_port()}"}
    first = start(OUTBOX_DIR=start.folder)
    second = run(APP_URL=app.url, OUTBOX_DIR=start.folder, **own)
    third = run(APP_URL=app.url, **{**own, "LISTEN": f"127.0.0.1:{first.port}"})
    assert (second.returncode, third.returncode) == (78, 1)
    # docs/upgrading.md: the check may run beside the process that serves.
    assert run("check", APP_URL=app.url, OUTBOX_DIR=start.folder).returncode == 0
    return [(None, second.stderr), (None, third.stderr)]


@shows(
    (None, "these settings need a restart; the old values stay in force"),
    (None, "settings not reloaded; the old ones stay in force"),
)
def reloads(app, start):
    file = start.folder / "settings.yaml"
    file.write_text("max_connections: 100\n")
    edge = start(CONFIG=file)
    file.write_text("max_connections: 200\n")
    edge.process.send_signal(signal.SIGHUP)
    said(edge, "these settings need a restart")
    file.write_text("max_connection: 200\n")
    edge.process.send_signal(signal.SIGHUP)
    return [said(edge, "settings not reloaded", "max_connection ")]


@shows((None, "cannot accept connections"), (None, "too few file descriptors are left"))
def all_descriptors_taken(app, start):
    edge = start(max_files=80, THREADS=1)
    clients = [edge.client() for _ in range(80)]
    seen = said(edge, "cannot accept connections", "too few file descriptors are left")
    for client in clients:
        client.sock.close()
    eventually(lambda: try_to_enter(edge), "accepting goes on by itself")
    return [seen]


def try_to_enter(edge):
    guest = knock(edge)
    guest.sock.close()
    return guest.status == 101
