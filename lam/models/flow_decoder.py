"""Frame 1 and the codes of an action -> the optical flow that they say.

B batch, H W pixels, N patches, L token positions, Z code width, D width.
"""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange

from lam.models import transformer
from lam.models.patches import patchify, unpatchify


class FlowDecoder(nn.Module):
    """A transformer over the patches of frame 1 and the codes, in front of them.

    Frame 2 is not seen, so that what it knows of the motion went through the codes.
    """

    width: int
    depth: int
    heads: int
    patch: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, first_BHWC, codes_BLZ):
        """Flow as a share of the frame, (dx / W, dy / H): float32 [B,H,W,2]."""
        dense = lambda name: nn.Dense(self.width, dtype=self.dtype, name=name)  # noqa: E731
        patches_BHWP = patchify(first_BHWC - 0.5, self.patch)
        patches_BND = dense("pixels")(rearrange(patches_BHWP, "b h w p -> b (h w) p"))
        codes_BLD = dense("codes")(codes_BLZ)
        x_BND = jnp.concatenate([codes_BLD, patches_BND], axis=1)
        position_ND = self.param("position", nn.initializers.normal(0.02), x_BND.shape[1:])
        x_BND = x_BND + position_ND.astype(self.dtype)
        for i in range(self.depth):
            x_BND = transformer.Block(self.heads, dtype=self.dtype, name=f"block_{i}")(x_BND)
        x_BND = transformer.norm("norm")(x_BND[:, codes_BLZ.shape[1] :])
        start = nn.initializers.normal(0.01)
        flow_BNP = nn.Dense(2 * self.patch**2, kernel_init=start, name="flow")(x_BND)
        return unpatchify(flow_BNP, self.patch, first_BHWC.shape[1]).astype(jnp.float32)
