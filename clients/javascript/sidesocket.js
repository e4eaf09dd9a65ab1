/*! Sidesocket's client for browsers and Node, version 0.1.0 */
// No dependencies, no build step: `import { connect } from './sidesocket.js'`. README.md says how to use it.
//
// Four parts, each made of those before it: the table of waits; Connector, which keeps one socket at a time and never
// tries faster than that table; ReconnectingWebSocket, for raw sockets; connect(), for the client protocol. HTTPSocket
// at the end looks like a WebSocket and goes where WebSockets don't pass.

/**
 * @typedef {import('./sidesocket.js').World} World
 * @typedef {import('./sidesocket.js').Position} Position
 * @typedef {{ code: number, reason?: string, after?: number, wasClean?: boolean }} End how a socket ended
 * @typedef {{
 *   text: string, sent: boolean, timer?: any, resolve?: (frame: any) => void, reject?: (error: Error) => void,
 * }} Outgoing
 */

// The waits

/**
 * Milliseconds until the next try after `attempt` failures in a row, or null: not again. docs/clients.md explains it.
 * @param {number} code
 * @param {number} attempt
 * @param {() => number} random
 * @returns {number | null}
 */
export function reconnectDelay(code, attempt, random = Math.random) {
  // Full jitter: anywhere in a span that doubles. Clients that lost a server together return spread out.
  const span = (/** @type {number} */ base, /** @type {number} */ cap) => Math.min(cap, base * 2 ** attempt)
  switch (code) {
    case 1000: // the app has ended it
    case 1008: // against a rule
    case 4401: // the token has expired: it will not become valid again
    case 4403: // forbidden
      return null
    case 1012: // a restart: soon, but not everybody in the same second
    case 4410: // messages of a channel were lost
      return random() * Math.max(5_000, span(1_000, 30_000))
    case 1013: // the app is away or overloaded
    case 4429: // too fast: later, so never at once
      return 5_000 + random() * span(10_000, 120_000)
    default: // also 1006: the network, or a refused handshake, whose status a browser does not tell
      return random() * span(1_000, 30_000)
  }
}

const LONGEST_TIMER = 2 ** 31 - 1 // a longer one runs at once

/** Closes a connection that is to be resumed: every other code of a client ends its session. */
const I_COME_BACK = 4001

// The connector

/** Keeps one socket at a time, and paces the tries. What the sockets are for is up to `how`. */
class Connector {
  /** @type {'connecting' | 'open' | 'waiting' | 'closed'} */
  state = 'closed'
  /** @type {any} */
  socket = null
  attempt = 0 // failures since the last connection that lasted
  #world
  #how
  #try = 0 // the number of this try: what an earlier one was still waiting for comes too late
  #readyAt = Infinity
  /** @type {any} */
  #timer
  #due = 0
  /** @type {End} */
  #end = { code: 1006 }
  #paused = false
  #hurries = 0
  #lookedAt = -Infinity
  #listening = new AbortController()

  /**
   * @param {World} world
   * @param {{
   *   connectTimeout: number, stableAfter: number, closeCode?: number,
   *   prepare(code: number): any[] | Promise<any[]>, create(...prepared: any[]): any,
   *   connecting?(): void, opened(event: any): void, message(event: any): void,
   *   closed(event: End): void, waiting(delay: number, event: End): void,
   *   delay(event: End, attempt: number): number | null, probe?(): void,
   * }} how `closeCode` is for sockets that are given up, and makes a page that is put aside do so
   */
  constructor(world, how) {
    this.#world = world
    this.#how = how
  }

  start() {
    if (this.state !== 'closed') return
    const { signal } = (this.#listening = new AbortController())
    const { document } = this.#world
    /** @type {(target: any, names: string[], act: (event: any) => void) => void} */
    const listen = (target, names, act) => {
      for (const name of names) target?.addEventListener?.(name, act, { signal })
    }
    listen(this.#world, ['online', 'offline', 'pageshow'], event => this.#look(event.type))
    listen(document, ['visibilitychange', 'resume'], event => this.#look(event.type))
    if (this.#how.closeCode) {
      listen(this.#world, ['pagehide'], event => event.persisted && this.#pause())
      listen(document, ['freeze'], () => this.#pause())
    }
    this.attempt = this.#hurries = 0
    this.#end = { code: 1006 }
    this.#open()
  }

  /** The connection does what it is for: the time-out is over, and whether it lasts counts from now. */
  ready() {
    this.#world.clearTimeout(this.#timer)
    this.#readyAt = this.#world.performance.now()
    this.state = 'open'
  }

  /**
   * Abandons a connection that seems dead, without waiting for the other side.
   * @param {string} reason
   */
  drop(reason, code = 1006) {
    if (this.state !== 'connecting' && this.state !== 'open') return
    const { socket } = this
    this.socket = null
    socket?.close(...(this.#how.closeCode ? [this.#how.closeCode] : []))
    this.#closed({ code, reason, wasClean: false })
  }

  /**
   * Ends it for good.
   * @param {number} code
   * @param {string} reason
   */
  stop(code, reason) {
    this.socket?.close(code, reason)
    this.#finish()
  }

  #open() {
    const number = ++this.#try
    this.state = 'connecting'
    this.#readyAt = Infinity
    this.#after(this.#how.connectTimeout, () => this.drop('no connection in time'))
    this.#how.connecting?.()
    const use = (/** @type {any[]} */ prepared) => number === this.#try && this.#use(prepared)
    const fail = (/** @type {Error} */ error) => number === this.#try && this.#prepareFailed(error)
    let prepared
    try {
      prepared = this.#how.prepare(this.#end.code)
    } catch (error) {
      return fail(/** @type {Error} */ (error))
    }
    if (Array.isArray(prepared)) use(prepared)
    // If no socket could be made, `closed` has been told.
    else prepared.then(use, fail).catch(() => {})
  }

  /** @param {Error} error why there is no address or token */
  #prepareFailed(error) {
    const end = { code: this.#end.code === 4401 ? 4401 : 1006, reason: error?.message }
    const delay = this.#how.delay(end, this.attempt++)
    if (delay === null) this.#closed(end)
    else this.#wait(delay, end)
  }

  /** @param {any[]} prepared */
  #use(prepared) {
    /** @type {any} */
    let socket
    try {
      socket = this.#how.create(...prepared)
    } catch (error) {
      // An address or a protocol that cannot be: trying again would not mend it.
      this.#finish()
      this.#how.closed({ code: 1006, reason: String(error) })
      throw error
    }
    // A socket that was given up, or closed before start(), may still have something to say.
    const mine = (/** @type {(event: any) => void} */ act) => (/** @type {any} */ event) => {
      if (socket === this.socket) act(event)
    }
    socket.onopen = mine(event => this.state === 'connecting' && this.#how.opened(event))
    socket.onmessage = mine(event => this.#how.message(event))
    socket.onclose = mine(event => this.#closed(event))
    socket.onerror = () => {} // `close` follows; Node's `ws` throws if nobody listens
    this.socket = socket
  }

  /** @param {End} event */
  #closed(event) {
    let delay = null
    this.socket = null
    if (this.state !== 'closed') {
      this.#try += 1
      if (this.#world.performance.now() - this.#readyAt >= this.#how.stableAfter) this.attempt = this.#hurries = 0
      delay = this.#how.delay(event, this.attempt++)
      if (delay === null) this.#finish()
      else this.state = 'waiting'
    }
    try {
      this.#how.closed(event)
    } finally {
      if (delay !== null && this.state === 'waiting') this.#wait(delay, event)
    }
  }

  /**
   * @param {number} delay
   * @param {End} end
   */
  #wait(delay, end) {
    // Offline, `online` ends the wait. But `onLine` can be wrong (localhost), so not it alone.
    if (this.#world.navigator?.onLine === false) delay = Math.max(delay, 30_000)
    this.#end = end
    this.#due = this.#world.performance.now() + delay
    this.state = 'waiting'
    this.#after(delay, () => this.#open())
    this.#how.waiting(delay, end)
  }

  /**
   * One timer is enough: a try ends before the wait begins.
   * @param {number} delay
   * @param {() => void} act
   */
  #after(delay, act) {
    this.#world.clearTimeout(this.#timer)
    if (delay < Infinity && !this.#paused) this.#timer = this.#world.setTimeout(act, Math.min(delay, LONGEST_TIMER))
  }

  /** The page goes into the back/forward cache, or is frozen: no socket lives there. */
  #pause() {
    if (this.state !== 'connecting' && this.state !== 'open') return
    this.#paused = true
    this.drop('the page was put aside', I_COME_BACK)
  }

  /**
   * The network or the page is back, or gone.
   * @param {string} why
   */
  #look(why) {
    const { navigator, document, performance } = this.#world
    if (why === 'visibilitychange' && document?.hidden) return
    if (this.state === 'open') return this.#how.probe?.()
    if (this.state !== 'waiting') return
    const now = performance.now()
    if (why === 'offline') return this.#wait(Math.max(0, this.#due - now), this.#end)
    if (this.#paused) {
      this.#paused = false
      return this.#wait(Math.max(0, this.#due - now), this.#end)
    }
    // Somebody looks at the page: as soon as after a first failure. But not with each of many such events.
    if (now - this.#lookedAt > 60_000) this.#hurries = 0
    this.#lookedAt = now
    const soon = this.#how.delay(this.#end, this.#hurries) ?? Infinity
    if (navigator?.onLine === false || this.#due - now <= soon) return
    this.#hurries += 1
    this.#wait(soon, this.#end)
  }

  #finish() {
    this.#try += 1
    this.state = 'closed'
    this.#listening.abort()
    this.#world.clearTimeout(this.#timer)
  }
}

/**
 * A whole address: older browsers take neither `/ws` nor `https:` for a WebSocket.
 * @param {string | URL} address
 * @param {World} world
 * @param {'ws' | 'http'} scheme
 */
function wholeAddress(address, world, scheme) {
  const url = new URL(address, world.location?.href)
  url.protocol = url.protocol.replace(/^(http|ws)/, scheme)
  return url.href
}

/** @param {any} value a value, or a function that gives it */
const valueOf = value => (typeof value === 'function' ? value() : value)

// Raw sockets

export class ReconnectingWebSocket {
  /** @type {((event: any) => void) | undefined} */ onopen
  /** @type {((event: any) => void) | undefined} */ onmessage
  /** @type {((event: any) => void) | undefined} */ onclose
  /** @type {((delay: number, code: number) => void) | undefined} */ onwaiting
  #connector

  /**
   * @param {any} address
   * @param {any} [options]
   */
  constructor(address, options = {}) {
    const { world = globalThis, protocols = [], refreshToken } = options
    const table = options.reconnectDelay ?? reconnectDelay
    const values = () => [valueOf(address), valueOf(protocols)]
    this.#connector = new Connector(world, {
      connectTimeout: options.connectTimeout ?? Infinity,
      stableAfter: options.stableAfter ?? 5_000,
      prepare(code) {
        if (code === 4401 && refreshToken) return Promise.resolve().then(refreshToken).then(() => Promise.all(values()))
        const now = values()
        // Plain values open the socket in this turn.
        return now.some(value => typeof value?.then === 'function') ? Promise.all(now) : now
      },
      create: (url, list) => new (options.WebSocket ?? world.WebSocket)(wholeAddress(url, world, 'ws'), list),
      delay: ({ code }, attempt) =>
        table(code === 4401 && refreshToken ? 1006 : code, attempt, () => world.Math.random()),
      opened: event => {
        this.#connector.ready()
        this.onopen?.(event)
      },
      message: event => this.onmessage?.(event),
      closed: event => this.onclose?.(event),
      waiting: (delay, { code }) => this.onwaiting?.(delay, code),
    })
    this.connect()
  }

  get state() {
    return this.#connector.state
  }
  get socket() {
    return this.#connector.socket
  }
  get attempt() {
    return this.#connector.attempt
  }

  /** Starts again after the end; the constructor has called it once. */
  connect() {
    this.#connector.start()
  }

  // Nothing is kept for later: only the app knows whether a message still makes sense in a new
  // connection, and only its answers say whether the last ones before a close have arrived.
  /** @param {any} data */
  send(data) {
    if (this.state !== 'open') return false
    this.socket.send(data)
    return true
  }

  /** Ends it. `onclose` follows if there was a socket. */
  close(code = 1000, reason = '') {
    this.#connector.stop(code, reason)
  }

  /** Abandons a connection that seems dead, without waiting for the other side; reconnects as after 1006. */
  drop() {
    this.#connector.drop('dropped')
  }
}

// The client protocol

class Emitter {
  /** @type {Map<string, Set<(event: any) => void>>} */
  #listeners = new Map()

  /**
   * @param {string} type
   * @param {(event: any) => void} listener
   */
  on(type, listener) {
    this.#listeners.set(type, (this.#listeners.get(type) ?? new Set()).add(listener))
    return this
  }

  /**
   * @param {string} type
   * @param {(event: any) => void} listener
   */
  off(type, listener) {
    this.#listeners.get(type)?.delete(listener)
    return this
  }

  /**
   * @param {string} type
   * @param {any} event
   */
  emit(type, event) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(event)
      } catch (error) {
        // A fault of the page is reported as usual, but does not stop the protocol.
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}

class Channel extends Emitter {
  #give
  /** Users in the channel, at most 100 of those that were there at first; only with `presence=on`. */
  members = /** @type {Set<string>} */ (new Set())
  /** How many there are. */
  count = 0

  /**
   * @param {string} name
   * @param {(frame: object) => boolean} give
   */
  constructor(name, give) {
    super()
    this.name = name
    this.#give = give
  }

  /**
   * Takes over who is in the channel, as far as a frame says it.
   * @param {{ members?: string[], count?: number, user?: string, event?: string }} frame
   */
  place({ members, count, user, event }) {
    if (members) this.members = new Set(members)
    else if (user !== undefined) this.members[event === 'joined' ? 'add' : 'delete'](user)
    this.count = count ?? this.count
  }

  /**
   * Tells the other members of the channel, but not the app; false: not connected.
   * @param {string} type
   * @param {any} [payload]
   */
  whisper(type, payload) {
    return this.#give({ type: `client-${type}`, channel: this.name, payload })
  }
}

/**
 * @param {string} code
 * @param {string} message
 * @param {object} [more]
 */
const failure = (code, message, more) =>
  Object.assign(new Error(message), { name: 'SidesocketError', code, retry: false, ...more })

/** For what the app has not handled. */
const AGAIN = { retry: true }

/** @param {string} type */
function checkType(type) {
  if (/^(\$|client-)/.test(type)) {
    throw failure('bad_frame', `"${type}" is reserved: choose a type without $ or client-, or use channel.whisper()`)
  }
}

/** @param {string} token what it says of itself; whether it is valid the server finds out */
function claims(token) {
  try {
    return JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')))
  } catch {
    return {}
  }
}

/**
 * What has worked in this page, by address. A WebSocket that was welcomed once is never given up for HTTP.
 * @type {Map<string, { webSocket?: boolean, transport?: Transport, until: number }>}
 * @typedef {'websocket' | 'stream' | 'poll'} Transport
 */
const known = new Map()
/** @type {Transport[]} */
const TRANSPORTS = ['websocket', 'websocket', 'stream', 'poll']
const REMEMBERED = 10 * 60_000

const ANSWER_TIME = 10_000 // for a `$ping`
const TICK = 5_000

class Session extends Emitter {
  /** @type {string | undefined} the user's name, if Sidesocket knows it */
  user
  #world
  #options
  /** @type {Connector} */
  #connector
  #place = '' // the address without its query
  /** @type {Transport} */
  #transport = 'websocket'
  #tries = 0
  /** @type {string | undefined} repeats a first POST whose answer was lost */
  #key

  /** @type {Map<string, Channel>} */
  #channels = new Map()
  /** @type {Map<string, Position | undefined>} the channels that we are in, and where */
  #positions = new Map()
  /** @type {Map<any, Outgoing>} in their order: what waits to be sent, and what was sent and waits for its answer */
  #outgoing = new Map()
  #prefix
  #count = 0

  /** @type {string | undefined} */
  #session
  /** @type {string | undefined} resumes the session; in memory only */
  #resumeToken
  /** @type {string | undefined} */
  #bearer
  #seq = 0
  #unacknowledged = { frames: 0, length: 0 }
  /** @type {number | undefined} */
  #ping
  #maxBytes = Infinity

  // Of this connection:
  #resuming = false // `$resume` was offered, and `$live` has yet to come
  #live = false // what the page sends may go
  /** @type {{ reconnect: boolean, after?: number, code: number } | undefined} */
  #bye
  #isWelcomed = false
  #probes = 0 // since something came
  /** @type {any} */ #silence
  /** @type {any} */ #ticker
  /** @type {any} */ #renewal

  /**
   * @param {any} address
   * @param {any} options
   */
  constructor(address, options) {
    super()
    this.#options = { queue: 0, timeout: 30_000, connectTimeout: 15_000, stableAfter: 5_000, ...options }
    this.#world = this.#options.world ?? globalThis
    this.#prefix = `${this.#world.Math.random().toString(36).slice(2, 10)}-`
    this.#connector = new Connector(this.#world, {
      connectTimeout: this.#options.connectTimeout,
      stableAfter: this.#options.stableAfter,
      closeCode: I_COME_BACK,
      prepare: () => this.#prepare(address),
      create: (address, http, token) => this.#createSocket(address, http, token),
      connecting: () => this.#connecting(),
      opened: () => this.#opened(),
      message: ({ data }) => this.#received(data),
      delay: (end, attempt) => this.#delay(end, attempt),
      closed: end => this.#closed(end),
      waiting: (delay, { code, reason }) =>
        this.emit('state', { state: 'waiting', resumed: false, delay, code, reason: reason || `closed with ${code}` }),
      probe: () => this.#look(),
    })
    this.#connector.start()
  }

  get state() {
    return this.#connector.state
  }
  /** The id of the session: the `ce-connectionid` of the app. */
  get session() {
    return this.#session
  }

  // What the page does

  /**
   * @param {string} name
   * @returns {Channel}
   */
  channel(name) {
    let channel = this.#channels.get(name)
    if (!channel) this.#channels.set(name, (channel = new Channel(name, frame => this.#give(frame))))
    return channel
  }

  /**
   * Asks the app; the answer is the frame of its reply, or of its `$ack`.
   * @param {string} type
   * @param {any} [payload]
   * @param {{ timeout?: number }} [options]
   */
  request(type, payload, options = {}) {
    const { timeout = this.#options.timeout } = options
    return new Promise((resolve, reject) => {
      checkType(type)
      const { state } = this.#connector
      if (state === 'closed') return reject(failure('closed', 'the connection is closed: connect() makes a new one'))
      if (state !== 'open') {
        const { queue } = this.#options
        const waiting = [...this.#outgoing.values()].filter(({ sent }) => !sent).length
        if (!queue) return reject(failure('disconnected', 'not connected: wait for "open", or set `queue`', AGAIN))
        if (waiting >= queue) return reject(failure('queue_full', `${queue} requests wait already (\`queue\`)`, AGAIN))
      }
      const id = this.#prefix + ++this.#count
      /** @type {Outgoing} */
      const request = { text: JSON.stringify({ type, id, payload }), sent: false, resolve, reject }
      this.#outgoing.set(id, request)
      if (timeout < Infinity) {
        request.timer = this.#world.setTimeout(
          () => this.#reject(id, failure('timeout', `no answer within ${timeout} ms`, { retry: !request.sent })),
          Math.min(timeout, LONGEST_TIMER)
        )
      }
      if (this.#live) this.#send(id, request)
    })
  }

  /**
   * Tells the app something, without an answer; false: not connected, or too large.
   * @param {string} type
   * @param {any} [payload]
   */
  send(type, payload) {
    checkType(type)
    return this.#give({ type, payload })
  }

  /** Ends it. Requests without an answer are rejected. */
  close(code = 1000, reason = 'closed by the page') {
    if (this.#connector.state === 'closed') return
    this.#connector.stop(code, reason)
    this.#connector.socket = null // what it still has to say comes too late
    this.#closed({ code, reason })
  }

  // Connecting

  #connecting() {
    this.#bye = undefined
    this.emit('state', { state: 'connecting', resumed: false })
  }

  /**
   * What takes time, and changes nothing: by then the try may be over.
   * @param {any} address
   */
  async #prepare(address) {
    const token = await this.#token()
    return [await valueOf(address), await valueOf(this.#options.http), token]
  }

  async #token() {
    const token = (await this.#options.token?.())?.trim()
    // A login page, for instance: it must neither end the tries nor be shown to anybody.
    if (token && !/^[\w.-]+$/.test(token)) throw new Error('token() did not give a JSON Web Token: check its response')
    return token
  }

  /**
   * HTTP only where no WebSocket was ever welcomed; a try over HTTP is the probe whether it works.
   * @param {string} place
   * @param {boolean} hasHTTP
   * @returns {Transport}
   */
  #chooseTransport(place, hasHTTP) {
    const { webSocket, transport, until } = known.get(place) ?? { until: 0 }
    if (!hasHTTP || webSocket) return 'websocket'
    if (transport && this.#world.Date.now() < until) return transport
    // Node has no WebSocket of its own before version 22.
    const usable = this.#options.WebSocket ?? this.#world.WebSocket ? TRANSPORTS : TRANSPORTS.slice(2)
    return usable[this.#tries++ % usable.length]
  }

  /** @param {Transport} transport */
  #remember(transport) {
    const { until = 0 } = known.get(this.#place) ?? {}
    const now = this.#world.Date.now()
    known.set(this.#place, {
      webSocket: transport === 'websocket',
      transport,
      until: until > now ? until : now + REMEMBERED,
    })
  }

  /**
   * A connection over HTTP has ended.
   * @param {boolean} wasWelcomed
   */
  #doubt(wasWelcomed) {
    const { attempt } = this.#connector
    // It did not last, and the server has not said why: something on the way cuts long answers.
    if (wasWelcomed && !this.#bye && this.#transport === 'stream' && attempt > 1) this.#remember('poll')
    // A first failure may be that of the server; more in a row speak against the transport.
    if (!wasWelcomed && attempt > 2) known.delete(this.#place)
  }

  /**
   * @param {string | URL} address
   * @param {string | URL | undefined} http
   * @param {string | undefined} token
   */
  #createSocket(address, http, token) {
    const world = this.#world
    const url = wholeAddress(address, world, 'ws')
    const place = url.split('?')[0]
    const transport = this.#chooseTransport(place, !!http)
    if (transport !== this.#transport) this.#key = undefined
    this.#place = place
    this.#transport = transport
    this.#bearer = token
    // With `-` there is no session to resume, but channels whose history may have what was missed.
    const offer = this.#resumeToken ?? (this.#positions.size > 0 ? '-' : undefined)
    this.#resuming = offer !== undefined
    const protocols = ['sidesocket.v1.json']
    if (token) protocols.push(`sidesocket.bearer.${token}`)
    if (offer) protocols.push(`sidesocket.resume.${offer}`)
    if (transport === 'websocket' || !http) return new (this.#options.WebSocket ?? world.WebSocket)(url, protocols)
    this.#key ??= world.crypto?.getRandomValues(new Uint32Array(4)).join('-')
    return new HTTPSocket(transport, wholeAddress(http, world, 'http'), protocols, this.#key, world)
  }

  #opened() {
    if (!this.#resuming) return
    const channels = Object.fromEntries(this.#positions)
    this.#transmit(JSON.stringify({ type: '$resume', seq: this.#seq, channels, session: this.#session }))
  }

  /**
   * The table, and what only the client protocol has.
   * @param {End} end
   * @param {number} attempt
   */
  #delay(end, attempt) {
    const { code, after = 0 } = end
    const bye = this.#bye
    const wait = (/** @type {number} */ code) => reconnectDelay(code, attempt, () => this.#world.Math.random())
    // 4400: a fault of this client, which would repeat. 4409: another socket has taken the session over, perhaps that
    // of a duplicated tab; taking it back would never end.
    if (bye?.reconnect === false || code === 4400 || code === 4409) return null
    if (code === 4401 && !this.#options.token) return null
    const usual = wait(code) ?? (bye || code === 4401 ? wait(1006) : null)
    if (usual === null) return null
    // A first time when the server says, or at once; but whoever comes to nothing twice slows down.
    if (bye || code === 4408 || code === I_COME_BACK) return Math.max(bye?.after ?? 0, attempt && usual)
    return Math.max(after, usual)
  }

  /** @param {End} end */
  #closed(end) {
    const { code, reason } = end
    const isOver = this.#connector.state === 'closed'
    const wasWelcomed = this.#isWelcomed
    this.#live = this.#isWelcomed = false
    for (const timer of [this.#silence, this.#ticker, this.#renewal]) this.#world.clearTimeout(timer)
    if (this.#transport !== 'websocket' && !isOver) this.#doubt(wasWelcomed)
    let room = this.#options.queue
    for (const [id, { sent, reject }] of this.#outgoing) {
      if (!reject) this.#outgoing.delete(id)
      else if (isOver) this.#reject(id, failure('closed', `the connection is closed: ${code} ${reason ?? ''}`))
      else if (sent && !this.#resumeToken) this.#reject(id, LOST())
      else if (!sent && room-- <= 0) this.#reject(id, failure('disconnected', 'the connection was lost', AGAIN))
    }
    if (isOver) this.emit('state', { state: 'closed', resumed: false, code, reason: reason || `closed with ${code}` })
  }

  // Frames from the server

  /**
   * @param {any} data
   * @returns {void}
   */
  #received(data) {
    let frame, type
    try {
      frame = JSON.parse(data)
      type = frame.type
    } catch {
      return this.#connector.drop('what came is no frame of the protocol')
    }
    if (this.#isWelcomed) this.#heard()
    else if (type !== '$welcome' && type !== '$bye') return
    switch (type) {
      case '$welcome':
        return this.#welcomed(frame)
      case '$live':
        return this.#resuming ? this.#goLive() : undefined
      case '$ack':
        return this.#take(frame.re)?.resolve?.(frame)
      case '$error':
        return this.#refused(frame)
      case '$ping':
        return this.#transmit('{"type":"$pong"}')
      case '$bye':
        this.#bye = frame
        return
      case '$joined':
        return this.#joined(frame)
      case '$left':
        return this.#left(frame)
      case '$gap':
        this.#positions.set(frame.channel, positionOf(frame))
        return this.channel(frame.channel).emit('gap', frame)
      case '$member':
        return this.#member(frame)
    }
    if (typeof type === 'string' && !type.startsWith('$')) this.#message(frame, data.length)
  }

  /** @param {any} frame */
  #welcomed(frame) {
    if (this.#isWelcomed) return this.#connector.drop('a second $welcome')
    this.#isWelcomed = true
    this.#session = frame.session
    this.#resumeToken = frame.resume
    this.user = frame.user
    this.#ping = frame.ping
    this.#maxBytes = frame.maxBytes ?? Infinity
    this.#key = undefined
    this.#tries = 0
    this.#unacknowledged = { frames: 0, length: 0 }
    this.#remember(this.#transport)
    this.#connector.ready()
    this.#heard()
    this.#watch(this.#world.Date.now())
    if (this.#bearer) this.#renewInTime(this.#bearer)
    if (!frame.resumed) {
      this.#seq = frame.seq ?? 0
      for (const [id, { sent }] of this.#outgoing) if (sent) this.#reject(id, LOST())
    }
    // From now on the old token is worth nothing: an attempt that was held up cannot take the session back.
    if (frame.resumed) this.#transmit(JSON.stringify({ type: '$ack', seq: this.#seq }))
    this.emit('state', { state: 'open', resumed: frame.resumed === true })
    this.#moveTo(frame.channels ?? {})
    if (!this.#resuming) this.#goLive()
  }

  /** @param {Record<string, any>} channels all that we are in */
  #moveTo(channels) {
    for (const channel of this.#positions.keys()) {
      if (!Object.hasOwn(channels, channel)) this.#left({ type: '$left', channel })
    }
    for (const [name, place] of Object.entries(channels)) {
      const isNew = !this.#positions.has(name)
      // Where it goes on `$joined` will say. Until then, our own position is the one to come back with.
      if (place.pending) this.#positions.set(name, this.#positions.get(name))
      else if (isNew) this.#joined({ type: '$joined', channel: name, ...place })
      else {
        this.#continue(name, place)
        if (place.members) {
          const { members, count } = place
          this.#member({ type: '$member', channel: name, event: 'reset', members, count })
        }
      }
    }
  }

  /** @param {any} frame */
  #member(frame) {
    const channel = this.channel(frame.channel)
    channel.place(frame)
    channel.emit('member', frame)
  }

  /** @param {any} frame */
  #joined(frame) {
    this.#continue(frame.channel, frame)
    const channel = this.channel(frame.channel)
    channel.place(frame)
    channel.emit('joined', frame)
  }

  /**
   * A stream of a channel begins; unless it is where ours has ended, messages were missed.
   * @param {string} name
   * @param {any} place
   */
  #continue(name, place) {
    const before = this.#positions.get(name)
    this.#positions.set(name, positionOf(place))
    const isSame = before?.epoch === place.epoch && before?.offset === place.offset
    if (before && !(place.recovered ?? isSame)) {
      this.channel(name).emit('gap', { type: '$gap', channel: name, ...positionOf(place) })
    }
  }

  /** @param {any} frame */
  #left(frame) {
    this.#positions.delete(frame.channel)
    const channel = this.channel(frame.channel)
    channel.place({ members: [], count: 0 })
    channel.emit('left', frame)
  }

  /**
   * @param {any} frame of the app, or of another client
   * @param {number} length
   */
  #message(frame, length) {
    const { seq, channel, re } = frame
    if (seq !== undefined) {
      // Sent before the last connection ended, and known; but a repeated answer keeps its old number.
      if (seq <= this.#seq && !this.#outgoing.has(re)) return
      this.#seq = Math.max(seq, this.#seq)
    }
    const isFromClient = frame.type.startsWith('client-')
    const place = this.#positions.get(channel)
    if (place && frame.offset !== undefined) this.#positions.set(channel, positionOf({ ...frame, epoch: place.epoch }))
    const request = this.#take(re)
    // A late answer, which no request waits for any more, is a message.
    if (request) request.resolve?.(frame)
    else {
      if (!isFromClient) this.emit('message', frame)
      if (channel !== undefined) this.channel(channel).emit(frame.type, frame)
    }
    if (seq === undefined) return
    const { frames, length: before } = this.#unacknowledged
    this.#unacknowledged = { frames: frames + 1, length: before + length }
    // 64 KiB are at least a third of as many characters.
    if (frames + 1 >= 32 || before + length >= 20_000) this.#acknowledge()
  }

  // Requests

  /** @param {string} text */
  #transmit(text) {
    // There is no socket if a listener has just closed it.
    this.#connector.socket?.send(text)
  }

  /** @param {any} frame `$error` */
  #refused(frame) {
    // Servers without sessions don't know `$resume`, and say so instead of `$live`.
    if (frame.re === undefined && this.#resuming && frame.code === 'bad_frame') return this.#goLive()
    // The answer follows.
    if (frame.code === 'in_progress') return
    const { re, code, message, retry, status, payload, after } = frame
    const error = failure(code, message ?? code, { retry: retry === true, status, payload, after })
    if (re === undefined) this.emit('error', error)
    else this.#reject(re, error)
  }

  /**
   * @param {any} id
   * @param {Error} error
   */
  #reject(id, error) {
    this.#take(id)?.reject?.(error)
  }

  /** @param {any} id */
  #take(id) {
    const request = this.#outgoing.get(id)
    this.#outgoing.delete(id)
    this.#world.clearTimeout(request?.timer)
    return request
  }

  /** Everything may go now: first what has no answer yet, in its order. */
  #goLive() {
    this.#resuming = false
    this.#live = true
    for (const [id, outgoing] of this.#outgoing) this.#send(id, outgoing)
  }

  /**
   * @param {any} id
   * @param {Outgoing} outgoing
   */
  #send(id, outgoing) {
    if (this.#isTooLarge(outgoing.text)) {
      this.#reject(id, failure('too_large', `a frame may have ${this.#maxBytes} bytes (MAX_MESSAGE_BYTES)`))
    } else {
      this.#transmit(outgoing.text)
      outgoing.sent = true
    }
  }

  /**
   * Sends what nobody answers, or keeps it for the moment until `$live`.
   * @param {object} frame
   */
  #give(frame) {
    const text = JSON.stringify(frame)
    if (this.#connector.state !== 'open' || this.#isTooLarge(text)) return false
    const outgoing = { text, sent: false }
    if (this.#live) this.#transmit(text)
    else this.#outgoing.set(outgoing, outgoing)
    return true
  }

  /** @param {string} text */
  #isTooLarge(text) {
    const most = this.#maxBytes
    return text.length * 3 > most && new TextEncoder().encode(text).length > most
  }

  #acknowledge() {
    if (this.#unacknowledged.frames === 0) return
    this.#unacknowledged = { frames: 0, length: 0 }
    this.#transmit(JSON.stringify({ type: '$ack', seq: this.#seq }))
  }

  // Heartbeat

  /**
   * Called by what came, so that no timer is set by a timer: in a page in the background the browser
   * lets such chains run once a minute only.
   */
  #heard() {
    this.#probes = 0
    this.#world.clearTimeout(this.#silence)
    if (this.#ping) this.#silence = this.#world.setTimeout(() => this.#probe(), this.#ping)
  }

  /** Is the server there? */
  #probe() {
    this.#probes += 1
    this.#acknowledge()
    this.#transmit('{"type":"$ping"}')
    const due = this.#world.Date.now() + ANSWER_TIME
    this.#world.clearTimeout(this.#silence)
    this.#silence = this.#world.setTimeout(() => {
      // So late that the machine has slept: the answer may be on its way. Asked once more.
      if (this.#world.Date.now() - due > TICK && this.#probes < 2) return this.#probe()
      // Something on the way holds back a stream.
      if (this.#transport === 'stream') this.#remember('poll')
      this.#connector.drop('nothing came from the server')
    }, ANSWER_TIME)
  }

  /** The page or the network is back: is the connection still good? */
  #look() {
    if (this.#probes === 0) this.#probe()
  }

  /**
   * A clock that has jumped means that the machine has slept. In a hidden page it can also be the browser that saves
   * power; when the page is shown, the connector looks anyway.
   * @param {number} last
   */
  #watch(last) {
    this.#ticker = this.#world.setTimeout(() => {
      const now = this.#world.Date.now()
      if (now - last > 3 * TICK && !this.#world.document?.hidden) this.#look()
      if (this.#isWelcomed) this.#watch(now)
    }, TICK)
  }

  // Tokens

  /** @param {string} token */
  #renewInTime(token) {
    const { exp, iat } = claims(token)
    if (!exp) return
    const now = this.#world.Date.now() / 1000
    // A clock that is wrong must not make each new token look old.
    const left = iat && (now < iat || now > exp) ? exp - iat : exp - now
    this.#renewAfter(left * 800)
  }

  /** @param {number} delay */
  #renewAfter(delay) {
    this.#world.clearTimeout(this.#renewal)
    const wait = Math.min(Math.max(delay, 10_000), LONGEST_TIMER)
    this.#renewal = this.#world.setTimeout(() => this.#renew(), wait)
  }

  async #renew() {
    const { socket } = this.#connector
    const token = await this.#token().catch(() => undefined)
    if (socket !== this.#connector.socket) return
    // One that is the same will not do for long: the next may be another.
    if (!token || token === this.#bearer || !this.#live) return this.#renewAfter(0)
    this.#bearer = token
    this.#give({ type: '$token', token })
    this.#renewInTime(token)
  }
}

const LOST = () => failure('lost', 'the session is lost: the app may or may not have handled this')

/**
 * @param {any} frame
 * @returns {Position}
 */
const positionOf = ({ offset, epoch, id }) => ({ offset, epoch, id })

/**
 * Connects to Sidesocket, and stays connected until `close()` or a reason for which coming back makes no sense.
 * @type {typeof import('./sidesocket.js').connect}
 */
export const connect = (address, options) => /** @type {any} */ (new Session(address, options))

// Where WebSockets don't pass

/** The frames of the protocol over HTTP, as one long answer (`stream`) or many short ones (`poll`). */
class HTTPSocket {
  /** @type {((event: any) => void) | undefined} */ onopen
  /** @type {((event: any) => void) | undefined} */ onmessage
  /** @type {((event: any) => void) | undefined} */ onclose
  #isStream
  #url
  #world
  #resume
  #bearer
  /** @type {string | undefined} */
  #key
  #n = 0
  /** @type {string[]} */
  #outgoing = []
  #inFlight = 0
  #polledAt = 0
  #mostAtOnce = 16_384
  /** @type {Promise<any>} */
  #inOrder = Promise.resolve()
  #isOver = false
  #ending = new AbortController()

  /**
   * @param {Transport} transport
   * @param {string} url
   * @param {string[]} protocols as for a WebSocket: tokens are in there
   * @param {string | undefined} key
   * @param {World} world
   */
  constructor(transport, url, protocols, key, world) {
    const offered = (/** @type {string} */ prefix) =>
      protocols.find(protocol => protocol.startsWith(prefix))?.slice(prefix.length)
    const resume = offered('sidesocket.resume.')
    this.#isStream = transport === 'stream'
    this.#url = url
    this.#world = world
    this.#bearer = offered('sidesocket.bearer.')
    this.#resume = resume === '-' ? undefined : resume
    this.#key = this.#resume ? undefined : key
    // As with a WebSocket, whoever made it listens first.
    queueMicrotask(() => {
      this.onopen?.({})
      const [text] = this.#outgoing.splice(0)
      // It says `$resume`, or nothing yet.
      const { type, ...place } = text ? JSON.parse(text) : { type: '' }
      if (this.#isStream) this.#stream(place).catch(error => this.#fail(error))
      else this.#poll(place)
    })
  }

  /** @param {string} text a frame */
  send(text) {
    // All that is sent in one turn goes together.
    if (this.#outgoing.push(text) === 1 && this.#n > 0) queueMicrotask(() => this.#flush())
  }

  /** @param {number} [code] */
  close(code) {
    // A client that comes back says nothing, as if its connection were lost.
    const says = code !== I_COME_BACK && this.#resume && !this.#isOver
    this.#isOver = true
    const abort = () => this.#ending.abort()
    if (!says) return abort()
    this.#outgoing.push('{"type":"$close"}')
    // It outlives the page. What was sent before it must not be taken back.
    this.#post('application/json', undefined, { keepalive: true }).then(abort, abort)
  }

  #flush() {
    if (this.#isOver || this.#outgoing.length === 0) return
    if (!this.#isStream) return this.#inFlight < 2 && this.#poll()
    if (this.#inFlight > 0) return
    this.#inFlight += 1
    this.#post('application/json').then(
      () => {
        this.#inFlight -= 1
        this.#flush()
      },
      error => this.#fail(error)
    )
  }

  /** @param {object} place */
  async #stream(place) {
    const response = await this.#post('text/event-stream', place)
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader()
    const decoder = new TextDecoder() // keeps the beginning of a character until the rest of it comes
    let rest = ''
    for (;;) {
      const { value, done } = await reader.read()
      if (done) throw new Error('the stream has ended')
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n')
      rest = /** @type {string} */ (lines.pop())
      for (const line of lines) if (line.startsWith('data:')) this.#deliver(JSON.parse(line.slice(5)))
    }
  }

  /**
   * A poll always waits at the server. What the page sends goes with a newer one, and that ends the older.
   * @param {object} [place]
   */
  #poll(place) {
    this.#inFlight += 1
    this.#polledAt = this.#world.performance.now()
    const answer = this.#post('application/json', place).then(async response => {
      const frames = response.status === 204 ? [] : (await response.json()).frames
      if (!Array.isArray(frames)) throw new Error('the answer has no frames')
      // Whoever answers otherwise is somebody else, and would be asked again and again.
      if (place && !/^\$(welcome|bye)$/.test(frames[0]?.type)) throw new Error('the answer begins without $welcome')
      return frames
    })
    // The answer to a newer poll may overtake that to an older one.
    this.#inOrder = Promise.all([answer, this.#inOrder]).then(([frames]) => {
      this.#inFlight -= 1
      // An empty answer, too, is a sign of life.
      for (const frame of frames.length ? frames : [{ type: '$pong' }]) this.#deliver(frame)
      this.#flush()
      if (this.#inFlight > 0 || this.#isOver) return
      if (frames.length > 0) return this.#poll()
      // A server that does not wait is not to be asked all the time.
      const early = 1_000 - (this.#world.performance.now() - this.#polledAt)
      const pollAgain = () => this.#inFlight === 0 && !this.#isOver && this.#poll()
      this.#world.setTimeout(pollAgain, Math.max(0, early))
    })
    this.#inOrder.catch(error => this.#fail(error))
  }

  /**
   * @param {string} accept
   * @param {object} [place]
   * @param {object} [how] instead of what ends with this
   * @returns {Promise<Response>}
   */
  async #post(accept, place, how = { signal: this.#ending.signal }) {
    const head = JSON.stringify({ resume: this.#resume, key: this.#key, n: (this.#n += 1), ...place })
    // Not more than the server takes at once; each frame costs it more than its characters.
    let size = 0
    let count = this.#outgoing.findIndex(text => (size += text.length + 256) > this.#mostAtOnce)
    const send = this.#outgoing.splice(0, count < 0 ? Infinity : count || 1)
    /** @type {Record<string, string>} */
    const headers = { 'Content-Type': 'application/vnd.sidesocket.v1+json', Accept: accept }
    if (this.#bearer) headers.Authorization = `Bearer ${this.#bearer}`
    const response = await this.#world.fetch(this.#url, {
      method: 'POST',
      headers,
      body: send.length > 0 ? `${head.slice(0, -1)},"send":[${send.join()}]}` : head,
      credentials: 'include',
      cache: 'no-store',
      ...how,
    })
    const { status } = response
    // A captive portal answers 200 with its own page.
    if (status !== 204 && !(status === 200 && response.headers.get('Content-Type')?.startsWith(accept))) {
      const seconds = Number(response.headers.get('Retry-After'))
      throw Object.assign(new Error(`HTTP status ${status} where frames were expected`), {
        code: [429, 502, 503, 504].includes(status) ? 1013 : 1006,
        after: seconds > 0 ? seconds * 1000 : 0,
      })
    }
    return response
  }

  /** @param {any} frame */
  #deliver(frame) {
    if (this.#isOver) return
    if (frame.type === '$welcome') {
      this.#resume = frame.resume
      this.#key = undefined
      this.#mostAtOnce = frame.maxBytes / 2 || this.#mostAtOnce
    }
    this.onmessage?.({ data: JSON.stringify(frame) })
    if (frame.type === '$bye') this.#fail({ code: frame.code, message: '' })
  }

  /** @param {{ message: string, code?: number, after?: number }} error */
  #fail({ message, code, after }) {
    if (this.#isOver) return
    this.#isOver = true
    this.#ending.abort()
    // A fetch that failed has its own kind of code, or none.
    this.onclose?.({ code: typeof code === 'number' && code >= 1000 ? code : 1006, reason: message, after })
  }
}
