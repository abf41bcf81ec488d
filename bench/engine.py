"""Parts that the benchmarks of the builder image share: buildah with a storage of its own, and the checkout's program.

It never decides what is built.
"""

import hashlib
import os
import platform
import tarfile

STORAGE = '[storage]\ndriver = "overlay"\ngraphroot = "{root}"\nrunroot = "/run/wheelhouse-bench-{identity}"\n'

# Settings for systems without systemd and with few file descriptors.
ENGINE = """[containers]
default_ulimits = ["nofile=20000:20000", "nproc=16384:16384"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


def configure(work, isolation):
    """Makes buildah use a storage in the directory `work`."""
    work.mkdir(parents=True, exist_ok=True)
    root = str(work / "storage")
    identity = hashlib.sha256(root.encode()).hexdigest()[:12]
    for name, text in (("storage.conf", STORAGE.format(root=root, identity=identity)), ("containers.conf", ENGINE)):
        (work / name).write_text(text, encoding="utf-8")
    os.environ |= {
        "CONTAINERS_STORAGE_CONF": str(work / "storage.conf"),
        "CONTAINERS_CONF": str(work / "containers.conf"),
        "BUILDAH_RUNTIME": "runc",
        "BUILDAH_ISOLATION": isolation,
    }


def reach_index():
    """Returns the variables with which containers on the host's network reach the index as this process does."""
    passed = {name: value for name, value in os.environ.items() if name.startswith("PIP_INDEX") or "PROXY" in name}
    return passed | {"PIP_CERT": "/etc/ssl/certs/ca-certificates.crt"}


def pack_program(program, dist):
    """Puts `program` into the directory `dist` of a checkout, in an archive as packaging/dist makes it."""
    dist.mkdir(parents=True, exist_ok=True)
    archive = dist / f"wheelhouse-bench-{platform.machine()}-linux-gnu.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(program, "wheelhouse/wheelhouse")
