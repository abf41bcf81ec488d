"""Makes a Python without virtual environments use the packages of one directory instead of its own."""
import os
import site
import sys
from distutils.sysconfig import get_python_lib


def seen_through(directories):
    """What these directories add to sys.path, by their .pth files too."""
    before = len(sys.path)
    known = set()
    for directory in directories:
        site.addsitedir(directory, known)
    added = set(os.path.normcase(path) for path in sys.path[before:])
    del sys.path[before:]
    return added


own = getattr(site, "getsitepackages", lambda: [])() + [get_python_lib(False), get_python_lib(True)]
hidden = seen_through(own)
sys.path[:] = [path for path in sys.path if os.path.normcase(path) not in hidden]
site.addsitedir(os.environ["WHEELHOUSE_SITE_PACKAGES"])
