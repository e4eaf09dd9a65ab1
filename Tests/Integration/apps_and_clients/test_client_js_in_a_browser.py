"""A page with examples/sidesocket-client.js whose sidecar restarts."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import urllib.request

import pytest
import websockets
from support.browser import browser
from support.net import eventually, free_port
from support.process import ROOT
from support.servers import Server


class Page:
    """The page in a headless Chromium, asked through its debugging port."""

    def __init__(self, url, folder):
        flags = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}",
            "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--no-proxy-server", "--remote-debugging-port=0",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [browser(), *flags, url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
            start_new_session=True,
        )
        self._port_file = folder / "DevToolsActivePort"
        self._numbers = itertools.count()

    def find(self):
        """Waits for the page to be there."""
        file = self._port_file
        eventually(lambda: file.exists() and file.read_text().count("\n") >= 1, "chromium has started", timeout=30)
        port = int(file.read_text().split()[0])

        def tab():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                return next((tab["webSocketDebuggerUrl"] for tab in json.load(answer) if tab["type"] == "page"), None)

        self.url = eventually(tab, "chromium has a page")

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

    def shows(self, text, timeout=10):
        """Waits until the line about the state contains `text`."""
        read = "document.getElementById('state')?.textContent ?? ''"
        return eventually(
            lambda: text in self.ask(read), lambda: f"{text!r} is shown, it is {self.ask(read)!r}", timeout, 0.05
        )


@pytest.fixture
def example(tmp_path):
    with Server(tmp_path, free_port()) as app:
        app.run(sys.executable, str(ROOT / "examples/python/app.py"), PORT=str(app.port))
        yield app.wait_ready()
        app.check_alive()


@pytest.mark.skipif(not browser(), reason="chromium is missing")
def test_a_page_comes_back_after_the_sidecar_has_restarted(sidesocket, example, tmp_path):
    settings = {"APP_URL": example.url, "DRAIN_TIMEOUT": "1s"}
    edge = sidesocket(**settings)
    page = Page(f"http://127.0.0.1:{edge.port}/?auto=hello", tmp_path)
    try:
        page.find()
        page.shows("open")
        # `onLine` is false on a machine without a network, and would make the page wait for half a minute.
        page.ask("Object.defineProperty(navigator, 'onLine', { value: true }), 0")
        edge.terminate()
        assert edge.wait_exit() == 0
        page.shows("reconnecting in")
        again = sidesocket(**settings, LISTEN=f"127.0.0.1:{edge.port}")
        page.shows("open", timeout=30)
        again.wait_metric("connections", 1)
        page.ask("document.getElementById('text').value = 'again', document.getElementById('form').requestSubmit(), 0")
        answers = "document.getElementById('answers').textContent"
        eventually(lambda: ": again" in page.ask(answers), "the answer is shown", 10, 0.05)

        page.ask("document.getElementById('toggle').click(), 0")
        page.shows("closed with code 1000")
        again.wait_metric("connections", 0)
        page.ask("document.getElementById('toggle').click(), 0")
        page.shows("open")
    finally:
        os.killpg(page.process.pid, 9)
        page.process.wait()
