"""CPU of a node per WebSocket that is opened and closed, with a Redis behind it and without."""

import importlib.util

from measuring import cpu, ratio, settle, show
from rig import close_all
from servers import HERE

SOCKETS, ROUNDS = 2000, 5

spec = importlib.util.spec_from_file_location("handshake", HERE.parent / "handshake" / "run.py")
handshake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(handshake)


def run(rig):
    count, redis = rig.scaled(SOCKETS), rig.redis()
    (member,), (alone,) = rig.nodes(1, redis), rig.nodes(1)
    servers = {"over Redis": member, "alone": alone}
    handshake.REQUEST = handshake.REQUEST.replace(b"/ws", rig.options.path.encode(), 1)
    rows = {name: [] for name in servers}
    for number, name in rig.rounds(servers, ROUNDS):
        node = servers[name]
        settle(node.pid, redis.pid)
        before, scripts = (cpu(node.pid), cpu(redis.pid)), run_scripts(redis)
        sockets = handshake.open_all(node.port, count)
        settle(node.pid, redis.pid)
        opened = cpu(node.pid)
        close_all(sockets)
        settle(node.pid, redis.pid)
        if number >= 0:
            said = {
                "CPU µs/handshake": (cpu(node.pid) - before[0]) / count * 1e6,
                "of it, opening": (opened - before[0]) / count * 1e6,
            }
            if node is member:
                said["scripts/handshake"] = (run_scripts(redis) - scripts) / count
                said["Redis CPU µs/handshake"] = (cpu(redis.pid) - before[1]) / count * 1e6
            rows[name].append(said)
    print(f"{count} sockets, opened and closed, at {rig.options.path}; medians")
    show(rows)
    print(f"over Redis : alone {ratio(rows, 'over Redis', 'alone', 'CPU µs/handshake')}")


def run_scripts(redis):
    """How many scripts it has run."""
    stats = redis.info("commandstats")
    return sum(int(str(value).split("calls=")[1].split(",")[0]) for key, value in stats.items() if "evalsha" in key)
