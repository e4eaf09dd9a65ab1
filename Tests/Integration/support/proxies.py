"""Reverse proxies as processes, with the configuration that docs/reverse-proxies.md prints."""

import datetime
import functools
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .guard import Guest
from .net import eventually, free_port
from .pages import BLOCK
from .process import ROOT
from .raw import Client

PAGE = ROOT / "docs/reverse-proxies.md"
# The host of the page's snippets.
HOST = "shop.example"
# For the http block of nginx, where `TO` and `{port}` have to be replaced.
NGINX_HTTP = """
map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
upstream sidesocket { server 127.0.0.1:TO; keepalive 4; }
server {
    listen 127.0.0.1:{port};
    location / {
        proxy_pass http://sidesocket;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header Host internal;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header Forwarded "for=$remote_addr;proto=$scheme;host=\\"$http_host\\"";
    }
}
"""


def command(name, package=None):
    """The program, or a skipped test that says which package has it."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if not path:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {package or name})")
    return path


class Front:
    """A proxy as a process, listening on `port`."""

    def __init__(self, arguments, port, env=None):
        self.port = port
        # A file, not a pipe: nobody reads along.
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )
        try:
            eventually(self._listening, lambda: f"{arguments[0]} listens; it said {self.said()}")
        except BaseException:
            self.stop()
            raise

    def _listening(self):
        if self.process.poll() is not None:
            raise AssertionError(f"it exited with {self.process.returncode}: {self.said()}")
        try:
            Client(self.port).sock.close()
            return True
        except OSError:
            return False

    def said(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace")

    def stop(self):
        # With its workers, and at once: what is open would make some wait.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.output.close()


# What the page prints


@functools.cache
def sections():
    """The page's sections by heading."""
    parts = re.split(r"^## (.+)\n", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(heading, language=""):
    """The code blocks of a section in one language, or in none."""
    return [one["text"] for one in BLOCK.finditer(sections()[heading]) if one["language"] == language]


def block(heading, language=""):
    (only,) = blocks(heading, language)
    return only


def settings(heading):
    """The settings of Sidesocket that a section prints, without their prefix."""
    lines = block(heading).splitlines()
    assert all(line.startswith("SIDESOCKET_") for line in lines), lines
    return dict(line.removeprefix("SIDESOCKET_").split("=", 1) for line in lines)


def adapted(text, replace):
    """The text with what is different here; each piece must be there exactly once."""
    for old, new in replace.items():
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in:\n{text}"
        text = text.replace(old, new)
    return text


# TLS


class Certificate:
    """A certificate for shop.example that signs itself, as the files that the proxies want."""

    def __init__(self, folder):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(2))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), False)
        pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        kind = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        secret = key.private_bytes(serialization.Encoding.PEM, *kind)
        self.pem, self.key, self.both = folder / "shop.pem", folder / "shop.key", folder / "both.pem"
        self.pem.write_bytes(pem)
        self.key.write_bytes(secret)
        self.both.write_bytes(pem + secret)
        self.client = ssl.create_default_context(cafile=self.pem)


class SecureGuest(Guest):
    """A client from an address of its own that speaks TLS with shop.example."""

    def __init__(self, front, certificate, source="127.0.1.1"):
        super().__init__(front.port, source)
        self.host = HOST
        self.sock = certificate.client.wrap_socket(self.sock, server_hostname=HOST)


# Proxies by the page: the section, the language of its block, and the function that starts it. What surrounds the
# printed part is what a package installs around it; a port, a path and a user are those of the test.


def start_nginx(folder, certificate, to, extra=""):
    """`extra` is put where the page says that it goes: into the server block."""
    port = free_port()
    printed = adapted(
        block("nginx", "nginx"),
        {
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "/etc/ssl/shop.pem;": f"{certificate.pem};",
            "/etc/ssl/shop.key;": f"{certificate.key};\n{extra}",
            "server 127.0.0.1:8080;": f"server 127.0.0.1:{to};",
        },
    )
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/nginx.pid; error_log stderr notice;\n"
        f"events {{ worker_connections 1024; }}\nhttp {{ access_log off; {temporary}\n{printed} }}\n"
    )
    program = command("nginx")
    return Front([program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"], port)


def start_haproxy(folder, certificate, to):
    port = free_port()
    printed = adapted(
        block("HAProxy", "haproxy"),
        {
            "bind :443 ": f"bind 127.0.0.1:{port} ",
            "/etc/haproxy/shop.pem": str(certificate.both),
            "server sidesocket 127.0.0.1:8080": f"server sidesocket 127.0.0.1:{to}",
        },
    )
    path = folder / "haproxy.cfg"
    path.write_text(f"global\n    maxconn 1024\n{printed}")
    return Front([command("haproxy"), "-db", "-f", str(path)], port)


def start_caddy(folder, certificate, to):
    port = free_port()
    printed = adapted(
        block("Caddy", "caddyfile"),
        {
            "shop.example {": f"shop.example:{port} {{",
            "/etc/ssl/shop.pem": str(certificate.pem),
            "/etc/ssl/shop.key": str(certificate.key),
            "reverse_proxy 127.0.0.1:8080": f"reverse_proxy 127.0.0.1:{to}",
        },
    )
    path = folder / "Caddyfile"
    path.write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}}\n{printed}")
    arguments = [command("caddy"), "run", "--config", str(path), "--adapter", "caddyfile"]
    return Front(arguments, port, {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)})


APACHE_MODULES = ("mpm_event", "authz_core", "reqtimeout", "ssl", "headers", "proxy", "proxy_http")


def start_apache(folder, certificate, to):
    port = free_port()
    printed = adapted(
        block("Apache httpd", "apache"),
        {
            "<VirtualHost *:443>": f"<VirtualHost 127.0.0.1:{port}>",
            "/etc/ssl/shop.pem": str(certificate.pem),
            "/etc/ssl/shop.key": str(certificate.key),
            "http://127.0.0.1:8080/": f"http://127.0.0.1:{to}/",
        },
    )
    program = command("apache2")
    modules = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in APACHE_MODULES)
    path = folder / "apache.conf"
    # Threads enough from the start: it starts more once a second only.
    path.write_text(
        f"ServerName localhost\nServerRoot {folder}\nPidFile {folder}/apache.pid\nDefaultRuntimeDir {folder}\n"
        f"Mutex pthread\nErrorLog /dev/stderr\nUser www-data\nGroup www-data\nListen 127.0.0.1:{port}\n{modules}"
        "RequestReadTimeout header=20-40,MinRate=500 body=20,MinRate=500\n"
        "StartServers 1\nServerLimit 1\nThreadLimit 200\nThreadsPerChild 200\nMaxRequestWorkers 200\n"
        f"{printed}"
    )
    return Front([program, "-DFOREGROUND", "-f", str(path)], port)


PROXIES = {
    "nginx": ("nginx", start_nginx),
    "haproxy": ("HAProxy", start_haproxy),
    "caddy": ("Caddy", start_caddy),
    "apache": ("Apache httpd", start_apache),
}
