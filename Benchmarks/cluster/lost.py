"""How long it takes until a killed node is forgotten and the app has the close events of its connections."""

import time

from measuring import show
from rig import close_all, open_sockets

CONNECTIONS, ROUNDS, PATIENCE = 5000, 3, 60


def run(rig):
    count, redis = rig.scaled(CONNECTIONS), rig.redis()
    rows = {"killed node": []}
    for number in range(rig.options.rounds or ROUNDS):
        survivor, victim = rig.nodes(2, redis, CHANNEL_EVENTS="on", CLUSTER_PREFIX=f"lost-{number}")
        began = len(rig.events())
        sockets = open_sockets(victim.port, ["/ws?user=1&join=room"] * count)
        seen = _within(15, lambda survivor=survivor: _present(survivor) == count)
        _within(15, lambda began=began: any(kind == "channel.occupied" for _, kind, _ in rig.events()[began:]))
        victim.kill()
        rows["killed node"].append(_watch(rig, survivor, victim, count, began, seen))
        close_all(sockets)
        survivor.kill()
    print(f"a node with {count} connections in one channel is killed, one survives; seconds since then, medians")
    show(rows)


def _watch(rig, survivor, victim, count, began, seen):
    """What was seen how many seconds after the kill, None if nothing came within a minute of the last event."""
    killed = last = time.monotonic()
    # What was not there cannot go.
    found = {"not a node": None, **({"presence gone": None} if seen else {})}
    closes, vacated, known = {}, None, began
    while len(closes) < count or vacated is None or None in found.values():
        now = time.monotonic()
        if now > last + PATIENCE:
            break
        if seen and found["presence gone"] is None and _present(survivor) == 0:
            found["presence gone"] = now - killed
        if found["not a node"] is None:
            status, body = survivor.get("/v1/nodes")
            if status == 200 and victim.name not in {one["name"] for one in body["nodes"]}:
                found["not a node"] = now - killed
        fresh = rig.events()[known:]
        known += len(fresh)
        for at, kind, id in fresh:
            if at < killed:
                continue
            last = max(last, at)
            if kind == "channel.vacated":
                vacated = vacated or at - killed
            elif kind == "close" and id.endswith("-lost"):
                closes.setdefault(id, at - killed)
        time.sleep(0.05)
    return {
        "presence gone": found.get("presence gone"),
        "not a node": found["not a node"],
        "vacated": vacated,
        "first close": min(closes.values(), default=None),
        "last close": max(closes.values(), default=None),
        "closes": len(closes),
    }


def _present(node):
    """How many connections a node says are in the channel."""
    status, body = node.get("/v1/channels/room")
    return body["connections"] if status == 200 else 0 if status == 404 else None


def _within(seconds, condition):
    """Whether a condition becomes true in that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False
