"""SSE_PATHS: streams of Server-Sent Events are sessions too."""

import base64
import json
import shutil
import subprocess
import threading
import time

import pytest
from support.api import API
from support.app import Reply
from support.browser import browser, page
from support.net import PATIENCE, eventually, free_port
from support.process import ROOT, run
from support.servers import Server
from support.sse import EventStream
from support.tokens import SECRET, bearer, mint

TEXT = {"Content-Type": "text/plain"}


@pytest.fixture
def make_edge(app, sidesocket):
    """Starts a sidecar whose app lets streams join the channels of their `join` parameter."""

    def start(**settings):
        def admit(request):
            joined = request.target.partition("join=")[2]
            return Reply(204, headers={"Sidesocket-Subscribe": joined} if joined else {})

        app.on(admit, event="open")
        return sidesocket(app, SSE_PATHS="/events,/live/*", **settings)

    return start


@pytest.mark.parametrize(
    "accept", ["text/event-streamx", "text/event-stream;q=0", "text/event-stream; q=0.000", "text/plain"]
)
def test_who_does_not_accept_events_gets_what_the_app_answers(app, make_edge, accept):
    edge = make_edge()
    app.on(Reply(200, "a page", TEXT), path="/events")
    client = edge.client()
    client.request(target="/events", headers=[("Accept", accept)])
    assert client.response().text == "a page"


def test_a_page_of_another_site_gets_no_stream(app, make_edge):
    edge = make_edge()
    for site in ("cross-site", "same-site"):
        stream = EventStream(edge.port, "/events", {"Cookie": "a=1", "Sec-Fetch-Site": site})
        assert stream.status == 403
    assert app.events("open") == []
    assert edge.metric("handshakes_total", result="origin") == 2
    for site in ("same-origin", "none"):
        assert EventStream(edge.port, "/events", {"Sec-Fetch-Site": site}).status == 200


@pytest.mark.skipif(browser() is None, reason="chromium is not installed")
def test_chromium_does_not_open_a_stream_for_another_site(app, make_edge, tmp_path):
    # Without CORS the browser sends the cookie and no Origin; localhost and 127.0.0.1 are two sites.
    edge = make_edge()
    script = """
        <p id=out></p><script>
        const ask = url => fetch(url, { mode: "no-cors", credentials: "include", headers: { accept: "text/event-stream" } })
        const foreign = `http://127.0.0.1:${location.port}/events`
        ask(foreign).catch(() => {}).then(() => ask("/events")).then(() => { out.textContent = "both answered" })
        </script>"""
    app.on(Reply(200, script, {"Content-Type": "text/html"}), path="/page")
    with page(f"http://localhost:{edge.port}/page", tmp_path) as shows:
        shows("out", "both answered")
    assert edge.metric("handshakes_total", result="origin") == 1
    assert [event.header("host") for event in app.events("open")] == [f"localhost:{edge.port}"]


def publish(edge, channel, body, **headers):
    headers = {"Content-Type": "text/plain", **headers}
    return API(edge).want(200, "POST", f"/v1/channels/{channel}/messages", body, headers).json


def test_a_stream_is_a_session_with_open_and_close(app, make_edge):
    edge = make_edge()
    stream = EventStream(edge.port, "/events?join=news", {"Cookie": "a=1", "User-Agent": "x"})
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["cache-control"] == "no-store" and stream.headers["x-accel-buffering"] == "no"
    opening = app.wait_events(1, "open")[0]
    assert opening.header("ce-transport") == "sse" and opening.target == "/events?join=news"
    assert opening.header("cookie") == "a=1" and opening.header("user-agent") == "x" and opening.body == b""
    assert edge.metric("connections") == 1
    assert publish(edge, "news", "hello")["queued"] == 1
    assert stream.event() == ("message", "hello")
    stream.close()
    close = app.wait_events(1, "close")[0]
    assert close.header("ce-transport") == "sse" and close.sequence == 2
    report = json.loads(close.body)
    assert (report["code"], report["initiator"], report["messagesOut"]) == (1006, "network", 1)
    edge.wait_metric("connections", 0)
    edge.wait_metric("subscriptions", 0)


@pytest.mark.parametrize(
    ("body", "data"),
    [("", ""), ("a", "a"), ("a\nb", "a\nb"), ("a\r\nb\rc\n", "a\nb\nc\n"), ("\n\n", "\n\n"), (" grüße: x", " grüße: x"),
     ("id: 7\nevent: x\n\ndata: y", "id: 7\nevent: x\n\ndata: y")],
)  # fmt: skip
def test_text_keeps_its_lines_and_cannot_forge_fields(make_edge, body, data):
    edge = make_edge()
    stream = EventStream(edge.port, "/events?join=c")
    publish(edge, "c", body.encode())
    assert stream.event() == ("message", data)


def test_binary_is_base64_with_a_type_of_its_own_and_the_app_names_types(app, make_edge):
    edge = make_edge()
    stream = EventStream(edge.port, "/events?join=c")
    publish(edge, "c", b"\x00\xff", **{"Content-Type": "application/octet-stream"})
    assert stream.event() == ("binary", base64.b64encode(b"\x00\xff").decode())
    publish(edge, "c", "7", **{"Sidesocket-Event": "price"})
    assert stream.event() == ("price", "7")
    app.on(Reply(200, "8", {**TEXT, "Sidesocket-Publish": "c", "Sidesocket-Event": "other"}), event="message")
    edge.websocket().text("x")
    assert stream.event() == ("other", "8")
    bad = {"Sidesocket-Event": "x" * 129}
    API(edge).want(400, "POST", "/v1/channels/c/messages", "x", {**TEXT, **bad})


def test_what_the_app_sends_to_the_stream_itself_arrives(app, make_edge):
    edge = make_edge()
    app.on(Reply(200, "welcome", TEXT), event="open")
    stream = EventStream(edge.port)
    assert stream.event() == ("message", "welcome")
    one = app.wait_events(1, "open")[0].header("ce-connectionid")
    API(edge).want(200, "POST", f"/v1/connections/{one}/messages", "you", TEXT)
    assert stream.event() == ("message", "you")
    API(edge).want(204, "DELETE", f"/v1/connections/{one}")
    stream.ends()
    assert json.loads(app.wait_events(1, "close")[0].body)["code"] == 1008


def test_only_a_get_that_asks_for_events_on_its_paths_becomes_a_stream(app, make_edge):
    edge = make_edge()
    app.on(Reply(200, "page", TEXT), path="/events")
    app.on(Reply(200, "page", TEXT), path="/other")
    with edge.client() as client:
        client.request(target="/events", headers={"Accept": "text/html"})
        assert client.response().text == "page"
    other = EventStream(edge.port, "/other")
    assert other.status == 200 and other.headers["content-type"] == "text/plain"
    assert app.events("open") == []
    assert EventStream(edge.port, "/live/x", {"Accept": "text/html, text/event-stream"}).status == 200
    app.wait_events(1, "open")


def test_off_by_default(app, edge):
    app.on(Reply(200, "the app's own stream", {"Content-Type": "text/event-stream"}), path="/events")
    EventStream(edge.port)
    assert app.events("open") == []


def test_an_app_that_refuses_answers_as_it_likes(app, make_edge):
    edge = make_edge()
    app.on(Reply(403, "no", TEXT), event="open")
    stream = EventStream(edge.port)
    assert stream.status == 403
    assert edge.metric("handshakes_total", result="app_refused") == 1


def test_pages_of_other_origins_are_refused_and_allowed_ones_may_read(make_edge):
    edge = make_edge(ALLOWED_ORIGINS="same-host,https://shop.example")
    assert EventStream(edge.port, headers={"Origin": "https://evil.example"}).status == 403
    allowed = EventStream(edge.port, headers={"Origin": "https://shop.example"})
    assert allowed.status == 200
    assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
    assert allowed.headers["access-control-allow-credentials"] == "true" and allowed.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in EventStream(edge.port).headers


def test_tokens_limits_and_bans_hold_for_streams(app, make_edge):
    edge = make_edge(
        AUTH="required", JWT_KEY=SECRET, JWT_ALGORITHMS="HS256", JWT_SOURCES="authorization,message",
        MAX_CONNECTIONS_PER_IP=2,
    )  # fmt: skip
    assert EventStream(edge.port).status == 401
    streams = [EventStream(edge.port, headers=bearer(mint())) for _ in range(2)]
    assert EventStream(edge.port, headers=bearer(mint())).status == 429
    assert app.wait_events(2, "open")[0].header("ce-userid") == "alice"
    API(edge).ban("ip", "127.0.0.1")
    for stream in streams:
        stream.ends()
    assert EventStream(edge.port, headers=bearer(mint())).status == 403


def test_comments_keep_it_alive(make_edge):
    edge = make_edge(PING_INTERVAL="100ms")
    stream = EventStream(edge.port, "/events?join=c")
    eventually(lambda: edge.metric("pings_sent_total") >= 3, "some heartbeats")
    publish(edge, "c", "x")
    assert stream.event() == ("message", "x") and stream.comments >= 3


def test_an_old_stream_is_closed_also_when_its_client_stays(make_edge):
    edge = make_edge(MAX_CONNECTION_AGE="200ms")
    stream = EventStream(edge.port)
    stream.ends()

    def is_reset():
        try:
            stream.sock.send(b"x")
        except OSError:
            return True
        return False

    eventually(is_reset, "the end of the connection")


def test_a_client_that_goes_is_noticed_and_one_that_ends_its_half_too(app, make_edge):
    edge = make_edge()
    for _ in range(2):
        EventStream(edge.port).close()
    half = EventStream(edge.port)
    half.sock.shutdown(1)
    app.wait_events(3, "close")
    edge.wait_metric("connections", 0)


def test_a_drain_says_when_to_come_again(make_edge):
    edge = make_edge(DRAIN_TIMEOUT="3s")
    streams = [EventStream(edge.port) for _ in range(5)]
    edge.terminate()
    for stream in streams:
        stream.ends()
    assert all(1000 <= stream.retry <= 10_000 for stream in streams)
    assert edge.wait_exit() == 0


@pytest.mark.parametrize("action", ["close", "drop-newest", "drop-oldest"])
@pytest.mark.timeout(180)
def test_a_stream_that_does_not_read_holds_up_nobody(app, make_edge, action):
    edge = make_edge(SLOW_CLIENT_ACTION=action, MAX_SEND_BUFFER_BYTES="64KiB")
    slow = EventStream(edge.port, "/events?join=c", receive_buffer=4096)
    quick = EventStream(edge.port, "/events?join=c")
    text = "x" * 30_000
    dropped = 0
    for n in range(400):
        answer = publish(edge, "c", f"{n} {text}")
        assert quick.event() == ("message", f"{n} {text}")
        dropped += answer["dropped"]
    if action == "close":
        assert json.loads(app.wait_events(1, "close")[0].body)["code"] == 1008
    else:
        assert edge.metric("slow_client_total", action=action) > 0
    assert edge.metric("send_buffer_bytes") < 200 << 10
    slow.close()


@pytest.mark.timeout(180)
def test_a_publisher_can_wait_until_a_slow_stream_has_read(make_edge):
    edge = make_edge(MAX_SEND_BUFFER_BYTES="64MiB")
    slow = EventStream(edge.port, "/events?join=c", receive_buffer=4096)
    while edge.metric("send_buffer_bytes") < 4 << 20:
        publish(edge, "c", "x" * 900_000)
    queued, answers = edge.metric("deliveries_total", result="queued"), []
    ask = ("POST", "/v1/channels/c/messages", "last", TEXT)
    thread = threading.Thread(target=lambda: answers.append(API(edge).ask(*ask, wait="written")))
    thread.start()
    edge.wait_metric("deliveries_total", queued + 1, result="queued")
    assert answers == [], "answered before it was written"
    while slow.event()[1] != "last":
        pass
    thread.join(PATIENCE)
    assert (answers[0].json["queued"], answers[0].json["dropped"]) == (1, 0)


# Resume


def test_a_stream_goes_on_where_it_was(make_edge):
    edge = make_edge(HISTORY_SIZE=100)
    stream = EventStream(edge.port, "/events?join=a,b")
    for n in range(4):
        publish(edge, "ab"[n % 2], str(n))
    assert [stream.event()[1] for _ in range(3)] == ["0", "1", "2"]
    seen = stream.last_id
    stream.close()
    publish(edge, "a", "4", **{"Sidesocket-Event": "e"})
    publish(edge, "c", "not for it")
    again = EventStream(edge.port, "/events?join=a,b", {"Last-Event-ID": seen})
    assert [again.event() for _ in range(2)] == [("message", "3"), ("e", "4")]
    publish(edge, "b", "5")
    assert again.event() == ("message", "5")
    last = EventStream(edge.port, "/events?join=a,b", {"Last-Event-ID": again.last_id})
    publish(edge, "a", "6")
    assert last.event() == again.event() == ("message", "6")


def test_more_than_the_send_buffer_takes_comes_as_a_reset_and_the_newest(app, make_edge):
    edge = make_edge(HISTORY_SIZE=200, MAX_SEND_BUFFER_BYTES="64KiB")
    stream = EventStream(edge.port, "/events?join=a")
    publish(edge, "a", "first")
    assert stream.event()[1] == "first"
    for n in range(100):
        publish(edge, "a", f"{n} {'x' * 10_000}")
        stream.event()
    again = EventStream(edge.port, "/events?join=a", {"Last-Event-ID": stream.last_id.split("-")[0] + "-1"})
    assert again.event() == ("reset", "")
    rest = [again.event()[1].split(" ")[0]]
    while rest[-1] != "99":
        rest.append(again.event()[1].split(" ")[0])
    assert rest == [str(n) for n in range(100 - len(rest), 100)] and len(rest) >= 3
    publish(edge, "a", "live")
    assert again.event()[1] == "live"
    assert edge.metric("connections") == 2


def test_who_was_left_out_of_a_message_does_not_get_it_when_the_stream_goes_on(app, make_edge):
    edge = make_edge(HISTORY_SIZE=100)
    stream = EventStream(edge.port, "/events?join=a")
    me = app.wait_events(1, "open")[0].header("ce-connectionid")
    other = EventStream(edge.port, "/events?join=a")
    publish(edge, "a", "first")
    assert stream.event() == other.event() == ("message", "first")
    assert me not in stream.last_id and stream.last_id != other.last_id
    publish(edge, "a", "mine", **{"Sidesocket-Exclude": me})
    stream.close()
    app.wait_events(1, "close")
    publish(edge, "a", "mine too, sent while the stream was away", **{"Sidesocket-Exclude": me})
    publish(edge, "a", "for all")
    again = EventStream(edge.port, "/events?join=a", {"Last-Event-ID": stream.last_id})
    assert again.event() == ("message", "for all")
    # The page may have sent this before it knew its new connection.
    publish(edge, "a", "mine as well", **{"Sidesocket-Exclude": me})
    publish(edge, "a", "last")
    assert again.event() == ("message", "last")
    assert [other.event()[1] for _ in range(5)] == [
        "mine", "mine too, sent while the stream was away", "for all", "mine as well", "last",
    ]  # fmt: skip
    # Others that come again get it.
    third = EventStream(edge.port, "/events?join=a", {"Last-Event-ID": stream.last_id.rpartition("-")[0]})
    assert third.event() == ("message", "mine")


def test_a_stream_that_went_on_and_got_no_event_is_known_all_the_same(app, make_edge):
    edge = make_edge(HISTORY_SIZE=100)
    stream = EventStream(edge.port, "/events?join=a")
    publish(edge, "a", "first")
    assert stream.event() == ("message", "first")
    quiet = EventStream(edge.port, "/events?join=a", {"Last-Event-ID": stream.last_id})
    me = app.wait_events(2, "open")[1].header("ce-connectionid")
    API(edge).want(200, "POST", f"/v1/connections/{me}/messages", "only for it", TEXT)
    assert quiet.event() == ("message", "only for it")
    assert quiet.last_id and quiet.last_id != stream.last_id
    publish(edge, "a", "mine", **{"Sidesocket-Exclude": me})
    publish(edge, "a", "for all")
    again = EventStream(edge.port, "/events?join=a", {"Last-Event-ID": quiet.last_id})
    assert again.event() == ("message", "for all")


def test_idle_channels_with_a_history_cost_nothing_and_hold_up_nobody(make_edge):
    edge = make_edge(HISTORY_SIZE=1)
    for start in range(0, 50_000, 1000):
        items = [{"channel": f"c{n}", "text": "x"} for n in range(start, start + 1000)]
        API(edge).want(200, "POST", "/v1/messages", json.dumps(items))
    before = edge.cpu_seconds
    started = time.monotonic()
    while time.monotonic() - started < 2:
        time.sleep(0.5)
    used = (edge.cpu_seconds - before) / (time.monotonic() - started)
    # Each look at all of them every 30 ms took a twentieth of a core and more, in a debug build far more.
    assert used < 0.03


@pytest.mark.parametrize("how", ["no history", "fell out", "forged", "another process", "too far"])
def test_a_gap_is_told_with_a_reset(make_edge, how):
    edge = make_edge(HISTORY_SIZE=0 if how == "no history" else 2)
    stream = EventStream(edge.port, "/events?join=a")
    publish(edge, "a", "0")
    assert stream.event()[1] == "0"
    seen = stream.last_id
    for n in range(1, 5):
        publish(edge, "a", str(n))
    if how == "forged":
        seen = "../../etc/passwd\t%00"
    elif how == "another process":
        other = make_edge(HISTORY_SIZE=2)
        publish(other, "a", "x")
        edge = other
    elif how == "too far":
        seen = seen.split("-")[0] + "-zzzzz"
    again = EventStream(edge.port, "/events?join=a", {"Last-Event-ID": seen})
    assert again.event() == ("reset", "")
    publish(edge, "a", "new")
    while (event := again.event())[1] != "new":
        assert event[0] == "message"


def test_a_channel_that_vanished_in_between_is_a_gap(make_edge):
    edge = make_edge()
    stream = EventStream(edge.port, "/events?join=a,b")
    publish(edge, "a", "0")
    assert stream.event()[1] == "0"
    seen = stream.last_id
    quiet = EventStream(edge.port, "/events?join=a,b", {"Last-Event-ID": seen})
    stream.close()
    quiet.close()
    edge.wait_metric("channels", 0)
    publish(edge, "b", "1")
    assert EventStream(edge.port, "/events?join=b", {"Last-Event-ID": seen}).event() == ("reset", "")


@pytest.mark.parametrize("value", ["events", "/a*b", "*", ""])
def test_a_wrong_path_is_an_error_at_the_start(value):
    done = run("check", APP_URL="http://127.0.0.1:1", SSE_PATHS=value)
    assert done.returncode == 78 and "SIDESOCKET_SSE_PATHS" in done.stdout + done.stderr


def test_curl_reads_it(make_edge):
    if not shutil.which("curl"):
        pytest.skip("no curl")
    edge = make_edge()
    url = f"http://127.0.0.1:{edge.port}/events?join=c"
    curl = subprocess.Popen(["curl", "-sN", "-H", "Accept: text/event-stream", url], stdout=subprocess.PIPE)
    try:
        eventually(lambda: edge.metric("subscriptions") == 1, "curl is there")
        publish(edge, "c", "hello")
        assert curl.stdout.readline() == b":\n"
        lines = [curl.stdout.readline() for _ in range(4)]
        assert b"data: hello\n" in lines
    finally:
        curl.kill()
        curl.wait()


# The example

DASHBOARD = ROOT / "examples/dashboard"


@pytest.fixture
def dashboard(sidesocket, tmp_path):
    """The dashboard's app, with a sidecar in front as its text says."""
    with Server(tmp_path, free_port()) as app:
        app.run("python3", str(DASHBOARD / "app.py"), PORT=str(app.port))
        app.wait_ready()
        yield sidesocket(APP_URL=app.url, SSE_PATHS="/events", HISTORY_SIZE=100)


def test_the_dashboard_shows_what_is_published(dashboard):
    stream = EventStream(dashboard.port, "/events")
    publish(dashboard, "visitors", "42")
    assert stream.event() == ("message", "42")


@pytest.mark.skipif(not browser(), reason="chromium is missing")
def test_the_dashboard_in_a_browser(dashboard, tmp_path):
    with page(f"http://127.0.0.1:{dashboard.port}/", tmp_path) as shows:
        shows("state", "live")
        publish(dashboard, "visitors", "4711")
        assert shows("visitors", "4711") == "4711"
