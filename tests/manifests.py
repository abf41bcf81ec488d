"""Checks templates for OpenShift: each object, and the template, with the published schema of Kubernetes or OpenShift, and
what a schema cannot know: that parameters are declared and used, and that objects refer to objects that are there.

    python tests/manifests.py PACKAGE FILE...

PACKAGE is the archive of the npm package openshift-rest-client, which carries OpenShift's OpenAPI specification.
"""

import gzip
import json
import re
import sys
import tarfile

import jsonschema
import kubernetes_validate
import yaml

SPECIFICATION = "package/lib/specs/openshift-openapi-spec.json.gz"


def openshift_validators(package):
    """Returns a validator for each group, version and kind of OpenShift's specification."""
    with tarfile.open(package) as tar:
        definitions = json.loads(gzip.decompress(tar.extractfile(SPECIFICATION).read()))["definitions"]
    for name, definition in definitions.items():
        if definition.get("format") == "int-or-string":
            definition["type"] = ["integer", "string"]
        if name.endswith(".RawExtension"):
            # Any object; the fields of the definition are those of the server's own value.
            definitions[name] = {"type": "object"}
        elif "properties" in definition:
            # A field that is not in the specification is a mistake.
            definition["additionalProperties"] = False
        # What the cluster adds, it need not be given.
        required = [field for field in definition.get("required", []) if field not in ADDED.get(name.split(".")[-1], ())]
        definition["required"] = required
    validators = {}
    for name, definition in definitions.items():
        schema = {"$ref": f"#/definitions/{name}", "definitions": definitions}
        for known in definition.get("x-kubernetes-group-version-kind", []):
            kind = (f"{known['group']}/{known['version']}", known["kind"])
            validators[kind] = jsonschema.Draft4Validator(schema)
    return validators


# By type: fields that a server always answers with and fills in itself, which the specification calls required.
ADDED = {
    "BuildConfig": {"status"},
    "BuildConfigSpec": {"nodeSelector"},
    "ImageStream": {"status"},
    "Route": {"status"},
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


def check(template, validators):
    validators["template.openshift.io/v1", "Template"].validate(template)
    objects = filled(template)
    streams = {thing["metadata"]["name"] for thing in objects if thing["kind"] == "ImageStream"}
    names = [(thing["kind"], thing["metadata"]["name"]) for thing in objects]
    assert len(set(names)) == len(names), names
    builders = {parameter.get("value") for parameter in template["parameters"] if parameter["name"] == "BUILDER"}
    for thing in objects:
        kind, spec = thing["kind"], thing.get("spec", {})
        if "openshift" in thing["apiVersion"]:
            validators[thing["apiVersion"], kind].validate(thing)
        else:
            kubernetes_validate.validate(thing, "1.31", strict=True)
        for reference in references(spec):
            stream = reference["name"].split(":")[0]
            assert "namespace" in reference or stream in streams | builders, reference
        if kind == "Route":
            assert ("Service", spec["to"]["name"]) in names, spec
    yield from (kind for kind, _ in names)


def report(path, error):
    where = "/".join(str(part) for part in error.absolute_path)
    sys.exit(f"{path}: {where}: {error.message}")


def main():
    validators = openshift_validators(sys.argv[1])
    for path in sys.argv[2:]:
        with open(path, encoding="utf-8") as file:
            try:
                print(path, *check(yaml.safe_load(file), validators))
            except jsonschema.ValidationError as error:
                report(path, error)


main()
