"""Cases of several nodes over a Redis."""

import signal

from ..api import API
from ..cluster import admit
from ..guard import enter
from ..net import eventually, free_port
from ..polling import PollClient
from ..redis_servers import RedisServer, needs_redis
from .quotes import PLAIN, closed, problem, said, shows

SECRETS = ("a-secret-of-sixteen-bytes-or-more", "another-secret-of-somebody-else")


def publish(edge, channel="room"):
    return API(edge).ask("POST", f"/v1/channels/{channel}/messages", "x", PLAIN)


@shows((503, "Channels cannot be reached."), (503, "Bans cannot be reached."))
def an_engine_that_is_away(app, start):
    edge = start(CLUSTER_URL=f"redis://127.0.0.1:{free_port()}")
    return [problem(publish(edge)), problem(API(edge).ask("PUT", "/v1/bans/ip/192.0.2.1"))]


@shows((503, "Fewer replicas than CLUSTER_MIN_REPLICAS have the message; it may be delivered all the same."))
def too_few_replicas(app, start):
    needs_redis()
    with RedisServer(start.folder / "redis") as redis:
        edge = start(CLUSTER_URL=redis.start().url, CLUSTER_MIN_REPLICAS=1)
        edge.wait_metric("cluster_up", 1)
        return [problem(publish(edge))]


@shows((None, '"missing":["web-2"]'), (None, "a message from another node was refused"))
def different_secrets(app, start):
    needs_redis()
    with RedisServer(start.folder / "redis") as redis:
        redis.start()
        one, two = (
            start(CLUSTER_URL=redis.url, CLUSTER_SECRET=secret, NODE_NAME=f"web-{number}")
            for number, secret in enumerate(SECRETS, 1)
        )
        eventually(lambda: len(API(one).ask("GET", "/v1/nodes").json["nodes"]) == 2, "both are there")
        listed = API(one).ask("GET", "/v1/connections")
        return [(None, listed.text), said(two, "a message from another node was refused")]


@shows(
    (4410, "messages are lost"), (None, "messages of a channel are lost"),
    (None, "this node is not in the list of nodes any more"),
)  # fmt: skip
def an_engine_that_was_emptied(app, start):
    needs_redis()
    app.on(admit, event="open")
    with RedisServer(start.folder / "redis") as redis:
        edge = start(CLUSTER_URL=redis.start().url, CLUSTER_LEASE="3s", CHANNEL_POLICIES="room=gap=close")
        edge.wait_metric("cluster_up", 1)
        guest = enter(edge, target="/ws?join=room")
        # What was published before is what the engine loses.
        eventually(lambda: publish(edge).status == 200, "it publishes")
        redis.command("FLUSHALL")
        eventually(lambda: publish(edge).status == 200, "it publishes again")
        return [
            closed(guest),
            said(edge, "messages of a channel are lost", "this node is not in the list of nodes any more"),
        ]


@shows((None, "Redis removes keys when its memory is full"))
def an_engine_that_is_a_cache(app, start):
    needs_redis()
    with RedisServer(start.folder / "redis", maxmemory="100mb", maxmemory_policy="allkeys-lru") as redis:
        edge = start(CLUSTER_URL=redis.start().url)
        return [said(edge, "Redis removes keys when its memory is full", "allkeys-lru")]


@shows((503, "The node that has the session does not answer; repeat the POST."))
def a_session_on_a_silent_node(app, start):
    needs_redis()
    app.on(admit, event="open")
    with RedisServer(start.folder / "redis") as redis:
        redis.start()
        how = {"CLUSTER_URL": redis.url, "HTTP_PATHS": "/poll", "POLL_TIMEOUT": "1s"}
        one, two = (start(**how, NODE_NAME=f"web-{number}") for number in (1, 2))
        for node in (one, two):
            node.wait_metric("cluster_nodes", 2)
        client = PollClient(one, "/poll")
        client.begins()
        one.process.send_signal(signal.SIGSTOP)
        answer = client.post({"resume": client.token, "n": 2}, edge=two).wait()
        one.process.send_signal(signal.SIGCONT)
        return [(answer.status, answer.body.decode())]
