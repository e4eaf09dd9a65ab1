"""`make run-cluster`: two nodes behind nginx, as a contributor tries them by hand."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support.api import API
from support.net import eventually, free_port, listens
from support.process import CRASH, ROOT, binary
from support.redis_servers import needs_redis
from support.ws import WebSocket

SCRIPT = ROOT / "scripts/run-cluster.sh"
PORTS = ["PUBLIC_PORT", "APP_PORT", "REDIS_PORT", "NODE1_PORT", "NODE2_PORT", "CONTROL1_PORT", "CONTROL2_PORT"]


class Running:
    """The script as a process, on free ports and with a folder of its own for what is temporary."""

    def __init__(self, folder):
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.log = folder / "said"
        self.ports = {name: free_port() for name in PORTS}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SIDESOCKET_")}
        environment |= {"BINARY": binary(), "TMPDIR": str(self.temporary), "PUBLIC_HOST": "127.0.0.1"}
        # Several clients of one address that come fast are what a limit is for.
        environment |= {"SIDESOCKET_CONNECT_RATE_PER_IP": "off"}
        environment |= {name: str(port) for name, port in self.ports.items()}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", str(SCRIPT)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own, as in a terminal, where Ctrl-C goes to the whole group.
                start_new_session=True,
            )
        self.pids = set()
        self.nodes = {}

    def wait_ready(self):
        eventually(lambda: self.has_ended or "Ctrl-C stops everything" in self.said, lambda: self.said, 30)
        assert not self.has_ended, self.said
        found = re.findall(r"(node[12]), pid (\d+):  curl http://127.0.0.1:(\d+)/v1/connections", self.said)
        self.nodes = {name: (int(pid), API(None, port=int(port))) for name, pid, port in found}
        assert len(self.nodes) == 2, self.said
        self.pids = descendants(self.process.pid)
        assert {pid for pid, _ in self.nodes.values()} < self.pids
        for _, api in self.nodes.values():
            eventually(
                lambda api=api: len(api.want(200, "GET", "/v1/nodes").json["nodes"]) == 2, "both nodes see both", 15
            )
        return self

    @property
    def said(self):
        return self.log.read_text(errors="replace")

    @property
    def has_ended(self):
        return self.process.poll() is not None

    def client(self):
        """A WebSocket through nginx, and the name of its node."""
        before = self.connections()
        one = WebSocket(self.ports["PUBLIC_PORT"])
        assert one.answer.status == 101, f"{one.answer.status}: {one.answer.text}"
        after = self.connections()
        (name,) = (name for name in after if after[name] - before.get(name, set()))
        return one, name

    def connections(self):
        """The ids of the connections of each node that is there."""
        found = {}
        for name, (_, api) in self.nodes.items():
            found[name] = {one["id"] for one in api.connections() if one["node"] == name}
        return found

    def end(self, kind):
        """Ends it as a terminal or a supervisor does; nothing may be left."""
        assert {pid for pid in self.pids if is_alive(pid)}
        if kind == signal.SIGINT:
            os.killpg(self.process.pid, kind)
        else:
            self.process.send_signal(kind)
        self.process.wait(20)
        assert [pid for pid in self.pids if is_alive(pid)] == []
        assert [name for name, port in self.ports.items() if listens(port)] == []
        assert list(self.temporary.iterdir()) == []
        assert not CRASH.search(self.said), self.said

    def clean_up(self):
        """Leaves nothing behind after a failed test either."""
        if not self.has_ended:
            self.pids |= descendants(self.process.pid)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in self.pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid):
    """The processes that one has started, and those that these have."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


@pytest.fixture
def running(tmp_path, request):
    needs_redis()
    if not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
        pytest.skip("nginx is not installed")
    one = Running(tmp_path)
    yield one
    one.clean_up()
    request.node.add_report_section("teardown", "run-cluster", one.said[-20000:])


def two_clients(running):
    """Two clients, one at each node."""
    clients = {}
    for _ in range(10):
        one, name = running.client()
        clients.setdefault(name, one)
        if len(clients) == 2:
            return clients
    raise AssertionError(f"ten clients in a row came to {list(clients)} alone")


def say(sender, receivers, text):
    """One says something in the room, and all of them hear it."""
    sender.text(text)
    for one in receivers:
        heard = one.message()
        while not heard.endswith(f": {text}"):
            heard = one.message()


def test_a_room_spans_both_nodes_and_goes_on_when_one_of_them_is_killed(running):
    running.wait_ready()
    clients = two_clients(running)
    say(clients["node1"], clients.values(), "hello")
    say(clients["node2"], clients.values(), "hello yourself")
    # The command that it prints.
    (pid,) = re.findall(r"kill -9 (\d+)", running.said)
    victim, api = running.nodes.pop("node1")
    assert victim == int(pid)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: "node1 ended with status 137" in running.said, lambda: running.said)
    assert not running.has_ended
    clients["node1"].wait_closed()
    again, name = running.client()
    assert name == "node2"
    say(again, [again, clients["node2"]], "here again")
    say(clients["node2"], [again, clients["node2"]], "welcome back")
    running.end(signal.SIGINT)
    assert running.process.returncode == 0


def test_it_ends_what_hangs_too(running):
    running.wait_ready()
    (redis,) = set(re.findall(r"kill -STOP (\d+)", running.said))
    os.kill(int(redis), signal.SIGSTOP)
    os.kill(running.nodes["node2"][0], signal.SIGSTOP)
    running.end(signal.SIGTERM)


def test_it_ends_when_no_node_is_left(running):
    running.wait_ready()
    for pid, _ in running.nodes.values():
        os.kill(pid, signal.SIGKILL)
    assert running.process.wait(20) == 1
    assert [pid for pid in running.pids if is_alive(pid)] == []
    assert list(running.temporary.iterdir()) == []
