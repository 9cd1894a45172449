#!/usr/bin/env python3
"""Sums up the parts of docs/soak.md that `make soak-sim` wrote, "Simulated worlds from seed N", in one part.

What each run was stays: its seeds, day, commit and minutes. Parts that overlap are an error. "Simulated worlds of earlier
commits" stays as it is: its columns are others.
"""

import pathlib
import re
import sys

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs/soak.md"
HEADING = "Simulated worlds"
COLUMNS = """\
`attempted` counts throws of the dice for a fault, `landed` those with an effect. What was only seen was not attempted. `lost` and
`twice` are worlds in which it happened and a law saw something missing or repeated. A run in which any law is broken is not here."""
RUN = re.compile(r"Run of (\S+), commit (.+), (\d+) cores, (\d+) minutes\.")
SEEDS = re.compile(r"simulated worlds, seeds (\d+) to (\d+)")
ROW = re.compile(r"\| (.+?) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|")
DONE = re.compile(r"\| (\d+) to (\d+) \| (\S+) \| (.+) \| (\d+) \|")


def main():
    first, *parts = re.split(r"(?m)^## ", PAGE.read_text())
    others, runs, sums = [], [], {}
    for part in parts:
        heading, _, text = part.partition("\n")
        if heading != HEADING and not heading.startswith(f"{HEADING} from seed "):
            others.append(f"## {part.rstrip()}\n")
            continue
        runs += [(int(a), int(b), *rest) for a, b, *rest in DONE.findall(text)]
        if run := RUN.search(text):
            (begin, end), (day, commit, _, minutes) = SEEDS.search(text).groups(), run.groups()
            runs.append((int(begin), int(end), day, commit, minutes))
        for name, *numbers in ROW.findall(text):
            name = "simulated worlds" if SEEDS.match(name) else name
            before = sums.get(name, [0] * 4)
            sums[name] = [a + int(b) for a, b in zip(before, numbers)]
    if not runs:
        sys.exit(f"soak: {PAGE.name} has no part of simulated worlds")
    runs.sort()
    for before, after in zip(runs, runs[1:]):
        if after[0] <= before[1]:
            sys.exit(f"soak: seeds {after[0]} to {before[1]} are in two parts")
    if sums["simulated worlds"][0] != sum(end - begin + 1 for begin, end, *_ in runs):
        sys.exit("soak: the sum of worlds is not that of the seeds")
    lines = [f"## {HEADING}", "", COLUMNS, "", "| seeds | run of | commit | minutes |", "|---|---|---|---:|"]
    lines += [f"| {a} to {b} | {day} | {commit} | {minutes} |" for a, b, day, commit, minutes in runs]
    lines += ["", "| command | attempted | landed | lost | twice |", "|---|---:|---:|---:|---:|"]
    rows = sorted(sums.items(), key=lambda row: (row[0] != "simulated worlds", row[0]))
    lines += [f"| {name} | {' | '.join(map(str, numbers))} |" for name, numbers in rows]
    PAGE.write_text("\n".join([first.rstrip() + "\n", *others, "\n".join(lines) + "\n"]))
    print(f"soak: {len(runs)} parts, {sums['simulated worlds'][0]} worlds")


main()
