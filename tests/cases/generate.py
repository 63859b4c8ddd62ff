#!/usr/bin/env python3
"""Writes the table of cases for the packet path: what goes in, and exactly what must come out.

An independent source: scapy builds each expected packet from scratch, so that an error in the packet path's own
arithmetic cannot cancel out. `generate.py` writes ipv4.json and ipv6.json; `generate.py --check` says whether they are
up to date.
"""

import json
import pathlib
import sys

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

import case
import discovery
import family
import headers
import owner
import rewrite
import router
import vlan
import world

CHAPTERS = {4: (owner, rewrite, router, vlan), 6: (owner, rewrite, headers, router, discovery, vlan)}


def table(version):
    family.version = version
    case.start()
    for chapter in CHAPTERS[version]:
        chapter.generate()
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in case.CASES)
    described = json.dumps(world.to_json(), indent=1)
    return f'{{"world": {described},\n"cases": [\n{lines}\n]}}\n'


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(f"usage: {sys.argv[0]} [--check]")
    for version in CHAPTERS:
        text = table(version)
        path = pathlib.Path(__file__).with_name(f"ipv{version}.json")
        if not sys.argv[1:]:
            path.write_text(text)
            print(f"{path.name}: {len(case.CASES)} cases")
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path} is out of date: run {__file__}")


if __name__ == "__main__":
    main()
