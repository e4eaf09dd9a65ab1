"""A live dashboard over Server-Sent Events: the app serves a page and says who may listen; numbers come from anywhere.

    PORT=3000 python3 examples/dashboard/app.py
    sidesocket --app-url http://127.0.0.1:3000 --listen 127.0.0.1:8080 --sse-paths /events --history-size 100
    curl -d 42 -H 'Content-Type: text/plain' http://127.0.0.1:9090/v1/channels/visitors/messages
"""

import os
import pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = pathlib.Path(__file__).with_name("page.html")


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one packet

    def do_GET(self):
        self.answer(200, PAGE.read_bytes(), {"Content-Type": "text/html; charset=utf-8"})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("ce-type") == "sidesocket.open":  # here an app would look at the session cookie
            self.answer(204, headers={"Sidesocket-Subscribe": "visitors"})
        else:
            self.answer(204)

    def answer(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    try:
        ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), App).serve_forever()
    except KeyboardInterrupt:
        pass
