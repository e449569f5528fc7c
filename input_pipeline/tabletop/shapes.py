"""Planar shapes as signed distances in their own coordinates (table units, negative inside).

A shape is a tuple (kind, *sizes). N points of any array shape.
"""

import numpy as np


def _disc(x, y, radius):
    return np.sqrt(x * x + y * y) - radius


def _ring(x, y, radius, half):
    return np.abs(np.sqrt(x * x + y * y) - radius) - half


def _box(x, y, half_x, half_y, round_):
    dx = np.abs(x) - (half_x - round_)
    dy = np.abs(y) - (half_y - round_)
    outside = np.sqrt(np.maximum(dx, 0) ** 2 + np.maximum(dy, 0) ** 2)
    return outside + np.minimum(np.maximum(dx, dy), 0) - round_


def _taper(x, y, length, start, end):
    along = np.clip(x / length, 0, 1)
    across = x - along * length
    return np.sqrt(across * across + y * y) - (start + (end - start) * along)


def _hook(x, y, radius, half, side):
    """A half ring on the side of +y (side 1) or -y (side -1), hinged at its start (0, 0)."""
    ring = np.abs(np.sqrt((x - radius) ** 2 + y * y) - radius) - half
    return np.maximum(ring, -side * y - half)


_DISTANCE = {"disc": _disc, "ring": _ring, "box": _box, "taper": _taper, "hook": _hook}


def distance(shape, x, y):
    """Signed distance [N] of the points (x, y) [N] to the edge of the shape, negative inside."""
    kind, *sizes = shape
    if kind == "plane":
        return np.full(np.broadcast_shapes(np.shape(x), np.shape(y)), -9.0, np.float32)
    return _DISTANCE[kind](x, y, *sizes)


def bounds(shape):
    """The box around the shape in its own coordinates: (x_low, x_high, y_low, y_high)."""
    kind, *sizes = shape
    if kind == "plane":
        return (-9.0, 9.0, -9.0, 9.0)
    if kind == "disc":
        return (-sizes[0], sizes[0], -sizes[0], sizes[0])
    if kind == "ring":
        outer = sizes[0] + sizes[1]
        return (-outer, outer, -outer, outer)
    if kind == "box":
        return (-sizes[0], sizes[0], -sizes[1], sizes[1])
    if kind == "taper":
        wide = max(sizes[1:])
        return (-sizes[1], sizes[0] + sizes[2], -wide, wide)
    radius, half, side = sizes
    low, high = sorted((-side * half, side * (radius + half)))
    return (-half, 2 * radius + half, low, high)
