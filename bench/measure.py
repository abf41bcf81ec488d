"""Parts that the benchmarks share: measuring a command, the machine, the peers, tables.

It never decides what is compared with what, and never writes a page.
"""

import dataclasses
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
SETS = BENCH / "sets"
MEBIBYTE = 1024 * 1024


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def install_peers(environment, peers):
    """Makes or renews the environment with the newest `peers`, and returns the paths of its programs."""
    binaries = environment / "bin"
    if not (binaries / "python").exists():
        say(f"making {environment}")
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    # stdout is for the figures.
    install = [binaries / "python", "-m", "pip", "install", "--quiet", "--upgrade", *peers]
    subprocess.run(install, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    return {name: binaries / name for name in ("python", "pip", "uv", "pex3")}


def version_of(program):
    output = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+\.\d+[\w.]*", output)
    return found.group(0) if found else "of unknown version"


@dataclasses.dataclass
class Sample:
    """The time, memory and output of one run of one command."""

    seconds: float
    peak_bytes: int
    files: int = 0
    output_bytes: int = 0
    failure: str = ""


def run(command, log, timeout):
    """Runs one command and returns its Sample; everything it prints goes to `log`."""
    # Flushes the writes of earlier runs, so that this one does not wait for them.
    os.sync()
    with open(log, "wb") as output:
        start = time.monotonic()
        try:
            child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return Sample(0.0, 0, failure=f"cannot be started: {error.strerror}")
        expired = threading.Event()

        def end():
            expired.set()
            os.killpg(child.pid, signal.SIGKILL)

        timer = threading.Timer(timeout, end)
        timer.start()
        # wait4 gives the peak of the largest process among the child and all its waited-for descendants.
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - start
        timer.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    sample = Sample(seconds, usage.ru_maxrss * unit)
    if expired.is_set():
        sample.failure = f"ended after {timeout:.0f} s"
    elif child.returncode != 0:
        sample.failure = f"exit {child.returncode}: {last_words(log)}"
    return sample


def last_words(log):
    """Returns the line of a log for the table: the last one with an error, otherwise the last one."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"(?i)\W*(pip: )?(\w*error|fatal|cause)\b", line)]
    return ((telling or lines)[-1:] or ["(it printed nothing)"])[0]


def presentable(message, work):
    """Returns a message without this machine's paths and addresses; `work` is where caches and outputs go."""
    for path, name in ((work, "WORK"), (ROOT, "."), (Path.home(), "~")):
        message = message.replace(str(path), name)
    return re.sub(r"https?://[^\s'\"<>)]+", "URL", message)[:300]


def table(head, rows):
    align = ["---"] + ["---:"] * (len(head) - 1)
    return ["| " + " | ".join(cells) + " |" for cells in [head, align, *rows]]


def seconds(value):
    return f"{value:.3f} s" if value < 0.2 else f"{value:.2f} s"


def machine():
    """Returns a description of the machine."""
    model = platform.processor() or platform.machine()
    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()).group(1)
    except (OSError, AttributeError):
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "memory_gib": round(memory / 1024**3),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }
