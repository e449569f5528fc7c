"""What is known of frame 1 and the codes of an action -> what the action does, patch by patch.

B batch, H W pixels, N patches, P numbers of a patch, O those that come out, h w patches, L token
positions, Z code width, D width, F width of features.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange

from lam.models import transformer
from lam.models.patches import patchify, unpatchify


class ActionDecoder(nn.Module):
    """A transformer over the patches of frame 1 and the codes, in front of them.

    Frame 2 is not seen, so that what it knows of the motion went through the codes.

    Attributes:
      takes, gives: names of the first and the last layer.
      outputs: O; 0 = P, as many as are given.
    """

    width: int
    depth: int
    heads: int
    dtype: jnp.dtype
    takes: str
    gives: str
    outputs: int = 0
    stack: transformer.Stack = transformer.Stack()

    @nn.compact
    def __call__(self, seen_BNP, codes_BLZ):
        """float32 [B,N,O], near zero at the start of training."""
        dense = lambda name: nn.Dense(self.width, dtype=self.dtype, name=name)  # noqa: E731
        patches_BND = dense(self.takes)(seen_BNP)
        codes_BLD = dense("codes")(codes_BLZ)
        x_BND = jnp.concatenate([codes_BLD, patches_BND], axis=1)
        position_ND = self.param("position", nn.initializers.normal(0.02), x_BND.shape[1:])
        x_BND = x_BND + position_ND.astype(self.dtype)
        block = functools.partial(transformer.Block, heads=self.heads, dtype=self.dtype)
        x_BND = self.stack(block, self.depth, x_BND)
        x_BND = transformer.norm("norm")(x_BND[:, codes_BLZ.shape[1] :])
        start, outputs = nn.initializers.normal(0.01), self.outputs or seen_BNP.shape[-1]
        return nn.Dense(outputs, kernel_init=start, name=self.gives)(x_BND).astype(jnp.float32)


def flow(decoder, first_BHWC, codes_BLZ, patch):
    """Flow as a share of the frame, (dx / W, dy / H): float32 [B,H,W,2]."""
    patches_BNP = rearrange(patchify(first_BHWC - 0.5, patch), "b h w p -> b (h w) p")
    return unpatchify(decoder(patches_BNP, codes_BLZ), patch, first_BHWC.shape[1])


def features(decoder, first_BhwF, codes_BLZ):
    """Features of frame 2, as those of frame 1 and a change: float32 [B,h,w,F]."""
    change_BNF = decoder(rearrange(first_BhwF, "b h w f -> b (h w) f"), codes_BLZ)
    return first_BhwF + change_BNF.reshape(first_BhwF.shape)
