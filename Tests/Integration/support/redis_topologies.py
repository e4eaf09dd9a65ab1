"""Several servers of Redis as one engine: a primary with replicas and Sentinels, and a Redis Cluster."""

import contextlib

from .net import eventually, free_port
from .redis_servers import RedisServer, redis_cli
from .resp import RedisError, pairs

SLOTS = 16_384
# Milliseconds of silence after which a primary is replaced: so long that a busy machine does not come to it, and while
# one is to be replaced, as short as can be.
PATIENT, HASTY = 30_000, 800


class Topology:
    """Servers that are started and stopped together."""

    def __init__(self):
        self.servers = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for server in self.servers:
            server.stop()

    @property
    def output(self):
        """The end of what each server said."""
        return "\n".join(f"--- {server}\n{server.output[-3000:]}" for server in self.servers)


# Sentinel


class Sentinel(RedisServer):
    """One Sentinel, which watches a primary."""

    program = "redis-sentinel"

    def __init__(self, folder, primary, service, **settings):
        watched = [
            f"monitor {service} 127.0.0.1 {primary.port} 2",
            f"down-after-milliseconds {service} {PATIENT}",
            f"failover-timeout {service} 3000",
            f"parallel-syncs {service} 2",
        ]
        if primary.password:
            watched.append(f"auth-pass {service} {primary.password}")
        super().__init__(folder, sentinel=watched, **settings)
        for name in ("save", "appendonly", "repl_diskless_sync_delay", "enable_debug_command"):
            del self.settings[name]


class SentinelSet(Topology):
    """A primary, two replicas, and three Sentinels."""

    service = "mymaster"

    def __init__(self, folder, *, password=None, **settings):
        super().__init__()
        shared = {"password": password, "repl_ping_replica_period": 1, "repl_timeout": 5, **settings}
        if password:
            shared["masterauth"] = password
        self.data = [RedisServer(folder / "data-0", **shared).start()]
        self.servers += self.data
        for n in (1, 2):
            replica = RedisServer(folder / f"data-{n}", replicaof=f"127.0.0.1 {self.data[0].port}", **shared)
            self.servers.append(replica)
            self.data.append(replica.start())
        for replica in self.data[1:]:
            replica.wait_info("master_link_status", "up", "replication")
        self.sentinels = []
        for n in range(3):
            sentinel = Sentinel(folder / f"sentinel-{n}", self.data[0], self.service)
            self.servers.append(sentinel)
            self.sentinels.append(sentinel.start())
        for sentinel in self.sentinels:
            eventually(lambda s=sentinel: self._knows_all(s), lambda s=sentinel: f"{s} knows all", 20, 0.05)

    def _knows_all(self, sentinel):
        known = pairs(sentinel.command("SENTINEL", "MASTER", self.service))
        return known["num-slaves"] == "2" and known["num-other-sentinels"] == "2" and known["flags"] == "master"

    @property
    def url(self):
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{self.primary.credentials}{hosts}/{self.service}"

    @property
    def primary(self):
        """The server that the Sentinels name."""
        asked = next(one for one in self.sentinels if not one.is_dead)
        _, port = asked.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        return next(one for one in self.data if one.port == int(port))

    def fail_over(self, *, write=None):
        """Kills the primary and returns the server that took over.

        With `write`, what that writes to the primary is lost: no replica has it, and the primary has confirmed it.
        """
        old = self.primary
        self._be_patient_for(HASTY)
        with contextlib.ExitStack() as stopped:
            if write:
                for replica in self.data:
                    if replica is not old and not replica.is_dead:
                        stopped.enter_context(replica.paused())
                # What is on its way to a stopped process would be read when it goes on, so the links go first.
                old.command("CLIENT", "KILL", "TYPE", "replica")
                eventually(lambda: old.info("replication")["connected_slaves"] == "0", "the replicas are cut off")
                write(old)
            old.kill()
        new = self.wait_primary(old)
        self._be_patient_for(PATIENT)
        return new

    def _be_patient_for(self, milliseconds):
        for one in self.sentinels:
            one.command("SENTINEL", "SET", self.service, "down-after-milliseconds", milliseconds)

    def wait_primary(self, old, timeout=30):
        """Waits until another server than `old` is the primary and takes writes; returns it."""

        def new():
            found = self.primary
            with contextlib.suppress(OSError, EOFError, RedisError):
                return found is not old and found.command("ROLE")[0] == "master" and found

        return eventually(new, lambda: f"a new primary; {self.output}", timeout, 0.05)

    def rejoin(self, server, *, as_primary=False):
        """Starts a server that was killed, as a replica; or as the primary that it was, until the Sentinels notice."""
        if not as_primary:
            server.arguments = ("--replicaof", "127.0.0.1", str(self.primary.port))
        server.start()
        server.arguments = ()
        eventually(lambda: server.command("ROLE")[0] == "slave", f"{server} is a replica", 60, 0.05)
        server.wait_info("master_link_status", "up", "replication", 20)


# Cluster


class RedisCluster(Topology):
    """Three primaries and their replicas, over which the slots are spread."""

    def __init__(self, folder, *, replicas=1, **settings):
        super().__init__()
        settings = {
            "cluster_enabled": "yes", "cluster_config_file": "nodes.conf", "cluster_node_timeout": PATIENT,
            "cluster_replica_validity_factor": 0, "cluster_allow_replica_migration": "no",
            "cluster_require_full_coverage": "yes", "repl_ping_replica_period": 1, **settings,
        }  # fmt: skip
        for n in range(3 * (1 + replicas)):
            # By default the bus is at the port plus 10,000, which is among those of outgoing connections.
            server = RedisServer(folder / f"node-{n}", cluster_port=free_port(), **settings)
            self.servers.append(server.start())
        hosts = [f"127.0.0.1:{one.port}" for one in self.servers]
        redis_cli(
            self.servers[0].port, "--cluster", "create", *hosts, "--cluster-replicas", replicas, "--cluster-yes"
        )  # fmt: skip
        for server in self.servers:
            eventually(lambda s=server: self._is_whole(s), lambda: f"a whole cluster; {self.output}", 30, 0.05)
        for server in self.replicas:
            server.wait_info("master_link_status", "up", "replication", 20)

    @staticmethod
    def _is_whole(server):
        state = dict(line.split(":") for line in server.command("CLUSTER", "INFO").splitlines())
        return state["cluster_state"] == "ok" and state["cluster_slots_ok"] == str(SLOTS)

    @property
    def url(self):
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.servers[:2])
        return f"redis+cluster://{hosts}"

    def _live(self):
        return [one for one in self.servers if not one.is_dead and not one.is_paused and one.processes]

    @property
    def primaries(self):
        return [one for one in self._live() if one.command("ROLE")[0] == "master"]

    @property
    def replicas(self):
        return [one for one in self._live() if one.command("ROLE")[0] == "slave"]

    def slot(self, key):
        return self._live()[0].command("CLUSTER", "KEYSLOT", key)

    def owner(self, slot):
        """The primary that has a slot."""
        for first, last, primary, *_ in self._live()[0].command("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(one for one in self.servers if one.port == primary[1])
        raise AssertionError(f"nobody has the slot {slot}")

    def busy_slots(self):
        """The slots with keys, those with the most first."""
        counts = {}
        for server in self.primaries:
            for key in server.command("KEYS", "*"):
                slot = self.slot(key)
                counts[slot] = counts.get(slot, 0) + 1
        return sorted(counts, key=lambda slot: -counts[slot])

    def move(self, slot, target=None, between=lambda: None):
        """Moves a slot with its keys to `target`, and calls `between` after each step.

        While it moves, its owner answers ASK for the keys that are not there; afterwards it answers MOVED.
        """
        source = self.owner(slot)
        target = target or next(one for one in self.primaries if one is not source)
        identity = {one: one.command("CLUSTER", "MYID") for one in (source, target)}
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", identity[source])
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", identity[target])
        between()
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 1):
            source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS", *keys)
            between()
        for one in (target, source):
            one.command("CLUSTER", "SETSLOT", slot, "NODE", identity[target])
        for one in self.primaries:
            with contextlib.suppress(RedisError):
                one.command("CLUSTER", "SETSLOT", slot, "NODE", identity[target])
        eventually(lambda: all(self._sees(one, slot, target) for one in self._live()), "all know the new owner", 20)
        return target

    @staticmethod
    def _sees(server, slot, target):
        ranges = server.command("CLUSTER", "SLOTS")
        return any(first <= slot <= last and primary[1] == target.port for first, last, primary, *_ in ranges)

    def fail_over(self, server):
        """Kills a primary and returns the replica that took its slots over."""
        identity = server.command("CLUSTER", "MYID")
        heirs = [one for one in self.replicas if one.command("ROLE")[2] == server.port]
        assert heirs, f"{server} ({identity}) has no replica"
        self._be_patient_for(HASTY)
        server.kill()
        eventually(lambda: heirs[0].command("ROLE")[0] == "master", lambda: f"a new primary; {self.output}", 30, 0.05)
        for one in self._live():
            eventually(lambda s=one: self._is_whole(s), lambda: f"a whole cluster; {self.output}", 30, 0.05)
        self._be_patient_for(PATIENT)
        return heirs[0]

    def _be_patient_for(self, milliseconds):
        for one in self._live():
            one.config(cluster_node_timeout=milliseconds)

    def rejoin(self, server):
        """Starts a server that was killed, which becomes a replica of who took over."""
        server.start()
        eventually(lambda: server.command("ROLE")[0] == "slave", f"{server} is a replica", 30, 0.05)
        server.wait_info("master_link_status", "up", "replication", 20)


__all__ = ["RedisCluster", "SentinelSet"]
