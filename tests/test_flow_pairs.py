"""Procedural pairs: the flow is exact, what is hidden is known, and the lessons are many."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lam.ops import flow_pairs, flow_scenes, flow_textures

SIZE, COUNT = 64, 96
MOST = 7.5  # pixels: 30 in 256
KEYS = jax.random.split(jax.random.key(0), COUNT)


@pytest.fixture(scope="module")
def plain():
    """Many pairs without noise: first, second, flow, visible."""
    make = jax.jit(
        lambda keys: jax.lax.map(lambda key: flow_pairs.make(key, SIZE, plain=True), keys)
    )
    return [np.asarray(x) for x in make(KEYS)]


@pytest.fixture(scope="module")
def filmed():
    batch = jax.jit(lambda keys: flow_pairs.batch(keys, SIZE, MOST))
    return batch, [np.asarray(x) for x in batch(KEYS)]


def warp(second, flow):
    """Frame 2 brought back to frame 1 by OpenCV, bilinear: float32 [H,W,3]."""
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    return cv2.remap(
        second.astype(np.float32), x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR
    )


def decibel(first, other, mask):
    error = ((first.astype(np.float32) - other) ** 2).mean(axis=-1)[mask].mean()
    return 10 * np.log10(255**2 / max(error, 1e-2))


def test_shapes_and_types(filmed):
    first, second, flow, visible = filmed[1]
    assert first.shape == second.shape == (COUNT, SIZE, SIZE, 3)
    assert flow.shape == (COUNT, SIZE, SIZE, 2)
    assert visible.shape == (COUNT, SIZE, SIZE)
    assert [x.dtype.name for x in filmed[1]] == ["uint8", "uint8", "float32", "bool"]
    assert np.isfinite(flow).all()


def test_frame_2_warped_back_is_frame_1(plain):
    """At least 30 dB in every pair and 37 in the middle one, on visible pixels, by one bilinear
    interpolation; without the flow it is far less in the pairs that move much."""
    found, without = [], []
    for first, second, flow, visible in zip(*plain, strict=True):
        found.append(decibel(first, warp(second, flow), visible))
        without.append(decibel(first, second, visible))
    assert min(found) > 30
    assert np.median(found) > 37
    large = np.linalg.norm(plain[2], axis=-1).mean(axis=(1, 2)) > 2
    assert large.sum() >= 5
    assert (np.array(found)[large] > np.array(without)[large] + 6).all()


def test_a_flow_a_pixel_off_would_be_noticed(plain):
    worse = [
        decibel(first, warp(second, flow + np.float32([1, 0])), visible)
        - decibel(first, warp(second, flow), visible)
        for first, second, flow, visible in zip(*plain, strict=True)
    ]
    assert np.median(worse) < -8


def square_scene(shift, grow=1.0):
    """A square of 20 pixels in the middle of the frame before a backdrop, moved and scaled."""
    scene = jax.jit(lambda key: flow_scenes.scene(key, SIZE, SIZE, 0.0))(jax.random.key(3))
    scene = {name: np.array(x) for name, x in scene.items()}
    top = flow_scenes.LAYERS - 1
    middle = np.full(2, (SIZE - 1) / 2)
    scene["shown"][1:], scene["shown"][top] = False, True
    scene["local"][top] = np.concatenate([np.eye(2), -middle[:, None]], axis=1)
    scene["extent"][top], scene["corner"][top], scene["ring"][top] = 10, 0, 0
    scene["bumps"][top] = 0
    scene["motion"][top] = flow_scenes.affine(grow * jnp.eye(2), jnp.array(shift), middle)
    return scene


@pytest.mark.parametrize(("shift", "grow"), [((7.0, 0.0), 1.0), ((-3.0, 5.0), 1.0), ((0, 0), 1.5)])
def test_what_a_square_hides(shift, grow):
    canvas = jax.random.uniform(jax.random.key(1), (flow_scenes.CANVASES, SIZE, SIZE, 3))
    expose = jax.jit(lambda scene: flow_pairs.expose(scene, canvas, SIZE))
    _, _, flow, visible = (np.asarray(x) for x in expose(square_scene(shift, grow)))
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    square = (np.abs(x) < 10) & (np.abs(y) < 10)
    new_place = (np.abs(x - shift[0]) < 10 * grow) & (np.abs(y - shift[1]) < 10 * grow)
    expected = np.stack([(grow - 1) * x + shift[0], (grow - 1) * y + shift[1]], axis=-1)
    np.testing.assert_allclose(flow, np.where(square[..., None], expected, 0), atol=1e-4)
    np.testing.assert_array_equal(visible, square | ~new_place)


def test_points_that_leave_the_frame_are_not_visible(plain):
    _, _, flow, visible = plain
    y, x = np.mgrid[:SIZE, :SIZE]
    there = np.stack([x, y], axis=-1) + flow
    beyond = np.abs(there - (SIZE - 1) / 2).max(axis=-1) - (SIZE - 1) / 2  # pixels, up to rounding
    assert (beyond > 1).any()
    assert not visible[beyond > 1e-4].any()
    hidden = ~visible & (beyond < -1e-4)
    assert 0.001 < hidden.mean() < 0.1


def test_magnitudes_and_kinds(plain):
    first, second, flow, _ = plain
    speed = np.linalg.norm(flow, axis=-1)
    longest = speed.max(axis=(1, 2))
    assert 0.75 * MOST < longest.max() <= MOST * 1.001
    still = longest == 0
    assert 0.04 < still.mean() < 0.4
    np.testing.assert_array_equal(first[still], second[still])
    moving = longest[~still]
    assert (moving < 0.25 * MOST).mean() > 0.15
    assert (moving > 0.5 * MOST).mean() > 0.15
    background = np.median(flow, axis=(1, 2))
    assert 0.2 < (np.linalg.norm(background, axis=-1) > 0.05).mean() < 0.7
    angles = np.arctan2(*flow[speed > 0.5].T)
    assert (np.histogram(angles, 8)[0] > 0).all()


def test_the_same_key_is_the_same_pair_one_by_one_or_at_once(filmed):
    batch, found = filmed
    at_once = jax.jit(jax.vmap(lambda key: flow_pairs.make(key, SIZE, MOST)))(KEYS[4:6])
    np.testing.assert_allclose(at_once[2], found[2][4:6], atol=1e-4)
    assert (at_once[3] == found[3][4:6]).mean() > 0.999
    for whole, frames in zip(found[:2], at_once[:2], strict=True):
        assert np.abs(whole[4:6].astype(int) - np.asarray(frames)).max() <= 1
    for before, again in zip(found, batch(KEYS), strict=True):
        np.testing.assert_array_equal(before, again)
    assert (found[0][5] != found[0][6]).mean() > 0.5


def test_film_changes_the_frames_and_not_the_flow(plain, filmed):
    np.testing.assert_array_equal(plain[2], filmed[1][2])
    still = np.abs(plain[2]).max(axis=(1, 2, 3)) == 0
    first, second = (x[still].astype(np.float32) for x in filmed[1][:2])
    change = np.abs(first - second).mean(axis=(1, 2, 3))
    assert (change > 1).any()
    assert change.max() < 60
    light = np.abs((first - second).mean(axis=(1, 2, 3)))
    assert (light > 2).any()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-0.375, 0.375, width=32), min_size=12, max_size=12))
def test_affine_matrices(numbers):
    one, other = np.reshape(np.float32(numbers), (2, 2, 3)) + np.float32([[1, 0, 3], [0, 1, -2]])
    points = np.random.default_rng(0).normal(size=(5, 2))
    apply = lambda matrix, points: points @ np.asarray(matrix)[:, :2].T + matrix[:, 2]  # noqa: E731
    both = flow_scenes.compose(jnp.asarray(one), jnp.asarray(other))
    np.testing.assert_allclose(apply(both, points), apply(one, apply(other, points)), atol=1e-4)
    if abs(np.linalg.det(one[:, :2])) > 0.1:
        back = flow_scenes.inverse(jnp.asarray(one))
        np.testing.assert_allclose(apply(back, apply(one, points)), points, atol=1e-3)
    linear, shift, centre = one[:, :2], one[:, 2], other[:, 2]
    moved = apply(flow_scenes.affine(linear, shift, centre), points)
    np.testing.assert_allclose(moved, (points - centre) @ linear.T + centre + shift, atol=1e-4)


def test_textures_repeat_without_a_seam():
    keys = jax.random.split(jax.random.key(0), 12)
    canvas = np.asarray(jax.jit(jax.vmap(lambda key: flow_textures.canvas(key, 128)))(keys))
    assert canvas.shape == (12, 128, 128, 3)
    assert canvas.min() >= 0
    assert canvas.max() <= 1
    assert (canvas.std(axis=(1, 2)) > 0.02).mean() > 0.9
    step = np.abs(np.diff(canvas[..., :2], axis=2)).mean()
    seam = np.abs(canvas[:, :, 0, :2] - canvas[:, :, -1, :2]).mean()
    assert seam < 1.5 * step


def test_sample_is_bilinear_and_repeats():
    canvases = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
    u, v = jax.random.uniform(jax.random.key(1), (2, 5, 7), minval=-40.0, maxval=40.0)
    number = jax.random.randint(jax.random.key(2), (5, 7), 0, 2)
    found = flow_textures.sample(canvases, number, u, v)
    expected = [
        [
            ndimage.map_coordinates(canvas[..., k], [v, u], order=1, mode="grid-wrap")
            for k in range(3)
        ]
        for canvas in np.asarray(canvases)
    ]
    expected = np.moveaxis(np.where(np.asarray(number) == 0, *expected), 0, -1)
    np.testing.assert_allclose(found, expected, atol=1e-4)
