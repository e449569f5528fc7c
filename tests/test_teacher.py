"""The shipped flow teacher keeps what it was shipped with; and how its benchmark measures."""

import importlib
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lam.flow
from input_pipeline import tabletop
from lam.flow import weights
from lam.ops import flow_pairs

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"
SIDE = 128
WARPS = 0.32  # pixels, mean end-point error over all kinds of warps


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        return importlib.import_module("teacher")


@pytest.fixture(scope="module")
def estimator():
    return lam.flow.load()


def test_the_file_is_small_and_tells_what_made_it(estimator):
    assert weights.TEACHER.stat().st_size < 2.2e6
    assert estimator.model.size == "small"
    about = estimator.about
    assert int(about["step"]) == int(about["total_steps"]) > 0
    assert about.keys() >= {"seed", "batch_size", "commit", "config"}
    assert json.loads(about["validation"])["epe"] > 0


def test_it_finds_the_motion_of_procedural_pairs(estimator):
    """Pairs that it was never trained on: the error is far below that of no flow."""
    keys = jax.random.split(jax.random.key(2024), 8)
    make = jax.jit(lambda keys: flow_pairs.batch(keys, SIDE, 10.0))
    first, second, flow, _ = (np.asarray(x) for x in make(keys))
    error = np.linalg.norm(estimator(first, second) - flow, axis=-1)
    moving = np.linalg.norm(flow, axis=-1).mean(axis=(1, 2)) > 0.5
    assert moving.sum() >= 3
    zero = np.linalg.norm(flow, axis=-1)
    assert error[moving].mean() < 0.6 * zero[moving].mean()


def test_errors_on_exact_warps_are_as_good_as_told(bench, estimator, real_data):
    """Of the README; more updates than it was trained with do not change them by 5 %."""
    found = {line["case"]: line for line in bench.warps(real_data, estimator)}
    every = found["warps_all"]
    assert every["farneback"] == pytest.approx(0.4062, rel=0.01)  # the measure is that of others
    assert every["dis"] == pytest.approx(0.1837, rel=0.01)
    assert every["teacher_12"] < WARPS
    assert every["teacher_20"] == pytest.approx(every["teacher_12"], rel=0.05)
    assert found["warps_static_noise"]["teacher_12"] < 0.1


def test_angles(bench):
    one = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, -2.0], [1.0, 0.1]])
    other = np.array([[0.0, 3.0], [1.0, 1.0], [0.0, 1.0], [1.0, -0.1]])
    expected = [90, 0, 180, 2 * np.degrees(np.arctan(0.1))]
    np.testing.assert_allclose(bench.angles(one, other), expected, atol=1e-6)


def test_exact_flow_takes_frame_2_back(bench):
    """Moved by whole pixels, nothing is left but at the border; and of no flow all is left."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (1, 20, 24, 3), np.uint8)
    second = np.roll(first, (1, 2), axis=(1, 2))
    flow = np.full((1, 20, 24, 2), (2.0, 1.0), np.float32)
    exact, nothing = (bench.difference(first, second, f)[0] for f in (flow, 0 * flow))
    assert exact < 0.2 * nothing


def test_enlarged_estimates_are_in_pixels_of_the_frames_given(bench):
    constant = lambda first, second: np.full((*first.shape[:3], 2), (4.0, -2.0))  # noqa: E731
    frames = np.zeros((3, 10, 12, 3), np.uint8)
    found = bench.enlarged(constant, frames, frames)
    np.testing.assert_array_equal(found, np.full((3, 10, 12, 2), (2.0, -1.0)))


def test_tabletop_pairs_have_their_exact_flow(bench):
    first, second, flow = bench.tabletop_pairs("arm", 0, 3, gap=1)
    assert first.shape == second.shape == (3, 64, 64, 3)
    episode = tabletop.episode_from_seed("arm", "arm/2", 1000)
    np.testing.assert_array_equal(first[2], tabletop.frames(episode)[2])
    np.testing.assert_array_equal(flow[2], tabletop.flow(episode, 2, 1))
    assert jnp.isfinite(flow).all()
