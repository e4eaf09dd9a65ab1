"""CONTRIBUTING.md and docs/how-it-works.md against the code that they name."""

import re
from collections import defaultdict

from support.process import ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PAGE = (ROOT / "docs/how-it-works.md").read_text()
# Of libraries, named to say why they are not used.
FOREIGN = {"AcceptBackoffHandler", "ByteBuffer", "JSONDecoder", "JSONEncoder"}


def declarations():
    """The files that declare each type of the sources, by its name."""
    found = defaultdict(set)
    for path in (ROOT / "Sources").rglob("*.swift"):
        for name in re.findall(r"^ *(?:\w+ )*(?:struct|class|enum|protocol|actor) (\w+)", path.read_text(), re.M):
            found[name].add(path)
    return found


def arrows():
    """What each target may import, as scripts/check-layers.sh has it."""
    text = re.search(r'^arrows="\n(.*?)^"', (ROOT / "scripts/check-layers.sh").read_text(), re.M | re.S)[1]
    return {line.split(":")[0]: set(line.split(":")[1].split()) for line in text.splitlines()}


def lines(text, heading):
    """The lines of the first code block below a heading, each as its words."""
    block = re.search(r"^```\n(.*?)^```", text.split(f"\n## {heading}\n", 1)[1], re.M | re.S)[1]
    return [line.split() for line in block.splitlines()]


def test_every_target_and_folder_has_its_place_in_contributing():
    words = {word.strip("/;.,:") for line in lines(CONTRIBUTING, "Where things are") for word in line}
    targets = set(re.findall(r'[tT]arget\(\s*name: "([\w-]+)"', (ROOT / "Package.swift").read_text()))
    targets |= set(re.findall(r'\.systemLibrary\(name: "(\w+)"', (ROOT / "Package.swift").read_text()))
    folders = {
        one.name
        for parent in ("Sources", "Sources/SidecarCore", "Sources/SidecarServer", "Tests", "Tests/Integration")
        for one in (ROOT / parent).iterdir()
        if one.is_dir() and not one.name.startswith((".", "_"))
    }
    assert len(targets) > 20 and targets | folders <= words
    assert targets >= set(arrows())


def test_the_arrows_between_the_targets_are_those_of_the_check():
    printed = {line[0]: set(line[2:]) for line in lines(CONTRIBUTING, "Dependencies between targets")}
    assert printed == {target: others for target, others in arrows().items() if others}


def test_the_rows_of_targets_lead_downwards():
    (block,) = re.findall(r"^```\n(sidesocket\n.*?)^```", PAGE, re.M | re.S)
    row = {target: number for number, line in enumerate(block.splitlines()) for target in line.split()}
    assert set(row) == set(arrows())
    assert [(one, other) for one, others in arrows().items() for other in others if row[one] >= row[other]] == []


def test_the_types_that_how_it_works_names_exist():
    known = set(declarations()) | set(arrows()) | FOREIGN
    code = re.findall(r"`([^`\n]+)`", PAGE) + re.findall(r"^```\n(.*?)^```", PAGE, re.M | re.S)
    # What stands beside a slash is a folder, what follows a plus a file's role.
    camel = r"(?<![\w/+])(?:[A-Z]{2,}[a-z]\w*|[A-Z][a-z]\w*[A-Z]\w*)(?![\w/])"
    named = set(re.findall(camel, "\n".join(code)))
    assert len(named) > 60 and named - known == set()


def test_the_way_of_a_message_names_the_folder_of_each_type():
    declared = declarations()
    steps = [line for line in lines(PAGE, "How a message flows") if "/" in line[-1]]
    assert len(steps) > 10
    for line in steps:
        folder = ROOT / "Sources" / line[-1]
        types = [word.strip(",") for word in line[1:-1] if re.match(r"[A-Z]+[a-z]\w*[A-Z]", word)]
        assert types, line
        for name in types:
            place = {path.parent for path in declared[name]} if "+" not in name else {folder}
            assert folder in place and ("+" not in name or (folder / f"{name}.swift").exists()), (name, line[-1])


def test_the_implementations_of_each_seam_are_those_of_the_code():
    sources = "\n".join(path.read_text() for path in (ROOT / "Sources").rglob("*.swift"))
    rows = re.findall(r"^\| `(\w+)` \|.*\| (`[^|]+) \|$", PAGE.split("\n### Seams\n", 1)[1].split("\n### ", 1)[0], re.M)
    assert len(rows) > 8
    protocols = {name for name, _ in rows if re.search(rf"\bprotocol {name}\b", sources)}
    # An enum: its cases stand for what it names.
    assert {name for name, _ in rows} - protocols == {"MessageCodec"}
    refined = {one: base for one, base in re.findall(r"\bprotocol (\w+): (\w+) \{", sources) if base in protocols}
    conforming = defaultdict(set)
    for name, bases in re.findall(r"^(?:\w+ )*(?:class|struct|enum|extension) (\w+): ([^{]+) \{", sources, re.M):
        for base in bases.split(", "):
            conforming[refined.get(base, base)].add(name)
    for name, implementations in rows:
        if name in protocols:
            assert set(re.findall(r"`(\w+)`", implementations)) == conforming[name], name
