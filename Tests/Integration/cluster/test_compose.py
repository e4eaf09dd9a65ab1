"""docker/compose.cluster.yaml: its settings, and its commands and configuration files run by hand on loopback."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from support.api import API
from support.check import check_accepts, seconds
from support.net import eventually, free_port
from support.pages import BLOCK
from support.process import ROOT
from support.proxies import Front, command
from support.redis_servers import needs_redis
from support.resp import Redis, RedisError
from support.servers import Server
from support.ws import WebSocket

FOLDER = ROOT / "docker"
COMPOSE = FOLDER / "compose.cluster.yaml"
NODES = "sidesocket-1", "sidesocket-2"
SECRETS = "/run/secrets/"


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(COMPOSE.read_text())


@pytest.fixture
def secrets(compose, tmp_path):
    """The folder with the secrets, made by the commands that the file prints at its top."""
    head = COMPOSE.read_text().partition("name:")[0]
    lines = [line.removeprefix("#   ") for line in head.splitlines() if "> docker/" in line]
    folder = tmp_path / "docker"
    folder.mkdir()
    subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=tmp_path, check=True, timeout=20)
    files = {name: Path(one["file"]).name for name, one in compose["secrets"].items()}
    assert {one.name for one in folder.iterdir()} == set(files.values())
    assert set(files.values()) <= set((FOLDER / ".gitignore").read_text().split())
    # /run/secrets/NAME is what a container sees.
    assert all(name == file for name, file in files.items())
    return folder


def settings(compose, node, secrets):
    """The variables of a node with the files of its secrets."""
    service = compose["services"][node]
    variables = dict(service["environment"])
    for name, value in variables.items():
        assert isinstance(value, str), name
        if value.startswith(SECRETS):
            assert value.removeprefix(SECRETS) in service["secrets"]
            variables[name] = value.replace(SECRETS, f"{secrets}/")
    return variables


@pytest.mark.parametrize("node", NODES)
def test_every_setting_of_a_node_passes_check(compose, secrets, node):
    variables = settings(compose, node, secrets)
    known = check_accepts(variables)
    assert known["SIDESOCKET_NODE_NAME"] == node
    assert known["SIDESOCKET_CLUSTER_URL"].startswith("redis://redis:6379")
    assert {name for name in variables if name.endswith("_FILE")} == {
        f"SIDESOCKET_{name}_FILE" for name in ("CLUSTER_URL", "CLUSTER_SECRET", "CONTROL_TOKEN")
    }
    assert seconds(compose["services"][node]["stop_grace_period"]) > 30


def test_the_nodes_differ_in_name_and_port_only(compose):
    one, other = (compose["services"][node] for node in NODES)
    assert {name for name in one if one[name] != other[name]} == {"environment", "ports"}
    names = {name for name, value in one["environment"].items() if value != other["environment"][name]}
    assert names == {"SIDESOCKET_NODE_NAME"}


def test_only_the_page_is_open_to_other_machines_and_only_the_nodes_reach_redis(compose):
    services = compose["services"]
    ports = {name: port for name, one in services.items() for port in one.get("ports", [])}
    assert {name for name, port in ports.items() if not port.startswith("127.0.0.1:")} == {"nginx"}
    published = [port.removeprefix("127.0.0.1:").partition(":")[0] for port in ports.values()]
    assert len(set(published)) == len(published)
    head = COMPOSE.read_text().partition("name:")[0]
    assert set(published) == set(re.findall(r"http://localhost:(\d+)/", head))
    assert compose["networks"]["engine"]["internal"] is True
    assert {name for name, one in services.items() if "engine" in one.get("networks", [])} == {"redis", *NODES}
    assert services["redis"]["networks"] == ["engine"]


def test_what_the_services_name_is_there(compose):
    services = compose["services"]
    for service in services.values():
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        assert set(service.get("networks", [])) <= set(compose["networks"])
        depends = service.get("depends_on", {})
        for name, how in depends.items():
            # The health check of the nodes is that of the image.
            assert how["condition"] != "service_healthy" or name in NODES or "healthcheck" in services[name]
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (FOLDER / source).exists() if source.startswith(".") else source in compose["volumes"]


def test_prometheus_scrapes_every_node(compose):
    for name in ("prometheus.yml", "prometheus.cluster.yml"):
        if shutil.which("promtool"):
            subprocess.run(["promtool", "check", "config", str(FOLDER / name)], check=True, capture_output=True)
    (job,) = yaml.safe_load((FOLDER / "prometheus.cluster.yml").read_text())["scrape_configs"]
    (targets,) = (one["targets"] for one in job["static_configs"])
    ports = {
        node: compose["services"][node]["environment"]["SIDESOCKET_CONTROL_LISTEN"].rpartition(":")[2] for node in NODES
    }
    assert targets == [f"{node}:{port}" for node, port in ports.items()]


def test_nginx_sends_the_headers_of_the_page_about_proxies():
    page = (ROOT / "docs/reverse-proxies.md").read_text()
    (printed,) = (one["text"] for one in BLOCK.finditer(page) if "upstream sidesocket {" in one["text"])

    def directives(text):
        """Those that are about what passes, without the values that differ with the port."""
        found = re.findall(r"^\s*(proxy_\w+(?: +[A-Z][\w-]+)?) +(.+);", text, re.M)
        return {name: value for name, value in found if not re.search(r"Host|temp_path|connect_timeout", name)}

    script = (ROOT / "scripts/run-cluster.sh").read_text().replace("\\$", "$")
    wanted = {" ".join(name.split()): value for name, value in directives(printed).items()}
    assert len(wanted) == 9
    for text in ((FOLDER / "nginx.cluster.conf").read_text(), script):
        assert {" ".join(name.split()): value for name, value in directives(text).items()} == wanted


class ComposedRedis(Server):
    """Redis as the file starts it, but for port and folders."""

    def __init__(self, service, folder, secrets):
        super().__init__(folder, free_port())
        self.secrets = secrets
        (mounted,) = (one.split(":")[1] for one in service["volumes"] if one.startswith("./redis"))
        assert mounted == "/etc/redis.conf" and f"{mounted} -" in service["command"][-1]
        text = (FOLDER / "redis.cluster.conf").read_text()
        for old, new in {"port 6379": f"port {self.port}\nbind 127.0.0.1", "dir /data": f"dir {folder}"}.items():
            assert f"\n{old}\n" in text
            text = text.replace(f"\n{old}\n", f"\n{new}\n")
        self.configuration = folder / "redis.conf"
        self.configuration.write_text(text)
        self.health = service["healthcheck"]["test"][1]
        self.run(*[self.here(word) for word in service["command"]])
        self.wait_ready()

    def here(self, text):
        """A command of the file as this machine has to run it."""
        text = text.replace("$$", "$").replace(SECRETS, f"{self.secrets}/")
        text = text.replace("redis-cli ", f"redis-cli -p {self.port} ")
        return text.replace("/etc/redis.conf", str(self.configuration))

    @property
    def is_healthy(self):
        return subprocess.run(["sh", "-c", self.here(self.health)], timeout=10, capture_output=True).returncode == 0


def test_redis_has_its_settings_and_shows_its_password_to_nobody(compose, secrets, tmp_path):
    needs_redis()
    folder = tmp_path / "redis"
    folder.mkdir()
    with ComposedRedis(compose["services"]["redis"], folder, secrets) as redis:
        eventually(lambda: redis.is_healthy, "it is healthy")
        password = (secrets / "redis-password").read_text().strip()
        assert password not in Path(f"/proc/{redis.processes[0].pid}/cmdline").read_text()
        with pytest.raises(RedisError, match="NOAUTH"):
            Redis(redis.port).command("SET", "a", "b")
        client = Redis(redis.port, password=password)
        wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec", "save": ""}
        for name, value in wanted.items():
            assert client.command("CONFIG", "GET", name) in ([name, value], {name: value})
        client.close()
        os.truncate(secrets / "redis-password", 0)
        assert not redis.is_healthy


def composed_nginx(compose, folder, edges):
    """nginx as the file starts it, but for ports and folders."""
    text = (FOLDER / "nginx.cluster.conf").read_text().replace("/tmp/", f"{folder}/")
    for node, edge in zip(NODES, edges, strict=True):
        assert f"server {node}:8080 " in text
        text = text.replace(f"server {node}:8080 ", f"server 127.0.0.1:{edge.port} ")
    port = free_port()
    # Debian's package runs a worker of root's nginx under a user who cannot enter the test's folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    text = user + text.replace("listen 8080;", f"listen 127.0.0.1:{port};").replace(" 65536;", " 1024;", 1)
    (folder / "nginx.conf").write_text(text.replace("worker_connections 16384", "worker_connections 256"))
    _, *arguments = compose["services"]["nginx"]["command"]
    return Front([command("nginx"), *arguments, "-p", str(folder), "-c", str(folder / "nginx.conf")], port)


def test_the_services_work_together(compose, secrets, sidesocket, tmp_path):
    needs_redis()
    services = compose["services"]
    folders = {name: tmp_path / name for name in ("redis", "app", "nginx")}
    for folder in folders.values():
        folder.mkdir()
    with (
        ComposedRedis(services["redis"], folders["redis"], secrets) as redis,
        Server(folders["app"], free_port()) as app,
    ):
        words = [word.replace("/examples/", f"{ROOT}/examples/") for word in services["app"]["command"]]
        app.run(*words, **{**services["app"]["environment"], "HOST": "127.0.0.1", "PORT": str(app.port)})
        app.wait_ready()
        url = secrets / "cluster-url"
        url.write_text(url.read_text().replace("@redis:6379", f"@127.0.0.1:{redis.port}"))
        edges = []
        for node in NODES:
            given = settings(compose, node, secrets)
            del given["SIDESOCKET_CONTROL_LISTEN"]
            given = {name.removeprefix("SIDESOCKET_"): value for name, value in given.items()}
            edges.append(sidesocket(**{**given, "APP_URL": app.url}))
        for edge in edges:
            eventually(lambda edge=edge: edge.metric("cluster_nodes") == 2, lambda edge=edge: edge.output, 20)
        front = composed_nginx(compose, folders["nginx"], edges)
        try:
            test = [word.replace(":8080/", f":{front.port}/") for word in services["nginx"]["healthcheck"]["test"][1:]]
            subprocess.run(test, check=True, timeout=10)
            clients = [WebSocket(front.port) for _ in range(4)]
            assert [one.answer.status for one in clients] == [101] * 4
            token = (secrets / "control-token").read_text().strip()
            assert all(len(API(edge, token).connections()) > 0 for edge in edges)
            clients[0].text("hello")
            for one in clients:
                assert one.message().endswith(": hello")
        finally:
            front.stop()
