"""nginx and haproxy in front of a sidecar, each with what a test wants in its configuration."""

import os
import subprocess
from pathlib import Path

import pytest
from support.net import free_port
from support.proxies import Front, command

STREAM_MODULES = [
    Path(folder) / "ngx_stream_module.so"
    for folder in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/lib/nginx/modules")
]


@pytest.fixture
def fronts():
    started = []
    yield started
    for front in started:
        front.stop()


@pytest.fixture
def nginx(fronts, tmp_path):
    """Starts nginx: `nginx(http="…")` or `nginx(stream="…")`, where `{port}` is where it listens."""

    def start(http=None, stream=None):
        program = command("nginx")
        modules = ""
        if stream:
            built_in = "--with-stream " in subprocess.run([program, "-V"], capture_output=True, text=True).stderr + " "
            module = next((path for path in STREAM_MODULES if path.exists()), None)
            if not built_in and not module:
                pytest.skip("nginx has no stream module (Debian: apt-get install libnginx-mod-stream)")
            modules = "" if built_in else f"load_module {module};"
        port = free_port()
        temporary = " ".join(
            f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        # A process of our own, so that the end of the test is its end.
        text = f"{modules} {user} daemon off; master_process off; pid {tmp_path}/pid; error_log stderr notice;\n"
        text += "events { worker_connections 256; }\n"
        if http:
            text += f"http {{ access_log off; {temporary}\n{http.replace('{port}', str(port))} }}\n"
        if stream:
            text += f"stream {{ {stream.replace('{port}', str(port))} }}\n"
        (tmp_path / "nginx.conf").write_text(text)
        arguments = [program, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
        fronts.append(Front(arguments, port))
        return fronts[-1]

    return start


@pytest.fixture
def haproxy(fronts, tmp_path):
    """Starts haproxy with one server line: `haproxy("http", "server s 127.0.0.1:{to} send-proxy", to)`."""

    def start(mode, backend):
        program = command("haproxy")
        port = free_port()
        (tmp_path / "haproxy.cfg").write_text(
            f"""
global
    maxconn 256
defaults
    mode {mode}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 30s
frontend web
    bind 127.0.0.1:{port}
    default_backend sidesocket
backend sidesocket
{backend}
"""
        )
        fronts.append(Front([program, "-db", "-f", str(tmp_path / "haproxy.cfg")], port))
        return fronts[-1]

    return start
