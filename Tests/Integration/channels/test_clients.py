"""Channels with clients from elsewhere, with many of one user, and with those that are just coming or held back."""

import asyncio
import threading

import aiohttp
import pytest
import websockets
from support.api import API
from support.app import Reply, commands, gate
from support.net import eventually
from support.swarm import Swarm

TEXT = {"Content-Type": "text/plain"}
ROOM = "/v1/channels/room/messages"
COUNT = 200


def welcome(app, **headers):
    """Lets who comes into the room."""
    named = {f"Sidesocket-{name.title()}": value for name, value in headers.items()}
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "room", **named}), event="open")


def publish(api, text, path=ROOM):
    return api.want(200, "POST", path, text.encode(), TEXT).json


def test_python_clients_and_event_streams_hear_the_same_in_the_same_order(app, sidesocket):
    edge = sidesocket(app, SSE_PATHS="/events")
    welcome(app)
    api = API(edge)
    wanted = [f"{n} {'ä' * (n % 50)}" for n in range(COUNT)]
    there = threading.Barrier(2, timeout=20)

    async def library():
        async with websockets.connect(f"ws://127.0.0.1:{edge.port}/ws") as socket:
            return [await socket.recv() for _ in range(COUNT)]

    async def aio(session):
        async with session.ws_connect(f"http://127.0.0.1:{edge.port}/ws", compress=15) as socket:
            return [(await socket.receive()).data for _ in range(COUNT)]

    async def stream(session):
        heard = []
        url, accept = f"http://127.0.0.1:{edge.port}/events", {"Accept": "text/event-stream"}
        async with session.get(url, headers=accept) as answer:
            async for line in answer.content:
                if line.startswith(b"data: "):
                    heard.append(line[6:].rstrip(b"\n").decode())
                if len(heard) == COUNT:
                    return heard
        return heard

    async def all_of_them():
        async with aiohttp.ClientSession() as session:
            tasks = [asyncio.create_task(one) for one in (library(), aio(session), stream(session))]
            await asyncio.to_thread(eventually, lambda: edge.metric("subscriptions") == 3, "three are in the room")
            await asyncio.to_thread(there.wait)
            return await asyncio.wait_for(asyncio.gather(*tasks), 30)

    def publisher():
        there.wait()
        for text in wanted:
            assert publish(api, text)["queued"] == 3

    thread = threading.Thread(target=publisher)
    thread.start()
    heard = asyncio.run(all_of_them())
    thread.join()
    assert heard == [wanted] * 3


def test_a_thousand_sockets_of_one_user_all_hear_what_is_published_to_that_user(app, sidesocket):
    edge = sidesocket(app, MAX_CONNECTIONS_PER_USER="off", MAX_CONNECTIONS="2000")
    welcome(app, user="bob")
    api = API(edge)
    with Swarm(edge.port) as swarm:
        swarm.enter(1000, timeout=60)
        eventually(lambda: edge.metric("subscriptions") == 1000, "all are in the room", timeout=30)
        answer = publish(api, "to bob", "/v1/users/bob/messages?wait=written")
        assert answer == {"matched": 1000, "queued": 1000, "dropped": 0}
        eventually(
            lambda: all([m for _, m in one.messages] == [b"to bob"] for one in swarm.members), "all have it", timeout=20
        )
        assert publish(api, "to nobody", "/v1/users/alice/messages")["matched"] == 0


def test_who_is_still_being_let_in_is_no_subscriber_and_is_one_from_the_101_on(app, edge):
    held = gate()
    app.on(Reply(204, headers={"Sidesocket-Subscribe": "room"}, gate=held), event="open")
    api = API(edge)
    sockets = []
    thread = threading.Thread(target=lambda: sockets.append(edge.websocket("/ws")))
    thread.start()
    app.wait_head("/ws")
    assert publish(api, "too early")["matched"] == 0
    held.set()
    thread.join(20)
    assert publish(api, "in time")["matched"] == 1
    assert sockets[0].message() == "in time"
    sockets[0].barrier()


def test_who_is_throttled_for_sending_too_much_still_hears(app, sidesocket):
    edge = sidesocket(app, MESSAGE_RATE="1/1h,burst=1", RATE_LIMIT_ACTION="throttle")
    welcome(app)
    app.on(commands(), event="message")
    api = API(edge)
    socket = edge.websocket("/ws")
    for _ in range(3):
        socket.text("more than I may")
    edge.wait_metric("limited_total", 1, limit="message_rate", action="throttled")
    for n in range(5):
        assert publish(api, f"heard {n}")["queued"] == 1
    assert [socket.message() for _ in range(5)] == [f"heard {n}" for n in range(5)]


@pytest.mark.parametrize("ending", ["kick", "client"])
def test_who_is_being_closed_is_no_subscriber_any_more(app, edge, ending):
    welcome(app)
    api = API(edge)
    stays, goes = edge.websocket("/ws"), edge.websocket("/ws")
    one = app.events("open")[1].header("ce-connectionid")
    if ending == "kick":
        api.ask("DELETE", f"/v1/connections/{one}")
        goes.expect_close(1000, 1008, 4403)
    else:
        goes.close()
        app.wait_events(1, "close")
    assert publish(api, "for those who stay")["matched"] == 1
    assert stays.message() == "for those who stay"
