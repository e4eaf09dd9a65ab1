"""The apps of the recipes as processes, each with Sidesocket in front of it.

Only addresses are exchanged in what the pages print: ports for free ones, folders for temporary ones. What a page
leaves to the app is added here, such as settings and a login.
"""

import http.client
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest

from .net import PATIENCE, eventually, free_port
from .pages import blocks, command, files, place
from .process import ROOT, Sidesocket
from .servers import Server
from .ws import WebSocket

VENV = Path(sys.executable).parent
HOST = "shop.example"
HTTPS = {"X-Forwarded-Proto": "https"}
# What a page adds to a file that is there.
END = re.compile(r"^At the end of `(?P<path>[^`]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.M | re.S)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


def need(*programs):
    """Skips where one of these, or Debian's package of it, is missing."""
    for program in programs:
        if not shutil.which(program) and not Path(program).exists():
            pytest.skip(f"{program} is missing")


class Recipe(Server):
    """An app from a page, and Sidesocket in front of it as behind a proxy that ends TLS."""

    def __init__(self, folder, port, line, env=None, **settings):
        """`line` is the app's command as the page prints it; other settings than these are defaults."""
        super().__init__(folder, port)
        self.edge = None
        words = shlex.split(line.replace("3000", str(port)))
        # A shell's `NAME=value command`.
        assigned = dict(words.pop(0).split("=", 1) for _ in range(len(words)) if re.match(r"[A-Z_]+=", words[0]))
        path = f"{VENV}:{os.environ['PATH']}"
        try:
            self.run_beside()
            self.run(*words, **{"PATH": path, "HOME": str(folder), **assigned, **(env or {})})
            self.wait_ready()
            settings = {"WS_PATHS": "/ws", "TRUSTED_PROXIES": "loopback", **settings}
            self.edge = Sidesocket(APP_URL=self.url, **settings)
        except BaseException:
            self.stop()
            raise

    def run_beside(self):
        """Starts what the app needs beside it."""

    def stop(self):
        if self.edge:
            self.edge.kill()
        super().stop()

    def ask(self, method, path, headers=None, body=None):
        """A request of a browser behind the proxy."""
        line = http.client.HTTPConnection("127.0.0.1", self.edge.port, timeout=PATIENCE)
        try:
            line.request(method, path, body, {"Host": HOST, **HTTPS, **(headers or {})})
            answer = line.getresponse()
            answer.text = answer.read().decode()
            return answer
        finally:
            line.close()

    def knock(self, target="/ws", cookie=None, origin=f"https://{HOST}"):
        headers = {**HTTPS, **({"Cookie": cookie} if cookie else {})}
        return WebSocket(self.edge.port, target, headers, host=HOST, origin=origin)

    def enter(self, *arguments, **more):
        client = self.knock(*arguments, **more)
        assert client.answer.status == 101, f"{client.answer.status}: {client.answer.text}\n{self.output[-4000:]}"
        return client


def cookies(answer, *before):
    """The cookies of an answer as a browser would send them."""
    jar = dict(pair.split("=", 1) for line in before for pair in line.split("; "))
    for line in answer.headers.get_all("Set-Cookie") or ():
        name, _, value = line.partition(";")[0].partition("=")
        jar[name] = value
    return "; ".join(f"{name}={value}" for name, value in jar.items())


# What the page leaves to the project: its public host, and here passwords that are quick to check.
SETTINGS = """
ALLOWED_HOSTS = ["shop.example", "127.0.0.1"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""
# A room that only alice may enter, beside the one of the page.
CELLAR = """
from django.contrib.auth.models import User
from chat.models import Room
Room.objects.create(slug="cellar").members.set([User.objects.get(username="alice")])
"""


def start_django(folder):
    page = "docs/recipes/django.md"
    env = {"DJANGO_SETTINGS_MODULE": "shop.settings"}

    def shell(line):
        environment = {**os.environ, **env, "PATH": f"{VENV}:{os.environ['PATH']}"}
        done = subprocess.run(line, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"

    text = (ROOT / page).read_text()
    for line in ("django-admin startproject shop .", "python manage.py startapp chat"):
        assert f"`{line}`" in text
        shell(line)
    texts = files(page)
    ends = {one["path"]: one["text"] for one in END.finditer(text)}
    urls = texts.pop("shop/urls.py") + ends.pop("shop/urls.py")
    settings = (folder / "shop/settings.py").read_text() + ends.pop("shop/settings.py") + texts.pop("shop/settings.py")
    place(folder, texts | {"shop/urls.py": urls, "shop/settings.py": settings + SETTINGS})
    for line in (line for language, block in blocks(page) if not language for line in block.splitlines()):
        if line.startswith("python manage.py"):
            shell(line)
    shell(f"python manage.py shell -c {shlex.quote(CELLAR)}")
    flags = shlex.split(command(page, "sidesocket ", "/chat/ws"))
    app = Recipe(folder, free_port(), command(page, "gunicorn"), env, WS_PATHS=flags[flags.index("--ws-paths") + 1])
    app.folder = folder
    return app


# Beside the code of each page, a path that says what the framework makes of the forwarding headers.
FLASK_WHO = """
from flask import request
from wsgi import app
app.get("/who")(lambda: f"{request.scheme} {request.remote_addr}")
"""
FASTAPI_WHO = """
from fastapi import Request
from shop import app
@app.get("/who")
def who(request: Request): return f"{request.url.scheme} {request.client.host}"
"""
EXPRESS_WHO = """
const express = require('express')
const { listen } = express.application
express.application.listen = function (...where) {
  this.get('/who', (req, res) => res.json(`${req.protocol} ${req.ip}`))
  return listen.apply(this, where)
}
"""
PHP_WHO = "<?php echo ($_SERVER['HTTPS'] ?? '') === 'on' ? 'https' : 'http', ' ', $_SERVER['REMOTE_ADDR'];\n"


def start_flask(folder):
    place(folder, files("docs/recipes/flask.md") | {"who.py": FLASK_WHO})
    line = command("docs/recipes/flask.md", "gunicorn", " shop:app")
    return Recipe(folder, free_port(), line.replace("shop:app", "who:app"))


def start_flask_chat(folder):
    page = "docs/recipes/flask.md"
    place(folder, files(page))
    export = f"""{command(page, "export SECRET_KEY=")}; printf %s "$SECRET_KEY\""""
    key = subprocess.run(["sh", "-c", export], capture_output=True, text=True, check=True, timeout=10).stdout
    assert len(key) >= 32, key
    return Recipe(folder, free_port(), command(page, "gunicorn", " chat:app"), {"SECRET_KEY": key})


def start_fastapi(folder):
    place(folder, files("docs/recipes/fastapi.md") | {"who.py": FASTAPI_WHO})
    line = command("docs/recipes/fastapi.md", "uvicorn")
    return Recipe(folder, free_port(), line.replace("shop:app", "who:app"))


RAILS = {
    "bin/rails": """#!/usr/bin/env ruby
APP_PATH = File.expand_path("../config/application", __dir__)
require "rails/commands"
""",
    "config.ru": """
require_relative "config/environment"
run Rails.application
""",
    "config/environment.rb": """
require_relative "application"
Rails.application.initialize!
""",
    "config/application.rb": """
require "rails"
require "active_model/railtie"
require "action_controller/railtie"
module Shop
  class Application < Rails::Application
    config.load_defaults 6.1
    config.secret_key_base = "x" * 64
    config.eager_load = false
    config.hosts << "shop.example"
    config.logger = ActiveSupport::Logger.new($stdout)
    config.force_ssl = true
    initializer(:login) { |app| app.routes.prepend { get "/login", to: "login#create"; get "/who", to: "login#who" } }
  end
end
""",
    "app/controllers/application_controller.rb": """
class ApplicationController < ActionController::Base
end
""",
    "app/controllers/login_controller.rb": """
class LoginController < ApplicationController
  def create
    session[:user_id] = 42
    render plain: form_authenticity_token
  end

  def who
    render plain: "#{request.scheme} #{request.remote_ip}"
  end
end
""",
    "app/models/order.rb": """
class Order
  include ActiveModel::Model
  include ActiveModel::Serializers::JSON
  attr_accessor :id, :item
  def self.create!(attributes) = new(id: 7, **attributes)
  def attributes = { "id" => id, "item" => item }
  def persisted? = true
end
""",
}


def start_rails(folder):
    need("rails", "puma")
    place(folder, RAILS | files("docs/recipes/rails.md"))
    (folder / "bin/rails").chmod(0o755)
    return Recipe(folder, free_port(), command("docs/recipes/rails.md", "rails server"))


def start_express(folder):
    need("node", "/usr/share/nodejs/express")
    port = free_port()
    listen = {"listen(3000,": f"listen({port},"}
    place(folder, files("docs/recipes/express.md") | {"who.js": EXPRESS_WHO}, **{"shop.js": listen})
    env = {"NODE_PATH": "/usr/share/nodejs", "NODE_OPTIONS": f"--require {folder}/who.js"}
    return Recipe(folder, port, command("docs/recipes/express.md", "node"), env)


# What a page leaves to the app: a session, and a login that puts its user there.
EXPRESS_SESSION = """
const express = require('express')
const { post } = express.application
express.application.post = function (path, ...rest) {
  const session = (req, res, next) => {
    req.session = { user: /session=(\\w+)/.exec(req.get('cookie') ?? '')?.[1] }
    next()
  }
  return post.call(this, path, session, ...rest)
}
"""
PHP_LOGIN = "<?php session_start(); $_SESSION['user'] = 'alice';\n"


def start_express_with_sessions(folder):
    """With the lines for a session in place of those for anybody."""
    need("node", "/usr/share/nodejs/express")
    page, port = "docs/recipes/express.md", free_port()
    (lines,) = (text for language, text in blocks(page) if language == "js" and "req.session" in text)
    anybody = "return res.set('Sidesocket-Subscribe', 'orders').status(204).end()"
    place(
        folder,
        files(page) | {"session.js": EXPRESS_SESSION},
        **{"shop.js": {"listen(3000,": f"listen({port},", anybody: lines}},
    )
    env = {"NODE_PATH": "/usr/share/nodejs", "NODE_OPTIONS": f"--require {folder}/session.js"}
    return Recipe(folder, port, command(page, "node"), env)


def start_php_with_sessions(folder):
    """With the lines for a session where the page says that they go."""
    need("php")
    page = "docs/recipes/php.md"
    (lines,) = (text for language, text in blocks(page) if language == "php" and "$_SESSION" in text)
    case = "case 'sidesocket.open':\n"
    place(folder, files(page) | {"public/login.php": PHP_LOGIN}, **{"public/ws.php": {case: case + lines}})
    return Recipe(folder, free_port(), command(page, "PHP_CLI_SERVER_WORKERS=4 php"), WS_PATHS="/ws.php")


def start_php(folder):
    need("php")
    place(folder, files("docs/recipes/php.md"))
    line = command("docs/recipes/php.md", "PHP_CLI_SERVER_WORKERS=4 php")
    return Recipe(folder, free_port(), line, WS_PATHS="/ws.php")


FPM = """
[global]
error_log = {folder}/fpm.log
daemonize = no
[www]
listen = {folder}/fpm.sock
pm = static
pm.max_children = 4
{user}
catch_workers_output = yes
"""
NGINX = """
{user}
error_log {folder}/nginx.log;
pid {folder}/nginx.pid;
daemon off;
worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/etc/nginx/conf.d/*.conf;
}}
"""
# What stands in front of Sidesocket; it speaks no TLS here, but says that it does.
OUTER = """
map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
server {{
    listen 127.0.0.1:{outer};
    location / {{
        proxy_pass http://127.0.0.1:{public};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header X-Forwarded-For "203.0.113.7";
        proxy_set_header X-Forwarded-Proto https;
    }}
}}
"""


class FPMRecipe(Recipe):
    """nginx, Sidesocket, the same nginx once more, and PHP-FPM."""

    def __init__(self, folder, program):
        inner, public, outer = free_port(), free_port(), free_port()
        here = {
            "listen 127.0.0.1:3000;": f"listen 127.0.0.1:{inner};",
            "/srv/shop": str(folder),
            "/run/php/php-fpm.sock": f"{folder}/fpm.sock",
        }
        printed = files("docs/recipes/php.md")
        name = "etc/nginx/conf.d/shop-app.conf"
        printed[name] = printed.pop(f"/{name}")
        place(folder, printed | {"public/who.php": PHP_WHO}, **{name: here})
        user = "user = root\ngroup = root" if os.geteuid() == 0 else ""
        (folder / "fpm.conf").write_text(FPM.format(folder=folder, user=user))
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user="user root;" if user else ""))
        (folder / "etc/nginx/conf.d/outer.conf").write_text(OUTER.format(outer=outer, public=public))
        shutil.copy("/etc/nginx/fastcgi_params", folder)
        self.program = program
        line = command("docs/recipes/php.md", "sidesocket ", " --trusted-proxies loopback --ws-paths /ws.php")
        flags = shlex.split(line)
        given = dict(zip((flag[2:].upper().replace("-", "_") for flag in flags[1::2]), flags[2::2], strict=True))
        assert given.pop("APP_URL") == "http://127.0.0.1:3000" and given.pop("LISTEN") == "127.0.0.1:8080"
        given["LISTEN"] = f"127.0.0.1:{public}"
        super().__init__(folder, inner, f"nginx -c {folder}/nginx.conf", **given)
        # Clients go to the outer nginx.
        self.edge.port = outer

    def run_beside(self):
        as_root = ["-R"] if os.geteuid() == 0 else []
        self.run(self.program, "-F", "-y", str(self.folder / "fpm.conf"), *as_root)
        eventually((self.folder / "fpm.sock").exists, "PHP-FPM listens")


def start_fpm(folder):
    programs = sorted(Path("/usr/sbin").glob("php-fpm*")) or ["php-fpm"]
    need(programs[0], "nginx")
    return FPMRecipe(folder, str(programs[0]))


# What a page does to log somebody in.


def django_login(app, name="alice"):
    form = app.ask("GET", "/accounts/login/")
    jar = cookies(form)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text).group(1)
    fields = urlencode({"csrfmiddlewaretoken": token, "username": name, "password": name})
    done = app.ask("POST", "/accounts/login/", {**FORM, "Cookie": jar, "Origin": f"https://{HOST}"}, fields)
    assert done.status == 302, done.text
    return cookies(done, jar)


def django_headers(app):
    jar = django_login(app)
    token = re.search(r"csrftoken=(\w+)", jar).group(1)
    return {"Cookie": jar, "X-CSRFToken": token, "Origin": f"https://{HOST}"}


def rails_headers(app):
    done = app.ask("GET", "/login")
    assert done.status == 200, app.output
    return {"Cookie": cookies(done), "X-CSRF-Token": done.text, "Origin": f"https://{HOST}"}
