"""The example apps behind a real sidecar, talked to by a real client and by a browser."""

import asyncio
import random
import shutil
import string

import pytest
import websockets
from support.browser import browser, page
from support.net import PATIENCE, free_port
from support.process import ROOT
from support.servers import Server

FOLDER = ROOT / "examples"
COMMANDS = {
    "python": lambda port: ["python3", str(FOLDER / "python/app.py")],
    "php": lambda port: ["php", "-S", f"127.0.0.1:{port}", str(FOLDER / "php/app.php")],
    "node": lambda port: ["node", str(FOLDER / "node/app.js")],
}


@pytest.fixture(params=COMMANDS)
def example(request, sidesocket, tmp_path):
    """A sidecar before one of the example apps."""
    if not shutil.which(COMMANDS[request.param](0)[0]):
        pytest.skip(f"{request.param} is missing")
    with Server(tmp_path, free_port()) as app:
        app.run(*COMMANDS[request.param](app.port), PORT=str(app.port), PHP_CLI_SERVER_WORKERS="4")
        app.wait_ready()
        yield sidesocket(APP_URL=app.url, CLIENT_SCRIPT="/sidesocket.js")
        app.check_alive()


def random_text(length):
    """Text that does not compress so well that it would pass for a bomb."""
    return "".join(random.Random(7).choices(string.ascii_letters, k=length))


def test_the_page_and_a_conversation(example):
    with example.client() as client:
        page = client.ask(target="/")
        assert page.status == 200 and page.header("content-type").startswith("text/html")
        assert "/sidesocket.js" in page.text
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
                await client.send(f"hello {n}-{i}.")
                # Everybody hears everybody; one's own words come in their order.
                while f"hello {n}-{i}." not in (heard := await client.recv()):
                    assert f"hello {n}-" not in heard

    async def all_of_them():
        await asyncio.gather(*(one(n) for n in range(20)))

    asyncio.run(asyncio.wait_for(all_of_them(), 40))


def test_everybody_in_the_room_hears_it(example):
    async def talk():
        url = f"ws://127.0.0.1:{example.port}/ws"
        async with websockets.connect(url) as one, websockets.connect(url) as other:
            await one.send("hello")
            heard = [await one.recv(), await other.recv()]
            assert heard[0] == heard[1] and heard[0].endswith(": hello")

    asyncio.run(asyncio.wait_for(talk(), PATIENCE))


def test_a_forged_event_from_outside_does_not_reach_the_app(example):
    with example.client() as client:
        assert client.ask("POST", "/ws", {"ce-type": "sidesocket.message"}, b"hello").status == 403


@pytest.mark.skipif(not browser(), reason="chromium is missing")
def test_a_browser(example, tmp_path):
    """The page sends a message by itself, and shows that the app has it."""
    with page(f"http://127.0.0.1:{example.port}/?name=Ann&auto=hello", tmp_path) as shows:
        assert "hello" in shows("messages", "sent")
    example.wait_metric("webhook_requests_total", 1, event="message", outcome="2xx")
