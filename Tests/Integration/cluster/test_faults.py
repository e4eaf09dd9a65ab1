"""Recorded histories under faults: each fault alone, and many of them as a seed draws them.

`SIDESOCKET_FAULT_MINUTES` makes the drawn runs long for a nightly run (default: some seconds), and gives each a new
seed; `SIDESOCKET_FAULT_SEED` repeats one. A failure prints its seed and the last records of the channel concerned.
"""

import json
import os
import random
import time

import pytest
from support.app import Reply
from support.cluster_faults import (
    CLUSTER_KEEPING, CLUSTER_LOSING, KEEPING, LOSING, NODES, POLICIES, SENTINEL_KEEPING, SENTINEL_LOSING, Rig,
    apply, named,
)  # fmt: skip
from support.cluster_load import Load
from support.net import eventually
from support.redis_servers import RedisServer, needs_redis
from support.redis_topologies import RedisCluster, SentinelSet

MINUTES = float(os.environ.get("SIDESOCKET_FAULT_MINUTES", "0"))
SEED = int(os.environ.get("SIDESOCKET_FAULT_SEED", "0")) or (
    random.SystemRandom().randrange(1, 1 << 31) if MINUTES else 7
)
# How long one drawn run is, and how many there are of each kind; the time is shared by six kinds.
SECONDS = max(8, min(90, MINUTES * 10))
RUNS = max(1, round(MINUTES * 10 / (SECONDS + 30)))

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def make_rig(make_cluster, tmp_path):
    """Starts an engine, nodes and a load: `make_rig("alone", seed)`."""
    needs_redis()
    engines = []

    def make(kind, seed, nodes=2, **load):
        folder = tmp_path / f"engine-{len(engines)}"
        if kind == "alone":
            engines.append(RedisServer(folder, appendonly="yes", appendfsync="always").start())
        else:
            engines.append(SentinelSet(folder) if kind == "sentinel" else RedisCluster(folder))
        cluster = make_cluster(
            nodes, engines[-1], relayed=kind == "alone", CHANNEL_POLICIES=POLICIES, DRAIN_TIMEOUT="2s"
        )
        return Rig(cluster, engines[-1], Load(cluster, seed=seed, **load), random.Random(seed))

    yield make
    for engine in engines:
        engine.stop()


def judged(rig):
    rig.load.settle(timeout=40)
    for node in rig.cluster.nodes:
        node.check_alive()


def run_alone(rig, fault, times=1):
    """A fault under load, with some load before and after it."""
    with rig.load:
        rig.load.published(25)
        for _ in range(times):
            apply(rig, fault)
        rig.load.published(25)
    judged(rig)


# Each alone


@pytest.mark.parametrize("fault", [*NODES, *KEEPING, *LOSING], ids=named)
def test_one_fault_of_a_node_or_of_one_redis(make_rig, fault):
    run_alone(make_rig("alone", SEED), fault)


@pytest.mark.parametrize("fault", SENTINEL_LOSING if MINUTES else SENTINEL_LOSING[:2], ids=named)
def test_one_fault_of_a_redis_with_sentinels(make_rig, fault):
    run_alone(make_rig("sentinel", SEED), fault)


@pytest.mark.parametrize("fault", [CLUSTER_KEEPING[0], *CLUSTER_LOSING], ids=named)
def test_one_fault_of_a_redis_cluster(make_rig, fault):
    run_alone(make_rig("cluster", SEED, channels=12), fault)


# As a seed draws them

KINDS = {
    "alone": ([*NODES, *KEEPING], LOSING),
    "sentinel": ([*NODES, *SENTINEL_KEEPING], SENTINEL_LOSING),
    "cluster": ([*NODES, *CLUSTER_KEEPING], CLUSTER_LOSING),
}


@pytest.mark.parametrize("turn", range(RUNS))
@pytest.mark.parametrize("kind", KINDS if MINUTES else ["alone"])
@pytest.mark.parametrize(
    "losing", [False, True] if MINUTES else [False], ids=lambda one: "losing" if one else "keeping"
)
def test_faults_as_a_seed_draws_them(make_rig, kind, losing, turn):
    seed = SEED + turn
    print(f"SIDESOCKET_FAULT_SEED={seed} {kind} {'losing' if losing else 'keeping'}", flush=True)
    rig = make_rig(kind, seed, nodes=3, channels=8, publishers=3, streams=6, sockets=6)
    keeping, costly = KINDS[kind]
    until, happened = time.monotonic() + SECONDS, []
    with rig.load:
        rig.load.published(20)
        while time.monotonic() < until:
            faults = costly if losing and rig.random.random() < 0.3 else keeping
            happened.append(named(apply(rig, rig.random.choice(faults))))
            rig.wait(0.1, 1.5)
    print(f"seed {seed}: {happened}", flush=True)
    judged(rig)


# By the thousand


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_a_hundred_thousand_channels_are_subscribed_again(app, make_cluster, redis):
    count = 100_000
    cluster = make_cluster(
        2, redis, MAX_CHANNELS_PER_CONNECTION=count, MAX_REPLY_BYTES="8MiB", HISTORY_SIZE=0,
        MAX_SEND_BUFFER_BYTES="16MiB", WEBHOOK_TIMEOUT="60s",
    )  # fmt: skip
    socket = cluster.socket(0)
    socket.sock.settimeout(120)
    # As many as one reply may have commands.
    for first in range(0, count, 1000):
        names = [{"subscribe": f"c:{n}"} for n in range(first, first + 1000)] + [{"send": {"text": "joined"}}]
        reply = Reply(200, json.dumps(names), {"Content-Type": "application/vnd.sidesocket+json"})
        app.on(reply, event="message", times=1)
        socket.text("join")
        assert socket.message() == "joined"
    node = cluster.nodes[0]
    eventually(lambda: node.metric("subscriptions") == count, "all are in", 60, 0.1)
    eventually(lambda: _subscribed(redis) >= count, lambda: f"subscribed to {_subscribed(redis)}", 60, 0.1)
    chosen = random.Random(1).sample(range(count), 200)
    for cut in ("pubsub", "restart"):
        began = time.monotonic()
        if cut == "pubsub":
            redis.cut_clients("pubsub")
        else:
            redis.restart()
        eventually(lambda: _subscribed(redis) >= count, lambda: f"subscribed to {_subscribed(redis)}", 60, 0.05)
        print(f"{count} channels subscribed again after {cut} in {time.monotonic() - began:.1f} s")
        cluster.wait_up()
        for n in chosen:
            cluster.publish(1, f"c:{n}", f"{cut} {n}")
        got = [socket.message() for _ in chosen]
        assert sorted(got) == sorted(f"{cut} {n}" for n in chosen)


def _subscribed(redis):
    """How many subscriptions the engine has, of whatever kind and by how many connections."""
    try:
        return len(redis.command("PUBSUB", "CHANNELS", "*"))
    except (OSError, EOFError):
        return 0
