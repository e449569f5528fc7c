"""Changes of the looks of frames, alike for the frames of a pair: pure functions of a key.

B batch, T frames, H W pixels, C colours; frames are float32 [B,T,H,W,C] in [0,1].
"""

import jax
import jax.numpy as jnp

GREY = (0.299, 0.587, 0.114)  # luma of RGB (ITU-R BT.601)


def crop(frames_BTHWC, rng, least):
    """A random window of each sample, the same in all its frames, at the size of the frames.

    least: side of the smallest window as a share of the frame, in (0, 1]; 1 = no crop. Bilinear;
      the window keeps the aspect of the frame.
    """
    batch, _, height, width, _ = frames_BTHWC.shape
    side_rng, place_rng = jax.random.split(rng)
    side_B1 = jax.random.uniform(side_rng, (batch, 1), minval=least, maxval=1.0)
    corner_B2 = jax.random.uniform(place_rng, (batch, 2)) * (1 - side_B1)
    rows_BHH = resampler(corner_B2[:, 0], side_B1[:, 0], height)
    columns_BWW = resampler(corner_B2[:, 1], side_B1[:, 0], width)
    cut_BTHWC = jnp.einsum("bij,btjwc->btiwc", rows_BHH, frames_BTHWC)
    return jnp.einsum("bvw,btiwc->btivc", columns_BWW, cut_BTHWC)


def resampler(corner_B, side_B, size):
    """Bilinear weights [B,size,size] that read a line from `corner` on, `side` long (shares)."""
    pixels = jnp.arange(size)
    centre_BN = (corner_B[:, None] + side_B[:, None] * (pixels + 0.5) / size) * size - 0.5
    distance_BNN = jnp.abs(jnp.clip(centre_BN, 0, size - 1)[..., None] - pixels)
    return jnp.maximum(0.0, 1.0 - distance_BNN)


def colour(frames_BTHWC, rng, strength, alike=True):
    """Random brightness, contrast and saturation of each sample, clipped to [0,1].

    strength: each factor is in 1 - strength..1 + strength, strength in [0, 1).
    alike: the same for all frames of a sample; else every frame has its own.
    """
    batch, frames = frames_BTHWC.shape[:2]
    shape = (3, batch, 1 if alike else frames, 1, 1, 1)
    brightness, contrast, saturation = jax.random.uniform(
        rng, shape, minval=1 - strength, maxval=1 + strength
    )
    x = frames_BTHWC * brightness
    grey = jnp.sum(x * jnp.array(GREY), axis=-1, keepdims=True)
    mean = jnp.mean(grey[:, :1] if alike else grey, axis=(2, 3, 4), keepdims=True)
    x = mean + contrast * (x - mean)
    grey = jnp.sum(x * jnp.array(GREY), axis=-1, keepdims=True)
    return jnp.clip(grey + saturation * (x - grey), 0, 1)
