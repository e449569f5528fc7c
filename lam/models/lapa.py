"""The latent action quantizer as LAPA published it (Ye et al., 2024; LatentActionPretraining/LAPA).

B batch, T frames, H W patch grid, N = H*W patches, D width, L token positions, Z code width,
A heads, K width of a head.

Each frame runs through a spatial transformer, both through a temporal one; the action is the
difference of two small convolutional summaries; the decoder draws frame 2 from the (frozen) patch
embeddings of frame 1 and the action. The three quirks of the published code (scrambled grid in the
temporal position generator, scrambled codes, un-normalised keys and values) are not reproduced.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

from lam.models.transformer import attend, split_heads

HEAD_WIDTH = 64
LOGIT_SCALE = 8.0


def norm(name, dtype=jnp.float32):
    """LayerNorm with a gain and no bias."""
    return nn.LayerNorm(epsilon=1e-5, use_bias=False, dtype=dtype, name=name)


class PositionGenerator(nn.Module):
    """Depthwise 3x3x3 convolution over (time, row, column), causal in time."""

    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BTHWD):
        width = x_BTHWD.shape[-1]
        padding = ((2, 0), (1, 1), (1, 1))
        conv = nn.Conv(
            width, (3, 3, 3), padding=padding, feature_group_count=width, dtype=self.dtype
        )
        return conv(x_BTHWD)


class PositionBias(nn.Module):
    """Attention bias from the signed log distance of two patches: [A,N,N] (Swin v2)."""

    heads: int
    width: int

    @nn.compact
    def __call__(self, height, width):
        grid_N2 = jnp.stack(jnp.mgrid[:height, :width], axis=-1).reshape(-1, 2)
        relative = (grid_N2[:, None] - grid_N2[None]).astype(jnp.float32)
        x = jnp.sign(relative) * jnp.log1p(jnp.abs(relative))
        for _ in range(2):
            x = nn.leaky_relu(nn.Dense(self.width)(x), 0.1)
        return jnp.moveaxis(nn.Dense(self.heads)(x), -1, 0)


class Attention(nn.Module):
    """Cosine attention; with a context, two learned null keys and values come first."""

    heads: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BND, bias_ANN=None, context_BLD=None):
        inner = self.heads * HEAD_WIDTH
        dense = functools.partial(nn.Dense, use_bias=False, dtype=self.dtype)
        normed = norm("norm")(x_BND)
        source = normed if context_BLD is None else norm("context_norm")(context_BLD)
        q = split_heads(dense(inner, name="query")(normed), self.heads)
        k = split_heads(dense(inner, name="key")(source), self.heads)
        v = split_heads(dense(inner, name="value")(source), self.heads)
        if context_BLD is not None:
            null = self.param(
                "null_kv", nn.initializers.normal(1.0), (2, 2, self.heads, HEAD_WIDTH)
            )
            null = jnp.broadcast_to(null[:, None], (2, k.shape[0], *null.shape[1:])).astype(k.dtype)
            k, v = (jnp.concatenate([null[i], kv], axis=1) for i, kv in enumerate((k, v)))
        q, k = (self.cosine(x, name) for x, name in ((q, "q_scale"), (k, "k_scale")))
        out = attend(q, k, v, LOGIT_SCALE, bias_ANN)
        return dense(x_BND.shape[-1], name="out")(out)

    def cosine(self, x, name):
        """Unit length along each head, then a learned scale per dimension."""
        unit = x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
        return unit * self.param(name, nn.initializers.ones, (HEAD_WIDTH,)).astype(x.dtype)


class FeedForward(nn.Module):
    """GEGLU with two thirds of the usual hidden width."""

    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BND):
        width = x_BND.shape[-1]
        hidden = int(4 * 2 / 3 * width)
        x_BND = nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32, name="norm")(x_BND)
        dense = functools.partial(nn.Dense, use_bias=False, dtype=self.dtype)
        value, gate = jnp.split(dense(2 * hidden, name="up")(x_BND), 2, axis=-1)
        return dense(width, name="down")(nn.gelu(gate, approximate=False) * value)


class Transformer(nn.Module):
    """Blocks of position generator, self-attention, optional cross-attention and feed-forward.

    `over` is "space" or "time": the axis of x [B,T,H,W,D] along which attention runs.
    """

    depth: int
    heads: int
    over: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BTHWD, bias_ANN=None, context_BLD=None):
        _, t, h, w, _ = x_BTHWD.shape
        fold = {"space": "(b t) (h w) d", "time": "(b h w) t d"}[self.over]
        for _ in range(self.depth):
            x_BTHWD = x_BTHWD + PositionGenerator(self.dtype)(x_BTHWD)
            x = rearrange(x_BTHWD, f"b t h w d -> {fold}")
            x = x + Attention(self.heads, self.dtype)(x, bias_ANN)
            if context_BLD is not None:
                x = x + Attention(self.heads, self.dtype)(x, context_BLD=context_BLD)
            x = x + FeedForward(self.dtype)(x)
            x_BTHWD = rearrange(x, f"{fold} -> b t h w d", t=t, h=h, w=w)
        return norm("norm_out")(x_BTHWD)


class Lapa(nn.Module):
    """Published encoder and decoder; images float32 [B,H,W,3] in [0,1]."""

    num_tokens: int
    code_width: int
    width: int
    encoder_depth: int  # of the spatial and of the temporal transformer, each
    decoder_depth: int
    heads: int
    patch: int
    motions: int  # of no use here
    dtype: jnp.dtype

    def setup(self):
        stack = {"heads": self.heads, "dtype": self.dtype}
        self.patch_norm = nn.LayerNorm(epsilon=1e-5)
        self.patch_dense = nn.Dense(self.width, dtype=self.dtype)
        self.embed_norm = nn.LayerNorm(epsilon=1e-5)
        self.position_bias = PositionBias(self.heads, self.width)
        self.enc_spatial = Transformer(self.encoder_depth, over="space", **stack)
        self.enc_temporal = Transformer(self.encoder_depth, over="time", **stack)
        self.project_in = nn.Dense(self.code_width, dtype=self.dtype)
        self.dec_spatial = Transformer(self.decoder_depth, over="space", **stack)
        self.project_out = nn.Dense(self.width, dtype=self.dtype)
        self.to_pixels = nn.Dense(3 * self.patch**2, dtype=self.dtype)
        self.summary_1 = nn.Conv(self.code_width, (3, 3), 2, padding=1, dtype=self.dtype)
        self.summary_2 = SummaryConv(self.num_tokens, self.code_width, self.dtype)

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
        return self.summary_2(nn.relu(self.summary_1(x_BHWZ)))

    def decode(self, first_BHWC, codes_BLZ, parts=None):
        """(frame 2 [B,H,W,3] from frame 1 and the codes, None)."""
        assert parts is None, "this encoder gives no parts"
        x_BTHWD = jax.lax.stop_gradient(self.embed(first_BHWC))
        bias = self.position_bias(*x_BTHWD.shape[2:4])
        x_BTHWD = self.dec_spatial(x_BTHWD, bias, self.project_out(codes_BLZ))
        p, pixels = self.patch, self.to_pixels(x_BTHWD)
        return rearrange(pixels, "b 1 h w (c p q) -> b (h p) (w q) c", p=p, q=p), None


class SummaryConv(nn.Module):
    """Convolution without padding whose kernel leaves exactly L cells: [B,H,W,Z] -> [B,L,Z]."""

    num_tokens: int
    code_width: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BHWZ):
        side = math.isqrt(self.num_tokens)
        grid = (side, side) if side * side == self.num_tokens else (self.num_tokens, 1)
        kernel = tuple(have - want + 1 for have, want in zip(x_BHWZ.shape[1:3], grid, strict=True))
        if min(kernel) < 1:
            raise ValueError(
                f"num_tokens={self.num_tokens} needs a grid of {grid} cells, but half the patch "
                f"grid is {x_BHWZ.shape[1:3]}: use fewer tokens or smaller patches"
            )
        conv = nn.Conv(self.code_width, kernel, padding="VALID", dtype=self.dtype)
        return rearrange(conv(x_BHWZ), "b h w z -> b (h w) z")
