"""check: environment files as systemd and Docker read them, and everything that the start would open."""

import os
import re

import pytest
from support.check import effective, said
from support.net import free_port
from support.process import run

URL = "http://127.0.0.1:3000"
EX_CONFIG = 78


# check --env-file


@pytest.fixture
def env_file(tmp_path):
    """Runs `check --env-file` on a file with this text."""

    def check(text, env=None):
        path = tmp_path / "sidesocket.env"
        path.write_text(text)
        return run("check", "--env-file", str(path), env=env)

    return check


def test_check_reads_an_environment_file_as_systemd_and_docker_do(env_file):
    secrets = "whsec_" + "A" * 32, "whsec_" + "B" * 32
    done = env_file(
        "# Settings of the shop\n"
        "; another kind of comment\n"
        "\n"
        f"SIDESOCKET_APP_URL={URL}\n"
        "SIDESOCKET_WS_PATHS=/ws, /live/*\n"
        'SIDESOCKET_CONNECT_RATE_PER_IP="600/1m,burst=100"\n'
        "SIDESOCKET_NODE_NAME='edge-1'\n"
        "SIDESOCKET_FORWARD_HEADERS=\n"
        f"SIDESOCKET_WEBHOOK_SECRET={secrets[0]} {secrets[1]}\n"
        "SIDESOCKET_MAX_FRAGMENTS=1\n"
        "SIDESOCKET_MAX_FRAGMENTS=64\n"
        "SIDESOCKET_SERVICE_HOST=10.0.0.1\n"
        "PATH=/nowhere\n"
        'GREETING="not ours"\n'
    )
    assert done.returncode == 0, said(done)
    known = effective(done)
    assert known["SIDESOCKET_APP_URL"] == URL
    assert known["SIDESOCKET_WS_PATHS"].replace(" ", "") == "/ws,/live/*"
    assert known["SIDESOCKET_CONNECT_RATE_PER_IP"] == "600/1m,burst=100"
    assert known["SIDESOCKET_NODE_NAME"] == "edge-1"
    # The last one holds, in both.
    assert known["SIDESOCKET_MAX_FRAGMENTS"] == "64"
    assert "GREETING" not in said(done) and "A" * 32 not in said(done)


def test_check_lists_every_fault_of_an_environment_file(env_file):
    done = env_file(
        "SIDESOCKET_THREADS=0\nSIDESOCKET_LISTEM=0.0.0.0:80\nSIDESOCKET_LOG_LEVEL=' loud'\nOTHER=anything\n"
    )
    assert done.returncode == EX_CONFIG, said(done)
    for expected in ("SIDESOCKET_THREADS", "SIDESOCKET_LISTEM", "SIDESOCKET_LOG_LEVEL", "loud", "SIDESOCKET_APP_URL"):
        assert expected in done.stderr, done.stderr
    assert "OTHER" not in said(done)


def test_check_takes_the_environment_file_in_place_of_its_own_environment(env_file):
    done = env_file(f"SIDESOCKET_APP_URL={URL}\n", env={"SIDESOCKET_THREADS": "7", "SIDESOCKET_BOGUS": "1"})
    assert done.returncode == 0, said(done)
    assert effective(done)["SIDESOCKET_THREADS"] != "7"
    done = env_file("", env={"SIDESOCKET_APP_URL": URL})
    assert done.returncode == EX_CONFIG and "SIDESOCKET_APP_URL" in done.stderr, said(done)


@pytest.mark.parametrize("how", ["missing", "a folder", "no name"])
def test_check_says_which_environment_file_it_cannot_read(tmp_path, how):
    path = str(tmp_path if how == "a folder" else tmp_path / "none.env")
    done = run("check", "--env-file", *([] if how == "no name" else [path]), APP_URL=URL)
    assert done.returncode == EX_CONFIG, said(done)
    # The message has the beginning of a long path.
    assert "--env-file" in done.stderr and (how == "no name" or path[:60] in done.stderr), done.stderr


def test_flags_win_over_the_environment_file(tmp_path):
    path = tmp_path / "e"
    path.write_text(f"SIDESOCKET_APP_URL={URL}\nSIDESOCKET_THREADS=2\n")
    done = run("check", f"--env-file={path}", "--threads", "3")
    assert done.returncode == 0, said(done)
    assert effective(done)["SIDESOCKET_THREADS"] == "3"


# What check opens

FILE_FAULTS = {
    "no certificate": {"TLS_CERT": "{none}", "TLS_KEY": "{key}"},
    "a folder as certificate": {"TLS_CERT": "{folder}", "TLS_KEY": "{key}"},
    "no key": {"TLS_KEY": "{none}", "TLS_CERT": "{cert}"},
    "the key of another certificate": {"TLS_KEY": "{ca_key}", "TLS_CERT": "{cert}"},
    "no control certificate": {"CONTROL_TLS_CERT": "{none}", "CONTROL_TLS_KEY": "{key}"},
    "the key of another control certificate": {"CONTROL_TLS_KEY": "{ca_key}", "CONTROL_TLS_CERT": "{cert}"},
    "no client authority": {"TLS_CLIENT_CA": "{none}", "TLS_CERT": "{cert}", "TLS_KEY": "{key}"},
    "no authority for the app": {"APP_CA_FILE": "{none}", "APP_URL": "https://127.0.0.1:3000"},
    "no parent of the outbox": {"OUTBOX_DIR": "{none}/deep/outbox"},
    "a file as outbox": {"OUTBOX_DIR": "{cert}"},
    "no folder for the audit log": {"AUDIT_LOG": "{none}/audit.log"},
    "a folder as audit log": {"AUDIT_LOG": "{folder}"},
    "no settings file": {"CONFIG": "{none}"},
    "no secret file": {"CONTROL_TOKEN_FILE": "{none}"},
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_check_opens_what_the_start_opens_and_says_the_same(certificate, tmp_path, fault):
    ca, (cert, key) = certificate
    (tmp_path / "folder").mkdir()
    places = {
        "none": tmp_path / "none", "folder": tmp_path / "folder", "cert": cert, "key": key,
        "ca_key": ca.replace("ca.pem", "ca.key"),
    }  # fmt: skip
    settings = {name: text.format(**places) for name, text in FILE_FAULTS[fault].items()}
    listen = {"LISTEN": f"127.0.0.1:{free_port()}", "CONTROL_LISTEN": f"127.0.0.1:{free_port()}"}
    settings = {"APP_URL": URL, **listen, **settings}
    done = run("check", **settings)
    assert done.returncode == EX_CONFIG, said(done)
    # The faulty one is the first of each; of a pair that does not match it may be either.
    named = FILE_FAULTS[fault] if "of another" in fault else list(FILE_FAULTS[fault])[:1]
    sentence = done.stderr.strip()
    assert any(f'SIDESOCKET_{name}="{settings[name]}"' in sentence for name in named), sentence
    # A sentence, not the name of a function or a case in somebody's source code.
    words = re.sub(r'"[^"]*"', "", sentence)
    assert not re.search(r"\w\(|[a-z][A-Z]|errno", words) and "\n" not in sentence, sentence
    start = run(**settings)
    assert (start.returncode, start.stderr) == (EX_CONFIG, done.stderr)


def test_check_leaves_nothing_behind(tmp_path):
    """Run as root, it would leave files that the service may not write to."""
    done = run("check", APP_URL=URL, OUTBOX_DIR=tmp_path / "outbox", AUDIT_LOG=tmp_path / "audit.log")
    assert done.returncode == 0, said(done)
    assert os.listdir(tmp_path) == []


def test_check_passes_beside_the_process_that_runs_with_these_settings(app, sidesocket, tmp_path):
    settings = {"OUTBOX_DIR": str(tmp_path / "outbox"), "AUDIT_LOG": str(tmp_path / "audit.log")}
    edge = sidesocket(app, **settings)
    listen = {"LISTEN": f"127.0.0.1:{edge.port}", "CONTROL_LISTEN": f"127.0.0.1:{edge.control_port}"}
    done = run("check", APP_URL=app.url, **listen, **settings)
    assert done.returncode == 0, said(done)
    edge.websocket().close()
