"""The servers of a figure: Redis, and Sidesocket over it or alone."""

import http.client
import importlib.util
import json
import pathlib
import signal
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "Tests" / "Integration"))

from support.net import free_port  # noqa: E402 - the helpers of the integration tests
from support.resp import Redis as RedisClient  # noqa: E402
from support.resp import info  # noqa: E402
from support.ws import WebSocket  # noqa: E402, F401 - for figures

spec = importlib.util.spec_from_file_location("bridge", HERE.parent / "bridge" / "run.py")
bridge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bridge)
bridge.HERE = HERE
# Ports that no outgoing connection takes: a Redis that was killed needs its own again.
bridge.free_port = free_port

NODE_SETTINGS = {
    "CLUSTER_SECRET": "a-secret-that-the-nodes-of-the-bench-share",
    # Clients here do not answer pings.
    "PING_INTERVAL": "off",
    "CONTROL_RATE": "off",
    "MAX_CHANNELS_PER_CONNECTION": "2000",
}


class Redis:
    """A server of Redis of its own, which can be stopped, killed and started again."""

    def __init__(self, bench, folder, **settings):
        folder.mkdir()
        self.bench, self.port = bench, free_port()
        settings = {"save": '""', "appendonly": "no", "bind": "127.0.0.1", "dir": folder, **settings}
        lines = [f"{name.replace('_', '-')} {value}\n" for name, value in settings.items()]
        self.configuration = folder / "redis.conf"
        self.configuration.write_text("".join(lines) + f"port {self.port}\n")
        self.start()

    def start(self):
        self.pid = self.bench.start(["redis-server", self.configuration], self.port)
        self.process = self.bench.processes[-1]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def answers(self):
        """Whether it takes commands; while it loads what it kept, it does not."""
        try:
            with RedisClient(self.port, timeout=2) as line:
                line.command("PING")
            return True
        except Exception:  # noqa: BLE001 - whatever it says, it is not ready
            return False

    def info(self, section="everything"):
        with RedisClient(self.port) as line:
            return info(line.command("INFO", section))


class Node:
    """A Sidesocket, alone or over a Redis."""

    def __init__(self, rig, name, redis=None, **settings):
        # The log is called like the program.
        program = rig.bench.folder / name
        program.symlink_to(rig.binary)
        self.control = free_port()
        chosen = {"CONTROL_LISTEN": f"127.0.0.1:{self.control}", "NODE_NAME": name, **NODE_SETTINGS}
        if redis:
            chosen["CLUSTER_URL"] = f"redis://127.0.0.1:{redis.port}"
        chosen |= settings
        words = [f"SIDESOCKET_{key}={value}" for key, value in chosen.items()] + rig.options.env
        self.name = name
        self.pid, self.port = bridge.start_sidesocket(rig.bench, program, words, rig.app_port)
        self.process = rig.bench.processes[-1]

    def line(self, timeout=30.0):
        """A connection to the API that is kept between requests."""
        return http.client.HTTPConnection("127.0.0.1", self.control, timeout=timeout)

    def get(self, path):
        """The status and the JSON of an answer of the API; without an answer, 0 and None."""
        line = self.line(5)
        try:
            line.request("GET", path)
            answer = line.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None
        finally:
            line.close()

    @property
    def is_up(self):
        """Whether it says that its Redis is there."""
        status, body = self.get("/v1/nodes")
        return status == 200 and body["engine"]["up"]

    def kill(self):
        self.process.kill()
        self.process.wait()


def post(line, path, body, kind="text/plain"):
    """Posts on a connection of `Node.line`: the status and the body; without an answer, 0 and nothing."""
    try:
        line.request("POST", path, body, {"Content-Type": kind})
        answer = line.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        line.close()
        return 0, b""
