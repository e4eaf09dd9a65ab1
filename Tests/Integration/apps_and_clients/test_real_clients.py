"""WebSocket clients as people use them, with compression where they have it: ordinary data is no bomb to any."""

import asyncio
import base64
import json
import os
import random
import shutil
import subprocess
import zlib

import aiohttp
import pytest
import websockets
from support.app import App, Reply
from support.browser import browser, page
from support.net import PATIENCE
from support.process import Sidesocket
from support.raw import Client, close_clients, encode
from support.real_clients import GO, JAVA, NODE, PAGE
from support.ws import WebSocket, handshake_headers

KiB, MiB = 1 << 10, 1 << 20
# What people send: it shrinks far below a hundredth, or does when it comes again.
REGULAR = json.dumps([{"x": 0, "y": 0, "colour": "#ffffff", "layer": "background"}] * 830)
CANVAS = bytes(57_600)
DOCUMENT = base64.b64encode(random.Random(3).randbytes(15_000)).decode()
assert len(REGULAR) > 51_000 and len(DOCUMENT) == 20_000
assert all(len(zlib.compress(data, 6)) < len(data) / 100 for data in (REGULAR.encode(), CANVAS))
MESSAGES = {
    "regular.txt": REGULAR, "canvas.bin": CANVAS, "document.txt": DOCUMENT, "umlauts.txt": "grüße 🎉" * 500,
    # More than MAX_MESSAGE_BYTES is too much by default, however few bytes it takes on the wire.
    "beyond.bin": bytes(70_000),
    # With a MAX_MESSAGE_BYTES that allows all of these, the ratio counts beyond 256 KiB of output.
    "blank.bin": bytes(256 * KiB),
    "large.txt": json.dumps([{"id": n, "name": f"Item {n * 7919 % 10007}"} for n in range(20_000)]),
    "bomb.bin": bytes(16 * MiB),
    "bomb.txt": "0" * (16 * MiB),
}  # fmt: skip
ORDINARY = ["regular.txt", "canvas.bin", "document.txt", "document.txt", "umlauts.txt", "regular.txt"]
ECHOED = "echoed"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("messages")
    for name, data in MESSAGES.items():
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


@pytest.fixture(scope="module")
def edges():
    """The app, which echoes, and three sidecars: as it comes, with context takeover, and for large messages."""
    app = App()
    app.echo()
    # A page of one may talk to the others.
    common = {"APP_URL": app.url, "WEBHOOK_RETRY_FOR": "off", "ALLOWED_ORIGINS": "*", "WS_PATHS": "/ws"}
    started = {
        "default": Sidesocket(**common),
        "takeover": Sidesocket(COMPRESSION_CONTEXT_TAKEOVER="on", **common),
        "large": Sidesocket(
            MAX_MESSAGE_BYTES="20MiB", MAX_PENDING_BYTES="24MiB", MAX_REPLY_BYTES="20MiB",
            MAX_SEND_BUFFER_BYTES="24MiB", **common,
        ),
    }  # fmt: skip
    yield app, started
    close_clients()
    for process in started.values():
        process.check_alive()
        process.kill()
    app.stop()
    assert app.faults == [], "the app was sent bad HTTP"


def sessions(edges):
    """What each client does: `(kind, address, names of messages)`, and what it must hear."""
    _, started = edges
    return [
        (kind, f"ws://127.0.0.1:{started[kind].port}/ws", names)
        for kind, names in (
            ("default", ORDINARY),
            ("takeover", ORDINARY),
            ("default", ["beyond.bin"]),
            ("large", ["large.txt", "blank.bin", "large.txt"]),
            ("large", ["bomb.bin"]),
            ("large", ["regular.txt", "bomb.txt"]),
        )
    ]


def expected(names):
    return ["closed 1009" if name.startswith(("beyond", "bomb")) else ECHOED for name in names]


def inbound(process):
    """Bytes of messages received: on the wire, and after inflating."""
    return [process.metric("message_bytes_total", direction="in", stage=stage) for stage in ("wire", "payload")]


def check_client(edges, talk, compresses=True, takes_over=True):
    """Lets `talk([(address, names)])` hold each conversation; it returns, for each, the extensions and results."""
    _, started = edges
    before = inbound(started["default"])
    plan = sessions(edges)
    if not compresses:
        # Without compression a bomb is merely large.
        plan = [entry for entry in plan if entry[0] != "large"]
    told = talk([(address, names) for _, address, names in plan])
    assert len(told) == len(plan)
    for (kind, _, names), (extensions, results) in zip(plan, told, strict=True):
        assert results == expected(names), kind
        assert ("permessage-deflate" in extensions) == compresses
        if takes_over:
            assert ("server_no_context_takeover" in extensions) == (compresses and kind != "takeover")
    wire, payload = (now - then for now, then in zip(inbound(started["default"]), before, strict=True))
    # The document alone, which does not shrink, is 40 KB of 230.
    assert wire < payload / 5 if compresses else wire >= payload


# In this process


def test_python_websockets(edges):
    def talk(plan):
        async def converse(address, names):
            results = []
            async with websockets.connect(address, max_size=None) as client:
                for name in names:
                    try:
                        await client.send(MESSAGES[name])
                        results.append(ECHOED if await client.recv() == MESSAGES[name] else "something else")
                    except websockets.ConnectionClosed as end:
                        results.append(f"closed {end.rcvd.code}")
                return client.response.headers.get("Sec-WebSocket-Extensions", ""), results

        async def all_of_them():
            return [await converse(*entry) for entry in plan]

        return asyncio.run(asyncio.wait_for(all_of_them(), 3 * PATIENCE))

    check_client(edges, talk)


def test_aiohttp(edges):
    def talk(plan):
        async def converse(session, address, names):
            results = []
            async with session.ws_connect(address, compress=15, max_msg_size=0) as client:
                for name in names:
                    data = MESSAGES[name]
                    try:
                        await (client.send_str(data) if isinstance(data, str) else client.send_bytes(data))
                        got = await client.receive()
                    except ConnectionError:
                        got = await client.receive()
                    if got.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                        results.append(f"closed {client.close_code}")
                    else:
                        results.append(ECHOED if got.data == data else "something else")
                return client._response.headers.get("Sec-WebSocket-Extensions", ""), results

        async def all_of_them():
            async with aiohttp.ClientSession() as session:
                return [await converse(session, *entry) for entry in plan]

        return asyncio.run(asyncio.wait_for(all_of_them(), 3 * PATIENCE))

    check_client(edges, talk)


# In a process of their own
#


def outside(command, folder, environment=None):
    """A `talk` for `check_client` by a program."""

    def talk(plan):
        arguments = [part for address, names in plan for part in (address, *(str(folder / name) for name in names))]
        done = subprocess.run(
            [*command, *arguments],
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = done.stdout.splitlines()
        told = []
        for _, names in plan:
            told.append((lines.pop(0).removeprefix("extensions:"), [lines.pop(0) for _ in names]))
        assert lines == []
        return told

    return talk


def need(program, package):
    path = shutil.which(program)
    if not path:
        pytest.skip(f"{program} is not installed (Debian: apt-get install {package})")
    return path


def test_node_ws(edges, files, tmp_path):
    node = need("node", "nodejs")
    if not os.path.exists("/usr/share/nodejs/ws"):
        pytest.skip("ws for Node is not installed (Debian: apt-get install node-ws)")
    (tmp_path / "client.js").write_text(NODE)
    check_client(edges, outside([node, str(tmp_path / "client.js")], files, {"NODE_PATH": "/usr/share/nodejs"}))


@pytest.fixture(scope="session")
def gorilla(tmp_path_factory):
    """The client in Go, built once."""
    go = need("go", "golang-go")
    if not os.path.exists("/usr/share/gocode/src/github.com/gorilla/websocket"):
        pytest.skip("gorilla is not installed (Debian: apt-get install golang-github-gorilla-websocket-dev)")
    folder = tmp_path_factory.mktemp("gorilla")
    (folder / "main.go").write_text(GO)
    environment = {
        **os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "",
        "GOCACHE": os.environ.get("GOCACHE", str(folder / "cache")), "GOTOOLCHAIN": "local",
    }  # fmt: skip
    done = subprocess.run(
        [go, "build", "-o", "client", "main.go"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(folder / "client")


def test_gorilla(edges, files, gorilla):
    # It always asks for no takeover.
    check_client(edges, outside([gorilla], files), takes_over=False)


def test_java_http_client(edges, files, tmp_path):
    """It knows no compression, and says `Content-Length: 0` in the handshake."""
    java = need("java", "openjdk-17-jdk-headless")
    need("javac", "openjdk-17-jdk-headless")
    (tmp_path / "Client.java").write_text(JAVA)
    # The compiler is told to be quick rather than good.
    command = [java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", str(tmp_path / "Client.java")]
    check_client(edges, outside(command, files), compresses=False, takes_over=False)


@pytest.mark.skipif(not browser(), reason="chromium is missing")
def test_chromium(edges, tmp_path):
    app, started = edges

    def message(request):
        data = MESSAGES[request.path.removeprefix("/message/")]
        return Reply(200, data, {"Content-Type": "application/octet-stream"})

    def talk(plan):
        app.on(Reply(200, PAGE.replace("PLAN", json.dumps(plan)), {"Content-Type": "text/html"}), path="/page")
        for name in MESSAGES:
            app.on(message, path=f"/message/{name}")
        with page(f"http://127.0.0.1:{started['default'].port}/page", tmp_path) as shows:
            return json.loads(shows("result", "told").removeprefix("told "))

    check_client(edges, talk)


# A handshake with Content-Length: 0


def shake(process, more):
    client = Client(process.port)
    pairs = [*handshake_headers(), *more]
    client.send(encode("GET", "/ws", pairs))
    return client, client.response()


@pytest.mark.parametrize("value", ["0", "00", "000"])
def test_a_handshake_that_says_it_has_no_body_is_accepted(edges, value):
    app, started = edges
    process = started["default"]
    socket = WebSocket(process.port, "/ws", headers={"Content-Length": value})
    assert socket.answer.status == 101
    socket.text("hello")
    assert socket.message() == "hello"
    connection = app.events()[-1].header("ce-connectionid")
    (opened,) = app.events("open", connection)
    assert opened.header("content-length") == "0"
    socket.close()


@pytest.mark.parametrize(
    "more",
    [
        [("Content-Length", "1")],
        [("Content-Length", "0"), ("Content-Length", "1")],
        [("Content-Length", "0, 5")],
        [("Content-Length", "-0")],
        [("Content-Length", "+0")],
        [("Content-Length", "0x0")],
        [("Content-Length", "")],
        [("Content-Length", "0"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "chunked")],
    ],
    ids=str,
)
def test_a_handshake_with_a_body_or_an_unclear_one_is_still_refused(edges, more):
    app, started = edges
    known = len(app.events("open"))
    client, answer = shake(started["default"], more)
    assert answer.status == 400
    client.wait_closed()
    assert len(app.events("open")) == known
