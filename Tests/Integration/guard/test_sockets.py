"""TCP connections of one address, counted from the accept on: twice as many as there may be WebSockets."""

import signal
import ssl

import pytest
from support.guard import Guest, counted, enter, limited, proxy_v1, proxy_v2
from support.net import eventually, reset
from support.raw import Client, encode

LIMIT = "max_connections_per_ip"
# Three WebSockets and six connections of any kind; one event loop, so that the last that comes is the one too many.
THREE = {"MAX_CONNECTIONS_PER_IP": "3", "CONNECT_RATE_PER_IP": "off", "HANDSHAKE_TIMEOUT": "1m", "THREADS": "1"}
ROOM = 6


def silent(edge, count, source="127.0.0.1", **more):
    return [Guest(edge.port, source, **more) for _ in range(count)]


def check_full(edge, *arguments, **more):
    """The next connection is closed without a word."""
    with counted(edge, limited(LIMIT, "refused")):
        Guest(edge.port, *arguments, **more).wait_closed()


def check_room(edge, count=ROOM, source="127.0.0.1", tls=None, **more):
    """`count` connections fit at once, and no other: nothing of what was before is still counted."""

    def fit():
        guests = silent(edge, count, source, **more)
        try:
            for guest in guests:
                if tls:
                    guest.sock = tls.wrap_socket(guest.sock, server_hostname="app.test")
                guest.try_send(encode())
            assert [guest.response().status for guest in guests] == [200] * count
            return guests
        except (EOFError, OSError):
            for guest in guests:
                guest.sock.close()
            return None

    held = eventually(fit, f"room for {count} connections", interval=0.05)
    check_full(edge, source, **more)
    for guest in held:
        guest.sock.close()


@pytest.fixture
def start(app, sidesocket):
    def make(**settings):
        return sidesocket(app, **{**THREE, **settings})

    return make


def test_one_address_cannot_take_all_connections_without_saying_a_word(start):
    edge = start(MAX_CONNECTIONS=ROOM + 3)
    held = silent(edge, ROOM)
    for _ in range(20):
        check_full(edge)
    other = enter(edge, "127.0.0.2")
    other.ping(b"?")
    assert other.receive().payload == b"?"
    assert edge.metric("handshakes_total") == 1
    held.pop().sock.close()
    eventually(lambda: enter_or_none(edge), "a place is free")


def enter_or_none(edge):
    try:
        return enter(edge)
    except (EOFError, OSError):
        return None


def test_pages_load_beside_as_many_websockets_as_allowed(start):
    edge = start()
    sockets = [enter(edge) for _ in range(3)]
    pages = silent(edge, 3)
    for n in range(3):
        for page in pages:
            assert page.ask(target=f"/{n}").status == 200
    check_full(edge)
    for page in pages:
        page.sock.close()
    # A WebSocket that goes makes room as well.
    last = sockets.pop()
    last.close()
    last.sock.close()
    eventually(lambda: edge.metric("connections") == 2, "it has left")
    check_room(edge, ROOM - 2)


def ended_by_the_client(edge, guest):
    guest.sock.close()


def reset_by_the_client(edge, guest):
    reset(guest.sock)


def half_a_head(edge, guest):
    guest.send("GET / HTTP/1.1\r\nHost: x\r\n")
    reset(guest.sock)


def bad_request(edge, guest):
    guest.send("nonsense\r\n\r\n")
    assert guest.response().status == 400
    guest.sock.close()


def refused_handshake(edge, guest):
    assert guest.shake(origin="https://evil.example").status == 403
    guest.sock.close()


def websocket(edge, guest):
    assert guest.shake().status == 101
    guest.close()
    guest.sock.close()


def vanished_websocket(edge, guest):
    assert guest.shake().status == 101
    reset(guest.sock)


@pytest.mark.parametrize(
    "use",
    [
        ended_by_the_client, reset_by_the_client, half_a_head, bad_request, refused_handshake, websocket,
        vanished_websocket,
    ],
    ids=lambda use: use.__name__.replace("_", " "),
)  # fmt: skip
def test_every_end_of_a_connection_gives_its_place_back(start, use):
    edge = start()
    for guest in silent(edge, ROOM):
        # The first three may be WebSockets at once, the others once these have gone.
        eventually(lambda: edge.metric("connections") < 3, "room for another WebSocket")
        use(edge, guest)
    check_room(edge)


def test_failed_tls_handshakes_give_their_places_back(start, certificate):
    authority, (chain, key) = certificate
    edge = start(TLS_CERT=chain, TLS_KEY=key)
    for how in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""):
        for guest in silent(edge, ROOM):
            guest.try_send(how)
            guest.sock.close()
        check_room(edge, tls=ssl.create_default_context(cafile=authority))


def test_behind_the_proxy_protocol_the_client_counts_that_the_header_names(start):
    edge = start(TRUSTED_PROXIES="127.0.0.1", PROXY_PROTOCOL="any")
    # The proxy itself brings many: connections that have not said whom count for nobody.
    silent_ones = silent(edge, 3 * ROOM)
    held = silent(edge, ROOM, before=proxy_v1("203.0.113.7"))
    for guest in held:
        guest.request()
        assert guest.response().status == 200
    check_full(edge, before=proxy_v2("203.0.113.7"))
    assert Guest(edge.port, before=proxy_v2("203.0.113.8")).ask().status == 200
    for guest in silent_ones + held:
        reset(guest.sock)
    check_room(edge, before=proxy_v2("203.0.113.7"))


def test_connections_to_a_unix_socket_are_not_counted(app, sidesocket, tmp_path):
    path = str(tmp_path / "edge.sock")
    edge = sidesocket(app, **THREE, LISTEN=f"unix:{path}")
    clients = [Client(0, unix=path) for _ in range(3 * ROOM)]
    assert [client.ask().status for client in clients] == [200] * len(clients)
    assert edge.metric("limited_total", limit=LIMIT) == 0


def test_connections_of_a_trusted_proxy_are_not_counted(start):
    edge = start(TRUSTED_PROXIES="127.0.0.9")
    proxied = silent(edge, 3 * ROOM, "127.0.0.9")
    assert [guest.ask().status for guest in proxied] == [200] * len(proxied)
    assert edge.metric("limited_total", limit=LIMIT) == 0


def test_a_network_of_ipv6_counts_as_one_address(start):
    edge = start(TRUSTED_PROXIES="127.0.0.1", PROXY_PROTOCOL="any")
    held = silent(edge, ROOM - 1, before=proxy_v2("2001:db8:0:1::1"))
    held.append(Guest(edge.port, before=proxy_v1("2001:db8:0:1:ffff::2")))
    for guest in held:
        guest.request()
        assert guest.response().status == 200
    check_full(edge, before=proxy_v2("2001:db8:0:1:1:2:3:4"))
    assert Guest(edge.port, before=proxy_v2("2001:db8:0:2::1")).ask().status == 200


def test_a_dry_run_counts_and_lets_pass(start):
    edge = start(DRY_RUN="max_connections_per_ip")
    with counted(edge, limited(LIMIT, "dry_run", 4)):
        guests = silent(edge, ROOM + 4)
        assert [guest.ask().status for guest in guests] == [200] * len(guests)
    assert edge.metric("limited_total", action="refused") == 0


def test_off_is_off(start):
    edge = start(MAX_CONNECTIONS_PER_IP="off")
    guests = silent(edge, 40)
    assert [guest.ask().status for guest in guests] == [200] * len(guests)
    assert edge.metric("limited_total") == 0


def test_a_reload_changes_the_limit_for_connections_that_come_later(app, sidesocket, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("max_connections_per_ip: off\n")
    edge = sidesocket(app, CONFIG=str(file), **{**THREE, "MAX_CONNECTIONS_PER_IP": None})
    held = silent(edge, 5)
    assert [guest.ask().status for guest in held] == [200] * 5

    def change(text):
        done = edge.output.count("settings reloaded")
        file.write_text(f"max_connections_per_ip: {text}\n")
        edge.process.send_signal(signal.SIGHUP)
        eventually(lambda: edge.output.count("settings reloaded") > done, "the settings are read again")

    change(2)
    # Those that came while it was off are counted too, and stay.
    check_full(edge)
    assert [guest.ask().status for guest in held] == [200] * 5
    change(3)
    assert Guest(edge.port).ask().status == 200
    change("off")
    assert [guest.ask().status for guest in silent(edge, 10)] == [200] * 10
