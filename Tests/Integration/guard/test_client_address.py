"""Who the client is: the peer, unless a trusted proxy says otherwise, by a header or by the PROXY protocol."""

import pytest
from support.guard import (
    UNLIMITED,
    V2_SIGNATURE,
    Guest,
    check_refused,
    enter,
    fresh,
    guard_pair,
    knock,
    logged_client,
    proxy_v1,
    proxy_v2,
    tlv,
)
from support.net import PATIENCE, eventually, free_port
from support.raw import encode

# The proxy is 127.0.0.1; clients of other loopback addresses come past it.
behind_proxy = guard_pair(TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8,2001:db8:ffff::/48")
alone = guard_pair()
proxied = guard_pair(TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8", PROXY_PROTOCOL="any", HANDSHAKE_TIMEOUT="2s")

_code = iter(range(4000, 5000))


def who(pair, source="127.0.0.1", headers=(), before=b""):
    """Opens and closes a socket; returns the client as the log names it and as the app is told."""
    app, process = fresh(pair)
    guest = enter(process, source, headers=headers, before=before)
    code = next(_code)
    guest.close(code)
    open_event = app.wait_events(1, "open")[0]
    return logged_client(process, code), open_event.header("x-forwarded-for")


# Headers of proxies


@pytest.mark.parametrize(
    "lines, client, told",
    [
        (["203.0.113.7"], "203.0.113.7", "203.0.113.7, 127.0.0.1"),
        (["6.6.6.6, 203.0.113.7"], "203.0.113.7", "6.6.6.6, 203.0.113.7, 127.0.0.1"),
        (["6.6.6.6, 203.0.113.7, 10.1.2.3"], "203.0.113.7", "6.6.6.6, 203.0.113.7, 10.1.2.3, 127.0.0.1"),
        (["6.6.6.6", "203.0.113.7", "10.1.2.3"], "203.0.113.7", "6.6.6.6, 203.0.113.7, 10.1.2.3, 127.0.0.1"),
        (["6.6.6.6, 203.0.113.7", "10.1.2.3"], "203.0.113.7", "6.6.6.6, 203.0.113.7, 10.1.2.3, 127.0.0.1"),
        (["203.0.113.7:1234"], "203.0.113.7", None),
        (["2001:db8::7"], "2001:db8::7", None),
        (["2001:DB8:0:0::0007"], "2001:db8::7", None),
        (["[2001:db8::7]:1234"], "2001:db8::7", None),
        (["::ffff:203.0.113.7"], "203.0.113.7", None),
        (["203.0.113.7, 2001:db8:ffff::1, ::ffff:10.0.0.1"], "203.0.113.7", None),
        (["10.0.0.9, 10.0.0.8"], "10.0.0.9", None),
        (["203.0.113.7, nonsense"], "127.0.0.1", None),
        (["203.0.113.7, unknown, 10.0.0.1"], "10.0.0.1", None),
        ([""], "127.0.0.1", None),
        ([",,203.0.113.7,,"], "203.0.113.7", None),
    ],
    ids=str,
)
def test_x_forwarded_for_is_walked_from_the_right_past_trusted_hops(behind_proxy, lines, client, told):
    logged, xff = who(behind_proxy, headers=[("X-Forwarded-For", line) for line in lines])
    assert logged == client
    assert told is None or xff == told
    assert xff.endswith("127.0.0.1")


def test_without_a_header_the_proxy_itself_is_the_client(behind_proxy):
    assert who(behind_proxy) == ("127.0.0.1", "127.0.0.1")


SPOOFED = [
    ("X-Forwarded-For", "6.6.6.6"),
    ("Forwarded", "for=6.6.6.6;proto=https;host=evil.test"),
    ("X-Real-IP", "6.6.6.6"),
    ("CF-Connecting-IP", "6.6.6.6"),
    ("True-Client-IP", "6.6.6.6"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.test"),
]


def test_case_27_headers_of_a_peer_that_is_not_trusted_are_ignored(behind_proxy):
    assert who(behind_proxy, source="127.0.0.2", headers=SPOOFED) == ("127.0.0.2", "127.0.0.2")


def test_case_27_by_default_nobody_is_trusted(alone):
    assert who(alone, headers=SPOOFED) == ("127.0.0.1", "127.0.0.1")
    app, process = fresh(alone)
    with Guest(process.port, "127.0.0.3") as client:
        client.ask(target="/page", headers=SPOOFED)
    request = app.plain()[0]
    assert request.header("x-forwarded-for") == "127.0.0.3"
    assert request.header("x-forwarded-proto") == "http"
    assert request.all("forwarded") == request.all("x-real-ip") == []


def test_case_26_naming_the_header_in_connection_does_not_remove_what_the_app_is_told(behind_proxy):
    app, process = fresh(behind_proxy)
    with process.client() as client:
        client.ask(headers={"Connection": "close, X-Forwarded-For", "X-Forwarded-For": "203.0.113.7"})
    assert app.plain()[0].header("x-forwarded-for").endswith("127.0.0.1")


def test_passed_through_requests_tell_of_the_same_client(behind_proxy):
    app, process = fresh(behind_proxy)
    headers = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"),
               ("X-Forwarded-Host", "shop.example")]  # fmt: skip
    with process.client() as client:
        client.ask(target="/page", headers=headers)
    enter(process, headers=headers).close()
    page, event = app.plain()[0], app.wait_events(1, "open")[0]
    for request in (page, event):
        assert request.header("x-forwarded-for") == "6.6.6.6, 203.0.113.7, 127.0.0.1"
        assert request.header("x-forwarded-proto") == "https"
        assert request.header("x-forwarded-host") == "shop.example"


def test_each_request_of_a_proxys_connection_has_its_own_client(behind_proxy):
    app, process = fresh(behind_proxy)
    with process.client() as client:
        for n in range(1, 4):
            client.ask(target=f"/{n}", headers={"X-Forwarded-For": f"203.0.113.{n}"})
    told = [request.header("x-forwarded-for") for request in app.plain()]
    assert told == [f"203.0.113.{n}, 127.0.0.1" for n in range(1, 4)]


@pytest.mark.parametrize(
    "value, client",
    [
        ("for=203.0.113.7", "203.0.113.7"),
        ('For="203.0.113.7:1234";Proto=https;by=10.0.0.1', "203.0.113.7"),
        ('for="[2001:db8::7]:1234"', "2001:db8::7"),
        ('for=6.6.6.6, for="[2001:db8::7]", for=10.0.0.1', "2001:db8::7"),
        ("for=203.0.113.7, for=_hidden", "127.0.0.1"),
        ("for=203.0.113.7, for=unknown", "127.0.0.1"),
        ('for="203.0.113.7', "127.0.0.1"),
        ("proto=https", "127.0.0.1"),
    ],
)
def test_the_standard_header(app, sidesocket, value, client):
    edge = sidesocket(app, **UNLIMITED, TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8", CLIENT_IP_HEADER="forwarded")
    headers = [("Forwarded", value), ("X-Forwarded-For", "6.6.6.6")]
    assert who((app, edge), headers=headers)[0] == client


@pytest.mark.parametrize("name", ["cf-connecting-ip", "x-real-ip", "true-client-ip"])
def test_headers_with_a_single_address(app, sidesocket, name):
    edge = sidesocket(app, **UNLIMITED, TRUSTED_PROXIES="127.0.0.1", CLIENT_IP_HEADER=name)
    pair = (app, edge)
    assert who(pair, headers=[(name, "203.0.113.7"), ("X-Forwarded-For", "6.6.6.6")])[0] == "203.0.113.7"
    # Two of them, or a list, come from no proxy that sets this header.
    assert who(pair, headers=[(name, "203.0.113.7"), (name, "203.0.113.8")])[0] == "127.0.0.1"
    assert who(pair, headers=[(name, "203.0.113.7, 203.0.113.8")])[0] == "127.0.0.1"
    assert who(pair, source="127.0.0.2", headers=[(name, "203.0.113.7")])[0] == "127.0.0.2"


def test_a_forwarding_header_from_a_stranger_is_warned_of_once_and_says_what_to_set(app, sidesocket):
    edge = sidesocket(app)
    for n in range(5):
        enter(edge, headers={"X-Forwarded-For": f"203.0.113.{n}"}).close()
        with edge.client() as client:
            client.ask(headers={"X-Forwarded-For": f"203.0.113.{n}"})

    def warnings():
        return [e for e in edge.logs if e["level"] == "warning" and "TRUSTED_PROXIES" in str(e)]

    eventually(warnings, "a warning")
    assert len(warnings()) == 1


def test_a_trusted_proxy_is_not_warned_of(behind_proxy):
    who(behind_proxy, headers={"X-Forwarded-For": "203.0.113.7"})
    _, process = behind_proxy
    assert not [e for e in process.logs if e["level"] == "warning" and "127.0.0.1" in str(e) and "TRUSTED" in str(e)]


def test_an_ipv4_client_of_an_ipv6_listener_has_an_ipv4_address(app, sidesocket):
    port = free_port()
    edge = sidesocket(app, LISTEN=f"[::]:{port}", TRUSTED_PROXIES="127.0.0.1")
    edge.port = port
    assert who((app, edge), source="127.0.0.2") == ("127.0.0.2", "127.0.0.2")
    assert who((app, edge), headers={"X-Forwarded-For": "203.0.113.7"})[0] == "203.0.113.7"


# Limits go by the same address


def test_case_27_a_spoofed_header_gives_no_new_allowance(app, sidesocket):
    edge = sidesocket(app, CONNECT_RATE_PER_IP="3/1h", TRUSTED_PROXIES="127.0.0.1")
    for n in range(3):
        enter(edge, "127.0.0.2", headers={"X-Forwarded-For": f"203.0.113.{n}"})
    check_refused(knock(edge, "127.0.0.2", headers={"X-Forwarded-For": "203.0.113.9"}), 429)


def test_clients_behind_a_trusted_proxy_are_counted_apart(app, sidesocket):
    edge = sidesocket(app, MAX_CONNECTIONS_PER_IP="1", CONNECT_RATE_PER_IP="off", TRUSTED_PROXIES="127.0.0.1")
    for n in range(10):
        enter(edge, headers={"X-Forwarded-For": f"203.0.113.{n}"})
    # The way in which the address is written makes no difference.
    for text in ("203.0.113.5", "::ffff:203.0.113.5", "[::ffff:cb00:7105]:99", "6.6.6.6, 203.0.113.5"):
        check_refused(knock(edge, headers={"X-Forwarded-For": text}), 429)


def test_case_37_a_64_of_ipv6_counts_as_one_client(app, sidesocket):
    edge = sidesocket(app, MAX_CONNECTIONS_PER_IP="3", CONNECT_RATE_PER_IP="off", TRUSTED_PROXIES="127.0.0.1")
    for host in ("::1", "::2", "ffff:ffff:ffff:ffff"):
        enter(edge, headers={"X-Forwarded-For": f"2001:db8:0:1{':' if host[0] == 'f' else ''}{host}"})
    check_refused(knock(edge, headers={"X-Forwarded-For": "2001:db8:0:1:1:2:3:4"}), 429)
    enter(edge, headers={"X-Forwarded-For": "2001:db8:0:2::1"})


def test_the_prefix_that_counts_can_be_set(app, sidesocket):
    edge = sidesocket(
        app, MAX_CONNECTIONS_PER_IP="1", CONNECT_RATE_PER_IP="off", TRUSTED_PROXIES="127.0.0.1",
        RATE_LIMIT_IPV6_PREFIX="128",
    )  # fmt: skip
    for n in range(1, 4):
        enter(edge, headers={"X-Forwarded-For": f"2001:db8::{n}"})
    check_refused(knock(edge, headers={"X-Forwarded-For": "2001:db8:0::1"}), 429)


# PROXY protocol

HEADERS = {
    "v1 TCP4": (proxy_v1("203.0.113.7"), "203.0.113.7"),
    "v1 TCP6": (proxy_v1("2001:db8::7"), "2001:db8::7"),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v1 UNKNOWN with more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
    "v2 TCP4": (proxy_v2("203.0.113.7"), "203.0.113.7"),
    "v2 TCP6": (proxy_v2("2001:db8::7"), "2001:db8::7"),
    "v2 mapped": (proxy_v2("::ffff:203.0.113.7", "::1"), "203.0.113.7"),
    "v2 with extensions": (proxy_v2("203.0.113.7", tlv=tlv(2, b"a.test") + tlv(4, b"\0" * 900)), "203.0.113.7"),
    "v2 LOCAL": (proxy_v2(command=0), "127.0.0.1"),
    "v2 LOCAL with addresses": (proxy_v2("6.6.6.6", command=0), "127.0.0.1"),
    "v2 UNSPEC": (proxy_v2(), "127.0.0.1"),
    "v2 UNIX": (proxy_v2(tlv=b"\0" * 216, kind=0x31), "127.0.0.1"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_proxy_header_names_the_client(proxied, name):
    before, client = HEADERS[name]
    assert who(proxied, before=before) == (client, client)


@pytest.mark.parametrize("name", ["v1 TCP6", "v2 with extensions"])
def test_a_proxy_header_may_come_in_single_bytes(proxied, name):
    app, process = fresh(proxied)
    before, client = HEADERS[name]
    guest = Guest(process.port)
    for byte in before:
        guest.send(bytes([byte]))
    assert guest.shake().status == 101
    assert app.wait_events(1, "open")[0].header("x-forwarded-for") == client


def test_requests_after_the_first_have_the_same_client(proxied):
    app, process = fresh(proxied)
    with Guest(process.port, before=proxy_v2("203.0.113.7")) as client:
        for n in range(3):
            assert client.ask(target=f"/{n}").status == 200
        # A second header is no HTTP.
        client.send(proxy_v1("6.6.6.6") + encode())
        assert client.response().status == 400
    assert [r.header("x-forwarded-for") for r in app.plain()] == ["203.0.113.7"] * 3


def test_headers_count_only_when_the_address_in_the_proxy_header_is_trusted_too(proxied):
    xff = {"X-Forwarded-For": "198.51.100.1"}
    assert who(proxied, before=proxy_v1("203.0.113.7"), headers=xff) == ("203.0.113.7", "203.0.113.7")
    assert who(proxied, before=proxy_v1("10.0.0.1"), headers=xff) == ("198.51.100.1", "198.51.100.1, 10.0.0.1")
    # With LOCAL the balancer speaks for itself, and its word counts.
    assert who(proxied, before=proxy_v2(command=0), headers=xff)[0] == "198.51.100.1"


MALFORMED = {
    "none": encode("GET", "/page"),
    "a line without end": b"PROXY TCP4 " + b"1" * 100,
    "a bare line feed": b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\n",
    "no address": b"PROXY TCP4 localhost 127.0.0.1 1 2\r\n",
    "the wrong family": b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
    "a port too high": b"PROXY TCP4 203.0.113.7 127.0.0.1 65536 2\r\n",
    "two spaces": b"PROXY  TCP4 203.0.113.7 127.0.0.1 1 2\r\n",
    "UDP4": b"PROXY UDP4 203.0.113.7 127.0.0.1 1 2\r\n",
    "lower case": b"proxy TCP4 203.0.113.7 127.0.0.1 1 2\r\n",
    "version 3": V2_SIGNATURE + b"\x31\x11\0\x0c" + b"\0" * 12,
    "command 2": V2_SIGNATURE + b"\x22\x11\0\x0c" + b"\0" * 12,
    "too short": V2_SIGNATURE + b"\x21\x11\0\x0b" + b"\0" * 11,
    "64 KiB": V2_SIGNATURE + b"\x21\x11\xff\xff" + b"\0" * 4000,
    "a broken signature": V2_SIGNATURE[:-1] + b"\x0b\x21\x11\0\x0c" + b"\0" * 12,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_connection_without_a_good_proxy_header_is_closed_without_an_answer(proxied, name):
    app, process = fresh(proxied)
    with Guest(process.port) as client:
        client.try_send(MALFORMED[name])
        client.try_send(encode("GET", "/page"))
        # Not one byte comes back; whatever speaks first could speak for somebody else.
        client.wait_closed()
    assert app.heads == []


def test_a_proxy_header_that_does_not_come_is_waited_for_no_longer_than_a_handshake(proxied):
    app, process = fresh(proxied)
    parts = [b"", b"PROXY TCP4 203", V2_SIGNATURE[:5], proxy_v2("203.0.113.7")[:20]]
    for client in [Guest(process.port, before=part) for part in parts]:
        client.wait_closed(PATIENCE)
    assert app.heads == []


def test_the_time_for_the_proxy_header_is_part_of_the_time_for_the_handshake(proxied):
    app, process = fresh(proxied)
    with Guest(process.port, before=proxy_v1("203.0.113.7") + b"GET / HTTP/1.1\r\n") as client:
        assert client.response().status == 408
        client.wait_closed()
    assert app.heads == []


@pytest.mark.parametrize("name", ["v1 TCP4", "v2 TCP4", "v2 LOCAL"])
def test_case_27_a_proxy_header_of_a_peer_that_is_not_trusted_opens_nothing(proxied, name):
    app, process = fresh(proxied)
    with Guest(process.port, "127.0.0.2", before=HEADERS[name][0]) as client:
        client.try_send(encode("GET", "/page"))
        client.wait_closed()
    with Guest(process.port, "127.0.0.2") as client:
        client.try_send(encode("GET", "/page"))
        client.wait_closed()
    assert app.heads == []


@pytest.mark.parametrize(
    "mode, good, bad", [("v1", "v1 TCP4", "v2 TCP4"), ("v2", "v2 TCP4", "v1 TCP4"), ("v2", "v2 LOCAL", "v1 UNKNOWN")]
)
def test_only_the_version_that_is_on_is_taken(app, sidesocket, mode, good, bad):
    edge = sidesocket(app, TRUSTED_PROXIES="loopback", PROXY_PROTOCOL=mode)
    # 127.0.0.1 is trusted and passes; with LOCAL it is the client itself.
    assert enter(edge, before=HEADERS[good][0]).status == 101
    with Guest(edge.port, before=HEADERS[bad][0]) as client:
        client.try_send(encode("GET", "/page"))
        client.wait_closed()


def test_case_27_with_the_protocol_off_a_proxy_header_is_no_http(alone):
    app, process = fresh(alone)
    for header in (proxy_v1("6.6.6.6"), proxy_v2("6.6.6.6")):
        with Guest(process.port, before=header) as client:
            client.try_send(encode("GET", "/page"))
            assert client.response().status == 400
            client.wait_closed()
    assert app.heads == []


def test_limits_count_the_client_of_the_proxy_header(app, sidesocket):
    edge = sidesocket(app, TRUSTED_PROXIES="loopback", PROXY_PROTOCOL="any", MAX_CONNECTIONS_PER_IP="1")
    enter(edge, before=proxy_v1("203.0.113.7"))
    check_refused(knock(edge, before=proxy_v2("203.0.113.7")), 429)
    enter(edge, before=proxy_v2("203.0.113.8"))


def test_health_checks_of_the_balancer_need_no_request(proxied):
    app, process = fresh(proxied)
    for _ in range(20):
        Guest(process.port, before=proxy_v2(command=0)).sock.close()
    assert who(proxied, before=proxy_v1("203.0.113.7"))[0] == "203.0.113.7"


# Single-value headers that the app might read itself


SINGLE = {"X-Real-IP": "203.0.113.1", "CF-Connecting-IP": "203.0.113.2", "True-Client-IP": "203.0.113.3"}


@pytest.mark.parametrize("trusted", ["none", "127.0.0.1"], ids=["from anybody", "not the chosen header"])
def test_headers_that_name_the_client_reach_the_app_from_nobody(app, sidesocket, trusted):
    edge = sidesocket(app, TRUSTED_PROXIES=trusted)
    enter(edge, headers=SINGLE).close()
    client = edge.client()
    client.request(target="/page", headers=list(SINGLE.items()))
    client.response()
    for request in [app.wait_events(1, "open")[0], app.wait_head("/page")]:
        assert [request.all(name) for name in SINGLE] == [[], [], []]


@pytest.mark.parametrize("name", SINGLE)
def test_the_chosen_header_of_a_trusted_proxy_reaches_the_app(app, sidesocket, name):
    edge = sidesocket(app, TRUSTED_PROXIES="127.0.0.1", CLIENT_IP_HEADER=name.lower())
    enter(edge, headers=SINGLE).close()
    opened = app.wait_events(1, "open")[0]
    assert [(other, opened.header(other)) for other in SINGLE if opened.header(other)] == [(name, SINGLE[name])]


def test_a_client_named_by_a_proxy_header_is_no_proxy_to_trust(app, sidesocket):
    edge = sidesocket(app, TRUSTED_PROXIES="127.0.0.1", PROXY_PROTOCOL="any")
    enter(edge, before=proxy_v1("198.51.100.7"), headers={"X-Forwarded-For": "1.2.3.4"}).close()
    app.wait_events(1, "close")
    assert "TRUSTED_PROXIES=" not in edge.output
