"""Judges schemas/asyncapi.json by the JSON Schema that the AsyncAPI initiative publishes for its version.

The schema sees no references, so these are followed here: to a file beside the document, which has to be a JSON Schema of
its own draft, or to a place inside it. Documents that are broken on purpose must be refused: a check that lets one of them
pass is no check, and fails.

    check.py SCHEMAS_OF_THE_SPEC DOCUMENT
"""

import copy
import json
import sys
from pathlib import Path

from jsonschema import validators
from jsonschema.exceptions import SchemaError, best_match


def problems(specs: Path, document, folder: Path):
    """What is wrong with a document, one line each."""
    version = document.get("asyncapi")
    spec = specs / f"{version}.json"
    if not isinstance(version, str) or not spec.is_file():
        return [f"asyncapi: {version!r} is no version that the specification has"]
    schema = json.loads(spec.read_text())
    # Where a value may be one of several things, the nearest of them says best what is wrong.
    errors = [best_match([error]) for error in validators.validator_for(schema)(schema).iter_errors(document)]
    found = [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]
    return found + [text for ref in references(document) if (text := dangling(ref, document, folder))]


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from references(one)


def dangling(ref: str, document, folder: Path):
    """Why a reference leads nowhere, or to what is no schema."""
    if not ref.startswith("#/"):
        path = folder / ref
        if not path.is_file():
            return f"{ref}: there is no such file"
        schema = json.loads(path.read_text())
        try:
            validators.validator_for(schema, default=None).check_schema(schema)
        except (AttributeError, SchemaError) as error:
            return f"{ref}: is no JSON Schema of a known draft: {error}"
        return None
    place = document
    for part in ref[2:].split("/"):
        place = place.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(place, dict) else None
    return None if place is not None else f"{ref}: leads nowhere"


def broken(document):
    """The document with one fault each, and what the fault is."""

    def fault(name, change):
        copied = copy.deepcopy(document)
        change(copied, next(iter(copied["channels"].values())), next(iter(copied["operations"].values())))
        return name, copied

    return [
        fault("a version that does not exist", lambda doc, channel, operation: doc.update(asyncapi="3.9.0")),
        fault("no title", lambda doc, channel, operation: doc["info"].pop("title")),
        fault("a member that the specification does not have", lambda doc, channel, operation: doc.update(topics={})),
        fault("an address that is no text", lambda doc, channel, operation: channel.update(address=7)),
        fault("an action that is none", lambda doc, channel, operation: operation.update(action="subscribe")),
        fault("an operation without a channel", lambda doc, channel, operation: operation.pop("channel")),
        fault(
            "a cleanup policy that Kafka does not have",
            lambda doc, channel, operation: channel["bindings"]["kafka"]["topicConfiguration"].update(
                {"cleanup.policy": ["shred"]}
            ),
        ),
        fault(
            "a payload that is no schema",
            lambda doc, channel, operation: channel["messages"]["record"].update(payload=[]),
        ),
        fault(
            "a channel that is not there",
            lambda doc, channel, operation: operation.update(channel={"$ref": "#/channels/nobody"}),
        ),
        fault(
            "a schema that is not there",
            lambda doc, channel, operation: channel["messages"]["record"]["payload"]["schema"].update(
                {"$ref": "./nobody.json"}
            ),
        ),
    ]


def main():
    specs, path = Path(sys.argv[1]), Path(sys.argv[2])
    document = json.loads(path.read_text())
    found = problems(specs, document, path.parent)
    for problem in found:
        print(f"{path}: {problem}", file=sys.stderr)
    faults = broken(document)
    unseen = [name for name, copied in faults if not problems(specs, copied, path.parent)]
    for name in unseen:
        print(f"the check is blind: {name} passes", file=sys.stderr)
    if found or unseen:
        return 1
    channels = len(document["channels"])
    print(
        f"{path}: AsyncAPI {document['asyncapi']}, {channels} channels, valid; {len(faults)} broken documents are refused"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
