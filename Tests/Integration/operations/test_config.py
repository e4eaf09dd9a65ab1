"""Settings: from the environment, a file and flags; all faults at once; check, --help, --version."""

import json
import resource

import pytest
from support.net import free_port
from support.process import run
from support.raw import Client

URL = "http://127.0.0.1:3000"
EX_CONFIG = 78


def said(done):
    return done.stdout + done.stderr


def refused(*names, **settings):
    """`check` refuses these settings, names each of `names`, and shows each bad value."""
    done = run("check", **settings)
    assert done.returncode == EX_CONFIG, f"{done.returncode}: {said(done)}"
    for name in names:
        assert f"SIDESOCKET_{name}" in said(done), said(done)
    return done


def effective(done):
    """The table that `check` prints as {variable: value}."""
    rows = [line.lstrip("* ").partition("=") for line in done.stdout.splitlines() if "SIDESOCKET_" in line]
    return {name.strip(): value.strip() for name, _, value in rows}


def checked(*arguments, **settings):
    done = run("check", *arguments, **settings)
    assert done.returncode == 0, said(done)
    return effective(done)


def test_all_faults_are_listed_at_once_each_with_its_value_and_what_is_accepted():
    bad = {
        "APP_URL": "ftp://x",
        "LISTEN": "nonsense",
        "MAX_MESSAGE_BYTES": "lots",
        "WEBHOOK_TIMEOUT": "soon",
        "WEBHOOK_FAILURE": "shrug",
        "PRESERVE_HOST": "perhaps",
        "LOG_LEVEL": "loud",
        "THREADS": "-3",
        "BOGUS": "1",
    }
    for arguments in ((), ("check",)):
        done = run(*arguments, **bad)
        assert done.returncode == EX_CONFIG
        lines = said(done).splitlines()
        for name, value in bad.items():
            at = [i for i, line in enumerate(lines) if f"SIDESOCKET_{name}" in line]
            assert at, f"{name} is not named in:\n{said(done)}"
            near = "\n".join(lines[at[0] : at[0] + 3])
            assert name == "BOGUS" or value in near, near
        for word in ("close", "keep", "info", "true", "http://"):
            assert word in said(done), f"what is accepted is not said: {word}"


def test_the_app_url_is_required():
    for arguments in ((), ("check",)):
        done = run(*arguments)
        assert done.returncode == EX_CONFIG
        assert "SIDESOCKET_APP_URL" in said(done)


def test_an_unknown_variable_is_a_fault_and_the_meant_one_is_suggested_or_at_least_named():
    done = refused("APP_URLL", APP_URL=URL, APP_URLL="x")
    assert "SIDESOCKET_APP_URLL" in said(done)
    refused("MAX_MESSAGE_BYTE", APP_URL=URL, MAX_MESSAGE_BYTE="1")
    refused("", APP_URL=URL, **{"": "1"})


def test_variables_without_the_prefix_are_nobodys_business():
    assert (
        run("check", env={"APP_URL": "x", "LISTEN": "x", "SIDESOCKETX": "1", "OTEL_X": "1"}, APP_URL=URL).returncode
        == 0
    )


def test_variables_that_kubernetes_injects_are_ignored(app, sidesocket):
    injected = {
        "SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "8080", "SERVICE_PORT_HTTP": "8080", "SERVICE_PORT_CONTROL": "9090",
        "PORT": "tcp://10.0.0.1:8080", "PORT_8080_TCP": "tcp://10.0.0.1:8080", "PORT_8080_TCP_PROTO": "tcp",
        "PORT_8080_TCP_PORT": "8080", "PORT_8080_TCP_ADDR": "10.0.0.1",
    }  # fmt: skip
    assert run("check", APP_URL=URL, **injected).returncode == 0
    edge = sidesocket(app, **injected)
    edge.websocket()


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "LISTEN",
            ["127.0.0.1:8080", "[::]:8080", "unix:/tmp/x.sock", "127.0.0.1:1,127.0.0.1:2"],
            ["", "8080x", "1.2.3.4:99999", ":"],
        ),
        ("CONTROL_LISTEN", ["127.0.0.1:9091"], ["x:y"]),
        (
            "APP_URL",
            ["http://127.0.0.1:3000", "https://app.test", "unix:/tmp/a.sock", "http://[::1]:3000"],
            ["", "x", "http://", "http://x:0", "unix:"],
        ),
        ("WS_PATHS", ["/ws", "/ws,/live/*", "/*"], ["", "ws", "/a*b"]),
        ("WEBHOOK_URL", ["http://127.0.0.1:3000/hook", "https://x/y?z"], ["x", "ftp://x/"]),
        ("PRESERVE_HOST", ["true", "false"], ["", "maybe"]),
        ("FORWARD_HEADERS", ["cookie", "cookie,x-a"], ["a b", "ce-type", "x-forwarded-for"]),
        (
            "MAX_MESSAGE_BYTES",
            ["512", "64KiB", "1MiB", "1KB", "1MB"],
            ["", "-1", "1XB", "KiB", "1.5.5MiB", "99999999999999999999"],
        ),
        ("MAX_SEND_BUFFER_BYTES", ["1MiB"], ["x"]),
        ("MAX_PENDING_BYTES", ["1MiB"], ["x"]),
        ("MAX_TOTAL_PENDING_BYTES", ["1MiB"], ["x"]),
        ("MAX_REPLY_BYTES", ["1MiB"], ["x"]),
        ("MAX_HEADER_BYTES", ["32KiB"], ["x"]),
        ("MAX_FRAGMENTS", ["1", "128"], ["-1", "many"]),
        ("MAX_HEADERS", ["100"], ["-1", "x"]),
        ("MAX_CONNECTIONS", ["100"], ["-1", "x"]),
        ("WEBHOOK_MAX_IN_FLIGHT", ["1", "64"], ["0", "-1", "x"]),
        ("WEBHOOK_TIMEOUT", ["500ms", "10s", "5m", "1h"], ["", "10 parsecs", "-1s", "s", "99999999999999999999h"]),
        ("HANDSHAKE_TIMEOUT", ["10s"], ["x"]),
        ("MESSAGE_ASSEMBLY_TIMEOUT", ["10s"], ["x"]),
        ("DRAIN_TIMEOUT", ["10s"], ["x"]),
        ("WEBHOOK_FAILURE", ["close", "keep"], ["", "x"]),
        ("LOG_LEVEL", ["debug", "info", "warning", "error"], ["x"]),
        ("LOG_FORMAT", ["json", "text"], ["xml"]),
        ("THREADS", ["1", "8"], ["0", "x"]),
        ("NODE_NAME", ["a-b.c"], ["a\nb", "a b"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values(name, good, bad):
    for value in good:
        done = run("check", **{"APP_URL": URL, name: value})
        assert done.returncode == 0, f"{value!r}: {said(done)}"
    for value in bad:
        refused(name, **{"APP_URL": URL, name: value})


def test_check_prints_the_effective_settings():
    table = checked(APP_URL=URL, MAX_MESSAGE_BYTES="1MiB", NODE_NAME="n1")
    assert table["SIDESOCKET_APP_URL"] == URL
    assert table["SIDESOCKET_MAX_MESSAGE_BYTES"] == "1MiB"
    assert table["SIDESOCKET_NODE_NAME"] == "n1"
    defaults = {
        "LISTEN": "0.0.0.0:8080", "CONTROL_LISTEN": "127.0.0.1:9090", "WS_PATHS": "/*", "PRESERVE_HOST": "true",
        "FORWARD_HEADERS": "cookie,authorization", "LOG_LEVEL": "info", "LOG_FORMAT": "json", "MAX_FRAGMENTS": "128",
        "MESSAGE_ASSEMBLY_TIMEOUT": "30s", "MAX_SEND_BUFFER_BYTES": "256KiB", "HANDSHAKE_TIMEOUT": "10s",
        "MAX_HEADER_BYTES": "32KiB", "MAX_HEADERS": "100", "DRAIN_TIMEOUT": "30s", "WEBHOOK_TIMEOUT": "10s",
        "WEBHOOK_MAX_IN_FLIGHT": "64", "WEBHOOK_FAILURE": "close", "MAX_PENDING_BYTES": "256KiB",
        "MAX_TOTAL_PENDING_BYTES": "256MiB", "MAX_REPLY_BYTES": "1MiB",
    }  # fmt: skip
    for name, value in defaults.items():
        assert table[f"SIDESOCKET_{name}"] == value


def test_check_opens_no_port(app):
    port = app.port  # taken by the app: a listener there would fail
    assert run("check", APP_URL=URL, LISTEN=f"127.0.0.1:{port}").returncode == 0


def test_help_says_which_settings_may_be_read_from_files():
    text = run("--help").stdout
    for name in ("CONTROL_TOKEN", "WEBHOOK_SECRET", "JWT_KEY"):
        flag = "--" + name.lower().replace("_", "-")
        assert f"{flag}-file, SIDESOCKET_{name}_FILE" in text


def test_an_environment_file_is_for_check_alone(tmp_path):
    path = tmp_path / "e"
    path.write_text("SIDESOCKET_APP_URL=http://127.0.0.1:1\n")
    done = run("--env-file", str(path), LISTEN=f"127.0.0.1:{free_port()}")
    assert done.returncode == 78 and "--env-file" in done.stderr and "check only" in done.stderr


def test_help_names_every_variable_and_flag():
    for flag in ("--help", "-h"):
        done = run(flag)
        assert done.returncode == 0
        for name in checked(APP_URL=URL):
            assert name in done.stdout, name
            flag_name = "--" + name.removeprefix("SIDESOCKET_").lower().replace("_", "-")
            assert flag_name in done.stdout, flag_name
        assert "check" in done.stdout and "--version" in done.stdout


def test_version():
    done = run("--version")
    assert done.returncode == 0
    assert any(c.isdigit() for c in done.stdout) and len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [("--bogus", "1"), ("bogus",), ("--app-url",), ("--app-url", URL, "--app-url", URL)]
)
def test_arguments_that_mean_nothing_are_faults(arguments):
    done = run("check", *arguments)
    assert done.returncode in (64, EX_CONFIG)
    assert arguments[0].lstrip("-") in said(done)


def test_flags_alone_are_enough(app, sidesocket):
    port, control = free_port(), free_port()
    edge = sidesocket(
        arguments=["--app-url", app.url, f"--listen=127.0.0.1:{port}", "--control-listen", f"127.0.0.1:{control}"],
        LISTEN=None, CONTROL_LISTEN=None, NODE_NAME=None, wait=False,
    )  # fmt: skip
    edge.port, edge.control_port = port, control
    from support.net import eventually

    eventually(lambda: edge.readyz()[0] == 200, lambda: f"ready: {edge.output}", timeout=20)
    app.echo()
    socket = edge.websocket()
    socket.text("hi")
    assert socket.message() == "hi"


FILES = {
    "json": json.dumps(
        {
            "app_url": URL,
            "max_message_bytes": "1MiB",
            "max_fragments": 7,
            "preserve_host": False,
            "ws_paths": ["/a", "/b/*"],
        }
    ),
    "yaml": f"# a comment\napp_url: {URL}\nmax_message_bytes: 1MiB\nmax_fragments: 7\n"
    "preserve_host: false\nws_paths:\n  - /a\n  - /b/*\n",
    "yaml flow": f"---\napp_url: \"{URL}\"\nmax_message_bytes: '1MiB'\nmax_fragments: 7\n"
    "preserve_host: false\nws_paths: [/a, /b/*]\n",
    "upper case": f"APP_URL: {URL}\nMAX_MESSAGE_BYTES: 1MiB\nMAX_FRAGMENTS: 7\nPRESERVE_HOST: false\n"
    "WS_PATHS: /a,/b/*\n",
    "prefixed": f"SIDESOCKET_APP_URL: {URL}\nSIDESOCKET_MAX_MESSAGE_BYTES: 1MiB\nSIDESOCKET_MAX_FRAGMENTS: 7\n"
    "SIDESOCKET_PRESERVE_HOST: false\nSIDESOCKET_WS_PATHS: /a,/b/*\n",
}


@pytest.mark.parametrize("kind", FILES)
def test_a_settings_file(tmp_path, kind):
    path = tmp_path / "settings"
    path.write_text(FILES[kind])
    table = checked(CONFIG=path)
    assert table["SIDESOCKET_APP_URL"] == URL
    assert table["SIDESOCKET_MAX_MESSAGE_BYTES"] == "1MiB"
    assert table["SIDESOCKET_MAX_FRAGMENTS"] == "7"
    assert table["SIDESOCKET_PRESERVE_HOST"] == "false"
    assert table["SIDESOCKET_WS_PATHS"] == "/a,/b/*"


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(f"app_url: {URL}\nmax_fragments: 7\nmax_headers: 8\nmax_connections: 9\n")
    table = checked("--max-connections", "11", CONFIG=path, MAX_HEADERS="10", MAX_CONNECTIONS="10")
    assert table["SIDESOCKET_MAX_FRAGMENTS"] == "7"
    assert table["SIDESOCKET_MAX_HEADERS"] == "10"
    assert table["SIDESOCKET_MAX_CONNECTIONS"] == "11"


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", "app_url: [", f"app_url: {URL}\nbogus: 1\n", f"app_url: {URL}\n  nested:\n    x: 1\n", "\xff\xfe",
     f'{{"app_url": "{URL}", "max_fragments": {{"x": 1}}}}', f"app_url: {URL}\nmax_fragments: many\n"],
    ids=repr,
)  # fmt: skip
def test_a_bad_settings_file_is_a_fault_that_names_the_file(tmp_path, text):
    path = tmp_path / "settings.conf"
    path.write_bytes(text.encode("latin-1"))
    done = run("check", CONFIG=path)
    assert done.returncode == EX_CONFIG
    assert "settings.conf" in said(done)


def test_a_missing_settings_file_is_a_fault(tmp_path):
    path = tmp_path / "missing.yaml"
    done = refused("CONFIG", CONFIG=path, APP_URL=URL)
    # A long value is cut.
    assert f'"{str(path)[:60]}' in said(done) and "No such file" in said(done)


def test_faults_of_file_and_environment_are_listed_together(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("max_fragments: many\n")
    done = refused("WEBHOOK_TIMEOUT", CONFIG=path, WEBHOOK_TIMEOUT="soon", APP_URL=URL)
    assert "many" in said(done) and "soon" in said(done)


def test_control_characters_in_a_bad_value_do_not_reach_the_terminal():
    done = refused("LISTEN", APP_URL=URL, LISTEN="x\x1b[31m\ny" + "z" * 100_000)
    assert "\x1b" not in said(done)
    assert len(said(done)) < 20_000


def test_several_addresses(app, sidesocket, tmp_path):
    from support.ws import WebSocket

    one, two, path = free_port(), free_port(), str(tmp_path / "public.sock")
    edge = sidesocket(app, LISTEN=f"127.0.0.1:{one},127.0.0.1:{two},unix:{path}")
    for port in (one, two):
        with Client(port) as client:
            assert client.ask().text == "from the app"
    with Client(0, unix=path) as client:
        assert client.ask(host="x").text == "from the app"
    app.echo()
    socket = WebSocket(0, unix=path, host="x")
    assert socket.answer.status == 101
    socket.text("through a file")
    assert socket.message() == "through a file"
    socket.close()
    edge.check_alive()


def test_ipv6(app, sidesocket):
    import socket

    try:
        probe = socket.socket(socket.AF_INET6)
        probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    port = probe.getsockname()[1]
    probe.close()
    edge = sidesocket(app, LISTEN=f"[::1]:{port}")
    with socket.create_connection(("::1", port), 5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while part := sock.recv(65536):
            data += part
    assert data.endswith(b"from the app")
    assert app.requests[0].header("x-forwarded-for") in ("::1", "[::1]")
    edge.check_alive()


@pytest.mark.parametrize("name", ["LISTEN", "CONTROL_LISTEN"])
def test_a_port_in_use_is_a_clear_error(app, name):
    done = run(
        APP_URL="http://127.0.0.1:1",
        **{
            "LISTEN": f"127.0.0.1:{free_port()}",
            "CONTROL_LISTEN": f"127.0.0.1:{free_port()}",
            name: f"127.0.0.1:{app.port}",
        },
    )
    assert done.returncode not in (0, None) and done.returncode > 0, done.returncode
    assert str(app.port) in said(done) and "in use" in said(done).lower()


def test_a_missing_ca_file_is_a_clear_error(app, tmp_path):
    done = run(APP_URL="https://127.0.0.1:1", APP_CA_FILE=tmp_path / "missing.pem", LISTEN=f"127.0.0.1:{free_port()}",
               CONTROL_LISTEN=f"127.0.0.1:{free_port()}")  # fmt: skip
    assert done.returncode > 0
    assert "missing.pem" in said(done)


@pytest.mark.parametrize("content", [None, "", "no certificate\n"], ids=["missing", "empty", "text"])
def test_check_refuses_an_unusable_ca_file(tmp_path, content):
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_text(content)
    done = refused("APP_CA_FILE", APP_URL="https://127.0.0.1:1", APP_CA_FILE=path)
    assert "authorities.pem" in said(done)


def test_a_file_of_60_000_unknown_keys_is_refused_in_a_few_seconds(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("".join(f"k{i}: 1\n" for i in range(60_000)))
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = run("check", CONFIG=path, APP_URL=URL, timeout=40)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - cpu < 8
    assert done.returncode == EX_CONFIG
    assert "k0" in said(done) and "settings.yaml" in said(done)


def test_a_unix_socket_that_another_sidecar_listens_on_is_a_clear_error_and_left_alone(app, sidesocket, tmp_path):
    path = str(tmp_path / "public.sock")
    first = sidesocket(app, LISTEN=f"unix:{path}")
    with Client(0, unix=path) as kept:
        done = run(APP_URL=app.url, LISTEN=f"unix:{path}", CONTROL_LISTEN=f"127.0.0.1:{free_port()}")
        assert done.returncode > 0
        assert path in said(done), said(done)
        assert kept.ask(host="x").text == "from the app"
    with Client(0, unix=path) as another:
        assert another.ask(host="x").text == "from the app"
    first.check_alive()


def test_the_file_of_a_unix_socket_that_nobody_listens_on_is_taken_over(app, sidesocket, tmp_path):
    path = tmp_path / "public.sock"
    killed = sidesocket(app, LISTEN=f"unix:{path}")
    killed.exit_expected = True
    killed.kill()
    assert path.is_socket()
    edge = sidesocket(app, LISTEN=f"unix:{path}")
    with Client(0, unix=str(path)) as client:
        assert client.ask(host="x").text == "from the app"
    edge.check_alive()
