// Where WebSockets don't pass: the protocol over HTTP, as a stream or as polls.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../sidesocket.js'
import {
  answer,
  FakeHTTP,
  freshAddress,
  html,
  record,
  settle,
  stream,
  watch,
  WELCOME,
  World,
} from '../support/world.js'

const LIVE = { type: '$live' }
const resumed = { ...WELCOME, resumed: true, resume: 'r2' }
const message = (seq, payload) => ({ type: 'message', seq, ts: 1, payload })
const noStream = () => Promise.reject(new TypeError('Failed to fetch'))

/** A page in a network that no WebSocket passes; `serve` answers POSTs, given the post and its kind. */
async function start(serve, options) {
  const world = new World()
  world.onSocket = socket => world.setTimeout(() => socket.end(1006), 0)
  const http = new FakeHTTP(world, post => serve(post, post.headers.Accept === 'text/event-stream' ? 'stream' : 'poll'))
  const address = freshAddress()
  const s = connect(address, { world, http: '/http', ...options })
  const seen = record(s)
  // Two WebSockets, then a stream; without one, a poll.
  await world.advance(1_500)
  return { world, http, s, seen, address }
}
/** A server whose streams are given one after the other. */
function streams() {
  const open = []
  const serve = ({ body }, kind) => {
    if (kind !== 'stream') return new Response(null, { status: 204 })
    open.push(stream())
    open.at(-1).body = body
    return open.at(-1).response
  }
  return { open, serve }
}
/** A server of polls, which wait until the test answers them. */
function polls() {
  const waiting = []
  const serve = (post, kind) => {
    if (kind === 'stream') return noStream()
    return new Promise((give, reject) => {
      waiting.push({ ...post, give, reject, resolve: (...frames) => give(answer(...frames)) })
    })
  }
  return { waiting, serve }
}

// When

test('without the option there is no HTTP', async () => {
  const { world, http, s } = await start(() => noStream(), { http: undefined })
  await world.advance(300_000)
  assert.equal(http.posts.length, 0)
  s.close()
})

test('two WebSockets are tried first', async () => {
  const { open, serve } = streams()
  const { world, http, s, seen } = await start(serve)
  assert.deepEqual([world.sockets.length, http.posts.length, open.length], [2, 1, 1])
  assert.equal(http.posts[0].at, 1_500)
  open[0].give(WELCOME)
  await settle()
  assert.deepEqual([s.state, seen.at(-1)], ['open', 'open new'])
  s.close()
})

test('where there is no WebSocket class, HTTP is used at once', async () => {
  const { open, serve } = streams()
  const world = new World()
  delete world.WebSocket
  new FakeHTTP(world, post => serve(post, post.headers.Accept === 'text/event-stream' ? 'stream' : 'poll'))
  const s = connect(freshAddress(), { world, http: '/http' })
  await settle()
  open[0].give(WELCOME)
  await settle()
  assert.equal(s.state, 'open')
  s.close()
})

test('a page in which a WebSocket was welcomed never uses HTTP for this address', async () => {
  const world = new World()
  const http = new FakeHTTP(world, noStream)
  const address = freshAddress()
  const s = connect(address, { world, http: '/http' })
  await settle()
  world.last.welcome({ resume: 'r' })
  world.onSocket = socket => world.setTimeout(() => socket.end(1006), 0)
  world.last.end(1006)
  await world.advance(600_000)
  connect(address, { world, http: '/http' })
  await world.advance(600_000)
  assert.equal(http.posts.length, 0)
})

test('what works is remembered for minutes, not for ever', async () => {
  const { open, serve } = streams()
  const { world, s, address } = await start(serve)
  open[0].give({ ...WELCOME, ping: undefined })
  await world.advance(599_000)
  assert.equal(s.state, 'open')
  s.close()
  const second = connect(address, { world, http: '/http' })
  await settle()
  assert.deepEqual([world.sockets.length, open.length], [2, 2], 'a stream at once')
  second.close()
  await world.advance(1_000)
  const third = connect(address, { world, http: '/http' })
  await settle()
  assert.deepEqual([world.sockets.length, open.length], [3, 2], 'after ten minutes a WebSocket first')
  third.close()
})

test('a WebSocket is tried again after minutes, also when HTTP was used meanwhile', async () => {
  const { open, serve } = streams()
  const { world, s } = await start(serve)
  open[0].give({ ...WELCOME, ping: undefined })
  for (let minute = 1; minute <= 9; minute++) {
    await world.advance(60_000)
    open.at(-1).end()
    await world.advance(500)
    open.at(-1).give({ ...resumed, ping: undefined }, LIVE)
  }
  assert.equal(world.sockets.length, 2)
  await world.advance(60_000)
  open.at(-1).end()
  await world.advance(500)
  assert.equal(world.sockets.length, 3)
  await world.advance(1_000)
  assert.equal(world.sockets.length, 4, 'twice, as at first')
  s.close()
})

test('one failure does not make it forget, several do', async () => {
  const { open, serve } = streams()
  let away = false
  const { world, http, s } = await start((post, kind) => (away ? noStream() : serve(post, kind)))
  open[0].give(WELCOME)
  await world.advance(6_000)
  away = true
  open[0].end()
  await world.advance(500)
  assert.equal(http.posts.length, 2)
  away = false
  await world.advance(1_000)
  open.at(-1).give(resumed, LIVE)
  await world.advance(6_000)
  assert.deepEqual([s.state, world.sockets.length], ['open', 2], 'still no WebSocket')
  away = true
  open.at(-1).end()
  await world.advance(60_000)
  assert.ok(world.sockets.length > 2)
  s.close()
})

test('a stream that is cut soon is followed by polls, and those are kept though they fail', async () => {
  const { open, serve } = streams()
  let away = false
  const { world, http, s } = await start((post, kind) => {
    if (kind === 'stream') return serve(post, kind)
    if (post.body.n > 1) return away ? noStream() : new Promise(() => {})
    return answer(post.body.resume ? resumed : WELCOME, LIVE)
  })
  open[0].give(WELCOME)
  await world.advance(4_999)
  open[0].end()
  away = true
  await world.advance(60_000)
  away = false
  await world.advance(30_000)
  assert.equal(s.state, 'open')
  assert.deepEqual([world.sockets.length, open.length], [2, 1])
  assert.ok(http.posts.filter(({ body }) => body.n === 1).length > 3)
  s.close()
})

test('a stream that the server itself ends soon is followed by a stream', async () => {
  const { open, serve } = streams()
  const { world, s } = await start(serve)
  open[0].give(WELCOME, { type: '$bye', code: 1012, reconnect: true, after: 100 })
  await world.advance(4_000)
  assert.equal(open.length, 2)
  s.close()
})

test('a failure with a code of its own is one of the network', async () => {
  const { s, seen } = await start(() => Promise.reject(Object.assign(new Error('NetworkError'), { code: 19 })))
  assert.equal(seen.at(-1), 'waiting 2000 1006')
  s.close()
})

test('a stream that is held back on its way is followed by polls', async () => {
  const { world, http, s } = await start(({ body }, kind) => {
    if (kind === 'stream') return stream().response
    return body.n === 1 ? answer(WELCOME) : new Promise(() => {})
  })
  await world.advance(15_000 + 2_000)
  const accepted = http.posts.slice(0, 2).map(({ headers }) => headers.Accept)
  assert.deepEqual(accepted, ['text/event-stream', 'application/json'])
  assert.equal(s.state, 'open')
  assert.ok(http.posts[0].signal.aborted)
  s.close()
})

test('a stream that falls silent after its welcome is followed by polls', async () => {
  const { open, serve } = streams()
  const { world, http, s } = await start(serve)
  open[0].give({ ...WELCOME, ping: 25_000 })
  await world.advance(35_000 + 500)
  const last = http.posts.at(-1)
  assert.equal(last.headers.Accept, 'application/json')
  assert.deepEqual([last.body.resume, last.body.n], ['r1', 1])
  s.close()
})

// What is sent

test('the first POST opens: it has a key and no token', async () => {
  const { open, serve } = streams()
  const { http, s } = await start(serve, { token: () => 'abc' })
  const { url, headers, how, body } = http.posts[0]
  assert.equal(url, 'https://shop.test/http')
  assert.deepEqual(headers, {
    'Content-Type': 'application/vnd.sidesocket.v1+json',
    Accept: 'text/event-stream',
    Authorization: 'Bearer abc',
  })
  assert.deepEqual(how, { method: 'POST', credentials: 'include', cache: 'no-store' })
  assert.match(body.key, /^\d+-\d+-\d+-\d+$/)
  assert.deepEqual({ ...body, key: 0 }, { key: 0, n: 1 })
  assert.equal(open.length, 1)
  s.close()
})

test('a first POST whose answer was lost is repeated with its key, another transport has another', async () => {
  const { world, http, s } = await start((post, kind) => (kind === 'stream' ? stream().response : noStream()))
  await world.advance(300_000)
  const keys = kind => http.posts.filter(({ headers }) => headers.Accept === kind).map(({ body }) => body.key)
  const [ofStreams, ofPolls] = [keys('text/event-stream'), keys('application/json')]
  assert.ok(ofStreams.length > 1 && ofPolls.length > 1)
  assert.ok(ofPolls.every(key => key && !ofStreams.includes(key)))
  s.close()
})

test('while a remembered transport fails, its key stays the same', async () => {
  const { open, serve } = streams()
  let away = false
  const { world, http, s, address } = await start((post, kind) => (away ? noStream() : serve(post, kind)))
  open[0].give(WELCOME)
  await settle()
  s.close()
  away = true
  const other = connect(address, { world, http: '/http' })
  await world.advance(500)
  const [one, two] = http.posts.slice(-2).map(({ body }) => body)
  assert.deepEqual([one.n, two.n, one.key], [1, 1, two.key])
  other.close()
})

test('beside a stream, frames of one turn go together, and one POST follows the other', async () => {
  const { open, serve } = streams()
  const gates = []
  const wait = () => new Promise(resolve => gates.push(resolve))
  const { http, s } = await start((post, kind) => (kind === 'stream' ? serve(post, kind) : wait()))
  open[0].give(WELCOME)
  await settle()
  s.send('a', 1)
  s.send('b', 2)
  await settle()
  s.send('c', 3)
  await settle()
  assert.deepEqual(http.posts.slice(1).map(({ body }) => body), [
    { resume: 'r1', n: 2, send: [{ type: 'a', payload: 1 }, { type: 'b', payload: 2 }] },
  ])
  gates[0](new Response(null, { status: 204 }))
  await settle()
  assert.deepEqual(http.posts[2].body, { resume: 'r1', n: 3, send: [{ type: 'c', payload: 3 }] })
  gates[1](new Response(null, { status: 204 }))
  await settle()
  assert.equal(http.posts.length, 3)
  s.close()
})

test('a stream that ends is resumed, with number and positions, and requests are repeated after $live', async () => {
  const { open, serve } = streams()
  const { world, http, s, seen } = await start(serve)
  const room = { offset: 1, epoch: 'k', id: 'a' }
  open[0].give({ ...WELCOME, channels: { room } }, message(1, 'one'))
  await settle()
  const one = watch(s.request('post', 5))
  await world.advance(6_000)
  open[0].end()
  await world.advance(500)
  const { send, ...body } = open[1].body
  assert.deepEqual(body, { resume: 'r1', n: 1, seq: 1, channels: { room }, session: 's1' })
  assert.equal(send, undefined)
  open[1].give({ ...resumed, channels: { room: { ...room, recovered: true } } }, message(1, 'one'), message(2, 'two'))
  await settle()
  assert.equal(seen.at(-1), 'message "two"')
  assert.equal(seen.filter(line => line === 'message "one"').length, 1)
  assert.equal(s.send('x', 6), true)
  await settle()
  const before = http.posts.length
  open[1].give(LIVE)
  await settle()
  const { send: repeated } = http.posts[before].body
  assert.deepEqual(repeated.map(({ payload }) => payload), [5, 6])
  open[1].give({ type: '$ack', re: repeated[0].id })
  await settle()
  assert.equal(one.value.type, '$ack')
  s.close()
})

test('without a session, positions are offered without a token', async () => {
  const { open, serve } = streams()
  const { world, s } = await start(serve)
  const room = { offset: 1, epoch: 'k', id: 'a' }
  open[0].give({ ...WELCOME, channels: { room } })
  await world.advance(6_000)
  open[0].end()
  await world.advance(500)
  open[1].give({ ...WELCOME, resume: undefined, channels: { room: { ...room, recovered: true } } }, LIVE)
  await world.advance(6_000)
  open[1].end()
  await world.advance(500)
  const { key, ...body } = open[2].body
  assert.notEqual(key, open[0].body.key, 'which would bring the old answer')
  assert.deepEqual(body, { n: 1, seq: 0, channels: { room }, session: 's1' })
  s.close()
})

// Polls

test('a poll always waits at the server; what is sent goes with a newer one', async () => {
  const { waiting, serve } = polls()
  const { world, s, seen } = await start(serve)
  await world.advance(2_000)
  assert.deepEqual(waiting.map(({ body }) => body.n), [1])
  waiting[0].resolve(WELCOME, message(1, 'a'))
  await settle()
  assert.deepEqual(waiting[1].body, { resume: 'r1', n: 2 })
  const one = watch(s.request('post', 1))
  s.send('b', 2)
  await settle()
  assert.equal(waiting.length, 3)
  const { send, ...rest } = waiting[2].body
  assert.deepEqual([rest, send.map(({ payload }) => payload)], [{ resume: 'r1', n: 3 }, [1, 2]])
  waiting[1].give(new Response(null, { status: 204 }))
  await settle()
  assert.equal(waiting.length, 3, 'the newer one waits')
  waiting[2].resolve({ type: 'reply', re: send[0].id, seq: 2, payload: 'done' })
  await settle()
  assert.equal(one.value.payload, 'done')
  assert.deepEqual(waiting[3].body, { resume: 'r1', n: 4 })
  assert.deepEqual(seen.slice(-2), ['open new', 'message "a"'])
  s.close()
})

test('answers count in the order of their polls, also when they overtake each other', async () => {
  const { waiting, serve } = polls()
  const { world, s, seen } = await start(serve)
  await world.advance(2_000)
  waiting[0].resolve(WELCOME)
  await settle()
  s.send('x', 1)
  await settle()
  waiting[2].resolve(message(2, 'second'))
  await settle()
  assert.equal(seen.at(-1), 'open new')
  waiting[1].resolve(message(1, 'first'))
  await settle()
  assert.deepEqual(seen.slice(-2), ['message "first"', 'message "second"'])
  s.close()
})

test('an older poll that brings something is not followed by a third', async () => {
  const { waiting, serve } = polls()
  const { world, s, seen } = await start(serve)
  await world.advance(2_000)
  waiting[0].resolve(WELCOME)
  await settle()
  s.send('x', 1)
  await settle()
  waiting[1].resolve(message(1, 'a'))
  await settle()
  assert.deepEqual([seen.at(-1), waiting.length], ['message "a"', 3])
  s.close()
})

test('never more than two polls at once', async () => {
  const { waiting, serve } = polls()
  const { world, s } = await start(serve)
  await world.advance(2_000)
  waiting[0].resolve(WELCOME)
  await settle()
  for (let i = 0; i < 10; i++) {
    s.send('x', i)
    await settle()
  }
  assert.equal(waiting.length, 3)
  waiting[1].give(new Response(null, { status: 204 }))
  await settle()
  assert.deepEqual(waiting[3].body.send.map(({ payload }) => payload), [1, 2, 3, 4, 5, 6, 7, 8, 9])
  s.close()
})

test('an empty answer is a sign of life', async () => {
  const { waiting, serve } = polls()
  const { world, s } = await start(serve)
  await world.advance(2_000)
  waiting[0].resolve({ ...WELCOME, ping: 30_000 })
  for (let i = 1; i < 20; i++) {
    await world.advance(25_000)
    assert.equal(waiting[i].body.send, undefined, 'no $ping')
    waiting[i].resolve()
  }
  assert.equal(s.state, 'open')
  await world.advance(30_000)
  assert.deepEqual(waiting.at(-1).body.send, [{ type: '$ping' }])
  await world.advance(10_000)
  assert.equal(s.state, 'waiting')
  s.close()
})

test('a poll that fails is a lost connection', async () => {
  const { waiting, serve } = polls()
  const { world, s, seen } = await start(serve)
  await world.advance(2_000)
  waiting[0].resolve(WELCOME)
  await world.advance(6_000)
  waiting[1].reject(new TypeError('Failed to fetch'))
  await settle()
  assert.equal(seen.at(-1), 'waiting 500 1006')
  await world.advance(500)
  assert.deepEqual([waiting[2].body.resume, waiting[2].body.n, waiting[2].body.seq], ['r1', 1, 0])
  s.close()
})

// The end

test('Retry-After is obeyed', async () => {
  const { world, s, seen } = await start(() => html(429, { 'Retry-After': '90' }))
  assert.equal(seen.at(-1), 'waiting 90000 1013')
  await world.advance(90_000)
  assert.equal(seen.at(-1), 'waiting 90000 1013')
  s.close()
})

test('an error is one, also when its body looks like frames', async () => {
  for (const kind of ['application/json', 'text/event-stream']) {
    const how = { status: 503, headers: { 'Content-Type': kind } }
    const { s, seen } = await start(() => new Response(JSON.stringify({ frames: [WELCOME] }), how))
    assert.equal(seen.at(-1), 'waiting 25000 1013')
    s.close()
  }
})

test('the page of a captive portal is called what it is', async () => {
  const world = new World()
  world.onSocket = socket => world.setTimeout(() => socket.end(1006), 0)
  new FakeHTTP(world, () => html())
  const s = connect(freshAddress(), { world, http: '/http' })
  const reasons = []
  s.on('state', ({ reason }) => reasons.push(reason))
  await world.advance(1_500)
  assert.equal(reasons.at(-1), 'HTTP status 200 where frames were expected')
  s.close()
})

test('a Retry-After of many years does not mean at once', async () => {
  const { world, s } = await start(() => html(503, { 'Retry-After': '99999999999' }))
  const before = world.sockets.length
  await world.advance(1e6)
  assert.deepEqual([s.state, world.sockets.length], ['waiting', before])
  s.close()
})

test('$bye ends an answer, whichever code', async () => {
  const { open, serve } = streams()
  const { http, s, seen } = await start(serve)
  open[0].give(WELCOME, { type: '$bye', code: 4403, reconnect: false }, message(1, 'late'))
  await settle()
  assert.deepEqual([s.state, seen.at(-1), http.posts[0].signal.aborted], ['closed', 'closed 4403', true])
})

test('close() ends what is on its way, and says so', async () => {
  const { open, serve } = streams()
  const { world, http, s, seen } = await start(serve)
  open[0].give(WELCOME)
  await settle()
  s.send('x', 1)
  s.close()
  open[0].give(message(1, 'late'))
  await world.advance(60_000)
  assert.deepEqual([http.posts[0].signal.aborted, http.posts.length, seen.at(-1)], [true, 2, 'closed 1000'])
  const { body, how } = http.posts[1]
  assert.deepEqual(body, { resume: 'r1', n: 2, send: [{ type: 'x', payload: 1 }, { type: '$close' }] })
  assert.equal(how.keepalive, true)
})

test('close() before the welcome says nothing', async () => {
  const { http, s } = await start(() => new Promise(() => {}))
  s.close()
  await settle()
  assert.equal(http.posts.length, 1)
})

test('a page that is put aside says nothing, since it comes back', async () => {
  const { open, serve } = streams()
  const { world, http, s } = await start(serve)
  open[0].give(WELCOME)
  await settle()
  world.event('pagehide', { persisted: true })
  await settle()
  assert.equal(http.posts.length, 1)
  s.close()
})

test('a POST brings no more than the server takes', async () => {
  const { open, serve } = streams()
  const { http, s } = await start(serve)
  open[0].give({ ...WELCOME, maxBytes: 2_000 })
  await settle()
  for (let i = 0; i < 30; i++) s.send('x', 'y'.repeat(100))
  for (let i = 0; i < 10; i++) await settle()
  const posts = http.posts.slice(1)
  assert.ok(posts.every(({ body }) => JSON.stringify(body.send).length <= 1_100), 'each is small')
  assert.equal(posts.flatMap(({ body }) => body.send).length, 30)
  s.close()
})

// Bytes

const TEXT = 'é水😀 "\\n" \u2028 end'
const FRAMES = [WELCOME, message(1, TEXT), { type: '$gap', channel: 'room' }, message(2, 'b')]
const BYTES = new TextEncoder().encode(FRAMES.map(frame => `data: ${JSON.stringify(frame)}\n\n`).join(''))

async function heard(write) {
  const { open, serve } = streams()
  const { s, seen } = await start(serve)
  await write(chunk => open[0].write(chunk))
  await settle()
  s.close()
  return seen.filter(line => line.startsWith('message'))
}
const EXPECTED = [`message ${JSON.stringify(TEXT)}`, 'message "b"']

test('a stream that is split in two at any byte', async () => {
  for (let at = 1; at < BYTES.length; at++) {
    const got = await heard(write => (write(BYTES.slice(0, at)), write(BYTES.slice(at))))
    assert.deepEqual(got, EXPECTED, `at ${at}`)
  }
})

test('a stream that comes byte by byte', async () => {
  const got = await heard(async write => {
    for (const byte of BYTES) write(Uint8Array.of(byte))
    await settle()
  })
  assert.deepEqual(got, EXPECTED)
})

test('line ends may be CRLF, and there may be comments, names and ids', async () => {
  const [first, second] = FRAMES.map(frame => JSON.stringify(frame))
  const text = `: hello\r\n\r\nevent: x\r\nid: 3\r\ndata:${first}\r\n\r\n:\n\ndata: ${second}\r\n\r\n`
  const bytes = new TextEncoder().encode(text)
  for (let at = 1; at < bytes.length; at += 7) {
    assert.deepEqual(await heard(write => (write(bytes.slice(0, at)), write(bytes.slice(at)))), EXPECTED.slice(0, 1))
  }
})
