"""What a flow field says in a few numbers: the table of known cases, numpy and scipy as oracles."""

import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from lam.ops import motion

VECTORS = ("mean", "weighted", "thresholded")
summary = jax.jit(motion.summary)


@functools.cache
def warps(path):
    return dict(np.load(path / "flow" / "synthetic_warps_192.npz"))


@pytest.fixture
def exact(real_data):
    """The summaries of all 30 pairs with exact flow, and their kinds."""
    data = warps(real_data)
    return jax.tree.map(np.asarray, summary(data["flow"].astype(np.float32))), data["kind"]


def dis(data, index):
    """Flow of a pair by OpenCV's DIS, float32 [H,W,2]."""
    grey = [cv2.cvtColor(data[key][index], cv2.COLOR_RGB2GRAY) for key in ("frame1", "frame2")]
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)


def background(shape, matrix):
    """The affine field matrix @ (x, y, 1), pixels from the centre: float64 [H,W,2]."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    x, y = x - (shape[1] - 1) / 2, y - (shape[0] - 1) / 2
    return np.stack([x, y, np.ones_like(x)], axis=-1) @ np.transpose(matrix)


# pair of synthetic_warps_192, plain mean, weighted, thresholded, weighted less the median
TABLE = {
    "one small mover": (14, (0.33, -0.10), (7.74, -2.34), (7.72, -2.32), (7.74, -2.34)),
    "two opposed movers": (19, (0.09, 0.10), (1.12, 0.89), (1.33, 1.45), (1.12, 0.89)),
    "mover and pan": (24, (-1.70, -0.96), (-0.95, -0.01), (-1.70, -0.96), (7.17, 9.02)),
    "static": (26, (0, 0), (0, 0), (0, 0), (0, 0)),
}


@pytest.mark.parametrize("case", TABLE)
def test_table_of_exact_flow(exact, case):
    found, _ = exact
    index, *vectors, relative = TABLE[case]
    for name, vector in zip(VECTORS, vectors, strict=True):
        np.testing.assert_allclose(found["raw"][name][index], vector, atol=0.01)
    for name in ("median", "affine"):
        np.testing.assert_allclose(found[name]["weighted"][index], relative, atol=0.01)


def test_flags_of_exact_flow(exact):
    found, kind = exact
    raw, relative = found["raw"], found["affine"]
    still = np.isin(kind, ("static_noise", "light_change"))
    np.testing.assert_array_equal(raw["is_static"], still)
    camera = np.isin(kind, ("affine", "shift", "rot", "zoom"))
    np.testing.assert_array_equal(relative["is_static"], still | camera)
    mover = np.isin(kind, ("one_mover", "mover_plus_pan"))
    assert (relative["coherence"][mover] > 0.99).all()
    two = kind == "two_movers"
    assert ((raw["coherence"][two] > 0.27) & (raw["coherence"][two] < 0.49)).all()
    np.testing.assert_allclose(relative["background"][24], (-2.0, -1.4), atol=0.05)


def test_estimated_flow_of_a_static_pair_with_noise_is_static(real_data):
    """DIS says 0.1 px nearly everywhere, which a limit on the sum of lengths takes for motion."""
    data = warps(real_data)
    for index in np.flatnonzero(np.isin(data["kind"], ("static_noise", "light_change"))):
        flow = dis(data, index)
        assert np.linalg.norm(flow, axis=-1).sum() > 1000
        found = summary(flow)["raw"]
        assert found["is_static"]
        np.testing.assert_array_equal(found["thresholded"], 0)
    found = summary(dis(data, 14))["raw"]
    assert not found["is_static"]
    np.testing.assert_allclose(found["weighted"], (6.72, -1.68), atol=0.02)
    np.testing.assert_allclose(found["thresholded"], (5.39, -1.28), atol=0.02)


@pytest.mark.parametrize("shape", [(5, 8), (40, 31), (192, 192)])
def test_averages_against_numpy(shape):
    flow = np.random.default_rng(0).normal(0.3, 1.0, (*shape, 2)).astype(np.float32)
    found = jax.tree.map(np.asarray, summary(flow, 0.5))
    median = np.median(flow, axis=(0, 1))
    np.testing.assert_array_equal(found["median"]["background"], median)
    for name, left in (("raw", flow), ("median", flow - median)):
        speed = np.linalg.norm(left, axis=-1)
        weighted = np.average(left, axis=(0, 1), weights=np.repeat(speed[..., None], 2, -1))
        expected = {
            "mean": left.mean(axis=(0, 1)),
            "weighted": weighted,
            "thresholded": left[speed > 0.5].mean(axis=0),
            "moving_fraction": (speed > 0.5).mean(),
            "coherence": np.linalg.norm(left.sum(axis=(0, 1))) / speed.sum(),
        }
        for key, value in expected.items():
            np.testing.assert_allclose(found[name][key], value, atol=1e-5)
        rate = weighted / (shape[1], shape[0]) / 0.5
        np.testing.assert_allclose(found[name]["weighted_rate"], rate, atol=1e-6)


def test_affine_background_minimises_its_robust_error():
    """scipy finds the same minimum of the Geman-McClure error, whose scale is at its floor here."""
    rng = np.random.default_rng(1)
    matrix = np.array([[0.02, -0.05, 1.5], [0.04, -0.01, -2.0]])
    flow = background((24, 32), matrix) + rng.normal(0, 0.1, (24, 32, 2))
    flow[5:15, 10:22] += (6.0, -4.0)
    y, x = np.mgrid[:24, :32]
    design = np.stack([x.ravel() - 15.5, y.ravel() - 11.5, np.full(24 * 32, 10.0)], axis=1) / 10

    def error(fit):
        square = ((design @ fit.reshape(3, 2) - flow.reshape(-1, 2)) ** 2).sum(axis=1)
        return (square / (1 + square / motion.FIT_SCALE**2)).sum()

    start = np.array([0, 0, 0, 0, *np.median(flow, axis=(0, 1))])
    best = optimize.minimize(error, start).x.reshape(3, 2)
    field, found = motion.affine_background(flow.astype(np.float32))
    np.testing.assert_allclose(found, best.T / (10, 10, 1), atol=1e-3)
    np.testing.assert_allclose(field, background((24, 32), np.asarray(found)), atol=1e-5)


@pytest.mark.parametrize(("share", "shift"), [(0.05, 20.0), (0.2, 9.0), (0.3, 12.0)])
def test_a_mover_before_a_turning_and_zooming_camera(share, shift):
    height, width = 96, 128
    matrix = np.array([[0.06, -0.08, -3.0], [0.08, 0.06, 2.0]])
    flow = background((height, width), matrix)
    rows = round((share * height * width) ** 0.5)
    flow[8 : 8 + rows, 12 : 12 + rows] += (shift, 0)
    found = summary(flow.astype(np.float32))["affine"]
    np.testing.assert_allclose(found["thresholded"], (shift, 0), atol=0.1)
    np.testing.assert_allclose(found["moving_fraction"], rows**2 / (height * width), atol=1e-3)
    np.testing.assert_allclose(found["background"], matrix[:, 2], atol=0.02)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_weighted_median_is_the_median_of_repeated_values(data):
    numbers, whole = st.floats(-1e6, 1e6, width=32), st.integers(0, 3)
    values = np.array(data.draw(st.lists(numbers, min_size=9, max_size=9)), np.float32)
    counts = np.array(data.draw(st.lists(whole, min_size=9, max_size=9)))
    found = jax.jit(motion.weighted_median)(values, counts.astype(np.float32))
    expected = np.median(np.repeat(values, counts)) if counts.sum() else 0.0
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 10))
def test_laws(seed, factor):
    """Twice the weight is the same; a mirrored field has mirrored vectors; rates are linear."""
    flow = 3 * np.random.default_rng(seed).normal(size=(12, 16, 2)).astype(np.float32)
    weight = np.random.default_rng(seed + 1).uniform(size=(12, 16)).astype(np.float32)
    plain = summary(flow, factor, weight)
    heavier = summary(flow, factor, 2 * weight)
    mirrored = summary(flow[:, ::-1] * np.array([-1, 1], np.float32), factor, weight[:, ::-1])
    for name, found in plain.items():
        assert 0 <= found["coherence"] <= 1
        for key in VECTORS:
            np.testing.assert_allclose(found[key], heavier[name][key], atol=2e-4)
            expected = mirrored[name][key] * np.array([-1, 1])
            np.testing.assert_allclose(
                found[key], expected, atol=0.05 if name == "affine" else 1e-4
            )
            rate = found[key] / np.array([16, 12]) / np.float32(factor)
            np.testing.assert_allclose(found[f"{key}_rate"], rate, rtol=1e-4, atol=1e-7)


def test_masked_pixels_count_nowhere():
    flow = np.full((32, 32, 2), (1.0, -2.0), np.float32)
    flow[:20] = 50.0
    weight = np.ones((32, 32), np.float32)
    weight[:20] = 0
    found = summary(flow.astype(np.float16), 1.0, weight > 0)
    np.testing.assert_allclose(found["raw"]["mean"], (1, -2), rtol=1e-6)
    np.testing.assert_allclose(found["median"]["background"], (1, -2))
    np.testing.assert_allclose(found["affine"]["background"], (1, -2), rtol=1e-5)
    assert found["affine"]["is_static"]


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_zero_flow_and_zero_weight_give_numbers_and_gradients(weight):
    flow, weight = np.zeros((16, 16, 2), np.float32), np.full((16, 16), weight, np.float32)

    def total(flow):
        found = motion.summary(flow, 1.0, weight)
        return sum(jnp.sum(found[name][key]) for name in found for key in VECTORS), found

    grad, found = jax.jit(jax.grad(total, has_aux=True))(flow)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((grad, found)))
    assert found["raw"]["is_static"]
    assert found["raw"]["coherence"] == 0


def test_gradient_of_the_weighted_mean_against_differences():
    flow = jax.random.normal(jax.random.key(0), (6, 5, 2))
    value = jax.jit(lambda flow: motion.summary(flow)["raw"]["weighted"][0])
    direction = jax.random.normal(jax.random.key(1), flow.shape)
    slope = (value(flow + 1e-2 * direction) - value(flow - 1e-2 * direction)) / 2e-2
    np.testing.assert_allclose(
        jnp.vdot(jax.jit(jax.grad(value))(flow), direction), slope, rtol=2e-2
    )


def test_batched_equals_mapped_equals_one_by_one():
    flow = jax.random.normal(jax.random.key(0), (2, 3, 12, 16, 2))
    seconds = jnp.array([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]])
    batched = summary(flow, seconds)
    mapped = jax.jit(jax.vmap(jax.vmap(motion.summary)))(flow, seconds)
    single = summary(flow[1, 2], 3.0)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), batched, mapped)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[1, 2], y, atol=1e-5), batched, single)
