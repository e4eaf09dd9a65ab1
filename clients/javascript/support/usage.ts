// Compiled, never run: what a page writes is what sidesocket.d.ts describes.
import { connect, ReconnectingWebSocket, reconnectDelay, type Session, type SidesocketError } from '../sidesocket.js'

const s: Session = connect('/ws', { token: async () => (await fetch('/token')).text(), queue: 10, http: '/ws' })
s.on('state', ({ state, resumed, reason }) => `${state} ${resumed} ${reason?.length}`)
s.on('message', m => `${m.type} ${m.channel} ${m.payload} ${m.offset} ${m.id} ${m.ts}`)
s.on('error', error => error.code.length)
s.channel('room:1')
  .on('price', m => m.payload)
  .on('gap', event => event.epoch?.length)
  .on('member', ({ user, event }) => event === 'left' && user)
  .on('joined', ({ members }) => members?.length)
  .whisper('typing')

async function ask() {
  try {
    const { payload } = await s.request<{ text: string }>('post', { text: 'hi' }, { timeout: 10_000 })
    return payload.text
  } catch (error) {
    const { code, retry, status, payload } = error as SidesocketError
    return `${code} ${retry} ${status} ${payload}`
  }
}

const sent: boolean = s.send('move', { x: 1 })
s.close()

// @ts-expect-error There is no such event.
s.on('open', () => {})
// @ts-expect-error A state is one of four words.
s.state === 'opened'

const raw = new ReconnectingWebSocket(async () => 'wss://shop.example/ws', { protocols: async () => ['chat'] })
raw.onwaiting = (delay, code) => reconnectDelay(code, delay)
void [ask, sent]
