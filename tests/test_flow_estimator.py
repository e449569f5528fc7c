"""lam.flow: any number of frames of any size, chunks, confidence, weights, mistakes in one line."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from raft_fixtures import random_frames, random_weights

import lam.flow
from lam.errors import UserError
from lam.flow import estimator as estimator_lib
from lam.flow import weights

UPDATES = 2


@functools.cache
def estimator():
    """With random weights: what is tested here is all around the net."""
    return lam.flow.Estimator("small", random_weights("small"))


@functools.cache
def frames(count=3):
    """uint8 pairs of 40 x 48 pixels, which the net sees at 160 x 192."""
    return [(255 * x).astype(np.uint8) for x in random_frames(count, 40, 48, 3)]


def test_flow_of_any_number_is_that_of_single_pairs(monkeypatch):
    """Chunks of at most two pairs here: 3 pairs are 2 + 1; and none are none."""
    monkeypatch.setitem(estimator_lib.AT_ONCE, "cpu", 2 * 128**2)
    first, second = frames()
    found = estimator()(first, second, UPDATES)
    assert (found.shape, found.dtype) == ((3, 40, 48, 2), np.float32)
    single = np.concatenate(
        [estimator()(first[i : i + 1], second[i : i + 1], UPDATES) for i in range(3)]
    )
    np.testing.assert_allclose(found, single, atol=2e-4)
    assert np.abs(found[0] - found[1]).max() > 0.1
    nothing = estimator()(first[:0], second[:0], UPDATES)
    assert (nothing.shape, nothing.dtype) == ((0, 40, 48, 2), np.float32)
    nothing = estimator().with_confidence(first[:0], second[:0], UPDATES)
    assert nothing.confidence.shape == (0, 40, 48)


def test_a_size_is_compiled_once():
    ours = lam.flow.Estimator("small", random_weights("small"))
    for count in (1, 1, 3, 4, 3):
        ours(*(x[:count] for x in frames(4)), UPDATES)
    compiled = ours._estimate._cache_size()
    assert compiled == 2  # of one pair, and of two (3 pairs are 2 + 1)


def test_floats_are_the_same_frames():
    first, second = frames()
    floats = [(x / 255).astype(np.float32) for x in (first, second)]
    found = [estimator()(*x, UPDATES) for x in ((first, second), floats)]
    np.testing.assert_allclose(*found, atol=1e-4)


def test_flow_starts_where_it_is_told():
    first, second = frames()
    start = np.full((3, 40, 48, 2), (1.5, -0.75), np.float32)
    found = estimator()(first, second, 1, flow_init=start)
    plain = estimator()(first, second, 1)
    assert np.abs(found - plain).mean() > 0.5
    same = estimator()(first, second, 1, flow_init=np.zeros_like(start))
    np.testing.assert_allclose(same, plain, atol=1e-5)


def test_confidence_comes_with_the_same_flow():
    first, second = frames()
    found = estimator().with_confidence(first, second, UPDATES)
    np.testing.assert_allclose(found.flow, estimator()(first, second, UPDATES), atol=2e-4)
    assert (found.confidence.shape, found.confidence.dtype) == ((3, 40, 48), np.float32)
    back = estimator()(second, first, UPDATES)
    expected = estimator_lib.consistency(jnp.asarray(found.flow), jnp.asarray(back))
    np.testing.assert_allclose(found.confidence, expected, atol=2e-3)


def test_consistency_of_known_flows():
    """Exact shift there and back agrees; a wrong way back, and a way out of the frame, do not."""
    there = np.full((1, 20, 30, 2), (3.0, 1.0), np.float32)
    agreement = np.array(estimator_lib.consistency(there, -there))[0]
    np.testing.assert_allclose(agreement[:19, :27], 1, atol=1e-6)
    assert not agreement[19:].any()
    assert not agreement[:, 27:].any()
    wrong = np.array(estimator_lib.consistency(there, there))[0, :19, :27]
    np.testing.assert_allclose(wrong, 1 / (1 + 40 / (0.01 * 20 + 0.5)), rtol=1e-5)
    at_limit = there - [0, 0.8]  # squared mismatch 0.64, just below 0.01 * sum of squares + 0.5
    limit = 0.01 * (3**2 + 1**2 + 3**2 + 0.2**2) + 0.5
    found = np.array(estimator_lib.consistency(there, -at_limit.astype(np.float32)))[0, 5, 5]
    np.testing.assert_allclose(found, 1 / (1 + 0.64 / limit), rtol=1e-4)


def test_bfloat16_runs_and_is_near():
    first, second = frames()
    half = lam.flow.Estimator("small", random_weights("small"), "bfloat16")
    assert half.model.dtype == jnp.bfloat16
    error = np.abs(half(first, second, 1) - estimator()(first, second, 1)).mean()
    assert 0 < error < 0.2


PAIR = np.zeros((2, 16, 24, 3), np.uint8)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (PAIR, PAIR[:1], "one shape, got uint8 .2,16,24,3. and uint8 .1,16,24,3."),
        (PAIR[0], PAIR[0], r"must be \[N,H,W,3\]"),
        (PAIR.transpose(0, 3, 1, 2),) * 2 + ("colours come last",),
        (PAIR[..., :2],) * 2 + (r"must be \[N,H,W,3\]",),
        (PAIR[:, :7],) * 2 + ("at least 8 pixels",),
        (PAIR.astype(np.int32),) * 2 + ("uint8 or float in 0..1, got int32",),
        (PAIR + 2.0,) * 2 + ("lie in 0..1, got 2..2: scale them",),
        (PAIR - 1.0,) * 2 + ("lie in 0..1, got -1..-1",),
        (PAIR + np.float32(np.nan),) * 2 + ("got nan..nan: clean them",),
    ],
)
def test_frames_that_are_refused(first, second, message):
    for call in (estimator(), estimator().with_confidence):
        with pytest.raises(UserError, match=message) as caught:
            call(first, second)
        assert "\n" not in str(caught.value)


def test_other_arguments_that_are_refused():
    for updates in (0, -1, 2.5, "12"):
        with pytest.raises(UserError, match="updates must be a whole number of at least 1"):
            estimator()(PAIR, PAIR, updates)
    for start, message in [
        (np.zeros((2, 16, 24, 3), np.float32), r"must be float \[2, 16, 24, 2\]"),
        (np.zeros((2, 16, 24, 2), np.int32), "must be float"),
        (np.full((2, 16, 24, 2), np.inf, np.float32), "not finite: use zeros"),
    ]:
        with pytest.raises(UserError, match=message):
            estimator()(PAIR, PAIR, 1, flow_init=start)


@pytest.mark.parametrize("size", ["small", "large"])
def test_saved_weights_are_loaded(tmp_path, size):
    tree = random_weights(size)
    path = tmp_path / "w.safetensors"
    weights.save(path, tree, size, "float32", {"steps": "7"})
    found = lam.flow.load(path)
    assert (found.model.size, found.about["steps"]) == (size, "7")
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(found.variables), tree)


def test_weights_that_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    weights.save(tmp_path / "raft_large.safetensors", random_weights("small"), "small")
    (tmp_path / "text.safetensors").write_text("no weights")
    whole = (tmp_path / "raft_large.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a.pth").write_bytes(whole)
    for name, message in [
        ("raft_small", "no weights of raft_small on this machine: get .*01064c6d.pth and run"),
        ("raft_large", "holds a raft_small: convert the file of raft_large"),
        (tmp_path / "none.safetensors", "there is no file .*raft_small, raft_large"),
        (tmp_path / "text.safetensors", "is no .safetensors file, or it is cut off"),
        (tmp_path / "cut.safetensors", "is no .safetensors file, or it is cut off"),
        (tmp_path / "a.pth", "first run python -m lam.convert raft"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            lam.flow.load(name)
        assert "\n" not in str(caught.value)
