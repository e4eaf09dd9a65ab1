#!/usr/bin/env python3
"""What several nodes over a Redis cost and how they behave. See README.md."""

import argparse
import os
import pathlib
import sys

import away
import delivery
import handshakes
import idle
import lost
import publish
from rig import Rig

FIGURES = {
    "delivery": delivery, "publish": publish, "handshakes": handshakes, "idle": idle, "away": away, "lost": lost,
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", choices=(*FIGURES, "all"))
    parser.add_argument("--binary", required=True, help="the sidesocket to measure, best a stripped release build")
    parser.add_argument("--rounds", type=int, help="by default as many as the figure needs")
    parser.add_argument("--seconds", type=float, help="length of one measurement, by default what the figure needs")
    parser.add_argument("--scale", type=float, default=1, help="multiplies the numbers of connections and channels")
    parser.add_argument("--rate", type=float, default=100, help="publications per second, where they have a rate")
    parser.add_argument("--size", type=int, default=64, help="bytes in a message, at least 24")
    parser.add_argument("--clients", type=int, default=32, help="publish: clients at once")
    parser.add_argument("--batch", type=int, default=100, help="publish: publications in a list")
    parser.add_argument("--path", default="/ws", help="handshakes: what clients ask for, such as /ws?user=1&join=room")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a setting for all nodes")
    options = parser.parse_args()
    if not os.access(options.binary, os.X_OK):
        sys.exit(f"bench: {options.binary} is not there")

    binary = pathlib.Path(options.binary).resolve()
    kind = " A DEBUG BUILD: compare nothing with it." if "debug" in str(binary) else ""
    print(f"{binary}, {binary.stat().st_size / 1e6:.0f} MB.{kind}", flush=True)
    failed = False
    for name in FIGURES if options.figure == "all" else [options.figure]:
        print(f"\n{name}", flush=True)
        with Rig(options, name) as rig:
            FIGURES[name].run(rig)
            failed |= rig.failed
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
