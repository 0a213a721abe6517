"""A network -> the same network with the matrices of its layers as int8, a scale for each row.

OpenVINO multiplies such matrices by activations that it rounds to int8 as well, group by group, where the CPU has
instructions for that ("dynamic quantization"). Only its own API is used: nncf, which does the same, imports torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["OPTIONS", "rounded"]

OPTIONS = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "128"}
"""To compile it with. Groups of 64 were slower; of 384, cosines to float32 were 0.9955 at least instead of 0.998."""


def rounded(network: Any) -> Any:
    """Return an openvino.Model, changed in place: each constant matrix that something is multiplied by is int8.

    Of a layer with n outputs for m inputs that is int8 of shape `(n, m)`, with float32 scales of shape `(n, 1)`: the
    greatest value of each row is 127. Products of two results, as in attention, stay as they are.
    """
    from openvino import opset13

    for node in network.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        source = node.input_value(1).get_node()
        if source.get_type_name() == "Convert":  # from float16, as it is stored
            source = source.input_value(0).get_node()
        if source.get_type_name() != "Constant" or len(source.get_output_shape(0)) != 2:
            continue
        attributes = node.get_attributes()
        matrix = source.get_data().astype(np.float32)
        rows = np.ascontiguousarray(matrix if attributes["transpose_b"] else matrix.T)
        scale = np.abs(rows).max(axis=1, keepdims=True) / 127
        scale[scale == 0] = 1
        whole = opset13.constant(np.rint(rows / scale).astype(np.int8))
        weights = opset13.multiply(opset13.convert(whole, np.float32), opset13.constant(scale))
        product = opset13.matmul(node.input_value(0), weights, attributes["transpose_a"], True)
        node.output(0).replace(product.output(0))
    return network
