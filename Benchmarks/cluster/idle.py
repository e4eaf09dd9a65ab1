"""Commands that idle nodes send to Redis, without connections and with many."""

import collections
import contextlib
import time

from measuring import settle, show
from rig import close_all, open_sockets
from servers import RedisClient

NODES, CONNECTIONS, SECONDS = 2, 2000, 20


def run(rig):
    seconds, count, redis = rig.options.seconds or SECONDS, rig.scaled(CONNECTIONS), rig.redis()
    nodes = rig.nodes(NODES, redis)
    pids = [one.pid for one in nodes]
    rows, sockets = {}, []
    for connections in (0, count):
        for place, node in enumerate(nodes):
            sockets += open_sockets(node.port, (f"/ws?join=n{place}-{n}" for n in range(connections)))
        settle(*pids, redis.pid, limit=30)
        rows[f"{connections} connections"] = [_count(redis, seconds)]
    close_all(sockets)
    print(f"{NODES} nodes, each connection in a channel of its own; per node and second over {seconds:g} s")
    show(rows)


def _count(redis, seconds):
    """What Redis is told meanwhile, per node and second: commands in all, and how often each was sent."""
    with RedisClient(redis.port, timeout=2) as watcher:
        watcher.command("MONITOR")
        before = int(redis.info("stats")["total_commands_processed"])
        sent, until = collections.Counter(), time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                # 1764500000.000000 [0 127.0.0.1:50000] "ping"; `lua` instead of an address: a script called it
                _, _, sender, command, *_ = watcher.reply().split(" ", 4)
                if sender != "lua]":
                    sent[command.strip('"').lower()] += 1
        counted = int(redis.info("stats")["total_commands_processed"]) - before - 1
    sent["info"] -= 1  # our own
    figures = {"sent": sent.total(), "with those in scripts": counted, **dict(sent.most_common(6))}
    return {name: float(count) / seconds / NODES for name, count in figures.items()}
