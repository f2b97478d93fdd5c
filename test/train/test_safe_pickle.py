# SPDX-License-Identifier: Apache-2.0
"""The unpickler of NOCS's label files: arrays and plain containers only."""

from __future__ import annotations

import os
import pickle
import re

import numpy as np
import pytest

from train.data import safe_pickle


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo never",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_unpickler_reads_arrays_and_refuses_code(protocol: int) -> None:
    label = {
        "gt_RTs": np.eye(4)[None],
        "id": np.int64(3),
        "names": ["a", ("b", None, 1.5)],
        "raw": b"\x00\xff",
    }
    back = safe_pickle.loads(pickle.dumps(label, protocol))
    assert np.array_equal(back["gt_RTs"], label["gt_RTs"])
    assert back["id"] == 3 and back["names"] == label["names"] and back["raw"] == label["raw"]
    with pytest.raises(pickle.UnpicklingError, match="system is refused"):
        safe_pickle.loads(pickle.dumps([1, Evil()], protocol))


@pytest.mark.parametrize("package", [b"numpy.core", b"numpy._core"])
def test_unpickler_reads_what_numpy_1_and_numpy_2_wrote(package: bytes) -> None:
    data = pickle.dumps(np.arange(3.0), protocol=2)
    written, replaced = re.subn(rb"numpy\._?core(?=\.multiarray)", package, data)
    assert replaced == 1
    assert np.array_equal(safe_pickle.loads(written), np.arange(3.0))


@pytest.mark.parametrize("data", [b"", b"\x80", b"not a pickle", b"cbuiltins\neval\n.", b"cnumpy\nload\n."])
def test_unpickler_refuses_anything_else(data: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        safe_pickle.loads(data)


def test_build_cannot_change_a_function_of_numpy() -> None:
    # GLOBAL pushes the function, BUILD sets attributes: as a dictionary, and as slots by setattr.
    function = np.zeros(1).__reduce_ex__(5)[0]
    defaults = function.__defaults__
    name = b"cnumpy.core.numeric\n_frombuffer\n"
    attributes = b"}" + b"S'__defaults__'\n" + b"(I1\ntp0\n" + b"s"
    for data in (name + attributes + b"b.", name + b"(N" + attributes + b"tp1\nb."):
        with pytest.raises(pickle.UnpicklingError):
            safe_pickle.loads(data)
    assert function.__defaults__ == defaults
    assert not vars(function)
