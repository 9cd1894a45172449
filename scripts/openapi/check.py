"""Judges docs/openapi.json by the JSON Schema that the OpenAPI initiative publishes for 3.1.

The schema takes any object for a schema, and sees no references: both are looked at here. Names in a path must be its
parameters. Documents that are broken on purpose must be refused: a check that lets one of them pass is no check, and fails.

    check.py DOCUMENT
"""

import copy
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match

# Of openapi-spec-validator only this file is used; what else it needs is not installed.
SPEC = Path(find_spec("openapi_spec_validator").submodule_search_locations[0]) / "resources/schemas/v3.1/schema.json"


def problems(document):
    """What is wrong with a document, one line each."""
    errors = Draft202012Validator(json.loads(SPEC.read_text())).iter_errors(document)
    found = [f"{'/'.join(map(str, error.absolute_path))}: {best_match([error]).message[:200]}" for error in errors]
    found += [text for ref in references(document) if (text := dangling(ref, document))]
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        found += unfit(name, schema)
    ids = []
    for path, item in document.get("paths", {}).items():
        get = item.get("get", {})
        ids.append(get.get("operationId"))
        named = [p.get("name") for p in get.get("parameters", []) if p.get("in") == "path"]
        if sorted(named) != sorted(re.findall(r"{([^}]*)}", path)):
            found.append(f"{path}: its names are not its parameters {named}")
        for parameter in get.get("parameters", []):
            found += unfit(f"{path} {parameter.get('name')}", parameter.get("schema"))
    if len(set(ids)) != len(ids):
        found.append("an operationId stands twice")
    return found


def unfit(name, schema):
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return [f"{name}: is no JSON Schema: {error.message[:200]}"]
    return []


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from references(one)


def dangling(ref, document):
    place = document if ref.startswith("#/") else None
    for part in ref[2:].split("/"):
        place = place.get(part) if isinstance(place, dict) else None
    return None if place is not None else f"{ref}: leads nowhere"


def broken(document):
    """The document with one fault each, and what the fault is."""

    def fault(name, change):
        copied = copy.deepcopy(document)
        path = "/v1/messages/{wamid}"
        change(copied, copied["paths"][path]["get"])
        return name, copied

    schemas = "google.rpc.Status"
    return [
        fault("a version that is none", lambda doc, get: doc.update(openapi="3.0.3")),
        fault("no title", lambda doc, get: doc["info"].pop("title")),
        fault("a member that the specification does not have", lambda doc, get: doc.update(routes={})),
        fault("a path without a slash", lambda doc, get: doc["paths"].update(v1={})),
        fault("a parameter that is nowhere", lambda doc, get: get["parameters"][0].update({"in": "body"})),
        fault("a name in the path that is no parameter", lambda doc, get: get["parameters"].pop(0)),
        fault("no answer", lambda doc, get: get.update(responses={})),
        fault("two operations of one name", lambda doc, get: get.update(operationId="ListTopics")),
        fault(
            "a type that JSON does not have",
            lambda doc, get: doc["components"]["schemas"][schemas].update(type="record"),
        ),
        fault("a schema that is not there", lambda doc, get: doc["components"]["schemas"].pop(schemas)),
    ]


def main():
    path = Path(sys.argv[1])
    document = json.loads(path.read_text())
    found = problems(document)
    for problem in found:
        print(f"{path}: {problem}", file=sys.stderr)
    faults = broken(document)
    unseen = [name for name, copied in faults if not problems(copied)]
    for name in unseen:
        print(f"the check is blind: {name} passes", file=sys.stderr)
    if found or unseen:
        return 1
    print(f"{path}: OpenAPI {document['openapi']}, {len(document['paths'])} paths, valid; {len(faults)} broken documents are refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
