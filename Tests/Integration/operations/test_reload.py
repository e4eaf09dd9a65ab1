"""SIGHUP: the settings file is read again; sockets stay open, and a bad file changes nothing."""

import json
import signal
import threading
import time
from socket import IPPROTO_TCP, TCP_USER_TIMEOUT

import pytest
from support.api import API
from support.heartbeats import RESOLUTION, SLACK
from support.net import eventually, free_port
from support.ws import TEXT, frame

DONE = "settings reloaded"
REFUSED = "settings not reloaded; the old ones stay in force"
RESTART = "these settings need a restart; the old values stay in force"
EVIL = "https://evil.example"


class Configured:
    """A sidecar whose settings come from a file."""

    def __init__(self, sidesocket, path, app, settings, environment):
        self.path = path
        self.settings = {"app_url": app.url, "ping_interval": "25s", "lb_idle_timeout": "60s", **settings}
        self.write(self.settings)
        # The environment would win over the file.
        self.edge = sidesocket(CONFIG=str(path), **{"MESSAGE_RATE": None, **environment})

    def write(self, settings):
        text = settings if isinstance(settings, str) else json.dumps(settings)
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)

    def said(self, message):
        return [line for line in self.edge.logs if line.get("message") == message]

    def hang_up(self, message):
        """Sends SIGHUP and returns the line that answers it."""
        before = len(self.said(message))
        self.edge.process.send_signal(signal.SIGHUP)
        return eventually(
            lambda: (found := self.said(message)) and len(found) > before and found[-1] or None,
            lambda: f"{message!r} in:\n{self.edge.output}",
        )

    def change(self, **settings):
        """Changes keys of the file, None takes one out, and waits until they hold; returns the changed names."""
        self.settings = {k: v for k, v in {**self.settings, **settings}.items() if v is not None}
        self.write(self.settings)
        return set(self.hang_up(DONE)["changed"].split())

    def refuse(self, text=None):
        """Puts `text` into the file; the sidecar must not take it. Returns the line that says why."""
        if text is not None:
            self.write(text)
        done = len(self.said(DONE))
        line = self.hang_up(REFUSED)
        assert line["level"] == "error"
        assert len(self.said(DONE)) == done
        return json.dumps(line)


@pytest.fixture
def configured(app, sidesocket, tmp_path):
    app.echo()
    return lambda environment=None, **settings: Configured(
        sidesocket, tmp_path / "settings.json", app, settings, environment or {}
    )


def echoed(socket, text="still here"):
    socket.text(text)
    assert socket.message() == text


def test_the_size_of_messages_changes_for_new_connections(configured):
    sidecar = configured(max_message_bytes="1KiB")
    old = sidecar.edge.websocket()
    echoed(old, "x" * 1024)
    assert sidecar.change(max_message_bytes="2KiB") == {"SIDESOCKET_MAX_MESSAGE_BYTES"}
    new = sidecar.edge.websocket()
    echoed(new, "x" * 2048)
    new.text("x" * 2049)
    new.expect_close(1009)
    echoed(old)
    assert sidecar.change(max_message_bytes="100") == {"SIDESOCKET_MAX_MESSAGE_BYTES"}
    smaller = sidecar.edge.websocket()
    smaller.text("x" * 101)
    smaller.expect_close(1009)
    echoed(old)
    old.close()


def test_the_rate_of_messages_changes_for_all_connections(configured):
    sidecar = configured(message_rate="off", rate_limit_action="close")
    old = sidecar.edge.websocket()
    for _ in range(10):
        echoed(old)
    assert sidecar.change(message_rate="1/1h,burst=3") == {"SIDESOCKET_MESSAGE_RATE"}
    new = sidecar.edge.websocket()
    for _ in range(3):
        echoed(new)
    new.text("one too many")
    new.expect_close(4429)
    other = sidecar.edge.websocket()
    for _ in range(3):
        echoed(old)
        echoed(other)
    old.text("one too many")
    old.expect_close(4429)
    assert sidecar.change(message_rate="off") == {"SIDESOCKET_MESSAGE_RATE"}
    for _ in range(10):
        echoed(other)


def test_who_waits_for_a_rate_need_not_when_it_is_lifted(configured):
    sidecar = configured(message_rate="1/1h,burst=1")
    socket = sidecar.edge.websocket()
    for n in range(3):
        socket.text(str(n))
    assert socket.message() == "0"
    sidecar.change(message_rate="off")
    assert [socket.message() for _ in range(2)] == ["1", "2"]


def test_a_dry_run_that_ends_ends_for_open_connections_too(configured):
    sidecar = configured(message_rate="1/1h,burst=1", rate_limit_action="close", dry_run="message_rate")
    socket = sidecar.edge.websocket()
    for _ in range(3):
        echoed(socket)
    assert sidecar.edge.metric("limited_total", limit="message_rate", action="dry_run") == 2
    sidecar.change(dry_run=None)
    socket.text("one too many")
    socket.expect_close(4429)


def test_the_kernel_gives_up_on_open_connections_when_the_new_heartbeat_does(configured):
    sidecar = configured(ping_interval="25s", pong_timeout="20s")
    socket = sidecar.edge.websocket()

    def patience():
        (ours,) = [twin for twin in sidecar.edge.sockets() if twin.getpeername() == socket.sock.getsockname()]
        return ours.getsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT)

    assert patience() == 45_000
    sidecar.change(ping_interval="10s", pong_timeout="5s")
    eventually(lambda: patience() == 15_000, "the new patience")


def test_the_allowed_origins_change(configured):
    sidecar = configured()
    old = sidecar.edge.websocket()
    assert sidecar.edge.try_websocket(origin=EVIL).answer.status == 403
    assert sidecar.change(allowed_origins=EVIL) == {"SIDESOCKET_ALLOWED_ORIGINS"}
    inside = sidecar.edge.websocket(origin=EVIL)
    assert sidecar.change(allowed_origins="https://good.example") == {"SIDESOCKET_ALLOWED_ORIGINS"}
    assert sidecar.edge.try_websocket(origin=EVIL).answer.status == 403
    echoed(sidecar.edge.websocket(origin="https://good.example"))
    # Who is inside stays inside.
    echoed(inside)
    echoed(old)


@pytest.mark.parametrize("before", ["25s", "off"])
def test_a_shorter_interval_of_pings_holds_for_open_connections(configured, swarm, before):
    sidecar = configured(ping_interval=before)
    clients = swarm(sidecar.edge)
    members = clients.enter(20)
    assert sidecar.change(ping_interval="300ms") == {"SIDESOCKET_PING_INTERVAL"}
    changed = time.monotonic()
    eventually(
        lambda: all(m.pings for m in members),
        lambda: f"pings of the open sockets, {sum(bool(m.pings) for m in members)} of 20 got any",
    )
    assert max(m.pings[0] for m in members) - changed <= 0.33 + RESOLUTION + SLACK
    eventually(lambda: all(len(m.pings) > 3 for m in members), "and so on")
    assert clients.alive == members


def test_pings_of_open_connections_end_when_they_are_switched_off(configured, swarm):
    sidecar = configured(ping_interval="200ms", pong_timeout="500ms")
    clients, deaf = swarm(sidecar.edge), swarm(sidecar.edge, delay=None)
    members = clients.enter(10)
    eventually(lambda: all(m.pings for m in members), "pings")
    unanswered = deaf.enter(3)
    assert sidecar.change(ping_interval="off") == {"SIDESOCKET_PING_INTERVAL"}
    sent = sidecar.edge.metric("pings_sent_total")
    # Time itself is tested: several times what was the interval and the timeout.
    time.sleep(1.2)
    assert sidecar.edge.metric("pings_sent_total") - sent <= len(members) + 3
    assert clients.alive == members and deaf.alive == unanswered
    clients.send(frame(TEXT, "x"))
    eventually(lambda: all(m.messages for m in members), "they still work")


def test_the_limits_of_idleness_and_age_hold_for_open_connections(configured, swarm):
    sidecar = configured()
    first, second = swarm(sidecar.edge), swarm(sidecar.edge)
    (idle,) = first.enter(1)
    assert sidecar.change(client_idle_timeout="500ms") == {"SIDESOCKET_CLIENT_IDLE_TIMEOUT"}
    eventually(lambda: idle.code == 1001, "the idle socket is closed")
    assert sidecar.change(client_idle_timeout=None) == {"SIDESOCKET_CLIENT_IDLE_TIMEOUT"}
    (old,) = second.enter(1)
    assert sidecar.change(max_connection_age="500ms") == {"SIDESOCKET_MAX_CONNECTION_AGE"}
    eventually(lambda: old.code == 1001, "the old socket is closed")
    assert sidecar.edge.metric("limited_total", limit="max_connection_age", action="closed") == 1


def test_the_drain_takes_the_time_that_the_file_says_last(configured, swarm):
    sidecar = configured(drain_timeout="30s")
    clients = swarm(sidecar.edge)
    clients.enter(20)
    assert sidecar.change(drain_timeout="1s") == {"SIDESOCKET_DRAIN_TIMEOUT"}
    began = time.monotonic()
    sidecar.edge.terminate()
    assert sidecar.edge.wait_exit() == 0
    assert time.monotonic() - began < 1 + SLACK


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", None),
        ("", "APP_URL"),
        ('{"app_url": "APP", "max_message_bytes": "lots"}', "lots"),
        ('{"app_url": "APP", "max_message_bytes": "10", "bogus": 1}', "bogus"),
        ('{"app_url": "APP", "max_message_bytes": "10", "ping_interval": "60s"}', "PING_INTERVAL"),
        ('{"max_message_bytes": "10"}', "APP_URL"),
    ],
    ids=["broken", "empty", "bad value", "unknown key", "values that do not fit", "missing value"],
)
def test_with_a_bad_file_the_old_values_hold_and_the_log_says_why(app, configured, text, why):
    sidecar = configured(max_message_bytes="1KiB")
    old = sidecar.edge.websocket()
    line = sidecar.refuse(text.replace("APP", app.url))
    assert why is None or why.lower() in line.lower()
    # A value that is missing is in no file.
    assert "settings.json" in line or why == "APP_URL", line
    for socket in (old, sidecar.edge.websocket()):
        echoed(socket, "x" * 1024)
        socket.text("x" * 1025)
        socket.expect_close(1009)
    # A good one is taken afterwards.
    assert sidecar.change(max_message_bytes="2KiB") == {"SIDESOCKET_MAX_MESSAGE_BYTES"}
    echoed(sidecar.edge.websocket(), "x" * 2048)


def test_with_a_missing_file_the_old_values_hold(configured):
    sidecar = configured(max_message_bytes="1KiB")
    old = sidecar.edge.websocket()
    sidecar.path.unlink()
    line = sidecar.refuse()
    # A long value is cut.
    assert str(sidecar.path)[:60] in line and "No such file" in line
    echoed(old)
    echoed(sidecar.edge.websocket(), "x" * 1024)


def test_a_file_with_a_ca_that_is_none_changes_nothing(configured, tmp_path):
    sidecar = configured(max_message_bytes="1KiB")
    (tmp_path / "ca.pem").write_text("no certificate\n")
    text = json.dumps(
        {**sidecar.settings, "app_url": "https://127.0.0.1:1", "app_ca_file": str(tmp_path / "ca.pem"),
         "max_message_bytes": "10"}
    )  # fmt: skip
    sidecar.write(text)
    sidecar.edge.process.send_signal(signal.SIGHUP)
    eventually(lambda: sidecar.said(REFUSED) or sidecar.said(DONE), "an answer to SIGHUP")
    # The address of the app needs a restart; so the file may be refused as a whole or taken for the rest.
    if sidecar.said(REFUSED):
        echoed(sidecar.edge.websocket(), "x" * 1024)
    else:
        assert "SIDESOCKET_APP_URL" in sidecar.said(RESTART)[-1]["variables"]
        echoed(sidecar.edge.websocket(), "x" * 10)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("listen", "127.0.0.1:1"),
        ("control_listen", "127.0.0.1:1"),
        ("app_url", "http://127.0.0.1:1"),
        ("threads", 7),
        ("node_name", "other"),
        ("webhook_max_in_flight", 3),
        ("max_connections", 77),
        ("control_token", "s3cret-token"),
    ],
)
def test_what_needs_a_restart_is_named_and_left_alone_while_the_rest_is_taken(app, configured, name, value):
    # What the file says must not be overruled by the environment.
    environment = {"NODE_NAME": None} if name == "node_name" else {}
    if name in ("listen", "control_listen"):
        port = free_port()
        sidecar = configured({name.upper(): None, "wait": False}, **{name: f"127.0.0.1:{port}"})
        setattr(sidecar.edge, "port" if name == "listen" else "control_port", port)
        eventually(lambda: sidecar.edge.readyz()[0] == 200, lambda: f"ready: {sidecar.edge.output}", timeout=20)
    else:
        sidecar = configured(environment)
    old = sidecar.edge.websocket()
    changed = sidecar.change(**{name: value}, max_message_bytes="100")
    assert changed == {"SIDESOCKET_MAX_MESSAGE_BYTES"}
    line = eventually(lambda: sidecar.said(RESTART), "a warning")[-1]
    assert line["level"] == "warning"
    assert line["variables"].split() == [f"SIDESOCKET_{name.upper()}"]
    assert "s3cret" not in sidecar.edge.output
    echoed(old)
    new = sidecar.edge.websocket()
    echoed(new)
    new.text("x" * 101)
    new.expect_close(1009)
    assert sidecar.edge.readyz()[0] == 200


def test_the_environment_still_wins_over_the_file(configured):
    sidecar = configured({"MAX_MESSAGE_BYTES": "1KiB"}, max_message_bytes="100")
    assert sidecar.change(max_message_bytes="200", max_fragments=5) == {"SIDESOCKET_MAX_FRAGMENTS"}
    echoed(sidecar.edge.websocket(), "x" * 1024)


def test_without_a_file_the_signal_changes_nothing(app, edge):
    app.echo()
    socket = edge.websocket()
    edge.process.send_signal(signal.SIGHUP)
    eventually(lambda: any(line.get("message") == DONE for line in edge.logs), "an answer to SIGHUP")
    assert [line["changed"] for line in edge.logs if line.get("message") == DONE] == [""]
    echoed(socket)


def test_counts_and_spent_tokens_outlive_a_reload(configured):
    environment = {"CONNECT_RATE_PER_IP": None, "MAX_CONNECTIONS_PER_IP": None}
    sidecar = configured(environment, max_connections_per_ip=2, connect_rate_per_ip="1/1h,burst=5")
    one, two = sidecar.edge.websocket(), sidecar.edge.websocket()
    sidecar.change(max_fragments=5)
    assert sidecar.edge.try_websocket().answer.status == 429
    # A place that was taken before the reload is given back after it.
    one.close()
    eventually(lambda: sidecar.edge.metric("connections") == 1, "one has left")
    three = sidecar.edge.websocket()
    assert sidecar.change(max_connections_per_ip=3) == {"SIDESOCKET_MAX_CONNECTIONS_PER_IP"}
    four = sidecar.edge.websocket()
    # Five handshakes are all that an hour allows, with or without a reload.
    four.close()
    eventually(lambda: sidecar.edge.metric("connections") == 2, "one has left")
    sidecar.change(max_fragments=6)
    assert sidecar.edge.try_websocket().answer.status == 429
    assert sidecar.change(connect_rate_per_ip="off") == {"SIDESOCKET_CONNECT_RATE_PER_IP"}
    for socket in (two, three, sidecar.edge.websocket()):
        echoed(socket)


def test_no_socket_is_dropped_and_no_message_lost_while_settings_change_over_and_over(configured, swarm):
    sidecar = configured(pong_timeout="5s", ping_interval="500ms")
    clients = swarm(sidecar.edge)
    members = clients.enter(50)
    ended = threading.Event()
    sent = [0]

    def talk():
        while not ended.wait(0.02):
            clients.send(frame(TEXT, f"{sent[0]}"))
            sent[0] += 1

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        for n in range(20):
            sidecar.change(max_message_bytes=f"{n + 1}KiB", ping_interval=f"{200 + n}ms", max_fragments=n + 1)
    finally:
        ended.set()
        thread.join()
    eventually(lambda: all(len(m.messages) == sent[0] for m in members), "every message is echoed", 20)
    wanted = [f"{n}".encode() for n in range(sent[0])]
    assert all([text for _, text in m.messages] == wanted for m in members)
    assert clients.alive == members
    assert sidecar.edge.metric("connections") == 50
    # Signals that come faster than the work is done are no harm.
    for _ in range(50):
        sidecar.edge.process.send_signal(signal.SIGHUP)
    sidecar.change(max_message_bytes="99KiB")
    assert clients.alive == members


def test_a_reload_in_the_midst_of_a_drain_holds_nothing_up(configured, swarm):
    sidecar = configured(drain_timeout="2s")
    clients = swarm(sidecar.edge)
    members = clients.enter(20)
    began = time.monotonic()
    sidecar.edge.terminate()
    eventually(lambda: any(m.code for m in members), "the drain has begun")
    sidecar.write({**sidecar.settings, "max_fragments": 3, "drain_timeout": "1m"})
    sidecar.edge.process.send_signal(signal.SIGHUP)
    assert sidecar.edge.wait_exit() == 0
    assert time.monotonic() - began < 2 + SLACK
    assert {m.code for m in members} == {1012}


def test_the_first_ping_after_a_reload_does_not_come_to_all_at_once(configured, swarm):
    sidecar = configured()
    clients = swarm(sidecar.edge)
    members = clients.enter(100)
    # Older than the new interval.
    eventually(lambda: time.monotonic() - members[-1].opened > 1.2, "they have been silent for long", interval=0.05)
    sidecar.change(ping_interval="1s")
    eventually(lambda: all(len(m.pings) >= 2 for m in members), "two pings each", interval=0.02)
    second = sorted(m.pings[1] for m in members)
    assert second[-1] - second[0] > 0.1


def test_a_control_pair_that_cannot_be_used_changes_nothing_else(app, sidesocket, certificate, tmp_path):
    _, (cert, key) = certificate
    settings = {"app_url": app.url, "control_tls_cert": cert, "control_tls_key": key, "max_message_bytes": "1KiB"}
    app.echo()
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings))
    edge = sidesocket(CONFIG=str(path), wait=False)
    eventually(lambda: any("listening" in str(line.get("message")) for line in edge.logs), "it listens")
    path.write_text(json.dumps({**settings, "control_tls_key": "/none", "max_message_bytes": "64KiB"}))
    edge.process.send_signal(signal.SIGHUP)
    eventually(lambda: any(line.get("message") == REFUSED for line in edge.logs), "an answer to SIGHUP")
    socket = edge.websocket()
    socket.text("x" * 2000)
    socket.expect_close(1009)


def test_tls_of_the_control_listener_comes_and_goes_with_a_restart_only(configured, certificate):
    _, (cert, key) = certificate
    sidecar = configured()
    assert sidecar.change(control_tls_cert=cert, control_tls_key=key, max_reply_bytes="2MiB") == {
        "SIDESOCKET_MAX_REPLY_BYTES"
    }
    (line,) = sidecar.said(RESTART)
    assert set(line["variables"].split()) == {"SIDESOCKET_CONTROL_TLS_CERT", "SIDESOCKET_CONTROL_TLS_KEY"}
    assert sidecar.edge.readyz()[0] == 200


def test_the_size_of_messages_through_the_api_changes(configured):
    sidecar = configured(max_reply_bytes="1KiB")
    api = API(sidecar.edge)
    body, kind = "x" * 2000, {"Content-Type": "text/plain"}
    api.want(413, "POST", "/v1/channels/room/messages", body, kind)
    assert sidecar.change(max_reply_bytes="64KiB") == {"SIDESOCKET_MAX_REPLY_BYTES"}
    api.want(200, "POST", "/v1/channels/room/messages", body, kind)
