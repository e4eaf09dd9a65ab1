"""The page on local development: its commands are run as they are printed, and what it promises is tried."""

import shlex
import subprocess
import sys

import pytest
from support.app import Reply
from support.net import eventually
from support.pages import command, files
from support.process import ROOT, run

LOCAL = "docs/local-development.md"


@pytest.fixture
def local(app, sidesocket):
    """Starts Sidesocket with a command line of the page."""

    def start(begin, **more):
        flags = shlex.split(command(LOCAL, begin))[1:]
        given = dict(zip((flag[2:].upper().replace("-", "_") for flag in flags[::2]), flags[1::2], strict=True))
        assert given.pop("APP_URL") == "http://127.0.0.1:3000" and given.pop("LISTEN") == "127.0.0.1:8080"
        return sidesocket(app, **given, **more)

    return start


PLAIN = "sidesocket --app-url http://127.0.0.1:3000 --listen 127.0.0.1:8080 --log-format"
DIRECT = "sidesocket --app-url http://127.0.0.1:3000 --listen 127.0.0.1:8080 --allowed-origins"


def test_a_dev_server_in_front_needs_no_setting(local):
    edge = local(PLAIN)
    page = "http://localhost:5173"
    assert edge.try_websocket(host="localhost:5173", origin=page).answer.status == 101
    # What `changeOrigin` does.
    assert edge.try_websocket(host="127.0.0.1:8080", origin=page).answer.status == 403


def test_both_names_of_this_machine_can_be_listened_on():
    listen = "127.0.0.1:8080,[::1]:8080"
    assert f"`--listen '{listen}'`" in (ROOT / LOCAL).read_text()
    done = run("check", "--app-url", "http://127.0.0.1:3000", "--listen", listen)
    assert done.returncode == 0, done.stderr


def test_a_page_of_a_dev_server_that_connects_directly_is_named(local):
    assert local(PLAIN).try_websocket(host="localhost:8080", origin="http://localhost:5173").answer.status == 403
    edge = local(DIRECT)
    for origin, status in {
        "http://localhost:5173": 101,
        "http://localhost:8080": 101,
        "http://127.0.0.1:5173": 403,
        "http://127.0.0.1:8080": 403,
    }.items():
        assert edge.try_websocket(host="localhost:8080", origin=origin).answer.status == status, origin


def test_curl_shows_why_a_handshake_is_refused(local):
    edge = local(PLAIN)
    line = command(LOCAL, "curl -i -H 'Connection: Upgrade'").replace("127.0.0.1:8080", f"127.0.0.1:{edge.port}")
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=10, check=True)
    head, _, body = done.stdout.partition("\n\n")
    assert head.startswith("HTTP/1.1 403 ") and "Origin" in body


def test_an_event_by_hand(app):
    line = command(LOCAL, "curl -i -H 'ce-type").replace("127.0.0.1:3000", app.url.removeprefix("http://"))
    subprocess.run(["sh", "-c", line], capture_output=True, timeout=10, check=True)
    (event,) = app.wait_events(1, "message")
    assert (event.body, event.header("content-type")) == (b"hello", "text/plain")


def test_a_client_with_a_cookie(app, local):
    app.echo()
    text = files(LOCAL)["client.py"].replace("127.0.0.1:8080", f"127.0.0.1:{local(PLAIN).port}")
    text = text.replace("sessionid=PASTE_HERE", "sessionid=1")
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert app.wait_events(1, "open")[0].header("cookie") == "sessionid=1"


def test_an_event_is_logged_at_debug_without_its_body(app, local):
    app.echo()
    edge = local(PLAIN)
    client = edge.websocket("/ws?room=1")
    client.text("secret words")
    client.message()
    line = eventually(
        lambda: next((line for line in edge.output.splitlines() if "message" in line and "/ws" in line), None),
        lambda: f"a line for the event in:\n{edge.output}",
    )
    assert "200" in line and "duration" in line
    assert "secret words" not in edge.output


def test_a_reload_of_the_app_and_a_bug_in_it_leave_sockets_open(app, local):
    text = (ROOT / LOCAL).read_text()
    assert "`--webhook-timeout 1h`" in text and "`--webhook-failure keep`" in text
    edge = local(PLAIN, WEBHOOK_TIMEOUT="1h", WEBHOOK_FAILURE="keep", WEBHOOK_RETRY_FOR="30s")
    app.echo()
    client = edge.websocket()
    app.on(Reply(500), event="message", times=1)
    client.text("a bug")
    client.text("after it")
    assert client.message() == "after it"
    app.stop_listening()
    client.text("while it restarts")
    eventually(lambda: edge.metric("webhook_retries_total", event="message"), "the message is tried again")
    app.listen()
    assert client.message() == "while it restarts"
