#!/usr/bin/env python3
"""Writes the conformance suite for 1:1 NAT gateways: what is sent where, and exactly what has to come out.

scapy builds each expected packet from scratch; the builders are those of the packet path's own table (`tests/cases`).
`generate.py` writes ipv4.json and ipv6.json, and onlink4.json and onlink6.json for a pool on the
uplink's link; `generate.py --check` says whether they are up to date.
"""

import json
import pathlib
import sys

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "cases"))

import bed
import chapters4
import chapters6
import edges4
import edges6
import onlink
from suite import Suite


def tables():
    for name, places, chapters in (
        ("ipv4", bed.IPV4, (chapters4, edges4)),
        ("ipv6", bed.IPV6, (chapters6, edges6)),
        ("onlink4", bed.ON_LINK_IPV4, (onlink,)),
        ("onlink6", bed.ON_LINK_IPV6, (onlink,)),
    ):
        suite = Suite(places, (chapters4 if places.family == 4 else chapters6).prelude)
        for one in chapters:
            one.generate(suite)
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in suite.cases)
        described = json.dumps(places.to_json(), indent=1)
        yield HERE / f"{name}.json", len(suite.cases), f'{{"bed": {described},\n"cases": [\n{lines}\n]}}\n'


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(f"usage: {sys.argv[0]} [--check]")
    for file, count, text in tables():
        if not sys.argv[1:]:
            file.write_text(text)
            print(f"{file.name}: {count} cases")
        elif not file.exists() or file.read_text() != text:
            sys.exit(f"{file} is out of date: run {__file__}")


if __name__ == "__main__":
    main()
