"""The code that the pages of the documentation print, taken out so that it can be run as it is."""

import re

from .process import ROOT

BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.M | re.S)
FILE = re.compile(r"^(?:#|//|<!--|\{#) (?P<path>[\w./-]+\.\w+)\b")


def blocks(name):
    """The code blocks of a page as (language, text)."""
    found = BLOCK.finditer((ROOT / name).read_text())
    return [(one["language"], re.sub(f"^{one['indent']}", "", one["text"], flags=re.M)) for one in found]


def files(name):
    """The files that a page prints, by the path in their first line (PHP: in the one behind `<?php`)."""
    found = {}
    for _, text in blocks(name):
        if path := FILE.match(text.removeprefix("<?php\n")):
            assert path["path"] not in found, f"{name} prints {path['path']} twice"
            found[path["path"]] = text
    return found


def command(name, begin, end=""):
    """The one command line of a page that begins and ends so, however often it is printed."""
    lines = {line for language, text in blocks(name) if not language for line in text.splitlines()}
    (line,) = (line for line in lines if line.startswith(begin) and line.endswith(end))
    return line


def place(folder, texts, **exchange):
    """Writes files, with what is to be exchanged in them."""
    for path, text in texts.items():
        for old, new in exchange.pop(path, {}).items():
            assert old in text, f"{path} does not have {old!r}"
            text = text.replace(old, new)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    assert not exchange, f"not printed: {[*exchange]}"
