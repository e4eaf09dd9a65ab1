"""What can be broken under a load: each fault is a function of a `Rig`, and has mended what it broke when it returns."""

import contextlib
import random
import signal
import time
from dataclasses import dataclass

from .channel_history import Killed
from .cluster import Cluster
from .cluster_load import Load
from .net import eventually
from .redis_servers import RedisServer
from .redis_topologies import SentinelSet
from .resp import RedisError

# By default a channel is told of its gaps by a close.
POLICIES = "c:*=gap=close"


@dataclass
class Rig:
    """A cluster under load, and what it stands on."""

    cluster: Cluster
    engine: object
    load: Load
    random: random.Random

    @property
    def server(self):
        """The server of Redis that takes the writes; any one of a Redis Cluster."""
        if isinstance(self.engine, RedisServer):
            return self.engine
        return (
            self.engine.primary if isinstance(self.engine, SentinelSet) else self.random.choice(self.engine.primaries)
        )

    def relay(self):
        return self.random.choice(self.cluster.relays)

    def wait(self, least, most):
        """Lets the load go on for a while; how long is drawn from the seed."""
        time.sleep(self.random.uniform(least, most))

    def publish_large(self, size=200_000, count=3):
        """Publications that fill buffers, as part of the load."""
        for n in range(count):
            channel = self.random.choice(self.load.channels)
            number = time.monotonic_ns()
            node = self.cluster.live[n % len(self.cluster.live)][1]
            self.load.publish(node, channel, f"{channel}|large|{number}|{'x' * size}")


# Nodes


def a_node_is_killed(rig):
    number, _ = rig.random.choice(rig.cluster.live)
    node = rig.cluster.kill(number)
    rig.load.recording.add(Killed(node.name, time.monotonic()))
    rig.wait(0.1, 0.8)
    rig.cluster.replace(number)


def a_node_is_stopped(rig):
    _, node = rig.random.choice(rig.cluster.live)
    node.is_paused = True
    node.process.send_signal(signal.SIGSTOP)
    rig.wait(0.5, 2.5)
    node.process.send_signal(signal.SIGCONT)
    node.is_paused = False


def a_node_drains(rig):
    number, node = rig.random.choice(rig.cluster.live)
    node.is_paused = True  # Nobody comes to it any more.
    node.terminate()
    assert node.wait_exit(40) == 0
    rig.cluster.replace(number)


# Redis


def redis_is_killed(rig):
    server = rig.server
    server.kill()
    rig.wait(0, 2)
    server.start()


def redis_is_killed_and_comes_back_empty(rig):
    server = rig.server
    server.kill()
    rig.wait(0, 1)
    server.start(empty=True)


def redis_is_stopped(rig):
    with rig.server.paused():
        rig.wait(0.3, 4)


def redis_is_flushed(rig):
    rig.server.command("FLUSHALL")


def keys_expire(rig):
    """Some keys are gone before their time, as by an eviction."""
    server = rig.server
    for key in server.command("KEYS", "*"):
        if rig.random.random() < 0.5:
            server.command("PEXPIRE", key, rig.random.randint(1, 500))
    rig.wait(0.5, 0.6)


def connections_for_messages_are_cut(rig):
    for _ in range(3):
        rig.server.cut_clients("pubsub")
        rig.wait(0, 0.5)


def connections_for_commands_are_cut(rig):
    for _ in range(3):
        rig.server.cut_clients("normal")
        rig.wait(0, 0.5)


def output_buffers_overflow(rig):
    server = rig.server
    server.config(client_output_buffer_limit="pubsub 65536 0 0")
    try:
        rig.publish_large()
    finally:
        server.config(client_output_buffer_limit="pubsub 33554432 8388608 60")


def redis_is_out_of_memory(rig):
    server = rig.server
    server.config(maxmemory="1")
    rig.wait(0.3, 1.5)
    server.config(maxmemory="0")


def redis_is_read_only(rig):
    """As after a failover that a client has not heard of."""
    server = rig.server
    server.command("REPLICAOF", "127.0.0.1", "1")
    rig.wait(0.3, 1.5)
    server.command("REPLICAOF", "NO", "ONE")


def scripts_are_forgotten(rig):
    for _ in range(5):
        rig.server.command("SCRIPT", "FLUSH")
        rig.wait(0, 0.2)


def redis_is_busy(rig):
    """A slow command holds up all others."""
    line = rig.server.client()
    line.send(["DEBUG", "SLEEP", "1.3"])
    line.reply()
    line.close()


# The way between


def the_network_stalls(rig):
    relay = rig.relay()
    relay.hold()
    rig.wait(0.3, 4)
    relay.mend()


def the_network_is_slow(rig):
    relay = rig.relay()
    relay.delay = 0.1
    rig.wait(0.5, 1)
    relay.mend()


def the_network_refuses(rig):
    relay = rig.relay()
    relay.refuse()
    rig.wait(0.3, 2)
    relay.mend()


def a_connection_is_cut_inside_a_frame(rig):
    for _ in range(4):
        relay, channel = rig.relay(), rig.random.choice(rig.load.channels)
        way = rig.random.choice(list(relay.open))
        sprung = relay.cut_inside(f"{channel}|".encode(), rig.random.randint(1, len(channel) + 1), way=way)
        sprung.wait(1)
    relay.mend()


def answers_are_lost(rig):
    """Publications are stored, and whoever asked for them never hears of it."""
    relay = rig.relay()
    for _ in range(3):
        channel = rig.random.choice(rig.load.channels)
        sprung = relay.swallow_after(f"{channel}|".encode())
        sprung.wait(1)
        rig.wait(0, 1.5)
        relay.mend()


# Several servers


def the_primary_fails_over(rig):
    old = rig.engine.primary
    rig.engine.fail_over()
    rig.engine.rejoin(old)


def the_primary_fails_over_and_a_tail_is_lost(rig):
    old = rig.engine.primary

    def write(_):
        # What is published now goes to nobody but the old primary, and to who is subscribed there.
        with contextlib.suppress(AssertionError):
            rig.load.published(10, timeout=0.5)

    rig.engine.fail_over(write=write)
    rig.engine.rejoin(old)


def a_failover_is_ordered(rig):
    """The old primary lives, and takes writes until it hears of it."""
    old = rig.engine.primary
    rig.engine.sentinels[0].command("SENTINEL", "FAILOVER", rig.engine.service)
    rig.engine.wait_primary(old)
    eventually(lambda: old.command("ROLE")[0] == "slave", f"{old} is a replica", 60, 0.05)


def the_old_primary_comes_back_as_one(rig):
    """Until the Sentinels have noticed it, two servers take writes."""
    old = rig.engine.primary
    rig.engine.fail_over()
    rig.engine.rejoin(old, as_primary=True)


def slots_move(rig):
    busy = rig.engine.busy_slots()[:6]
    for slot in busy:
        with contextlib.suppress(RedisError):
            rig.engine.move(slot, between=lambda: rig.wait(0.01, 0.08))


def a_primary_of_the_cluster_fails_over(rig):
    old = rig.server
    rig.engine.fail_over(old)
    rig.engine.rejoin(old)


# By what they need: one server with relays before it, a set of Sentinels, or a Redis Cluster. Those of the second list
# may lose what was confirmed.
NODES = [a_node_is_killed, a_node_is_stopped, a_node_drains]
KEEPING = [
    redis_is_killed, redis_is_stopped, connections_for_messages_are_cut, connections_for_commands_are_cut,
    output_buffers_overflow, redis_is_out_of_memory, redis_is_read_only, scripts_are_forgotten, redis_is_busy,
    the_network_stalls, the_network_is_slow, the_network_refuses, a_connection_is_cut_inside_a_frame, answers_are_lost,
]  # fmt: skip
LOSING = [redis_is_killed_and_comes_back_empty, redis_is_flushed, keys_expire]
SENTINEL_LOSING = [
    the_primary_fails_over, the_primary_fails_over_and_a_tail_is_lost, a_failover_is_ordered,
    the_old_primary_comes_back_as_one,
]  # fmt: skip
SENTINEL_KEEPING = [
    connections_for_messages_are_cut, connections_for_commands_are_cut, output_buffers_overflow, scripts_are_forgotten,
]  # fmt: skip
CLUSTER_LOSING = [a_primary_of_the_cluster_fails_over]
CLUSTER_KEEPING = [slots_move, *SENTINEL_KEEPING]
MAY_LOSE = {*LOSING, *SENTINEL_LOSING, *CLUSTER_LOSING}


def named(fault):
    return fault.__name__.replace("_", " ")


def apply(rig, fault):
    """Lets a fault happen, notes it, and waits until everything works again."""
    with rig.load.fault(named(fault), loses=fault in MAY_LOSE):
        fault(rig)
        rig.cluster.wait_up(40)
    return fault


__all__ = [
    "CLUSTER_KEEPING", "CLUSTER_LOSING", "KEEPING", "LOSING", "MAY_LOSE", "NODES", "POLICIES", "SENTINEL_KEEPING",
    "SENTINEL_LOSING", "Rig", "apply", "named",
]  # fmt: skip
