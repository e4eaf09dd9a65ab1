"""The binary under test as a process: started with settings, watched, and judged at the end."""

import ctypes
import errno
import functools
import http.client
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from .net import PATIENCE, eventually, free_port
from .raw import Client
from .ws import WebSocket

ROOT = Path(__file__).resolve().parents[3]
CRASH = re.compile(
    r"Fatal error|Precondition failed|Assertion failed|Thread \d+.* crashed|Program crashed"
    r"|Sanitizer:|Illegal instruction"
    r"|Segmentation fault|leaked promise|deinit.*promise"
)


def binary():
    """The binary to test: SIDESOCKET_BINARY or the debug build."""
    path = Path(os.environ.get("SIDESOCKET_BINARY") or ROOT / ".build/debug/sidesocket")
    if not path.exists():
        raise AssertionError(f"{path} does not exist: run `swift build` or set SIDESOCKET_BINARY")
    return str(path.resolve())


def clean_environment(settings):
    """This process's environment without any setting of Sidesocket, plus `settings` (names without prefix)."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SIDESOCKET_")}
    env.setdefault("SWIFT_BACKTRACE", "enable=yes,interactive=no,color=no,timeout=10s")
    env.update({f"SIDESOCKET_{name}": str(value) for name, value in settings.items()})
    return env


def run(*arguments, env=None, timeout=20, max_files=None, **settings):
    """Runs the binary to its end and returns the completed process, output as text."""
    environment = clean_environment(settings)
    environment.update(env or {})
    done = subprocess.run(
        [binary(), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        errors="backslashreplace",
        stdin=subprocess.DEVNULL,
        preexec_fn=max_files and functools.partial(resource.setrlimit, resource.RLIMIT_NOFILE, (max_files, max_files)),
    )
    assert not CRASH.search(done.stderr), done.stderr
    return done


class Sidesocket:
    """A running sidecar; `port` is the public one, `max_files` its limit on open files."""

    def __init__(self, arguments=(), env=None, wait=True, max_files=None, **settings):
        for attempt in range(3):
            self.port, self.control_port = free_port(), free_port()
            defaults = {
                "LISTEN": f"127.0.0.1:{self.port}",
                "CONTROL_LISTEN": f"127.0.0.1:{self.control_port}",
                "NODE_NAME": "test-node",
                # All tests come from one address, and many of them fast; those of the limits set their own.
                "CONNECT_RATE_PER_IP": "off",
                "MAX_CONNECTIONS_PER_IP": "off",
                "MESSAGE_RATE": "off",
                "CONTROL_RATE": "off",
            }
            # None leaves a variable out.
            chosen = {k: v for k, v in {**defaults, **settings}.items() if v is not None}
            environment = clean_environment(chosen)
            environment.update(env or {})
            self.exit_expected = False
            self._lines = []
            self.process = subprocess.Popen(
                [binary(), *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                preexec_fn=max_files
                and functools.partial(resource.setrlimit, resource.RLIMIT_NOFILE, (max_files, max_files)),
            )
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
            if not wait:
                return
            try:
                eventually(self._ready_or_dead, lambda: f"ready; it said:\n{self.output}", timeout=20)
                if self.process.poll() is None:
                    return
            except BaseException:
                self.kill()
                raise
            # Somebody else may have taken the free port in between: try other ones.
            if "in use" not in self.output.lower() or attempt == 2:
                raise AssertionError(f"sidesocket exited with {self.process.returncode}:\n{self.output}")

    def _ready_or_dead(self):
        return self.process.poll() is not None or self.readyz()[0] == 200

    def _read(self):
        for line in self.process.stdout:
            self._lines.append(line)

    # What it says

    @property
    def raw_lines(self):
        """Every line of stdout and stderr, as bytes."""
        return list(self._lines)

    @property
    def output(self):
        return b"".join(self._lines).decode("utf-8", "backslashreplace")

    @property
    def logs(self):
        """The log lines that are JSON objects, parsed."""
        found = []
        for line in self.raw_lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                found.append(entry)
        return found

    # What it serves

    def client(self, **more):
        return Client(self.port, **more)

    def websocket(self, target="/ws", **more):
        """A WebSocket that must be accepted."""
        socket = WebSocket(self.port, target, **more)
        assert socket.answer.status == 101, f"{socket.answer.status}: {socket.answer.text}"
        return socket

    def try_websocket(self, target="/ws", **more):
        return WebSocket(self.port, target, **more)

    def control(self, path, headers=None):
        """GET on the control listener: status, headers (an http.client message) and body as text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.control_port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def readyz(self):
        try:
            status, _, body = self.control("/readyz")
            return status, body
        except (OSError, http.client.HTTPException):
            return None, ""

    def metrics(self):
        """The metrics as {(name, frozenset of label pairs): value}."""
        status, _, text = self.control("/metrics")
        assert status == 200
        return parse_metrics(text)

    def metric(self, name, **labels):
        """The sum over all series of `sidesocket_NAME` that carry these labels."""
        wanted = {(key, str(value)) for key, value in labels.items()}
        return sum(
            value
            for (series, pairs), value in self.metrics().items()
            if series == f"sidesocket_{name}" and wanted <= pairs
        )

    def wait_metric(self, name, wanted, **labels):
        return eventually(
            lambda: self.metric(name, **labels) == wanted,
            lambda: f"{name}{labels} == {wanted}, it is {self.metric(name, **labels)}",
        )

    # What it costs

    @property
    def rss(self):
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024

    @property
    def peak_rss(self):
        """The most resident memory since `forget_peak_rss`, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024

    def forget_peak_rss(self):
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    @property
    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def sockets(self):
        """Twins of its connected sockets, to ask for their options."""
        libc, pidfd_getfd, twins = ctypes.CDLL(None, use_errno=True), 438, []
        process = os.pidfd_open(self.process.pid)
        try:
            for name in os.listdir(f"/proc/{self.process.pid}/fd"):
                twin = libc.syscall(pidfd_getfd, process, int(name), 0)
                if twin < 0:
                    if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
                        pytest.skip("the system does not let us look into another process")
                    continue  # it closed meanwhile
                if not stat.S_ISSOCK(os.fstat(twin).st_mode):
                    os.close(twin)
                    continue
                one = socket.socket(fileno=twin)
                try:
                    one.getpeername()
                    twins.append(one)
                except OSError:
                    one.close()  # it listens
        finally:
            os.close(process)
        return twins

    # Its end

    def terminate(self, kind=signal.SIGTERM):
        self.exit_expected = True
        self.process.send_signal(kind)

    def wait_exit(self, timeout=PATIENCE):
        """Waits for the process to end by itself and returns its exit code."""
        self.exit_expected = True
        code = self.process.wait(timeout)
        self._reader.join(5)
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(5)

    def check_alive(self):
        """Fails if the process died or said that it crashed."""
        code = self.process.poll()
        if code is not None and not self.exit_expected:
            self._reader.join(5)
            raise AssertionError(f"sidesocket died with {code}:\n{self.output[-8000:]}")
        if CRASH.search(self.output):
            raise AssertionError(f"sidesocket reported a crash:\n{self.output[-8000:]}")


_SERIES = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def parse_metrics(text):
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = _SERIES.match(line)
            assert match, f"metrics line {line!r}"
            name, labels, value = match.groups()
            key = (name, frozenset(_LABEL.findall(labels or "")))
            assert key not in found, f"a series twice: {line}"
            found[key] = float(value)
    return found
