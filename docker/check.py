#!/usr/bin/env python3
"""Checks the compose files against the binary, without a container engine: `check.py BINARY`.

Each service of ours has a command that the binary has, flags that this command has, and settings that `tickfold config`
reads and shows as they are written; nothing listens where others reach it; health checks and Prometheus ask the admin
listener that is there; a stop is not cut short, and one that hangs ends; images are pinned, files that are mounted exist.
What is wrong is printed, all of it.
"""

import os
import pathlib
import re
import subprocess
import sys

from ruamel.yaml import YAML

HERE = pathlib.Path(__file__).parent
LOOPBACK = "127.0.0.1:"
# Seconds of a stop beside the drains; node.rs has them.
STOP_REST = 30
wrong = []


def complain(place, what):
    wrong.append(f"{place}: {what}")


def run(binary, *arguments, **variables):
    # Nothing of whoever runs the check.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TICKFOLD_")}
    ended = subprocess.run([binary, *arguments], env=environment | variables, capture_output=True, text=True)
    return ended.returncode, ended.stdout, ended.stderr.strip()


def check_service(binary, place, service, secrets):
    """Returns its listeners: by flag, the address."""
    subcommand, *arguments = service["command"]
    code, usage, _ = run(binary, subcommand, "--help")
    if code != 0:
        complain(place, f"there is no command `tickfold {subcommand}`")
        return {}
    for argument in arguments:
        flag = argument.split("=")[0]
        if not re.search(rf"(^|[ ,]){re.escape(flag)}([ =,]|$)", usage, re.MULTILINE):
            complain(place, f"`tickfold {subcommand}` has no flag {flag}")
    listeners = {flag: address for flag, _, address in (a.partition("=") for a in arguments) if flag.endswith("-addr")}
    for flag, address in listeners.items():
        if not address.startswith(LOOPBACK):
            complain(place, f"{flag}={address} is not on loopback")

    variables = dict(service.get("environment", {}))
    code, shown, error = run(binary, "config", *arguments, **variables)
    if code != 0:
        complain(place, error)
        return listeners
    documented = usage + run(binary, "up", "--help")[1] + run(binary, "config", "--defaults")[1]
    for name, value in variables.items():
        line = next((line for line in shown.splitlines() if line.endswith(f"# environment variable {name}")), None)
        if line is not None:
            if line.split("  #")[0].split(" = ", 1)[1].strip('"') != value:
                complain(place, f"{name} is {value}, and tickfold reads {line}")
        elif name not in documented:
            complain(place, f"tickfold knows no {name}")
        elif name.endswith("_FILE") and value.removeprefix("/run/secrets/") not in service.get("secrets", []):
            complain(place, f"{name} names {value}, which is no secret of the service")
    for secret in service.get("secrets", []):
        if secret not in secrets:
            complain(place, f"there is no secret {secret}")

    if service.get("init") is not True:
        complain(place, "without init: true it cannot kill itself when its stop hangs")
    drains = [int(seconds) for seconds in re.findall(r'^drain_limit = "(\d+)s"', shown, re.MULTILINE)]
    grace = int(service["stop_grace_period"].removesuffix("s"))
    if len(drains) != 2 or grace <= sum(drains) + STOP_REST:
        complain(place, f"a stop may take {sum(drains) + STOP_REST} s, and is cut short after {grace} s")

    health = " ".join(service["healthcheck"]["test"])
    admin = listeners.get("--admin-addr", "").removeprefix(LOOPBACK)
    if f"/dev/tcp/127.0.0.1/{admin} " not in health:
        complain(place, f"its health check does not ask the admin listener, port {admin}")
    return listeners


def check_file(binary, path):
    """Returns the admin addresses of its services."""
    compose = YAML(typ="safe").load(path)
    volumes, secrets = compose.get("volumes", {}), compose.get("secrets", {})
    taken, admins = {}, []
    for name, service in compose["services"].items():
        place = f"{path.name}: {name}"
        if service["image"] == "tickfold":
            listeners = check_service(binary, place, service, secrets)
            admins += [address for flag, address in listeners.items() if flag == "--admin-addr"]
            for address in listeners.values():
                if taken.setdefault(address, name) != name:
                    complain(place, f"{address} is taken by {taken[address]}")
        elif not re.search(r":v?\d+\.\d+\.\d+$", service["image"]):
            complain(place, f"{service['image']} is not pinned to a version")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                if not (HERE / source).exists():
                    complain(place, f"{source} does not exist")
            elif source not in volumes:
                complain(place, f"there is no volume {source}")
    return admins


def check_targets(path, admins):
    """Prometheus asks every admin listener of the compose file, and nothing else."""
    jobs = YAML(typ="safe").load(path)["scrape_configs"]
    targets = sorted(target for job in jobs for group in job["static_configs"] for target in group["targets"])
    if targets != sorted(admins):
        complain(path.name, f"scrapes {targets}, the admin listeners are {sorted(admins)}")


def main():
    binary = sys.argv[1]
    check_file(binary, HERE / "compose.yaml")
    check_targets(HERE / "prometheus" / "prometheus.yaml", check_file(binary, HERE / "compose.kafka.yaml"))
    for line in wrong:
        print(f"docker: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
