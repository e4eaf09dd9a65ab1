// A session on one connection: requests, messages, channels, acknowledgements.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../sidesocket.js'
import { freshAddress, record, settle, watch, World } from '../support/world.js'

async function start(options, welcome) {
  const world = new World()
  const s = connect(freshAddress(), { world, ...options })
  const seen = record(s)
  await settle()
  if (welcome) world.last.welcome(welcome)
  return { world, s, seen }
}
const message = (seq, payload) => ({ type: 'message', seq, ts: 1, payload })

test('it offers the protocol, and is open when it is welcomed', async () => {
  const { world, s, seen } = await start()
  assert.match(world.last.url, /^wss:\/\/shop\.test\/ws\d+$/)
  assert.deepEqual(world.last.protocols, ['sidesocket.v1.json'])
  assert.equal(s.state, 'connecting')
  world.last.open()
  assert.deepEqual([s.state, world.last.sent], ['connecting', []])
  world.last.give({ type: '$welcome', session: 's1', resumed: false, seq: 0, user: '42', channels: {} })
  assert.deepEqual([s.state, s.session, s.user, seen], ['open', 's1', '42', ['open new']])
})

test('what comes before the welcome is not heard', async () => {
  const { world, s, seen } = await start()
  const errors = []
  s.on('error', error => errors.push(error))
  world.last.open()
  world.last.give(message(1, 'a'), { type: '$error', code: 'forbidden' }, { type: '$live' }, { type: '$ping' })
  assert.deepEqual([seen, errors, world.last.sent, s.state], [[], [], [], 'connecting'])
})

test('it needs nothing but a WebSocket class, and no page', async () => {
  const { WebSocket, sockets } = new World()
  const s = connect('https://app.test/ws', { WebSocket })
  await settle()
  assert.equal(sockets[0].url, 'wss://app.test/ws')
  sockets[0].welcome()
  assert.equal(s.state, 'open')
  s.close()
  assert.deepEqual(sockets[0].closed, [[1000, 'closed by the page']])
})

test('an address that cannot be ends it, and says why', async () => {
  const { world, s } = await start()
  s.close()
  const other = connect('ws://', { world })
  let event
  other.on('state', given => (event = given))
  await settle()
  assert.equal(other.state, 'closed')
  assert.match(event.reason, /Invalid URL/)
  await world.advance(1e6)
  assert.equal(world.sockets.length, 1)
})

test('a request resolves with the reply frame, and the reply is no message', async () => {
  const { world, s, seen } = await start({}, {})
  const one = watch(s.request('post', { text: 'hi' }))
  const [{ id, ...frame }] = world.last.frames()
  assert.deepEqual(frame, { type: 'post', payload: { text: 'hi' } })
  assert.ok(new TextEncoder().encode(id).length <= 64)
  world.last.give({ type: 'reply', re: id, seq: 1, ts: 5, payload: [1] })
  await settle()
  assert.deepEqual(one.value, { type: 'reply', re: id, seq: 1, ts: 5, payload: [1] })
  assert.deepEqual(seen, ['open new'])
  assert.equal(world.timers.length, 2, 'only those of the heartbeat')
})

test('named replies and empty ones are answers too', async () => {
  const { world, s } = await start({}, {})
  const results = [s.request('a'), s.request('b')].map(watch)
  const ids = world.last.frames().map(({ id }) => id)
  assert.notEqual(ids[0], ids[1])
  world.last.give({ type: '$ack', re: ids[1] }, { type: 'price', re: ids[0], seq: 1, payload: 3 })
  await settle()
  assert.deepEqual([results[0].value.type, results[1].value.type], ['price', '$ack'])
})

test('an error rejects with all that it says; that it is in progress is no answer', async () => {
  const { world, s } = await start({}, {})
  const one = watch(s.request('post', 1))
  const [{ id }] = world.last.frames()
  world.last.give({ type: '$error', re: id, code: 'in_progress', retry: false })
  await settle()
  assert.deepEqual(one, {})
  const refusal = { code: 'rejected', status: 422, message: 'no text', retry: false, payload: { field: 'text' } }
  world.last.give({ type: '$error', re: id, ...refusal })
  await settle()
  const { name, message, code, status, retry, payload } = one.error
  assert.ok(one.error instanceof Error)
  assert.equal(name, 'SidesocketError')
  assert.deepEqual({ message, code, status, retry, payload }, refusal)
  const two = watch(s.request('post', 1))
  world.last.give({ type: '$error', re: world.last.frames()[0].id, code: 'rate_limited', retry: true, after: 300 })
  await settle()
  assert.deepEqual([two.error.code, two.error.retry, two.error.after], ['rate_limited', true, 300])
})

test('an error that belongs to no request is an event', async () => {
  const { world, s } = await start({}, {})
  const errors = []
  s.on('error', error => errors.push(error.code))
  world.last.give({ type: '$error', code: 'forbidden', message: 'Client events are off.', retry: false })
  assert.deepEqual(errors, ['forbidden'])
})

test('a request without an answer is rejected in time; what comes later is a message', async () => {
  const { world, s, seen } = await start({}, { ping: undefined })
  const one = watch(s.request('post', 1, { timeout: 1000 }))
  const two = watch(s.request('post', 2))
  const three = watch(s.request('post', 3, { timeout: Infinity }))
  const [{ id }] = world.last.frames()
  await world.advance(999)
  assert.deepEqual(one, {})
  await world.advance(1)
  assert.deepEqual([one.error.code, one.error.retry], ['timeout', false], 'the app may have it')
  world.last.give({ type: 'reply', re: id, seq: 1, payload: 'late' }, { type: '$ack', re: id })
  assert.deepEqual(seen, ['open new', 'reply "late"'])
  await world.advance(28_999)
  assert.deepEqual(two, {})
  await world.advance(1)
  assert.equal(two.error.code, 'timeout')
  await world.advance(1e7)
  assert.deepEqual(three, {})
})

test('send() tells, without an id', async () => {
  const { world, s } = await start()
  assert.equal(s.send('move', { x: 1 }), false, 'not connected')
  world.last.welcome()
  assert.equal(s.send('move', { x: 1 }), true)
  assert.equal(s.channel('room:1').whisper('typing', 5), true)
  assert.deepEqual(world.last.frames(), [
    { type: 'move', payload: { x: 1 } },
    { type: 'client-typing', channel: 'room:1', payload: 5 },
  ])
})

test('reserved types are refused here', async () => {
  const { world, s } = await start({}, {})
  for (const type of ['$ack', 'client-typing']) {
    assert.throws(() => s.send(type), /is reserved/)
    await assert.rejects(s.request(type), { code: 'bad_frame' })
  }
  assert.deepEqual(world.last.sent, [])
})

test('a frame as large as allowed is sent, a larger one is refused here, in bytes', async () => {
  const { world, s } = await start({}, { maxBytes: 100 })
  const room = 100 - JSON.stringify({ type: 'x', payload: '' }).length
  assert.equal(s.send('x', 'a'.repeat(room)), true)
  assert.equal(s.send('x', 'a'.repeat(room + 1)), false)
  assert.equal(s.send('x', 'é'.repeat(Math.floor(room / 2))), true)
  assert.equal(s.send('x', 'é'.repeat(Math.floor(room / 2) + 1)), false)
  assert.equal(world.last.frames().length, 2)
  await assert.rejects(s.request('x', 'a'.repeat(100)), { code: 'too_large' })
  assert.equal(world.last.sent.length, 0)
})

test('what cannot be JSON rejects', async () => {
  const { s } = await start({}, {})
  await assert.rejects(s.request('x', 1n), TypeError)
})

test('messages go to the session and to their channel, those of clients only to the channel', async () => {
  const { world, s, seen } = await start({}, { channels: { room: { offset: 1, epoch: 'k', id: 'a' } } })
  const heard = []
  const hear = frame => heard.push(`${frame.type} ${frame.payload}`)
  const channel = s.channel('room').on('price', hear).on('message', hear).on('client-typing', hear)
  assert.equal(s.channel('room'), channel)
  world.last.give(
    { type: 'message', id: 'b', ts: 1, channel: 'room', offset: 2, payload: 1 },
    { type: 'price', id: 'c', ts: 1, channel: 'room', offset: 3, payload: 2 },
    { type: 'price', id: 'c', ts: 1, channel: 'other', offset: 3, payload: 3 },
    { type: 'client-typing', channel: 'room', user: 'bob', payload: 4 },
    message(1, 5)
  )
  assert.deepEqual(heard, ['message 1', 'price 2', 'client-typing 4'])
  assert.deepEqual(seen, ['open new', 'message 1', 'price 2', 'price 3', 'message 5'])
  channel.off('price', hear)
  world.last.give({ type: 'price', id: 'd', ts: 1, channel: 'room', offset: 4, payload: 6 })
  assert.equal(heard.length, 3)
})

test('membership, members and gaps are events of the channel', async () => {
  const { world, s, seen } = await start({}, {})
  const heard = []
  for (const type of ['joined', 'left', 'member', 'gap']) s.channel('room').on(type, frame => heard.push(frame))
  const frames = [
    { type: '$joined', channel: 'room', offset: 1, epoch: 'k', id: 'a', members: ['bob'], count: 1 },
    { type: '$member', channel: 'room', user: 'bob', event: 'left', count: 0 },
    { type: '$gap', channel: 'room', offset: 7, epoch: 'k', id: 'b' },
    { type: '$left', channel: 'room' },
  ]
  world.last.give(...frames, { type: '$new', channel: 'room' })
  assert.deepEqual(heard, frames)
  assert.deepEqual(seen, ['open new'], 'none is a message, an unknown one neither')
})

test('a channel knows who is in it', async () => {
  const { world, s } = await start({}, { channels: { room: { offset: 1, epoch: 'k', id: 'a', members: ['ann'], count: 1 } } })
  const room = s.channel('room')
  const is = (names, count) => assert.deepEqual([[...room.members], room.count], [names, count])
  is(['ann'], 1)
  room.on('member', ({ event, user }) => event === 'joined' && assert.ok(room.members.has(user), 'known when it is told'))
  world.last.give({ type: '$member', channel: 'room', user: 'bob', event: 'joined', count: 2 })
  is(['ann', 'bob'], 2)
  world.last.give({ type: '$member', channel: 'room', user: 'bob', event: 'joined', count: 2 })
  is(['ann', 'bob'], 2)
  world.last.give({ type: '$member', channel: 'room', user: 'ann', event: 'left', count: 1 })
  is(['bob'], 1)
  world.last.give({ type: '$member', channel: 'room', event: 'reset', members: ['cid', 'dan'], count: 120 })
  is(['cid', 'dan'], 120)
  world.last.give({ type: '$left', channel: 'room' })
  is([], 0)
})

test('a fault of a listener is reported, and stops nothing', async t => {
  const { world, s, seen } = await start({}, {})
  const faults = []
  // As an uncaught error, which here would be that of the test.
  t.mock.method(globalThis, 'queueMicrotask', report => assert.throws(report, fault => faults.push(fault.message) > 0))
  s.on('message', () => {
    throw new Error('a fault of the page')
  }).on('message', frame => seen.push(`second ${frame.payload}`))
  world.last.give(message(1, 1), message(2, 2))
  assert.deepEqual(faults, ['a fault of the page', 'a fault of the page'])
  assert.deepEqual(seen, ['open new', 'message 1', 'second 1', 'message 2', 'second 2'])
})

test('it answers a ping', async () => {
  const { world } = await start({}, {})
  world.last.give({ type: '$ping' })
  assert.deepEqual(world.last.frames(), [{ type: '$pong' }])
})

// Acknowledgements

test('each 32 frames with a number are acknowledged, others are not counted', async () => {
  const { world } = await start({}, { channels: { room: { offset: 0, epoch: 'k', id: 'a' } } })
  for (let offset = 1; offset <= 100; offset++) {
    world.last.give({ type: 'message', channel: 'room', offset, id: `${offset}`, payload: 1 })
  }
  assert.deepEqual(world.last.frames(), [])
  for (let i = 1; i <= 31; i++) world.last.give(message(i, i))
  assert.deepEqual(world.last.frames(), [])
  world.last.give(message(32, 32))
  assert.deepEqual(world.last.frames(), [{ type: '$ack', seq: 32 }])
  for (let i = 33; i <= 64; i++) world.last.give(message(i, i))
  assert.deepEqual(world.last.frames(), [{ type: '$ack', seq: 64 }])
})

for (const [script, character] of [['Latin', 'x'], ['Chinese', '水']]) {
  test(`64 KiB of ${script} text are never exceeded without an acknowledgement`, async () => {
    const { world } = await start({}, {})
    let unacknowledged = 0
    for (let i = 1; i <= 20; i++) {
      const frame = message(i, character.repeat(7000))
      unacknowledged += new TextEncoder().encode(JSON.stringify(frame)).length
      world.last.give(frame)
      if (world.last.frames().some(({ type, seq }) => type === '$ack' && seq === i)) unacknowledged = 0
      assert.ok(unacknowledged < 65_536, `${unacknowledged} bytes`)
    }
  })
}

test('what is not acknowledged yet is with each ping, once', async () => {
  const { world } = await start({}, {})
  world.last.give(message(1, 1), message(2, 2))
  await world.advance(25_000)
  assert.deepEqual(world.last.frames(), [{ type: '$ack', seq: 2 }, { type: '$ping' }])
  world.last.give({ type: '$pong' })
  await world.advance(25_000)
  assert.deepEqual(world.last.frames(), [{ type: '$ping' }])
})

// Numbers

test('what comes twice is heard once', async () => {
  const { world, seen } = await start({}, {})
  world.last.give(message(1, 'a'), message(2, 'b'), message(1, 'a'), message(2, 'b'), message(3, 'c'))
  assert.deepEqual(seen, ['open new', 'message "a"', 'message "b"', 'message "c"'])
})

test('an old number is no repeat while its request is open, and does not count backwards', async () => {
  const { world, s, seen } = await start({}, {})
  const one = watch(s.request('post', 1))
  const [{ id }] = world.last.frames()
  world.last.give(message(1, 'a'), message(5, 'b'), { type: 'reply', re: id, seq: 3, payload: 'c' })
  await settle()
  assert.equal(one.value.payload, 'c')
  world.last.give({ type: 'reply', re: id, seq: 3, payload: 'c' }, message(4, 'd'), message(5, 'b'))
  assert.deepEqual(seen, ['open new', 'message "a"', 'message "b"'])
  await world.advance(25_000)
  assert.deepEqual(world.last.frames()[0], { type: '$ack', seq: 5 })
})

// The end

test('close() rejects what is open, and nothing is heard after it', async () => {
  const { world, s, seen } = await start({}, {})
  const one = watch(s.request('post', 1))
  s.close()
  s.close()
  await settle()
  assert.equal(one.error.code, 'closed')
  assert.deepEqual([s.state, world.last.closed.length, world.timers.length], ['closed', 1, 0])
  world.last.give(message(1, 'late'))
  world.last.end(1006)
  world.network(true)
  await world.advance(1e6)
  assert.deepEqual([seen, world.sockets.length], [['open new', 'closed 1000'], 1])
  assert.equal(s.send('x'), false)
  await assert.rejects(s.request('x'), { code: 'closed' })
})

for (const when of ['open', 'message', 'joined']) {
  test(`a listener may close it when it hears "${when}"`, async () => {
    const { world, s, seen } = await start({ queue: 5 })
    watch(s.request('post', 1))
    if (when === 'open') s.on('state', ({ state }) => state === 'open' && s.close())
    if (when === 'message') s.on('message', () => s.close())
    if (when === 'joined') s.channel('room').on('joined', () => s.close())
    world.last.welcome({ channels: { room: { offset: 1, epoch: 'k', id: 'a' } } })
    world.last.give(message(1, 'x'.repeat(70_000)))
    assert.deepEqual([s.state, seen.at(-1)], ['closed', 'closed 1000'])
    assert.equal(world.timers.length, 0)
  })
}

test('a listener may close it while it connects', async () => {
  const { world, s } = await start()
  world.last.end(1006)
  s.on('state', ({ state }) => state === 'connecting' && s.close())
  await world.advance(500)
  await world.advance(1e6)
  assert.deepEqual([s.state, world.sockets.length, world.timers.length], ['closed', 1, 0])
})

// The queue

test('without a queue a request is rejected while there is no connection', async () => {
  const { world, s } = await start()
  await assert.rejects(s.request('post'), { code: 'disconnected', retry: true })
  world.last.end(1006)
  await assert.rejects(s.request('post'), { code: 'disconnected', retry: true })
})

test('a queue keeps as many as it may, rejects one more, and sends them in their order', async () => {
  const { world, s } = await start({ queue: 3 })
  const waiting = [1, 2, 3].map(n => watch(s.request('post', n)))
  await assert.rejects(s.request('post', 4), { code: 'queue_full', retry: true })
  world.last.end(1006)
  await world.advance(500)
  assert.deepEqual(waiting, [{}, {}, {}])
  world.last.welcome()
  const frames = world.last.frames()
  assert.deepEqual(frames.map(({ payload }) => payload), [1, 2, 3])
  world.last.give({ type: '$ack', re: frames[1].id })
  await settle()
  assert.equal(waiting[1].value.type, '$ack')
})

test('a request that waits in the queue for too long is rejected and not sent', async () => {
  const { world, s } = await start({ queue: 3 })
  const one = watch(s.request('post', 1, { timeout: 100 }))
  watch(s.request('post', 2))
  await world.advance(100)
  assert.deepEqual([one.error.code, one.error.retry], ['timeout', true])
  world.last.welcome()
  assert.deepEqual(world.last.frames().map(({ payload }) => payload), [2])
})

test('a queued request that turns out to be too large is rejected', async () => {
  const { world, s } = await start({ queue: 3 })
  const one = watch(s.request('post', 'x'.repeat(200)))
  world.last.welcome({ maxBytes: 100 })
  await settle()
  assert.equal(one.error.code, 'too_large')
  assert.deepEqual(world.last.sent, [])
})
