import base64
import hashlib
import io
import os
import subprocess
import sys
import sysconfig
import time
import zipfile

PLATFORM = WHOSE

def get_requires_for_build_wheel(config_settings=None):
    REPORT_SCRIPT
    return REPORTS


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    SCRIPT
    return make_wheel(wheel_directory)


def make_wheel(wheel_directory):
    with io.open("PKG-INFO", encoding="utf-8") as file:
        metadata = file.read()
    fields = dict(line.split(": ", 1) for line in metadata.splitlines() if ": " in line)
    name, version = fields["Name"], fields["Version"]
    dist_info = "%s-%s.dist-info" % (name, version)
    modules = {name + ".py": "VERSION = %r\n" % version}
    for module in sorted(os.listdir(".")):
        if module.endswith(".py") and module != "backend.py":
            with io.open(module, encoding="utf-8") as file:
                modules[module] = file.read()
    files = dict(modules)
    files[dist_info + "/METADATA"] = metadata
    tag = "py3-none-" + (PLATFORM or "any")
    pure = "false" if PLATFORM else "true"
    files[dist_info + "/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: %s\nTag: %s\n" % (pure, tag)
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record += "%s,sha256=%s,%d\n" % (path, digest, len(text.encode()))
    files[dist_info + "/RECORD"] = record + dist_info + "/RECORD,,\n"
    filename = "%s-%s-%s.whl" % (name, version, tag)
    with zipfile.ZipFile(os.path.join(wheel_directory, filename), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return filename
