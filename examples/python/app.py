"""A chat room in a small legacy app: plain HTTP, standard library only. There is no WebSocket code in this file.

Sidesocket turns what happens on a WebSocket at /ws into POST requests to /ws. Two headers make the
room: one lets a client in, one sends what it says to all. Start it with: PORT=3000 python3 app.py
"""

import os
import pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FOLDER = pathlib.Path(__file__).resolve().parent.parent
FILES = {"/": ("page.html", "text/html"), "/sidesocket-client.js": ("sidesocket-client.js", "text/javascript")}


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive: Sidesocket reuses its connections
    wbufsize = -1  # head and body leave in one packet

    def do_GET(self):
        name, content_type = FILES.get(self.path.split("?")[0], (None, None))
        if name is None:
            return self.answer(404, b"No such page.\n")
        self.answer(200, (FOLDER / name).read_bytes(), f"{content_type}; charset=utf-8")

    def do_POST(self):
        if self.path.split("?")[0] != "/ws":
            self.close_connection = True  # its body has not been read
            return self.answer(404, b"No such page.\n")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        event, connection = self.headers.get("ce-type"), self.headers.get("ce-connectionid")
        if event == "sidesocket.open":  # 2xx accepts the WebSocket, anything else refuses it
            self.answer(204, headers={"Sidesocket-Subscribe": "room"})
        elif event == "sidesocket.message":  # the body of the answer goes to everybody in the room
            text = body.decode() if self.headers.get_content_type() == "text/plain" else f"{len(body)} bytes"
            self.answer(200, f"{connection[:4]}: {text}".encode(), headers={"Sidesocket-Publish": "room"})
        elif event == "sidesocket.close":
            self.log_message("connection %s closed: %s", connection, body.decode())
            self.answer(204)
        else:
            self.answer(400, b"Not an event from Sidesocket.\n")

    def answer(self, status, body=b"", content_type="text/plain; charset=utf-8", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer.request_queue_size = 128
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "3000")))
    try:
        ThreadingHTTPServer(address, App).serve_forever()
    except KeyboardInterrupt:
        pass
