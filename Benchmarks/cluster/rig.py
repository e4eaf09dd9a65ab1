"""The processes of a figure: servers, the app, load, and clients of our own."""

import concurrent.futures
import json
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import tempfile

from measuring import wait_for
from servers import Node, Redis, bridge, free_port


class Load:
    """load.c, connected and waiting for the word; see there for what the arguments mean."""

    def __init__(self, rig, ports, path, subscribers, publish, *, channel="", clients=1, rate=0, batch=0, seconds=3):
        shape = [channel or "-", clients, rate, batch, rig.options.size, seconds]
        command = [rig.load_program, ",".join(map(str, ports)), path, subscribers, *publish, *shape]
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self.process.stdout.readline() != "ready\n":
            sys.exit("bench: the load did not get its connections")

    def run(self):
        """Lets it run and returns what it says."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()


class Rig:
    """The processes of one figure. `options` are those of the command line."""

    def __init__(self, options, name):
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
        self.options = options
        self.binary = pathlib.Path(options.binary).resolve()
        self.bench = bridge.Bench(pathlib.Path(tempfile.mkdtemp(prefix=f"cluster-{name}-")))
        self.load_program, app = self.bench.build("load"), self.bench.build("app")
        self.app_port, self._events = free_port(), self.bench.folder / "events"
        self.app_pid = self.bench.start([app, self.app_port, self._events], self.app_port)
        self._heard, self._read = [], 0
        self._count = 0
        self.failed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bench.stop()
        shutil.rmtree(self.bench.folder, ignore_errors=True)

    def scaled(self, count):
        """A number of connections or channels, as `--scale` wants it."""
        return max(int(count * self.options.scale), 2)

    def redis(self, **settings):
        self._count += 1
        return Redis(self.bench, self.bench.folder / f"redis-{self._count}", **settings)

    def nodes(self, count, redis=None, **settings):
        """Starts nodes and waits until each of them knows all."""
        self._count += 1
        nodes = [Node(self, f"node-{self._count}-{n + 1}", redis, **settings) for n in range(count)]
        for one in nodes if redis else []:
            wait_for(lambda one=one: len((one.get("/v1/nodes")[1] or {}).get("nodes", [])) >= count, "all nodes are up")
        return nodes

    def rounds(self, names, default):
        """The numbers of the rounds, each with every name; round -1 warms up and does not count."""
        for number in range(-1, self.options.rounds or default):
            for name in names:
                yield number, name

    def events(self):
        """All that the app has heard so far: (seconds of `time.monotonic`, type, id)."""
        with self._events.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            at, what, id = line.split(" ")
            self._heard.append((int(at) / 1e6, what, id))
        return self._heard

    def check(self, number, name, said):
        """Whether a load was without errors; if not, it is printed and the run fails."""
        wrong = {key: said[key] for key in ("errors", "failed", "missing", "unanswered") if said[key]}
        if wrong:
            self.failed = True
            print(f"round {number}: {name}: {wrong}", file=sys.stderr)
        return not wrong


HANDSHAKE = (
    "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def open_sockets(port, targets):
    """A WebSocket for each of these targets, some at a time."""
    sockets, targets = [], list(targets)
    for start in range(0, len(targets), 20):
        batch = []
        for target in targets[start : start + 20]:
            batch.append(socket.create_connection(("127.0.0.1", port), timeout=30))
            batch[-1].sendall(HANDSHAKE.format(target).encode())
        for one in batch:
            if not (answer := one.recv(4096)).startswith(b"HTTP/1.1 101"):
                sys.exit(f"bench: a handshake was refused: {answer[:300]!r}")
        sockets += batch
    return sockets


def close_all(sockets):
    for one in sockets:
        one.close()


def at_once(work, items):
    """The results of `work` for each item, all at the same time."""
    items = list(items)
    with concurrent.futures.ThreadPoolExecutor(max(len(items), 1)) as pool:
        return list(pool.map(work, items))
