"""Validates a Tekton Task and an Argo WorkflowTemplate: every field must be one of its type, and every parameter that is used
must be declared, and the reverse.

    python tests/kubernetes/pipelines.py TASK.yaml WORKFLOW-TEMPLATE.yaml

Argo's types, and those of containers, are the models of hera, which are generated from Argo's API. Tekton's are below: the
fields of tekton.dev/v1.
"""

import json
import re
import sys
from pathlib import Path

import yaml
from hera.workflows import models

TASK = {"apiVersion", "kind", "metadata", "spec"}
TASK_SPEC = {"description", "displayName", "params", "results", "sidecars", "stepTemplate", "steps", "volumes", "workspaces"}
PARAMETER = {"default", "description", "enum", "name", "properties", "type"}
WORKSPACE = {"description", "mountPath", "name", "optional", "readOnly"}
# A step has these besides fields of a container, of which it lacks the others.
STEP = {"computeResources", "onError", "params", "ref", "results", "script", "stderrConfig", "stdoutConfig", "timeout", "when"}
STEP |= {"workspaces"}
NOT_OF_STEP = {"lifecycle", "livenessProbe", "ports", "readinessProbe", "resources", "startupProbe"}
NOT_OF_STEP |= {"stdin", "stdinOnce", "terminationMessagePath", "terminationMessagePolicy", "tty"}


def unknown(given, known, path):
    """Yields the fields of `given` that did not get into `known`."""
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(known, dict) or key not in known:
                yield f"{path}.{key}: unknown field"
            else:
                yield from unknown(value, known[key], f"{path}.{key}")
    elif isinstance(given, list):
        for position, value in enumerate(given):
            yield from unknown(value, known[position], f"{path}[{position}]")


def decode(model, given, path):
    """Yields the errors of an object of a generated type."""
    try:
        known = model.model_validate(given)
    except ValueError as error:
        yield f"{path}: {error}"
        return
    yield from unknown(given, json.loads(known.model_dump_json(by_alias=True, exclude_none=True)), path)


def uses(thing, pattern, declared, path):
    """Yields the parameters that are used and not declared, or the reverse."""
    used = set(re.findall(pattern, json.dumps(thing)))
    for name in sorted(used ^ declared):
        yield f"{path}: the parameter {name} is {'not declared' if name in used else 'not used'}"


def task(document):
    def fields(given, allowed, path):
        yield from (f"{path}.{key}: unknown field" for key in given.keys() - allowed)

    if (document.get("apiVersion"), document.get("kind")) != ("tekton.dev/v1", "Task"):
        yield "not a Task of tekton.dev/v1"
        return
    spec = document["spec"]
    yield from fields(document, TASK, "")
    yield from fields(spec, TASK_SPEC, "spec")
    for kind, allowed in (("params", PARAMETER), ("workspaces", WORKSPACE)):
        for given in spec.get(kind, []):
            yield from fields(given, allowed, f"spec.{kind}")
        names = {given["name"] for given in spec.get(kind, [])}
        yield from uses(spec["steps"], rf"\$\({kind}\.([a-z]+)", names, "spec.steps")
    for step in spec["steps"]:
        path = f"spec.steps.{step['name']}"
        yield from fields({key: None for key in step.keys() & NOT_OF_STEP}, set(), path)
        container = {key: value for key, value in step.items() if key not in STEP}
        yield from decode(models.Container, container, path)
        resources = step.get("computeResources", {})
        yield from decode(models.ResourceRequirements, resources, f"{path}.computeResources")


def workflow_template(document):
    errors = list(decode(models.WorkflowTemplate, document, ""))
    if errors:
        yield from errors
        return
    spec = document["spec"]
    templates = {template["name"]: template for template in spec["templates"]}
    if spec["entrypoint"] not in templates:
        yield "spec.entrypoint: no such template"
    parameters = {it["name"] for it in spec["arguments"]["parameters"]}
    yield from uses(spec["templates"], r"\{\{workflow\.parameters\.([a-z]+)\}\}", parameters, "spec.templates")
    for name, template in templates.items():
        inputs = {it["name"] for it in template["inputs"]["parameters"]}
        yield from uses(template, r"\{\{inputs\.parameters\.([a-z]+)\}\}", inputs, f"spec.templates.{name}")


def main(paths):
    check = dict(zip(paths, (task, workflow_template), strict=True))
    errors = [f"{path}: {error}" for path in paths for error in check[path](yaml.safe_load(Path(path).read_text()))]
    if errors:
        sys.exit("\n".join(errors))
    for path in paths:
        print(path, "is valid")


main(sys.argv[1:])
