"""The recipes and the README's example, run as they are printed."""

import asyncio
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import quote, unquote, urlencode

import pytest
import websockets
from support.api import API
from support.app import Reply
from support.browser import browser, page
from support.net import PATIENCE, eventually, free_port
from support.pages import BLOCK, blocks, command, files, place
from support.process import ROOT, run
from support.recipes import (
    FORM,
    HOST,
    JSON,
    Recipe,
    cookies,
    django_headers,
    django_login,
    rails_headers,
    start_django,
    start_express,
    start_express_with_sessions,
    start_fastapi,
    start_flask,
    start_flask_chat,
    start_fpm,
    start_php,
    start_php_with_sessions,
    start_rails,
)
from support.ws import CLOSE, close_payload


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    """Starts each recipe once: `apps(start_django)`."""
    started = {}

    def get(start):
        if start not in started:
            started[start] = start(tmp_path_factory.mktemp(start.__name__))
        return started[start]

    yield get
    for app in started.values():
        app.stop()


# How to start it, the path of events, the headers of somebody who is logged in, the path and type of an order.
APPS = {
    "django": (start_django, "/ws", django_headers, "/orders", FORM),
    "flask": (start_flask, "/ws", None, "/orders", FORM),
    "fastapi": (start_fastapi, "/ws", None, "/orders", JSON),
    "rails": (start_rails, "/ws", rails_headers, "/orders", FORM),
    "express": (start_express, "/ws", None, "/orders", JSON),
    "php": (start_php, "/ws.php", None, "/orders.php", FORM),
    "php-fpm": (start_fpm, "/ws.php", None, "/orders.php", FORM),
}


@pytest.fixture(params=APPS)
def recipe(request, apps):
    """(app, path of events, headers of a logged in client, path of orders, their type)."""
    start, path, login, orders, kind = APPS[request.param]
    app = apps(start)
    mark = len(app.output)
    yield app, path, login(app) if login else {}, orders, kind
    request.node.add_report_section("teardown", "app", app.output[mark:][-8000:])
    app.edge.check_alive()
    app.check_alive()


# All of them


def test_text_is_answered_with_text_and_binary_with_binary(recipe):
    app, path, headers, _, _ = recipe
    closed = app.edge.metric("webhook_requests_total", event="close", outcome="2xx")
    client = app.enter(path, headers.get("Cookie"))
    for text in ("hello", "grüße 🎉", "a\r\nb\x00", "x" * 20_000):
        client.text(text)
        assert client.message() == f"You said: {text}"
    for data in (b"\x00\xff\r\n\x80", bytes(range(256)) * 100):
        client.binary(data)
        assert client.message() == data
    # Behind nginx, which may end the connection in its own way.
    client.frame(CLOSE, close_payload(1000))
    assert client.receive().code == 1000
    app.edge.wait_metric("webhook_requests_total", closed + 1, event="close", outcome="2xx")


def test_who_is_not_logged_in_or_no_page_of_ours_does_not_get_in(recipe):
    app, path, headers, _, _ = recipe
    assert app.knock(path, headers.get("Cookie"), origin="https://evil.example").answer.status == 403
    if headers:
        assert app.knock(path).answer.status == 401


def test_what_is_no_event_is_refused(recipe):
    """A form of any page can post here, with the cookies of its visitor: the route has no other CSRF check."""
    app, path, headers, _, _ = recipe
    cookie = {"Cookie": headers["Cookie"]} if headers else {}
    answer = app.ask("POST", path, {**cookie, "Content-Type": "text/plain"}, b"hello")
    assert answer.status == 400 and "You said" not in answer.text
    for kind in ("sidesocket.message", "sidesocket.open"):
        assert app.ask("POST", path, {**cookie, "ce-type": kind}, b"hello").status == 403
    assert app.ask("POST", path, {**cookie, "ce-type": "com.example.other"}, b"hello").status == 400


def test_an_order_is_told_to_everybody_and_the_header_stays_here(recipe):
    app, path, headers, orders, kind = recipe
    clients = [app.enter(path, headers.get("Cookie")) for _ in range(2)]
    item = 'Käse, 2 "Stück" 50% 🧀'
    body = json.dumps({"item": item}) if kind is JSON else urlencode({"item": item})
    answer = app.ask("POST", orders, {**headers, **kind}, body)
    assert answer.status == 201, answer.text
    assert not [name for name in answer.headers if name.lower().startswith("sidesocket-")]
    order = json.loads(answer.text)
    assert order["item"] == item
    for client in clients:
        heard = client.message()
        assert isinstance(heard, str) and json.loads(heard) == order
    # Absolute addresses and CSRF checks need the scheme and host that the browser used.
    if "php" not in orders:
        assert answer.headers["Location"] == f"https://{HOST}/orders/{order['id']}"


@pytest.mark.parametrize("start", [start_flask, start_fastapi, start_rails, start_express, start_fpm])
def test_the_app_knows_the_client_and_the_scheme(apps, start):
    """As `request.remote_addr` or what the framework calls it, not only in a header."""
    app = apps(start)
    path = "/who.php" if start is start_fpm else "/who"
    assert app.ask("GET", path, {"X-Forwarded-For": "203.0.113.7"}).text.strip('"') == "https 203.0.113.7"


SESSIONS = {
    "express": (start_express_with_sessions, "/ws", lambda app: "session=alice"),
    "php": (start_php_with_sessions, "/ws.php", lambda app: cookies(app.ask("GET", "/login.php"))),
}


@pytest.mark.parametrize("name", SESSIONS)
def test_the_lines_for_a_session_let_in_its_user(apps, name):
    start, path, login = SESSIONS[name]
    app = apps(start)
    assert app.knock(path).answer.status == 401
    client = app.enter(path, login(app))
    (connection,) = API(app.edge).connections()
    assert (connection["user"], connection["channels"]) == ("alice", ["orders"])
    client.text("hello")
    assert client.message() == "You said: hello"


# The chats


def flask_login(app, name="alice"):
    password = {"alice": "looking-glass", "bob": "builder"}[name]
    done = app.ask("POST", "/login", FORM, urlencode({"user": name, "password": password}))
    assert done.status == 302, done.text
    return cookies(done)


CHATS = {
    "django": (start_django, "/chat/ws", django_login, "/chat/{}/"),
    "flask": (start_flask_chat, "/ws", flask_login, "/rooms/{}"),
}


@pytest.fixture(params=CHATS)
def chat(request, apps):
    """(app, path of the WebSocket, login, path of a room's page)."""
    start, *rest = CHATS[request.param]
    app = apps(start)
    mark = len(app.output)
    yield app, *rest
    request.node.add_report_section("teardown", "app", app.output[mark:][-8000:])
    app.edge.check_alive()


def test_a_room_hears_its_members(chat):
    app, path, login, room = chat
    alice, bob = login(app, "alice"), login(app, "bob")
    assert app.ask("GET", room.format("kitchen"), {"Cookie": bob}).status == 200
    one, two = (app.enter(f"{path}?room=kitchen", who) for who in (alice, bob))
    below = app.enter(f"{path}?room=cellar", alice)
    one.text('grüße "alle" 🎉')
    said = {"from": "alice", "text": 'grüße "alle" 🎉'}
    assert json.loads(one.message()) == json.loads(two.message()) == said
    two.text("hello")
    assert json.loads(one.message()) == {"from": "bob", "text": "hello"}
    below.text("echo?")
    assert json.loads(below.message()) == {"from": "alice", "text": "echo?"}
    two.binary(b"\x00\xff")
    two.expect_close(1003, skip_messages=True)
    users = {entry["user"] for entry in API(app.edge).connections(channel=channel_of(app, "kitchen"))}
    assert len(users) == 1 and None not in users


def channel_of(app, slug):
    """The channel of a room: Flask's has the name in it, Django's the id."""
    return f"room:{slug}" if "chat:app" in app.processes[0].args else "room:1"


@pytest.mark.parametrize("room", ["cellar", "attic", "", "kitchen,cellar", 'kitchen","room:cellar'])
def test_nobody_enters_a_room_without_being_a_member(chat, room):
    app, path, login, _ = chat
    assert app.knock(f"{path}?room={quote(room)}", login(app, "bob")).answer.status == 403
    assert app.knock(f"{path}?room=kitchen").answer.status == 401
    assert app.knock(path, login(app, "bob")).answer.status == 403


def test_a_member_who_logs_out_is_disconnected_with_the_next_message(apps):
    """In Django, whose sessions are on the server."""
    app = apps(start_django)
    cookie = django_login(app, "bob")
    client = app.enter("/chat/ws?room=kitchen", cookie)
    forget = "from django.contrib.sessions.models import Session; Session.objects.all().delete()"
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": str(app.folder)}
    setup = f"import django; django.setup(); {forget}"
    subprocess.run([sys.executable, "-c", setup], cwd=app.folder, env=env, check=True)
    client.text("still here?")
    client.expect_close(1008)


@pytest.mark.skipif(not browser(), reason="chromium is missing")
@pytest.mark.parametrize("name", CHATS)
def test_the_page_of_a_room_in_a_browser(apps, tmp_path, name):
    start, _, _, room = CHATS[name]
    app = apps(start)
    login, user, password = {
        "django": (f"/accounts/login/?next={room.format('kitchen')}", "username", "alice"),
        "flask": ("/login", "user", "looking-glass"),
    }[name]
    with page(f"http://127.0.0.1:{app.edge.port}{login}", tmp_path) as shows:
        in_the_page(
            tmp_path,
            "document.forms[0]?.password",
            f"const form = document.forms[0]; form.{user}.value = 'alice';"
            f"form.password.value = '{password}'; form.submit()",
        )
        in_the_page(
            tmp_path,
            "document.getElementById('said') && socket.readyState === WebSocket.OPEN",
            "document.getElementById('text').value = 'hello'; document.querySelector('button').click()",
        )
        assert "alice: hello" in shows("said", "alice: hello")


def in_the_page(folder, ready, script):
    """Runs a script in the tab of `support.browser.page` once `ready` is true there."""
    port = int((folder / "DevToolsActivePort").read_text().split()[0])

    def tab():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
            return next((one["webSocketDebuggerUrl"] for one in json.load(answer) if one["type"] == "page"), None)

    async def ask(expression):
        async with websockets.connect(eventually(tab, "chromium has a page"), max_size=None) as line:
            question = {"expression": expression, "returnByValue": True}
            await line.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": question}))
            while (answer := json.loads(await line.recv())).get("id") != 1:
                pass
            return answer.get("result", {}).get("result", {}).get("value")

    # In one go, so that no other page comes in between.
    guarded = f"document.readyState === 'complete' && ({ready}) ? (() => {{ {script} }})() || true : false"
    eventually(lambda: asyncio.run(asyncio.wait_for(ask(guarded), PATIENCE)), ready, interval=0.05)


def test_the_tests_that_the_page_of_django_prints(apps):
    app = apps(start_django)
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "shop.settings"}
    line = [sys.executable, "-m", "django", "test", "shop"]
    done = subprocess.run(line, cwd=app.folder, env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "Ran 2 tests" in done.stderr, done.stderr


# From outside of a request


@pytest.fixture(scope="module")
def orders(apps):
    """A client that hears the channel `orders`, and the app it is in."""
    app = apps(start_fastapi)
    return app, app.enter()


@pytest.mark.parametrize("begin, heard", [("curl", '{"id":7}'), ("0 9 * * *", "Good morning")])
def test_the_commands_of_jobs_and_cron(orders, begin, heard):
    app, client = orders
    line = command("docs/recipes.md", begin).removeprefix("0 9 * * * ")
    assert "127.0.0.1:9090" in line and "%" not in line
    line = line.replace("127.0.0.1:9090", f"127.0.0.1:{app.edge.control_port}")
    subprocess.run(["sh", "-c", line], check=True, timeout=10, stdout=subprocess.DEVNULL)
    assert client.message() == heard


def test_a_job_in_python_publishes_once_for_a_key(orders):
    app, client = orders
    (text,) = (text for path, text in files("docs/recipes.md").items() if path == "push.py")
    job = {}
    exec(text.replace("127.0.0.1:9090", f"127.0.0.1:{app.edge.control_port}"), job)
    for key in ("a", "a", "b"):
        assert job["publish"]("orders", {"ü": 1}, key)["matched"] >= 1
    job["publish"]("orders", "last")
    assert [json.loads(client.message()) for _ in range(3)] == [{"ü": 1}, {"ü": 1}, "last"]
    assert job["publish"]("room:1/?#%", {})["channel"] == "room:1/?#%"
    with pytest.raises(urllib.error.HTTPError):
        job["publish"]("not a name", {})


def quoted(name):
    module = {}
    exec(files("docs/recipes.md")["names.py"], module)
    return module["quoted"](name)


@pytest.mark.parametrize("name", ["room:1", "a;b=c", "back\\slash", "(1)", "room:{1}", "%2C", "x" * 200])
def test_a_quoted_name_is_one_channel(shared, name):
    app, edge = shared
    app.on(Reply(204, headers={"Sidesocket-Subscribe": f'{quoted(name)}, "room:2"'}), event="open")
    socket = edge.websocket()
    (connection,) = API(edge).connections()
    socket.close()
    assert sorted(connection["channels"]) == sorted([name, "room:2"])


@pytest.mark.parametrize("name", ["1,room:2", '1", "room:2', "1 2", "", "ü", "x" * 201])
def test_a_name_from_input_does_not_become_two_channels(shared, name):
    """Whether a name may have a comma in it is not the question here."""
    app, edge = shared
    value = quoted(name).encode().decode("latin-1")
    app.on(Reply(204, headers={"Sidesocket-Subscribe": value}), event="open")
    client = edge.try_websocket()
    channels = [one["channels"] for one in API(edge).connections()]
    assert (client.answer.status == 502 and channels == []) or channels == [[name]]


# The pages


PAGES = ["docs/recipes.md", "docs/local-development.md"]
PAGES += [f"docs/recipes/{one.name}" for one in sorted((ROOT / "docs/recipes").glob("*.md"))]


@pytest.mark.parametrize("name", PAGES)
def test_the_printed_settings_are_good(name):
    lines = [line for _, text in blocks(name) for line in text.splitlines() if line.startswith("sidesocket ")]
    for line in lines:
        done = run("check", *shlex.split(line)[1:])
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [*PAGES, "README.md", "docs/README.md", "examples/README.md"])
def test_the_links_of_a_page_lead_somewhere(name):
    text = BLOCK.sub("", (ROOT / name).read_text())
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        there = ((ROOT / name).parent / unquote(path)).resolve() if path else ROOT / name
        assert there.exists(), f"{name}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", BLOCK.sub("", there.read_text()), re.M)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, f"{name}: {target}"


# By reading: what no package is here for


@pytest.mark.skipif(not shutil.which("php"), reason="php is missing")
def test_laravel_is_php(tmp_path):
    place(tmp_path, files("docs/recipes/laravel.md"))
    found = list(tmp_path.rglob("*.php"))
    assert len(found) >= 5
    done = [subprocess.run(["php", "-l", str(one)], capture_output=True, text=True) for one in found]
    assert not [one.stdout for one in done if one.returncode]


@pytest.mark.skipif(not shutil.which("javac"), reason="javac is missing")
def test_spring_is_java(tmp_path):
    """Without Spring's classes no more than its grammar can be checked."""
    place(tmp_path, files("docs/recipes/spring.md"))
    found = [str(one) for one in tmp_path.rglob("*.java")]
    assert len(found) >= 3
    parse = ["javac", "-proc:none", "-XDshould-stop.ifNoError=PARSE", "-d", str(tmp_path)]
    done = subprocess.run([*parse, *found], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


# The README


@pytest.mark.alone
def test_the_readme_s_app_answers_without_a_delay(tmp_path):
    """It took 44 ms a message when head and body left in two packets."""
    port = free_port()
    place(tmp_path, files("README.md"), **{"echo.py": {"3000": str(port)}})
    assert command("README.md", "python3 echo.py") == "python3 echo.py &"
    assert command("README.md", "sidesocket") == ("sidesocket --app-url http://127.0.0.1:3000 --listen 127.0.0.1:8080")
    app = Recipe(tmp_path, port, "python3 echo.py", TRUSTED_PROXIES=None)
    try:
        client = app.edge.websocket()
        took = []
        for i in range(40):
            began = time.perf_counter()
            client.text(str(i))
            assert client.message() == f"You said: {i}"
            took.append(time.perf_counter() - began)
        assert statistics.median(took) < 0.015, f"{1000 * statistics.median(took):.1f} ms"
        client.binary(b"\xff")
        assert client.message() == b"You said: \xff"
        client.close()
        app.edge.wait_metric("webhook_requests_total", 1, event="close", outcome="2xx")
        assert app.ask("POST", "/ws", None, b"hello").status == 400
        assert app.ask("GET", "/").status == 501
    finally:
        app.stop()
