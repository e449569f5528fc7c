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
