"""Checks templates for OpenShift: each object with the published schema of Kubernetes if it has one, and what a schema
cannot know: that parameters are declared and used, and that objects refer to objects that are there.

    python tests/manifests.py FILE...
"""

import json
import re
import sys

import kubernetes_validate
import yaml

# Kinds of OpenShift's own, for which Kubernetes publishes no schema: the fields that their specifications may have.
OWN = {
    "ImageStream": {"lookupPolicy", "tags", "dockerImageRepository"},
    "BuildConfig": {"source", "strategy", "output", "triggers", "runPolicy", "resources", "nodeSelector", "postCommit"},
    "Route": {"host", "path", "to", "port", "tls", "wildcardPolicy", "alternateBackends"},
}


def filled(template):
    """Returns the objects of a template with its parameters filled in."""
    values = {parameter["name"]: parameter.get("value", "value") for parameter in template["parameters"]}
    text = json.dumps(template["objects"])
    used = set(re.findall(r"\$\{(\w+)\}", text))
    assert used == set(values), f"declared or used alone: {sorted(used ^ set(values))}"
    return json.loads(re.sub(r"\$\{(\w+)\}", lambda match: values[match.group(1)], text))


def references(value):
    """Yields every reference to an image in a value."""
    if isinstance(value, dict):
        if value.get("kind") == "ImageStreamTag":
            yield value
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def check(template):
    assert (template["apiVersion"], template["kind"]) == ("template.openshift.io/v1", "Template")
    objects = filled(template)
    streams = {thing["metadata"]["name"] for thing in objects if thing["kind"] == "ImageStream"}
    names = [(thing["kind"], thing["metadata"]["name"]) for thing in objects]
    assert len(set(names)) == len(names), names
    builders = {parameter.get("value") for parameter in template["parameters"] if parameter["name"] == "BUILDER"}
    for thing in objects:
        kind, spec = thing["kind"], thing.get("spec", {})
        if kind in OWN:
            assert set(spec) <= OWN[kind], f"{kind}: {sorted(set(spec) - OWN[kind])}"
        else:
            kubernetes_validate.validate(thing, "1.31", strict=True)
        for reference in references(spec):
            stream = reference["name"].split(":")[0]
            assert "namespace" in reference or stream in streams | builders, reference
        if kind == "Route":
            assert ("Service", spec["to"]["name"]) in names, spec
    yield from (kind for kind, _ in names)


def main():
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            print(path, *check(yaml.safe_load(file)))


main()
