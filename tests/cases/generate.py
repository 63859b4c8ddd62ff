#!/usr/bin/env python3
"""Writes the table of cases for the packet path: what goes in, and exactly what must come out.

An independent source: scapy builds each expected packet from scratch, so that an error in the packet path's own
arithmetic cannot cancel out. `generate.py` writes ipv4.json; `generate.py --check` says whether it is up to date.
"""

import json
import pathlib
import sys

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import owner
import rewrite
import router
import world
from case import CASES

TABLE = pathlib.Path(__file__).with_name("ipv4.json")


def table():
    for chapter in (owner, rewrite, router):
        chapter.generate()
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in CASES)
    described = json.dumps(world.to_json(), indent=1)
    return f'{{"world": {described},\n"cases": [\n{lines}\n]}}\n'


def main():
    text = table()
    if sys.argv[1:] == ["--check"]:
        if not TABLE.exists() or TABLE.read_text() != text:
            sys.exit(f"{TABLE} is out of date: run {__file__}")
    elif sys.argv[1:]:
        sys.exit(f"usage: {sys.argv[0]} [--check]")
    else:
        TABLE.write_text(text)
        print(f"{len(CASES)} cases")


if __name__ == "__main__":
    main()
