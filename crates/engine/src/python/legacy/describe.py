"""Prints the description of a Python that cannot run uv's own script: Python 2.7, and 3 before 3.6.

Prints nothing on other Pythons.
"""
from __future__ import print_function

import sys

if sys.version_info >= (3, 6):
    sys.exit()

import ctypes
import glob
import imp
import json
import os
import platform
import re
import site
import struct
import subprocess
import sysconfig
from distutils.dist import Distribution


def scheme():
    command = Distribution().get_command_obj("install", create=True)
    command.finalize_options()
    headers = os.path.dirname(command.install_headers)
    if is_virtual():
        headers = os.path.join(sys.prefix, "include", "site", "python" + minor_version())
    return {
        "purelib": command.install_purelib,
        "platlib": command.install_platlib,
        "include": headers,
        "scripts": command.install_scripts,
        "data": command.install_data,
    }


def scheme_below_a_prefix():
    packages = os.path.join("lib", "python" + minor_version(), "site-packages")
    return {
        "purelib": packages,
        "platlib": packages,
        "include": os.path.join("include", "site", "python" + minor_version()),
        "scripts": "bin",
        "data": "",
    }


def is_virtual():
    return hasattr(sys, "real_prefix") or sys.prefix != getattr(sys, "base_prefix", sys.prefix)


def minor_version():
    return "%d.%d" % sys.version_info[:2]


def full_version():
    return platform.python_version().rstrip("+")


def markers():
    return {
        "implementation_name": platform.python_implementation().lower(),
        "implementation_version": full_version(),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": full_version(),
        "python_version": minor_version(),
        "sys_platform": sys.platform,
    }


def described_platform():
    architecture = sysconfig.get_platform().rsplit("-", 1)[-1]
    if sys.platform == "darwin":
        version, _, architecture = platform.mac_ver()
        major, minor = version.split(".")[:2]
        return {"os": {"name": "macos", "major": int(major), "minor": int(minor)}, "arch": architecture}
    if struct.calcsize("P") == 4:
        architecture = {"x86_64": "i686", "aarch64": "armv7l"}.get(architecture, architecture)
    name, version = libc()
    return {"os": {"name": name, "major": version[0], "minor": version[1]}, "arch": architecture}


def libc():
    try:
        version = ctypes.CDLL(None).gnu_get_libc_version
    except AttributeError:
        pass
    else:
        version.restype = ctypes.c_char_p
        return "manylinux", [int(part) for part in version().decode("ascii").split(".")[:2]]
    for loader in glob.glob("/lib/ld-musl-*.so.1"):
        process = subprocess.Popen([loader], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        found = re.search(r"Version (\d+)\.(\d+)", process.communicate()[0].decode("ascii", "replace"))
        if found:
            return "musllinux", [int(part) for part in found.groups()]
    sys.exit("neither glibc nor musl was found")


def site_packages(paths):
    known = getattr(site, "getsitepackages", lambda: [])() + [paths["purelib"], paths["platlib"]]
    return sorted(set(known), key=known.index)


def main():
    paths = scheme()
    described = {
        "result": "success",
        "markers": markers(),
        "sys_base_prefix": getattr(sys, "base_prefix", getattr(sys, "real_prefix", sys.prefix)),
        "sys_base_exec_prefix": getattr(sys, "base_exec_prefix", sys.exec_prefix),
        "sys_prefix": sys.prefix,
        "sys_base_executable": None,
        "sys_executable": sys.executable,
        "sys_path": [path for path in sys.path if path],
        "site_packages": site_packages(paths),
        "stdlib": sysconfig.get_path("stdlib"),
        "extension_suffixes": [suffix for suffix, _, kind in imp.get_suffixes() if kind == imp.C_EXTENSION],
        "standalone": False,
        "scheme": paths,
        "virtualenv": scheme_below_a_prefix(),
        "platform": described_platform(),
        "manylinux_compatible": True,
        "gil_disabled": False,
        "debug_enabled": hasattr(sys, "gettotalrefcount"),
        "pointer_size": "64" if sys.maxsize > 2 ** 32 else "32",
    }
    wide_unicode = sys.version_info[0] == 2 and sys.maxunicode > 0xFFFF
    print(json.dumps({"interpreter": described, "wide_unicode": wide_unicode}))


main()
