"""The bench that the tests of a cluster stand on: servers of Redis that are hurt in every way, and the relay."""

import socket
import time

import pytest
from support.net import eventually
from support.redis_servers import RedisServer, needs_redis
from support.redis_topologies import RedisCluster, SentinelSet
from support.relay import TO_ENGINE, TO_NODE, EngineRelay
from support.resp import Redis, RedisError, encode


@pytest.fixture(autouse=True)
def _needs_redis():
    needs_redis()


@pytest.fixture
def server(tmp_path):
    with RedisServer(tmp_path / "redis") as one:
        yield one.start()


def test_a_server_keeps_its_port_and_loses_or_keeps_its_data(tmp_path):
    with RedisServer(tmp_path / "redis", appendonly="yes", appendfsync="always") as server:
        port = server.start().port
        server.command("SET", "a", "b")
        assert server.restart().command("GET", "a") == "b"
        assert server.restart(empty=True).command("GET", "a") is None
        assert server.port == port
        first = server.info("server")["run_id"]
        assert server.restart().info("server")["run_id"] != first
        process = server.processes[0]
    assert process.poll() is not None


def test_a_server_that_is_paused_says_nothing_and_goes_on(server):
    line = server.client(timeout=0.3)
    with server.paused(), pytest.raises(TimeoutError):
        line.command("PING")
    assert eventually(lambda: server.answers, "it answers again")


def test_settings_users_and_errors(tmp_path):
    rules = ["alice on >secret ~a:* +@all", "default off"]
    with RedisServer(tmp_path / "redis", user="alice", password="secret", users=rules) as server:
        server.start()
        server.command("SET", "a:1", "x")
        with pytest.raises(RedisError) as error:
            server.command("SET", "b", "x")
        assert error.value.code == "NOPERM"
        with pytest.raises(RedisError):
            Redis(server.port, user="alice", password="wrong")
        server.config(maxmemory="1mb")
        assert server.command("CONFIG", "GET", "maxmemory") == ["maxmemory", "1048576"]
        assert server.url == f"redis://alice:secret@127.0.0.1:{server.port}"


def test_tls(tmp_path, certificate):
    with RedisServer(tmp_path / "redis", tls=certificate) as server:
        assert server.start().command("PING") == "PONG"
        with pytest.raises((OSError, EOFError)):
            Redis(server.port, timeout=2).command("PING")
        assert server.url.startswith("rediss://127.0.0.1:") and server.url.endswith("/ca.pem")


def test_a_pipeline_and_a_subscription(server):
    with server.client() as line:
        assert line.pipeline([("SET", "a", 1), ("INCR", "a"), ("NOPE",), ("GET", "a")])[1:4:2] == [2, "2"]
    with server.client() as listener:
        assert listener.command("SUBSCRIBE", "c") == ["subscribe", "c", 1]
        server.command("PUBLISH", "c", "hello")
        assert listener.reply() == ["message", "c", "hello"]
        assert server.cut_clients("pubsub") == 1
        with pytest.raises((OSError, EOFError)):
            listener.reply()


def test_nothing_is_left_behind_by_a_server_that_is_paused(server):
    server.pause()
    process = server.processes[0]
    started = time.monotonic()
    server.stop()
    assert process.poll() is not None and time.monotonic() - started < 2


# Sentinel and Cluster


@pytest.mark.timeout(120)
def test_sentinels_promote_a_replica_that_lacks_what_was_written_last(tmp_path):
    with SentinelSet(tmp_path) as engine:
        first = engine.primary
        assert first is engine.data[0] and engine.url.endswith("/mymaster")
        first.command("SET", "kept", "1")
        first.command("WAIT", 2, 2000)
        new = engine.fail_over(write=lambda primary: primary.command("SET", "lost", "1"))
        assert new is not first
        assert (new.command("GET", "kept"), new.command("GET", "lost")) == ("1", None)
        assert engine.primary is new
        engine.rejoin(first)


@pytest.mark.timeout(120)
def test_a_slot_moves_step_by_step_and_a_primary_of_a_cluster_fails_over(tmp_path):
    with RedisCluster(tmp_path) as engine:
        assert len(engine.primaries) == len(engine.replicas) == 3
        slot = engine.slot("{tag}")
        source = engine.owner(slot)
        for n in range(3):
            source.command("SET", f"{{tag}}{n}", n)
        assert engine.busy_slots() == [slot]
        codes = []

        def ask():
            for n in (0, 9):
                try:
                    source.command("GET", f"{{tag}}{n}")
                    codes.append("there")
                except RedisError as error:
                    codes.append(error.code)

        target = engine.move(slot, between=ask)
        assert {"there", "ASK"} <= set(codes)
        with pytest.raises(RedisError) as error:
            source.command("GET", "{tag}0")
        assert error.value.code == "MOVED" and str(error.value).endswith(f":{target.port}")
        assert target.command("GET", "{tag}2") == "2" and engine.owner(slot) is target
        target.command("WAIT", 1, 2000)
        heir = engine.fail_over(target)
        assert heir.command("GET", "{tag}2") == "2" and engine.owner(slot) is heir
        engine.rejoin(target)


# The relay


@pytest.fixture
def relay(server):
    one = EngineRelay(server.port)
    yield one
    one.stop()


def test_the_relay_passes_holds_and_delays(server, relay):
    line = Redis(relay.port, timeout=0.3)
    assert line.command("SET", "a", "x" * 300_000) == "OK"
    assert len(line.command("GET", "a")) == 300_000
    relay.hold()
    with pytest.raises(TimeoutError):
        line.command("PING")
    relay.mend()
    assert line.reply() == "PONG"
    line.sock.settimeout(5)
    relay.delay = 0.05
    began = time.monotonic()
    line.command("PING")
    assert time.monotonic() - began > 0.09


def test_the_relay_keeps_back_or_loses_what_the_engine_says(server, relay):
    line = Redis(relay.port, timeout=0.3)
    assert line.command("PING") == "PONG"
    relay.hold_replies()
    with pytest.raises(TimeoutError):
        line.command("INCR", "n")
    assert eventually(lambda: server.command("GET", "n") == "1", "the request arrived")
    relay.flow_replies()
    assert line.reply() == 1
    relay.swallow_replies()
    with pytest.raises(TimeoutError):
        line.command("INCR", "n")
    eventually(lambda: server.command("GET", "n") == "2", "the request arrived")
    relay.mend()
    with pytest.raises((OSError, EOFError)):
        line.command("PING")
    assert Redis(relay.port).command("INCR", "n") == 3


def test_the_relay_loses_the_answer_to_one_request_alone(server, relay):
    line, other = Redis(relay.port, timeout=0.3), Redis(relay.port)
    sprung = relay.swallow_after(b"needle")
    assert line.command("SET", "a", "hay") == "OK" and not sprung.is_set()
    with pytest.raises(TimeoutError):
        line.command("SET", "a", "needle")
    assert sprung.is_set()
    assert other.command("GET", "a") == "needle"


@pytest.mark.parametrize("pieces", [1, 3])
def test_the_relay_cuts_inside_a_frame(server, relay, pieces):
    listener = socket.create_connection(("127.0.0.1", relay.port))
    listener.sendall(encode(["SUBSCRIBE", "c"]))
    assert listener.recv(1000).startswith(b"*3\r\n")
    sprung = relay.cut_inside(b"needle", after=2)
    for n in range(pieces):
        server.command("PUBLISH", "c", f"hay {n}")
    server.command("PUBLISH", "c", "a needle")
    got = b""
    try:
        while data := listener.recv(1000):
            got += data
    except ConnectionResetError:
        pass
    assert sprung.is_set() and got.endswith(b"a ne")
    eventually(lambda: relay.links == [], "the link is gone")


def test_the_relay_refuses_and_takes_again(server, relay):
    line = Redis(relay.port)
    line.command("PING")
    relay.refuse()
    with pytest.raises((OSError, EOFError)):
        line.command("PING")
    with pytest.raises((OSError, EOFError)):
        Redis(relay.port).command("PING")
    relay.mend()
    assert Redis(relay.port).command("PING") == "PONG"
    assert {TO_ENGINE, TO_NODE} == set(eventually(lambda: relay.links, "a link")[0].passed)
