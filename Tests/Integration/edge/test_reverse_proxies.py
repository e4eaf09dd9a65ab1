"""docs/reverse-proxies.md as printed: real proxies with TLS, Sidesocket with the settings beside them, Django behind.

nginx, HAProxy, Caddy and Apache run. Traefik and ingress-nginx are in no package here: of those it is only checked
that their YAML can be read and says what it has to.
"""

import http.client
import json
import re
import subprocess
import sys
import time
from http.cookies import SimpleCookie
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
import yaml
from support import proxies
from support.api import API
from support.app import Reply
from support.net import eventually, free_port
from support.process import ROOT, Sidesocket, run
from support.proxies import HOST, PROXIES, Certificate, SecureGuest, block, blocks, settings
from support.raw import Client, close_clients
from support.servers import Server
from support.ws import CLOSE, close_payload

ORIGIN = f"https://{HOST}"
# What a client may try. Of a field that `Connection` names, a careless proxy drops its own.
SPOOFED = [
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-For", "127.0.0.1, 6.6.6.7"),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-Host", "evil.example"),
    ("Forwarded", "for=6.6.6.6;proto=http;host=evil.example"),
    ("X-Real-IP", "6.6.6.6"),
]
DROPPED = "Upgrade, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host"


class Site(Server):
    """The Django site as a process."""

    def __init__(self, folder):
        super().__init__(folder, free_port())
        page = (ROOT / "docs/recipes/django.md").read_text()
        (self.setting,) = re.findall(r"^SECURE_PROXY_SSL_HEADER = .+$", page, re.MULTILINE)
        program = Path(proxies.__file__).with_name("django_site.py")
        self.run(sys.executable, str(program), str(self.port), str(folder / "site.sqlite"), self.setting)

    def ask(self, path):
        """Asks the site past everything, in words that it takes for a request by https."""
        with Client(self.port) as client:
            return client.ask(target=path, headers={"X-Forwarded-Proto": "https"}, host=HOST).text


class Shop:
    """A proxy in front of Sidesocket in front of the site, and clients of it."""

    def __init__(self, name, front, edge, site, certificate):
        self.name, self.front, self.edge, self.site, self.certificate = name, front, edge, site, certificate
        self.cookie = None

    def guest(self, source="127.0.1.1"):
        return SecureGuest(self.front, self.certificate, source)

    def log_in(self, source="127.0.1.1", origin=ORIGIN, **more):
        """Logs in by the form, as a browser does; returns the answer to the form and keeps the cookies."""
        cookies = SimpleCookie()
        with self.guest(source) as client:
            page = client.ask(target="/login", **more)
            assert page.status == 200, f"{page.status} {page.head}"
            for line in page.all("set-cookie"):
                assert "Secure" in line
                cookies.load(line)
            (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
            form = {"csrfmiddlewaretoken": token, "username": "alice", "password": "wonderland"}
            headers = {
                "Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items()),
                "Content-Type": "application/x-www-form-urlencoded",
                "Origin": origin,
                "Referer": f"{origin}/login",
            }
            answer = client.ask("POST", "/login", headers, urlencode(form).encode())
        for line in answer.all("set-cookie"):
            cookies.load(line)
        if answer.status == 302:
            self.cookie = f"sessionid={cookies['sessionid'].value}"
        return answer

    def enter(self, source, headers=(), **handshake):
        """A handshake with the session's cookie from a page of the site."""
        if self.cookie is None:
            assert self.log_in().status == 302
        headers = [("Cookie", self.cookie), *headers]
        return self.guest(source).shake(headers=headers, origin=ORIGIN, host=HOST, **handshake)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("site")) as site:
        yield site.wait_ready()


def reachable_folder(tmp_path_factory, name):
    """A folder that a worker under another user may enter."""
    folder = tmp_path_factory.mktemp(name)
    folder.chmod(0o755)
    return folder


def sidesocket_by_the_page(heading, **more):
    """Sidesocket with the settings of the page and its own defaults for the limits."""
    printed = settings(heading)
    assert printed.pop("LISTEN") == "127.0.0.1:8080"
    return Sidesocket(CONNECT_RATE_PER_IP=None, MAX_CONNECTIONS_PER_IP=None, MESSAGE_RATE=None, **{**printed, **more})


@pytest.fixture(scope="module", params=PROXIES)
def started(request, tmp_path_factory, certificate, site):
    heading, start = PROXIES[request.param]
    edge = sidesocket_by_the_page(heading, APP_URL=f"http://127.0.0.1:{site.port}", SSE_PATHS="/events")
    front = None
    try:
        front = start(reachable_folder(tmp_path_factory, request.param), certificate, edge.port)
        yield Shop(request.param, front, edge, site, certificate)
        edge.check_alive()
    finally:
        close_clients()
        if front:
            front.stop()
        edge.kill()


@pytest.fixture
def shop(started):
    """The proxy of the module with no client of an earlier test left."""
    yield started
    close_clients()
    # No proxy holds on to a WebSocket or a stream whose client is gone.
    started.edge.wait_metric("connections", 0)


def told(guest):
    """What the site was told about this client in a message."""
    guest.text("who am I?")
    return json.loads(guest.message())


def wanted(source, target):
    """What the site has to be told about a client with this address."""
    return {
        "user": "alice",
        "secure": True,
        "target": target,
        "X-Forwarded-For": f"{source}, 127.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": HOST,
        "Host": HOST,
        "Forwarded": None,
        "X-Real-IP": None,
    }


def test_login_by_a_form_and_then_a_websocket_with_the_session(shop):
    answer = shop.log_in("127.0.1.9")
    # Django has compared Origin and Referer with what it takes for its own scheme and host.
    assert (answer.status, answer.header("location")) == (302, "/me")
    with shop.guest("127.0.1.9") as client:
        page = client.ask(target="/me/a%2Fb//c;d%20e?f=%2F", headers={"Cookie": shop.cookie})
    assert json.loads(page.text) == wanted("127.0.1.9", "/me/a%2Fb//c;d%20e?f=%2F")
    guest = shop.enter("127.0.1.9", target="/ws?room=1")
    assert guest.status == 101
    assert told(guest) == wanted("127.0.1.9", "/ws?room=1")
    guest.frame(CLOSE, close_payload(4321))
    assert guest.expect(CLOSE).code == 4321


def test_a_form_and_a_websocket_of_another_site_are_refused(shop):
    assert shop.log_in(origin="https://evil.example").status == 403
    assert shop.enter("127.0.1.1").status == 101
    for origin in ("https://evil.example", f"http://{HOST}", f"https://{HOST}:8443"):
        refused = shop.guest().shake(headers={"Cookie": shop.cookie}, origin=origin, host=HOST)
        assert refused.status == 403, origin
    # And the site's own refusal gets through.
    assert shop.guest().shake(origin=ORIGIN, host=HOST).answer.text == "Log in first."


def test_what_a_client_says_about_itself_is_ignored(shop):
    shop.log_in()
    with shop.guest("127.0.1.7") as client:
        fields = [*SPOOFED, ("Connection", DROPPED.removeprefix("Upgrade, ")), ("Cookie", shop.cookie)]
        page = client.ask(target="/me", headers=fields)
    assert json.loads(page.text) == wanted("127.0.1.7", "/me")
    for connection in ("Upgrade", DROPPED):
        guest = shop.enter("127.0.1.7", SPOOFED, connection=connection)
        assert guest.status == 101, f"{connection}: {guest.answer.text}"
        assert told(guest) == wanted("127.0.1.7", "/ws")


def test_150_clients_are_no_single_client(shop):
    """With the default limits: 40 handshakes at once and 100 WebSockets of one address."""
    first_line = len(shop.edge.logs)
    sources = [f"127.0.1.{n}" for n in range(1, 151)]
    guests = [shop.enter(source, SPOOFED) for source in sources]
    assert [guest.status for guest in guests] == [101] * 150
    assert shop.edge.metric("connections") == 150
    assert [told(guest)["X-Forwarded-For"].split(", ")[0] for guest in guests] == sources
    assert [e for e in shop.edge.logs[first_line:] if e["level"] == "warning"] == []


def test_one_client_is_still_limited(shop):
    def refused():
        return shop.guest("127.0.3.1").shake(headers=SPOOFED, origin="https://evil.example", host=HOST).status

    eventually(lambda: refused() == 429, "more than 20 handshakes a second are too many")
    assert shop.enter("127.0.3.2").status == 101


@pytest.mark.parametrize("name", PROXIES)
def test_without_trusted_proxies_all_clients_are_one_and_the_log_says_what_to_set(
    app, sidesocket, tmp_path_factory, certificate, name
):
    heading, start = PROXIES[name]
    edge = sidesocket(app, CONNECT_RATE_PER_IP=None, LB=settings(heading)["LB"])
    front = start(reachable_folder(tmp_path_factory, f"untrusted-{name}"), certificate, edge.port)
    try:
        began = time.monotonic()
        guests = [
            SecureGuest(front, certificate, f"127.0.1.{n}").shake(origin=ORIGIN, host=HOST) for n in range(1, 151)
        ]
        statuses = [guest.status for guest in guests]
        # 40 at once, and 20 a second after that.
        assert statuses[:40] == [101] * 40
        assert statuses.count(101) <= 41 + 20 * (time.monotonic() - began) and statuses.count(429) >= 20
        assert app.events("open")[0].header("x-forwarded-for") == "127.0.0.1"
        lines = [e for e in edge.logs if e["level"] == "warning"]
        assert any("SIDESOCKET_TRUSTED_PROXIES=127.0.0.1" in json.dumps(line) for line in lines), lines
        assert any("SIDESOCKET_CONNECT_RATE_PER_IP" in json.dumps(line) for line in lines), lines
    finally:
        close_clients()
        front.stop()


def test_the_commands_to_try_it(app, sidesocket, tmp_path_factory):
    """As printed, but with a folder and ports that are free here."""
    folder = reachable_folder(tmp_path_factory, "try-it")
    make, page, websocket = (line for text in blocks("Try it") for line in text.splitlines())
    assert make.startswith("openssl req ") and page.startswith("curl ") and websocket.startswith("curl ")
    subprocess.run(["sh", "-c", make], cwd=folder, check=True, capture_output=True, timeout=30)
    app.on(Reply(200, b"a page of the app"), path="/")
    printed = settings("nginx")
    del printed["LISTEN"]
    edge = sidesocket(app, **printed)
    certificate = SimpleNamespace(pem=folder / "shop.pem", key=folder / "shop.key")
    front = proxies.start_nginx(folder, certificate, edge.port)

    def ask(line):
        line = line.replace("/etc/ssl/", f"{folder}/").replace("--max-time 5", "--max-time 1")
        line = line.replace(":443:", f":{front.port}:").replace(".example/", f".example:{front.port}/")
        # The port is not 443 here, and nginx passes on the host without it.
        return subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=10).stdout

    try:
        assert ask(page).endswith("a page of the app")
        assert ask(websocket).startswith("HTTP/1.1 101 ")
    finally:
        front.stop()


def answer_in_parts(client):
    """The answer that comes on this connection, to be read as it comes."""
    answer = http.client.HTTPResponse(client.sock)
    answer.begin()
    return answer


def publish(edge, text):
    """Publishes in the channel that everybody is in; returns how many that are."""
    answer = API(edge).want(200, "POST", "/v1/channels/news/messages", text, {"Content-Type": "text/plain"})
    return answer.json["matched"]


def test_an_event_stream_is_not_buffered(shop):
    shop.log_in()
    with shop.guest("127.0.1.5") as client:
        fields = {"Cookie": shop.cookie, "Accept": "text/event-stream", "Origin": ORIGIN}
        client.request(target="/events", headers=fields)
        stream = answer_in_parts(client)
        assert stream.status == 200 and stream.headers["content-type"] == "text/event-stream"
        received = b""
        # Each has to be here before the next one is sent.
        for n in range(3):
            publish(shop.edge, f"news number {n}")
            while f"data: news number {n}\n".encode() not in received:
                part = stream.read1()
                assert part, received
                received += part
        stream.close()
    if shop.name == "apache":
        # It notices when there is something to send.
        eventually(lambda: publish(shop.edge, "anybody there?") == 0, "the stream ends with its reader", interval=0.05)
    shop.edge.wait_metric("connections", 0)


def test_an_answer_is_not_buffered(shop):
    shop.log_in()
    with shop.guest() as client:
        client.request(target="/stream")
        answer = answer_in_parts(client)
        assert answer.read1() == b"first\n"
        shop.site.ask("/release")
        assert answer.read() == b"second\n"


def test_a_request_is_not_buffered(shop):
    half = bytes(100_000)
    with shop.guest() as client:
        client.send(f"POST /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {2 * len(half)}\r\n\r\n".encode() + half)
        eventually(lambda: int(shop.site.ask("/uploaded")) > len(half) // 2, "the first half arrives", interval=0.02)
        client.send(half)
        assert client.response().text == str(2 * len(half))


def peers(edge):
    """The connections that Sidesocket has accepted and that are open."""
    found = set()
    for sock in edge.sockets():
        if sock.getsockname()[1] == edge.port:
            found.add(sock.getpeername())
        sock.close()
    return found


def test_connections_to_sidesocket_are_reused(shop):
    with shop.guest() as client:
        assert client.ask(target="/login").status == 200
        before = peers(shop.edge)
        for _ in range(5):
            assert client.ask(target="/login").status == 200
        after = peers(shop.edge)
    assert after and after <= before


# Behind a CDN


def test_nginx_behind_a_cdn(tmp_path_factory, certificate, site):
    heading = "A CDN in front of the proxy"
    edge = Sidesocket(APP_URL=f"http://127.0.0.1:{site.port}", CONNECT_RATE_PER_IP=None, **settings(heading))
    extra = proxies.adapted(block(heading, "nginx"), {"203.0.113.0/24": "127.0.2.0/24"})
    front = proxies.start_nginx(reachable_folder(tmp_path_factory, "cdn"), certificate, edge.port, extra)
    shop = Shop("nginx", front, edge, site, certificate)
    try:
        shop.log_in("127.0.2.1")

        def seen(source, named):
            guest = shop.enter(source, [("X-Forwarded-For", named), ("X-Forwarded-Proto", "http")])
            assert guest.status == 101
            return told(guest)

        # An edge server of the CDN appends to what the client made up.
        assert seen("127.0.2.1", "6.6.6.6, 198.51.100.7") == wanted("198.51.100.7", "/ws")
        # Two of them, one behind the other.
        assert seen("127.0.2.1", "6.6.6.6, 198.51.100.7, 127.0.2.9") == wanted("198.51.100.7", "/ws")
        # Somebody who goes around the CDN is himself.
        assert seen("127.0.1.4", "198.51.100.7") == wanted("127.0.1.4", "/ws")
        # More clients than one address may have.
        guests = [shop.enter("127.0.2.1", [("X-Forwarded-For", f"198.51.100.{n}")]) for n in range(1, 61)]
        assert {guest.status for guest in guests} == {101}
        edge.check_alive()
    finally:
        close_clients()
        front.stop()
        edge.kill()


# What cannot be run here


def test_the_yaml_for_traefik_leads_to_sidesocket():
    static, dynamic = (yaml.safe_load(text) for text in blocks("Traefik", "yaml"))
    assert static["entryPoints"]["websecure"]["address"] == ":443"
    router = dynamic["http"]["routers"]["shop"]
    assert router["rule"] == f"Host(`{HOST}`)" and router["tls"] == {} and router["entryPoints"] == ["websecure"]
    service = dynamic["http"]["services"][router["service"]]["loadBalancer"]
    assert service["servers"] == [{"url": "http://127.0.0.1:8080"}]
    # Sidesocket keeps idle connections for 75 seconds.
    transport = dynamic["http"]["serversTransports"][service["serversTransport"]]
    assert transport["forwardingTimeouts"]["idleConnTimeout"] == "60s"


def test_the_ingress_leads_to_the_service_of_the_example():
    ingress = yaml.safe_load(block("ingress-nginx", "yaml"))
    assert (ingress["apiVersion"], ingress["kind"]) == ("networking.k8s.io/v1", "Ingress")
    assert all(isinstance(value, str) for value in ingress["metadata"]["annotations"].values())
    (rule,) = ingress["spec"]["rules"]
    (way,) = rule["http"]["paths"]
    assert (rule["host"], way["path"], way["pathType"]) == (HOST, "/", "Prefix")
    example = (ROOT / "examples/kubernetes/deployment.yaml").read_text()
    (service,) = [part for part in yaml.safe_load_all(example) if part["kind"] == "Service"]
    named = {(service["metadata"]["name"], port["name"]) for port in service["spec"]["ports"]}
    backend = way["backend"]["service"]
    assert (backend["name"], backend["port"]["name"]) in named


# Sidesocket's own advice


SECTIONS = [name for name in proxies.sections() if any("SIDESOCKET_LB=" in text for text in blocks(name))]


@pytest.mark.parametrize("heading", SECTIONS)
def test_check_is_content_with_what_the_page_prints(heading):
    checked = run("check", APP_URL="http://127.0.0.1:3000", **settings(heading))
    assert checked.returncode == 0, checked.stderr
    assert "warning" not in (checked.stdout + checked.stderr).lower()
