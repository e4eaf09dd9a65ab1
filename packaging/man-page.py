#!/usr/bin/env python3
"""Makes the man page out of the program's own words.

    packaging/man-page.py BINARY > sidesocket.1

`BINARY --help` has a first line, usage lines, paragraphs, and groups of flags with their explanation indented below
them; the page has a section for each.
"""

import datetime
import os
import re
import subprocess
import sys

# What `--help` does not say.
REST = r"""
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
Drain: accept no new connections, close the WebSockets with 1012 over \fBSIDESOCKET_DRAIN_TIMEOUT\fR, deliver their
close events, and exit.
.TP
.B SIGHUP
Read the settings file and the files of secrets and certificates again.
Settings that are wrong change nothing and are logged.
.SH EXIT STATUS
.TP
.B 0
It has drained; or the settings are right
.RB ( check ).
.TP
.B 78
The settings are wrong, or a file that they name cannot be used.
Every fault is listed on standard error.
.TP
.B 1
Anything else, such as an address that is in use.
.SH FILES
.TP
.I /etc/sidesocket/sidesocket.env
Settings of the systemd service, one
.IR NAME = value
per line.
.TP
.I /var/lib/sidesocket
The state of the systemd service, for
.B SIDESOCKET_OUTBOX_DIR
and
.BR SIDESOCKET_AUDIT_LOG .
.SH EXAMPLES
.TP
.B sidesocket \-\-app\-url http://127.0.0.1:3000 \-\-ws\-paths /ws
WebSockets on /ws, everything else straight to the app.
.TP
.B sidesocket check \-\-env\-file /etc/sidesocket/sidesocket.env
Say whether the service would start with these settings.
"""


def escaped(text):
    """Text as roff prints it: backslashes, and hyphens that are to stay what they are."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def styled(text):
    """The same with variables and flags in bold."""
    return re.sub(r"(?<!\w)(SIDESOCKET_[A-Z0-9_]+|\\-\\-[a-z][a-z0-9\\-]*)", r"\\fB\1\\fR", escaped(text))


def entries(lines):
    """Flags and what is said of each, `  --flag  VARIABLE` and lines that are indented more."""
    first = True
    for line in lines:
        if line.startswith("  --"):
            flag, _, variable = line.strip().partition("  ")
            yield ".TP"
            yield ", ".join(rf"\fB{escaped(name)}\fR" for name in (flag, variable.strip()) if name)
            first = True
        else:
            if not first:
                yield ".br"
            yield styled(line.strip())
            first = False


def page(help_text, version, date):
    blocks = [block.splitlines() for block in re.split(r"\n{2,}", help_text.strip("\n"))]
    [title] = blocks.pop(0)
    usage, description, settings = [], [], []
    for first, *others in blocks:
        if first == "Usage:":
            for line in others:
                command, _, meaning = line.strip().partition("  ")
                usage += [".TP", rf"\fB{escaped(command)}\fR", *filter(None, [styled(meaning.strip())])]
        elif first.startswith("  --"):
            settings += entries([first, *others])
        elif others and others[0].startswith("  --"):
            settings += [f'.SS "{escaped(first)}"', *entries(others)]
        else:
            text = [styled(line.strip()) for line in (first, *others)]
            (settings or description).extend([".PP", *text])
    head = f'.TH SIDESOCKET 1 "{date}" "Sidesocket {version}" "User Commands"'
    name = rf"sidesocket \- {escaped(title.partition(': ')[2])}"
    body = [head, ".SH NAME", name, ".SH SYNOPSIS", *usage, ".SH DESCRIPTION", *description[1:], ".SH SETTINGS"]
    return "\n".join(body + settings) + REST


def said(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: man-page.py BINARY")
    binary = os.path.abspath(sys.argv[1])
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    when = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC) if epoch else datetime.datetime.now(datetime.UTC)
    print(page(said(binary, "--help"), said(binary, "--version").split()[-1], when.date()), end="")
