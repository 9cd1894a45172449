#!/usr/bin/env python3
"""Checks what promtool does not ask of alerts and dashboards: `check_rules.py PROMTOOL`.

Every alert has a case in which it fires and one in which it does not, says how urgent it is and where the runbook has it.
Every panel of a dashboard has a query that Prometheus can read, a place of its own, and links that lead somewhere. That the
metrics in all of these exist is a test of the binary (tests/it/docs.rs). What is wrong is printed, all of it.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from ruamel.yaml import YAML

HERE = pathlib.Path(__file__).parent
DASHBOARDS = HERE / "grafana" / "dashboards"
RULES = HERE / "prometheus" / "alerts.yaml"
CASES = HERE / "prometheus" / "alerts.test.yaml"
# Grafana puts a duration and the choice of the reader here.
VARIABLES = {"$__rate_interval": "5m", "$partition": ".*"}
wrong = []


def complain(place, what):
    wrong.append(f"{place}: {what}")


def load(path):
    return YAML(typ="safe").load(path)


def check_alerts():
    rules = [rule for group in load(RULES)["groups"] for rule in group["rules"]]
    cases = [case for test in load(CASES)["tests"] for case in test["alert_rule_test"]]
    for rule in rules:
        name = rule["alert"]
        of_it = [case for case in cases if case["alertname"] == name]
        if not any(case["exp_alerts"] for case in of_it):
            complain(name, "no case in which it fires")
        if not any(not case["exp_alerts"] for case in of_it):
            complain(name, "no case in which it does not fire")
        if rule.get("labels", {}).get("severity") not in ("page", "ticket"):
            complain(name, "its severity is neither page nor ticket")
        if rule["annotations"].get("runbook_url") != f"docs/runbook.md#{name.lower()}":
            complain(name, "its runbook_url is not its section")
    names = [rule["alert"] for rule in rules]
    for case in cases:
        if case["alertname"] not in names:
            complain(CASES.name, f"there is no alert {case['alertname']}")
    if len(set(names)) != len(names):
        complain(RULES.name, "two alerts have one name")


def overlap(one, other):
    apart = lambda at, size: one[at] + one[size] <= other[at] or other[at] + other[size] <= one[at]
    return not apart("x", "w") and not apart("y", "h")


def check_dashboard(path, uids):
    """Returns its queries, each with where it stands."""
    board = json.loads(path.read_text())
    if board["uid"] != path.stem:
        complain(path.name, f"its uid is {board['uid']}")
    for link in board["links"]:
        if link["url"].removeprefix("/d/") not in uids:
            complain(path.name, f"a link leads to {link['url']}")
    panels, queries = board["panels"], []
    if len({panel["id"] for panel in panels}) != len(panels):
        complain(path.name, "two panels have one id")
    for at, panel in enumerate(panels):
        place = f"{path.name}: {panel['title']}"
        for other in panels[at + 1 :]:
            if overlap(panel["gridPos"], other["gridPos"]):
                complain(place, f"lies on {other['title']}")
        targets = panel.get("targets", [])
        if not targets and panel["type"] != "row":
            complain(place, "shows nothing")
        queries += [(place, target["expr"]) for target in targets]
    return queries + [(f"{path.name}: {note['name']}", note["expr"]) for note in board["annotations"]["list"]]


def check_queries(promtool, queries):
    """promtool reads rules, so each query becomes one."""
    rules = []
    for at, (_, query) in enumerate(queries):
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)
        rules.append({"record": f"query:{at}", "expr": query})
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        # JSON is YAML.
        json.dump({"groups": [{"name": "queries", "rules": rules}]}, file)
        file.flush()
        checked = subprocess.run([promtool, "check", "rules", file.name], capture_output=True, text=True)
    if checked.returncode != 0:
        said = checked.stdout + checked.stderr
        named = [place for at, (place, _) in enumerate(queries) if f'"query:{at}"' in said]
        complain(", ".join(named) or "dashboards", said.strip())


def main():
    check_alerts()
    paths = sorted(DASHBOARDS.glob("*.json"))
    uids = [path.stem for path in paths]
    queries = [query for path in paths for query in check_dashboard(path, uids)]
    if len(queries) < 60:
        complain("dashboards", f"only {len(queries)} queries were found")
    check_queries(sys.argv[1], queries)
    for line in wrong:
        print(f"docker: {line}", file=sys.stderr)
    if not wrong:
        print(f"docker: {len(queries)} queries of {len(paths)} dashboards can be read")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
