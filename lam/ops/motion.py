"""Motion of images as differentiable operations.

B batch, K motions, H W pixels, C channels. Displacements are (dx, dy) in pixels, x right, y down.
"""

import jax
import jax.numpy as jnp


def shift_matrix(shift, sigma, size):
    """Matrices that move a line of pixels by `shift`, blurred by a Gaussian of width `sigma`.

    Row i weighs the source pixels j by exp(-(j - (i - shift))^2 / 2 sigma^2), summing to 1, so that
    content at the border is continued. A wide sigma lets gradients find far displacements.

    Args:
      shift, sigma: float [...], pixels; sigma > 0.
      size: pixels of the line.

    Returns:
      float [..., size, size].
    """
    pixels = jnp.arange(size, dtype=jnp.float32)
    offset = pixels[None, :] - pixels[:, None] + shift[..., None, None]
    return jax.nn.softmax(-0.5 * (offset / sigma[..., None, None]) ** 2, axis=-1)


def translate(image_BHWC, shift_BK2, sigma_BK2):
    """The image moved by each of K displacements with an uncertainty: [B,K,H,W,C]."""
    _, height, width, _ = image_BHWC.shape
    rows_BKHH = shift_matrix(shift_BK2[..., 1], sigma_BK2[..., 1], height)
    columns_BKWW = shift_matrix(shift_BK2[..., 0], sigma_BK2[..., 0], width)
    moved_BKHWC = jnp.einsum("bkij,bjwc->bkiwc", rows_BKHH, image_BHWC)
    return jnp.einsum("bkvw,bkiwc->bkivc", columns_BKWW, moved_BKHWC)


def correlate(first_BHWC, second_BHWC, radius):
    """Likeness of each cell of one map to the cells around it in another: [B,H,W,(2*radius+1)^2].

    Entry (dy, dx), dy slowest, is the dot product of first[y, x] and second[y + dy, x + dx] over
    sqrt(C), with dy and dx from -radius to radius and zeros outside (the cost volume of FlowNet).
    """
    _, height, width, channels = first_BHWC.shape
    side, padded = 2 * radius + 1, width + 2 * radius
    pad = ((0, 0), (radius, radius), (radius, radius), (0, 0))
    second_BHWC = jnp.pad(second_BHWC, pad) / channels**0.5
    bands = jnp.stack([second_BHWC[:, dy : dy + height] for dy in range(side)], axis=2)
    dots_BHWSX = jnp.einsum("bhwc,bhsxc->bhwsx", first_BHWC, bands)
    # column x of cell w is wanted for x - w in 0..2*radius: rows one longer put them in a line
    dots_BHSWX = jnp.swapaxes(dots_BHWSX, 2, 3).reshape(*first_BHWC.shape[:2], side, -1)
    dots_BHSWX = jnp.pad(dots_BHSWX, ((0, 0), (0, 0), (0, 0), (0, width)))
    skewed_BHSWX = dots_BHSWX.reshape(*first_BHWC.shape[:2], side, width, padded + 1)
    return jnp.swapaxes(skewed_BHSWX[..., :side], 2, 3).reshape(*first_BHWC.shape[:3], side**2)
