"""Resampling of images to the letter of torch's `interpolate(align_corners=False)`.

B batch, H W pixels, C channels. Every method is a product with one small matrix along each axis.
"""

import jax
import jax.numpy as jnp
import numpy as np

# name -> (kernel, reach of the kernel, whether it widens where the image shrinks)
METHODS = {
    "linear_antialias": (lambda x: np.maximum(0, 1 - x), 1, True),
    "cubic": (lambda x: cubic(x, -0.75), 2, False),
    "cubic_antialias": (lambda x: cubic(x, -0.5), 2, True),  # as PIL's: torch has two cubics
}


def cubic(x, a):
    """The cubic convolution kernel of Keys (1981) at distances x >= 0."""
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def matrix(size, new, method):
    """float32 [new,size]: what each new pixel of a line takes from each old one; rows sum to 1."""
    kernel, reach, antialias = METHODS[method]
    stretch = max(size / new, 1.0) if antialias else 1.0
    centre_N1 = ((np.arange(new) + 0.5) * (size / new) - 0.5)[:, None]
    margin = 0 if antialias else reach
    source_M = np.arange(-margin, size + margin)
    weights_NM = kernel(np.abs(source_M - centre_N1) / stretch)
    weights_NM = weights_NM / weights_NM.sum(axis=1, keepdims=True)
    # without antialias the border is repeated outwards; with it, nothing lies outside
    return (weights_NM @ np.eye(size)[np.clip(source_M, 0, size - 1)]).astype(np.float32)


def resize(image_BHWC, height, width, method):
    """float [B,H,W,C] -> float32 [B,height,width,C]; unchanged where the size is that already."""
    if image_BHWC.shape[1:3] == (height, width):
        return image_BHWC
    rows, columns = (
        matrix(size, new, method)
        for size, new in zip(image_BHWC.shape[1:3], (height, width), strict=True)
    )
    exact = jax.lax.Precision.HIGHEST
    image_BHWC = jnp.einsum("yh,bhwc->bywc", rows, image_BHWC, precision=exact)
    return jnp.einsum("xw,bywc->byxc", columns, image_BHWC, precision=exact)
