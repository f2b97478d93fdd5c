# SPDX-License-Identifier: Apache-2.0
"""Read pickles that contain numpy arrays and plain containers only.

NOCS publishes its labels as pickles. The standard unpickler executes arbitrary code; this one allows the few
constructors that numpy needs and refuses every other name.
"""

from __future__ import annotations

import codecs
import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

# The constructors that numpy's own pickles name. They are taken from numpy's public pickle protocol, since the module
# that holds them is numpy.core in numpy 1 and numpy._core in numpy 2.
_NUMPY: dict[str, Any] = {
    "multiarray._reconstruct": np.zeros(1).__reduce__()[0],
    "multiarray.scalar": np.float64(0.0).__reduce__()[0],
    "numeric._frombuffer": np.zeros(1).__reduce_ex__(5)[0],
}


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Replacement for `_codecs.encode`, which protocols 0 to 2 use for bytes."""
    if encoding.lower().replace("-", "") != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is refused; array bytes are written as latin1")
    return codecs.latin_1_encode(text)[0]


class _Function:
    """Wraps a function so that a pickle cannot set its attributes (opcode BUILD)."""

    __slots__ = ("_function",)
    _function: Any

    def __init__(self, function: Any) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"attribute {name!r} of a function is refused")


# An explicit table instead of an import by name: nothing outside this table can be reached.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _Function(_latin1),
}
for _path, _function in _NUMPY.items():
    _module, _name = _path.split(".")
    for _package in ("numpy.core", "numpy._core"):  # numpy 1 and numpy 2 write different package names
        _ALLOWED[f"{_package}.{_module}", _name] = _Function(_function)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"{module}.{name} is refused; only numpy arrays and plain containers are read"
            ) from None


def loads(data: bytes) -> Any:
    """The object pickled in `data`.

    :raises pickle.UnpicklingError: the data contains anything but numpy arrays and plain containers, or is not a
        pickle.
    """
    try:
        return _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle can raise EOFError, KeyError, ValueError and others
        raise pickle.UnpicklingError(f"damaged pickle: {type(error).__name__}: {error}") from error


def load(path: str | os.PathLike[str]) -> Any:
    """The object pickled in the file `path`; see :func:`loads`."""
    return loads(Path(path).read_bytes())
