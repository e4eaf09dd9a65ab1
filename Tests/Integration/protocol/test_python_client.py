"""examples/python/client.py, which shows how a client is written, against a sidecar whose connections are cut."""

import asyncio
import importlib.util

import pytest
from support.api import API
from support.app import Reply, gate
from support.history import Relay
from support.net import PATIENCE
from support.process import ROOT
from support.publishing import TEXT


def load():
    spec = importlib.util.spec_from_file_location("client", ROOT / "examples/python/client.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def edge(script, sidesocket):
    return sidesocket(script, HISTORY_SIZE="100")


@pytest.fixture
def relay(edge):
    relay = Relay(edge.port)
    yield relay
    relay.stop()


class Running:
    """A session of the example, and what it hears."""

    def __init__(self, relay):
        self.frames = asyncio.Queue()
        address = f"ws://127.0.0.1:{relay.port}/ws?join=room"
        self.session = load().Session(address, self.frames.put_nowait)
        self.task = asyncio.create_task(self.session.run())

    async def hears(self, count):
        """The payloads of the next frames."""
        return [(await asyncio.wait_for(self.frames.get(), PATIENCE))["payload"] for _ in range(count)]

    async def ask(self, payload):
        return await asyncio.wait_for(self.session.request("post", payload), PATIENCE)



def publish(edge, text):
    API(edge).want(200, "POST", "/v1/channels/room/messages", text, TEXT)


def test_it_misses_nothing_and_asks_nothing_twice(edge, relay, script):
    async def talk():
        one = Running(relay)
        assert (await one.ask({"text": "hi"}))["payload"] == {"text": "hi"}
        for number in range(20):
            publish(edge, f"{number}")
        held = gate()
        script.on(Reply(200, "late", {"Content-Type": "text/plain"}, gate=held), event="message")
        question = asyncio.create_task(one.ask("slow"))
        await asyncio.to_thread(script.wait_events, 1, "message")
        assert await one.hears(20) == [f"{number}" for number in range(20)]
        relay.hold()
        relay.cut()
        for number in range(20, 40):
            publish(edge, f"{number}")
        relay.flow()
        assert await one.hears(20) == [f"{number}" for number in range(20, 40)]
        held.set()
        assert (await question)["payload"] == "late"
        assert [event.event for event in script.events()] == ["open", "message", "message"]
        one.task.cancel()

    asyncio.run(talk())


def test_a_refused_request_raises_and_the_connection_stays(edge, relay, script):
    async def talk():
        one = Running(relay)
        with pytest.raises(RuntimeError, match="rejected"):
            await one.ask({"answer": {"status": 422}})
        assert (await one.ask(1))["payload"] == 1
        one.task.cancel()

    asyncio.run(talk())


def test_a_lost_session_is_said_and_its_channels_are_recovered(edge, relay, script):
    async def talk():
        one = Running(relay)
        publish(edge, "before")
        await one.ask(1)
        session = one.session.welcome["session"]
        script.on(Reply(200, "late", gate=(held := gate())), event="message")
        question = asyncio.create_task(one.ask(2))
        await asyncio.to_thread(script.wait_head, "/ws")
        relay.hold()
        relay.cut()
        API(edge).want(204, "DELETE", f"/v1/connections/{session}")
        publish(edge, "missed")
        held.set()
        relay.flow()
        with pytest.raises(ConnectionError, match="lost"):
            await question
        assert await one.hears(1) == ["missed"]
        assert one.session.welcome["session"] != session
        one.task.cancel()

    asyncio.run(talk())


def test_it_says_when_a_channel_has_to_be_loaded_anew(edge, relay, script):
    async def talk():
        one = Running(relay)
        await one.ask(1)
        relay.hold()
        relay.cut()
        for number in range(101):
            publish(edge, f"{number}")
        relay.flow()
        gap = await asyncio.wait_for(one.frames.get(), PATIENCE)
        assert (gap["type"], gap["channel"]) == ("$gap", "room")
        await one.ask(2)
        publish(edge, "new")
        assert await one.hears(1) == ["new"]
        one.task.cancel()

    asyncio.run(talk())


def test_it_stays_away_when_it_is_told_to(edge, relay, script):
    async def talk():
        one = Running(relay)
        await one.ask(1)
        API(edge).ask("DELETE", f"/v1/connections/{one.session.welcome['session']}?code=4403")
        assert await asyncio.wait_for(one.task, PATIENCE) == 4403
        assert len(script.events("open")) == 1

    asyncio.run(talk())
