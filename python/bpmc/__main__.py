"""The command `bpmc`: `python -m bpmc` is the same."""
from __future__ import annotations

import os
import shutil
import sys
import sysconfig

from . import _native


def program() -> str:
    """The path of the command, which starts itself again for the cells of a sweep."""
    own = os.path.abspath(sys.argv[0])
    if os.path.basename(own) in ("bpmc", "bpmc.exe"):
        return own
    beside = os.path.join(sysconfig.get_path("scripts"), "bpmc")
    return beside if os.path.exists(beside) else shutil.which("bpmc") or "bpmc"


def main() -> None:
    """Runs the command with the arguments of the process."""
    # Environments of Gymnasium run in the Python that has this package.
    os.environ.setdefault("BPMC_PYTHON", sys.executable)
    sys.exit(_native.command(program(), sys.argv[1:]))


if __name__ == "__main__":
    main()
