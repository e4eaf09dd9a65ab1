"""Several nodes over one engine, before one app."""

import time
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from .api import API
from .app import Reply
from .net import eventually
from .publishing import TEXT, kept
from .relay import EngineRelay
from .sse import EventStream

SECRET = "a-secret-that-the-nodes-of-the-tests-share"


def admit(request):
    """The app's answer to `open`: `/ws?user=42&join=room:1&join=room:2`; names may have any character."""
    asked = parse_qs(urlsplit(request.target).query)
    headers = [("Sidesocket-Subscribe", _quoted(name)) for name in asked.get("join", [])]
    headers += [("Sidesocket-User", asked["user"][0])] if "user" in asked else []
    headers += [("Sidesocket-State", asked["state"][0])] if "state" in asked else []
    return Reply(204, headers=headers)


def _quoted(name):
    return f'"{name}"' if ";" in name else name


def target(path, **query):
    """A path with parameters; `join` may be one name or a list."""
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


class Cluster:
    """Nodes that are started by `start`, the fixture `sidesocket`, with one engine and one app.

    Without an engine the one node keeps everything in its memory. With `relayed`, each node reaches the engine, one
    server of Redis, through a relay of its own.
    """

    def __init__(self, start, app, engine, relayed=False, **settings):
        self._start, self.app, self.engine, self.relayed = start, app, engine, relayed
        # A lost or stopped node leaves requests behind that the app may still work on.
        app.one_at_a_time = False
        self.settings = {"SSE_PATHS": "/events", "HISTORY_SIZE": 1000, "HISTORY_TTL": "1h", **settings}
        self.nodes = []
        self.relays = []
        self._count = 0

    def add(self, **settings):
        """Starts one more node and returns it."""
        self._count += 1
        chosen = {"NODE_NAME": f"web-{self._count}", **self.settings, **settings}
        relay = EngineRelay(self.engine.port) if self.relayed else None
        self.relays.append(relay)
        if self.engine:
            url = self.engine if isinstance(self.engine, str) else self.engine.url
            if relay:
                url = url.replace(f"127.0.0.1:{self.engine.port}", relay.address)
            chosen = {"CLUSTER_URL": url, "CLUSTER_SECRET": SECRET, **chosen}
        node = self._start(self.app, **chosen)
        node.name, node.settings, node.is_paused = chosen["NODE_NAME"], chosen, False
        self.nodes.append(node)
        return node

    def replace(self, number):
        """Starts a node with the settings of one that has ended, in its place; the name is the same, the ports new."""
        node = self._start(self.app, **self.nodes[number].settings)
        node.name, node.settings, node.is_paused = self.nodes[number].name, self.nodes[number].settings, False
        self.nodes[number] = node
        return node

    def kill(self, number):
        """Ends a node at once, as by kill -9."""
        node = self.nodes[number]
        node.exit_expected = True
        node.kill()
        return node

    @property
    def live(self):
        """The nodes that run and are not stopped, with their numbers."""
        return [(n, one) for n, one in enumerate(self.nodes) if one.process.poll() is None and not one.is_paused]

    def api(self, number=0, **more):
        return API(self.nodes[number], **more)

    def wait_up(self, timeout=20):
        """Waits until every node that runs says that its engine is up."""
        for _, node in self.live if self.engine else []:
            eventually(
                lambda node=node: node.metric("cluster_up") == 1,
                lambda node=node: f"{node.name} has its engine; it said {node.output[-3000:]}",
                timeout,
                0.02,
            )
        return self

    # Clients

    def socket(self, number=0, **query):
        """A WebSocket at a node."""
        one = self.nodes[number].websocket(target("/ws", **query))
        kept.append(one)
        return one

    def member(self, number=0, **query):
        """A WebSocket at a node, and the id of its connection."""
        known = {event.header("ce-connectionid") for event in self.app.events("open")}
        one = self.socket(number, **query)
        (name,) = {event.header("ce-connectionid") for event in self.app.events("open")} - known
        return one, name

    def stream(self, number=0, last=None, **query):
        """An event stream at a node; `last` is its Last-Event-ID."""
        headers = {"Last-Event-ID": last} if last else {}
        one = EventStream(self.nodes[number].port, target("/events", **query), headers)
        assert one.status == 200, one.status
        kept.append(one)
        return one

    def publish(self, number, channel, text, status=200, headers=None, **query):
        """Publishes through a node and returns the answer's JSON."""
        path = f"/v1/channels/{_path(channel)}/messages"
        given = {**TEXT, **(headers or {})}
        return self.api(number).want(status, "POST", path, text.encode(), given, **query).json

    def history(self, number, channel, status=200, **query):
        path = f"/v1/channels/{_path(channel)}/messages"
        return self.api(number).want(status, "GET", path, **query).json

    def stop(self):
        for relay in self.relays:
            if relay:
                relay.stop()


def _path(name):
    return quote(name, safe="")


def texts(history):
    """The texts of a history that was read."""
    return [message["text"] for message in history["messages"]]


def heard(stream, count):
    """The next events of a stream."""
    return [stream.event() for _ in range(count)]


def attempt(cluster, number, text, channel="room", **headers):
    """A publication that may fail: the answer, and how many seconds it took."""
    began = time.monotonic()
    answer = cluster.api(number).ask("POST", f"/v1/channels/{channel}/messages", text, {**TEXT, **headers})
    return answer, time.monotonic() - began


__all__ = ["SECRET", "Cluster", "admit", "attempt", "heard", "target", "texts"]
