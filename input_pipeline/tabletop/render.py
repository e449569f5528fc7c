"""From an episode to pixels: frames, and the exact optical flow between any two of them.

T steps, H W pixels, N pixels of a layer's neighbourhood. Pixel (column u, row v), centres at
integers. Edges are smooth over one pixel, by the signed distance.
"""

from statistics import NormalDist

import numpy as np

from input_pipeline.errors import DataError
from input_pipeline.tabletop import shapes, textures

NOISE = 2.0  # standard deviation of the sensor's noise, of 255
# a normal value for each random byte: ten times faster than drawing normal values
_NORMAL = np.array([NormalDist().inv_cdf((byte + 0.5) / 256) for byte in range(256)], np.float32)
_FLICKER = 0.012  # standard deviation of the brightness from frame to frame


def _view(camera, size):
    """Camera matrix [2,2] (table units to pixels) and its centre [T or 1, 2] in pixels."""
    cos, sin = np.cos(camera.roll), np.sin(camera.roll)
    stretch = np.diag([1.0, -camera.squeeze]) * camera.zoom * size / 2
    matrix = np.array([[cos, -sin], [sin, cos]]) @ stretch
    centre = (size - 1) / 2 + matrix @ np.array(camera.offset) + camera.jitter_T2 * size / 64
    return matrix, centre


def _turn(angle_T):
    cos, sin = np.cos(angle_T), np.sin(angle_T)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def _placement(layer, matrix, centre):
    """Local -> pixel: matrices [T,2,2] and offsets [T,2]."""
    forward_T22 = matrix @ _turn(layer.pose_T3[:, 2])
    offset_T2 = layer.pose_T3[:, :2] @ matrix.T + centre
    return np.broadcast_to(forward_T22, (len(offset_T2), 2, 2)), offset_T2


def _window(layer, forward_T22, offset_T2, size):
    """First column and row [T,2] and size (w, h) of a box that holds the layer; None if outside."""
    x_low, x_high, y_low, y_high = shapes.bounds(layer.shape)
    corners = np.array([[x_low, y_low], [x_low, y_high], [x_high, y_low], [x_high, y_high]])
    corner_T42 = np.einsum("tij,cj->tci", forward_T22, corners) + offset_T2[:, None]
    low_T2 = np.clip(np.floor(corner_T42.min(1)).astype(int) - 1, 0, size)
    high_T2 = np.clip(np.ceil(corner_T42.max(1)).astype(int) + 2, 0, size)
    extent = (high_T2 - low_T2).max(0)
    if extent.min() <= 0:
        return None
    return np.minimum(low_T2, size - extent), extent


def _local(inverse_T22, shift_T2, u_T, v_T):
    """Local coordinates float32 of the pixel columns u [T,1,w] and rows v [T,h,1]."""
    m = inverse_T22.astype(np.float32)[:, :, :, None, None]
    b = shift_T2.astype(np.float32)[:, :, None, None]
    x = (m[:, 0, 0] * u_T + b[:, 0]) + m[:, 0, 1] * v_T
    y = (m[:, 1, 0] * u_T + b[:, 1]) + m[:, 1, 1] * v_T
    return x, y


def _paint(frames_THWC, layer, matrix, centre, size):
    """Blends one layer into the frames, in place."""
    forward_T22, offset_T2 = _placement(layer, matrix, centre)
    window = _window(layer, forward_T22, offset_T2, size)
    if window is None:
        return
    low_T2, (width, height) = window
    inverse_T22 = np.linalg.inv(forward_T22)
    shift_T2 = -np.einsum("tij,tj->ti", inverse_T22, offset_T2)
    u_T1W = (low_T2[:, 0, None] + np.arange(width))[:, None, :]
    v_TH1 = (low_T2[:, 1, None] + np.arange(height))[:, :, None]
    x, y = _local(inverse_T22, shift_T2, u_T1W.astype(np.float32), v_TH1.astype(np.float32))
    depth = -shapes.distance(layer.shape, x, y)
    scale = np.float32(np.sqrt(abs(np.linalg.det(matrix))))
    near_N = np.flatnonzero(depth > -0.5 / scale)
    depth_N = depth.take(near_N)
    color_N3 = textures.shade(layer.texture, x.take(near_N), y.take(near_N), depth_N)
    alpha_N1 = np.minimum(depth_N * scale + 0.5, 1)[:, None]
    row_TH1 = np.arange(len(low_T2))[:, None, None] * size + v_TH1
    flat_N = (row_TH1 * size + u_T1W).take(near_N)
    canvas = frames_THWC.reshape(-1, 3)
    below_N3 = canvas[flat_N]
    canvas[flat_N] = below_N3 + alpha_N1 * (color_N3 - below_N3)


def clean(episode, image_size=64):
    """Frames float32 [T,H,W,3], 0..1, as a perfect sensor would see them."""
    matrix, centre = _view(episode.camera, image_size)
    frames_THWC = np.zeros((len(centre), image_size, image_size, 3), np.float32)
    steps = len(episode.state_T3)
    for layer in episode.layers:
        if len(frames_THWC) < steps and len(layer.pose_T3) > 1:
            frames_THWC = np.repeat(frames_THWC, steps, 0)
        _paint(frames_THWC, layer, matrix, centre, image_size)
    frames_THWC *= episode.light
    return np.clip(frames_THWC, 0, 1, out=frames_THWC)


def frames(episode, image_size=64, noise=True):
    """Frames uint8 [T,H,W,3] RGB of an episode; noise: with the sensor's noise and flicker."""
    _check_size(image_size)
    frames_THWC = clean(episode, image_size)
    frames_THWC *= np.float32(255)
    if noise:
        rng = np.random.default_rng([episode.seed, *episode.scene.encode(), 2])
        steps = len(frames_THWC)
        gain_T = rng.normal(1, _FLICKER, (steps, 1, 1, 1)).astype(np.float32)
        bytes_THWC = rng.integers(0, 256, frames_THWC.shape, np.uint8)
        frames_THWC *= gain_T
        frames_THWC += np.float32(NOISE) * _NORMAL[bytes_THWC]
    frames_THWC += np.float32(0.5)
    return np.clip(frames_THWC, 0, 255, out=frames_THWC).astype(np.uint8)


def _check_size(image_size):
    if not 16 <= image_size <= 1024:
        raise DataError(f"image_size is {image_size}; allowed are 16 to 1024 pixels, usually 64")


def _at(values_T, t):
    return values_T[min(t, len(values_T) - 1)]


def _top(episode, t, u, v, image_size):
    """Number of the top-most layer [N] at the pixels (u, v) [N], its local coordinates [N,2]."""
    matrix, centre = _view(episode.camera, image_size)
    number_N = np.zeros(u.shape, int)
    local_N2 = np.zeros((*u.shape, 2))
    for number, layer in enumerate(episode.layers):
        forward_T22, offset_T2 = _placement(layer, matrix, centre)
        inverse = np.linalg.inv(_at(forward_T22, t))
        point_N2 = (np.stack([u, v], -1) - _at(offset_T2, t)) @ inverse.T
        inside_N = shapes.distance(layer.shape, point_N2[..., 0], point_N2[..., 1]) <= 0
        number_N[inside_N] = number
        local_N2[inside_N] = point_N2[inside_N]
    return number_N, local_N2


def _flow_and_top(episode, t, gap, image_size):
    _check_size(image_size)
    steps = len(episode.state_T3)
    if t < 0 or gap < 0 or t + gap >= steps:
        raise DataError(
            f"no flow from step {t} to step {t + gap}: the episode has steps 0..{steps - 1}"
        )
    v, u = np.mgrid[:image_size, :image_size].astype(float)
    number_HW, local_HW2 = _top(episode, t, u, v, image_size)
    matrix, centre = _view(episode.camera, image_size)
    target_HW2 = np.zeros(local_HW2.shape)
    for number, layer in enumerate(episode.layers):
        forward_T22, offset_T2 = _placement(layer, matrix, centre)
        inside = number_HW == number
        target_HW2[inside] = local_HW2[inside] @ _at(forward_T22, t + gap).T
        target_HW2[inside] += _at(offset_T2, t + gap)
    return target_HW2 - np.stack([u, v], -1), number_HW, target_HW2


def flow(episode, t, gap=1, image_size=64):
    """Exact optical flow float32 [H,W,2] (dx right, dy down) in pixels from step t to t + gap.

    Every pixel follows the surface seen there at step t, also where something hides it later.
    """
    return _flow_and_top(episode, t, gap, image_size)[0].astype(np.float32)


def visible(episode, t, gap=1, image_size=64):
    """bool [H,W]: the surface seen at step t is still in the picture and unhidden at t + gap."""
    _, number_HW, target_HW2 = _flow_and_top(episode, t, gap, image_size)
    u, v, middle = target_HW2[..., 0], target_HW2[..., 1], (image_size - 1) / 2
    later_HW, _ = _top(episode, t + gap, u, v, image_size)
    within = np.maximum(abs(u - middle), abs(v - middle)) < middle + 1e-3
    return (later_HW == number_HW) & within
