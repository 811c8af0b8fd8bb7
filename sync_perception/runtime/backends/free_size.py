# Copyright 2026 The sync_perception Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Turns an OpenVINO graph that was traced at one image size into a graph for all sizes."""

from __future__ import annotations

from typing import Any

import numpy as np


def free_size(
        graph: Any, size: tuple[int, int], other: Any, other_size: tuple[int, int]) -> None:
    """
    Make a graph that was traced at one size accept other sizes, in place.

    Tracing turns the sizes of maps into constants: the target sizes of upsampling layers, and the
    shapes to which attention reshapes its features. The constants that differ between two traces
    depend on the size of the image, and are replaced by operations that compute them.

    :param graph: an openvino.Model of images (B, h, w, 3), traced at `size`.
    :param size: height and width.
    :param other: the same network traced at another size; it is only read.
    :param other_size: height and width, neither of them in the ratio of the first ones.
    :raises RuntimeError: if the traces do not have the same operations, or a constant depends on
        the size in a way that is not known here.
    """
    graph.reshape([1, *size, 3])
    other.reshape([1, *other_size, 3])
    nodes, others = graph.get_ordered_ops(), other.get_ordered_ops()
    if [node.get_type_name() for node in nodes] != [node.get_type_name() for node in others]:
        raise RuntimeError('the network has other operations at another size')
    for node, twin in zip(nodes, others):
        free = FREED.get(node.get_type_name())
        if free is not None:
            free(node, twin)
    graph.reshape([-1, -1, -1, 3])


def free_interpolate(node: Any, twin: Any) -> None:
    """Replace the target size of an upsampling layer by its scale, the same at every size."""
    from openvino import opset13 as operators  # optional library
    if len(node.inputs()) != 3:
        return
    attributes = node.get_attributes()
    axes = node.input_value(2).get_node()
    if attributes.pop('shape_calculation_mode') != 'sizes' or axes.get_type_name() != 'Constant':
        return
    before, after = node.get_input_shape(0), node.get_output_shape(0)
    scales = [after[axis] / before[axis] for axis in axes.data]
    scaled = operators.interpolate(
        node.input_value(0), np.array(scales, np.float32), attributes.pop('mode'), 'scales',
        axes=axes.output(0), **attributes)
    node.output(0).replace(scaled.output(0))


def free_reshape(node: Any, twin: Any) -> None:
    """Replace the constant shape of a reshape by one that follows the size of the image."""
    from openvino import opset13 as operators  # optional library
    shape, other = list(node.get_output_shape(0)), list(twin.get_output_shape(0))
    differing = [axis for axis, sides in enumerate(zip(shape, other)) if sides[0] != sides[1]]
    if not differing:
        return
    if len(differing) == 1:
        pattern = np.array([-1 if axis in differing else side for axis, side in enumerate(shape)])
        free = operators.reshape(node.input_value(0), pattern.astype(np.int64), False)
    else:
        source = same_size_above(node, twin, differing)
        sides = operators.shape_of(source, 'i64')
        parts = [operators.gather(sides, np.array([axis]), np.array(0)) if axis in differing
                 else operators.constant(np.array([side], np.int64))
                 for axis, side in enumerate(shape)]
        free = operators.reshape(node.input_value(0), operators.concat(parts, 0), False)
    node.output(0).replace(free.output(0))


def free_broadcast(node: Any, twin: Any) -> None:
    """Leave out an expansion to the shape that the input has already."""
    if list(node.get_input_shape(0)) == list(node.get_output_shape(0)):
        node.output(0).replace(node.input_value(0))
    elif list(node.get_output_shape(0)) != list(twin.get_output_shape(0)):
        raise RuntimeError('an expansion to a shape that depends on the size of the image')


def same_size_above(node: Any, twin: Any, axes: list[int]) -> Any:
    """
    Return an output above a node that has its sides at some axes, at both sizes.

    :raises RuntimeError: if there is none.
    """
    shape, other = node.get_output_shape(0), twin.get_output_shape(0)
    waiting, seen = [(node, twin)], set()
    while waiting:
        below, below_twin = waiting.pop(0)
        for own, others in zip(below.input_values(), below_twin.input_values()):
            above, above_twin = own.get_node(), others.get_node()
            if above.get_friendly_name() in seen:
                continue
            seen.add(above.get_friendly_name())
            sides, other_sides = (list(each.get_shape()) for each in (own, others))
            if len(sides) == len(shape) and all(
                    sides[axis] == shape[axis] and other_sides[axis] == other[axis]
                    for axis in axes):
                return own
            waiting.append((above, above_twin))
    raise RuntimeError('a shape that depends on the size of the image in an unknown way')


FREED = {
    'Interpolate': free_interpolate, 'Reshape': free_reshape, 'Broadcast': free_broadcast}
"""What is done about the operations whose constants depend on the size."""
