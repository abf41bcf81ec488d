"""Asks pip and wheelhouse which versions they choose, for `resolution` and `scenarios`.

It never decides whose answer is right.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import BENCH, ROOT, install_peers, say

TIMEOUT = 600


def add_options(parser):
    parser.add_argument("--wheelhouse", type=Path, default=ROOT / "target/release/wheelhouse", help="the program")
    parser.add_argument("--python", action="append", default=[], metavar="PATH", help="a further Python")
    parser.add_argument("--cache", type=Path, default=BENCH / ".cache", help="kept for the next run")


def find_pythons(versions, paths):
    """Returns the interpreter of each version, among `paths` and those on the PATH."""
    found = {}
    for path in [*paths, *(f"python{version}" for version in sorted(versions)), sys.executable]:
        program = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
        try:
            answer = subprocess.run([path, "-c", program], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        if answer.returncode == 0:
            version, executable = answer.stdout.strip().split(" ", 1)
            found.setdefault(version, executable)
    for version in sorted(versions - found.keys()):
        say(f"there is no Python {version}: name one with --python")
    return {version: path for version, path in found.items() if version in versions}


def install_pips(pythons, cache):
    """Returns the newest pip for each Python, in an environment of its own."""
    pips = {}
    for version, python in pythons.items():
        environment = cache.resolve() / f"pip-{version}"
        if not environment.exists():
            subprocess.run([python, "-m", "venv", environment], check=True)
        pips[version] = install_peers(environment, ["pip"])["pip"]
    return pips


def pip_answer(pip, words):
    """Returns the versions that pip chooses, its own version, and the seconds."""
    command = [pip, "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-", *words]
    output, taken = run(command)
    if output is None:
        return None, None, taken
    report = json.loads(output)
    items = (item["metadata"] for item in report["install"])
    return {normal(item["name"]): item["version"] for item in items}, report["pip_version"], taken


def our_answer(wheelhouse, python, words):
    """Returns the versions that wheelhouse chooses, and the seconds."""
    with tempfile.TemporaryDirectory() as work:
        command = [wheelhouse, "build", "--dry-run", "--json", "--python", python, "-o", f"{work}/wheels", *words]
        output, taken = run(command)
    if output is None:
        return None, taken
    return {normal(step["name"]): step["version"] for step in json.loads(output)["steps"]}, taken


def run(command):
    """Runs a command and returns its output, `None` where it failed, and the seconds it took."""
    changing = ("PIP_FIND_LINKS", "PIP_CONSTRAINT", "PIP_PRE", "PIP_EXTRA_INDEX_URL", "PIP_PREFER_BINARY")
    environment = {name: value for name, value in os.environ.items() if name not in changing}
    start = time.monotonic()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return None, float(TIMEOUT)
    if done.returncode != 0:
        say(done.stderr.strip()[-1500:])
    return (done.stdout if done.returncode == 0 else None), round(time.monotonic() - start, 1)


def spell(versions):
    return " ".join(sorted(f"{name}=={version}" for name, version in versions.items()))


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()
