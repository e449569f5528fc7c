"""RAFT: its parts against plain numpy, the whole net's laws, and the supplied flows.

B batch, H W pixels, h w cells, P cells of all frames, r radius of a window.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raft_fixtures import pair, random_frames, random_weights, supplied_weights
from scipy import ndimage

from lam.models import raft_parts, raft_update
from lam.models.raft import (
    SIZES,
    Forms,
    Raft,
    block_mean,
    check_frames,
    estimate,
    normalise,
    shapes,
)

SIDE = 128


@pytest.mark.parametrize(("size", "count"), [("small", 990_162), ("large", 5_257_536)])
def test_published_number_of_parameters(size, count):
    tree = shapes(size)
    assert sum(x.size for x in jax.tree.leaves(tree["params"])) == count
    assert set(tree) == {"params"} | ({"batch_stats"} if size == "large" else set())


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from([(1, 1), (3, 3), (7, 7), (1, 5), (5, 1)]),
    st.integers(5, 8), st.integers(5, 8), st.sampled_from([2, 33]), st.sampled_from([3, 32]),
)  # fmt: skip
def test_products_are_the_convolution(size, height, width, channels, features):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, height, width, channels)).astype(np.float32)
    kernel = rng.normal(size=(*size, channels, features)).astype(np.float32)
    found = raft_parts.convolve(x, raft_parts.as_products(jnp.asarray(kernel)))
    np.testing.assert_allclose(found, raft_parts.convolve(x, kernel), atol=2e-4)


def test_convolution_with_a_stride_pads_both_sides():
    x = np.arange(2 * 6 * 6 * 3, dtype=np.float32).reshape(2, 6, 6, 3)
    kernel = np.zeros((3, 3, 3, 1), np.float32)
    kernel[0, 0, 0] = 1  # reads the pixel above and left of the centre
    found = raft_parts.convolve(x, kernel, 2)[..., 0]
    np.testing.assert_array_equal(found[:, 0], 0)
    np.testing.assert_array_equal(found[:, 1:, 1:], x[:, 1:4:2, 1:4:2, 0])


def volume(rows, columns, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(1, rows, columns, 8)).astype(np.float32)
    second = rng.normal(size=(1, rows, columns, 8)).astype(np.float32)
    return first, second, raft_update.correlation_pyramid(jnp.asarray(first), jnp.asarray(second))


@pytest.mark.parametrize("grid", [(16, 16), (17, 22)])
def test_pyramid_is_the_pooled_volume(grid):
    """Also for odd sides, whose last row or column falls away."""
    first, second, levels = volume(*grid)
    expected = np.einsum("bijc,byxc->ijyx", first, second).reshape(-1, *grid) / np.sqrt(8)
    for level in levels:
        np.testing.assert_allclose(level, expected.swapaxes(1, 2), atol=1e-5)
        rows, columns = expected.shape[1] // 2, expected.shape[2] // 2
        even = expected[:, : 2 * rows, : 2 * columns]
        expected = even.reshape(-1, rows, 2, columns, 2).mean(axis=(2, 4))


@pytest.mark.parametrize("form", ["gather", "matmul"])
@pytest.mark.parametrize("radius", [3, 4])
def test_lookup_is_bilinear_with_zeros_outside(form, radius):
    *_, levels = volume(16, 18)
    rng = np.random.default_rng(1)
    near = rng.uniform(-12, 30, (16 * 18, 2)).astype(np.float32)
    near[:4] = [[1e7, 3], [-1e7, -1e7], [0, 0], [17, 15]]
    levels = [np.asarray(level) for level in levels]
    prepared = raft_update.prepare_lookup([jnp.asarray(x) for x in levels], radius, form)
    found = raft_update.lookup(prepared, jnp.asarray(near), radius, form)
    offsets = np.arange(-radius, radius + 1)
    i, j = np.meshgrid(offsets, offsets, indexing="ij")
    for p in [*range(8), 100, 287]:
        expected = [
            ndimage.map_coordinates(
                np.pad(level[p], 1),  # so that one step outside still blends with zero
                [near[p, 0] / 2**n + i.ravel() + 1, near[p, 1] / 2**n + j.ravel() + 1],
                order=1, mode="constant",
            )
            for n, level in enumerate(levels)
        ]  # fmt: skip
        np.testing.assert_allclose(found[p], np.concatenate(expected), atol=2e-5)


def test_upsampling_aligns_corners():
    flow = np.random.default_rng(0).normal(size=(1, 4, 5, 2)).astype(np.float32)
    y, x = np.mgrid[:32, :40]
    at = [y * 3 / 31, x * 4 / 39]
    expected = [8 * ndimage.map_coordinates(flow[0, ..., c], at, order=1) for c in (0, 1)]
    found = raft_update.upsample_bilinear(jnp.asarray(flow))[0]
    np.testing.assert_allclose(found, np.stack(expected, -1), atol=1e-5)


def test_convex_upsampling_weighs_the_cells_around():
    rng = np.random.default_rng(0)
    flow = rng.normal(size=(1, 3, 4, 2)).astype(np.float32)
    mask = rng.normal(size=(1, 3, 4, 576)).astype(np.float32)
    found = raft_update.upsample_convex(jnp.asarray(flow), jnp.asarray(mask))
    around = np.pad(8 * flow[0], ((1, 1), (1, 1), (0, 0)))
    for y, x, row, column in [(0, 0, 0, 0), (1, 2, 3, 5), (2, 3, 7, 1)]:
        weight = np.exp(mask[0, y, x].reshape(9, 8, 8)[:, row, column])
        cells = around[y : y + 3, x : x + 3].reshape(9, 2)
        expected = weight @ cells / weight.sum()
        np.testing.assert_allclose(found[0, 8 * y + row, 8 * x + column], expected, atol=1e-5)


def test_batch_norm_in_training_and_frozen():
    norm = raft_parts.BatchNorm()
    x = 3 * jax.random.normal(jax.random.key(0), (2, 4, 4, 5)) + 1
    variables = norm.init(jax.random.key(1), x, True)
    assert variables["batch_stats"]["count"] == 0
    out, new = norm.apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(out.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std((0, 1, 2)), 1, atol=1e-4)
    stats = new["batch_stats"]
    np.testing.assert_allclose(stats["mean"], 0.1 * x.mean((0, 1, 2)), rtol=1e-5)
    unbiased = x.var((0, 1, 2)) * 32 / 31
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * unbiased, rtol=1e-5)
    assert stats["count"] == 1
    frozen = norm.apply(variables, x, False)
    np.testing.assert_allclose(frozen, x / np.sqrt(1 + 1e-5), rtol=1e-5)


PLAIN = Forms("gather", False)  # compiles in half the time


@functools.cache
def small():
    """(weights, two pairs of frames, f(weights, *frames, start) of a small net: two updates)."""
    variables = random_weights("small")
    variables["params"]["head"]["conv2"]["bias"] += np.float32([0.3, -0.2])
    frames = [normalise(jnp.asarray(x)) for x in random_frames(2, SIDE, SIDE, 3)]
    model = Raft("small", forms=PLAIN)
    apply = jax.jit(lambda v, a, b, start=NOTHING: model.apply(v, a, b, 2, start))
    return variables, frames, apply


NOTHING = jnp.zeros((2, SIDE // 8, SIDE // 8, 2))


def test_every_ends_with_the_last_and_updates_differ():
    variables, frames, apply = small()
    model = Raft("small", forms=PLAIN)
    every = jax.jit(lambda v, a, b: model.apply(v, a, b, 2, every=True))(variables, *frames)
    last = apply(variables, *frames)
    assert (every.shape, every.dtype) == ((2, 2, SIDE, SIDE, 2), jnp.float32)
    np.testing.assert_allclose(every[-1], last, atol=1e-4)
    assert np.abs(every[0] - every[1]).mean() > 0.01
    assert 0.5 < np.abs(last).max() < 100


def test_samples_do_not_see_each_other():
    variables, (first, second), apply = small()
    both, swapped = (apply(variables, first[::i], second[::i]) for i in (1, -1))
    np.testing.assert_allclose(both, swapped[::-1], atol=1e-4)
    assert np.abs(both[0] - both[1]).max() > 0.1


def test_zero_head_gives_zero_flow_and_keeps_the_start():
    variables, frames, apply = small()
    zero = jax.tree.map(np.zeros_like, variables["params"]["head"])
    variables = {"params": {**variables["params"], "head": zero}}
    assert not np.any(apply(variables, *frames))
    found = apply(variables, *frames, NOTHING + jnp.asarray([0.5, -0.25]))
    np.testing.assert_allclose(found, np.broadcast_to([4.0, -2.0], found.shape), atol=1e-5)


def test_scratch_memory_does_not_grow_with_updates():
    variables, frames, _ = small()
    model = Raft("small", forms=PLAIN)
    few, many = (
        jax.jit(lambda v, a, b, start, n=n: model.apply(v, a, b, n, start))
        .lower(variables, *frames, NOTHING).compile().memory_analysis().temp_size_in_bytes
        for n in (2, 24)
    )  # fmt: skip
    assert many <= few * 1.01


def test_gradients_reach_every_parameter():
    variables, frames, _ = small()
    model = Raft("small", forms=PLAIN, remat=True)

    def loss(params, first, second):
        return jnp.mean(jnp.abs(model.apply({"params": params}, first, second, 2) - 1.0))

    gradients = jax.jit(jax.grad(loss))(variables["params"], *(x[:1] for x in frames))
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        idle = path[0].key == "feature" and path[-1].key == "bias"  # before an instance norm
        assert idle or np.abs(gradient).max() > 0, path


def test_frames_that_do_not_fit_are_refused():
    frame = jnp.zeros((2, 128, 136, 3))
    for other in (frame[:, :, :130], frame[..., :2], frame[:, :120]):
        with pytest.raises(ValueError, match="frames must"):
            check_frames(other, other)
    with pytest.raises(ValueError, match="one shape"):
        check_frames(frame, frame[:1])


@pytest.mark.parametrize("side", [(130, 141), (40, 30)])
def test_estimate_takes_any_size(side):
    """A constant flow comes back in pixels of the given frames, whatever was done to them."""
    params = random_weights("small")["params"]
    params["head"] = jax.tree.map(np.zeros_like, params["head"])
    params["head"]["conv2"]["bias"] = np.float32([0.25, -0.5])
    frames = [(255 * x).astype(np.uint8) for x in random_frames(1, *side, 3)]
    run = jax.jit(lambda v, a, b: estimate(Raft("small", forms=PLAIN), v, a, b, 1))
    found = run({"params": params}, *frames)
    factor = -(-128 // min(side)) if min(side) < 128 else 1
    expected = np.array([2.0, -4.0]) / factor
    np.testing.assert_allclose(found, np.broadcast_to(expected, (1, *side, 2)), atol=1e-5)


def test_block_mean():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(block_mean(x, 2)[0, ..., 0], [[2.5, 4.5], [10.5, 12.5]])


def test_flow_is_that_of_the_original(real_data):
    """Of a pair that is padded; more pairs and updates in test_raft_oracles.py."""
    folder = real_data / "flow"
    variables = supplied_weights(folder / "raft_small_random_seeded_torchvision_names.npz")
    expected = np.load(folder / "raft_small_random_seeded_oracle.npz")["c250x270_it12"]
    run = jax.jit(lambda v, a, b: estimate(Raft("small"), v, a, b, 12))
    error = np.abs(run(variables, *pair(folder, "c250x270"))[0] - expected.transpose(1, 2, 0))
    assert error.max() < 1e-3
    assert error.mean() < 1e-4


def test_intermediates_are_those_of_the_original(real_data):
    """Likeness up to 110 is allowed 1e-5 of itself besides: float32 holds no more."""
    folder = real_data / "flow"
    variables = supplied_weights(folder / "raft_small_random_seeded_torchvision_names.npz")
    expected = np.load(folder / "raft_small_random_seeded_intermediates_b128x160.npz")
    first, second = (normalise(jnp.asarray(x)) for x in pair(folder, "b128x160"))
    model = Raft("small").bind(variables)
    close = functools.partial(np.testing.assert_allclose, atol=1e-4, rtol=0)
    nearly = functools.partial(np.testing.assert_allclose, atol=1e-4, rtol=1e-5)
    *features, context = jax.jit(lambda a, b: (*model.encode(a, b), model.context(a)))(
        first, second
    )
    close(np.concatenate(features).transpose(0, 3, 1, 2), expected["fmap"])
    close(context.transpose(0, 3, 1, 2), expected["context_out"])
    levels = raft_update.correlation_pyramid(*features)
    for n, level in enumerate(levels):
        nearly(level[:8].swapaxes(1, 2), expected[f"corr{n}_first8px"][:, 0])
    coordinates = jnp.asarray(expected["coords"].transpose(0, 2, 3, 1).reshape(-1, 2))
    radius = SIZES["small"].radius
    for form in ("gather", "matmul"):
        prepared = raft_update.prepare_lookup(levels, radius, form)
        found = raft_update.lookup(prepared, coordinates, radius, form)
        nearly(found, expected["lookup"][0].reshape(196, -1).T)


def test_bfloat16_is_off_by_little(real_data):
    """Less than 0.05 px on average, with weights that estimate something."""
    folder = real_data / "flow"
    variables = supplied_weights(folder / "raft_small_minitrained_torchvision_names.npz")
    expected = np.load(folder / "raft_small_minitrained_oracle.npz")["b128x160_it12"]
    model = Raft("small", dtype=jnp.bfloat16, forms=PLAIN)
    run = jax.jit(lambda v, a, b: estimate(model, v, a, b, 12))
    error = np.abs(run(variables, *pair(folder, "b128x160"))[0] - expected.transpose(1, 2, 0))
    assert 1e-4 < error.mean() < 0.05
