"""Calls one hook of a PEP 517 build backend: argv holds a JSON file with the call, and one for the result."""
import importlib
import io
import json
import os
import sys


def main(call_path, result_path):
    with io.open(call_path, encoding="utf-8") as file:
        call = json.load(file)
    # The modes of files that a build writes must not depend on the user.
    os.umask(0o002 if call["varied"] else 0o022)
    if call["varied"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    # `python -c` puts the current directory first, which the specification forbids.
    if sys.path and sys.path[0] == "":
        del sys.path[0]
    if call["hook"] == "build_wheel":
        fix_temporary_names()
    if call["requests"] and hasattr(sys, "addaudithook"):
        record_requests(call["requests"])
    sys.path[:0] = [os.path.abspath(directory) for directory in call["path"]]
    module, _, attributes = call["backend"].partition(":")
    backend = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        backend = getattr(backend, attribute)
    hook = getattr(backend, call["hook"], None)
    if hook is None:
        result = {"missing": True}
    else:
        result = {"value": hook(*call["arguments"])}
    with io.open(result_path, "w", encoding="utf-8") as file:
        file.write(u"" + json.dumps(result))


def fix_temporary_names():
    """Gives temporary files the same names in each build, because some backends compile in a temporary directory.

    A name that exists is never used again, so other users of the directory only change the names.
    """
    import random
    import tempfile

    names = tempfile._get_candidate_names()
    names._rng, names._rng_pid = random.Random(0), os.getpid()


def record_requests(path):
    """Appends the hosts that this process looks up to a file."""
    def audit(event, arguments):
        if event in ("socket.getaddrinfo", "socket.gethostbyname"):
            with io.open(path, "a", encoding="utf-8", errors="replace") as file:
                file.write(u"%s\n" % arguments[0])

    sys.addaudithook(audit)


def end_with_parent():
    """Makes the kernel kill this process group when the other end of stdin is closed.

    A killed parent cannot do that itself. Without support by the kernel, nothing happens.
    """
    import fcntl
    import select
    import signal
    import stat

    # In a sandbox, stdin is not a pipe, and the launcher ends this process.
    if hasattr(fcntl, "F_SETSIG") and stat.S_ISFIFO(os.fstat(0).st_mode):
        lifeline = os.dup(0)
        fcntl.fcntl(lifeline, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, int(signal.SIGKILL))
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | fcntl.FASYNC)
        poll = select.poll()
        poll.register(lifeline, select.POLLIN)
        if poll.poll(0):
            sys.exit("the parent is gone")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


end_with_parent()
paths = sys.argv[1:]
del sys.argv[1:]
main(*paths)
