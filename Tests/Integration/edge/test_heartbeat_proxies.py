"""nginx and haproxy with timeouts of three seconds in front: an idle socket lives by our pings, and dies without."""

import time

import pytest
from support.net import eventually, free_port
from support.proxies import NGINX_HTTP, Front, command
from support.swarm import Swarm
from support.ws import TEXT, frame

TIMEOUT = 3
TRUSTED = {"TRUSTED_PROXIES": "127.0.0.1"}

HAPROXY = """
global
    maxconn 256
defaults
    mode http
    timeout connect 5s
    timeout client 3s
    timeout server 3s
    timeout tunnel 3s
frontend web
    bind 127.0.0.1:{port}
    default_backend sidesocket
backend sidesocket
    server s 127.0.0.1:{to}
"""


@pytest.fixture
def behind(fronts, nginx, tmp_path):
    """Starts both proxies before a sidecar and returns clients of each: (through nginx, through haproxy)."""
    swarms = []

    def start(edge):
        http = NGINX_HTTP.replace("TO", str(edge.port)).replace(
            "proxy_http_version 1.1;", f"proxy_http_version 1.1; proxy_read_timeout {TIMEOUT}s;"
        )
        first = nginx(http=http)
        program, port = command("haproxy"), free_port()
        path = tmp_path / f"haproxy-{port}.cfg"
        path.write_text(HAPROXY.replace("{port}", str(port)).replace("{to}", str(edge.port)))
        fronts.append(Front([program, "-db", "-f", str(path)], port))
        found = []
        for front in (first, fronts[-1]):
            swarms.append(Swarm(front.port))
            swarms[-1].enter(3)
            found.append(swarms[-1])
        return found

    yield start
    for swarm in swarms:
        swarm.__exit__()


@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.nightly)])
def test_an_idle_socket_lives_many_times_the_timeout_of_the_proxy(app, sidesocket, behind, times):
    edge = sidesocket(app, **TRUSTED, LB_IDLE_TIMEOUT=f"{TIMEOUT}s")
    app.echo()
    swarms = behind(edge)
    members = [member for swarm in swarms for member in swarm.members]
    lasting = times * TIMEOUT
    until = time.monotonic() + lasting
    # Time itself is tested.
    eventually(
        lambda: time.monotonic() > until or any(m.ended_at or m.code for m in members),
        f"{lasting} seconds",
        1.5 * lasting,
        0.1,
    )
    ends = [round(m.ended_at - m.opened, 1) if m.ended_at else None for m in members]
    assert ends == [None] * 6, f"nginx {ends[:3]}, haproxy {ends[3:]} seconds"
    # A ping each 1.25 s, give or take a tenth.
    wanted = lasting / 1.25
    assert all(0.8 * wanted <= len(m.pings) <= 1.17 * wanted for m in members), [len(m.pings) for m in members]
    for swarm in swarms:
        swarm.send(frame(TEXT, "still here"))
    eventually(lambda: all(m.messages for m in members), "both ways still work")
    assert app.events("close") == []


def test_an_idle_socket_dies_at_the_timeout_of_the_proxy_without_pings(app, sidesocket, behind):
    edge = sidesocket(app, **TRUSTED, LB_IDLE_TIMEOUT=f"{TIMEOUT}s", PING_INTERVAL="off")
    members = [member for swarm in behind(edge) for member in swarm.members]
    eventually(lambda: all(m.ended_at for m in members), "the proxies drop what is idle", 4 * TIMEOUT, 0.05)
    for member in members:
        assert member.pings == []
        assert TIMEOUT - 0.5 <= member.ended_at - member.opened <= 2.5 * TIMEOUT
    app.wait_events(6, "close")
    edge.wait_metric("connections", 0)
