"""nginx and haproxy in front: the client's own address arrives, by header and by the PROXY protocol."""

import asyncio
import re

import pytest
import websockets
from support.guard import Guest, check_refused, logged_client
from support.net import PATIENCE, eventually
from support.proxies import NGINX_HTTP
from support.raw import Client
from support.ws import CLOSE, close_payload

# The proxies connect from 127.0.0.1; their clients come from other loopback addresses.
TRUSTED = {"TRUSTED_PROXIES": "127.0.0.1", "CONNECT_RATE_PER_IP": "off", "MESSAGE_RATE": "off"}


def check_the_bridge(app, port):
    """A WebSocket and a page through the proxy, as a real client sees them."""
    app.echo()
    texts = [f"message {n}" for n in range(200)] + [" ".join(str(n) for n in range(11_000))]

    async def talk():
        async with websockets.connect(f"ws://127.0.0.1:{port}/ws?room=1", max_size=None) as socket:
            for text in texts:
                await socket.send(text)
            assert [await socket.recv() for _ in texts] == texts
        assert socket.close_code == 1000

    asyncio.run(asyncio.wait_for(talk(), 3 * PATIENCE))
    assert app.wait_events(1, "open")[0].target == "/ws?room=1"
    app.wait_events(1, "close")
    with Client(port) as client:
        assert client.ask(target="/page").text == "from the app"


def leave(guest, code):
    """Closes the WebSocket; the proxy ends the connection in its own way."""
    guest.frame(CLOSE, close_payload(code))
    assert guest.expect(CLOSE).code == code
    guest.wait_closed()


def check_clients_apart(edge, port, **how):
    """With one connection an address allowed, clients of one proxy do not stand in each other's way."""
    one, two = Guest(port, "127.0.0.2").shake(**how), Guest(port, "127.0.0.3").shake(**how)
    assert (one.status, two.status) == (101, 101)
    refused = Guest(port, "127.0.0.2").shake(**how)
    assert refused.status == 429
    assert int(refused.answer.header("retry-after")) >= 1
    # Past the proxy, the same address still has only one.
    check_refused(Guest(edge.port, "127.0.0.2").shake(), 429)
    for n, guest in enumerate((one, two)):
        leave(guest, 4100 + n)
        assert logged_client(edge, 4100 + n) == f"127.0.0.{2 + n}"


def test_nginx_with_x_forwarded_for(app, sidesocket, nginx):
    edge = sidesocket(app, **TRUSTED, MAX_CONNECTIONS_PER_IP="1")
    front = nginx(http=NGINX_HTTP.replace("TO", str(edge.port)))
    check_the_bridge(app, front.port)
    app.reset_script()
    spoofed = {"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6"}
    check_clients_apart(edge, front.port, headers=spoofed, host="shop.example", origin="http://shop.example")
    event = app.events("open")[0]
    assert event.header("x-forwarded-for") == "6.6.6.6, 127.0.0.2, 127.0.0.1"
    assert event.header("x-forwarded-host") == "shop.example"
    assert event.header("x-forwarded-proto") == "http"


def test_nginx_and_the_origin_of_the_host_that_it_forwards(app, sidesocket, nginx):
    edge = sidesocket(app, **TRUSTED)
    front = nginx(http=NGINX_HTTP.replace("TO", str(edge.port)))
    assert Guest(front.port).shake(host="shop.example", origin="http://shop.example").status == 101
    assert Guest(front.port).shake(host="shop.example", origin="http://internal").status == 403
    assert Guest(front.port).shake(host="shop.example", origin="https://evil.example").status == 403


@pytest.mark.parametrize("header", ["x-real-ip", "forwarded"])
def test_nginx_with_another_header(app, sidesocket, nginx, header):
    edge = sidesocket(app, **TRUSTED, CLIENT_IP_HEADER=header, MAX_CONNECTIONS_PER_IP="1")
    front = nginx(http=NGINX_HTTP.replace("TO", str(edge.port)))
    check_clients_apart(edge, front.port, headers={"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"})


def test_nginx_that_is_not_trusted_is_one_client(app, sidesocket, nginx):
    edge = sidesocket(app, MAX_CONNECTIONS_PER_IP="1")
    front = nginx(http=NGINX_HTTP.replace("TO", str(edge.port)))
    guest = Guest(front.port, "127.0.0.2").shake()
    assert guest.status == 101
    assert Guest(front.port, "127.0.0.3").shake().status == 429
    assert app.events("open")[0].header("x-forwarded-for") == "127.0.0.1"
    eventually(lambda: "TRUSTED_PROXIES" in edge.output, "a warning that says what to set")


def test_nginx_with_the_proxy_protocol(app, sidesocket, nginx):
    edge = sidesocket(app, **TRUSTED, PROXY_PROTOCOL="v1")
    there = f"proxy_pass 127.0.0.1:{edge.port}; proxy_protocol on;"
    front = nginx(stream=f"server {{ listen 127.0.0.1:{{port}}; {there} }}")
    check_the_bridge(app, front.port)
    app.reset_script()
    guest = Guest(front.port, "127.0.0.2").shake(headers={"X-Forwarded-For": "6.6.6.6"})
    assert guest.status == 101
    assert app.wait_events(1, "open")[0].header("x-forwarded-for") == "127.0.0.2"
    # Nobody gets in past nginx.
    with Guest(edge.port, "127.0.0.2") as client:
        client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.wait_closed()


def test_haproxy_with_x_forwarded_for(app, sidesocket, haproxy):
    edge = sidesocket(app, **TRUSTED, MAX_CONNECTIONS_PER_IP="1")
    front = haproxy("http", f"    option forwardfor\n    server s 127.0.0.1:{edge.port}")
    check_the_bridge(app, front.port)
    app.reset_script()
    # haproxy adds a line of its own below the client's.
    check_clients_apart(edge, front.port, headers={"X-Forwarded-For": "6.6.6.6"})
    assert app.events("open")[0].header("x-forwarded-for") == "6.6.6.6, 127.0.0.2, 127.0.0.1"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("setting", ["same", "any"])
def test_haproxy_with_the_proxy_protocol(app, sidesocket, haproxy, version, setting):
    edge = sidesocket(app, **TRUSTED, PROXY_PROTOCOL=version if setting == "same" else "any")
    send = "send-proxy" if version == "v1" else "send-proxy-v2 proxy-v2-options unique-id,crc32c"
    # Its health checks send LOCAL or UNKNOWN and hang up.
    front = haproxy("tcp", f"    server s 127.0.0.1:{edge.port} {send} check inter 100ms check-send-proxy")
    check_the_bridge(app, front.port)
    app.reset_script()
    one = Guest(front.port, "127.0.0.2").shake(headers={"X-Forwarded-For": "6.6.6.6"})
    two = Guest(front.port, "127.0.0.3").shake()
    assert (one.status, two.status) == (101, 101)
    told = [event.header("x-forwarded-for") for event in app.wait_events(2, "open")]
    assert sorted(told) == ["127.0.0.2", "127.0.0.3"]
    leave(one, 4200)
    assert logged_client(edge, 4200) == "127.0.0.2"


def test_haproxy_with_the_proxy_protocol_and_limits_by_address(app, sidesocket, haproxy):
    edge = sidesocket(app, **{**TRUSTED, "CONNECT_RATE_PER_IP": "2/1h"}, PROXY_PROTOCOL="v2")
    front = haproxy("tcp", f"    server s 127.0.0.1:{edge.port} send-proxy-v2")
    statuses = [Guest(front.port, f"127.0.0.{n}").shake().status for n in (2, 2, 3, 2, 3, 3)]
    assert statuses == [101, 101, 101, 429, 101, 429]


def test_haproxy_in_http_mode_with_the_proxy_protocol_keeps_one_connection_for_one_client(app, sidesocket, haproxy):
    """In HTTP mode haproxy reuses connections only for the client that it named; each request has its own."""
    edge = sidesocket(app, **TRUSTED, PROXY_PROTOCOL="any")
    front = haproxy("http", f"    http-reuse safe\n    server s 127.0.0.1:{edge.port} send-proxy-v2")
    for n in (2, 3, 2):
        with Guest(front.port, f"127.0.0.{n}") as client:
            for _ in range(2):
                assert client.ask(target="/page").status == 200
    told = [re.sub(r", .*", "", request.header("x-forwarded-for")) for request in app.plain()]
    assert told == ["127.0.0.2"] * 2 + ["127.0.0.3"] * 2 + ["127.0.0.2"] * 2
