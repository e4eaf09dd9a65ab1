// A WebSocket that reconnects. Plain JavaScript for browsers, without dependencies: copy it.
//
//   const socket = new ReconnectingWebSocket('wss://shop.example/ws')
//   socket.onopen = event => …             each time it opens: say again what the app must know
//   socket.onmessage = event => …
//   socket.onclose = event => …            each time; for good if socket.state is 'closed'
//   socket.onwaiting = (delay, code) => …  the next try is in `delay` milliseconds
//   socket.send('hello')                   false, and nothing is sent, unless socket.state is 'open'
//   socket.close()                         no more tries, until socket.connect()
//
// With <script src> it is a global; import and require work too. The reasons: docs/clients.md.

/** Milliseconds until the next try after `attempt` failures in a row, or null: not again. */
function reconnectDelay(code, attempt, random = Math.random) {
  // Full jitter: anywhere in a span that doubles. Clients that lost a server together return spread out.
  const span = (base, cap) => Math.min(cap, base * 2 ** attempt)
  switch (code) {
    case 1000: // the app has ended it
    case 1008: // against a rule
    case 4401: // the token has expired: it will not become valid again
    case 4403: // forbidden
      return null
    case 1012: // a restart: soon, but not everybody in the same second
      return random() * Math.max(5_000, span(1_000, 30_000))
    case 1013: // the app is away or overloaded
    case 4429: // too fast: later, so never at once
      return 5_000 + random() * span(10_000, 120_000)
    default: // also 1006: the network, or a refused handshake, whose status a browser does not tell
      return random() * span(1_000, 30_000)
  }
}

class ReconnectingWebSocket {
  state = 'closed' // connecting, open, waiting, closed
  socket = null // the WebSocket of the moment, for `protocol`, `bufferedAmount`, `binaryType`
  attempt = 0 // failures since the last connection that lasted
  onopen; onmessage; onclose; onwaiting
  #url; #options; #world; #openedAt; #timer; #due; #code
  #life // aborted at the end: takes the listeners away

  /**
   * `url` may be a function, called for each try. The options are:
   * `protocols`; `refreshToken`, called after 4401 and before the next try, and again later if it rejects;
   * `reconnectDelay`, to give the app's own codes (4000 to 4999) a meaning; `stableAfter` milliseconds a failure
   * counts as a first one; `world`, a stand-in for the browser, for tests.
   */
  constructor(url, options) {
    this.#url = url
    this.#options = { protocols: [], refreshToken: null, reconnectDelay, stableAfter: 5_000, ...options }
    this.#world = this.#options.world ?? globalThis
    this.connect()
  }

  /** Starts again after the end; the constructor has called it once. */
  connect() {
    if (this.state !== 'closed') return
    const { signal } = (this.#life = new AbortController())
    const look = event => this.#look(event.type)
    this.#world.addEventListener?.('online', look, { signal })
    this.#world.addEventListener?.('offline', look, { signal })
    this.#world.document?.addEventListener('visibilitychange', look, { signal })
    this.attempt = 0
    this.#open()
  }

  // Nothing is kept for later: only the app knows whether a message still makes sense in a new
  // connection, and only its answers say whether the last ones before a close have arrived.
  send(data) {
    if (this.state !== 'open') return false
    this.socket.send(data)
    return true
  }

  /** Ends it. `onclose` follows if there was a socket. */
  close(code = 1000, reason = '') {
    this.socket?.close(code, reason)
    this.#end()
  }

  /** Abandons a connection that seems dead, without waiting for the other side; reconnects as after 1006. */
  drop() {
    const { socket } = this
    if (!socket) return
    this.#closed({ code: 1006, reason: 'dropped', wasClean: false })
    socket.close()
  }

  #open() {
    const url = typeof this.#url === 'function' ? this.#url() : this.#url
    const socket = new this.#world.WebSocket(url, this.#options.protocols)
    // A socket that was dropped, or closed before connect(), may still have something to say.
    const listen = (name, handle) => (socket[name] = event => socket === this.socket && handle(event))
    listen('onopen', event => {
      if (this.state !== 'connecting') return
      this.#openedAt = this.#world.performance.now()
      this.state = 'open'
      this.onopen?.(event)
    })
    listen('onmessage', event => this.onmessage?.(event))
    listen('onclose', event => this.#closed(event))
    this.socket = socket
    this.#openedAt = Infinity
    this.state = 'connecting'
  }

  #closed(event) {
    let delay = null
    this.socket = null
    if (this.state !== 'closed') {
      if (this.#world.performance.now() - this.#openedAt >= this.#options.stableAfter) this.attempt = 0
      delay = this.#delay(event.code, this.attempt++)
      if (delay === null) this.#end()
      else this.state = 'waiting'
    }
    try {
      this.onclose?.(event)
    } finally {
      if (this.state === 'waiting') this.#wait(delay, event.code)
    }
  }

  #delay(code, attempt) {
    const { refreshToken, reconnectDelay } = this.#options
    return reconnectDelay(code === 4401 && refreshToken ? 1006 : code, attempt, this.#world.Math.random)
  }

  #wait(delay, code) {
    // Offline, `online` ends the wait. But `onLine` can be wrong (localhost), so not it alone.
    if (this.#world.navigator?.onLine === false) delay = Math.max(delay, 30_000)
    const next = code === 4401 && this.#options.refreshToken ? () => this.#refresh() : () => this.#open()
    this.#world.clearTimeout(this.#timer)
    this.#timer = this.#world.setTimeout(next, delay)
    this.#due = this.#world.performance.now() + delay
    this.#code = code
    this.state = 'waiting'
    this.onwaiting?.(delay, code)
  }

  async #refresh() {
    const { signal } = this.#life
    this.state = 'connecting'
    const done = await Promise.resolve().then(this.#options.refreshToken).then(() => true, () => false)
    if (signal.aborted) return
    if (done) this.#open()
    else this.#wait(this.#delay(4401, this.attempt++), 4401)
  }

  // The network is back, or somebody looks at the page: as soon as after a first failure.
  #look(why) {
    const { navigator, document, performance } = this.#world
    if (this.state !== 'waiting' || (why === 'visibilitychange' && document.hidden)) return
    const soon = this.#delay(this.#code, 0)
    const early = navigator?.onLine !== false && this.#due - performance.now() > soon
    if (early || why === 'offline') this.#wait(soon, this.#code)
  }

  #end() {
    this.state = 'closed'
    this.#life.abort()
    this.#world.clearTimeout(this.#timer)
  }
}

if (typeof module === 'object') module.exports = { ReconnectingWebSocket, reconnectDelay }
else Object.assign(globalThis, { ReconnectingWebSocket, reconnectDelay })
