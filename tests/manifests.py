"""Validates OpenShift templates like the API server, with strict decoding and its validation rules, and across templates:
parameters must be declared and used, and references must lead to existing objects.

    python tests/manifests.py TEMPLATE...                   list the objects, or all errors
    python tests/manifests.py --broken CASES TEMPLATE...    apply each edit of CASES and compare the error
    python tests/manifests.py --documented FILE TEMPLATE... validate each `oc process` of a Markdown file

The fields of each type are in manifest-types.txt. The rules are those of ValidateBuildConfig, ValidateImageStream and
ValidateRoute of openshift-apiserver, and of Kubernetes 1.34, for what these templates use.
"""

import copy
import json
import posixpath
import re
import shlex
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import yaml

TYPES = {}
for line in Path(__file__).with_name("manifest-types.txt").read_text().splitlines():
    if not line.startswith("#"):
        name, _, fields = line.partition(": ")
        TYPES[name] = dict(field.split(" ") for field in fields.split(", "))

GROUPS = {
    "Template": "template.openshift.io/v1",
    "BuildConfig": "build.openshift.io/v1",
    "ImageStream": "image.openshift.io/v1",
    "Route": "route.openshift.io/v1",
    "Deployment": "apps/v1",
    "Service": "v1",
    "PersistentVolumeClaim": "v1",
}

LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
QUALIFIED = rf"({SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?"
LABEL_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
RELATIVE = r"(?!/)(?!\.\.(/|$)).+"
PORT = r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?"
TAG = r"[a-z0-9]+([._-]+[a-z0-9]+)*:[\w][\w.-]{0,127}"

# Required fields, which must not be empty.
REQUIRED = {
    "BuildStrategy": "type",
    "BuildTriggerPolicy": "type",
    "BuildVolume": "name source mounts",
    "BuildVolumeMount": "destinationPath",
    "BuildVolumeSource": "type",
    "ConfigMapBuildSource": "configMap",
    "Container": "name image",
    "ContainerPort": "containerPort",
    "DeploymentSpec": "selector template",
    "EnvVar": "name",
    "GitBuildSource": "uri",
    "HTTPGetAction": "path port",
    "HTTPHeader": "name",
    "ImageLabel": "name",
    "ImageSource": "from",
    "ImageSourcePath": "sourcePath destinationDir",
    "LocalObjectReference": "name",
    "ObjectReference": "kind name",
    "Parameter": "name",
    "PersistentVolumeClaimSpec": "accessModes resources",
    "PersistentVolumeClaimVolumeSource": "claimName",
    "PodSpec": "containers",
    "RoutePort": "targetPort",
    "RouteSpec": "to",
    "RouteTargetReference": "kind name",
    "SecretBuildSource": "secret",
    "SecretEnvSource": "name",
    "SecretKeySelector": "name key",
    "SecretLocalReference": "name",
    "SecretVolumeSource": "secretName",
    "ServicePort": "port",
    "ServiceSpec": "ports",
    "SourceBuildStrategy": "from",
    "TCPSocketAction": "port",
    "Volume": "name",
    "VolumeMount": "name mountPath",
}

# The permitted values of a field, or a pattern.
ALLOWED = {
    "BuildConfigSpec.runPolicy": "Parallel|Serial|SerialLatestOnly",
    "BuildTriggerPolicy.type": "GitHub|GitLab|Bitbucket|Generic|ImageChange|ConfigChange",
    "BuildVolume.name": LABEL,
    "BuildVolumeMount.destinationPath": r"/[^:]*",
    "BuildVolumeSource.type": "Secret|ConfigMap|CSI",
    "Capabilities.drop": r"[A-Z_]+",
    "Container.imagePullPolicy": "Always|IfNotPresent|Never",
    "Container.name": LABEL,
    "ContainerPort.name": PORT,
    "ContainerPort.protocol": "TCP|UDP|SCTP",
    "DeploymentStrategy.type": "Recreate|RollingUpdate",
    "EnvVar.name": r"[-._a-zA-Z][-._a-zA-Z0-9]*",
    "HTTPGetAction.scheme": "HTTP|HTTPS",
    "HTTPHeader.name": r"[-A-Za-z0-9]+",
    "ImageLabel.name": QUALIFIED,
    "ImageSourcePath.destinationDir": RELATIVE,
    "ImageSourcePath.sourcePath": r"/.*",
    "ObjectMeta.name": SUBDOMAIN,
    "Parameter.name": r"[a-zA-Z0-9_]+",
    "PersistentVolumeClaimSpec.accessModes": "ReadWriteOnce|ReadOnlyMany|ReadWriteMany|ReadWriteOncePod",
    "RouteSpec.host": SUBDOMAIN,
    "RouteTargetReference.kind": "Service",
    "SeccompProfile.type": "RuntimeDefault|Unconfined|Localhost",
    "SecretBuildSource.destinationDir": r"(?!\.\.(/|$)).*",
    "SecretVolumeSource.secretName": SUBDOMAIN,
    "ServicePort.name": LABEL,
    "TLSConfig.insecureEdgeTerminationPolicy": "None|Allow|Redirect|",
    "TLSConfig.termination": "edge|passthrough|reencrypt",
    "Volume.name": LABEL,
    "VolumeMount.mountPath": r"[^:]+",
}

# The minimum and maximum number of some fields in a value.
HANDLERS = ["exec", "grpc", "httpGet", "tcpSocket"]
STRATEGIES = ["customStrategy", "dockerStrategy", "jenkinsPipelineStrategy", "sourceStrategy"]
COUNTS = {
    "BuildPostCommitSpec": (["script", "command"], 0, 1),
    "BuildSource": (["git", "binary"], 0, 1),
    "BuildStrategy": (STRATEGIES, 1, 1),
    "BuildVolumeSource": (["secret", "configMap", "csi"], 1, 1),
    "ImageSource": (["paths", "as"], 1, 2),
    "Probe": (HANDLERS, 1, 1),
    "Volume": ([field for field in TYPES["Volume"] if field != "name"], 1, 1),
    "WebHookTrigger": (["secret", "secretReference"], 1, 2),
}

SCALARS = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "quantity": (str, int, float),
    "int-or-string": (str, int),
    "object": dict,
}


class Loader(yaml.SafeLoader):
    """Rejects duplicate keys, like strict decoding."""

    def construct_mapping(self, node, deep=False):
        # A merge key (<<) may contain keys of the mapping.
        keys = Counter(key.value for key, _ in node.value)
        twice = [key for key, count in keys.items() if count > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {twice[0]}", node.start_mark)
        return super().construct_mapping(node, deep)


def process(template, values):
    """Returns the objects of a template like `oc process`. A value of `${{NAME}}` is JSON, or else a string; null
    removes the field."""
    removed = object()

    def fill(value):
        if isinstance(value, dict):
            filled = {fill(key): fill(inner) for key, inner in value.items()}
            return {key: inner for key, inner in filled.items() if inner is not removed}
        if isinstance(value, list):
            return [fill(inner) for inner in value]
        if not isinstance(value, str):
            return value
        whole = re.fullmatch(r"\$\{\{(\w+)\}\}", value)
        if whole and whole[1] in values:
            try:
                value = json.loads(values[whole[1]])
            except ValueError:
                return values[whole[1]]
            return removed if value is None else value
        return re.sub(r"\$\{(\w+)\}", lambda match: values.get(match[1], match[0]), value)

    objects = fill(template["objects"])
    for thing in objects:
        labels = thing["metadata"].setdefault("labels", {})
        labels.update(fill(template.get("labels", {})))
    return objects


def decode(value, kind, path):
    """Yields the errors of a value of a type: unknown fields, wrong types, and violations of the tables above."""
    if kind.startswith(("[]", "{}")):
        wanted, inner = (list, kind[2:]) if kind[0] == "[" else (dict, kind[2:])
        if not isinstance(value, wanted):
            yield f"{path}: must be {'a list' if wanted is list else 'an object'}"
            return
        for key, item in enumerate(value) if wanted is list else value.items():
            yield from decode(item, inner, f"{path}[{key}]")
    elif kind in TYPES:
        if not isinstance(value, dict):
            yield f"{path}: must be an object"
            return
        fields = TYPES[kind]
        for field in REQUIRED.get(kind, "").split():
            if value.get(field) in (None, "", [], {}):
                yield f"{path}.{field}: required value"
        names, least, most = COUNTS.get(kind, ([], 0, 0))
        if not least <= sum(field in value for field in names) <= most:
            yield f"{path}: must have {least} to {most} of {', '.join(names)}"
        for field, inner in value.items():
            if field not in fields:
                yield f"{path}.{field}: unknown field"
                continue
            yield from decode(inner, fields[field], f"{path}.{field}")
            allowed = ALLOWED.get(f"{kind}.{field}")
            for item in inner if isinstance(inner, list) else [inner]:
                if allowed and isinstance(item, str) and item and not re.fullmatch(allowed, item):
                    yield f"{path}.{field}: invalid value {item!r}"
    elif not isinstance(value, SCALARS[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{path}: must be of type {kind}"
    elif kind == "quantity" and not re.fullmatch(r"[0-9.]+([KMGTP]i|[numkMGTP])?", str(value)):
        yield f"{path}: must be a quantity"


def walk(value):
    """Yields every object inside a value."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from walk(inner)


def image_streams(value):
    """Yields the references to image streams inside a value."""
    return (it for it in walk(value) if it.get("kind") == "ImageStreamTag" and "name" in it)


def build_config(spec):
    """Yields violations of ValidateBuildConfig beyond single fields, hooks that OpenShift cannot quote, and inputs
    that are not uploaded."""
    source, strategy = spec.get("source", {}), spec.get("strategy", {})
    if strategy.get("type", "").lower() + "Strategy" not in strategy:
        yield "spec.strategy.type: there is no strategy of this type"
    if source.get("type", "").lower() not in source:
        yield "spec.source.type: there is no source of this type"
    uri = source.get("git", {}).get("uri", "")
    if uri and not (urlsplit(uri).scheme or "@" in uri):
        yield f"spec.source.git.uri: invalid value {uri!r}"
    context = posixpath.normpath(source.get("contextDir") or ".")
    for position, image in enumerate(source.get("images", [])):
        for number, place in enumerate(image.get("paths", [])):
            # OpenShift copies it to the root of the inputs, but s2i uploads only contextDir.
            destination = posixpath.normpath(place["destinationDir"])
            if context != "." and not f"{destination}/".startswith(f"{context}/"):
                yield f"spec.source.images[{position}].paths[{number}].destinationDir: is not below contextDir"
    script = spec.get("postCommit", {}).get("script", "")
    if re.search(r"['\n]", script):
        yield "spec.postCommit.script: OpenShift puts it between single quotes on one line of a Dockerfile"
    labels = [label.get("name") for label in spec.get("output", {}).get("imageLabels", [])]
    if len(set(labels)) < len(labels):
        yield "spec.output.imageLabels: duplicate name"
    inputs = [it["from"] for it in strategy.values() if isinstance(it, dict) and "from" in it]
    watched = []
    for position, trigger in enumerate(spec.get("triggers", [])):
        path = f"spec.triggers[{position}]"
        kind = trigger.get("type", "")
        member = "imageChange" if kind == "ImageChange" else kind.lower()
        if kind not in ("ImageChange", "ConfigChange") and member not in trigger:
            yield f"{path}.{member}: required value"
        if kind not in ("ImageChange", "ConfigChange", "Generic") and trigger.get(member, {}).get("allowEnv"):
            yield f"{path}.{member}.allowEnv: webhooks of Git cannot allow variables"
        if kind == "ImageChange":
            image = trigger.get("imageChange", {}).get("from") or (inputs or [{}])[0]
            if image.get("kind") != "ImageStreamTag":
                yield f"{path}.imageChange: must refer to an ImageStreamTag"
            if image in watched:
                yield f"{path}.imageChange: another trigger refers to the same image"
            watched.append(image)
    for image in image_streams(spec):
        if not re.fullmatch(TAG, image["name"]):
            yield f"spec: {image['name']!r} is not NAME:TAG of an image stream"


def deployment(spec):
    """Yields violations of Kubernetes rules beyond single fields, and probes that cannot succeed."""
    selector = spec.get("selector", {}).get("matchLabels", {})
    template = spec.get("template", {})
    labels = template.get("metadata", {}).get("labels", {})
    if not selector or not selector.items() <= labels.items():
        yield "spec.selector: does not match the labels of the template"
    strategy = spec.get("strategy", {})
    if strategy.get("type") == "Recreate" and "rollingUpdate" in strategy:
        yield "spec.strategy.rollingUpdate: may not be specified with Recreate"
    pod = template.get("spec", {})
    containers, volumes = pod.get("containers", []), pod.get("volumes", [])
    for names in (containers, volumes):
        if len({it.get("name") for it in names}) < len(names):
            yield "spec.template.spec: duplicate name"
    for position, container in enumerate(containers):
        path = f"spec.template.spec.containers[{position}]"
        mounts = container.get("volumeMounts", [])
        for mount in mounts:
            if mount.get("name") not in {volume.get("name") for volume in volumes}:
                yield f"{path}.volumeMounts: there is no volume {mount.get('name')}"
        if len({mount.get("mountPath") for mount in mounts}) < len(mounts):
            yield f"{path}.volumeMounts: two volumes in one place"
        hosts = [it.get("value", "").split(",") for it in container.get("env", []) if it.get("name") == "ALLOWED_HOSTS"]
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(kind, {})
            headers = {it["name"]: it.get("value") for it in probe.get("httpGet", {}).get("httpHeaders", [])}
            if hosts and "httpGet" in probe and headers.get("Host") not in hosts[0]:
                yield f"{path}.{kind}: the application refuses the host {headers.get('Host')}"
            if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
                yield f"{path}.{kind}.successThreshold: must be 1"
            if any(isinstance(it, int) and it < 0 for it in probe.values()):
                yield f"{path}.{kind}: must not be negative"
            for handler in HANDLERS:
                port = probe.get(handler, {}).get("port")
                if isinstance(port, str) and port not in ports(container):
                    yield f"{path}.{kind}.{handler}.port: the container has no port {port}"


def ports(container):
    """Returns the names of the ports of a container."""
    return {port.get("name") for port in container.get("ports", [])}


def check_labels(thing):
    """Yields labels with invalid syntax."""
    for key, value in thing["metadata"].get("labels", {}).items():
        if not re.fullmatch(QUALIFIED, key) or not re.fullmatch(LABEL_VALUE, str(value)):
            yield f"metadata.labels: invalid label {key}={value}"


RULES = {"BuildConfig": build_config, "Deployment": deployment}


def check_object(thing):
    """Yields the errors that the API server reports for an object."""
    kind = thing.get("kind")
    if GROUPS.get(kind) != thing.get("apiVersion"):
        yield f"apiVersion: {kind} is not in {thing.get('apiVersion')}"
        return
    wrong = [error.removeprefix(".") for error in decode(thing, kind, "")]
    yield from wrong
    # Other rules assume valid types.
    if not wrong:
        if not thing["metadata"].get("name"):
            yield "metadata.name: required value"
        yield from check_labels(thing)
        yield from RULES.get(kind, lambda spec: ())(thing.get("spec", {}))


def check_triggers(thing, streams):
    """Yields the errors of the image triggers of a deployment, which are JSON in an annotation."""
    containers = {it["name"]: it for it in thing["spec"]["template"]["spec"]["containers"]}
    triggers = json.loads(thing["metadata"].get("annotations", {}).get("image.openshift.io/triggers", "[]"))
    found = set()
    for trigger in triggers:
        path = re.fullmatch(r'spec\.template\.spec\.containers\[\?\(@\.name=="(.+)"\)\]\.image', trigger["fieldPath"])
        if not path or path[1] not in containers:
            yield f"image trigger: {trigger['fieldPath']} names no container"
            continue
        found.add(path[1])
        if trigger["from"]["name"].split(":")[0] not in streams:
            yield f"image trigger: no template has the image stream {trigger['from']['name']}"
    for name, container in containers.items():
        if name not in found:
            yield f"the container {name} has no image trigger"
        elif container["image"] != " ":
            yield f"the container {name} may run another image before the first build"


def check_references(thing, objects, streams):
    """Yields references to objects that do not exist."""
    kind, spec = thing["kind"], thing.get("spec", {})
    named = {(it["kind"], it["metadata"].get("name")): it for it in objects}
    for image in image_streams(spec):
        if "namespace" not in image and image["name"].split(":")[0] not in streams:
            yield f"no template has the image stream {image['name']}"
    pods = [it["spec"]["template"] for it in objects if it["kind"] == "Deployment"]
    if kind == "Service":
        chosen = [pod for pod in pods if spec["selector"].items() <= pod["metadata"]["labels"].items()]
        reached = {port for pod in chosen for container in pod["spec"]["containers"] for port in ports(container)}
        for port in spec["ports"]:
            if port.get("targetPort") not in reached:
                yield f"no pod of the service has the port {port.get('targetPort')}"
    if kind == "Route":
        service = named.get(("Service", spec["to"]["name"]))
        if not service:
            yield f"there is no service {spec['to']['name']}"
        elif spec["port"]["targetPort"] not in {port.get("name") for port in service["spec"]["ports"]}:
            yield f"the service has no port {spec['port']['targetPort']}"
    if kind == "Deployment":
        yield from check_triggers(thing, streams)
        for volume in spec["template"]["spec"].get("volumes", []):
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim and ("PersistentVolumeClaim", claim) not in named:
                yield f"there is no claim {claim}"


def check_builder(thing, builders):
    """Yields an error if a configuration builds a builder image without the label by which OpenShift finds its scripts."""
    spec = thing["spec"]
    if spec["strategy"]["type"] == "Source" and spec["output"]["to"]["name"].split(":")[0] in builders:
        labels = {label["name"]: label.get("value") for label in spec["output"].get("imageLabels", [])}
        if labels.get("io.openshift.s2i.scripts-url") != "image:///opt/app-root/s2i":
            yield "spec.output.imageLabels: without io.openshift.s2i.scripts-url the image is not a builder"


def check(templates):
    """Returns the objects of the templates by path, and all errors."""
    objects, errors, streams, builders = {}, [], set(), set()
    for path, template in templates.items():
        errors += [f"{path}: {error.removeprefix('.')}" for error in decode(template, "Template", "")]
        values = {it["name"]: it.get("value", "") for it in template["parameters"]}
        for parameter in template["parameters"]:
            if parameter.get("required") and not values[parameter["name"]]:
                errors.append(f"{path}: parameter {parameter['name']} is required and empty")
        used = set(re.findall(r"\$\{\{?(\w+)\}", json.dumps([template["objects"], template.get("labels", {})])))
        for name in sorted(used ^ set(values)):
            errors.append(f"{path}: parameter {name} is {'not declared' if name in used else 'not used'}")
        objects[path] = process(template, values)
        streams |= {it["metadata"]["name"] for it in objects[path] if it["kind"] == "ImageStream"}
        builders |= {values["BUILDER"]} if "BUILDER" in values else set()
    for path, things in objects.items():
        names = Counter((it["kind"], it["metadata"].get("name")) for it in things)
        errors += [f"{path}: two objects {kind}/{name}" for (kind, name), count in names.items() if count > 1]
        for thing in things:
            wrong = list(check_object(thing))
            if not wrong:
                wrong += check_references(thing, things, streams)
                wrong += check_builder(thing, builders) if thing["kind"] == "BuildConfig" else []
            errors += [f"{path}: {thing['kind']}/{thing['metadata'].get('name')}: {error}" for error in wrong]
    return objects, errors


def edit(template, dotted, value):
    """Replaces the value at a path, or removes it if the value is null. A path names items of a list by position or name."""
    *parents, last = dotted.split("/")
    for part in parents:
        if isinstance(template, list) and not part.isdigit():
            template = next(item for item in template if item["name"] == part)
        else:
            template = template[int(part) if part.isdigit() else part]
    if value is None:
        del template[last]
    elif isinstance(template, list):
        template[int(last) :] = [value]
    else:
        template[last] = value


def check_broken(cases, templates):
    """Yields the cases whose error is not reported."""
    for case in cases:
        broken = copy.deepcopy(templates)
        path = next(path for path in broken if Path(path).name == case["file"])
        edit(broken[path], case["edit"], case["value"])
        _, errors = check(broken)
        if not any(case["error"] in error for error in errors):
            yield f"{case['file']} with {case['edit']}={case['value']}: expected {case['error']!r}, found {errors}"


def check_documented(text, templates):
    """Yields the errors of the templates as processed by the commands of a Markdown file."""
    blocks = "".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL))
    for command in re.split(r"^\$ ", blocks, flags=re.MULTILINE):
        if not command.startswith("oc process"):
            continue
        words = iter(shlex.split(command))
        changed = copy.deepcopy(templates)
        for word in words:
            if word == "-f" and (template := changed.get(next(words))) is None:
                yield f"{command}: there is no such template"
                break
            if word == "-p":
                name, _, value = next(words).partition("=")
                found = [it for it in template["parameters"] if it["name"] == name]
                if not found:
                    yield f"{command}: there is no parameter {name}"
                    break
                found[0]["value"] = value
            if word == "|":
                yield from (f"{command}: {error}" for error in check(changed)[1])
                break


def main(arguments):
    mode, file = "", ""
    if arguments[0].startswith("--"):
        mode, file, *arguments = arguments
    templates = {path: yaml.load(Path(path).read_text(), Loader) for path in arguments}
    if mode == "--broken":
        errors = list(check_broken(yaml.safe_load(Path(file).read_text()), templates))
    elif mode == "--documented":
        errors = list(check_documented(Path(file).read_text(), templates))
    else:
        objects, errors = check(templates)
        for path, things in objects.items():
            print(path, *(f"{it['kind']}/{it['metadata']['name']}" for it in things))
    if errors:
        sys.exit("\n".join(errors))


main(sys.argv[1:])
