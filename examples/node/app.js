// A chat in a small legacy app: plain HTTP, no packages. There is no WebSocket code in this file.
//
// Sidesocket turns what happens on a WebSocket at /ws into POST requests to /ws, and headers of the reply say what to
// do: Sidesocket-Subscribe lets a client into a room, Sidesocket-Publish sends the body to all who are there.
// Start it with: PORT=3000 node app.js
'use strict'
const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')

const ROOMS = ['room', 'room:tea', 'room:help']

// 2xx accepts the WebSocket, anything else refuses it. A real app knows its users; here each says a name.
function opened(url) {
  const asked = new URL(url, 'http://app').searchParams.get('name') ?? ''
  const name = [...asked.replace(/\p{C}/gu, '')].slice(0, 32).join('')
  // Header fields are bytes.
  const user = name ? { 'Sidesocket-User': Buffer.from(name).toString('latin1') } : {}
  return [204, undefined, { 'Sidesocket-Subscribe': 'room', ...user }]
}

// A message of the page: `say`, `join` or `leave`, with JSON.
function said(kind, user, body) {
  let asked = null
  try {
    asked = JSON.parse(body)
  } catch {} // a client may send anything
  if (typeof asked !== 'object' || asked === null) return [422, 'A message is a JSON object.']
  const { room, text } = asked
  if (!ROOMS.includes(room)) return [422, 'There is no such room.']
  if (kind === 'join') return [204, undefined, { 'Sidesocket-Subscribe': room }]
  if (kind === 'leave') return [204, undefined, { 'Sidesocket-Unsubscribe': room }]
  if (kind !== 'say' || typeof text !== 'string' || text.length < 1 || text.length > 2000) {
    return [422, 'A message has 1 to 2000 characters.']
  }
  // The sender shows it already.
  const headers = { 'Sidesocket-Publish': room, 'Sidesocket-Event': 'say', 'Sidesocket-Exclude': 'self' }
  const answer = JSON.stringify({ from: user || 'guest', text })
  return [200, answer, { ...headers, 'Content-Type': 'application/json' }]
}

function onEvent(url, headers, body) {
  const connection = headers['ce-connectionid']
  const kind = headers['ce-messagetype']
  const user = decodeURIComponent(headers['ce-userid'] ?? '')
  switch (headers['ce-type']) {
    case 'sidesocket.open':
      return opened(url)
    case 'sidesocket.message': {
      if (kind) return said(kind, user, body)
      // A raw WebSocket, such as `websocat`: everybody hears the text.
      const isText = (headers['content-type'] ?? '').startsWith('text/plain')
      const text = isText ? body.toString() : `${body.length} bytes`
      return [200, `${user || connection.slice(0, 4)}: ${text}`, { 'Sidesocket-Publish': 'room' }]
    }
    case 'sidesocket.close':
      console.log(`connection ${connection} closed: ${body}`)
      return [204]
    default:
      return [400, 'Not an event from Sidesocket.\n']
  }
}

const server = http.createServer(async (request, response) => {
  const answer = (status, body, headers = {}) => {
    const type = body === undefined ? {} : { 'Content-Type': 'text/plain; charset=utf-8' }
    response.writeHead(status, { ...type, ...headers }).end(body)
  }
  const route = `${request.method} ${request.url.split('?')[0]}`
  if (route === 'GET /') {
    const page = fs.readFileSync(path.join(__dirname, '..', 'page.html'))
    return answer(200, page, { 'Content-Type': 'text/html; charset=utf-8' })
  }
  if (route !== 'POST /ws') return answer(404, 'No such page.\n')
  const parts = []
  try {
    for await (const part of request) parts.push(part)
  } catch {
    return // the caller went away in the middle of the body
  }
  answer(...onEvent(request.url, request.headers, Buffer.concat(parts)))
})
server.listen(Number(process.env.PORT || 3000), process.env.HOST || '127.0.0.1')
