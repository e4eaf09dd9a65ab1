// However hostile the surroundings: never a try that is faster than its back-off, and never two at once.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, reconnectDelay } from '../sidesocket.js'
import { FakeHTTP, freshAddress, html, json, record, settle, stream, WELCOME, World } from '../support/world.js'

/**
 * Lets a session try for ten minutes. Each wait that it announces must be what the table gives for this failure, and
 * the next try, of whatever transport, must not come before it is over.
 */
async function tenMinutes({ onSocket, answer, code = 1006, first, options }) {
  const world = new World()
  world.chance = 0.5
  const tries = []
  const http = new FakeHTTP(world, post => {
    if (post.body.n === 1) tries.push(world.time)
    return answer?.(post)
  })
  const begun = () => tries.push(world.time)
  world.onSocket = socket => {
    begun()
    onSocket?.(socket, world)
  }
  const s = connect(freshAddress(), { world, ...options })
  const waits = []
  let open = 0
  let most = 0
  s.on('state', ({ state, delay, code }) => {
    if (state === 'waiting') waits.push({ delay, code, at: world.time })
    open = state === 'waiting' || state === 'closed' ? 0 : open + (state === 'connecting' ? 1 : 0)
    most = Math.max(most, open)
  })
  await world.advance(600_000)
  assert.ok(most <= 1, 'two tries at once')
  for (const [index, { delay, at }] of waits.entries()) {
    const least = first !== undefined && index === 0 ? first : reconnectDelay(code, index, () => 0.5)
    assert.equal(delay, least, `wait ${index}`)
    const next = tries.find(time => time > at || (delay === 0 && time === at))
    assert.ok(next === undefined || next >= at + delay, `a try at ${next}, though ${at} + ${delay}`)
  }
  // Nothing besides what was announced.
  assert.ok(tries.length <= waits.length + 1, `${tries.length} tries, ${waits.length} waits`)
  s.close()
  await settle()
  return { waits, tries, world, http }
}

const refused = (socket, world) => world.setTimeout(() => socket.end(1006), 0)

test('nobody is there: DNS is gone, or the handshake is refused', async () => {
  const { tries, waits } = await tenMinutes({ onSocket: refused })
  assert.ok(waits.length > 30)
  // 0.5 + 1 + 2 + 4 + 8, then each 15 s.
  assert.deepEqual(tries.slice(0, 7), [0, 500, 1500, 3500, 7500, 15_500, 30_500])
})

test('the server accepts, and closes at once', async () => {
  const { waits } = await tenMinutes({
    onSocket: (socket, world) => world.setTimeout(() => (socket.open(), socket.end(1006)), 0),
  })
  assert.ok(waits.length > 30)
})

test('the server welcomes, and closes at once', async () => {
  const { waits } = await tenMinutes({
    onSocket: (socket, world) => world.setTimeout(() => (socket.welcome({ resume: 'r' }), socket.end(1001)), 0),
    code: 1001,
  })
  assert.ok(waits.length > 30)
})

test('the server welcomes, and closes after less than what counts as lasting', async () => {
  const { waits } = await tenMinutes({
    onSocket: (socket, world) => {
      world.setTimeout(() => socket.welcome({ resume: 'r' }), 0)
      world.setTimeout(() => socket.end(1011), 4_999)
    },
    code: 1011,
  })
  assert.ok(waits.length > 25)
})

test('the server accepts, and stays silent', async () => {
  const { tries, world } = await tenMinutes({ onSocket: (socket, world) => world.setTimeout(() => socket.open(), 0) })
  assert.deepEqual(tries.slice(0, 3), [0, 15_500, 31_500])
  for (const socket of world.sockets.slice(0, -1)) assert.deepEqual(socket.closed, [[4001]])
})

test('the handshake never ends', async () => {
  const { tries } = await tenMinutes({})
  assert.deepEqual(tries.slice(0, 3), [0, 15_500, 31_500])
})

for (const noise of [{ type: 'message', seq: 1, payload: 1 }, null, 7, { type: '$live' }, []]) {
  test(`the server says ${JSON.stringify(noise)} instead of $welcome`, async () => {
    const { waits } = await tenMinutes({
      onSocket: (socket, world) => world.setTimeout(() => (socket.open(), socket.give(noise)), 0),
    })
    assert.ok(waits.length > 15)
  })
}

test('the server speaks something else', async () => {
  const { waits, world } = await tenMinutes({
    onSocket: (socket, world) => world.setTimeout(() => (socket.welcome(), socket.onmessage({ data: 'hello' })), 0),
  })
  assert.ok(waits.length > 30)
  assert.deepEqual(world.sockets[0].closed, [[4001]])
})

test('the server welcomes twice', async () => {
  const { waits } = await tenMinutes({
    onSocket: (socket, world) => world.setTimeout(() => (socket.welcome(), socket.give(WELCOME)), 0),
  })
  assert.ok(waits.length > 30)
})

test('the server ends each attempt with 4408: at once, but only the first time', async () => {
  const { tries } = await tenMinutes({
    onSocket: (socket, world) =>
      world.setTimeout(() => {
        socket.open()
        socket.give({ type: '$bye', code: 4408, reconnect: true, after: 0 })
        socket.end(4408)
      }, 0),
    first: 0,
  })
  assert.deepEqual(tries.slice(0, 4), [0, 0, 1000, 3000])
})

test('the server wants everybody back at once, all the time', async () => {
  const { tries } = await tenMinutes({
    onSocket: (socket, world) =>
      world.setTimeout(() => {
        socket.welcome({ resume: 'r' })
        socket.give({ type: '$bye', code: 1012, reconnect: true, after: 0 })
        socket.end(1012)
      }, 0),
    code: 1012,
    first: 0,
  })
  assert.ok(tries.length < 60, `${tries.length}`)
})

test('there is no token', async () => {
  const { waits, tries } = await tenMinutes({ options: { token: () => Promise.reject(new Error('no network')) } })
  assert.ok(waits.length > 30)
  assert.equal(tries.length, 0)
})

test('the token never comes', async () => {
  const { waits, tries } = await tenMinutes({ options: { token: () => new Promise(() => {}) } })
  assert.ok(waits.length > 15)
  assert.equal(tries.length, 0)
})

test('the token is the page of a captive portal', async () => {
  const token = async () => (await html()).text()
  const { waits, tries } = await tenMinutes({ options: { token } })
  assert.ok(waits.length > 30)
  assert.equal(tries.length, 0)
})

test('each token is refused', async () => {
  let asked = 0
  const { waits } = await tenMinutes({
    onSocket: (socket, world) => world.setTimeout(() => (socket.open(), socket.end(4401)), 0),
    options: { token: async () => `t${++asked}` },
  })
  assert.ok(waits.length > 30)
  assert.ok(asked <= waits.length + 1)
})

// With HTTP as well: each try goes somewhere else, but none comes earlier.

const http = { http: '/http' }

test('nobody is there, whatever is tried', async () => {
  const { tries, http: server, world } = await tenMinutes({
    onSocket: refused,
    answer: () => Promise.reject(new TypeError('Failed to fetch')),
    options: http,
  })
  assert.deepEqual(tries.slice(0, 6), [0, 500, 1500, 3500, 7500, 15_500])
  assert.ok(server.posts.length > 15 && world.sockets.length > 15)
})

for (const status of [200, 401, 403, 404, 511]) {
  test(`a captive portal answers everything with a page and ${status}`, async () => {
    const { waits } = await tenMinutes({ onSocket: refused, answer: () => html(status), options: http })
    assert.ok(waits.length > 30)
  })
}

test('the HTTP server never answers', async () => {
  const { waits } = await tenMinutes({ onSocket: refused, answer: () => new Promise(() => {}), options: http })
  assert.ok(waits.length > 15)
})

for (const [what, reply] of [
  ['JSON of somebody else', () => json({ hello: 1 })],
  ['frames without a welcome', () => json({ frames: [{ type: 'message' }] })],
  ['no frames', () => json({ frames: [] })],
  ['null', () => json(null)],
  ['the wrong kind of JSON', () => new Response('{', { headers: { 'Content-Type': 'application/json' } })],
]) {
  test(`the HTTP server answers ${what}`, async () => {
    const { waits, http: server } = await tenMinutes({ onSocket: refused, answer: reply, options: http })
    assert.ok(waits.length > 30)
    assert.ok(server.posts.length <= waits.length, `${server.posts.length} POSTs`)
  })
}

test('the HTTP server ends each stream at once', async () => {
  const { waits } = await tenMinutes({
    onSocket: refused,
    answer: () => {
      const answer = stream()
      answer.give(WELCOME)
      answer.end()
      return answer.response
    },
    options: http,
  })
  assert.ok(waits.length > 30)
})

test('a server over HTTP that does not wait is asked once a second', async () => {
  const world = new World()
  const server = new FakeHTTP(world, ({ headers, body }) => {
    if (headers.Accept !== 'application/json') throw new TypeError('Failed to fetch')
    return json({ frames: body.n === 1 ? [WELCOME] : [] })
  })
  world.onSocket = socket => refused(socket, world)
  const s = connect(freshAddress(), { world, http: '/http' })
  await world.advance(10_000)
  assert.equal(s.state, 'open')
  const before = server.posts.length
  await world.advance(60_000)
  assert.ok(server.posts.length - before <= 61, `${server.posts.length - before} POSTs in a minute`)
  s.close()
})

// Events of the page

test('a network that comes and goes all the time does not make it faster', async () => {
  const world = new World()
  world.onSocket = socket => refused(socket, world)
  const s = connect(freshAddress(), { world })
  for (let i = 0; i < 3000; i++) {
    world.network(true)
    await world.advance(100)
  }
  assert.ok(world.sockets.length <= 26, `${world.sockets.length} tries in 300 s`)
  s.close()
})

test('offline it tries each 30 s, and soon when it is online', async () => {
  const world = new World()
  world.navigator.onLine = false
  world.onSocket = socket => refused(socket, world)
  const s = connect(freshAddress(), { world })
  await world.advance(70_000)
  assert.deepEqual(world.sockets.map(({ at }) => at), [0, 30_000, 60_000])
  world.network(true)
  await world.advance(500)
  assert.equal(world.sockets.at(-1).at, 70_500)
  s.close()
})

// Codes

for (const [code, wait] of [
  [1001, 500],
  [1006, 500],
  [1011, 500],
  [4000, 500],
  [1012, 2500],
  [4410, 2500],
  [1013, 10_000],
  [4429, 10_000],
  [4408, 0],
  [1000, null],
  [1008, null],
  [4400, null],
  [4401, null],
  [4403, null],
  [4409, null],
]) {
  test(`${code} without $bye: ${wait === null ? 'the end' : `${wait} ms`}`, async () => {
    const world = new World()
    const s = connect(freshAddress(), { world })
    const seen = record(s)
    await settle()
    world.last.welcome({ resume: 'r' })
    world.last.end(code, 'why')
    assert.equal(seen.at(-1), wait === null ? `closed ${code}` : `waiting ${wait} ${code}`)
    await world.advance(wait ?? 1e6)
    assert.equal(world.sockets.length, wait === null ? 1 : 2)
    s.close()
  })
}

for (const [bye, wait] of [
  [{ code: 1012, reconnect: true, after: 3500 }, 3500],
  [{ code: 1008, reconnect: true, after: 100 }, 100],
  [{ code: 1011, reconnect: false }, null],
  [{ code: 4403, reconnect: false }, null],
  [{ code: 4401, reconnect: true, after: 0 }, null],
]) {
  test(`$bye says ${JSON.stringify(bye)}`, async () => {
    const world = new World()
    const s = connect(freshAddress(), { world })
    const seen = record(s)
    await settle()
    world.last.welcome({ resume: 'r' })
    await world.advance(5_000)
    world.last.give({ type: '$bye', ...bye })
    world.last.end(bye.code)
    assert.equal(seen.at(-1), wait === null ? `closed ${bye.code}` : `waiting ${wait} ${bye.code}`)
    s.close()
  })
}

test('a wait that the server asked for is not shortened by looking at the page', async () => {
  const world = new World()
  const s = connect(freshAddress(), { world })
  await settle()
  world.last.welcome({ resume: 'r' })
  world.last.give({ type: '$bye', code: 1012, reconnect: true, after: 4000 })
  world.last.end(1012)
  world.network(true)
  world.show(true)
  await world.advance(3_999)
  assert.equal(world.sockets.length, 1)
  await world.advance(1)
  assert.equal(world.sockets.length, 2)
  s.close()
})

test('a $bye is for its own connection only', async () => {
  const world = new World()
  const s = connect(freshAddress(), { world })
  const seen = record(s)
  await settle()
  world.last.welcome({ resume: 'r' })
  world.last.give({ type: '$bye', code: 1008, reconnect: true, after: 5_000 })
  world.last.end(1008)
  await world.advance(5_000)
  world.last.end(1006)
  assert.equal(seen.at(-1), 'waiting 1000 1006')
  s.close()
})

test('a token that fails after a $bye does not end it', async () => {
  const world = new World()
  let fail = false
  const token = async () => {
    if (fail) throw new Error('no network')
    return 'abc'
  }
  const s = connect(freshAddress(), { world, token })
  const seen = record(s)
  await settle()
  world.last.welcome({ resume: 'r' })
  fail = true
  world.last.give({ type: '$bye', code: 1008, reconnect: true, after: 50 })
  world.last.end(1008)
  await world.advance(50)
  assert.equal(seen.at(-1), 'waiting 1000 1006')
  s.close()
})
