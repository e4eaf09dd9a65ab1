"""A chat in a small legacy app: plain HTTP, standard library only. There is no WebSocket code in this file.

Sidesocket turns what happens on a WebSocket at /ws into POST requests to /ws, and headers of the reply say what to do:
Sidesocket-Subscribe lets a client into a room, Sidesocket-Publish sends the body to all who are there.
Start it with: PORT=3000 python3 app.py
"""

import json
import os
import pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

PAGE = pathlib.Path(__file__).resolve().parent.parent / "page.html"
ROOMS = ["room", "room:tea", "room:help"]


def opened(url):
    """2xx accepts the WebSocket, anything else refuses it. A real app knows its users; here each says a name."""
    name = parse_qs(urlsplit(url).query).get("name", [""])[0]
    name = "".join(letter for letter in name if letter.isprintable())[:32]
    user = {"Sidesocket-User": name.encode().decode("latin-1")} if name else {}
    return 204, b"", {"Sidesocket-Subscribe": "room", **user}


def said(kind, user, body):
    """A message of the page: `say`, `join` or `leave`, with JSON."""
    try:
        asked = json.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):  # a client may send anything
        return 422, b"A message is a JSON object.", {}
    room, text = asked.get("room"), asked.get("text")
    if room not in ROOMS:
        return 422, b"There is no such room.", {}
    if kind in ("join", "leave"):
        return 204, b"", {"Sidesocket-Subscribe" if kind == "join" else "Sidesocket-Unsubscribe": room}
    if kind != "say" or not isinstance(text, str) or not 0 < len(text) <= 2000:
        return 422, b"A message has 1 to 2000 characters.", {}
    answer = json.dumps({"from": user or "guest", "text": text}).encode()
    # The sender shows it already.
    headers = {"Sidesocket-Publish": room, "Sidesocket-Event": "say", "Sidesocket-Exclude": "self"}
    return 200, answer, {**headers, "Content-Type": "application/json"}


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive: Sidesocket reuses its connections
    wbufsize = -1  # head and body leave in one packet

    def do_GET(self):
        if self.path.split("?")[0] != "/":
            return self.answer(404, b"No such page.\n")
        self.answer(200, PAGE.read_bytes(), {"Content-Type": "text/html; charset=utf-8"})

    def do_POST(self):
        if self.path.split("?")[0] != "/ws":
            self.close_connection = True  # its body has not been read
            return self.answer(404, b"No such page.\n")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        event, connection = self.headers.get("ce-type"), self.headers.get("ce-connectionid")
        kind, user = self.headers.get("ce-messagetype"), unquote(self.headers.get("ce-userid", ""))
        if event == "sidesocket.open":
            self.answer(*opened(self.path))
        elif event == "sidesocket.message" and kind:
            self.answer(*said(kind, user, body))
        elif event == "sidesocket.message":  # a raw WebSocket, such as `websocat`: everybody hears the text
            text = body.decode() if self.headers.get_content_type() == "text/plain" else f"{len(body)} bytes"
            self.answer(200, f"{user or connection[:4]}: {text}".encode(), {"Sidesocket-Publish": "room"})
        elif event == "sidesocket.close":
            self.log_message("connection %s closed: %s", connection, body.decode())
            self.answer(204)
        else:
            self.answer(400, b"Not an event from Sidesocket.\n")

    def answer(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}.items():
            if status != 204 or name != "Content-Type":
                self.send_header(name, value)
        if status != 204:
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
