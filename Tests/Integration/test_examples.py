"""The example apps behind a real sidecar, talked to by a real client and by a browser."""

import asyncio
import itertools
import json
import os
import random
import shutil
import socket
import string
import subprocess
import urllib.request

import pytest
import websockets
from support.net import PATIENCE, eventually, free_port
from support.process import ROOT

FOLDER = ROOT / "examples"
COMMANDS = {
    "python": lambda port: ["python3", str(FOLDER / "python/app.py")],
    "php": lambda port: ["php", "-S", f"127.0.0.1:{port}", str(FOLDER / "php/app.php")],
    "node": lambda port: ["node", str(FOLDER / "node/app.js")],
}


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(params=COMMANDS)
def example(request, sidesocket):
    """A sidecar before one of the example apps."""
    if not shutil.which(COMMANDS[request.param](0)[0]):
        pytest.skip(f"{request.param} is missing")
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "PHP_CLI_SERVER_WORKERS": "4"}
    # Its own session: PHP's server leaves its workers behind when only the parent is killed.
    process = subprocess.Popen(
        COMMANDS[request.param](port),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually(lambda: listens(port) or process.poll() is not None, "the example listens")
        assert process.poll() is None, "the example died"
        yield sidesocket(APP_URL=f"http://127.0.0.1:{port}")
        assert process.poll() is None, "the example died"
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def random_text(length):
    """Text that does not compress so well that it would pass for a bomb."""
    return "".join(random.Random(7).choices(string.ascii_letters, k=length))


def test_the_page_and_a_conversation(example):
    with example.client() as client:
        page = client.ask(target="/")
        assert page.status == 200 and page.header("content-type").startswith("text/html")
        assert "WebSocket" in page.text
    with example.client() as client:
        assert client.ask(target="/nothing").status == 404

    async def talk():
        async with websockets.connect(f"ws://127.0.0.1:{example.port}/ws") as client:
            for text in ("hello", "grüße 🎉", random_text(10_000)):
                await client.send(text)
                answer = await client.recv()
                assert isinstance(answer, str) and text in answer
            await client.send(b"\x00\xff")
            assert await client.recv()

    asyncio.run(asyncio.wait_for(talk(), PATIENCE))
    example.wait_metric("webhook_requests_total", 1, event="close", outcome="2xx")


def test_many_clients_at_once(example):
    async def one(n):
        async with websockets.connect(f"ws://127.0.0.1:{example.port}/ws", open_timeout=20) as client:
            for i in range(10):
                await client.send(f"hello {n}-{i}")
                assert f"hello {n}-{i}" in await client.recv()

    async def all_of_them():
        await asyncio.gather(*(one(n) for n in range(20)))

    asyncio.run(asyncio.wait_for(all_of_them(), 40))


def test_a_forged_event_from_outside_does_not_reach_the_app(example):
    with example.client() as client:
        assert client.ask("POST", "/ws", {"ce-type": "sidesocket.message"}, b"hello").status == 403


def browser():
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(not browser(), reason="chromium is missing")
def test_a_browser(example, tmp_path):
    """The page sends a message by itself and shows the answer that came back."""
    flags = [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}",
        "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--no-proxy-server", "--remote-debugging-port=0",
    ]  # fmt: skip
    process = subprocess.Popen(
        [browser(), *flags, f"http://127.0.0.1:{example.port}/?auto=hello"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(tmp_path)},
        start_new_session=True,
    )
    try:
        # Chromium writes here where it listens for us.
        place = tmp_path / "DevToolsActivePort"
        eventually(lambda: place.exists() and place.read_text().count("\n") >= 1, "chromium has started", timeout=30)
        port = int(place.read_text().split()[0])
        shown = asyncio.run(asyncio.wait_for(watch(port, "hello"), 25))
        assert "hello" in shown
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    example.wait_metric("messages_total", 1, direction="in", type="text")


async def watch(port, wanted):
    """Asks the browser what the page shows until `wanted` is among the answers."""

    def page():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
            return next((tab["webSocketDebuggerUrl"] for tab in json.load(answer) if tab["type"] == "page"), None)

    url = await asyncio.to_thread(eventually, page, "chromium has a page")
    async with websockets.connect(url, max_size=None) as tab:
        for number in itertools.count():
            expression = "document.getElementById('answers')?.textContent ?? ''"
            question = {"id": number, "method": "Runtime.evaluate", "params": {"expression": expression}}
            await tab.send(json.dumps(question))
            while (answer := json.loads(await tab.recv())).get("id") != number:
                pass
            shown = answer.get("result", {}).get("result", {}).get("value", "")
            if wanted in shown:
                return shown
            await asyncio.sleep(0.05)
