// A world for tests: a clock that only `advance` moves, timers that are throttled as browsers do it in hidden pages,
// sockets that do what the test says, and an HTTP server that the test writes.

import assert from 'node:assert/strict'

/** Everything that is ready has run: promises, and what waits for them. */
export const settle = () => new Promise(resolve => setImmediate(resolve))

export class FakeSocket {
  constructor(world, url, protocols) {
    Object.assign(this, { world, url, protocols, at: world.time, sent: [], closed: [], isOpen: false })
  }
  send(text) {
    assert.ok(this.isOpen, 'something is sent before the socket is open')
    assert.equal(this.closed.length, 0, 'something is sent after close()')
    this.sent.push(text)
  }
  close(...how) {
    this.closed.push(how)
  }

  // What the server does.
  open() {
    this.isOpen = true
    this.world.run(() => this.onopen({}))
  }
  give(...frames) {
    for (const frame of frames) this.world.run(() => this.onmessage({ data: JSON.stringify(frame) }))
  }
  end(code, reason = '') {
    this.isOpen = false
    this.world.run(() => this.onclose({ code, reason }))
  }
  welcome(more) {
    this.open()
    this.give({ ...WELCOME, resume: undefined, ...more })
  }
  /** What was sent since the last call, as objects. */
  frames() {
    return this.sent.splice(0).map(text => JSON.parse(text))
  }
  offered(prefix) {
    return this.protocols.find(one => one.startsWith(prefix))?.slice(prefix.length)
  }
}

export class World extends EventTarget {
  time = 0
  /** How far the machine's sleep has moved the wall clock ahead of the other. */
  slept = 0
  chance = 0.5
  sockets = []
  timers = []
  onSocket = () => {}
  navigator = { onLine: true }
  document = Object.assign(new EventTarget(), { hidden: false })
  location = { href: 'https://shop.test/page' }
  crypto = globalThis.crypto
  #nesting = 0
  #hiddenSince = Infinity

  constructor() {
    super()
    const world = this
    this.WebSocket = class extends FakeSocket {
      constructor(url, protocols) {
        super(world, url, protocols)
        world.sockets.push(this)
        world.onSocket(this)
      }
    }
    this.Math = { random: () => this.chance }
    this.performance = { now: () => this.time }
    this.Date = { now: () => 1_700_000_000_000 + this.time + this.slept }
    this.setTimeout = (call, delay) => {
      assert.ok(delay >= 0 && delay <= 2 ** 31 - 1, `a timer of ${delay} ms would run at once`)
      const timer = { call, at: this.time + delay, level: this.#nesting + 1 }
      this.timers.push(timer)
      return timer
    }
    this.clearTimeout = timer => {
      this.timers = this.timers.filter(other => other !== timer)
    }
  }

  get last() {
    return this.sockets.at(-1)
  }

  /** Runs what an event causes: timers that it sets are the first of their chain. */
  run(call) {
    const before = this.#nesting
    this.#nesting = 0
    try {
      return call()
    } finally {
      this.#nesting = before
    }
  }

  /** When a timer runs: in a hidden page once a second, and after five minutes chains of timers once a minute. */
  #due({ at, level }) {
    if (!this.document?.hidden) return at
    const step = level >= 5 && at - this.#hiddenSince >= 300_000 ? 60_000 : 1_000
    return Math.ceil(at / step) * step
  }

  async advance(span) {
    const end = this.time + span
    for (;;) {
      await settle()
      const next = this.timers
        .map(timer => ({ timer, due: this.#due(timer) }))
        .filter(({ due }) => due <= end)
        .sort((a, b) => a.due - b.due)[0]
      if (!next) break
      this.clearTimeout(next.timer)
      this.time = Math.max(this.time, next.due)
      this.#nesting = next.timer.level
      try {
        next.timer.call()
      } finally {
        this.#nesting = 0
      }
    }
    this.time = end
  }

  /** The machine sleeps: timers and the monotonic clock stand still. */
  sleep(span) {
    this.slept += span
  }

  event(name, more) {
    this.run(() => this.dispatchEvent(Object.assign(new Event(name), more)))
  }
  pageEvent(name) {
    this.run(() => this.document.dispatchEvent(new Event(name)))
  }
  network(onLine) {
    this.navigator.onLine = onLine
    this.event(onLine ? 'online' : 'offline')
  }
  show(visible) {
    this.document.hidden = !visible
    this.#hiddenSince = visible ? Infinity : this.time
    this.pageEvent('visibilitychange')
  }
}

/** What a promise has become: its value, its error, or undefined while it waits. */
export function watch(promise) {
  const result = {}
  promise.then(
    value => (result.value = value),
    error => (result.error = error)
  )
  return result
}

/** Collects the events of a session as short texts. */
export function record(session) {
  const seen = []
  session.on('state', ({ state, resumed, code, delay }) => {
    const more = { open: resumed ? 'resumed' : 'new', waiting: `${delay} ${code}`, closed: `${code}` }[state]
    seen.push(more === undefined ? state : `${state} ${more}`)
  })
  session.on('message', frame => seen.push(`${frame.type} ${JSON.stringify(frame.payload)}`))
  return seen
}

let numbers = 0
/** An address that no other test uses: what has worked is remembered by address. */
export const freshAddress = () => `/ws${++numbers}`

/** An HTTP server: `answer` gets each POST as an object, and returns a Response or throws. */
export class FakeHTTP {
  posts = []
  constructor(world, answer) {
    world.fetch = (url, { headers, body, signal, ...how }) => {
      const post = { url, headers, how, body: JSON.parse(body), at: world.time, signal }
      this.posts.push(post)
      return new Promise((resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason))
        Promise.resolve()
          .then(() => answer(post))
          .then(resolve, reject)
      })
    }
  }
}

export const answer = (...frames) => json({ frames })
export const json = body => new Response(JSON.stringify(body), { headers: { 'Content-Type': 'application/json' } })
export const html = (status = 200, headers = {}) =>
  new Response('<title>Please log in</title>', { status, headers: { 'Content-Type': 'text/html', ...headers } })

/** An answer that goes on: `write` gives it bytes or text, `end` ends it. */
export function stream() {
  let controller
  const body = new ReadableStream({ start: given => (controller = given) })
  const encoder = new TextEncoder()
  return {
    response: new Response(body, { headers: { 'Content-Type': 'text/event-stream' } }),
    write: data => controller.enqueue(typeof data === 'string' ? encoder.encode(data) : data),
    give(...frames) {
      for (const frame of frames) this.write(`data: ${JSON.stringify(frame)}\n\n`)
    },
    end: () => controller.close(),
  }
}

export const WELCOME = {
  type: '$welcome',
  session: 's1',
  resumed: false,
  resume: 'r1',
  ping: 25_000,
  maxBytes: 65_536,
  seq: 0,
  channels: {},
}
