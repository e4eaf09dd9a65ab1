"""docs/troubleshooting.md and the binary: what the tables quote is provoked and has to come word for word."""

import re
import shlex
import subprocess
import threading

import pytest
from support.api import API
from support.app import Reply, open_gates
from support.guard import Guest, enter, knock
from support.net import eventually, free_port
from support.pages import command
from support.process import ROOT, Sidesocket, run
from support.proxies import Front
from support.proxies import command as program
from support.raw import Client, close_clients, encode
from support.sse import EventStream
from support.troubleshooting import CASES
from support.troubleshooting.quotes import PAGE, PAGES, PLAIN, answer, ask, is_quoted, quotes
from support.ws import PING, PONG

# The quotes


@pytest.fixture
def start(app, tmp_path):
    """Starts sidecars before `app`; one attempt for each event."""
    started = []

    def begin(**settings):
        started.append(Sidesocket(**{"APP_URL": app.url, "WEBHOOK_RETRY_FOR": "off", **settings}))
        return started[-1]

    begin.folder = tmp_path
    yield begin
    close_clients()
    open_gates()
    for one in started:
        if one.process.poll() is None:
            one.kill()


@pytest.mark.parametrize("name", CASES)
def test_what_the_page_quotes_is_what_users_see(app, start, name):
    case, pairs = CASES[name]
    assert [pair for pair in pairs if not is_quoted(pair)] == [], "the page quotes something else"
    seen = case(app, start)
    for code, words in pairs:
        if code is None:
            assert any(words in text for _, text in seen), f"{words!r} in {seen}"
        else:
            assert (code, words) in {(number, str(text).strip()) for number, text in seen}


def test_every_quote_of_the_page_is_provoked():
    assert quotes() - set.union(*(pairs for _, pairs in CASES.values())) == set()


def test_a_connection_that_ends_without_an_answer(app, start, certificate):
    def end(edge, clients=1):
        others = [edge.client() for _ in range(clients - 1)]
        with edge.client() as client:
            client.try_send(encode())
            assert client.rest() == b""
        return len(others)

    end(start(MAX_CONNECTIONS_PER_IP=1), clients=3)
    end(start(PROXY_PROTOCOL="v1", TRUSTED_PROXIES="loopback"))
    end(start(TLS_CERT=certificate[1][0], TLS_KEY=certificate[1][1]))


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 405, 415, 422, 429])
def test_the_client_gets_the_apps_own_refusal(app, start, status):
    edge = start()
    app.on(Reply(status, b"a page of the app"), event="open")
    assert answer(knock(edge)) == (status, "a page of the app")
    edge.wait_metric("handshakes_total", 1, result="app_refused")


@pytest.fixture
def nginx(tmp_path):
    """Starts nginx with `location / { … }` before a port."""
    fronts = []

    def begin(to, text):
        port = free_port()
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; pid {tmp_path}/nginx.pid; worker_processes 1; events {{ worker_connections 64; }}\n"
            f"http {{ access_log off; proxy_temp_path {tmp_path}/proxy; client_body_temp_path {tmp_path}/body;\n"
            f"fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n"
            f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{to}; {text} }} }} }}\n"
        )
        arguments = [program("nginx"), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
        fronts.append(Front(arguments, port))
        return port

    yield begin
    for front in fronts:
        front.stop()


UPGRADE = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Host $http_host;"


def test_a_proxy_that_drops_idle_connections_shows_as_1006_of_the_network(app, start, nginx):
    settings = UPGRADE + 'proxy_set_header Connection "upgrade"; proxy_read_timeout 1s;'
    edge = start(PING_INTERVAL="off")
    guest = Guest(nginx(edge.port, settings)).shake()
    assert guest.status == 101 and guest.rest() == b""
    line = eventually(lambda: next((e for e in edge.logs if e["message"] == "connection closed"), None), "the line")
    assert (int(line["code"]), line["initiator"]) == (1006, "network")
    assert 900 <= int(line["duration_ms"]) <= 3000
    # What helps: pings come in time, and keep it open for longer than that.
    edge = start(LB="nginx", LB_IDLE_TIMEOUT="1s")
    guest = Guest(nginx(edge.port, settings)).shake()
    for _ in range(4):
        assert guest.receive().opcode == PING
        guest.frame(PONG, b"")


def test_a_stream_of_the_app_that_a_proxy_compresses_is_late_unless_it_says_no_buffering(app, start, nginx):
    edge = start(SSE_PATHS="/events", PING_INTERVAL="off")
    port = nginx(edge.port, UPGRADE + "gzip on; gzip_types text/event-stream;")
    gate = threading.Event()

    def stream(more):
        def write(connection, request):
            connection.send(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{more}\r\ndata: 1\n\n".encode())
            gate.wait(10)
            return "close"

        return write

    app.on(path="/late", stream=stream(""))
    app.on(path="/prompt", stream=stream("X-Accel-Buffering: no\r\n"))
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "a"}), event="open")
    clients = {path: Client(port) for path in ("/late", "/prompt", "/events")}
    for path, client in clients.items():
        client.request(target=path, headers={"Accept": "text/event-stream", "Accept-Encoding": "gzip"})
    assert clients["/events"].head().status == 200
    clients["/events"].buffer.clear()
    API(edge).want(200, "POST", "/v1/channels/a/messages", b"x", PLAIN)
    assert clients["/events"].fill()
    assert clients["/prompt"].head().status == 200
    # Whatever nginx was going to send at once is there by then.
    clients["/late"].sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        clients["/late"].head()
    clients["/late"].sock.settimeout(10)
    gate.set()
    assert clients["/late"].head().status == 200


def test_what_the_app_sees_of_https_and_cookies(app, start):
    https = {"X-Forwarded-Proto": "https", "Cookie": "session=1"}
    seen = {}
    for name, settings in {
        "unnamed": {}, "named": {"TRUSTED_PROXIES": "loopback"}, "no cookies": {"FORWARD_HEADERS": "authorization"},
    }.items():  # fmt: skip
        app.reset_script()
        guest = enter(start(**settings), headers=https)
        guest.text("x")
        opened, message = app.wait_events(2)[:2]
        seen[name] = [opened.header("x-forwarded-proto"), opened.header("cookie"), message.header("cookie")]
    assert seen == {
        "unnamed": ["http", "session=1", "session=1"],
        "named": ["https", "session=1", "session=1"],
        "no cookies": ["http", "session=1", None],
    }


def test_the_same_event_twice(app, start):
    edge = start(WEBHOOK_RETRY_FOR="10s", WEBHOOK_TIMEOUT="200ms")
    app.on(Reply(204), event="message")
    app.on(Reply(raw=b""), event="message", times=1)
    enter(edge).text("x")
    first, second = app.wait_events(2, "message")
    assert first.header("ce-id") == second.header("ce-id") and first.body == second.body
    edge.wait_metric("webhook_retries_total", 1, event="message")


def test_only_answers_to_events_publish_with_the_header_of_events(app, start):
    edge = start()
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "room:1"}), event="open")
    app.on(Reply(200, b"by a page", {**PLAIN, "Sidesocket-Publish": "room:1"}), path="/page")
    excluding = {**PLAIN, "Sidesocket-Publish": "room:1", "Sidesocket-Exclude": "self"}
    app.on(Reply(200, b"by an event", excluding), event="message")
    speaker, listener = enter(edge), enter(edge)
    assert ask(edge, target="/page") == (200, "by a page")
    speaker.text("x")
    assert listener.message() == "by an event"
    speaker.barrier()


def test_messages_above_the_rate_are_late_and_not_lost(app, start):
    edge = start(MESSAGE_RATE="10/1s,burst=1")
    app.echo()
    guest = enter(edge)
    for number in range(5):
        guest.text(str(number))
    assert [guest.message() for _ in range(5)] == [*"01234"]
    assert edge.metric("limited_total", limit="message_rate", action="throttled") > 0


def test_the_counters_without_prometheus(app, start):
    edge = start()
    knock(edge, origin="http://evil.example")
    line = command(PAGE, "curl -s").replace("127.0.0.1:9090", f"127.0.0.1:{edge.control_port}")
    printed = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=10, check=True).stdout
    for name in ("handshakes_total", "http_refused_total", "limited_total"):
        assert re.search(rf"^sidesocket_{name}\{{.*origin.*\}} 1", printed, re.M), printed


# The pages


@pytest.mark.parametrize("name", PAGES)
def test_settings_and_metrics_that_a_page_names_exist(name):
    text = (ROOT / name).read_text()
    settings = set(re.findall(r"--\S+  SIDESOCKET_(\w+)", run("--help").stdout))
    named = set(re.findall(r"`(?:SIDESOCKET_)?([A-Z][A-Z_]*_[A-Z_]+)(?:=[^`]*)?`", text)) - {"ALLOWED_HOSTS"}
    assert named and {one for one in named if one.removesuffix("_FILE") not in settings} == set()
    metrics = set(re.findall(r"`((?:sidesocket|process)_\w+)", text))
    assert metrics <= set(re.findall(r"`((?:sidesocket|process)_\w+)`", (ROOT / "docs/metrics.md").read_text()))


def anchors(path):
    """The fragments of a page's headings, as the forges make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere():
    broken = []
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, fragment = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if "://" in link or target.exists() and (not fragment or fragment in anchors(target)):
                continue
            broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert len(pages) > len(PAGES) and broken == []


def test_the_pages_are_listed():
    for index, names in {"README.md": PAGES, "docs/README.md": ["troubleshooting.md", "upgrading.md"]}.items():
        text = (ROOT / index).read_text()
        assert all(f"]({name})" in text for name in names), index


def test_an_unknown_setting_of_a_later_version_is_named_by_check(app):
    lines = shlex.split(command("docs/upgrading.md", "./sidesocket-new"))
    assert lines[1] == "check"
    done = run("check", APP_URL=app.url, SETTING_OF_A_LATER_VERSION="1")
    assert done.returncode == 78 and "SIDESOCKET_SETTING_OF_A_LATER_VERSION" in done.stderr


def test_an_event_stream_that_resumes_at_another_process_begins_with_a_reset(start, app):
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "a"}), event="open")
    edge = start(SSE_PATHS="/events", HISTORY_SIZE=10)
    stream = EventStream(edge.port)
    API(edge).want(200, "POST", "/v1/channels/a/messages", b"x", PLAIN)
    assert stream.event() == ("message", "x")
    edge.terminate()
    stream.ends()
    assert 1000 <= stream.retry <= 10_000
    again = EventStream(start(SSE_PATHS="/events", HISTORY_SIZE=10).port, headers={"Last-Event-ID": stream.last_id})
    assert again.event()[0] == "reset"
