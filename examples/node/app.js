// A chat room in a small legacy app: plain HTTP, no packages. There is no WebSocket code in this file.
//
// Sidesocket turns what happens on a WebSocket at /ws into POST requests to /ws. Two headers make the
// room: one lets a client in, one sends what it says to all. Start it with: PORT=3000 node app.js
'use strict'
const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')

const files = {
  'GET /': ['page.html', 'text/html; charset=utf-8'],
  'GET /sidesocket-client.js': ['sidesocket-client.js', 'text/javascript; charset=utf-8'],
}

function onEvent(headers, body) {
  const connection = headers['ce-connectionid']
  switch (headers['ce-type']) {
    case 'sidesocket.open': // 2xx accepts the WebSocket, anything else refuses it
      return [204, undefined, { 'Sidesocket-Subscribe': 'room' }]
    case 'sidesocket.message': { // the body of the answer goes to everybody in the room
      const isText = (headers['content-type'] ?? '').startsWith('text/plain')
      const text = isText ? body.toString() : `${body.length} bytes`
      return [200, `${connection.slice(0, 4)}: ${text}`, { 'Sidesocket-Publish': 'room' }]
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
  if (Object.hasOwn(files, route)) {
    const [name, type] = files[route]
    return answer(200, fs.readFileSync(path.join(__dirname, '..', name)), { 'Content-Type': type })
  }
  if (route !== 'POST /ws') return answer(404, 'No such page.\n')
  const parts = []
  try {
    for await (const part of request) parts.push(part)
  } catch {
    return // the caller went away in the middle of the body
  }
  answer(...onEvent(request.headers, Buffer.concat(parts)))
})
server.listen(Number(process.env.PORT || 3000), process.env.HOST || '127.0.0.1')
