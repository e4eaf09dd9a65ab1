"""What all clients together leave unread has a total: beyond it, those with the most are slow first."""

import json
import socket
import ssl
import struct
import threading
import time

import pytest
from support.api import API
from support.app import Reply
from support.guard import UNLIMITED, enter
from support.net import PATIENCE, eventually, stable
from support.raw import Client, encode
from support.sse import EventStream
from support.ws import TEXT, handshake_headers
from support.ws import frame as client_frame

MB = 1 << 20
PLAIN = {"Content-Type": "text/plain"}

# How far the total is exceeded for a moment depends on how soon each thread gets its turn.
pytestmark = pytest.mark.alone


def narrow(port):
    """A connection for which the system holds little, so that what is unread stays with the sidecar."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    # Small segments make the sender's own buffer small, too.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    sock.settimeout(PATIENCE)
    sock.connect(("127.0.0.1", port))
    return sock


class Stalled:
    """A WebSocket whose client reads its handshake and nothing more."""

    def __init__(self, port, target="/ws", tls=None):
        self.sock = narrow(port)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="app.test")
        self.sock.sendall(encode("GET", target, handshake_headers()))
        self.head = b""
        while b"\r\n\r\n" not in self.head:
            self.head += self.sock.recv(1)
        assert b" 101 " in self.head

    def ask(self, text):
        self.sock.sendall(client_frame(TEXT, text))


class Watch:
    """Looks at the gauge all the time and remembers the most."""

    def __init__(self, edge):
        self.edge, self.most = edge, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self._stop.wait(0.005):
            self.most = max(self.most, self.edge.metric("send_buffer_bytes"))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def slow(edge, action="close"):
    return edge.metric("slow_client_total", action=action)


def test_hundreds_of_clients_that_do_not_read_hold_no_more_than_the_total(app, sidesocket):
    """600 of 240 KB each would be 144 MB."""
    edge = sidesocket(app, **UNLIMITED, MAX_TOTAL_SEND_BUFFER_BYTES="16MiB", COMPRESSION="off")
    assert edge.metric("max_total_send_buffer_bytes") == 16 * MB
    text = "z" * 240_000
    app.on(lambda request: Reply(200, request.text if request.text.startswith("e") else text, PLAIN), event="message")
    readers = [enter(edge) for _ in range(5)]
    clients = [Stalled(edge.port) for _ in range(600)]
    edge.forget_peak_rss()
    before = edge.rss
    with Watch(edge) as watch:
        for number, client in enumerate(clients):
            client.ask("go")
            if number % 20 == 0:
                for reader in readers:
                    reader.text(f"echo {number}")
                    assert reader.message() == f"echo {number}"
                readers[0].text("a large one")
                assert readers[0].message() == text
        app.wait_events(600, "message", timeout=30)
        edge.wait_metric("pending_bytes", 0)
    # What has just come counts before room is made for it, and a thread may have to wait 20 ms for the other's turn.
    assert watch.most < 16 * MB + 16 * len(text)
    assert slow(edge) > 300
    assert edge.peak_rss - before < 80 * MB
    eventually(lambda: edge.metric("send_buffer_bytes") <= 16 * MB, "the total is kept")
    # Who reads is still there, and so are as many of the others as there is room for.
    assert edge.metric("connections") > 50
    for reader in readers:
        reader.text("echo again")
        assert reader.message() == "echo again"
    for client in clients:
        client.sock.close()
    edge.wait_metric("connections", 5)
    edge.wait_metric("send_buffer_bytes", 0)


@pytest.mark.parametrize("action", ["drop-oldest", "drop-newest"])
def test_dropping_brings_each_down_to_its_share_and_closes_nobody(app, sidesocket, action):
    edge = sidesocket(
        app, **UNLIMITED, MAX_TOTAL_SEND_BUFFER_BYTES="2MiB", SLOW_CLIENT_ACTION=action, COMPRESSION="off"
    )
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "all"}), event="open")
    clients = [Stalled(edge.port) for _ in range(60)]
    reader = enter(edge)
    api = API(edge)
    texts = [f"{number:04d} " + "x" * 8_000 for number in range(50)]
    with Watch(edge) as watch:
        for text in texts:
            api.want(200, "POST", "/v1/channels/all/messages", text, {"Content-Type": "text/plain"})
            assert reader.message() == text
    assert watch.most <= 2 * MB + 8 * 8_300
    assert edge.metric("send_buffer_bytes") <= 2 * MB
    assert slow(edge, action) > 60 * 10 and slow(edge) == 0
    assert edge.metric("connections") == 61
    # Each still has something, whole messages in order.
    sock = clients[7].sock
    data = b""
    sock.settimeout(2)
    numbers = []
    try:
        while True:
            while len(data) < 4 or len(data) < 4 + struct.unpack("!H", data[2:4])[0]:
                data += sock.recv(65536)
            assert data[0] == 0x81 and data[1] == 126
            size = struct.unpack("!H", data[2:4])[0]
            assert size == len(texts[0])
            numbers.append(int(data[4:8]))
            data = data[4 + size :]
    except TimeoutError:
        pass
    assert data == b"" and numbers == sorted(set(numbers))
    assert (49 in numbers) == (action == "drop-oldest")


def test_who_holds_the_most_goes_first_even_if_it_gets_nothing_more(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED, MAX_TOTAL_SEND_BUFFER_BYTES="256KiB", COMPRESSION="off", THREADS=2)
    app.on(lambda request: Reply(200, "z" * int(request.text), PLAIN), event="message")

    def held():
        edge.wait_metric("pending_bytes", 0)
        return edge.metric("send_buffer_bytes")

    def fill(client, wanted):
        goal = held() + wanted
        for _ in range(200):
            if held() >= goal or slow(edge):
                return
            client.ask("4000")
        raise AssertionError("the system took all of it")

    large = Stalled(edge.port)
    large.ask("240000")
    eventually(lambda: held() > 100_000, "it waits")
    small = [Stalled(edge.port) for _ in range(12)]
    for client in small:
        fill(client, 12_000)
        if slow(edge):
            break
    eventually(lambda: slow(edge) == 1, "the total is reached")
    (end,) = app.wait_events(1, "close")
    assert end.header("ce-connectionid") == app.events("open")[0].header("ce-connectionid")
    assert json.loads(end.body)["code"] == 1008
    assert held() <= 256 << 10


def test_over_tls_they_are_cut_off_as_fast(app, sidesocket, certificate):
    authority, (chain, key) = certificate
    edge = sidesocket(
        app, **UNLIMITED, MAX_TOTAL_SEND_BUFFER_BYTES="1MiB", COMPRESSION="off", TLS_CERT=chain, TLS_KEY=key
    )
    app.on(Reply(200, "z" * 240_000, PLAIN), event="message")
    context = ssl.create_default_context(cafile=authority)
    clients = [Stalled(edge.port, tls=context) for _ in range(40)]
    began = time.monotonic()
    with Watch(edge) as watch:
        for client in clients:
            client.ask("go")
        app.wait_events(30, "close")
    # Without waiting for the goodbye of TLS behind what nobody reads, two seconds for each.
    assert time.monotonic() - began < 1.9
    assert watch.most <= MB + 8 * 240_000
    assert 0 < edge.metric("connections") < 10


def test_event_streams_count_as_well(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED, MAX_TOTAL_SEND_BUFFER_BYTES="1MiB", SSE_PATHS="/events")
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "all"}), event="open")

    def stalled():
        sock = narrow(edge.port)
        sock.sendall(encode("GET", "/events", {"Accept": "text/event-stream"}))
        return sock

    streams = [stalled() for _ in range(60)]
    reader = EventStream(edge.port)
    edge.wait_metric("connections", 61)
    with Watch(edge) as watch:
        for number in range(40):
            text = f"{number:04d} " + "x" * 8_000
            API(edge).want(200, "POST", "/v1/channels/all/messages", text, {"Content-Type": "text/plain"})
            assert reader.event() == ("message", text)
    assert watch.most <= MB + 8 * 8_300
    assert slow(edge) > 20
    for stream in streams:
        stream.close()
    edge.wait_metric("connections", 1)
    edge.wait_metric("send_buffer_bytes", 0)


def test_answers_that_are_passed_through_count_as_well(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED, MAX_TOTAL_SEND_BUFFER_BYTES="1MiB")
    app.on(Reply(200, b"y" * (2 * MB), PLAIN), path="/large")
    stalled = []
    with Watch(edge) as watch:
        for _ in range(40):
            sock = narrow(edge.port)
            sock.sendall(encode("GET", "/large"))
            stalled.append(sock)
        eventually(lambda: slow(edge) > 20, "some are cut off")
        with Client(edge.port) as client:
            assert len(client.ask(target="/large").body) == 2 * MB
    assert watch.most < MB + 4 * (192 << 10)
    assert edge.metric("connections") == 0
    for sock in stalled:
        sock.close()
    edge.wait_metric("send_buffer_bytes", 0)


def test_off_leaves_the_limit_of_each_connection(app, sidesocket):
    edge = sidesocket(app, **UNLIMITED, MAX_TOTAL_SEND_BUFFER_BYTES="off", COMPRESSION="off")
    assert edge.metric("max_total_send_buffer_bytes") == float("inf")
    app.on(Reply(200, "z" * 240_000, PLAIN), event="message")
    clients = [Stalled(edge.port) for _ in range(10)]
    for client in clients:
        client.ask("go")
    eventually(lambda: edge.metric("send_buffer_bytes") > 10 * 100_000, "they hold what they may")
    assert slow(edge) == 0 and edge.metric("connections") == 10


def test_downloads_under_way_outlive_clients_that_have_stopped_reading(app, sidesocket):
    """Each of those holds a little less than its share, and a download a little more, but only for a moment."""
    edge = sidesocket(app, THREADS="1", MAX_TOTAL_SEND_BUFFER_BYTES="2740000", **UNLIMITED)
    app.on(Reply(200, b"x" * (16 * MB)), path="/big")
    app.on(Reply(200, b"x" * 2_850_000), path="/some")
    stuck = []
    for _ in range(60):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", edge.port))
        sock.sendall(encode("GET", "/some"))
        stuck.append(sock)
    # How much that is depends on what the system holds for them, mostly about their share.
    stable(lambda: edge.metric("send_buffer_bytes"), quiet=1.2)
    for _ in range(4):
        with edge.client() as client:
            assert len(client.ask(target="/big").body) == 16 * MB
    for sock in stuck:
        sock.close()
