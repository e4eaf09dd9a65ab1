// ReconnectingWebSocket: its delays, and its states on a virtual clock.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReconnectingWebSocket, reconnectDelay } from '../sidesocket.js'
import { settle, World } from '../support/world.js'

function start(options, url = 'ws://app.test/ws') {
  const world = new World()
  const seen = []
  const client = new ReconnectingWebSocket(url, { world, ...options })
  client.onopen = () => seen.push('open')
  client.onmessage = event => seen.push(event.data)
  client.onclose = event => seen.push(`close ${event.code} ${client.state}`)
  client.onwaiting = (delay, code) => seen.push(`waiting ${delay} ${code}`)
  return { world, seen, client }
}

// The table

const spans = code =>
  [0, 1, 2, 3, 4, 5, 6, 2000].map(attempt => {
    const [low, high] = [0, 1].map(chance => reconnectDelay(code, attempt, () => chance))
    return low === null && high === null ? null : [low, high]
  })

for (const code of [1000, 1008, 4401, 4403]) {
  test(`not again after ${code}`, () => assert.deepEqual(spans(code), Array(8).fill(null)))
}

for (const code of [1001, 1002, 1005, 1006, 1009, 1011, 4000]) {
  test(`the usual wait after ${code} is full jitter over a span that doubles up to a cap`, () =>
    assert.deepEqual(spans(code), [1, 2, 4, 8, 16, 30, 30, 30].map(span => [0, span * 1000])))
}

for (const code of [1012, 4410]) {
  test(`soon after ${code}, but spread over five seconds`, () =>
    assert.deepEqual(spans(code), [5, 5, 5, 8, 16, 30, 30, 30].map(span => [0, span * 1000])))
}

for (const code of [1013, 4429]) {
  test(`later after ${code}, never at once`, () =>
    assert.deepEqual(spans(code), [10, 20, 40, 80, 120, 120, 120, 120].map(span => [5000, 5000 + span * 1000])))
}

test('without a given random number it takes its own', () => {
  const found = Array.from({ length: 1000 }, () => reconnectDelay(1012, 0))
  assert.ok(found.every(delay => delay >= 0 && delay < 5000))
  assert.ok(Math.min(...found) < 500 && Math.max(...found) > 4500)
})

// The states

test('it opens, sends and hears', () => {
  const { world, seen, client } = start({ protocols: ['chat'] })
  assert.deepEqual([client.state, world.last.url, world.last.protocols], ['connecting', 'ws://app.test/ws', ['chat']])
  assert.equal(client.send('too early'), false)
  world.last.open()
  assert.equal(client.state, 'open')
  assert.equal(client.socket, world.last)
  assert.equal(client.send('hello'), true)
  world.last.onmessage({ data: 'welcome' })
  assert.deepEqual(world.last.sent, ['hello'])
  assert.deepEqual(seen, ['open', 'welcome'])
})

test('an address may be relative, or that of a page', () => {
  const urls = ['/ws', 'http://shop.test/ws', new URL('wss://other.test/ws?a=b')]
  const used = urls.map(url => start({}, url).world.last.url)
  assert.deepEqual(used, ['wss://shop.test/ws', 'ws://shop.test/ws', 'wss://other.test/ws?a=b'])
})

test('an address that cannot be is an error of the page at once', () => {
  assert.throws(() => start({}, 'ws://'), /Invalid URL/)
})

test('address and protocols may be functions, and may take time', async () => {
  let number = 0
  const { world, client } = start({ protocols: async () => [`p${number}`] }, async () => `ws://app.test/${++number}`)
  assert.deepEqual([world.sockets.length, client.state], [0, 'connecting'])
  await settle()
  assert.deepEqual([world.last.url, world.last.protocols], ['ws://app.test/1', ['p1']])
  world.last.end(1006)
  await world.advance(500)
  assert.deepEqual([world.last.url, world.last.protocols], ['ws://app.test/2', ['p2']])
})

test('functions that fail are called again later', async () => {
  let fail = true
  const { world, seen } = start({}, async () => {
    if (fail) throw new Error('no network')
    return 'ws://app.test/ws'
  })
  await settle()
  assert.deepEqual(seen, ['waiting 500 1006'])
  await world.advance(500)
  assert.deepEqual(seen, ['waiting 500 1006', 'waiting 1000 1006'])
  fail = false
  await world.advance(1000)
  assert.equal(world.sockets.length, 1)
})

test('what a function gives after the time is over is not used', async () => {
  const gates = []
  const { world, seen } = start({ connectTimeout: 3000 }, () => new Promise(resolve => gates.push(resolve)))
  await world.advance(3000)
  assert.deepEqual(seen, ['close 1006 waiting', 'waiting 500 1006'])
  await world.advance(500)
  gates[0]('ws://app.test/late')
  await settle()
  assert.equal(world.sockets.length, 0)
  gates[1]('ws://app.test/now')
  await settle()
  assert.deepEqual(world.sockets.map(socket => socket.url), ['ws://app.test/now'])
})

test('a function that fails after the time is over does not count twice', async () => {
  const gates = []
  const { world, seen } = start({ connectTimeout: 3000 }, () => new Promise((_, reject) => gates.push(reject)))
  await world.advance(3_500)
  gates[0](new Error('late'))
  await settle()
  assert.deepEqual(seen, ['close 1006 waiting', 'waiting 500 1006'])
  assert.equal(gates.length, 2)
})

test('failures in a row wait longer and longer', async () => {
  const { world, seen, client } = start()
  for (const delay of [500, 1000, 2000, 4000, 8000, 15000, 15000]) {
    world.last.end(1006)
    assert.deepEqual(seen.splice(0), ['close 1006 waiting', `waiting ${delay} 1006`])
    const before = world.sockets.length
    await world.advance(delay - 1)
    assert.deepEqual([world.sockets.length, client.state], [before, 'waiting'])
    assert.equal(client.send('in between'), false)
    await world.advance(1)
    assert.deepEqual([world.sockets.length, client.state], [before + 1, 'connecting'])
  }
})

test('only a connection that lasted makes the next failure a first one', async () => {
  const { world, seen, client } = start()
  const fail = async open => {
    if (open !== null) {
      world.last.open()
      await world.advance(open)
    }
    world.last.end(1006)
    const wait = Number(seen.at(-1).split(' ')[1])
    await world.advance(wait)
    return wait
  }
  const waits = []
  for (const open of [null, 0, 4999, null, 5000, null, 60000]) waits.push(await fail(open))
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 500, 1000, 500])
  assert.equal(client.attempt, 1)
})

test('a handshake that takes long is no stable connection, and is not given up unless asked', async () => {
  const { world, seen } = start()
  world.last.end(1006)
  await world.advance(60_500)
  world.last.end(1006)
  assert.equal(seen.at(-1), 'waiting 1000 1006')
})

test('with a time-out a handshake is given up', async () => {
  const { world, seen } = start({ connectTimeout: 10_000 })
  await world.advance(9_999)
  assert.deepEqual(seen, [])
  await world.advance(1)
  assert.deepEqual(seen, ['close 1006 waiting', 'waiting 500 1006'])
  assert.deepEqual(world.last.closed, [[]])
})

for (const code of [1000, 1008, 4401, 4403]) {
  test(`${code} ends it until connect()`, async () => {
    const { world, seen, client } = start()
    world.last.open()
    world.last.end(code)
    assert.deepEqual(seen, ['open', `close ${code} closed`])
    await world.advance(1e9)
    world.network(false)
    world.network(true)
    assert.deepEqual([world.sockets.length, world.timers.length], [1, 0])
    client.connect()
    client.connect()
    assert.deepEqual([world.sockets.length, client.state], [2, 'connecting'])
    world.last.end(1006)
    assert.equal(seen.at(-1), 'waiting 500 1006', 'a first failure')
  })
}

test('close() ends it from every state', async () => {
  const { world, seen, client } = start()
  client.close()
  assert.deepEqual([client.state, world.last.closed], ['closed', [[1000, '']]])
  world.last.open()
  assert.equal(client.state, 'closed', 'an open that was on its way')
  world.last.end(1006)
  assert.deepEqual(seen.splice(0), ['close 1006 closed'])

  client.connect()
  world.last.open()
  client.close(4000, 'enough')
  assert.deepEqual([client.state, world.last.closed], ['closed', [[4000, 'enough']]])
  assert.equal(client.send('too late'), false)
  world.last.end(4000)
  assert.deepEqual(seen.splice(0), ['open', 'close 4000 closed'])

  client.connect()
  world.last.end(1006)
  client.close()
  assert.deepEqual([client.state, world.timers.length], ['closed', 0])
  await world.advance(1e9)
  client.close()
  assert.equal(world.sockets.length, 3)
})

test('the app may end it in onclose, and a fault there does no harm', () => {
  const { world, seen, client } = start()
  client.onclose = () => client.close()
  world.last.end(1006)
  assert.deepEqual([client.state, world.timers.length, seen.length], ['closed', 0, 0])
  client.onclose = () => {
    throw new Error('a fault of the page')
  }
  client.connect()
  assert.throws(() => world.last.end(1006), /a fault of the page/)
  assert.deepEqual([client.state, world.timers.length], ['waiting', 1])
})

test('an old socket is not heard after connect()', () => {
  const { world, seen, client } = start()
  const old = world.last
  old.open()
  client.close()
  client.connect()
  world.last.open()
  old.onmessage({ data: 'stale' })
  old.end(1006)
  assert.deepEqual([client.state, seen], ['open', ['open', 'open']])
})

test('a dropped connection comes back without waiting for the other side', async () => {
  const { world, seen, client } = start()
  const old = world.last
  old.open()
  await world.advance(10_000)
  client.drop()
  assert.deepEqual(seen, ['open', 'close 1006 waiting', 'waiting 500 1006'])
  assert.equal(old.closed.length, 1)
  old.end(1006)
  client.drop()
  assert.deepEqual([seen.length, world.timers.length], [3, 1])
  await world.advance(500)
  assert.equal(world.sockets.length, 2)
})

test('an expired token is renewed before the next try', async () => {
  let token = 1
  let fail = true
  let asked = 0
  const refreshToken = async () => {
    asked += 1
    if (fail) throw new Error('no network')
    token += 1
  }
  const { world, seen, client } = start({ refreshToken }, () => `ws://app.test/ws?token=${token}`)
  assert.equal(world.last.url, 'ws://app.test/ws?token=1')
  world.last.open()
  world.last.end(4401)
  assert.deepEqual(seen.splice(0), ['open', 'close 4401 waiting', 'waiting 500 4401'])
  assert.equal(asked, 0, 'not everybody in the same second')
  await world.advance(500)
  assert.deepEqual([seen.splice(0), asked], [['waiting 1000 4401'], 1])
  fail = false
  await world.advance(1000)
  assert.deepEqual([world.sockets.length, world.last.url], [2, 'ws://app.test/ws?token=2'])
  world.last.end(4401)
  await world.advance(1999)
  world.timers[0].call()
  client.close()
  await settle()
  assert.deepEqual([world.sockets.length, client.state], [2, 'closed'], 'closed while the token was on its way')
})

test('a table of the app replaces the one here', async () => {
  const { world, client } = start({
    reconnectDelay: (code, ...more) => (code === 4000 ? null : reconnectDelay(code, ...more)),
  })
  world.last.end(1006)
  await world.advance(500)
  world.last.end(4000)
  assert.deepEqual([client.state, world.timers.length], ['closed', 0])
})

test('offline it waits for online', async () => {
  const { world, seen } = start()
  world.last.open()
  world.navigator.onLine = false
  await world.advance(10_000)
  world.last.end(1006)
  assert.equal(seen.at(-1), 'waiting 30000 1006')
  await world.advance(20_000)
  assert.equal(world.sockets.length, 1)
  world.network(true)
  assert.equal(seen.at(-1), 'waiting 500 1006')
  await world.advance(500)
  assert.equal(world.sockets.length, 2)
})

test('offline during a wait makes it longer, but not endless', async () => {
  const { world, seen } = start()
  world.last.end(1006)
  world.network(false)
  assert.equal(seen.at(-1), 'waiting 30000 1006')
  await world.advance(10_000)
  const before = seen.length
  world.pageEvent('visibilitychange')
  assert.equal(seen.length, before, 'looking at it changes nothing')
  await world.advance(19_999)
  assert.equal(world.sockets.length, 1)
  await world.advance(1)
  assert.equal(world.sockets.length, 2, 'onLine is a hint')
})

test('who looks at the page does not wait long, unless the server asked for it', async () => {
  const { world, seen, client } = start()
  for (let i = 0; i < 7; i++) {
    world.last.end(1006)
    await world.advance(15_000)
  }
  world.last.end(1006)
  world.show(false)
  assert.equal(seen.at(-1), 'waiting 15000 1006')
  world.show(true)
  assert.equal(seen.at(-1), 'waiting 500 1006')
  await world.advance(400)
  const before = seen.length
  world.show(true)
  assert.equal(seen.length, before, 'and not a second time')
  await world.advance(61_000)
  world.last.end(4429)
  assert.equal(seen.at(-1), 'waiting 65000 4429')
  world.show(true)
  assert.equal(seen.at(-1), 'waiting 10000 4429')
  client.close()
  world.show(true)
  assert.equal(world.timers.length, 0)
})

test('a network that comes and goes all the time does not make it faster', async () => {
  const { world, client } = start()
  world.onSocket = socket => queueMicrotask(() => socket.end(1006))
  world.last.end(1006)
  for (let i = 0; i < 3000; i++) {
    world.network(true)
    await world.advance(100)
  }
  // After five that double, one in 15 s; if each event made the next try early, they would be hundreds.
  assert.ok(world.sockets.length <= 26, `${world.sockets.length} tries`)
  client.close()
})

test('after a connection that lasted, looking at the page helps again', async () => {
  const { world, seen } = start()
  for (let i = 0; i < 12; i++) {
    world.last.end(1006)
    world.network(true)
    await world.advance(15_000)
  }
  world.last.open()
  await world.advance(5_000)
  world.navigator.onLine = false
  world.last.end(1006)
  world.network(true)
  assert.equal(seen.at(-1), 'waiting 500 1006')
})

test('offline, a wait that is longer anyway stays', async () => {
  const { world, seen } = start({ reconnectDelay: () => 60_000 })
  world.navigator.onLine = false
  world.last.end(1006)
  assert.equal(seen.at(-1), 'waiting 60000 1006')
})

test('after the end it listens to nothing', () => {
  const world = new World()
  const signals = []
  for (const target of [world, world.document]) {
    const listen = target.addEventListener
    target.addEventListener = (name, act, options) => {
      signals.push(options.signal)
      listen.call(target, name, act, options)
    }
  }
  const client = new ReconnectingWebSocket('ws://app.test/ws', { world })
  assert.ok(signals.length > 0 && signals.every(signal => !signal.aborted))
  client.close()
  assert.ok(signals.every(signal => signal.aborted))
})

test('it needs no page around it', async () => {
  const world = new World()
  for (const name of ['addEventListener', 'navigator', 'document', 'location']) world[name] = undefined
  new ReconnectingWebSocket('ws://app.test/ws', { world })
  world.last.end(1006)
  await world.advance(500)
  assert.equal(world.sockets.length, 2)
})

test('the class of a library may be handed in', () => {
  const { WebSocket } = new World()
  const client = new ReconnectingWebSocket('ws://app.test/ws', { WebSocket })
  assert.ok(client.socket instanceof WebSocket)
  client.close()
})
