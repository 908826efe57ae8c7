"""The command `bpmc`: `python -m bpmc` is the same."""
from __future__ import annotations

import atexit
import os
import shlex
import shutil
import sys
import sysconfig
import tempfile

from . import _native


def program() -> str:
    """The path of the command, which starts itself again for the cells of a sweep."""
    own = os.path.abspath(sys.argv[0])
    if os.path.basename(own) in ("bpmc", "bpmc.exe"):
        return own
    beside = os.path.join(sysconfig.get_path("scripts"), "bpmc")
    return beside if os.path.exists(beside) else launcher()


def launcher() -> str:
    """A script that starts the command, where none was installed."""
    folder = tempfile.mkdtemp(prefix="bpmc-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = os.path.join(folder, "bpmc")
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nPYTHONPATH={shlex.quote(root)}"${{PYTHONPATH:+:$PYTHONPATH}}"\nexport PYTHONPATH\n'
                   f'exec {shlex.quote(sys.executable)} -m bpmc "$@"\n')
    os.chmod(path, 0o700)
    return path


def main() -> None:
    """Runs the command with the arguments of the process."""
    # Environments of Gymnasium run in the Python that has this package.
    os.environ.setdefault("BPMC_PYTHON", sys.executable)
    sys.exit(_native.command(program(), sys.argv[1:]))


if __name__ == "__main__":
    main()
