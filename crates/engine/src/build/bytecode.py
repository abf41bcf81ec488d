"""Compiles the modules whose paths stdin lists, each ended by a zero byte. Runs with -E and -S."""
import sys

# `python -c` puts the current directory first.
sys.path = [path for path in sys.path if path]

import os
import py_compile

for path in getattr(sys.stdin, "buffer", sys.stdin).read().split(b"\0"):
    if path:
        try:
            py_compile.compile(getattr(os, "fsdecode", str)(path), doraise=True)
        except Exception:
            pass
