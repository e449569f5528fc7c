"""An encoder of the action that sees two frames through a frozen tower, not their pixels.

B batch, h w patches, N patches, F width of the tower's features, D width, L token positions, Z code
width. The decoder of frame 2 is that of lam/models/joint.py.
"""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange

from lam.models import joint
from lam.models.transformer import Stack


class Encoder(nn.Module):
    """Features of two frames -> codes: a transformer over the patches with learned queries."""

    num_tokens: int
    code_width: int
    width: int
    depth: int
    heads: int
    dtype: jnp.dtype
    stack: Stack = Stack()

    @nn.compact
    def __call__(self, first_BhwF, second_BhwF):
        """(codes float32 [B,L,Z], None) of features float32 [B,h,w,F]."""
        both_BhwF = jnp.concatenate([first_BhwF, second_BhwF], axis=-1)
        x_BhwD = nn.Dense(self.width, dtype=self.dtype, name="features")(both_BhwF)
        x_BND = rearrange(x_BhwD, "b h w d -> b (h w) d")
        position_ND = self.param("position", nn.initializers.normal(0.02), x_BND.shape[1:])
        return joint.ask(self, x_BND + position_ND.astype(self.dtype))[0], None


class FeatureNet(joint.Joint):
    """`encode` takes features of the frames, `decode` frame 1 itself."""

    def setup(self):
        sizes = {name: getattr(self, name) for name in ("width", "heads", "dtype", "stack")}
        self.encode = Encoder(self.num_tokens, self.code_width, depth=self.encoder_depth, **sizes)
        self.decode = joint.Decoder(
            patch=self.patch, motions=self.motions, depth=self.decoder_depth, **sizes
        )
