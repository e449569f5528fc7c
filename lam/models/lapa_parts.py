"""Parts of LAPA's latent action quantizer (lam/models/lapa.py, which tells what quirks are).

B batch, T frames, H W patch grid, N = H*W patches, D width, L token positions, A heads, K width of
a head. What is written in another way than in the publication is so because XLA on a CPU makes it
faster; numbers agree up to rounding.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from lam.models.transformer import Stack, attend, split_heads

HEAD_WIDTH = 64
LOGIT_SCALE = 8.0


def norm(name, dtype=jnp.float32):
    """LayerNorm with a gain and no bias."""
    return nn.LayerNorm(epsilon=1e-5, use_bias=False, dtype=dtype, name=name)


class Dense(nn.Dense):
    """nn.Dense on rows: with more axes XLA copies what the kernel's gradient needs, and is slow."""

    def __call__(self, x):
        return super().__call__(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.features)


class Depthwise(nn.Module):
    """3x3x3 convolution over (time, row, column), channel by channel, causal in time.

    A sum of shifted products: XLA's grouped convolution on a CPU takes forty times as long.
    """

    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BTHWD):
        _, t, h, w, width = x_BTHWD.shape
        kernel = self.param("kernel", nn.linear.default_kernel_init, (3, 3, 3, 1, width))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        x, kernel, bias = (a.astype(self.dtype) for a in (x_BTHWD, kernel, bias))
        reach = min(3, t)  # frames that a frame can see
        padded = jnp.pad(x, ((0, 0), (reach - 1, 0), (1, 1), (1, 1), (0, 0))).astype(jnp.float32)
        taps = (
            padded[:, k : k + t, i : i + h, j : j + w] * kernel[3 - reach + k, i, j, 0]
            for k, i, j in np.ndindex(reach, 3, 3)
        )
        return (sum(taps) + bias).astype(self.dtype)


class PositionGenerator(nn.Module):
    """What a token's neighbours add to it; `scrambled` as the module's docstring says."""

    dtype: jnp.dtype
    scrambled: bool = False

    @nn.compact
    def __call__(self, x_BTHWD):
        conv = Depthwise(self.dtype, name="Conv_0")
        if not self.scrambled:
            return conv(x_BTHWD)
        x_BHWTD = rearrange(x_BTHWD, "b t h w d -> b h w t d")
        y = conv(x_BHWTD.reshape(x_BTHWD.shape)).reshape(x_BHWTD.shape)
        return rearrange(y, "b h w t d -> b t h w d")


class PositionBias(nn.Module):
    """Attention bias from the signed log distance of two patches: [A,N,N] (Swin v2).

    Many pairs of patches are equally far apart: what is learned is computed once a distance.
    """

    heads: int
    width: int

    @nn.compact
    def __call__(self, height, width):
        grid_N2 = np.stack(np.mgrid[:height, :width], axis=-1).reshape(-1, 2)
        apart = (grid_N2[:, None] - grid_N2[None]).reshape(-1, 2)
        apart, index = np.unique(apart, axis=0, return_inverse=True)
        x = jnp.asarray(np.sign(apart) * np.log1p(np.abs(apart)), jnp.float32)
        for _ in range(2):
            x = nn.leaky_relu(Dense(self.width)(x), 0.1)
        x = jnp.take(Dense(self.heads)(x).T, index.reshape(-1), axis=1)
        return x.reshape(-1, len(grid_N2), len(grid_N2))


class Attention(nn.Module):
    """Cosine attention; with a context, two learned null keys and values come first.

    Without a context, keys and values are those of x: of its norm, unless `raw`.
    """

    heads: int
    dtype: jnp.dtype
    raw: bool = False

    @nn.compact
    def __call__(self, x_BND, bias_ANN=None, context_BLD=None):
        inner = self.heads * HEAD_WIDTH
        dense = functools.partial(Dense, use_bias=False, dtype=self.dtype)
        normed = norm("norm")(x_BND)
        source = x_BND if self.raw else normed
        if context_BLD is not None:
            source = norm("context_norm")(context_BLD)
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
        dense = functools.partial(Dense, use_bias=False, dtype=self.dtype)
        value, gate = jnp.split(dense(2 * hidden, name="up")(x_BND), 2, axis=-1)
        return dense(width, name="down")(nn.gelu(gate, approximate=False) * value)


class Transformer(nn.Module):
    """Blocks, and a norm.

    `over` is "space" or "time": the axis of x [B,T,H,W,D] along which attention runs.
    """

    depth: int
    heads: int
    over: str
    dtype: jnp.dtype
    quirks: bool = False
    stack: Stack = Stack()

    @nn.compact
    def __call__(self, x_BTHWD, bias_ANN=None, context_BLD=None):
        sizes = {name: getattr(self, name) for name in ("heads", "over", "dtype", "quirks")}
        block = functools.partial(Block, **sizes)
        return norm("norm_out")(self.stack(block, self.depth, x_BTHWD, bias_ANN, context_BLD))


class Block(nn.Module):
    """Position generator, self-attention, cross-attention if there is a context, feed-forward."""

    heads: int
    over: str
    dtype: jnp.dtype
    quirks: bool = False

    @nn.compact
    def __call__(self, x_BTHWD, bias_ANN=None, context_BLD=None):
        _, t, h, w, _ = x_BTHWD.shape
        fold = {"space": "(b t) (h w) d", "time": "(b h w) t d"}[self.over]
        scrambled = self.quirks and self.over == "time"
        x_BTHWD = x_BTHWD + PositionGenerator(self.dtype, scrambled, name="position")(x_BTHWD)
        x = rearrange(x_BTHWD, f"b t h w d -> {fold}")
        x = x + Attention(self.heads, self.dtype, self.quirks, name="self")(x, bias_ANN)
        if context_BLD is not None:
            x = x + Attention(self.heads, self.dtype, name="cross")(x, context_BLD=context_BLD)
        x = x + FeedForward(self.dtype, name="mlp")(x)
        return rearrange(x, f"{fold} -> b t h w d", t=t, h=h, w=w)
