"""clients/javascript: its own tests, its types, what is made of it, and the client in Node against a sidecar."""

import json
import os
import queue
import shutil
import subprocess
import threading

import pytest
from support.api import API
from support.app import Reply, gate
from support.history import Relay
from support.net import PATIENCE, eventually
from support.process import ROOT
from support.publishing import TEXT

FOLDER = ROOT / "clients/javascript"
PACKAGE = json.loads((FOLDER / "package.json").read_text())

# Says what happens, a line of JSON each, and does what it is told, a line of JavaScript each.
CLIENT = """
const [address, transport] = process.argv.slice(-2)
const { connect } = await import(process.env.CLIENT)
const { default: WebSocket } = await import('/usr/share/nodejs/ws/wrapper.mjs')
const say = (what, more) => console.log(JSON.stringify([what, more]))
// A network that no WebSocket passes, and perhaps no stream either.
class Blocked { constructor() { setTimeout(() => this.onclose({ code: 1006, reason: '' }), 1) } close() {} }
const { fetch } = globalThis
if (transport === 'poll') globalThis.fetch = (url, how) =>
  how.headers.Accept === 'text/event-stream' ? Promise.reject(new TypeError('blocked')) : fetch(url, how)
const http = address.replace('ws:', 'http:')
const s = connect(address, transport === 'websocket' ? { WebSocket } : { WebSocket: Blocked, http })
s.on('state', event => say('state', event))
s.on('message', frame => say('message', frame))
const room = s.channel('room')
for (const type of ['message', 'gap', 'joined', 'left', 'client-typing']) room.on(type, frame => say(`room ${type}`, frame))
const ask = (...how) => s.request(...how).then(frame => say('answer', frame), error => say('error', { ...error, message: error.message }))
for await (const line of (await import('node:readline')).createInterface({ input: process.stdin })) eval(line)
"""


def run(*command):
    need(command[0])
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_its_own_tests():
    if int(run("node", "--version")[1:].split(".")[0]) < 20:
        pytest.skip("they need Node 20 or later")
    assert "\n# fail 0\n" in run("node", "--test", "--test-reporter=tap")


def test_its_types():
    run("sh", "-c", PACKAGE["scripts"]["types"])


def test_the_script_in_the_binary_is_made_from_it_and_small():
    need("esbuild")
    run("bash", "../../scripts/client-script.sh", "--check")
    script = ROOT / "Sources/SidecarServer/Client/Script/sidesocket.min.js"
    assert script.with_name("sidesocket.min.js.gz").stat().st_size <= 7 * 1024
    assert f"version {PACKAGE['version']} */" in script.read_text()[:100]


def need(program, *files):
    if not shutil.which(program) or not all(map(os.path.exists, files)):
        pytest.skip(f"{program} is missing")


class NodeClient:
    """The client in a process of Node."""

    def __init__(self, address, transport):
        need("node", "/usr/share/nodejs/ws")
        self.process = subprocess.Popen(
            ["node", "--input-type=module", "-e", CLIENT, address, transport],
            env={**os.environ, "CLIENT": str(FOLDER / "sidesocket.js")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._said = queue.Queue()
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self):
        for line in self.process.stdout:
            self._said.put(json.loads(line))

    def do(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def next(self, what, **members):
        """What it says next, with at least these members."""
        said, more = self._said.get(timeout=PATIENCE)
        assert said == what and members.items() <= more.items(), f"{said} {more}"
        return more

    def until(self, what, **members):
        """What it says of this kind, with at least these members, after anything else."""
        while True:
            said, more = self._said.get(timeout=PATIENCE)
            if said == what and members.items() <= more.items():
                return more

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def edge(script, sidesocket):
    policy = "room=client-events=on"
    return sidesocket(script, HISTORY_SIZE="100", CHANNEL_POLICIES=policy, HTTP_PATHS="/ws", POLL_TIMEOUT="2s")


@pytest.fixture
def relay(edge):
    relay = Relay(edge.port)
    yield relay
    relay.stop()


@pytest.fixture(params=["websocket", "stream", "poll"])
def node(relay, request):
    clients = []

    def start(query="user=42&join=room"):
        client = NodeClient(f"ws://127.0.0.1:{relay.port}/ws?{query}", request.param)
        clients.append(client)
        client.until("state", state="open", resumed=False)
        client.next("room joined")
        return client

    yield start
    for client in clients:
        client.stop()


def publish(edge, text):
    API(edge).want(200, "POST", "/v1/channels/room/messages", text, TEXT)


def test_it_talks_to_the_app_and_hears_its_channels(edge, node):
    one, two = node(), node("user=7&join=room")
    one.do("ask('post', { text: 'hi' })")
    assert one.next("answer", type="reply")["payload"] == {"text": "hi"}
    one.do("ask('post', { answer: { status: 422, type: 'application/json', body: { why: 1 } } })")
    one.next("error", code="rejected", status=422, payload={"why": 1}, retry=False)
    publish(edge, "news")
    for client in (one, two):
        client.until("room message", payload="news", channel="room")
    one.do("room.whisper('typing', { on: true })")
    two.until("room client-typing", payload={"on": True}, user="42")


def test_it_comes_back_to_its_session(edge, relay, script, node):
    one = node()
    one.do("ask('post', 1)")
    one.next("answer", payload=1)
    relay.hold()
    relay.cut()
    publish(edge, "missed")
    # Without a connection a request fails at once, unless there is a queue.
    one.until("state", state="waiting")
    one.do("ask('post', 2)")
    one.until("error", code="disconnected", retry=True)
    relay.flow()
    publish(edge, "later")
    one.until("state", state="open", resumed=True)
    for text in ("missed", "later"):
        one.until("room message", payload=text)
    one.do("ask('post', 3)")
    one.until("answer", payload=3)
    assert [event.event for event in script.events()] == ["open", "message", "message"]


def test_a_request_that_was_under_way_is_handled_once(edge, relay, script, node):
    held = gate()
    script.on(Reply(200, "1", {"Content-Type": "application/json"}, gate=held), event="message")
    one = node()
    one.do("ask('post', 1)")
    eventually(lambda: any(head.event == "message" for head in list(script.heads)), "the app is asked")
    relay.cut()
    one.until("state", state="open", resumed=True)
    held.set()
    one.until("answer", payload=1)
    assert len(script.events("message")) == 1


def test_close_ends_the_session(edge, script, node):
    one = node()
    one.do("s.close()")
    one.until("state", state="closed")
    script.wait_events(1, "close")
    assert edge.metric("sessions_detached") == 0
