"""Real web servers and frameworks as the app: each notes every request it was given, as it understood it.

All answer 204 to everything, so that they accept handshakes and send nothing. `App.requests` of a real app is what
the application code was handed, which is the point: a server may have renamed, joined or dropped fields before.
"""

import base64
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .net import free_port
from .servers import Server

# Each program and the Debian package that has it.
PACKAGES = {
    "php": "php-cli", "php-fpm": "php-fpm", "nginx": "nginx", "lighttpd": "lighttpd", "puma": "puma", "node": "nodejs",
}  # fmt: skip


def program(name):
    """The path of a program, or a skipped test that says which package has it."""
    places = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin:/sbin"
    found = shutil.which(name, path=places)
    if not found and name == "php-fpm":
        # Debian names it after its version.
        found = next((str(p) for p in sorted(Path("/usr/sbin").glob("php-fpm*"), reverse=True)), None)
    if not found:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {PACKAGES[name]})")
    return found


@dataclass
class Seen:
    """One request as the application saw it."""

    method: str
    target: str
    # CGI variables, or header names in lower case with Node.
    names: dict
    body: bytes = b""
    # True when the application's router took it for /hook.
    is_hook: bool = False
    # The types of the events that the CloudEvents SDK found in it, where the app uses that.
    events: list = field(default_factory=list)
    trailers: dict = field(default_factory=dict)

    def header(self, name):
        """The value that the application reads when it asks for this header."""
        variable = "HTTP_" + name.upper().replace("-", "_")
        return self.names.get(variable, self.names.get(name.lower()))


class RealApp(Server):
    """A web server that runs one of the applications below."""

    def __init__(self, name, folder):
        super().__init__(folder, free_port())
        self.name = name
        self.record = folder / "requests"
        self.record.touch()
        START[name](self)

    def write(self, name, text, mode=0o644):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def run(self, *arguments, **environment):
        return super().run(*arguments, RECORD=str(self.record), **environment)

    @property
    def requests(self):
        found = []
        for line in self.record.read_text().splitlines():
            entry = json.loads(line)
            entry["body"] = base64.b64decode(entry.get("body", ""))
            found.append(Seen(**entry))
        return found

    def forget(self):
        self.record.write_text("")

    def __str__(self):
        return self.name


# PHP

PHP = r"""<?php
$names = array_filter($_SERVER, fn($name) => preg_match('/^(HTTP|CONTENT)_|^PATH_INFO$/', $name), ARRAY_FILTER_USE_KEY);
$path = $_SERVER['PATH_INFO'] ?? parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?? '';
$line = json_encode([
    'method' => $_SERVER['REQUEST_METHOD'],
    'target' => $_SERVER['REQUEST_URI'],
    'names' => $names,
    'body' => base64_encode(file_get_contents('php://input')),
    'is_hook' => rtrim(rawurldecode($path), '/') === '/hook',
], JSON_INVALID_UTF8_SUBSTITUTE);
file_put_contents(getenv('RECORD') ?: $_SERVER['RECORD'], "$line\n", FILE_APPEND);
http_response_code(204);
"""


def php(app):
    """PHP's own server without a router script: every path that is no file goes to index.php."""
    app.write("public/index.php", PHP)
    app.run(program("php"), "-S", f"127.0.0.1:{app.port}", "-t", "public")


def php_fpm(app):
    """PHP-FPM behind nginx, as most PHP sites run; nginx lets names with other characters pass."""
    index = app.write("public/index.php", PHP)
    # In /tmp: a path of more than 107 bytes cannot be a socket.
    socket_path = f"/tmp/sidesocket-fpm-{app.port}.sock"
    temporary = " ".join(
        f"{kind}_temp_path {app.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    root = os.geteuid() == 0
    fpm = app.write(
        "fpm.conf",
        f"""
[global]
error_log = /dev/stderr
daemonize = no
[www]
listen = {socket_path}
pm = static
pm.max_children = 2
{"user = root" if root else ""}
{"group = root" if root else ""}
""",
    )
    nginx = app.write(
        "nginx.conf",
        f"""
{"user root;" if root else ""} daemon off; master_process off; pid {app.folder}/pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off; {temporary}
    underscores_in_headers on;
    ignore_invalid_headers off;
    server {{
        listen 127.0.0.1:{app.port};
        location / {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME {index};
            fastcgi_param SCRIPT_NAME /index.php;
            fastcgi_param PATH_INFO $uri;
            fastcgi_param RECORD {app.record};
            fastcgi_pass unix:{socket_path};
        }}
        location ~ ^/index\\.php(?<info>/.*)$ {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME {index};
            fastcgi_param SCRIPT_NAME /index.php;
            fastcgi_param PATH_INFO $info;
            fastcgi_param RECORD {app.record};
            fastcgi_pass unix:{socket_path};
        }}
    }}
}}
""",
    )
    app.run(program("php-fpm"), *(["-R"] if root else []), "-F", "-y", fpm)
    app.run(program("nginx"), "-p", str(app.folder), "-c", nginx, "-e", "stderr")


# CGI

CGI = f"""#!{sys.executable} -SE
import base64, json, os, sys
names = {{n: v for n, v in os.environ.items() if n.startswith(("HTTP_", "CONTENT_")) or n == "PATH_INFO"}}
body = sys.stdin.buffer.read(int(os.environ.get("CONTENT_LENGTH") or 0))
with open(os.environ["RECORD"], "a") as record:
    record.write(json.dumps({{
        "method": os.environ["REQUEST_METHOD"],
        "target": os.environ["REQUEST_URI"],
        "names": names,
        "body": base64.b64encode(body).decode(),
        "is_hook": os.environ.get("PATH_INFO", "").rstrip("/") == "/hook",
    }}) + "\\n")
sys.stdout.write("Status: 204\\r\\n\\r\\n")
"""


def lighttpd(app):
    """lighttpd and a CGI script for every path."""
    script = app.write("app.cgi", CGI, 0o755)
    configuration = app.write(
        "lighttpd.conf",
        f"""
server.modules = ("mod_alias", "mod_cgi", "mod_setenv")
server.document-root = "{app.folder}"
server.bind = "127.0.0.1"
server.port = {app.port}
server.upload-dirs = ("{app.folder}")
setenv.add-environment = ("RECORD" => "{app.record}")
alias.url = ("" => "{script}")
cgi.assign = ("" => "")
""",
    )
    app.run(program("lighttpd"), "-D", "-f", configuration)


# Python

DJANGO = r"""
import base64, json, os
import cloudevents.v1.http
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import re_path

def current(headers, body):
    return from_http_event(HTTPMessage(headers, body)).get_type()

def classic(headers, body):
    return cloudevents.v1.http.from_http(headers, body)["type"]

# What the two interfaces of the SDK make of a request; of a batch, item by item.
def events(headers, body):
    bodies = [body]
    try:
        if isinstance(batch := json.loads(body), list):
            bodies = [json.dumps(item).encode() for item in batch]
    except ValueError:
        pass
    found = []
    for read in (current, classic):
        for one in bodies:
            try:
                found.append(read(headers, one))
            except Exception:
                pass
    return found

def seen(request, is_hook=False):
    # Django reads no chunked body.
    body = request.body or request.META["wsgi.input"].read()
    names = {n: v for n, v in request.META.items() if n.startswith(("HTTP_", "CONTENT_")) or n == "PATH_INFO"}
    with open(os.environ["RECORD"], "a") as record:
        record.write(json.dumps({
            "method": request.method,
            "target": request.META["RAW_URI"],
            "names": names,
            "body": base64.b64encode(body).decode(),
            "is_hook": is_hook,
            "events": events(dict(request.headers), body),
        }) + "\n")
    return HttpResponse(status=204)

urlpatterns = [re_path("^hook/?$", seen, {"is_hook": True}), re_path("", seen)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", DATA_UPLOAD_MAX_MEMORY_SIZE=1 << 24)
application = get_wsgi_application()
"""


def gunicorn(app):
    """Django and gunicorn; with --header-map as it was up to version 21, since a newer one drops `Ce_Type`."""
    app.write("app.py", DJANGO)
    app.run(
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{app.port}", "--header-map", "dangerous",
        "--worker-class", "gthread", "--threads", "4", "--no-control-socket", "app:application",
    )  # fmt: skip


FLASK = r"""
import base64, json, os
from flask import Flask, request

application = Flask(__name__)

def seen(is_hook):
    with open(os.environ["RECORD"], "a") as record:
        record.write(json.dumps({
            "method": request.method,
            "target": request.environ["RAW_URI"],
            "names": {n: v for n, v in request.environ.items() if n.startswith("HTTP_") or n == "PATH_INFO"},
            "body": base64.b64encode(request.get_data()).decode(),
            "is_hook": is_hook,
        }) + "\n")
    return "", 204

application.add_url_rule("/hook", view_func=lambda: seen(True), methods=["POST"], endpoint="hook")
application.add_url_rule("/<path:_>", view_func=lambda _: seen(False), methods=["POST"], endpoint="other")
"""


def flask(app):
    """Flask and gunicorn as it comes."""
    app.write("app.py", FLASK)
    app.run(
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{app.port}", "--worker-class", "gthread",
        "--threads", "4", "--no-control-socket", "app:application",
    )  # fmt: skip


# Ruby

RAILS = r"""
require "rails"
require "action_controller/railtie"
class App < Rails::Application
  config.eager_load = true
  config.secret_key_base = "x" * 64
  config.hosts.clear
  config.logger = Logger.new(nil)
  routes.append do
    post "/hook", to: "seen#hook"
    match "*path", to: "seen#other", via: :all
    root to: "seen#other", via: :all
  end
end
class SeenController < ActionController::Base
  def hook = seen(true)
  def other = seen(false)
  def seen(is_hook)
    names = request.env.select { |name, _| name.start_with?("HTTP_", "CONTENT_") || name == "PATH_INFO" }
    line = { method: request.request_method, target: request.env["REQUEST_URI"], names: names,
             body: [request.raw_post].pack("m0"), is_hook: is_hook }.to_json
    File.open(ENV["RECORD"], "a") { |record| record.write("#{line}\n") }
    head :no_content
  end
end
App.initialize!
run App
"""


def rails(app):
    """Rails on Rack and Puma."""
    app.write("config.ru", RAILS)
    address = f"tcp://127.0.0.1:{app.port}"
    app.run(program("puma"), "-q", "-b", address, "-t", "4:4", "config.ru", RAILS_ENV="production")


# Node

EXPRESS = r"""
const fs = require('fs'), express = require('express')
const app = express()
const seen = isHook => (request, response) => {
  const parts = []
  request.on('data', part => parts.push(part))
  request.on('end', () => {
    const line = JSON.stringify({
      method: request.method, target: request.originalUrl, names: request.headers, trailers: request.trailers,
      body: Buffer.concat(parts).toString('base64'), is_hook: isHook,
    })
    fs.appendFileSync(process.env.RECORD, line + '\n')
    response.status(204).end()
  })
}
app.all('/hook', seen(true))
app.use(seen(false))
app.listen(Number(process.env.PORT), '127.0.0.1')
"""


def express(app):
    """Express on Node."""
    if not os.path.exists("/usr/share/nodejs/express"):
        pytest.skip("express is not installed (Debian: apt-get install node-express)")
    app.write("app.js", EXPRESS)
    app.run(program("node"), "app.js", PORT=str(app.port), NODE_PATH="/usr/share/nodejs")


START = {
    "php": php, "php-fpm": php_fpm, "lighttpd": lighttpd, "gunicorn": gunicorn, "flask": flask, "rails": rails,
    "express": express,
}  # fmt: skip

__all__ = ["START", "RealApp", "Seen", "program"]
