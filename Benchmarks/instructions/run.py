#!/usr/bin/env python3
"""Instructions per message of the codec, the parsers and the limiter, held against budget.json. See README.md."""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
COUNTS = (1_000, 3_000)


def instructions(probe, scenario, count):
    """What the whole process takes for so many rounds."""
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", probe, scenario, str(count)],
        capture_output=True, text=True, env={**os.environ, "SWIFT_DETERMINISTIC_HASHING": "1"},
    )  # fmt: skip
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not found:
        sys.exit(f"instructions: {scenario}: {run.stdout}{run.stderr[-2000:]}")
    return int(found.group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probe", default=".build/release/instruction-probe")
    parser.add_argument("--update", action="store_true", help="write what is measured into budget.json")
    arguments = parser.parse_args()
    for needed in (arguments.probe, "valgrind", "strip"):
        if not shutil.which(needed):
            sys.exit(f"instructions: {needed} is not there; see README.md")
    path = HERE / "budget.json"
    budget = json.loads(path.read_text())
    measured, over = {}, []
    with tempfile.TemporaryDirectory() as folder:
        # Debian's valgrind does not read the newest debug information.
        probe = f"{folder}/probe"
        subprocess.run(["strip", "-o", probe, arguments.probe], check=True)
        print(f"{'scenario':10} {'instructions':>12} {'budget':>8}")
        for scenario, allowed in budget["instructions"].items():
            first, second = (instructions(probe, scenario, count) for count in COUNTS)
            measured[scenario] = round((second - first) / (COUNTS[1] - COUNTS[0]))
            limit = allowed * (1 + budget["tolerance"])
            print(f"{scenario:10} {measured[scenario]:12} {allowed:8}")
            if measured[scenario] > limit:
                over.append(f"{scenario}: {measured[scenario]} is more than {limit:.0f}")
    if arguments.update:
        path.write_text(json.dumps({**budget, "instructions": measured}, indent=2) + "\n")
        return 0
    for line in over:
        print(f"instructions: {line}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
