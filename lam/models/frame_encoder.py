"""One frame -> features of its patches, for a target that is learned along with the actions.

B batch, H W pixels, h w patches, N patches, D width.
"""

import functools

import flax.linen as nn
import jax
from einops import rearrange

from lam.models import transformer
from lam.models.patches import patchify


class FrameEncoder(nn.Module):
    """A small ViT whose features have mean 0 and variance 1 in every patch."""

    width: int
    depth: int
    heads: int
    patch: int
    dtype: jax.typing.DTypeLike
    stack: transformer.Stack = transformer.Stack()

    @nn.compact
    def __call__(self, image_BHWC):
        """float32 [B,h,w,D] of images float32 [B,H,W,3] in [0,1]."""
        patches_BhwP = patchify(image_BHWC - 0.5, self.patch)
        x_BND = rearrange(patches_BhwP, "b h w p -> b (h w) p")
        x_BND = nn.Dense(self.width, dtype=self.dtype, name="pixels")(x_BND)
        position_ND = self.param("position", nn.initializers.normal(0.02), x_BND.shape[1:])
        x_BND = x_BND + position_ND.astype(self.dtype)
        block = functools.partial(transformer.Block, heads=self.heads, dtype=self.dtype)
        x_BND = self.stack(block, self.depth, x_BND)
        x_BND = jax.nn.standardize(x_BND.astype("float32"), axis=-1, epsilon=1e-6)
        return x_BND.reshape(*patches_BhwP.shape[:3], self.width)
