"""A headless Chromium that shows one page."""

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import urllib.request
from contextlib import contextmanager

import websockets

from .net import eventually


def browser():
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def page(url, folder):
    """Opens a page; gives a function that waits until an element of it shows a text."""
    flags = [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}",
        "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--no-proxy-server", "--remote-debugging-port=0",
    ]  # fmt: skip
    process = subprocess.Popen(
        [browser(), *flags, url],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
        start_new_session=True,
    )
    try:
        # Chromium writes here where it listens for us.
        place = folder / "DevToolsActivePort"
        eventually(lambda: place.exists() and place.read_text().count("\n") >= 1, "chromium has started", timeout=30)
        port = int(place.read_text().split()[0])
        yield lambda element, wanted: asyncio.run(asyncio.wait_for(watch(port, element, wanted), 25))
    finally:
        os.killpg(process.pid, 9)
        process.wait()


async def watch(port, element, wanted):
    """Lets the browser tell when `wanted` is in what an element shows."""

    def tab_url():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
            return next((tab["webSocketDebuggerUrl"] for tab in json.load(answer) if tab["type"] == "page"), None)

    url = await asyncio.to_thread(eventually, tab_url, "chromium has a page")
    look = (
        "new Promise(done => { const look = () => {"
        f"  const shown = document.getElementById({json.dumps(element)})?.textContent ?? '';"
        f"  if (shown.includes({json.dumps(wanted)})) {{ observer.disconnect(); done(shown) }} }};"
        "  const observer = new MutationObserver(look);"
        "  observer.observe(document, { subtree: true, childList: true, characterData: true }); look() })"
    )
    async with websockets.connect(url, max_size=None) as tab:
        question = {"expression": look, "awaitPromise": True, "returnByValue": True}
        for number in itertools.count():
            await tab.send(json.dumps({"id": number, "method": "Runtime.evaluate", "params": question}))
            while (answer := json.loads(await tab.recv())).get("id") != number:
                pass
            # The question is lost when the tab goes on to another page meanwhile.
            if "value" in (shown := answer.get("result", {}).get("result", {})):
                return shown["value"]
