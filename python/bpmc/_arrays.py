"""Checks of arrays whose memory the extension reads or writes."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

DTYPES = {"float32": np.dtype(np.float32), "float64": np.dtype(np.float64)}


def dtype_of(dtype: Any) -> np.dtype:
    """float32 or float64."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found not in DTYPES.values():
        raise TypeError(f"a network computes in float32 or float64, and not in {dtype!r}")
    return found


def shown(names: Iterable[str]) -> str:
    """Names for a message."""
    names = list(names)
    return ", ".join(f"`{name}`" for name in names) if names else "none"


def check_names(given: Iterable[str], known: Iterable[str], kind: str, network: str) -> None:
    """Raises KeyError where a name is not known."""
    known = list(known)
    for name in given:
        if name not in known:
            near = get_close_matches(str(name), known, 1)
            guess = f" (did you mean `{near[0]}`?)" if near else ""
            raise KeyError(Message(f"the network `{network}` has no {kind} `{name}`{guess}; it has: {shown(known)}"))


class Message(str):
    """A text that a KeyError shows without quotes."""

    def __repr__(self) -> str:
        return str(self)


def numbers(values: Any, dtype: np.dtype, what: str) -> np.ndarray:
    """An array of this type, C-contiguous: the same object where it is one, else a copy."""
    try:
        found = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} is not an array of numbers: {error}") from None
    if found.dtype == dtype and found.flags.c_contiguous and found.flags.aligned:
        return found
    if found.dtype.kind not in "fiub":
        raise TypeError(f"{what} has the type {found.dtype}; numbers are needed")
    return np.ascontiguousarray(found, dtype=dtype)


def shaped(values: Any, dims: tuple[int, ...], dtype: np.dtype, what: str, axes: str) -> np.ndarray:
    """As `numbers`, with these dimensions; a missing last axis of size 1 is added."""
    found = numbers(values, dtype, what)
    if found.shape == dims:
        return found
    if len(dims) == found.ndim + 1 and dims[-1] == 1 and found.shape == dims[:-1]:
        return found.reshape(dims)
    raise ValueError(f"{what} has the shape {list(found.shape)}, and {list(dims)} is needed: {axes}")


def address(array: np.ndarray | None) -> int:
    """The address of the first element; 0 where there is no array."""
    return 0 if array is None else array.ctypes.data


def by_name(values: Any, names: list[str], kind: str, network: str) -> Mapping[str, Any]:
    """Values by name: a mapping as it is, anything else as the value of the only name."""
    if isinstance(values, Mapping):
        check_names(values, names, kind, network)
        return values
    if len(names) == 1:
        return {names[0]: values}
    raise TypeError(f"the network `{network}` has the {kind}s {shown(names)}: give a dictionary with their names")
