"""The exceptions of bpmc."""
from __future__ import annotations

import json
from typing import Any

__all__ = [
    "CompileError", "CompileWarning", "EnvironmentFailed", "Error", "FreedError", "InternalError", "Interrupted", "NotFiniteError",
    "RunError",
]


class Error(Exception):
    """An error of bpmc; all others are of this class too."""


class CompileError(Error, ValueError):
    """A spec has errors. The message shows them with excerpts of the spec.

    Attributes:
        diagnostics: the findings, each a dictionary with `code`, `severity`, `message`, `file`, `start`, `end`, `label`,
            `labels` and `help`, as `bpmc check --format json` prints them.
    """

    diagnostics: list[dict[str, Any]]

    def __init__(self, text: str, findings: str = "") -> None:
        super().__init__("\n" + text.rstrip())
        self.diagnostics = [json.loads(line) for line in findings.splitlines()]


class CompileWarning(UserWarning):
    """A spec can run, but probably does not mean what was intended."""


class FreedError(Error):
    """A tape was used after it was freed."""


class RunError(Error):
    """A run could not start, go on or end; its last checkpoint stays."""


class NotFiniteError(RunError):
    """A loss, gradient or parameter was not finite. The message names the equation in which it began."""


class EnvironmentFailed(RunError):
    """The environment of a run raised an exception, which is the cause of this one. The run can be resumed."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a run after the current iteration.

    Attributes:
        run: the run as far as it got, saved; `bpmc.train(..., resume=True)` goes on with it.
    """

    run: Any

    def __init__(self, run: Any) -> None:
        super().__init__(f"the run in {run.directory} was interrupted after iteration {run.iterations}; "
                         f"bpmc.train(..., resume=True) goes on with it")
        self.run = run


class InternalError(Error):
    """A fault of bpmc itself; please report it with the spec."""
