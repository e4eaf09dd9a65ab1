// Connections that are lost, and sessions that are not.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../sidesocket.js'
import { freshAddress, record, settle, watch, WELCOME, World } from '../support/world.js'

const ROOM = { offset: 17, epoch: 'k3', id: 'x9' }

/** A session with a resume token that has lasted, so that each test's first failure is a first one. */
async function start(options, welcome) {
  const world = new World()
  const s = connect(freshAddress(), { world, ...options })
  const seen = record(s)
  await settle()
  world.last.welcome({ resume: 'r1', ttl: 120_000, ...welcome })
  await world.advance(6_000)
  seen.splice(0)
  return { world, s, seen }
}
/** The connection is lost, and the next socket is made. */
async function lose(world, code = 1006, wait = 500) {
  world.last.end(code)
  await world.advance(wait)
}
const resumed = more => ({ ...WELCOME, resumed: true, resume: 'r2', ...more })
const anew = more => resumed({ session: 's2', resumed: false, seq: 0, ...more })
const LIVE = { type: '$live' }

/** What a client says when it has its session again: from then on the old token is worth nothing. */
const CONFIRMED = { type: '$ack', seq: 0 }

test('it comes back with its token, its number, its positions and nothing else', async () => {
  const { world, s, seen } = await start({}, { channels: { room: ROOM, other: { offset: 1, epoch: 'k', id: 'a' } } })
  world.last.give(
    { type: 'message', seq: 1, payload: 'a' },
    { type: 'message', channel: 'room', offset: 20, id: 'y1', payload: 'b' },
    { type: '$gap', channel: 'other', offset: 9, epoch: 'k2', id: 'z' }
  )
  await lose(world)
  assert.deepEqual(world.last.protocols, ['sidesocket.v1.json', 'sidesocket.resume.r1'])
  assert.deepEqual(world.last.sent, [])
  world.last.open()
  assert.deepEqual(world.last.frames(), [
    {
      type: '$resume',
      seq: 1,
      channels: { room: { offset: 20, epoch: 'k3', id: 'y1' }, other: { offset: 9, epoch: 'k2', id: 'z' } },
      session: 's1',
    },
  ])
  assert.equal(s.state, 'connecting')
  world.last.give(resumed({ seq: 1 }))
  assert.deepEqual(seen.slice(-1), ['open resumed'])
  await lose(world, 1006, 1000)
  assert.equal(world.last.offered('sidesocket.resume.'), 'r2', 'the newest token')
})

test('nothing is sent between $resume and $welcome, and what the page sends only after $live', async () => {
  const { world, s } = await start({ queue: 9 })
  await lose(world)
  world.last.open()
  world.last.frames()
  assert.equal(s.send('move', 1), false)
  watch(s.request('post', 2))
  await world.advance(10_000)
  assert.deepEqual(world.last.sent, [])
  world.last.give(resumed())
  assert.equal(s.send('move', 3), true)
  watch(s.request('post', 4))
  assert.equal(s.send('move', 5), true)
  assert.deepEqual(world.last.frames(), [CONFIRMED])
  world.last.give(LIVE)
  assert.deepEqual(world.last.frames().map(({ payload }) => payload), [2, 3, 4, 5])
  world.last.give(LIVE)
  assert.deepEqual(world.last.sent, [], 'a second $live repeats nothing')
})

test('unanswered requests are repeated in their order, before new ones, with the same ids', async () => {
  const { world, s } = await start({ queue: 9 })
  const results = [1, 2, 3].map(n => watch(s.request('post', n)))
  const before = world.last.frames()
  world.last.give({ type: '$ack', re: before[1].id })
  await lose(world)
  results.push(watch(s.request('post', 4)))
  world.last.open()
  world.last.frames()
  world.last.give(resumed())
  results.push(watch(s.request('post', 5)))
  // The answer to the first was kept, and is replayed: it need not be asked for again.
  world.last.give({ type: 'reply', re: before[0].id, seq: 1, payload: 'one' })
  assert.deepEqual(world.last.frames(), [CONFIRMED])
  world.last.give(LIVE)
  const after = world.last.frames()
  assert.deepEqual(after.map(({ payload }) => payload), [3, 4, 5])
  assert.equal(after[0].id, before[2].id)
  const re = after[0].id
  world.last.give({ type: '$error', re, code: 'in_progress', retry: false }, { type: '$ack', re, dup: true })
  await settle()
  assert.deepEqual([results[0].value.payload, results[2].value.dup, results[3], results[4]], ['one', true, {}, {}])
})

test('replayed frames that came before are dropped, an answer that did not come is not', async () => {
  const { world, s, seen } = await start()
  const one = watch(s.request('post', 1))
  const [{ id }] = world.last.frames()
  world.last.give({ type: 'message', seq: 1, payload: 'a' }, { type: 'message', seq: 3, payload: 'c' })
  await lose(world)
  seen.splice(0)
  world.last.open()
  world.last.give(resumed({ seq: 3 }), { type: 'message', seq: 1, payload: 'a' }, LIVE)
  world.last.give({ type: 'reply', re: id, seq: 2, payload: 'b' }, { type: 'message', seq: 4, payload: 'd' })
  await settle()
  assert.equal(one.value.payload, 'b')
  assert.deepEqual(seen, ['open resumed', 'message "d"'])
  await world.advance(25_000)
  assert.equal(world.last.frames().findLast(({ type }) => type === '$ack').seq, 4)
})

test('a new session: what was sent is rejected, what was not is sent after $live, numbers begin anew', async () => {
  const { world, s, seen } = await start({ queue: 9 })
  world.last.give({ type: 'message', seq: 7, payload: 'a' })
  const sent = watch(s.request('post', 1))
  await lose(world)
  const queued = watch(s.request('post', 2))
  seen.splice(0)
  world.last.open()
  world.last.frames()
  world.last.give(anew())
  await settle()
  assert.deepEqual([sent.error.code, sent.error.retry, queued], ['lost', false, {}])
  assert.equal(s.session, 's2')
  assert.deepEqual(world.last.sent, [])
  world.last.give(LIVE)
  assert.deepEqual(world.last.frames().map(({ payload }) => payload), [2])
  world.last.give({ type: 'message', seq: 1, payload: 'b' })
  assert.deepEqual(seen, ['open new', 'message "b"'])
})

test('without a resume token the session is lost with its connection', async () => {
  const { world, s } = await start({}, { resume: undefined })
  const one = watch(s.request('post', 1))
  world.last.end(1006)
  await settle()
  assert.equal(one.error.code, 'lost')
  await world.advance(500)
  assert.deepEqual(world.last.protocols, ['sidesocket.v1.json'])
  world.last.open()
  assert.deepEqual(world.last.sent, [], 'no $resume')
})

test('without a session to resume, positions are offered', async () => {
  const { world } = await start({}, { resume: undefined, channels: { room: ROOM } })
  await lose(world)
  assert.equal(world.last.offered('sidesocket.resume.'), '-')
  world.last.open()
  assert.deepEqual(world.last.frames()[0].channels, { room: ROOM })
})

test('a server that does not know $resume says so instead of $live', async () => {
  const { world, s, seen } = await start({}, { resume: undefined, channels: { room: ROOM } })
  const errors = []
  s.on('error', error => errors.push(error))
  await lose(world)
  world.last.open()
  world.last.frames()
  world.last.give(anew({ resume: undefined }))
  s.send('x', 1)
  assert.deepEqual(world.last.sent, [])
  world.last.give({ type: '$error', code: 'bad_frame', message: 'unknown type', retry: false })
  assert.deepEqual([world.last.frames().length, errors.length, seen.at(-1)], [1, 0, 'open new'])
})

test('the token stays until a welcome: tries that fail do not lose it', async () => {
  const { world, s } = await start()
  const one = watch(s.request('post', 1, { timeout: Infinity }))
  const [{ id }] = world.last.frames()
  await lose(world)
  for (const wait of [1000, 2000, 4000]) {
    world.last.open()
    await lose(world, 1006, wait)
  }
  assert.equal(world.last.offered('sidesocket.resume.'), 'r1')
  world.last.open()
  world.last.frames()
  world.last.give(resumed(), LIVE)
  assert.deepEqual([world.last.frames()[1].id, one], [id, {}])
})

test('a try that is cut before $live keeps requests that were sent before, and those that have room', async () => {
  const { world, s } = await start({ queue: 1 })
  const sent = watch(s.request('post', 1))
  await lose(world)
  world.last.open()
  world.last.give(resumed())
  const [first, second] = [2, 3].map(n => watch(s.request('post', n)))
  assert.equal(s.send('x', 4), true)
  world.last.end(1006)
  await settle()
  assert.deepEqual([sent, first, second.error?.code], [{}, {}, 'disconnected'])
  await world.advance(1000)
  world.last.open()
  world.last.frames()
  world.last.give(resumed(), LIVE)
  assert.deepEqual(world.last.frames().map(({ payload }) => payload), [undefined, 1, 2])
})

test('what was sent during a replay is not sent again at the next', async () => {
  const { world, s } = await start()
  await lose(world)
  world.last.open()
  world.last.give(resumed())
  s.send('x', 1)
  world.last.give(LIVE)
  await world.advance(6_000)
  await lose(world)
  world.last.open()
  world.last.frames()
  world.last.give(resumed(), LIVE)
  assert.deepEqual(world.last.frames(), [CONFIRMED])
})

test('$resume acknowledges: what came before it is not counted again', async () => {
  const { world } = await start({})
  for (let i = 1; i <= 31; i++) world.last.give({ type: 'message', seq: i, payload: i })
  await lose(world)
  world.last.open()
  assert.equal(world.last.frames()[0].seq, 31)
  world.last.give(resumed({ seq: 31 }), LIVE, { type: 'message', seq: 32, payload: 32 })
  // The new token is confirmed at once, so that no attempt that was held up takes the session back.
  assert.deepEqual(world.last.frames(), [{ ...CONFIRMED, seq: 31 }])
})

// Channels

async function channels(before, welcome) {
  const { world, s } = await start({}, { channels: before })
  const heard = []
  for (const name of ['room', 'other']) {
    for (const type of ['joined', 'left', 'gap']) {
      s.channel(name).on(type, ({ offset = '' }) => heard.push(`${name} ${type} ${offset}`.trim()))
    }
  }
  await lose(world)
  world.last.open()
  world.last.frames()
  world.last.give(welcome)
  return { world, heard }
}

test('a recovered channel goes on without a word', async () => {
  const { heard } = await channels({ room: ROOM }, resumed({ channels: { room: { ...ROOM, recovered: true } } }))
  assert.deepEqual(heard, [])
})

test('who is in a channel after a resume is told as a whole', async () => {
  const { world, s } = await start({}, { channels: { room: { ...ROOM, members: ['ann', 'bob'], count: 2 } } })
  const heard = []
  s.channel('room').on('member', frame => heard.push(frame))
  await lose(world)
  world.last.open()
  assert.equal(s.channel('room').count, 2)
  const place = { ...ROOM, recovered: true, members: ['ann', 'cid'], count: 2 }
  world.last.give(resumed({ channels: { room: place } }))
  assert.deepEqual(heard, [{ type: '$member', channel: 'room', event: 'reset', members: ['ann', 'cid'], count: 2 }])
  assert.deepEqual([...s.channel('room').members], ['ann', 'cid'])
})

test('a channel that is not recovered has a gap', async () => {
  const place = { offset: 99, epoch: 'k3', id: 'q' }
  const { world, heard } = await channels({ room: ROOM }, anew({ channels: { room: { ...place, recovered: false } } }))
  assert.deepEqual(heard, ['room gap 99'])
  await lose(world, 1006, 1000)
  world.last.open()
  assert.deepEqual(world.last.frames()[0].channels, { room: place })
})

for (const [what, place, gaps] of [
  ['another place', { offset: 18, epoch: 'k3', id: 'q' }, ['room gap 18']],
  ['another epoch', { offset: 17, epoch: 'k4', id: 'q' }, ['room gap 17']],
  ['the same place', ROOM, []],
  ['the same place, but lost', { ...ROOM, recovered: false }, ['room gap 17']],
  ['another place, but recovered', { offset: 18, epoch: 'k3', id: 'q', recovered: true }, []],
]) {
  test(`what the server says of recovery counts, otherwise the position: ${what}`, async () => {
    const { heard } = await channels({ room: ROOM }, anew({ channels: { room: place } }))
    assert.deepEqual(heard, gaps)
  })
}

test('a channel that is missing was left, a new one joined', async () => {
  const other = { offset: 3, epoch: 'k', id: 'o' }
  const { world, heard } = await channels({ room: ROOM }, resumed({ channels: { other } }))
  assert.deepEqual(heard, ['room left', 'other joined 3'])
  await lose(world, 1006, 1000)
  world.last.open()
  assert.deepEqual(Object.keys(world.last.frames()[0].channels), ['other'])
})

test('a channel may have the name of anything', async () => {
  const { world, s } = await start({}, { channels: { constructor: ROOM } })
  const heard = []
  s.channel('constructor').on('left', frame => heard.push(frame.type))
  await lose(world)
  world.last.open()
  assert.deepEqual(world.last.frames()[0].channels, { constructor: ROOM })
  world.last.give(resumed())
  assert.deepEqual(heard, ['$left'])
})

test('a pending channel keeps the own position until it is joined', async () => {
  const pending = { room: { pending: true }, other: { pending: true } }
  const { world, heard } = await channels({ room: ROOM }, resumed({ channels: pending }))
  assert.deepEqual(heard, [])
  await lose(world, 1006, 1000)
  world.last.open()
  assert.deepEqual(world.last.frames()[0].channels, { room: ROOM }, 'none for a channel that never began')
  world.last.give(resumed({ channels: pending }), LIVE)
  world.last.give({ type: '$joined', channel: 'room', ...ROOM, recovered: true })
  world.last.give({ type: '$joined', channel: 'other', offset: 5, epoch: 'k', id: 'o' })
  assert.deepEqual(heard, ['room joined 17', 'other joined 5'])
  await lose(world, 1006, 2000)
  world.last.open()
  assert.deepEqual(Object.keys(world.last.frames()[0].channels), ['room', 'other'])
})

test('a pending channel that could not be recovered has a gap when it is joined', async () => {
  const { world, heard } = await channels({ room: ROOM }, resumed({ channels: { room: { pending: true } } }))
  world.last.give({ type: '$joined', channel: 'room', offset: 1, epoch: 'new', id: 'n', recovered: false })
  assert.deepEqual(heard, ['room gap 1', 'room joined 1'])
})

test('a message does not invent a position for a channel that we are not in', async () => {
  const { world } = await start({}, { channels: { room: ROOM } })
  world.last.give({ type: 'message', channel: 'other', offset: 4, id: 'm', payload: 1 })
  world.last.give({ type: '$left', channel: 'room' })
  await lose(world)
  assert.equal(world.last.offered('sidesocket.resume.'), 'r1')
  world.last.open()
  assert.deepEqual(world.last.frames()[0].channels, {})
})

// Two of a session

test('4409: another socket has the session, and it is not taken back', async () => {
  const { world, s, seen } = await start()
  const one = watch(s.request('post', 1))
  world.last.give({ type: '$bye', code: 4409, reconnect: false })
  world.last.end(4409, 'taken over')
  await world.advance(1e6)
  world.network(true)
  world.event('pageshow')
  assert.deepEqual([s.state, seen, world.sockets.length], ['closed', ['closed 4409'], 1])
  assert.equal(one.error.code, 'closed')
})

test('two tabs, of which one was duplicated, do not fight', async () => {
  const world = new World()
  const address = freshAddress()
  const tabs = [connect(address, { world }), connect(address, { world })]
  await settle()
  for (const [index, socket] of world.sockets.entries()) socket.welcome({ session: `s${index}`, resume: `r${index}` })
  await world.advance(6_000)
  // Both lose the server in the same moment, with other chances.
  for (const [index, socket] of world.sockets.slice().entries()) {
    world.chance = 0.2 + 0.6 * index
    socket.end(1006)
  }
  await world.advance(200)
  assert.equal(world.sockets.length, 3)
  await world.advance(600)
  assert.equal(world.sockets.length, 4)
  const offered = world.sockets.slice(2).map(socket => socket.offered('sidesocket.resume.'))
  assert.deepEqual(offered, ['r0', 'r1'], 'each its own session')
  world.sockets[2].end(4409)
  await world.advance(1e5)
  assert.equal(tabs[0].state, 'closed')
  assert.notEqual(tabs[1].state, 'closed')
})
