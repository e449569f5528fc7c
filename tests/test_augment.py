"""Changes of looks: the window and the colours of a pair are the same, so its motion stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lam.errors import UserError
from lam.ops import augment
from lam.tasks import augmentation

KEY = jax.random.key(0)


def pairs(batch=5, size=12, seed=0):
    """Smooth random frames, float32 [B,2,H,W,3]."""
    coarse = np.random.default_rng(seed).uniform(0.2, 0.8, (batch, 2, 3, 3, 3))
    return jax.image.resize(jnp.asarray(coarse, jnp.float32), (batch, 2, size, size, 3), "linear")


@settings(max_examples=20, deadline=None)
@given(st.floats(0.3, 1.0), st.integers(0, 99))
def test_crop_of_a_slope_is_a_slope_inside_it(least, seed):
    """On x (or y) as grey level a window is a line from its corner with its side as slope."""
    size = 16
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    frames = np.broadcast_to(np.stack([x, y, x + y], -1), (4, 2, size, size, 3)).astype(np.float32)
    cut = np.asarray(augment.crop(frames, jax.random.key(seed), least))
    np.testing.assert_array_equal(cut[:, 0], cut[:, 1])
    inner = cut[:, 0, 2:-2, 2:-2]
    side_x, side_y = np.diff(inner[..., 0], axis=2), np.diff(inner[..., 1], axis=1)
    for slopes in (side_x, side_y):
        assert np.ptp(slopes, axis=(1, 2)).max() < 1e-5
        assert (slopes >= least / size - 1e-5).all()
        assert (slopes <= 1 / size + 1e-5).all()
    np.testing.assert_allclose(side_x[:, 0, 0], side_y[:, 0, 0], atol=1e-5)  # keeps the aspect
    assert cut.min() >= 0
    assert cut[..., :2].max() <= 1


def test_no_change_is_no_change():
    frames = pairs()
    np.testing.assert_allclose(augment.crop(frames, KEY, 1.0), frames, atol=1e-6)
    np.testing.assert_allclose(augment.colour(frames, KEY, 0.0), frames, atol=1e-6)
    (first, second), seen = augmentation.Augmentation()(frames[:, 0], frames[:, 1], KEY)
    np.testing.assert_array_equal(first, frames[:, 0])
    np.testing.assert_array_equal(second, frames[:, 1])
    assert seen is None
    alike = augmentation.make({"crop": 0.8, "colour": 0.2, "apart": False})
    assert alike(frames[:, 0], frames[:, 1], KEY)[1] is None


@pytest.mark.parametrize("alike", [True, False])
def test_colours_are_an_affine_map_alike_or_apart(alike):
    """Two frames with the same content stay the same exactly when they are changed alike."""
    frames = jnp.repeat(pairs()[:, :1], 2, axis=1)
    changed = np.asarray(augment.colour(frames, KEY, 0.2, alike))
    assert 0 <= changed.min() <= changed.max() <= 1
    assert np.abs(changed - frames).max(axis=(1, 2, 3, 4)).min() > 0.01
    assert (np.abs(changed[:, 0] - changed[:, 1]).max() < 1e-6) == alike
    for before, after in zip(np.asarray(frames)[:, 0], changed[:, 0], strict=True):
        design = np.c_[before.reshape(-1, 3), np.ones(before[..., 0].size)]
        fit = np.linalg.lstsq(design, after.reshape(-1, 3), rcond=None)[0]
        np.testing.assert_allclose(design @ fit, after.reshape(-1, 3), atol=1e-4)


def test_only_the_encoder_sees_colours_apart():
    frames = jnp.repeat(pairs()[:, :1], 2, axis=1)
    made = augmentation.make({"crop": 0.6, "colour": 0.2, "apart": True})
    (first, second), (seen_1, seen_2) = made(frames[:, 0], frames[:, 1], KEY)
    np.testing.assert_array_equal(first, second)
    assert np.abs(seen_1 - seen_2).max() > 0.02
    spread = lambda x: np.abs(np.diff(x, axis=1)).mean()  # noqa: E731
    assert 0.5 < spread(seen_1) / spread(first) < 2  # of the same window


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"crop": 0.0, "colour": 0.0, "apart": False}, "crop=0 must be above 0"),
        ({"crop": 1.0, "colour": 1.0, "apart": False}, "colour=1 at least 0 and below 1"),
        ({"crop": 1.0, "colour": 0.0, "apart": True}, "apart wants colours"),
    ],
)
def test_mistakes(section, message):
    with pytest.raises(UserError, match=message):
        augmentation.make(section)
