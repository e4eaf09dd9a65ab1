"""The example: its apps, and its page in a browser whose connection is cut and whose sidecar restarts."""

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from urllib.parse import quote

import pytest
import websockets
from support.browser import browser
from support.history import Relay
from support.net import eventually, free_port
from support.process import ROOT
from support.protocol import MSGPACK, ProtocolClient
from support.servers import Server


class Browser:
    """A headless Chromium, asked through its debugging port."""

    def __init__(self, folder):
        flags = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}",
            "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--no-proxy-server", "--remote-debugging-port=0",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [browser(), *flags, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
            start_new_session=True,
        )
        self._port_file = folder / "DevToolsActivePort"
        self._numbers = itertools.count()

        eventually(
            lambda: self._port_file.exists() and self._port_file.read_text().count("\n") >= 1,
            "chromium has started",
            timeout=30,
        )
        self._port = int(self._port_file.read_text().split()[0])

    def open(self, url):
        """A new tab."""
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/new?{quote(url)}", method="PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return Page(json.load(answer)["webSocketDebuggerUrl"], self._numbers)

    def stop(self):
        os.killpg(self.process.pid, 9)
        self.process.wait()


class Page:
    """A tab."""

    def __init__(self, url, numbers):
        self.url, self._numbers = url, numbers
        # `onLine` is false on a machine without a network, and would make the page wait for half a minute.
        self.ask("Object.defineProperty(navigator, 'onLine', { value: true }), 0")

    def ask(self, expression):
        """The value of a JavaScript expression in the page."""

        async def talk():
            async with websockets.connect(self.url, max_size=None) as tab:
                number = next(self._numbers)
                question = {"id": number, "method": "Runtime.evaluate", "params": {"expression": expression}}
                await tab.send(json.dumps(question))
                while (answer := json.loads(await tab.recv())).get("id") != number:
                    pass
                return answer.get("result", {}).get("result", {}).get("value")

        return asyncio.run(asyncio.wait_for(talk(), 10))

    def read(self, id):
        return self.ask(f"document.getElementById('{id}')?.innerText ?? ''")

    def shows(self, id, *texts, timeout=10):
        """Waits until an element contains these texts, in this order."""

        def is_there():
            rest = self.read(id)
            for text in texts:
                if text not in rest:
                    return False
                rest = rest.split(text, 1)[1]
            return True

        eventually(is_there, lambda: f"{texts} in {id}, which is {self.read(id)!r}", timeout, 0.05)

    def types(self, text):
        self.ask(f"(t => (t.value = {json.dumps(text)}, t.dispatchEvent(new Event('input')), 0))"
                 "(document.getElementById('text'))")  # fmt: skip

    def says(self, text):
        self.types(text)
        self.ask("document.getElementById('form').requestSubmit(), 0")

    def clicks(self, id):
        self.ask(f"document.getElementById('{id}').click(), 0")

    def room(self, title):
        """Goes to a room."""
        rooms = "[...document.querySelectorAll('#rooms button')]"
        self.ask(f"{rooms}.find(b => b.textContent.startsWith({json.dumps(title)})).click(), 0")


CHAT = {
    "CLIENT_SCRIPT": "/sidesocket.js",
    "HISTORY_SIZE": "100",
    "CHANNEL_POLICIES": "room*=presence=on,client-events=on",
}
APPS = {
    "python": [sys.executable, str(ROOT / "examples/python/app.py")],
    "node": ["node", str(ROOT / "examples/node/app.js")],
    "php": ["php", str(ROOT / "examples/php/app.php")],
}


def start(name, folder):
    if not shutil.which(APPS[name][0]):
        pytest.skip(f"{APPS[name][0]} is missing")
    app = Server(folder, free_port())
    app.run(*APPS[name], PORT=str(app.port), PHP_CLI_SERVER_WORKERS="2")
    return app


@pytest.fixture(params=APPS)
def example(request, tmp_path, sidesocket):
    """The sidecar before an app of the example."""
    with start(request.param, tmp_path) as app:
        yield sidesocket(APP_URL=app.wait_ready().url, **CHAT)
        app.check_alive()


# The apps


def enters(edge, name):
    return ProtocolClient(edge, f"/ws?name={quote(name)}")


def test_everybody_hears_what_one_says_but_the_one(example):
    ann, bob = enters(example, "Ann"), enters(example, "Bøb")
    assert bob.welcome["user"] == "Bøb"
    ann.frame_of("$member", user="Bøb", event="joined")
    bob.give(type="say", id="1", payload={"room": "room", "text": "hello, ж"})
    ann.frame_of("say", channel="room", payload={"from": "Bøb", "text": "hello, ж"})
    bob.frame_of("$ack", re="1")
    bob.quiet()


def test_rooms_are_joined_and_left(example):
    ann, bob = enters(example, "Ann"), enters(example, "Bob")
    ann.frame_of("$member", user="Bob")
    for number, client in enumerate((ann, bob)):
        client.give(type="join", id="j", payload={"room": "room:tea"})
        client.frame_of("$joined", channel="room:tea", count=number + 1)
        client.frame_of("$ack", re="j")
    ann.frame_of("$member", channel="room:tea", user="Bob")
    ann.give(type="say", id="s", payload={"room": "room:tea", "text": "tea?"})
    bob.frame_of("say", channel="room:tea", payload={"from": "Ann", "text": "tea?"})
    ann.frame_of("$ack", re="s")
    bob.give(type="leave", id="l", payload={"room": "room:tea"})
    bob.frame_of("$left", channel="room:tea")
    bob.frame_of("$ack", re="l")


@pytest.mark.parametrize(
    "kind, payload",
    [
        ("say", {"room": "elsewhere", "text": "x"}),
        ("say", {"room": "room", "text": ""}),
        ("say", {"room": "room", "text": "x" * 2001}),
        ("say", {"room": "room", "text": 7}),
        ("join", {"room": "secret"}),
        ("dance", {"room": "room"}),
        ("say", {"room": ["room"], "text": "x"}),
        ("say", [1]),
        ("say", "x"),
        ("say", None),
        ("join", 7),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(example, kind, payload):
    one = enters(example, "Ann")
    one.give(type=kind, id="1", payload=payload)
    assert one.frame_of("$error", re="1", code="rejected", status=422)["payload"].endswith(".")


def test_a_message_that_is_no_json_is_refused_too(example):
    one = ProtocolClient(example, "/ws?name=Ann", protocol=MSGPACK)
    one.give(type="say", id="1", payload={"room": "room", "text": "x"})
    one.frame_of("$error", re="1", code="rejected", status=422)


def test_a_raw_client_takes_part(example):
    ann, raw = enters(example, "Ann"), example.websocket("/ws")
    raw.text("hi")
    heard = raw.message()
    assert heard.endswith(": hi")
    ann.frame_of("message", channel="room", payload=heard)


def test_names_are_cut_and_cleaned(example):
    assert enters(example, "x" * 40).welcome["user"] == "x" * 32
    assert enters(example, "a\r\nSet-Cookie: b").welcome["user"] == "aSet-Cookie: b"
    assert "user" not in enters(example, "").welcome


# The page


@pytest.fixture
def chromium(tmp_path):
    if not browser():
        pytest.skip("chromium is missing")
    one = Browser(tmp_path)
    yield one
    one.stop()


def test_a_chat_whose_network_goes_and_comes(sidesocket, chromium, tmp_path):
    with start("python", tmp_path) as app:
        settings = {"APP_URL": app.wait_ready().url, "DRAIN_TIMEOUT": "1s", **CHAT}
        edge = sidesocket(**settings)
        relay = Relay(edge.port)
        try:
            ann = chromium.open(f"http://127.0.0.1:{relay.port}/?name=Ann")
            ann.shows("state", "open")
            bob = chromium.open(f"http://127.0.0.1:{edge.port}/?name=Bob&auto=hello")
            ann.shows("messages", "Bob has joined", "hello")
            ann.shows("members", "Ann (you)", "Bob")
            bob.shows("messages", "hello", "sent")
            ann.types("I")
            bob.shows("typing", "Ann is typing")
            ann.says("hi Bob")
            bob.shows("messages", "Ann", "hi Bob")
            assert bob.read("typing") == ""

            relay.refusing = True
            relay.cut()
            ann.shows("state", "reconnecting")
            bob.says("can you hear me?")
            ann.says("from the tunnel")
            ann.shows("messages", "from the tunnel", "waits for the connection")
            # She is still there: her session waits for her.
            bob.shows("members", "Ann")
            relay.refusing = False
            ann.shows("messages", "You were away", "can you hear me?", timeout=40)
            ann.shows("messages", "from the tunnel", "sent")
            bob.shows("messages", "can you hear me?", "from the tunnel")
            assert "Ann has left" not in bob.read("messages")

            ann.room("Tea kitchen")
            ann.shows("room", "Tea kitchen")
            ann.shows("membership", "Leave")
            bob.room("Tea kitchen")
            ann.shows("messages", "Bob has joined")
            ann.says("tea?")
            bob.shows("messages", "tea?")
            bob.clicks("membership")
            bob.shows("messages", "You have left")
            ann.shows("messages", "Bob has left", timeout=15)
            ann.says("x" * 3000)
            ann.shows("messages", "not sent: A message has 1 to 2000 characters.")

            # A restart without other nodes ends the sessions; the page goes where it was.
            edge.terminate()
            assert edge.wait_exit() == 0
            ann.shows("state", "reconnecting")
            again = sidesocket(**settings, LISTEN=f"127.0.0.1:{edge.port}")
            ann.shows("state", "open", timeout=40)
            again.wait_metric("connections", 2)
            ann.shows("membership", "Leave")
            ann.says("still here")
            ann.shows("messages", "still here", "sent")
        finally:
            relay.stop()


def test_a_page_without_its_script_says_what_is_missing(sidesocket, chromium, tmp_path):
    with start("python", tmp_path) as app:
        edge = sidesocket(APP_URL=app.wait_ready().url)
        page = chromium.open(f"http://127.0.0.1:{edge.port}/?name=Ann")
        page.shows("state", "CLIENT_SCRIPT=/sidesocket.js")
