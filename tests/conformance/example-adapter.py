#!/usr/bin/env python3
"""An adapter as docs/conformance.md describes it: Linux with iptables' SNAT and DNAT, IPv4 only,
with a pool that is routed to it.

    cargo xtask conformance --adapter tests/conformance/example-adapter.py
"""

import json
import pathlib
import subprocess
import sys

NOT_DONE = 3


def run(words):
    subprocess.run(words.split(), check=True)


def sysctl(name, value):
    pathlib.Path("/proc/sys/net/ipv4", name).write_text(value)


def start(world):
    sysctl("ip_forward", "1")
    sysctl("icmp_ratelimit", "0")
    gateway = world["network_gateway"]
    for guest in world["guests"]:
        # It has no such mode, and one network.
        if guest["mode"] == "cut-through" or guest["vpc"] != "v":
            continue
        port, private, public = guest["port"], guest["private"], guest["public"]
        sysctl(f"conf/{port}/send_redirects", "0")
        run(f"ip address add {gateway}/32 dev {port}")
        run(f"ip route add {private} dev {port} src {gateway}")
        run(f"ip neighbour replace {private} lladdr {guest['mac']} dev {port} nud permanent")
        if guest["mode"] == "nat":
            run(f"iptables-legacy -w -t nat -A PREROUTING -d {public} -j DNAT --to-destination {private}")
            run(f"iptables-legacy -w -t nat -A POSTROUTING -o up0 -s {private} -j SNAT --to-source {public}")
        else:
            run(f"iptables-legacy -w -A FORWARD -o up0 -s {private} -j DROP")
    run(f"ip route add blackhole {world['pool']}")


def main():
    verb, file = sys.argv[1:]
    world = json.loads(pathlib.Path(file).read_text())
    # All of it goes with the namespace: there is nothing to stop.
    if verb == "start":
        if world["family"] != 4 or world["neighbours"]:
            sys.exit(NOT_DONE)
        start(world)


if __name__ == "__main__":
    main()
