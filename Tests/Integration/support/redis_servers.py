"""Redis itself as the engine under test: started on a free port, hurt in every way, and killed at the end."""

import atexit
import contextlib
import shutil
import signal
import subprocess
import weakref
from urllib.parse import quote

import pytest

from .net import PATIENCE, eventually, free_port
from .resp import Redis, RedisError, info, trusting
from .servers import Server

_alive = weakref.WeakSet()


@atexit.register
def _kill_all():
    for one in list(_alive):
        one.stop()


def needs_redis():
    """Skips the test where no Redis is installed."""
    if not shutil.which("redis-server") or not shutil.which("redis-cli"):
        pytest.skip("redis-server is not installed")


class RedisServer(Server):
    """One process of Redis, which keeps its port and folder when it is started again.

    Settings are those of redis.conf with `_` for `-`; those that may stand there several times are lists.
    """

    program = "redis-server"

    def __init__(self, folder, *, user=None, password=None, users=(), tls=None, **settings):
        """`tls` is `(ca, (certificate, key))`; `user` and `password` are what the clients of this class show.

        `users` are rules of ACL, such as `alice on >secret ~* +@all`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, free_port())
        self.user, self.password, self.tls = user, password, tls
        self.settings = {"save": '""', "appendonly": "no", "repl_diskless_sync_delay": 0, "enable_debug_command": "yes"}
        self.settings.update(settings)
        if users:
            self.settings["user"] = list(users)
        self.is_paused = False
        self._line = None
        _alive.add(self)

    # Life

    def start(self, *, empty=False, wait=True):
        """Starts it; with `empty` what it has kept is deleted before."""
        if empty:
            self.forget()
        for attempt in range(3):
            if not self.configuration.exists():
                self.configure()
            self.run(self.program, str(self.configuration), *self.arguments)
            if not wait:
                return self
            try:
                eventually(lambda: self.is_dead or self.answers, lambda: f"{self} answers; it said {self.output}", 20)
                self.check_alive()
                return self
            except AssertionError:
                # Somebody else may have taken the free port in between.
                self.kill()
                if "in use" not in self.output or attempt == 2:
                    raise
                self.port = free_port()
                self.configuration.unlink()

    arguments = ()

    @property
    def configuration(self):
        return self.folder / "redis.conf"

    def configure(self):
        """Writes the file that it starts with; Redis may rewrite it later."""
        port = {"port": 0, "tls_port": self.port} if self.tls else {"port": self.port}
        if self.tls:
            ca, (certificate, key) = self.tls
            port |= {"tls_cert_file": certificate, "tls_key_file": key, "tls_ca_cert_file": ca}
            port.setdefault("tls_auth_clients", "no")
        if self.password and not self.user:
            self.settings.setdefault("requirepass", self.password)
        settings = {"bind": "127.0.0.1", "dir": self.folder, "daemonize": "no", **port, **self.settings}
        lines = []
        for name, value in settings.items():
            values = value if isinstance(value, list) else [value]
            lines += [f"{name.replace('_', '-')} {one}" for one in values]
        self.configuration.write_text("\n".join(lines) + "\n")

    def kill(self):
        """The process is gone at once, as by kill -9; what it has not written is lost."""
        self._hang_up()
        self.is_paused = False
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()

    def restart(self, *, empty=False):
        """Kills it and starts it again, with what it has written to disk."""
        self.kill()
        return self.start(empty=empty)

    def forget(self):
        """Deletes what it has kept on disk."""
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        (self.folder / "dump.rdb").unlink(missing_ok=True)

    def stop(self):
        self.kill()
        _alive.discard(self)

    def pause(self):
        """It is there and says nothing, as a machine that hangs does."""
        self._signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self):
        self._signal(signal.SIGCONT)
        self.is_paused = False

    @contextlib.contextmanager
    def paused(self):
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def _signal(self, kind):
        for process in self.processes:
            process.send_signal(kind)

    # Talk

    def client(self, **more):
        """A connection to it."""
        context = trusting(self.tls[0]) if self.tls else None
        return Redis(self.port, **{"user": self.user, "password": self.password, "tls": context, **more})

    def command(self, *words):
        """The reply to one command, on a connection that is kept, and made anew when it has broken."""
        for attempt in range(2):
            try:
                self._line = self._line or self.client()
                return self._line.command(*words)
            except (OSError, EOFError):
                self._hang_up()
                if attempt:
                    raise

    def _hang_up(self):
        line, self._line = self._line, None
        if line:
            line.close()

    @property
    def answers(self):
        """Whether it takes commands by now."""
        try:
            return self.command("PING") == "PONG"
        except (OSError, EOFError, RedisError):
            return False

    def config(self, **settings):
        """Changes settings while it runs."""
        for name, value in settings.items():
            self.command("CONFIG", "SET", name.replace("_", "-"), value)

    def info(self, section="everything"):
        return info(self.command("INFO", section))

    def wait_info(self, name, wanted, section="everything", timeout=PATIENCE):
        """Waits until a line of INFO has this value."""
        return eventually(
            lambda: self.info(section).get(name) == str(wanted),
            lambda: f"{name} is {wanted}, it is {self.info(section).get(name)}",
            timeout,
            0.02,
        )

    def cut_clients(self, kind):
        """Closes the connections of its clients: `normal` or `pubsub`; returns how many."""
        return self.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    # What a client is told

    @property
    def url(self):
        """The value of CLUSTER_URL."""
        scheme, query = ("rediss", f"?ca={quote(self.tls[0])}") if self.tls else ("redis", "")
        return f"{scheme}://{self.credentials}127.0.0.1:{self.port}{query}"

    @property
    def credentials(self):
        """The part of an address before the host."""
        if self.password is None:
            return ""
        return f"{quote(self.user or '', safe='')}:{quote(self.password, safe='')}@"

    def __str__(self):
        return f"{self.program} on port {self.port}"


def redis_cli(port, *words, timeout=60):
    """Runs redis-cli and returns what it prints; a failure fails the test."""
    done = subprocess.run(
        ["redis-cli", "-p", str(port), *map(str, words)], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


__all__ = ["RedisServer", "needs_redis", "redis_cli"]
