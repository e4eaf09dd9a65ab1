"""Which engines there are: Redis alone, with passwords, users and TLS, with Sentinels, as a cluster, and wrong ones."""

import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from support.net import eventually, free_port
from support.process import run
from support.redis_servers import RedisServer, needs_redis
from support.redis_topologies import RedisCluster, SentinelSet
from support.relay import EngineRelay

# What a user of ACL needs for the keys and channels of one prefix.
RULES = "~sidesocket* &sidesocket* +@all -@admin -@dangerous +info +role +client|setname"


@pytest.fixture(autouse=True)
def _needs_redis():
    needs_redis()


def works(cluster):
    """What a cluster is for, in short."""
    here, there = cluster.socket(0, join="room"), cluster.stream(1, join=["room", "other"])
    for n in range(20):
        cluster.publish(n % 2, "room", str(n), headers={"Idempotency-Key": f"k{n}"})
        cluster.publish((n + 1) % 2, "room", str(n), headers={"Idempotency-Key": f"k{n}"})
    assert [here.message() for _ in range(20)] == [str(n) for n in range(20)]
    assert [there.event()[1] for _ in range(20)] == [str(n) for n in range(20)]
    there.close()
    # Channels by the dozen, so that each server of several has some.
    for n in range(40):
        cluster.publish(n % 2, f"c:{n}", str(n))
        assert [one["text"] for one in cluster.history((n + 1) % 2, f"c:{n}")["messages"]] == [str(n)]
    cluster.publish(0, "room", "more")
    again = cluster.stream(0, there.last_id, join=["room", "other"])
    assert again.event() == ("message", "more") and here.message() == "more"
    here.close()


def says(node, *words, timeout=20):
    """The node logs a line with each of these words, as a warning at least."""

    def found():
        for line in node.logs:
            text = str(line).lower()
            if line["level"] in ("warning", "error", "critical") and all(word.lower() in text for word in words):
                return line
        return None

    return eventually(found, lambda: f"{words} in {node.output[-3000:]}", timeout, 0.02)


def of_a_client(certificate):
    """A certificate that a client may show, of the same authority and key, and the key."""
    ca, (_, key) = certificate
    folder = Path(ca).parent
    subprocess.run(
        ["openssl", "x509", "-req", "-in", "app.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
         "-out", "client.pem", "-days", "2"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "client.pem", key


# Good ones


@pytest.mark.parametrize("kind", ["plain", "password", "odd password", "user", "database", "tls", "client certificate"])
def test_one_server(make_cluster, tmp_path, certificate, kind):
    how, query = {}, ""
    if kind == "password":
        how = {"password": "s3cret-of-redis"}
    elif kind == "odd password":
        how = {"password": "s3cret:of@redis/%2F?#"}
    elif kind == "user":
        how = {"user": "app", "password": "s3cret-of-redis", "users": [f"app on >s3cret-of-redis {RULES}"]}
    elif kind == "tls":
        how = {"tls": certificate}
    elif kind == "client certificate":
        how = {"tls": certificate, "tls_auth_clients": "yes"}
        cert, key = of_a_client(certificate)
        query = f"&cert={cert}&key={key}"
    with RedisServer(tmp_path / "redis", **how) as server:
        if kind == "client certificate":
            server.start(wait=False)
        else:
            server.start()
        url = server.url + query
        if kind == "database":
            url += "/3"
        cluster = make_cluster(2, url)
        works(cluster)
        for node in cluster.nodes:
            assert "s3cret-of-redis" not in node.output and "s3cret%3A" not in node.output
        if kind == "database":
            assert server.command("DBSIZE") == 0
            assert "db3" in server.info("keyspace")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("password", [None, "s3cret-of-redis"], ids=["open", "password"])
def test_sentinels(make_cluster, tmp_path, password):
    with SentinelSet(tmp_path / "engine", password=password) as engine:
        cluster = make_cluster(2, engine)
        works(cluster)
        socket = cluster.socket(0, join="over")
        first = cluster.publish(1, "over", "0")
        assert socket.message() == "0"
        old = engine.primary
        old.command("WAIT", 2, 2000)
        engine.fail_over()
        cluster.wait_up()
        answer = eventually(
            lambda: (a := cluster.api(1).ask("POST", "/v1/channels/over/messages", "1")).status == 200 and a.json,
            "it publishes to the new primary", 20,
        )  # fmt: skip
        assert (answer["epoch"], answer["offset"]) == (first["epoch"], first["offset"] + 1)
        assert socket.message() == "1"


@pytest.mark.timeout(120)
def test_a_redis_cluster(make_cluster, tmp_path):
    with RedisCluster(tmp_path / "engine") as engine:
        cluster = make_cluster(2, engine)
        works(cluster)
        assert all(server.command("DBSIZE") > 0 for server in engine.primaries), "all is on one server"
        sockets = [cluster.socket(n, join=[f"m:{i}" for i in range(30)]) for n in (0, 1)]
        for n in range(30):
            cluster.publish(n % 2, f"m:{n}", f"m:{n}")
        for one in sockets:
            assert sorted(one.message() for _ in range(30)) == sorted(f"m:{n}" for n in range(30))


@pytest.mark.timeout(120)
def test_a_publication_counts_as_stored_when_so_many_replicas_have_it(make_cluster, tmp_path):
    with SentinelSet(tmp_path / "engine") as engine:
        cluster = make_cluster(1, engine, CLUSTER_MIN_REPLICAS=2)
        socket = cluster.socket(0, join="room")
        cluster.publish(0, "room", "stored")
        assert socket.message() == "stored"
        replicas = [one for one in engine.data if one is not engine.primary]
        with replicas[0].paused():
            began = time.monotonic()
            answer = cluster.api(0).ask("POST", "/v1/channels/room/messages", "not stored")
            assert answer.status == 503 and answer.headers["retry-after"] and time.monotonic() - began < 3
            assert "replica" in answer.json["detail"]
    with RedisServer(tmp_path / "alone") as server:
        alone = make_cluster(1, server.start(), CLUSTER_MIN_REPLICAS=1)
        assert alone.api(0).ask("POST", "/v1/channels/room/messages", "x").status == 503


# Wrong ones


def test_a_wrong_password_is_said_and_a_right_one_taken_later(make_cluster, tmp_path):
    with RedisServer(tmp_path / "redis", password="right-password") as server:
        server.start()
        cluster = make_cluster(1, server.url.replace("right", "wrong"), wait=False)
        node = cluster.nodes[0]
        says(node, "password")
        assert "wrong-password" not in node.output
        cluster.socket(0).barrier()
        assert cluster.api(0).ask("POST", "/v1/channels/room/messages", "x").status == 503
        server.config(requirepass="wrong-password")
        cluster.wait_up()
        cluster.publish(0, "room", "x")


def test_a_missing_password_is_said(make_cluster, tmp_path):
    with RedisServer(tmp_path / "redis", password="s3cret") as server:
        server.start()
        cluster = make_cluster(1, f"redis://127.0.0.1:{server.port}", wait=False)
        says(cluster.nodes[0], "password")


def test_a_user_who_may_too_little_is_said(make_cluster, tmp_path):
    rules = ["app on >pw ~other* &* +@all"]
    with RedisServer(tmp_path / "redis", user="app", password="pw", users=rules) as server:
        cluster = make_cluster(1, server.start(), wait=False)
        cluster.api(0).ask("POST", "/v1/channels/room/messages", "x")
        line = says(cluster.nodes[0], "ACL")
        assert "NOPERM" in str(line) or "permission" in str(line)


@pytest.mark.timeout(120)
def test_a_redis_cluster_behind_the_scheme_of_one_server_is_said_and_the_other_way_round(make_cluster, tmp_path):
    with RedisCluster(tmp_path / "engine", replicas=0) as engine, RedisServer(tmp_path / "one") as server:
        cluster = make_cluster(1, f"redis://127.0.0.1:{engine.servers[0].port}", wait=False)
        says(cluster.nodes[0], "redis+cluster://")
        server.start()
        cluster = make_cluster(1, f"redis+cluster://127.0.0.1:{server.port}", wait=False)
        says(cluster.nodes[0], "redis://")
        cluster = make_cluster(1, f"redis+sentinel://127.0.0.1:{server.port}/mymaster", wait=False)
        says(cluster.nodes[0], "sentinel")


def test_a_replica_is_said(make_cluster, tmp_path):
    with RedisServer(tmp_path / "a") as primary, RedisServer(tmp_path / "b") as replica:
        primary.start()
        replica.settings["replicaof"] = f"127.0.0.1 {primary.port}"
        replica.start().wait_info("master_link_status", "up", "replication")
        cluster = make_cluster(1, replica, wait=False)
        says(cluster.nodes[0], "replica")
        replica.command("REPLICAOF", "NO", "ONE")
        cluster.wait_up()


def test_a_service_that_the_sentinels_do_not_know_is_said(make_cluster, tmp_path):
    with SentinelSet(tmp_path / "engine") as engine:
        cluster = make_cluster(1, engine.url.replace("mymaster", "another"), wait=False)
        says(cluster.nodes[0], "another")


def test_a_certificate_that_is_not_trusted_is_said(make_cluster, tmp_path, certificate):
    with RedisServer(tmp_path / "redis", tls=certificate) as server:
        server.start()
        cluster = make_cluster(1, server.url.partition("?")[0], wait=False)
        says(cluster.nodes[0], "certificate")


class FakeServer:
    """Something that takes connections and answers each line that it gets with the same bytes."""

    def __init__(self, answer):
        self.answer, self.port = answer, free_port()
        self.count = 0
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one):
        with one:
            try:
                while one.recv(65536):
                    one.sendall(self.answer)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


OLD = b"-ERR unknown command 'HELLO', with args beginning with: '3', \r\n"


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (OLD, "6.2"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", ""), (b"$2147483647\r\n", ""), (b"*1000000000\r\n", ""),
        (b"*1\r\n" * 20_000, ""), (b"", ""), (b"\0\xff\r\n", ""), (b"+OK\r\n" * 50, ""), (b"%1\r\n+server\r\n", ""),
        (b":99999999999999999999\r\n", ""), (b"$-2\r\n", ""), (b"-\r\n", ""), (b"-LOADING wait\r\n", ""),
    ],
    ids=["too old", "web server", "2 GB", "a billion", "nested", "silent", "bytes", "too many", "half", "number",
         "negative", "empty error", "loading"],
)  # fmt: skip
def test_what_is_no_engine_harms_nobody(make_cluster, answer, word):
    with FakeServer(answer) as server:
        cluster = make_cluster(1, f"redis://127.0.0.1:{server.port}", wait=False)
        node = cluster.nodes[0]
        if word:
            says(node, word)
        before, tried, began = node.cpu_seconds, server.count, time.monotonic()
        memory = node.rss
        echo = cluster.socket(0, join="room")
        eventually(lambda: time.monotonic() - began > 2, "two seconds", interval=0.2)
        echo.text("x")
        assert echo.message() == "x"
        assert node.cpu_seconds - before < 0.6 and server.count - tried < 60
        assert node.rss - memory < 64 << 20
        assert node.metric("cluster_up") == 0
        assert cluster.api(0).ask("POST", "/v1/channels/room/messages", "x").status == 503


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:6379", "http://127.0.0.1:6379", "redis://", "redis://:6379", "redis://h:0", "redis://h:65536",
        "redis://h:x", "redis://h/x", "redis://h/-1", "redis://h?nope=1", "redis://h?ca=/x", "redis://a,b",
        "redis+sentinel://h", "redis+sentinel://h/", "redis+cluster://h/3", "rediss://h?cert=/x", "redis://a b",
        "redis://h#x", "redis://[::1", "redis://u@h:1:2", "redis+unknown://h",
    ],
    ids=ascii,
)  # fmt: skip
def test_a_bad_url_is_an_error_at_the_start(url):
    done = run(CLUSTER_URL=url, APP_URL="http://127.0.0.1:1")
    assert done.returncode == 78 and "SIDESOCKET_CLUSTER_URL" in done.stdout + done.stderr


def test_nats_is_refused_with_a_word():
    for url in ("nats://127.0.0.1:4222", "tls://127.0.0.1:4222"):
        done = run("check", CLUSTER_URL=url, APP_URL="http://127.0.0.1:1")
        assert done.returncode == 78 and "NATS" in done.stdout + done.stderr


def test_check_shows_no_secret(tmp_path):
    file = tmp_path / "url"
    file.write_text("redis://app:s3cret-of-redis@127.0.0.1:6379/1\n")
    secret = "c1uster-secret-of-the-test"
    how = {"APP_URL": "http://127.0.0.1:1", "CLUSTER_SECRET": secret}
    for given in ({"CLUSTER_URL": file.read_text().strip()}, {"CLUSTER_URL_FILE": file}):
        done = run("check", **how, **given)
        shown = done.stdout + done.stderr
        assert done.returncode == 0, shown
        assert "s3cret" not in shown and secret not in shown and "127.0.0.1:6379" in shown


def test_a_slow_way_to_the_engine_is_fast_enough(make_cluster, redis):
    relay = EngineRelay(redis.port)
    relay.delay = 0.02
    try:
        cluster = make_cluster(2, f"redis://{relay.address}")
        works(cluster)
    finally:
        relay.stop()
