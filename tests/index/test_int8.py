"""A network with int8 matrices: the same products as before, but for rounding."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pincite.index import int8
from pincite.index.network import _core, import_openvino

DRAW = np.random.default_rng(5)


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("stored", [np.float16, np.float32])
def test_products_are_the_same_but_for_rounding(transposed: bool, stored: type[np.generic]) -> None:
    openvino = import_openvino()
    from openvino import opset13

    matrix: NDArray[np.float32] = DRAW.normal(size=(64, 256)).astype(np.float32)  # of a layer from 256 to 64 columns
    matrix[3] = 0
    constant = opset13.constant(np.ascontiguousarray(matrix if transposed else matrix.T, stored))
    taken = opset13.parameter([-1, 256], np.float32)
    weights = constant if stored is np.float32 else opset13.convert(constant, np.float32)
    network = openvino.Model([opset13.matmul(taken, weights, False, transposed)], [taken])
    rows = DRAW.normal(size=(7, 256)).astype(np.float32)
    exact = rows @ matrix.T

    changed = int8.rounded(network)
    kinds = [str(node.get_element_type()) for node in changed.get_ordered_ops() if node.get_type_name() == "Constant"]
    assert sum("int8" in kind or "i8" in kind for kind in kinds) == 1
    compiled = _core().compile_model(changed, "CPU", int8.OPTIONS)
    found = compiled([rows])[0]
    assert found.shape == exact.shape and (found[:, 3] == 0).all()
    apart = np.abs(found - exact).max() / np.abs(exact).max()
    assert 0 < apart < 0.02


def test_products_of_two_results_stay_as_they_are() -> None:
    openvino = import_openvino()
    from openvino import opset13

    one, other = opset13.parameter([-1, 8], np.float32), opset13.parameter([8, -1], np.float32)
    network = int8.rounded(openvino.Model([opset13.matmul(one, other, False, False)], [one, other]))
    assert [node.get_type_name() for node in network.get_ordered_ops()].count("MatMul") == 1
    assert "Constant" not in [node.get_type_name() for node in network.get_ordered_ops()]
