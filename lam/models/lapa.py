"""The latent action quantizer as LAPA published it (Ye et al., 2024; LatentActionPretraining/LAPA).

B batch, T frames, H W patch grid, D width, L token positions, Z code width.

Each frame runs through a spatial transformer, both through a temporal one; the action is the
difference of two small convolutional summaries; the decoder draws frame 2 from the (frozen) patch
embeddings of frame 1 and the action.

`quirks` decides about three things that the published code does and hardly means to do, and without
which published weights (`lam.convert.laq`) mean nothing:

| | with quirks | without |
|---|---|---|
| grid of the temporal position generator | (B,H,W,T) in memory, taken for (B,T,H,W) | in order |
| keys and values of self-attention | of x as it is | of its norm, as queries are |
| codes before they are decoded | (B,L,Z) in memory, taken for (B,Z,L) | in order |

With quirks, too, a number of tokens has its published convolutions and patch grid (`HALF_GRIDS`);
without, tokens may be any that fit the grid. Up to 4 tokens the parameters are the same.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

from lam.errors import UserError
from lam.models.lapa_parts import Dense, PositionBias, Transformer
from lam.models.transformer import Stack

# published: num_tokens -> cells of a side of half the patch grid
HALF_GRIDS = {1: 4, 2: 4, 4: 4, 16: 8, 64: 8, 256: 16}


class Lapa(nn.Module):
    """Published encoder and decoder; images float32 [B,H,W,3] in [0,1]."""

    num_tokens: int
    code_width: int
    width: int
    encoder_depth: int  # of the spatial and of the temporal transformer, each
    decoder_depth: int
    heads: int
    patch: int
    dtype: jnp.dtype
    stack: Stack = Stack()
    quirks: bool = False

    def setup(self):
        sizes = {name: getattr(self, name) for name in ("heads", "dtype", "quirks", "stack")}
        self.patch_norm = nn.LayerNorm(epsilon=1e-5)
        self.patch_dense = Dense(self.width, dtype=self.dtype)
        self.embed_norm = nn.LayerNorm(epsilon=1e-5)
        self.position_bias = PositionBias(self.heads, self.width)
        self.enc_spatial = Transformer(self.encoder_depth, over="space", **sizes)
        self.enc_temporal = Transformer(self.encoder_depth, over="time", **sizes)
        self.project_in = Dense(self.code_width, dtype=self.dtype)
        self.dec_spatial = Transformer(self.decoder_depth, over="space", **sizes)
        self.project_out = Dense(self.width, dtype=self.dtype)
        self.to_pixels = Dense(3 * self.patch**2, dtype=self.dtype)
        self.summary_1 = nn.Conv(self.code_width, (3, 3), 2, padding=1, dtype=self.dtype)
        self.summary_2 = SummaryConv(self.num_tokens, self.code_width, self.dtype, self.quirks)

    def embed(self, image_BHWC):
        """Patch embeddings [B,1,H,W,D] with rows and columns of the patch grid."""
        p = self.patch
        x = rearrange(image_BHWC, "b (h p) (w q) c -> b 1 h w (c p q)", p=p, q=p)
        return self.embed_norm(self.patch_dense(self.patch_norm(x)))

    def encode(self, first_BHWC, second_BHWC):
        """(codes [B,L,Z]: summary of frame 2 minus summary of frame 1, None)."""
        x_BTHWD = jnp.concatenate([self.embed(first_BHWC), self.embed(second_BHWC)], axis=1)
        x_BTHWD = self.enc_spatial(x_BTHWD, self.position_bias(*x_BTHWD.shape[2:4]))
        x_BTHWZ = self.project_in(self.enc_temporal(x_BTHWD))
        first, second = (self.summarise(x_BTHWZ[:, t]) for t in (0, 1))
        return second - first, None

    def summarise(self, x_BHWZ):
        return self.summary_2(self.summary_1(x_BHWZ))

    def decode(self, first_BHWC, codes_BLZ, parts=None):
        """(frame 2 [B,H,W,3] from frame 1 and the codes, None)."""
        assert parts is None, "this encoder gives no parts"
        x_BTHWD = jax.lax.stop_gradient(self.embed(first_BHWC))
        bias = self.position_bias(*x_BTHWD.shape[2:4])
        if self.quirks:
            codes_BLZ = codes_BLZ.reshape(-1, self.code_width, self.num_tokens).swapaxes(1, 2)
        x_BTHWD = self.dec_spatial(x_BTHWD, bias, self.project_out(codes_BLZ))
        p, pixels = self.patch, self.to_pixels(x_BTHWD)
        return rearrange(pixels, "b 1 h w (c p q) -> b (h p) (w q) c", p=p, q=p), None


class SummaryConv(nn.Module):
    """ReLU and a convolution that leaves exactly L cells of half the patch grid: [B,L,Z]."""

    num_tokens: int
    code_width: int
    dtype: jnp.dtype
    quirks: bool = False

    @nn.compact
    def __call__(self, x_BHWZ):
        have, tokens = x_BHWZ.shape[1:3], self.num_tokens
        if self.quirks and have != (HALF_GRIDS.get(tokens),) * 2:
            raise UserError(
                f"config.model.quirks: {tokens} tokens of {2 * have[0]}x{2 * have[1]} patches, "
                "published are 1, 2 or 4 of 8x8, 16 or 64 of 16x16, 256 of 32x32; choose "
                "config.data.image_size and config.model.patch so"
            )
        if self.quirks and tokens in (64, 256):
            return rearrange(x_BHWZ, "b h w z -> b (h w) z")
        options = {"padding": "VALID", "dtype": self.dtype}
        if self.quirks and tokens == 16:
            kernel, options = (3, 3), options | {"strides": 2, "padding": 1}
        else:
            kernel = self.kernel(have)
        x_BHWZ = nn.Conv(self.code_width, kernel, **options)(nn.relu(x_BHWZ))
        return rearrange(x_BHWZ, "b h w z -> b (h w) z")

    def kernel(self, have):
        """Its size where it takes no steps; UserError unless these cells are enough."""
        side = math.isqrt(self.num_tokens)
        grid = (side, side) if side * side == self.num_tokens else (self.num_tokens, 1)
        kernel = tuple(a - b + 1 for a, b in zip(have, grid, strict=True))
        if min(kernel) < 1:
            raise UserError(
                f"config.model.num_tokens={self.num_tokens} needs a grid of {grid} cells, but half "
                f"the patch grid is {have}: use fewer tokens or smaller patches"
            )
        return kernel
