"""The settings of the heartbeat: what `check` says about them and what the start refuses."""

import json
import re

import pytest
from support.net import eventually, free_port
from support.process import run

URL = "http://127.0.0.1:3000"
EX_CONFIG = 78

# Idle and absolute timeouts in seconds, as the balancers have them unless somebody changed them.
PRESETS = {
    "aws-alb": (60, None), "aws-nlb": (350, None), "aws-clb": (60, None), "cloudfront": (600, None),
    "cloudflare": (100, None), "gcp-alb": (None, 30), "gcp-tcp": (600, None), "azure-appgw": (20, None),
    "azure-frontdoor": (300, 14400), "azure-lb": (240, None), "heroku": (55, None), "fly": (60, None),
    "railway": (60, None), "digitalocean": (60, None), "nginx": (60, None), "ingress-nginx": (60, None),
    "haproxy": (60, None), "openshift": (30, None), "envoy": (300, None), "istio": (3600, None),
    "traefik": (None, None), "caddy": (None, None), "apache": (60, None), "varnish": (60, None), "mobile": (30, None),
}  # fmt: skip
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
DURATION = r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+"


def seconds(text):
    return sum(float(n) * UNITS[unit] for n, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text))


def heartbeat(**settings):
    """The lines that `check` prints below "Heartbeat", be they comments or not."""
    done = run("check", APP_URL=URL, **{"TRUSTED_PROXIES": "private", **settings})
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.lstrip("# ") for line in done.stdout.splitlines()]
    assert lines.count("Heartbeat") == 1, done.stdout
    return "\n".join(lines[lines.index("Heartbeat") + 1 :])


def durations(line):
    return [seconds(found) for found in re.findall(rf"\b{DURATION}\b", line)]


def said_times(text):
    """(idle, interval, age) in seconds as `check` says them."""
    lines = text.splitlines()
    idle = next(durations(line)[0] for line in lines if "idle" in line and durations(line))
    interval = next((durations(line)[0] for line in lines if "ping is sent" in line), None)
    age = next((durations(line)[0] for line in lines if "closed at the age" in line), None)
    return idle, interval, age


@pytest.mark.parametrize("preset", PRESETS)
def test_check_knows_the_preset(preset):
    idle, absolute = PRESETS[preset]
    text = heartbeat(LB=preset)
    assert preset in text
    said = said_times(text)
    assert said[0] == (idle or 60)
    assert said[1] == pytest.approx((idle or 60) * 5 / 12, abs=0.01)
    assert said[2] == (pytest.approx(absolute * 0.9, abs=0.01) if absolute else None)
    if idle:
        assert f"The shortest idle timeout is that of {preset}:" in text
    assert "Warning" not in text


def test_no_preset_is_missing_from_the_help():
    done = run("check", APP_URL=URL, LB="nonsense")
    assert done.returncode == EX_CONFIG
    said = done.stdout + done.stderr
    assert "SIDESOCKET_LB" in said and "nonsense" in said
    for preset in PRESETS:
        assert re.search(rf"\b{preset}\b", said), preset


def test_the_smallest_idle_timeout_of_a_chain_rules():
    text = heartbeat(LB="cloudflare,aws-alb,nginx")
    chain = text.splitlines()[0]
    assert chain.index("cloudflare") < chain.index("aws-alb") < chain.index("nginx")
    assert said_times(text) == (60, 25, None)
    text = heartbeat(LB="cloudfront, azure-frontdoor, openshift, gcp-alb")
    assert "that of openshift:" in text and "before gcp-alb" in text
    assert said_times(text) == (30, 12.5, 27)
    assert said_times(heartbeat(LB="traefik,istio")) == (3600, 1500, None)
    assert said_times(heartbeat(LB="none")) == said_times(heartbeat()) == (60, 25, None)


def test_what_is_set_rules_over_the_presets():
    text = heartbeat(LB="aws-alb", LB_IDLE_TIMEOUT="24s")
    assert said_times(text) == (24, 10, None)
    assert "LB_IDLE_TIMEOUT" in text and "Warning" not in text
    text = heartbeat(LB="aws-alb", PING_INTERVAL="7s")
    assert said_times(text) == (60, 7, None)
    assert "PING_INTERVAL" in text
    assert said_times(heartbeat(LB="azure-frontdoor", MAX_CONNECTION_AGE="1h"))[2] == 3600
    assert said_times(heartbeat(PING_INTERVAL="off"))[1] is None


@pytest.mark.parametrize(
    "settings",
    [
        {"PING_INTERVAL": "60s"},
        {"PING_INTERVAL": "1h"},
        {"PING_INTERVAL": "20s", "LB": "azure-appgw"},
        {"PING_INTERVAL": "30s", "LB": "aws-nlb,mobile"},
        {"PING_INTERVAL": "3s", "LB_IDLE_TIMEOUT": "3s", "LB": "aws-alb"},
    ],
    ids=str,
)
def test_pings_that_come_too_late_for_the_balancer_are_refused_at_the_start(settings):
    for arguments in ((), ("check",)):
        done = run(
            *arguments,
            APP_URL=URL,
            LISTEN=f"127.0.0.1:{free_port()}",
            CONTROL_LISTEN=f"127.0.0.1:{free_port()}",
            **settings,
        )
        said = done.stdout + done.stderr
        assert done.returncode == EX_CONFIG, said
        assert "SIDESOCKET_PING_INTERVAL" in said and settings["PING_INTERVAL"] in said
        # It says what to change.
        assert "at most" in said and "SIDESOCKET_LB_IDLE_TIMEOUT" in said


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"PING_INTERVAL": "31s"}, ["PING_INTERVAL", "30s"]),
        ({"PING_INTERVAL": "16s", "LB": "openshift"}, ["PING_INTERVAL", "15s"]),
        ({"PING_INTERVAL": "2s", "LB_IDLE_TIMEOUT": "3s"}, ["PING_INTERVAL", "1500ms"]),
        ({"PING_INTERVAL": "off", "LB": "aws-alb"}, ["PING_INTERVAL"]),
        ({"LB": "nginx", "LB_IDLE_TIMEOUT": "5m"}, ["LB_IDLE_TIMEOUT", "nginx"]),
        ({"LB": "gcp-alb", "MAX_CONNECTION_AGE": "1h"}, ["MAX_CONNECTION_AGE", "gcp-alb"]),
        ({"LB": "azure-frontdoor", "MAX_CONNECTION_AGE": "off"}, ["MAX_CONNECTION_AGE", "azure-frontdoor"]),
    ],
    ids=str,
)
def test_what_does_not_fit_is_a_warning_in_check(settings, names):
    lines = [line for line in heartbeat(**settings).splitlines() if "Warning" in line]
    assert len(lines) == 1, lines
    for name in names:
        assert name in lines[0]


@pytest.mark.parametrize("interval", ["30s", "25s", "50ms"])
def test_half_of_the_idle_timeout_is_no_warning(interval):
    assert "Warning" not in heartbeat(PING_INTERVAL=interval)


def test_the_start_logs_the_chain_and_what_does_not_fit(app, sidesocket):
    edge = sidesocket(app, LB="cloudflare,aws-alb", PING_INTERVAL="31s")
    eventually(lambda: "that of aws-alb:" in edge.output, "the log explains the heartbeat")
    warnings = [line for line in edge.logs if line.get("level") == "warning"]
    assert any("SIDESOCKET_PING_INTERVAL" in json.dumps(line) for line in warnings), edge.output
