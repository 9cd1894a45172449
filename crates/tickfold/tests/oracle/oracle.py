#!/usr/bin/env python3
"""A second opinion on message state.

Reads the raw topic as `tickfold tail wa.webhook.raw.v1 --from-beginning --until-end -o jsonl` prints it, on standard
input, and prints one JSON line per message, sorted by wamid: the earliest time of each status, in seconds, and the
state to show.

Written from Meta's documentation alone. It shares no code, no library and no rule of thumb with the Rust side, so that
the two can only agree by both being right. It knows four statuses and nothing of partitions, positions, log time,
conversations, participants or errors: it looks at every webhook in whatever order, and forgets how often it saw it.
"""

import base64
import json
import sys

# From the least to the most that a status proves. A failure hides that it was sent, since that is what the sender has
# to know; whoever received or read it proves that the failure was none.
PROVES = ["sent", "failed", "delivered", "read"]


def bodies(lines):
    """Decoded webhooks; control records and bodies that are no JSON are nothing to us."""
    for line in lines:
        record = json.loads(line)
        if record["headers"].get("wa-kind") != "webhook":
            continue
        try:
            yield json.loads(base64.b64decode(record["value_base64"], validate=True))
        except ValueError:
            continue


def members(value, name):
    """The objects in the list `name` of an object; empty when anything is of another shape."""
    found = value.get(name) if isinstance(value, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def statuses(body):
    """(wamid, status, seconds) of every status that is one."""
    if not isinstance(body, dict) or body.get("object") != "whatsapp_business_account":
        return
    for entry in members(body, "entry"):
        for change in members(entry, "changes"):
            if change.get("field") != "messages":
                continue
            for status in members(change.get("value"), "statuses"):
                wamid, word, time = (status.get(name) for name in ("id", "status", "timestamp"))
                if isinstance(wamid, str) and wamid and word in PROVES:
                    yield wamid, word, int(time)


def main():
    earliest = {}
    for body in bodies(sys.stdin):
        for wamid, word, time in statuses(body):
            times = earliest.setdefault(wamid, {})
            times[word] = min(time, times.get(word, time))
    for wamid, times in sorted(earliest.items()):
        row = {"wamid": wamid, "state": max(times, key=PROVES.index)}
        row.update({f"{word}_time": times[word] for word in PROVES if word in times})
        print(json.dumps(row))


if __name__ == "__main__":
    main()
