"""The progress of a run, in a terminal or a notebook."""
from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

#: The share of a new value in the mean that is shown.
SHARE = 0.05


class _Meter:
    def __init__(self) -> None:
        self.mean: float | None = None

    def line(self, iteration: int, total: int, measure: str, value: float, loss: float, seconds: float) -> str:
        self.mean = value if self.mean is None else self.mean + SHARE * (value - self.mean)
        return f"{iteration} of {total}  {measure} {self.mean:.3f}  loss {loss:.4g}  {seconds:.0f} s"


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return type(get_ipython()).__name__ == "ZMQInteractiveShell"


@contextlib.contextmanager
def display(progress: bool | Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """A function of iteration, total, measure, value, loss and seconds."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda *told: None
    elif _in_notebook():
        yield from _notebook()
    else:
        yield from _terminal()


def _notebook() -> Iterator[Callable[..., Any]]:
    from IPython.display import HTML, display as show

    meter, last = _Meter(), 0.0
    handle = show(HTML("<progress></progress>"), display_id=True)

    def update(iteration: int, total: int, *told: Any) -> None:
        nonlocal last
        line, now = meter.line(iteration, total, *told), time.monotonic()
        if now - last > 0.2 or iteration == total:
            last = now
            handle.update(HTML(f'<progress value="{iteration}" max="{total}"></progress> {line}'))

    yield update


def _terminal() -> Iterator[Callable[..., Any]]:
    meter, last, live = _Meter(), 0.0, sys.stderr.isatty()

    def update(iteration: int, total: int, *told: Any) -> None:
        nonlocal last
        line, now = meter.line(iteration, total, *told), time.monotonic()
        if live:
            sys.stderr.write(f"\r{line}\033[K")
            sys.stderr.flush()
        elif now - last > 10 or iteration == total:
            last = now
            print(line, file=sys.stderr)

    try:
        yield update
    finally:
        if live:
            sys.stderr.write("\n")
