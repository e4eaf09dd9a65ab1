"""Clients of the protocol over connections that are cut, stalled and doubled: nothing is lost, repeated or out of order.

SIDESOCKET_HISTORY_CLIENTS and SIDESOCKET_HISTORY_SECONDS make it larger and longer; SIDESOCKET_HISTORY_SEED repeats a run.
"""

import os
import time

import pytest
from support.api import API
from support.cluster import SECRET
from support.history import Relay
from support.net import eventually
from support.protocol_history import World
from support.publishing import admit
from support.redis_servers import RedisServer, needs_redis

CLIENTS = int(os.environ.get("SIDESOCKET_HISTORY_CLIENTS", "16"))
SECONDS = float(os.environ.get("SIDESOCKET_HISTORY_SECONDS", "12"))
SEED = int(os.environ.get("SIDESOCKET_HISTORY_SEED", str(time.time_ns() % 1_000_000)))
SETTINGS = {
    "HTTP_PATHS": "/ws",
    "POLL_TIMEOUT": "2s",
    "HISTORY_SIZE": "100000",
    "HISTORY_TTL": "1h",
    "MAX_SEND_BUFFER_BYTES": "4MiB",
    "WEBHOOK_RETRY_FOR": "60s",
    "WEBHOOK_TIMEOUT": "20s",
    # A test that cuts all connections at once is no attack.
    "CONNECT_RATE_PER_IP": "off",
}

pytestmark = [pytest.mark.timeout(SECONDS + 240), pytest.mark.alone]


@pytest.fixture
def relays():
    made = []

    def make(port):
        made.append(Relay(port))
        return made[-1]

    yield make
    for one in made:
        one.stop()


class Door:
    """What a client needs of a sidecar, at the port of a relay."""

    def __init__(self, relay, edge):
        self.port, self.edge = relay.port, edge


def cut_and_stall(relays, app_relay):
    """Disturbs for a moment: cuts or stalls one of the clients' relays, or lets the app be away."""

    def disturb(random):
        relay, kind = random.choice(relays), random.random()
        if kind < 0.45:
            relay.cut()
        elif kind < 0.75:
            relay.hold()
            time.sleep(random.uniform(0.1, 1.0))
            if random.random() < 0.5:
                relay.cut()
            relay.flow()
        elif kind < 0.85:
            relay.refusing = True
            relay.cut()
            time.sleep(random.uniform(0.1, 0.8))
            relay.refusing = False
        elif kind < 0.92:
            app_relay.refusing = True
            app_relay.cut()
            time.sleep(random.uniform(0.1, 0.6))
            app_relay.refusing = False
        time.sleep(random.uniform(0.05, 0.4))

    return disturb


def finish(world, app):
    print(f"\nseed {world.seed}: {world.summary}")
    world.finish().judge(of_app=False)
    eventually(lambda: len(app.events("close")) >= len(world.session_of), "the close events", 60, 0.1)
    world.judge()
    # Otherwise the test would show nothing.
    assert sum(client.returns["resumed"] for client in world.clients) > CLIENTS
    assert sum(client.answered for client in world.clients) > 5 * CLIENTS
    return world


def test_one_node(app, sidesocket, relays):
    app.on(admit, event="open")
    app_relay = relays(app.port)
    edge = sidesocket(APP_URL=app_relay.url, **SETTINGS)
    near = [relays(edge.port) for _ in range(4)]
    doors = [Door(relay, edge) for relay in near]
    world = World(app, lambda: doors, lambda: API(edge), seed=SEED, clients=CLIENTS)
    finish(world.run(SECONDS, cut_and_stall(near, app_relay)), app)


def test_two_nodes_that_are_restarted_in_turn(app, sidesocket, relays, tmp_path):
    needs_redis()
    app.on(admit, event="open")
    app_relay = relays(app.port)
    with RedisServer(tmp_path / "redis") as redis:
        redis.start()

        def start(number):
            node = sidesocket(
                APP_URL=app_relay.url, CLUSTER_URL=redis.url, CLUSTER_SECRET=SECRET, NODE_NAME=f"web-{number}",
                DRAIN_TIMEOUT="20s", **SETTINGS,
            )  # fmt: skip
            eventually(lambda: node.metric("cluster_up") == 1, "the node has its engine", 20, 0.05)
            return node

        nodes = [start(0), start(1)]
        near = [[relays(node.port) for _ in range(2)] for node in nodes]
        disturbed = [relay for some in near for relay in some]

        def doors():
            return [Door(relay, node) for some, node in zip(near, nodes) if node for relay in some]

        def api():
            return API(next(node for node in nodes if node))

        world = World(app, doors, api, seed=SEED, clients=CLIENTS)
        disturb = cut_and_stall(disturbed, app_relay)
        restarts = [0]

        def disturb_and_restart(random):
            disturb(random)
            if random.random() > 0.15:
                return
            number = restarts[0] % 2
            restarts[0] += 1
            node, nodes[number] = nodes[number], None
            node.exit_expected = True
            node.process.terminate()
            while node.process.poll() is None:
                disturb(random)
            nodes[number] = start(number)
            for relay in near[number]:
                relay.to_port = nodes[number].port

        world.run(SECONDS, disturb_and_restart)
        assert restarts[0] > 0 or SECONDS < 30
        finish(world, app)
