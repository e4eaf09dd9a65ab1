// Is the server there? Heartbeats, pages in the background, machines that sleep, the back/forward cache.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../sidesocket.js'
import { freshAddress, record, settle, World } from '../support/world.js'

async function start(welcome, options) {
  const world = new World()
  const s = connect(freshAddress(), { world, ...options })
  const seen = record(s)
  await settle()
  world.last.welcome({ resume: 'r1', ...welcome })
  seen.splice(0)
  return { world, s, seen }
}
const PING = { type: '$ping' }
const types = socket => socket.frames().map(({ type }) => type)
/** A server that answers pings after a while. */
function answering(world, socket, delay = 50) {
  const send = socket.send
  socket.pings = []
  socket.send = text => {
    send.call(socket, text)
    if (JSON.parse(text).type !== '$ping') return
    socket.pings.push(world.time)
    // Not a timer of the page, so not a part of its chains.
    world.timers.push({ call: () => socket.isOpen && socket.give({ type: '$pong' }), at: world.time + delay, level: 0 })
  }
}

test('it pings when nothing came for so long as the server says, and gives up ten seconds later', async () => {
  const { world, seen } = await start({ ping: 25_000 })
  await world.advance(20_000)
  world.last.give({ type: 'message', seq: 1, payload: 1 })
  world.last.frames()
  seen.splice(0)
  await world.advance(24_999)
  assert.deepEqual(world.last.frames(), [])
  await world.advance(1)
  assert.deepEqual(types(world.last), ['$ack', '$ping'])
  await world.advance(9_999)
  assert.deepEqual([seen, world.last.closed], [[], []])
  await world.advance(1)
  assert.deepEqual(seen, ['waiting 500 1006'])
  assert.deepEqual(world.sockets[0].closed, [[4001]], 'the session is to wait for us')
})

test('whatever comes is a sign of life', async () => {
  const { world, s } = await start({ ping: 25_000 })
  for (let i = 0; i < 20; i++) {
    await world.advance(24_999)
    world.last.give({ type: 'message', channel: 'x', offset: i, payload: 1 })
  }
  assert.deepEqual(world.last.frames(), [])
  await world.advance(30_000)
  assert.deepEqual(world.last.frames(), [PING])
  world.last.give({ type: 'message', channel: 'x', offset: 100, payload: 1 })
  await world.advance(24_999)
  assert.equal(s.state, 'open')
  s.close()
})

test('where pings are off, none is sent', async () => {
  const { world, s } = await start({ ping: undefined })
  await world.advance(1e6)
  assert.deepEqual([world.last.frames(), s.state], [[], 'open'])
  s.close()
})

test('what a given up socket still says is not heard', async () => {
  const { world, s, seen } = await start({ ping: 25_000 })
  const old = world.last
  await world.advance(35_500)
  assert.equal(world.sockets.length, 2)
  old.give({ type: 'message', seq: 1, payload: 'late' }, { type: '$bye', code: 1000, reconnect: false })
  old.end(1000)
  assert.deepEqual(seen, ['waiting 500 1006', 'connecting'])
  world.last.end(1006)
  assert.equal(s.state, 'waiting')
  s.close()
})

// In the background

test('ten minutes in the background: pings stay in time, though chained timers run once a minute', async () => {
  const { world, s, seen } = await start({ ping: 25_000 })
  answering(world, world.last)
  world.show(false)
  await world.advance(600_000)
  const { pings } = world.last
  assert.deepEqual([seen, s.state, world.sockets.length], [[], 'open', 1])
  const gaps = pings.map((time, index) => time - (pings[index - 1] ?? 0))
  assert.ok(Math.max(...gaps) <= 28_000, `pings after ${gaps}`)
  assert.ok(pings.length >= 600 / 28)
  s.close()
})

test('in the background, a server that is gone is noticed in time', async () => {
  const { world, seen } = await start({ ping: 25_000 })
  const [socket] = world.sockets
  answering(world, socket)
  world.show(false)
  await world.advance(420_000)
  socket.send = () => {}
  const since = world.time
  let at
  while (!at && world.time < since + 60_000) {
    await world.advance(500)
    if (seen.length) at = world.time
  }
  assert.ok(at - since <= 25_000 + 10_000 + 3_000, `after ${at - since} ms`)
})

test('in the background, chains of timers really are slow here', async () => {
  const world = new World()
  world.show(false)
  const ran = []
  const again = () => (ran.push(world.time), world.setTimeout(again, 10_000))
  world.setTimeout(again, 10_000)
  await world.advance(600_000)
  const late = ran.filter(time => time > 360_000)
  assert.ok(late.length <= 5, `${late}`)
})

test('a page that was in the background for long does not take that for sleep', async () => {
  const { world, s } = await start({ ping: undefined })
  world.show(false)
  await world.advance(600_000)
  assert.deepEqual([world.sockets.length, world.last.frames()], [1, []])
  s.close()
})

// Sleep

test('after sleep the server is asked at once, and an answer keeps the connection', async () => {
  const { world, s, seen } = await start({ ping: 25_000 })
  await world.advance(1_000)
  world.sleep(3_600_000)
  await world.advance(5_000)
  assert.deepEqual(world.last.frames(), [PING])
  world.last.give({ type: '$pong' })
  await world.advance(20_000)
  assert.deepEqual([seen, s.state, world.last.frames()], [[], 'open', []])
  s.close()
})

test('after sleep a dead connection is given up within 15 s', async () => {
  const { world, seen } = await start({ ping: 25_000 })
  world.sleep(3_600_000)
  await world.advance(15_000)
  assert.deepEqual(seen, ['waiting 500 1006'])
})

test('sleep while it waits for the answer: asked once more, then given up', async () => {
  const { world, s, seen } = await start({ ping: 25_000 })
  await world.advance(25_000)
  assert.deepEqual(world.last.frames(), [PING])
  world.sleep(3_600_000)
  await world.advance(10_000)
  assert.deepEqual([seen, world.last.frames()], [[], [PING]])
  await world.advance(9_999)
  assert.deepEqual(seen, [])
  await world.advance(1)
  assert.deepEqual(seen, ['waiting 500 1006'])
  s.close()
})

test('who sleeps all the time is not asked for ever', async () => {
  const { world, s, seen } = await start({ ping: 25_000 })
  await world.advance(25_000)
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(seen, [])
    world.sleep(3_600_000)
    await world.advance(10_000)
  }
  assert.deepEqual(seen, ['waiting 500 1006'])
  s.close()
})

test('a clock that is set back does no harm', async () => {
  const { world, s } = await start({ ping: 25_000 })
  answering(world, world.last)
  world.sleep(-3_600_000)
  await world.advance(120_000)
  assert.equal(s.state, 'open')
  assert.equal(world.last.pings.length, 4)
  s.close()
})

// Events of the page

for (const [what, act] of [
  ['the network is back', world => world.network(true)],
  ['the network seems to be gone', world => world.network(false)],
  ['the page is shown', world => world.show(true)],
  ['the page is resumed', world => world.pageEvent('resume')],
  ['the page is back', world => world.event('pageshow', { persisted: false })],
]) {
  test(`when ${what}, an open connection is asked, once`, async () => {
    const { world, s } = await start({ ping: 25_000 })
    act(world)
    act(world)
    assert.deepEqual(world.last.frames(), [PING])
    world.navigator.onLine = true
    await world.advance(10_000)
    assert.equal(s.state, 'waiting')
    s.close()
  })
}

test('after an answer it asks again at the next event', async () => {
  const { world, s } = await start({ ping: 25_000 })
  for (let i = 0; i < 3; i++) {
    world.show(true)
    assert.deepEqual(world.last.frames(), [PING])
    world.last.give({ type: '$pong' })
  }
  s.close()
})

test('a page that is hidden asks nobody', async () => {
  const { world, s } = await start({ ping: 25_000 })
  world.show(false)
  assert.deepEqual(world.last.frames(), [])
  s.close()
})

test('into the back/forward cache and back: 4001, the session is resumed, at once', async () => {
  const { world, s, seen } = await start({ ping: 25_000 })
  await world.advance(6_000)
  world.event('pagehide', { persisted: true })
  assert.deepEqual(world.last.closed, [[4001]])
  assert.deepEqual(seen, ['waiting 0 4001'])
  world.sockets[0].end(4001)
  await world.advance(3_600_000)
  assert.deepEqual([world.sockets.length, world.timers.length], [1, 0], 'nothing happens in there')
  world.pageEvent('resume')
  world.event('pageshow', { persisted: true })
  world.show(true)
  await world.advance(0)
  assert.equal(world.sockets.length, 2)
  assert.equal(world.last.offered('sidesocket.resume.'), 'r1')
  world.last.open()
  world.last.give({ type: '$welcome', session: 's1', resumed: true, resume: 'r2', channels: {} })
  assert.equal(s.state, 'open')
  s.close()
})

test('a page that leaves for good is closed by the browser', async () => {
  const { world, s } = await start()
  world.event('pagehide', { persisted: false })
  assert.deepEqual([world.last.closed, s.state], [[], 'open'])
  s.close()
})

test('a frozen page is as one in the cache', async () => {
  const { world, seen } = await start()
  await world.advance(6_000)
  world.pageEvent('freeze')
  await world.advance(60_000)
  assert.deepEqual([world.last.closed, seen], [[[4001]], ['waiting 0 4001']])
  world.pageEvent('resume')
  await world.advance(0)
  assert.equal(world.sockets.length, 2)
})

test('put aside while it waits, it goes on waiting', async () => {
  const world = new World()
  const s = connect(freshAddress(), { world })
  await settle()
  world.last.end(1006)
  world.event('pagehide', { persisted: true })
  await world.advance(500)
  assert.equal(world.sockets.length, 2)
  await world.advance(15_000)
  assert.deepEqual(world.last.closed, [[4001]], 'and tries do not last longer')
  s.close()
})

test('put aside while it connects', async () => {
  const world = new World()
  const s = connect(freshAddress(), { world })
  await settle()
  world.event('pagehide', { persisted: true })
  assert.deepEqual(world.last.closed, [[4001]])
  await world.advance(60_000)
  assert.equal(world.sockets.length, 1)
  world.event('pageshow', { persisted: true })
  await world.advance(0)
  assert.equal(world.sockets.length, 2)
  s.close()
})

test('who goes to and fro all the time slows down', async () => {
  const world = new World()
  const s = connect(freshAddress(), { world })
  for (let i = 0; i < 600; i++) {
    await settle()
    if (world.last.closed.length === 0 && !world.last.isOpen) world.last.welcome()
    world.event('pagehide', { persisted: true })
    await world.advance(50)
    world.event('pageshow', { persisted: true })
    await world.advance(50)
  }
  assert.ok(world.sockets.length < 20, `${world.sockets.length} tries in 60 s`)
  s.close()
})

test('closed while it is put aside, it stays closed', async () => {
  const { world, s } = await start()
  world.event('pagehide', { persisted: true })
  s.close()
  world.event('pageshow', { persisted: true })
  await world.advance(60_000)
  assert.deepEqual([s.state, world.sockets.length, world.timers.length], ['closed', 1, 0])
})
