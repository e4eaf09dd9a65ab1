"""What `check` says, read by the tests of the files for running Sidesocket."""

import re

from .process import run


def said(done):
    return done.stdout + done.stderr


def effective(done):
    """The table that `check` prints as {variable: value}."""
    rows = [line.lstrip("* ").partition("=") for line in done.stdout.splitlines() if "SIDESOCKET_" in line]
    return {name.strip(): value.strip() for name, _, value in rows}


def check_accepts(variables):
    """`check` takes these variables, which carry their prefix, and each is one of its own."""
    done = run("check", env=variables)
    assert done.returncode == 0, said(done)
    known = effective(done)
    assert {name.removesuffix("_FILE") if name not in known else name for name in variables} <= set(known)
    return known


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|min|m|h)?", str(duration)).groups()
    return int(number) * {"ms": 0.001, None: 1, "s": 1, "min": 60, "m": 60, "h": 3600}[unit]


def size(text):
    number, unit = re.fullmatch(r"(\d+)([KMG]i)B?", text).groups()
    return int(number) * 1024 ** (" KMG".index(unit[0]))
