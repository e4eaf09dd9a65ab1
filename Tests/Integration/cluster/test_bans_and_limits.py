"""Bans hold on all nodes, and limits of a user count over all of them."""

import threading
import time

from support.api import ban_path
from support.guard import enter, knock
from support.net import PATIENCE, eventually

# Bans


def test_a_ban_holds_on_all_nodes_within_two_seconds(make_cluster, redis):
    cluster = make_cluster(2, redis)
    by_user = [cluster.socket(n, user="mallory") for n in (0, 1)]
    kept = [cluster.socket(n, user="alice") for n in (0, 1)]
    began = time.monotonic()
    ban = cluster.api(0).ban("user", "mallory", ttl="10m", reason="spam")
    for socket in by_user:
        socket.expect_close(4403)
    assert time.monotonic() - began < 2
    by_ip = [enter(node, "127.0.0.9", target="/ws") for node in cluster.nodes]
    began = time.monotonic()
    cluster.api(1).ban("ip", "127.0.0.8/29")
    for guest in by_ip:
        guest.expect_close(4403)
    assert time.monotonic() - began < 2
    for n, node in enumerate(cluster.nodes):
        assert knock(node, "127.0.0.10").status == 403
        assert knock(node, target="/ws?user=mallory").status == 403
        assert cluster.api(n).bans() == ["127.0.0.8/29", "mallory"]
        assert cluster.api(n).want(200, "GET", ban_path("user", "mallory")).json == ban
    for socket in kept:
        socket.barrier()
    cluster.api(1).want(204, "DELETE", ban_path("user", "mallory"))
    eventually(lambda: knock(cluster.nodes[0], target="/ws?user=mallory").status == 101, "it is lifted", 2)
    cluster.api(0).want(404, "DELETE", ban_path("user", "mallory"))


def test_bans_outlive_all_nodes_and_end_by_themselves(make_cluster, redis):
    cluster = make_cluster(2, redis)
    cluster.api(0).ban("user", "mallory")
    cluster.api(0).ban("user", "short", ttl="4s")
    eventually(lambda: cluster.api(1).bans() == ["mallory", "short"], "both nodes know")
    for n in (0, 1):
        cluster.kill(n)
    for n in (0, 1):
        cluster.replace(n)
    cluster.wait_up()
    for n, node in enumerate(cluster.nodes):
        eventually(lambda node=node: knock(node, target="/ws?user=mallory").status == 403, "it is banned still", 5)
        eventually(lambda n=n: cluster.api(n).bans() == ["mallory"], "the short one is over", 10)
        assert knock(node, target="/ws?user=short").status == 101


def test_while_the_engine_is_away_the_last_known_bans_hold(make_cluster, redis):
    cluster = make_cluster(2, redis)
    cluster.api(0).ban("user", "mallory")
    eventually(lambda: cluster.api(1).bans() == ["mallory"], "both nodes know")
    redis.kill()
    for node in cluster.nodes:
        node.wait_metric("cluster_up", 0)
        assert knock(node, target="/ws?user=mallory").status == 403
        assert knock(node, target="/ws?user=alice").status == 101
    # What is banned meanwhile holds here, and is a ban of all when the engine is back; or it is refused.
    status = cluster.api(0).ask("PUT", ban_path("user", "new")).status
    assert status in (201, 503)
    redis.start()
    cluster.wait_up()
    wanted = ["mallory", "new"] if status == 201 else ["mallory"]
    for n in (0, 1):
        eventually(lambda n=n: cluster.api(n).bans() == wanted, lambda n=n: cluster.api(n).bans())


# Limits


def test_connections_of_a_user_are_limited_over_the_cluster(make_cluster, redis):
    cluster = make_cluster(2, redis, MAX_CONNECTIONS_PER_USER="3")
    sockets = [cluster.socket(n, user="42") for n in (0, 0, 1)]
    for node in cluster.nodes:
        assert knock(node, target="/ws?user=42").status == 429
        assert knock(node, target="/ws?user=43").status == 101
    sockets[0].close()
    eventually(lambda: knock(cluster.nodes[1], target="/ws?user=42").status == 101, "room for another")


def test_the_limit_is_exact_also_when_all_come_at_once(make_cluster, redis):
    cluster = make_cluster(2, redis, MAX_CONNECTIONS_PER_USER="5")
    for turn in range(3):
        got, lock = [], threading.Lock()

        def come(n, turn=turn, got=got, lock=lock):
            guest = knock(cluster.nodes[n % 2], target=f"/ws?user=u{turn}")
            with lock:
                got.append(guest)

        threads = [threading.Thread(target=come, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(guest.status for guest in got) == [101] * 5 + [429] * 15


def test_the_connections_of_a_lost_node_count_no_longer(make_cluster, redis):
    cluster = make_cluster(2, redis, MAX_CONNECTIONS_PER_USER="2", CLUSTER_LEASE="3s")
    for _ in range(2):
        cluster.socket(1, user="42")
    assert knock(cluster.nodes[0], target="/ws?user=42").status == 429
    cluster.kill(1)
    eventually(lambda: knock(cluster.nodes[0], target="/ws?user=42").status == 101, "room again", 3 + 5 + 1, 0.1)


def test_while_the_engine_is_away_each_node_has_its_share(make_cluster, redis):
    cluster = make_cluster(2, redis, MAX_CONNECTIONS_PER_USER="4")
    # The one that came first has to know of the other.
    for node in cluster.nodes:
        node.wait_metric("cluster_nodes", 2)
    redis.kill()
    for node in cluster.nodes:
        node.wait_metric("cluster_up", 0)
        got = [knock(node, target="/ws?user=42").status for _ in range(4)]
        assert got == [101, 101, 429, 429]
    alone = [knock(cluster.nodes[0], target="/ws?user=43").status for _ in range(3)]
    assert alone == [101, 101, 429]


def test_messages_of_a_user_are_limited_over_the_cluster(make_cluster, redis):
    cluster = make_cluster(2, redis, MESSAGE_RATE_PER_USER="20/1h,burst=20", RATE_LIMIT_ACTION="close")
    first, second = cluster.socket(0, user="42"), cluster.socket(1, user="42")
    sent = 0
    for _ in range(45):
        for socket in (first, second):
            if socket.try_send(b"") and not socket.ended:
                try:
                    socket.text("x")
                    socket.message()
                    sent += 1
                except (AssertionError, OSError, EOFError):
                    pass
    # A burst may pass by at most one node's share.
    assert 18 <= sent <= 31, sent
