#!/usr/bin/env python3
"""Keeps Sidesocket busy for long and looks for what grows: memory, descriptors, closes that nobody can explain.

  run.py --binary .build/release/sidesocket                       an hour, 5,000 connections
  run.py --minutes 10 --connections 2000                          less

Clients come and go, with and without compression, and send messages of 1 byte to 64 KiB, which the app answers with
the same bytes; now and then the app restarts. Exits with 1 when an answer is wrong, a socket was closed that nobody
wanted to close, memory grew after the warm-up, or descriptors stay open at the end.
"""

import argparse
import asyncio
import collections
import os
import random
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
from aiohttp import web

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Integration"))

from support.net import free_port  # noqa: E402 - the integration tests' helpers

SIZES = (1, 64, 64, 64, 700, 4096, 16_384, 65_000)


class App:
    """Answers messages with themselves; `restart` ends all its connections and refuses new ones for a moment."""

    def __init__(self, port):
        self.port = port
        self.runner = None
        self.events = collections.Counter()

    async def start(self):
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/{rest:.*}", self.answer)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port, backlog=4096, reuse_address=True).start()

    async def answer(self, request):
        body = await request.read()
        kind = request.headers.get("ce-type", "")
        self.events[kind] += 1
        if kind != "sidesocket.message":
            return web.Response(status=204)
        return web.Response(body=body, content_type=request.content_type)

    async def restart(self, away):
        await self.runner.cleanup()
        await asyncio.sleep(away)
        await self.start()


class Soak:
    def __init__(self, arguments):
        self.arguments = arguments
        self.ends = time.monotonic() + arguments.minutes * 60
        self.faults = collections.Counter()
        self.messages = 0
        self.opened = 0

    def fault(self, what):
        self.faults[what] += 1

    async def client(self, session, url):
        """One client after the other in this place, each for a random time."""
        while time.monotonic() < self.ends:
            try:
                async with session.ws_connect(url, compress=random.choice((0, 15)), max_msg_size=0) as socket:
                    self.opened += 1
                    await self.talk(socket)
            except aiohttp.WSServerHandshakeError as error:
                if error.status not in (502, 503):  # the app is away, so nobody can be let in
                    self.fault(f"handshake: {error.status}")
                await asyncio.sleep(1)
            except aiohttp.ClientError as error:
                self.fault(f"handshake: {type(error).__name__}")
                await asyncio.sleep(1)

    async def talk(self, socket):
        leaves = min(time.monotonic() + random.expovariate(1 / self.arguments.stay), self.ends)
        while time.monotonic() < leaves:
            if not await self.rest(socket, min(random.expovariate(self.arguments.rate), leaves - time.monotonic())):
                return
            data = os.urandom(random.choice(SIZES) // 4 + 1) * 4  # four times smaller when it is compressed
            await socket.send_bytes(data)
            answer = await socket.receive(timeout=120)
            if answer.type is not aiohttp.WSMsgType.BINARY:
                return self.fault(f"closed: {answer.type.name} {socket.close_code}")
            if answer.data != data:
                return self.fault("another answer than what was sent")
            self.messages += 1
        await socket.close()

    async def rest(self, socket, seconds):
        """Nothing should come now; to read is what lets the library answer pings."""
        try:
            # Not receive's own timeout, which begins anew with each ping.
            async with asyncio.timeout(max(seconds, 0.01)):
                message = await socket.receive()
        except TimeoutError:
            return True
        self.fault(f"closed: {message.type.name} {socket.close_code}")
        return False

    async def watch(self, pid, everybody, running):
        """Looks every five seconds while `everybody` is there, says what it sees once a minute, and returns the memory
        after the warm-up, at the end and at most; at the very end all leave at once, which is not looked at."""
        samples = []
        while time.monotonic() < self.ends - 10 and running():
            gone, _ = await asyncio.wait([everybody], timeout=5)
            if gone:
                break
            samples.append(memory(pid))
            if len(samples) % 12 == 0:
                print(f"{len(samples) // 12} min: {samples[-1]} KiB, {descriptors(pid)} descriptors, {self.opened} "
                      f"connections and {self.messages} messages so far", flush=True)
        warm = samples[int(len(samples) * 0.4):] or [memory(pid)]
        return warm[0], warm[-1], max(warm)

    async def restarts(self, app):
        while time.monotonic() + self.arguments.restart_every < self.ends:
            await asyncio.sleep(self.arguments.restart_every)
            await app.restart(random.uniform(0.2, 3))


def memory(pid):
    """Resident memory in KiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


async def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        await asyncio.sleep(0.2)


async def run(arguments):
    soak, app, port = Soak(arguments), App(free_port()), free_port()
    await app.start()
    settings = {
        "LISTEN": f"127.0.0.1:{port}", "CONTROL_LISTEN": f"127.0.0.1:{free_port()}",
        "APP_URL": f"http://127.0.0.1:{app.port}", "MAX_CONNECTIONS_PER_IP": "off", "CONNECT_RATE_PER_IP": "off",
        "MAX_CONNECTIONS": str(arguments.connections + 500), "LOG_LEVEL": "warning", "PING_INTERVAL": "20s",
    }  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIDESOCKET_")}
    environment |= {f"SIDESOCKET_{name}": value for name, value in settings.items()}
    process = subprocess.Popen([arguments.binary], env=environment, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def accepts():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        await wait_for(accepts, 10)
        files = descriptors(process.pid)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"ws://127.0.0.1:{port}/soak"
            everybody = asyncio.gather(*(soak.client(session, url) for _ in range(arguments.connections)))
            restarts = asyncio.create_task(soak.restarts(app))
            warm, last, peak = await soak.watch(process.pid, everybody, lambda: process.poll() is None)
            await everybody
            restarts.cancel()
        await wait_for(lambda: descriptors(process.pid) <= files, 60)
        await wait_for(lambda: app.events["sidesocket.close"] >= soak.opened, 60)
        left = descriptors(process.pid) - files
        print(f"{soak.opened} connections, {soak.messages} messages, {app.events['sidesocket.close']} close events\n"
              f"memory: {warm} KiB warm, {last} KiB at the end, {peak} KiB at most; descriptors left over: {left}")
        if last > warm * 1.1 + 4096:
            soak.fault("memory has grown")
        if left > 0:
            soak.fault("descriptors are left over")
        if app.events["sidesocket.close"] < soak.opened:
            soak.fault("close events are missing")
    finally:
        process.terminate()
        code = process.wait(60)
        await app.runner.cleanup()
    if code:
        soak.fault(f"it ended with {code}")
    for what, count in soak.faults.items():
        print(f"soak: {what}: {count}", file=sys.stderr)
    return 1 if soak.faults else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/sidesocket"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--stay", type=float, default=60, help="seconds that a client stays, on average")
    parser.add_argument("--rate", type=float, default=0.05, help="messages per second of a client")
    parser.add_argument("--restart-every", type=float, default=120, help="seconds between restarts of the app")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
