"""The unit for systemd, and what its manager hears."""

import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import time

import pytest
from support.api import API
from support.check import check_accepts, said, seconds
from support.net import PATIENCE
from support.pages import blocks
from support.process import ROOT, binary

UNIT = ROOT / "examples/systemd/sidesocket.service"
URL = "http://127.0.0.1:3000"
EX_CONFIG = 78

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing")


@pytest.fixture(scope="module")
def unit(tmp_path_factory):
    """A copy of the unit whose binary exists."""
    path = tmp_path_factory.mktemp("unit") / UNIT.name
    text = UNIT.read_text()
    assert text.count("/usr/local/bin/sidesocket\n") == 1, "ExecStart"
    path.write_text(text.replace("ExecStart=/usr/local/bin/sidesocket\n", f"ExecStart={binary()}\n"))
    return path


def analyze(*arguments):
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, arguments)], capture_output=True, text=True, timeout=30
    )  # fmt: skip
    return done.returncode, said(done)


@needs_systemd
def test_systemd_understands_every_line_of_the_unit(unit):
    assert analyze("verify", unit) == (0, "")


@needs_systemd
def test_systemd_understands_the_drop_ins_of_the_page(unit, tmp_path):
    drop_ins = [text for language, text in blocks("docs/deployment.md") if language == "ini"]
    assert any("LoadCredential=" in text for text in drop_ins)
    for text in drop_ins:
        (tmp_path / UNIT.name).write_text(f"{unit.read_text()}\n{text}")
        assert analyze("verify", tmp_path / UNIT.name) == (0, ""), text


@needs_systemd
def test_systemd_finds_the_unit_well_enclosed(unit):
    code, report = analyze("security", "--offline=true", "--threshold=20", unit)
    assert code == 0 and "Overall exposure level" in report, report


def test_the_unit_fits_what_the_binary_does(unit):
    lines = [line.partition("=") for line in unit.read_text().splitlines() if "=" in line and line[0] != "#"]
    service = {key: value for key, _, value in lines}
    # Debian 12 has systemd 252, which does not know notify-reload.
    assert service["Type"] == "notify" and service["NotifyAccess"] == "main"
    assert service["ExecReload"].endswith("kill -HUP $MAINPID")
    assert service["RestartPreventExitStatus"] == str(EX_CONFIG)
    drain = check_accepts({"SIDESOCKET_APP_URL": URL})["SIDESOCKET_DRAIN_TIMEOUT"]
    assert seconds(service["TimeoutStopSec"]) > seconds(drain)
    # A process that looks twice in this time is not killed by one pause of the machine.
    assert seconds(service["WatchdogSec"]) >= 10
    assert service["StateDirectory"] == "sidesocket"


class Manager:
    """What systemd is to a service of Type=notify: a socket that the service writes its state to."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(self.bound)

    @property
    def bound(self):
        return "\0" + self.address[1:] if self.address.startswith("@") else self.address

    def next(self, timeout=PATIENCE):
        """The next datagram as {name: value}, with the sender's process as `pid`; None if none comes."""
        self.socket.settimeout(timeout)
        try:
            data, extra, _, _ = self.socket.recvmsg(65536, socket.CMSG_SPACE(struct.calcsize("3i")))
        except TimeoutError:
            return None
        [(_, _, credentials)] = extra
        state = dict(line.split("=", 1) for line in data.decode().splitlines())
        return {**state, "pid": struct.unpack("3i", credentials)[0]}

    def wait(self, name, timeout=PATIENCE):
        """Reads until something has been said of `name`."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            state = self.next(deadline - time.monotonic())
            if state and name in state:
                return state
        raise AssertionError(f"the service manager was not sent {name}=")

    def heard(self, duration):
        """All that comes within so many seconds."""
        states, deadline = [], time.monotonic() + duration
        while (left := deadline - time.monotonic()) > 0:
            if state := self.next(left):
                states.append(state)
        return states

    def clog(self):
        """Fills the socket's queue, as when the manager is busy for long."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    other.sendto(b"X=1", self.bound)


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    one = Manager(str(tmp_path / "notify") if request.param == "path" else f"@sidesocket-test-{os.getpid()}")
    yield one
    one.socket.close()


@pytest.fixture
def path_manager(tmp_path):
    one = Manager(str(tmp_path / "notify"))
    yield one
    one.socket.close()


@pytest.fixture
def service(app, sidesocket, tmp_path, monkeypatch):
    """Starts the sidecar as a manager would; `watchdog` in seconds, for itself unless `watched` says whom."""

    def start(manager, watchdog=None, watched="$$", **settings):
        app.echo()
        wrapper = tmp_path / "start"
        # Only the process that will be the service knows its own number beforehand.
        wrapper.write_text(f'#!/bin/sh\nexport WATCHDOG_PID={watched}\nexec "{binary()}" "$@"\n')
        wrapper.chmod(0o755)
        env = {"NOTIFY_SOCKET": manager.address}
        if watchdog:
            env["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        with monkeypatch.context() as patch:
            patch.setenv("SIDESOCKET_BINARY", str(wrapper))
            return sidesocket(app, wait=False, env=env, **settings)

    return start


def test_the_manager_hears_ready_when_both_listeners_answer_and_stopping_before_the_end(service, manager):
    edge = service(manager)
    ready = manager.wait("READY")
    # At once, with no waiting for it.
    assert edge.readyz()[0] == 200
    guest = edge.websocket()
    # NotifyAccess=main: what another process says is not heard.
    assert ready["READY"] == "1" and ready["pid"] == edge.process.pid
    # No watchdog was asked for.
    assert [state for state in manager.heard(0.3) if "WATCHDOG" in state] == []
    edge.terminate()
    stopping = manager.wait("STOPPING")
    assert stopping["STOPPING"] == "1" and stopping["pid"] == edge.process.pid
    guest.expect_close(1012)
    assert edge.wait_exit() == 0
    assert not any("READY" in state or "RELOADING" in state for state in manager.heard(0.05))


def test_the_manager_hears_stopping_when_the_api_drains(service, path_manager):
    edge = service(path_manager)
    path_manager.wait("READY")
    API(edge).ask("POST", "/v1/drain")
    path_manager.wait("STOPPING")
    assert edge.wait_exit() == 0


@pytest.mark.parametrize("which", ["LISTEN", "CONTROL_LISTEN"])
def test_the_manager_does_not_hear_ready_when_a_port_is_taken(service, path_manager, which):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        edge = service(path_manager, **{which: f"127.0.0.1:{taken.getsockname()[1]}"})
        assert edge.wait_exit() not in (0, EX_CONFIG)
    assert not any("READY" in state for state in path_manager.heard(0.05))


def test_the_manager_does_not_hear_ready_when_the_settings_are_wrong(service, path_manager):
    edge = service(path_manager, THREADS="0")
    assert edge.wait_exit() == EX_CONFIG
    assert not any("READY" in state for state in path_manager.heard(0.05))


def test_the_watchdog_is_fed_twice_in_its_time(service, path_manager):
    edge = service(path_manager, watchdog=0.8)
    path_manager.wait("READY")
    times = [time.monotonic()]
    while len(times) < 6:
        state = path_manager.wait("WATCHDOG", timeout=3)
        assert state["WATCHDOG"] == "1" and state["pid"] == edge.process.pid
        times.append(time.monotonic())
    gaps = [later - earlier for earlier, later in zip(times[1:], times[2:], strict=False)]
    assert 0.25 < statistics.median(gaps) < 0.55 and times[1] - times[0] < 0.8, gaps


def test_the_watchdog_of_another_process_is_not_fed(service, path_manager):
    service(path_manager, watchdog=0.1, watched="1")
    path_manager.wait("READY")
    assert [state for state in path_manager.heard(0.5) if "WATCHDOG" in state] == []


def test_the_manager_hears_of_a_reload_and_its_end_even_when_it_fails(service, path_manager, tmp_path):
    config = tmp_path / "settings.yaml"
    config.write_text("max_fragments: 64\n")
    edge = service(path_manager, CONFIG=config)
    path_manager.wait("READY")
    for text in ("max_fragments: 32\n", "max_fragments: many\n", "max_fragments: 16\n"):
        config.write_text(text)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        edge.process.send_signal(signal.SIGHUP)
        reloading = path_manager.wait("RELOADING")
        assert reloading["RELOADING"] == "1" and "READY" not in reloading
        # systemd tells by it which of two reloads this is about.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert before <= int(reloading["MONOTONIC_USEC"]) <= now
        assert path_manager.wait("READY")["READY"] == "1"
    edge.websocket().close()


@pytest.mark.alone
def test_a_manager_that_does_not_read_holds_nobody_up(service, path_manager):
    edge = service(path_manager, watchdog=0.1)
    path_manager.wait("READY")
    guest = edge.websocket()
    path_manager.clog()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        asked = time.monotonic()
        guest.text("still here")
        assert guest.message() == "still here"
        assert edge.control("/healthz")[0] == 200
        assert time.monotonic() - asked < 0.4
    path_manager.wait("X")
    path_manager.wait("WATCHDOG", timeout=3)


@pytest.mark.parametrize("address", ["/nonexistent/notify", "@sidesocket-nobody", "", "vsock:2:1234"])
def test_it_runs_without_the_manager_too(app, sidesocket, address):
    edge = sidesocket(app, env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"})
    edge.websocket().close()
    edge.terminate()
    assert edge.wait_exit() == 0
