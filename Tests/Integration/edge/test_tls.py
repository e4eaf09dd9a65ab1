"""TLS on the public and the control listener: versions, origins, reloads, client certificates, deadlines."""

import datetime
import ipaddress
import os
import signal
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.api import API, TOKEN
from support.app import Reply
from support.guard import Guest, check_refused
from support.net import PATIENCE, eventually, free_port
from support.process import run
from support.ws import WebSocket
from websockets.sync.client import connect

REFUSED = (ssl.SSLError, ConnectionError, EOFError)


class Authority:
    """A certificate authority in memory, and the files it writes."""

    def __init__(self, folder, name="ca"):
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test {name}")])
        self.path = folder / f"{name}.pem"
        # keyCertSign and cRLSign.
        uses = x509.KeyUsage(*[False] * 5, True, True, False, False)
        known = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        own = x509.BasicConstraints(True, None), uses, known
        self.path.write_bytes(self.sign(self.name, self.key.public_key(), *own))

    def sign(self, subject, key, *extensions, days=2):
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self.name, subject, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(3)).not_valid_after(now + datetime.timedelta(days))
        for extension in extensions:
            builder = builder.add_extension(extension, isinstance(extension, x509.BasicConstraints | x509.KeyUsage))
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, name, **more):
        """Writes a new key and certificate and returns both paths; existing ones are replaced."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        parts = {"pem": self.sign(subject, key.public_key(), names, issuer, **more), "key": key.private_bytes(*pem)}
        for ending, data in parts.items():
            (self.folder / f"{name}.{ending}.new").write_bytes(data)
            (self.folder / f"{name}.{ending}.new").replace(self.folder / f"{name}.{ending}")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def client(self, pair=None):
        """What a client needs that trusts this authority."""
        context = ssl.create_default_context(cafile=self.path)
        if pair:
            context.load_cert_chain(*pair)
        return context


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def secure(app, sidesocket, ca):
    """Starts a sidecar with a certificate of `ca` for 127.0.0.1."""
    app.echo()

    def start(**settings):
        cert, key = ca.issue("server")
        return sidesocket(app, TLS_CERT=cert, TLS_KEY=key, **settings)

    return start


def dial(edge, context):
    """A client that has shaken hands for TLS, and nothing else yet."""
    guest = Guest(edge.port)
    guest.sock = context.wrap_socket(guest.sock, server_hostname="127.0.0.1")
    return guest


def enter(edge, context, **handshake):
    guest = dial(edge, context).shake(**handshake)
    assert guest.status == 101, guest.answer.text
    return guest


def said(guest, text="still here"):
    guest.text(text)
    assert guest.message() == text


def served(port):
    """The certificate that a new client is shown."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE)


def errors(edge):
    return [entry for entry in edge.logs if entry.get("level") == "error"]


def test_wss_works_with_another_implementation_and_nothing_without_tls(app, secure, ca):
    edge = secure()
    with edge.client() as client:
        client.request(target="/page")
        assert b"from the app" not in client.rest()
    assert app.heads == []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ca.client()
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["h2", "http/1.1"])
        with connect(f"wss://127.0.0.1:{edge.port}/ws", ssl=context, compression=None) as client:
            assert client.socket.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[version]
            # A WebSocket of this kind cannot go over HTTP/2.
            assert client.socket.selected_alpn_protocol() in (None, "http/1.1")
            for data in ("héllo", "x" * 60_000, b"\x00\xff" * 30_000):
                client.send(data)
                assert client.recv(timeout=PATIENCE) == data
    assert [event.header("x-forwarded-proto") for event in app.wait_events(2, "open")] == ["https"] * 2


def test_a_publisher_can_wait_until_a_slow_client_has_read(app, secure, ca):
    app.on(lambda _: Reply(204, headers={"Sidesocket-Subscribe": "c"}), event="open")
    edge = secure(MAX_SEND_BUFFER_BYTES="64MiB")
    api, text = API(edge), {"Content-Type": "text/plain"}
    slow = enter(edge, ca.client())
    while edge.metric("send_buffer_bytes") < 4 << 20:
        api.want(200, "POST", "/v1/channels/c/messages", "x" * 900_000, text)
    queued, answers = edge.metric("deliveries_total", result="queued"), []
    ask = ("POST", "/v1/channels/c/messages", "last", text)
    thread = threading.Thread(target=lambda: answers.append(api.ask(*ask, wait="written")))
    thread.start()
    edge.wait_metric("deliveries_total", queued + 1, result="queued")
    assert answers == [], "answered before it was written"
    while slow.message() != "last":
        pass
    thread.join(PATIENCE)
    assert (answers[0].json["queued"], answers[0].json["dropped"]) == (1, 0)


def test_requests_pass_through_and_the_app_learns_of_https(app, secure, ca):
    edge = secure()
    with dial(edge, ca.client()) as client:
        for _ in range(2):
            assert client.ask("POST", "/form", {"X-Forwarded-Proto": "http"}, b"y" * 100_000).text == "from the app"
    assert [r.header("x-forwarded-proto") for r in app.plain()] == ["https"] * 2
    assert app.plain()[1].body == b"y" * 100_000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_1_1_is_refused(app, secure, ca):
    edge = secure()
    context = ca.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2
    assert dial(edge, context).sock.version() == "TLSv1.2"
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(REFUSED) as refusal:
        dial(edge, context)
    # It was not this side that had nothing to offer.
    assert "NO_PROTOCOLS" not in str(refusal.value) and "NO_CIPHERS" not in str(refusal.value)
    assert app.heads == []


def test_pages_of_the_same_host_are_those_of_https(app, secure, ca):
    edge = secure()
    here = f"127.0.0.1:{edge.port}"
    enter(edge, ca.client(), origin=f"https://{here}").close()
    enter(edge, ca.client(), host="shop.example", origin="https://shop.example").close()
    for host, origin in ((here, "https://127.0.0.1"), ("shop.example", "http://shop.example")):
        check_refused(dial(edge, ca.client()).shake(host=host, origin=origin), 403)


def test_a_unix_listener_stays_plain(app, secure, ca, tmp_path):
    port, path = free_port(), str(tmp_path / "s")
    edge = secure(LISTEN=f"127.0.0.1:{port},unix:{path}")
    edge.port = port
    said(enter(edge, ca.client()))
    plain = WebSocket(0, unix=path, host="shop.example")
    assert plain.answer.status == 101
    said(plain)
    assert [event.header("x-forwarded-proto") for event in app.events("open")] == ["https", "http"]


# Reloads


@pytest.mark.parametrize("how", ["replaced", "linked", "SIGHUP"])
def test_a_new_certificate_is_served_while_sockets_stay_open(app, sidesocket, ca, how):
    app.echo()
    cert, key = (str(path) for path in ca.issue("server"))
    if how == "linked":
        # As Kubernetes does it: one link is turned to another folder with both files in it.
        (ca.folder / "first").mkdir()
        for path in (cert, key):
            os.rename(path, ca.folder / "first" / os.path.basename(path))
            os.symlink(f"data/{os.path.basename(path)}", path)
        os.symlink("first", ca.folder / "data")
    edge = sidesocket(app, TLS_CERT=cert, TLS_KEY=key)
    old, kept = served(edge.port), enter(edge, ca.client())
    if how == "linked":
        (ca.folder / "second").mkdir()
        for path in ca.issue("next"):
            path.rename(ca.folder / "second" / path.name.replace("next", "server"))
        os.symlink("second", ca.folder / "data.new")
        os.replace(ca.folder / "data.new", ca.folder / "data")
    else:
        ca.issue("server")
    started = time.monotonic()
    if how == "SIGHUP":
        edge.process.send_signal(signal.SIGHUP)
    eventually(lambda: served(edge.port) != old, "the new certificate is served", interval=0.05)
    assert time.monotonic() - started < (1.5 if how == "SIGHUP" else 6)
    said(kept)
    said(enter(edge, ca.client()))


def test_files_that_a_reload_has_named_are_watched_too(app, sidesocket, ca, tmp_path):
    file = tmp_path / "settings.yaml"

    def name(pair):
        cert, key = ca.issue(pair)
        file.write_text(f"tls_cert: {cert}\ntls_key: {key}\n")

    name("first")
    edge = sidesocket(app, CONFIG=str(file))
    first = served(edge.port)
    name("second")
    edge.process.send_signal(signal.SIGHUP)
    eventually(lambda: served(edge.port) != first, "the second certificate is served", interval=0.05)
    second = served(edge.port)
    ca.issue("second")
    eventually(lambda: served(edge.port) != second, "its successor is served", interval=0.05)


@pytest.mark.parametrize("kick", [False, True], ids=["by itself", "SIGHUP"])
def test_a_broken_pair_leaves_the_old_one_and_is_logged(app, secure, ca, kick):
    edge = secure()
    old, kept = served(edge.port), enter(edge, ca.client())
    key = ca.folder / "server.key"
    breaks = [lambda: ca.issue("other")[1].replace(key), lambda: key.write_text("none\n"), key.unlink]
    for change in breaks:
        before = len(errors(edge))
        change()
        if kick:
            edge.process.send_signal(signal.SIGHUP)
        eventually(lambda before=before: len(errors(edge)) > before, lambda: f"an error in:\n{edge.output}")
        assert served(edge.port) == old
        said(kept)
        said(enter(edge, ca.client()))
    assert "TLS" in str(errors(edge)) and "PRIVATE KEY" not in edge.output
    ca.issue("server")
    eventually(lambda: served(edge.port) != old, "the mended pair is served", interval=0.05)
    said(kept)


# Client certificates


def test_only_clients_with_a_certificate_of_the_authority_come_in(app, secure, ca):
    edge = secure(TLS_CLIENT_CA=ca.path)
    stranger = Authority(ca.folder, "stranger")
    for pair in (None, stranger.issue("evil"), ca.issue("expired", days=-1)):
        with pytest.raises(REFUSED):
            dial(edge, ca.client(pair)).shake()
    assert app.heads == []
    said(enter(edge, ca.client(ca.issue("friend"))))


# The control listener


def test_the_control_listener_speaks_tls_with_a_pair_of_its_own(app, sidesocket, ca):
    cert, key = ca.issue("control")
    edge = sidesocket(app, CONTROL_TLS_CERT=cert, CONTROL_TLS_KEY=key, CONTROL_TOKEN=TOKEN, wait=False)
    api = API(edge, TOKEN, tls=ca.client())

    def ready():
        try:
            return api.ask("GET", "/readyz").status == 200
        except ConnectionRefusedError:
            return False

    eventually(ready, lambda: f"ready: {edge.output}", timeout=20)
    assert api.connections() == []
    API(edge, tls=ca.client()).want(401, "GET", "/v1/connections")
    assert "sidesocket_build_info" in api.ask("GET", "/metrics").text
    assert edge.readyz()[0] != 200, "it answers without TLS too"
    with pytest.raises(REFUSED):
        dial(edge, ca.client())
    # The public listener has no certificate and stays plain.
    edge.websocket().close()
    old = served(edge.control_port)
    ca.issue("control")
    eventually(lambda: served(edge.control_port) != old, "the new certificate is served", interval=0.05)


# Wrong files


@pytest.mark.parametrize("prefix", ["TLS", "CONTROL_TLS"])
@pytest.mark.parametrize("fault", ["no key", "no cert", "missing", "missing key", "garbage", "mismatch", "swapped"])
def test_a_wrong_pair_is_an_error_at_the_start(ca, prefix, fault):
    cert, key = ca.issue("server")
    garbage = ca.folder / "garbage.pem"
    garbage.write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    pair = {
        "no key": (cert, None), "no cert": (None, key), "missing": (ca.folder / "none", key),
        "missing key": (cert, ca.folder / "none"), "garbage": (garbage, key), "mismatch": (cert, ca.issue("other")[1]),
        "swapped": (key, cert),
    }[fault]  # fmt: skip
    settings = {f"{prefix}_{n}": str(p) for n, p in zip(("CERT", "KEY"), pair, strict=True) if p}
    listen = {"LISTEN": f"127.0.0.1:{free_port()}", "CONTROL_LISTEN": f"127.0.0.1:{free_port()}"}
    done = run(APP_URL="http://127.0.0.1:1", **settings, **listen)
    assert done.returncode == 78 and f"SIDESOCKET_{prefix}_" in done.stderr, done.stderr
    assert "PRIVATE KEY" not in done.stderr


@pytest.mark.parametrize("fault", ["missing", "garbage", "without a pair"])
def test_a_wrong_client_authority_is_an_error_at_the_start(ca, fault):
    (ca.folder / "garbage").write_text("none\n")
    alone = fault == "without a pair"
    settings = {} if alone else dict(zip(("TLS_CERT", "TLS_KEY"), ca.issue("server"), strict=True))
    done = run("check", APP_URL="http://127.0.0.1:1", TLS_CLIENT_CA=ca.path if alone else ca.folder / fault, **settings)
    assert done.returncode == 78 and "SIDESOCKET_TLS_CLIENT_CA" in done.stderr, done.stderr


# Deadlines


def hello(context):
    """The first flight of a client, as bytes."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(into, out, server_hostname="127.0.0.1").do_handshake()
    return out.read()


@pytest.mark.parametrize("sent", ["nothing", "half a hello", "a handshake"])
def test_the_time_for_tls_is_part_of_the_time_for_the_handshake(app, secure, ca, sent):
    edge = secure(HANDSHAKE_TIMEOUT="1s")
    started = time.monotonic()
    data = hello(ca.client())
    client = dial(edge, ca.client()) if sent == "a handshake" else Guest(edge.port)
    client.send(data[: len(data) // 2] if sent == "half a hello" else b"")
    rest = client.rest()
    assert 0.8 < time.monotonic() - started < 4
    # Nothing, an alert of TLS, or the answer to a head that does not come.
    assert rest[:1] in (b"", b"\x15") or rest.startswith(b"HTTP/1.1 408 "), rest[:80]
    assert app.heads == []
    said(enter(edge, ca.client()))


def test_the_time_does_not_begin_anew_when_tls_is_done(app, secure, ca):
    edge = secure(HANDSHAKE_TIMEOUT="2s")
    started = time.monotonic()
    client = Guest(edge.port)
    # Most of the time goes by in silence; only then comes the hello.
    client.sock.settimeout(1.4)
    with pytest.raises(socket.timeout):
        client.fill()
    client.sock.settimeout(PATIENCE)
    client.sock = ca.client().wrap_socket(client.sock, server_hostname="127.0.0.1")
    client.rest()
    assert time.monotonic() - started < 3.1
