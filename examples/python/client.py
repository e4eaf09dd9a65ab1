"""A client of Sidesocket's protocol: requests, channels, and a session that outlives its connection.

Needs `pip install websockets`. Start it with: python3 client.py ws://localhost:8080/ws
It sends each line that is typed as the payload of a `post`.
"""

import asyncio
import json
import random
import sys
import time

import websockets

FINAL = {1000, 1008, 4400, 4401, 4403, 4409}  # codes after which a client does not come back, unless `$bye` says so


class Session:
    """One session. `on_frame` gets what answers no request, and `$gap` where a channel has to be loaded anew."""

    def __init__(self, address, on_frame=print):
        self.address, self.on_frame = address, on_frame
        self.socket, self.welcome, self.is_live = None, None, False
        self.seq, self.places, self.requests = 0, {}, {}

    async def request(self, type, payload):
        """The frame that answers. A request whose connection is lost is repeated by its id, and handled once."""
        frame = {"type": type, "id": f"{random.getrandbits(64):x}", "payload": payload}
        answer = asyncio.get_running_loop().create_future()
        self.requests[frame["id"]] = frame, answer
        if self.is_live:
            await self.send(frame)
        return await answer

    async def run(self):
        """Connects, and comes back until the server says that it is over. Returns the close code."""
        attempt = 0
        while True:
            self.goodbye, self.socket, began = {}, None, time.monotonic()
            await self.converse()
            self.is_live = False
            code = self.socket.close_code if self.socket else 1006
            if not self.goodbye.get("reconnect", code not in FINAL):
                break
            attempt = 0 if time.monotonic() - began > 5 else attempt + 1
            wait = random.uniform(0, min(30_000, 1000 * 2**attempt))
            await asyncio.sleep(self.goodbye.get("after", wait) / 1000)
        self.give_up("the server wants no return")
        return code

    async def converse(self):
        offer = ["sidesocket.v1.json"]
        if self.welcome:
            offer.append("sidesocket.resume." + self.welcome.get("resume", "-"))
        try:
            async with websockets.connect(self.address, subprotocols=offer) as self.socket:
                if self.welcome:
                    session = self.welcome["session"]
                    await self.send({"type": "$resume", "seq": self.seq, "channels": self.places, "session": session})
                async for text in self.socket:
                    await self.handle(json.loads(text))
        except (OSError, asyncio.TimeoutError, websockets.WebSocketException):
            pass  # the connection was lost, or there was none

    async def send(self, frame):
        try:
            await self.socket.send(json.dumps(frame))
        except websockets.ConnectionClosed:
            pass  # converse() sees it too

    async def handle(self, frame):
        kind, channel = frame["type"], frame.get("channel")
        if channel and "offset" in frame:
            self.places[channel] = self.places.get(channel, {}) | {
                name: frame[name] for name in ("offset", "epoch", "id") if name in frame
            }
        if kind == "$welcome":
            is_first, self.welcome = self.welcome is None, frame
            self.places = {name: place for name, place in frame["channels"].items() if "offset" in place}
            for name, place in frame["channels"].items():
                if place.get("recovered") is False:
                    self.on_frame({"type": "$gap", "channel": name})
            if is_first:
                await self.go_live()
            elif not frame["resumed"]:
                self.seq = 0
                self.give_up("the session was lost")
            if frame["resumed"]:  # from now on the old token is worth nothing
                await self.send({"type": "$ack", "seq": self.seq})
        elif kind == "$live":
            await self.go_live()
        elif kind == "$bye":
            self.goodbye = frame
        elif kind == "$left":
            self.places.pop(channel, None)
        elif "re" in frame:
            if kind != "$error":
                self.settle(frame["re"], frame)
            elif frame["code"] != "in_progress":  # then the answer follows
                why = f"{frame['code']}: {frame['message']} {json.dumps(frame.get('payload'))}"
                self.settle(frame["re"], RuntimeError(why))
        elif kind not in ("$joined", "$pong"):
            self.on_frame(frame)
        if kind != "$welcome" and "seq" in frame:
            self.seq = frame["seq"]
            if self.seq % 16 == 0:
                await self.send({"type": "$ack", "seq": self.seq})

    async def go_live(self):
        self.is_live = True
        for frame, _ in list(self.requests.values()):
            await self.send(frame)

    def settle(self, id, answer):
        _, future = self.requests.pop(id, (None, None))
        if future and not future.done():
            future.set_exception(answer) if isinstance(answer, Exception) else future.set_result(answer)

    def give_up(self, why):
        for id in list(self.requests):
            self.settle(id, ConnectionError(why))


async def main(address):
    session = Session(address)
    running = asyncio.create_task(session.run())
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            print(await session.request("post", line.strip()))
        except (RuntimeError, ConnectionError) as error:
            print(error)
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
