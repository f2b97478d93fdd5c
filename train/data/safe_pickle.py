# SPDX-License-Identifier: Apache-2.0
"""Read pickles that hold numpy arrays and plain containers, and nothing else.

NOCS publishes its labels as pickles. A pickle is a program, so the standard reader would run whatever a file
says; this one knows the few constructors that numpy needs and refuses every other name.
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
from numpy._core import multiarray, numeric

_NUMPY: dict[str, Any] = {
    "multiarray._reconstruct": multiarray._reconstruct,  # type: ignore[attr-defined]
    "multiarray.scalar": multiarray.scalar,  # type: ignore[attr-defined]
    "numeric._frombuffer": numeric._frombuffer,  # type: ignore[attr-defined]
}


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Stand in for `_codecs.encode`, by which protocols 0 to 2 write bytes."""
    if encoding.lower().replace("-", "") != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is refused; array bytes are written as latin1")
    return codecs.latin_1_encode(text)[0]


# Written out by hand instead of imported by name: what is not in this table cannot be reached at all.
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _latin1,
}
for _path, _function in _NUMPY.items():
    _module, _name = _path.split(".")
    for _package in ("numpy.core", "numpy._core"):  # numpy 1 and numpy 2 write different package names
        _ADMITTED[f"{_package}.{_module}", _name] = _function


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"{module}.{name} is refused; only numpy arrays and plain containers are read"
            ) from None


def loads(data: bytes) -> Any:
    """The object pickled in `data`.

    :raise pickle.UnpicklingError: the data names anything but numpy arrays and plain containers, or is no
        pickle.
    """
    try:
        return _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything: EOFError, KeyError, ValueError, ...
        raise pickle.UnpicklingError(f"damaged pickle: {type(error).__name__}: {error}") from error


def load(path: str | os.PathLike[str]) -> Any:
    """The object pickled in the file `path`; see :func:`loads`."""
    return loads(Path(path).read_bytes())
