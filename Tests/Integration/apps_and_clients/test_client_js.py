"""examples/sidesocket-client.js: its delays, and its states on a virtual clock."""

import json
import os
import shutil
import subprocess

import pytest
from support.process import ROOT

CLIENT = ROOT / "examples/sidesocket-client.js"
# A world with a clock that only `advance` moves, sockets that do what the test says, and one listener for all events.
WORLD = """
const assert = require('node:assert/strict')
const { ReconnectingWebSocket, reconnectDelay } = require(process.env.CLIENT)
let time = 0, timers = [], sockets = [], seen = [], chance = 0.5
class FakeSocket {
  constructor(url, protocols) { Object.assign(this, { url, protocols, sent: [], closed: [] }); sockets.push(this) }
  send(data) { this.sent.push(data) }
  close(...how) { this.closed.push(how) }
  open() { this.onopen({}) }
  end(code, reason = '') { this.onclose({ code, reason }) }
}
const world = Object.assign(new EventTarget(), {
  WebSocket: FakeSocket,
  Math: { random: () => chance },
  performance: { now: () => time },
  setTimeout: (call, delay) => { const timer = { call, at: time + delay }; timers.push(timer); return timer },
  clearTimeout: timer => { timers = timers.filter(other => other !== timer) },
  navigator: { onLine: true },
  document: Object.assign(new EventTarget(), { hidden: false }),
})
function advance(span) {
  const end = time + span
  for (;;) {
    const next = timers.filter(timer => timer.at <= end).sort((a, b) => a.at - b.at)[0]
    if (!next) break
    timers = timers.filter(timer => timer !== next)
    time = next.at
    next.call()
  }
  time = end
}
const last = () => sockets.at(-1)
const settle = () => new Promise(resolve => setImmediate(resolve))
function start(options, url = 'ws://app.test/ws') {
  const client = new ReconnectingWebSocket(url, { world, ...options })
  client.onopen = () => seen.push('open')
  client.onmessage = event => seen.push(event.data)
  client.onclose = event => seen.push(`close ${event.code} ${client.state}`)
  client.onwaiting = (delay, code) => seen.push(`waiting ${delay} ${code}`)
  return client
}
function network(onLine) {
  world.navigator.onLine = onLine
  world.dispatchEvent(new Event(onLine ? 'online' : 'offline'))
}
"""


def node(script):
    """Runs `script` in Node after WORLD and returns what it prints."""
    if not shutil.which("node"):
        pytest.skip("node is missing")
    done = subprocess.run(
        ["node", "-e", f"{WORLD}\n;(async () => {{\n{script}\n}})()"],
        env={**os.environ, "CLIENT": str(CLIENT)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# The table


@pytest.fixture(scope="module")
def delays():
    """{code: [[shortest, longest] for each attempt]}, or null where there is no next try."""
    return json.loads(
        node("""
        const table = {}
        for (const code of [1000, 1001, 1002, 1005, 1006, 1008, 1009, 1011, 1012, 1013, 4000, 4401, 4403, 4429])
          table[code] = [0, 1, 2, 3, 4, 5, 6, 2000].map(attempt => {
            const [low, high] = [0, 1].map(chance => reconnectDelay(code, attempt, () => chance))
            return low === null && high === null ? null : [low, high]
          })
        console.log(JSON.stringify(table))
        """)
    )


@pytest.mark.parametrize("code", ["1000", "1008", "4401", "4403"])
def test_not_again(delays, code):
    assert delays[code] == [None] * 8


@pytest.mark.parametrize("code", ["1001", "1002", "1005", "1006", "1009", "1011", "4000"])
def test_the_usual_wait_is_full_jitter_over_a_span_that_doubles_up_to_a_cap(delays, code):
    assert delays[code] == [[0, span * 1000] for span in (1, 2, 4, 8, 16, 30, 30, 30)]


def test_after_a_restart_soon_but_spread_over_five_seconds(delays):
    assert delays["1012"] == [[0, span * 1000] for span in (5, 5, 5, 8, 16, 30, 30, 30)]


@pytest.mark.parametrize("code", ["1013", "4429"])
def test_later_is_never_at_once(delays, code):
    assert delays[code] == [[5000, 5000 + span * 1000] for span in (10, 20, 40, 80, 120, 120, 120, 120)]


def test_without_a_given_random_number_it_takes_its_own():
    node("""
    const found = Array.from({ length: 1000 }, () => reconnectDelay(1012, 0))
    assert(found.every(delay => delay >= 0 && delay < 5000))
    assert(Math.min(...found) < 500 && Math.max(...found) > 4500)
    """)


# The states


def test_it_opens_sends_and_hears():
    node("""
    const client = start({ protocols: ['chat'] })
    assert.deepEqual([client.state, last().url, last().protocols], ['connecting', 'ws://app.test/ws', ['chat']])
    assert.equal(client.send('too early'), false)
    last().open()
    assert.equal(client.state, 'open')
    assert.equal(client.send('hello'), true)
    last().onmessage({ data: 'welcome' })
    assert.deepEqual(last().sent, ['hello'])
    assert.deepEqual(seen, ['open', 'welcome'])
    """)


def test_failures_in_a_row_wait_longer_and_longer():
    node("""
    const client = start()
    for (const delay of [500, 1000, 2000, 4000, 8000, 15000, 15000]) {
      last().end(1006)
      assert.deepEqual(seen.splice(0), ['close 1006 waiting', `waiting ${delay} 1006`])
      const before = sockets.length
      advance(delay - 1)
      assert.deepEqual([sockets.length, client.state], [before, 'waiting'])
      assert.equal(client.send('in between'), false)
      advance(1)
      assert.deepEqual([sockets.length, client.state], [before + 1, 'connecting'])
    }
    """)


def test_only_a_connection_that_lasted_makes_the_next_failure_a_first_one():
    node("""
    const client = start()
    const fail = open => {
      if (open !== null) { last().open(); advance(open) }
      last().end(1006)
      const wait = Number(seen.at(-1).split(' ')[1])
      advance(wait)
      return wait
    }
    assert.deepEqual([null, 0, 4999, null].map(fail), [500, 1000, 2000, 4000])
    assert.deepEqual([5000, null, 60000].map(fail), [500, 1000, 500])
    assert.equal(client.attempt, 1)
    """)


def test_a_handshake_that_takes_long_is_no_stable_connection():
    node("""
    start()
    last().end(1006)
    advance(500)
    advance(60000)
    last().end(1006)
    assert.equal(seen.at(-1), 'waiting 1000 1006')
    """)


def test_each_code_has_its_wait():
    node("""
    for (const [code, delay] of [[1001, 500], [1011, 500], [1012, 2500], [1013, 10000], [4429, 10000]]) {
      start()
      last().open()
      last().end(code)
      assert.equal(seen.at(-1), `waiting ${delay} ${code}`)
    }
    """)


@pytest.mark.parametrize("code", [1000, 1008, 4401, 4403])
def test_a_final_code_ends_it_until_connect(code):
    node(
        f"const code = {code}"
        + """
    const client = start()
    last().open()
    last().end(code)
    assert.deepEqual(seen, ['open', `close ${code} closed`])
    advance(1e9)
    network(false)
    network(true)
    assert.deepEqual([sockets.length, timers.length], [1, 0])
    client.connect()
    client.connect()
    assert.deepEqual([sockets.length, client.state], [2, 'connecting'])
    last().end(1006)
    assert.equal(seen.at(-1), 'waiting 500 1006', 'a first failure')
    """
    )


def test_close_ends_it_from_every_state():
    node("""
    const client = start()
    client.close()
    assert.deepEqual([client.state, last().closed], ['closed', [[1000, '']]])
    last().open()
    assert.equal(client.state, 'closed', 'an open that was on its way')
    last().end(1006)
    assert.deepEqual(seen.splice(0), ['close 1006 closed'])

    client.connect()
    last().open()
    client.close(4000, 'enough')
    assert.deepEqual([client.state, last().closed], ['closed', [[4000, 'enough']]])
    assert.equal(client.send('too late'), false)
    last().end(4000)
    assert.deepEqual(seen.splice(0), ['open', 'close 4000 closed'])

    client.connect()
    last().end(1006)
    client.close()
    assert.deepEqual([client.state, timers.length], ['closed', 0])
    advance(1e9)
    client.close()
    assert.equal(sockets.length, 3)
    """)


def test_the_app_may_end_it_in_onclose_and_a_fault_there_does_no_harm():
    node("""
    const client = start()
    client.onclose = () => client.close()
    last().end(1006)
    assert.deepEqual([client.state, timers.length, seen.length], ['closed', 0, 0])
    client.onclose = () => { throw new Error('a fault of the page') }
    client.connect()
    assert.throws(() => last().end(1006), /a fault of the page/)
    assert.deepEqual([client.state, timers.length], ['waiting', 1])
    """)


def test_an_old_socket_is_not_heard_after_connect():
    node("""
    const client = start()
    const old = last()
    old.open()
    client.close()
    client.connect()
    last().open()
    old.onmessage({ data: 'stale' })
    old.end(1006)
    assert.deepEqual([client.state, seen], ['open', ['open', 'open']])
    """)


def test_a_dropped_connection_comes_back_without_waiting_for_the_other_side():
    node("""
    const client = start()
    const old = last()
    old.open()
    advance(10000)
    client.drop()
    assert.deepEqual(seen, ['open', 'close 1006 waiting', 'waiting 500 1006'])
    assert.equal(old.closed.length, 1)
    old.end(1006)
    client.drop()
    assert.deepEqual([seen.length, timers.length], [3, 1])
    advance(500)
    assert.equal(sockets.length, 2)
    """)


def test_an_expired_token_is_renewed_before_the_next_try():
    node("""
    let token = 1, fail = true, asked = 0
    const refreshToken = async () => { asked += 1; if (fail) throw new Error('no network'); token += 1 }
    const client = start({ refreshToken }, () => `ws://app.test/ws?token=${token}`)
    assert.equal(last().url, 'ws://app.test/ws?token=1')
    last().open()
    last().end(4401)
    assert.deepEqual(seen.splice(0), ['open', 'close 4401 waiting', 'waiting 500 4401'])
    assert.equal(asked, 0, 'not everybody in the same second')
    advance(500)
    await settle()
    assert.deepEqual([seen.splice(0), asked], [['waiting 1000 4401'], 1])
    fail = false
    advance(1000)
    assert.equal(client.state, 'connecting')
    await settle()
    assert.deepEqual([sockets.length, last().url], [2, 'ws://app.test/ws?token=2'])
    last().end(4401)
    advance(2000)
    client.close()
    await settle()
    assert.deepEqual([sockets.length, client.state], [2, 'closed'], 'closed while the token was on its way')
    """)


def test_a_table_of_the_app_replaces_the_one_here():
    node("""
    const client = start({ reconnectDelay: (code, ...more) => code === 4000 ? null : reconnectDelay(code, ...more) })
    last().end(1006)
    advance(500)
    last().end(4000)
    assert.deepEqual([client.state, timers.length], ['closed', 0])
    """)


def test_offline_it_waits_for_online():
    node("""
    const client = start()
    last().open()
    world.navigator.onLine = false
    advance(10000)
    last().end(1006)
    assert.equal(seen.at(-1), 'waiting 30000 1006')
    advance(20000)
    assert.equal(sockets.length, 1)
    network(true)
    assert.equal(seen.at(-1), 'waiting 500 1006')
    advance(500)
    assert.equal(sockets.length, 2)
    """)


def test_offline_during_a_wait_makes_it_longer_but_not_endless():
    node("""
    start()
    last().end(1006)
    network(false)
    assert.equal(seen.at(-1), 'waiting 30000 1006')
    advance(10000)
    const before = seen.length
    world.document.dispatchEvent(new Event('visibilitychange'))
    assert.equal(seen.length, before, 'looking at it changes nothing')
    advance(19999)
    assert.equal(sockets.length, 1)
    advance(1)
    assert.equal(sockets.length, 2, 'onLine is a hint')
    """)


def test_who_looks_at_the_page_does_not_wait_long_unless_the_server_asked_for_it():
    node("""
    const look = hidden => {
      world.document.hidden = hidden
      world.document.dispatchEvent(new Event('visibilitychange'))
    }
    const client = start()
    for (let i = 0; i < 7; i++) { last().end(1006); advance(15000) }
    last().end(1006)
    look(true)
    assert.equal(seen.at(-1), 'waiting 15000 1006')
    look(false)
    assert.equal(seen.at(-1), 'waiting 500 1006')
    advance(400)
    const before = seen.length
    look(false)
    assert.equal(seen.length, before, 'and not a second time')
    advance(100)
    last().end(4429)
    assert.equal(seen.at(-1), 'waiting 65000 4429')
    look(false)
    assert.equal(seen.at(-1), 'waiting 10000 4429')
    client.close()
    look(false)
    assert.equal(timers.length, 0)
    """)


def test_it_needs_no_page_around_it():
    node("""
    for (const name of ['addEventListener', 'navigator', 'document']) world[name] = undefined
    start()
    last().end(1006)
    advance(500)
    assert.equal(sockets.length, 2)
    """)


def test_it_is_a_global_of_a_page_and_a_module(tmp_path):
    module = tmp_path / "client.mjs"
    module.write_bytes(CLIENT.read_bytes())
    node(f"""
    const {{ readFileSync }} = require('node:fs')
    const page = require('node:vm').createContext({{}})
    require('node:vm').runInContext(readFileSync(process.env.CLIENT, 'utf8'), page)
    for (const name of ['ReconnectingWebSocket', 'reconnectDelay']) assert.equal(typeof page[name], 'function')
    const {{ ReconnectingWebSocket: named }} = await import(process.env.CLIENT)
    assert.equal(named, ReconnectingWebSocket)
    await import({json.dumps(str(module))})
    assert.equal(typeof globalThis.reconnectDelay, 'function')
    """)
