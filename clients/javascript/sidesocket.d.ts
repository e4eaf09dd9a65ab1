/** Where a client is in the stream of a channel. */
export interface Position {
  offset: number
  epoch: string
  id: string
}

/** A frame of the app, or of another client in a channel. */
export interface Frame<Payload = any> {
  /** `message` or `reply`, unless the app has named it with `Sidesocket-Event`. */
  type: string
  payload: Payload
  /** The channel that it was published to. */
  channel?: string
  offset?: number
  /** The id of a publication. */
  id?: string
  /** When it was sent, in milliseconds since 1970. */
  ts?: number
  seq?: number
  /** The id of the request that it answers. */
  re?: string
  /** Who sent it, for events between clients. */
  user?: string
}

/** What a request was answered with: a reply of the app, or `$ack` if the app had nothing to say. */
export interface Answer<Payload = any> {
  /** `reply`, the name that the app gave it, or `$ack`. */
  type: string
  re: string
  payload: Payload
  seq?: number
  ts?: number
  /** The request had been handled before. */
  dup?: boolean
}

export type State = 'connecting' | 'open' | 'waiting' | 'closed'

export interface StateEvent {
  state: State
  /** With `open`: the session goes on, and nothing was lost; otherwise it is a new one. */
  resumed: boolean
  /** With `waiting` and `closed`: why. */
  reason?: string
  /** With `waiting` and `closed`: the close code. */
  code?: number
  /** With `waiting`: milliseconds until the next try. */
  delay?: number
}

/** `$gap`: messages of the channel were lost; load its state anew. */
export interface GapEvent extends Partial<Position> {
  type: '$gap'
  channel: string
}

/** `$joined`, or `$left`: the app has changed where this client belongs. */
export interface MembershipEvent extends Partial<Position> {
  type: '$joined' | '$left'
  channel: string
  recovered?: boolean
  /** With `presence=on`: users in the channel, at most 100. */
  members?: string[]
  count?: number
}

/**
 * `$member`: a user has come into the channel, or is gone; or, with `reset`, all that are there, since some changes were
 * missed.
 */
export interface MemberEvent {
  type: '$member'
  channel: string
  event: 'joined' | 'left' | 'reset'
  /** Who; not with `reset`. */
  user?: string
  /** With `reset`: users in the channel, at most 100. */
  members?: string[]
  /** How many there are. */
  count: number
}

/**
 * Why something was not done. From the app or Sidesocket: `bad_frame`, `too_large`, `rate_limited`, `rejected`,
 * `failed`, `unavailable`, `unauthorized`, `forbidden`. From the client itself: `disconnected`, `queue_full`,
 * `timeout`, `lost`, `closed`.
 */
export interface SidesocketError extends Error {
  name: 'SidesocketError'
  code: string
  /** Whether the same may be tried again: the app has not handled it. */
  retry: boolean
  /** The HTTP status of the app's reply. */
  status?: number
  /** The body of the app's reply. */
  payload?: any
  /** With `rate_limited`: milliseconds to wait. */
  after?: number
}

type ValueOrFunction<Value> = Value | (() => Value | Promise<Value>)

/** What the client takes from its surroundings; tests give it another. */
export interface World {
  setTimeout(call: () => void, delay: number): any
  clearTimeout(timer: any): void
  performance: { now(): number }
  Date: { now(): number }
  Math: { random(): number }
  WebSocket?: any
  fetch?: any
  crypto?: any
  navigator?: any
  document?: any
  location?: any
  addEventListener?: any
}

export interface Options {
  /** Gives the JSON Web Token of the user: called for each connection, and before the token expires. */
  token?: () => string | null | undefined | Promise<string | null | undefined>
  /** How many requests may wait while there is no connection. Default 0: they are rejected. */
  queue?: number
  /** Milliseconds until a request without an answer is rejected; `Infinity`: never. Default 30000. */
  timeout?: number
  /** Milliseconds until a try without `$welcome` is given up. Default 15000. */
  connectTimeout?: number
  /** Milliseconds a connection must last for the next failure to count as a first one. Default 5000. */
  stableAfter?: number
  /**
   * Where the protocol is spoken over HTTP (`HTTP_PATHS`), for networks that no WebSocket passes. Default: nowhere. A
   * function is called for each connection.
   */
  http?: ValueOrFunction<string | URL>
  /** The class to use, where there is no global one (Node before 22). */
  WebSocket?: any
  /** A stand-in for the browser, for tests. */
  world?: World
}

export interface RequestOptions {
  /** Milliseconds; `Infinity`: as long as the session lives. */
  timeout?: number
}

export interface Channel {
  readonly name: string
  /**
   * With `presence=on`: the users in the channel, oneself among them. Of those that were there at first it has 100 at
   * most.
   */
  readonly members: Set<string>
  /** How many there are. */
  readonly count: number
  on(type: 'gap', listener: (event: GapEvent) => void): this
  on(type: 'member', listener: (event: MemberEvent) => void): this
  on(type: 'joined' | 'left', listener: (event: MembershipEvent) => void): this
  /** Publications by their type, `message` if they have none; events of other clients as `client-…`. */
  on(type: string, listener: (frame: Frame) => void): this
  off(type: string, listener: (event: any) => void): this
  /** Tells the other members, but not the app. False: not connected, or too large. */
  whisper(type: string, payload?: unknown): boolean
}

export interface Session {
  readonly state: State
  /** The id of the session, which is `ce-connectionid` for the app. */
  readonly session: string | undefined
  /** The name of the user, if Sidesocket knows it. */
  readonly user: string | undefined
  on(type: 'state', listener: (event: StateEvent) => void): this
  /** Every frame of the app that answers no request. */
  on(type: 'message', listener: (frame: Frame) => void): this
  /** Something that nobody asked an answer for was refused. */
  on(type: 'error', listener: (error: SidesocketError) => void): this
  off(type: 'state' | 'message' | 'error', listener: (event: any) => void): this
  channel(name: string): Channel
  /** Rejects with a {@link SidesocketError}. */
  request<Payload = any>(type: string, payload?: unknown, options?: RequestOptions): Promise<Answer<Payload>>
  /** Nobody answers. False: not connected, or too large. */
  send(type: string, payload?: unknown): boolean
  /** Ends the session. */
  close(code?: number, reason?: string): void
}

/** Connects to Sidesocket with its client protocol, and comes back whenever that makes sense. */
export function connect(address: ValueOrFunction<string | URL>, options?: Options): Session

/** Milliseconds until the next try after `attempt` failures in a row, or null: not again. */
export function reconnectDelay(code: number, attempt: number, random?: () => number): number | null

export interface RawOptions {
  protocols?: ValueOrFunction<string | string[]>
  /** Called after 4401 and before the next try, and again later if it rejects. */
  refreshToken?: () => unknown
  /** Gives the app's own codes (4000 to 4999) a meaning. */
  reconnectDelay?: typeof reconnectDelay
  /** Milliseconds a connection must last for the next failure to count as a first one. Default 5000. */
  stableAfter?: number
  /** Milliseconds until a handshake is given up. Default `Infinity`: when the browser does. */
  connectTimeout?: number
  WebSocket?: any
  world?: World
}

/** A raw WebSocket that reconnects. */
export class ReconnectingWebSocket {
  constructor(address: ValueOrFunction<string | URL>, options?: RawOptions)
  readonly state: State
  /** The WebSocket of the moment, for `protocol`, `bufferedAmount`, `binaryType`. */
  readonly socket: any
  /** Failures since the last connection that lasted. */
  readonly attempt: number
  onopen?: (event: any) => void
  onmessage?: (event: any) => void
  /** Each time it closes; for good if `state` is `closed`. */
  onclose?: (event: any) => void
  /** The next try is in `delay` milliseconds. */
  onwaiting?: (delay: number, code: number) => void
  /** False, and nothing is sent, unless `state` is `open`. */
  send(data: any): boolean
  /** No more tries, until `connect()`. */
  close(code?: number, reason?: string): void
  connect(): void
  /** Abandons a connection that seems dead, and reconnects as after 1006. */
  drop(): void
}
