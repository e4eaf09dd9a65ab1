// Tokens: for each connection, and renewed before they expire.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../sidesocket.js'
import { freshAddress, record, settle, World } from '../support/world.js'

const base64url = value => Buffer.from(JSON.stringify(value)).toString('base64url')
/** A token whose times are seconds from the clock of the world, which may be wrong by `skew`. */
function jwt(world, { iat, exp, skew = 0, sub = 'bob' }) {
  const now = world.Date.now() / 1000 + skew
  const claims = { sub, ...(iat !== undefined && { iat: now + iat }), ...(exp !== undefined && { exp: now + exp }) }
  return `${base64url({ alg: 'ES256' })}.${base64url(claims)}.c2ln`
}
async function start(make, welcome) {
  const world = new World()
  let asked = 0
  const s = connect(freshAddress(), { world, token: () => make(world, ++asked) })
  const seen = record(s)
  await settle()
  world.last?.welcome({ ping: undefined, ...welcome })
  return { world, s, seen, asked: () => asked }
}
const tokens = socket => socket.frames().filter(({ type }) => type === '$token').map(({ token }) => token)

test('it is asked for with each connection, and goes with the handshake', async () => {
  const { world, s } = await start((world, n) => `t${n}`)
  assert.deepEqual(world.last.protocols, ['sidesocket.v1.json', 'sidesocket.bearer.t1'])
  world.last.end(1006)
  await world.advance(500)
  assert.deepEqual(world.last.protocols, ['sidesocket.v1.json', 'sidesocket.bearer.t2'])
  s.close()
})

test('it may come with space around it, and there may be none', async () => {
  const { world } = await start((world, n) => (n === 1 ? ' t1\n' : n === 2 ? '' : null))
  assert.equal(world.last.offered('sidesocket.bearer.'), 't1')
  for (const wait of [500, 1000]) {
    world.last.end(1006)
    await world.advance(wait)
    assert.deepEqual(world.last.protocols, ['sidesocket.v1.json'])
  }
})

test('4401 brings a new one, as after 1006', async () => {
  const { world, s, seen } = await start((world, n) => `t${n}`)
  world.last.end(4401)
  assert.equal(seen.at(-1), 'waiting 500 4401')
  await world.advance(500)
  assert.equal(world.last.offered('sidesocket.bearer.'), 't2')
  s.close()
})

test('4401 with $bye brings a new one when the server says', async () => {
  const { world, s, seen, asked } = await start((world, n) => `t${n}`, { resume: 'r1' })
  await world.advance(5_000)
  world.last.give({ type: '$bye', code: 4401, reconnect: true, after: 0 })
  world.last.end(4401)
  assert.equal(seen.at(-1), 'waiting 0 4401')
  await world.advance(0)
  assert.deepEqual(world.last.protocols, ['sidesocket.v1.json', 'sidesocket.bearer.t2', 'sidesocket.resume.r1'])
  assert.equal(asked(), 2)
  s.close()
})

test('a new one is sent before the old one expires, again and again', async () => {
  const sent = []
  const { world, s, seen } = await start((world, n) => (sent[n] = jwt(world, { iat: 0, exp: 300, sub: `u${n}` })))
  await world.advance(239_999)
  assert.deepEqual(tokens(world.last), [])
  await world.advance(1)
  assert.deepEqual(tokens(world.last), [sent[2]])
  await world.advance(240_000)
  assert.deepEqual(tokens(world.last), [sent[3]])
  assert.deepEqual(seen, ['open new'])
  s.close()
  await world.advance(1e6)
  assert.equal(sent.length, 4, 'not after the end')
})

test('what is left of a token counts, not how long it was good for', async () => {
  const { world, s } = await start(world => jwt(world, { iat: -200, exp: 100 }))
  await world.advance(79_000)
  assert.deepEqual(tokens(world.last), [])
  await world.advance(1_000)
  assert.equal(tokens(world.last).length, 1)
  s.close()
})

for (const skew of [-86_400, 86_400]) {
  test(`a clock that is wrong by ${skew} s does not matter`, async () => {
    const { world, s } = await start(world => jwt(world, { iat: 0, exp: 300, skew }))
    await world.advance(239_999)
    assert.deepEqual(tokens(world.last), [])
    await world.advance(1)
    assert.equal(tokens(world.last).length, 1)
    s.close()
  })
}

test('a token that is good for months, or for ever, or that is none, sets no timer that runs at once', async () => {
  for (const make of [world => jwt(world, { exp: 1e8 }), world => jwt(world, {}), () => 'abc', () => 'a.b.c']) {
    const { world, s, asked } = await start(make)
    await world.advance(100_000)
    assert.deepEqual([s.state, asked()], ['open', 1])
    s.close()
  }
})

test('while a new one cannot be had, it is asked for each 10 s', async () => {
  let fail = false
  const { world, s, seen, asked } = await start(world => {
    if (fail) throw new Error('no network')
    return jwt(world, { iat: 0, exp: 100 })
  })
  fail = true
  await world.advance(80_000 + 29_999)
  assert.deepEqual([asked(), tokens(world.last)], [4, []])
  fail = false
  await world.advance(1)
  assert.equal(tokens(world.last).length, 1)
  assert.deepEqual(seen, ['open new'])
  s.close()
})

test('a token that expires at once, or is always the same, is no storm', async () => {
  const { world, s, asked } = await start(world => jwt(world, { exp: -5 }))
  await world.advance(60_000)
  assert.ok(asked() <= 7, `${asked()}`)
  s.close()
  const same = jwt(world, { exp: 30 })
  const other = await start(() => same)
  await other.world.advance(120_000)
  assert.deepEqual(tokens(other.world.last), [], 'nothing new')
  other.s.close()
})

test('a new token that stays the same from then on is sent once', async () => {
  const made = {}
  const { world, s } = await start((world, n) => (made[Math.min(n, 2)] ??= jwt(world, { exp: 20 + n, sub: `u${n}` })))
  await world.advance(200_000)
  assert.deepEqual(tokens(world.last), [made[2]])
  s.close()
})

test('a new token that comes after the connection is lost goes with the next handshake only', async () => {
  const gates = []
  const { world, s } = await start((world, n) => {
    if (n !== 2) return jwt(world, { iat: 0, exp: 100, sub: `u${n}` })
    return new Promise(resolve => gates.push(resolve))
  })
  await world.advance(80_000)
  assert.equal(gates.length, 1)
  world.last.end(1006)
  await world.advance(500)
  world.last.welcome()
  gates[0]('late')
  await settle()
  assert.deepEqual(tokens(world.last), [])
  s.close()
})

test('no $token between $resume and $live', async () => {
  const { world, s } = await start((world, n) => jwt(world, { iat: 0, exp: 20, sub: `u${n}` }), { resume: 'r1' })
  await world.advance(5_000)
  world.last.end(1006)
  await world.advance(500)
  world.last.open()
  world.last.frames()
  world.last.give({ type: '$welcome', session: 's1', resumed: true, resume: 'r2', channels: {} })
  await world.advance(25_000)
  assert.deepEqual(world.last.frames(), [{ type: '$ack', seq: 0 }])
  world.last.give({ type: '$live' })
  await world.advance(10_000)
  assert.equal(tokens(world.last).length, 1)
  s.close()
})

test('a login page instead of a token is not shown to anybody', async () => {
  const world = new World()
  const s = connect(freshAddress(), { world, token: async () => '<html>secret</html>' })
  let event
  s.on('state', given => (event = given))
  await settle()
  assert.equal(event.state, 'waiting')
  assert.match(event.reason, /token\(\) did not give/)
  assert.doesNotMatch(event.reason, /secret/)
  s.close()
})
