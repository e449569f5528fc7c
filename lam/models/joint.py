"""The default encoder and decoder of the latent action quantizer.

B batch, H W pixels, C colours, N patches, D width, L token positions, Z code width, K motions, and
K+1 parts: what stays and what each motion moves.

The published encoder looks at each frame by itself and its decoder draws frame 2 anew; on small
robot worlds that learns no motion. Here the encoder compares the frames cell by cell, and the codes
say displacements: the decoder moves copies of frame 1 and chooses for every pixel the copy that it
comes from. Everything is made of matrix products: XLA's convolutions on a CPU are slower by an
order of magnitude.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange

from lam.models import transformer
from lam.models.patches import patchify, unpatchify
from lam.ops import motion


def neighbours(x_BHWC, stride):
    """Every stride-th cell with the eight around it, zeros outside: [B,H/stride,W/stride,9*C]."""
    _, height, width, _ = x_BHWC.shape
    padded = jnp.pad(x_BHWC, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = ([slice(i, i + n, stride) for i in range(3)] for n in (height, width))
    return jnp.concatenate([padded[:, i, j] for i in rows for j in columns], axis=-1)


class Halve(nn.Module):
    """Map of half patches -> one vector per patch with its position: [B,2h,2w,C] -> [B,N,D]."""

    width: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BHWC):
        x_BHWD = nn.Dense(self.width, dtype=self.dtype, name="merge")(neighbours(x_BHWC, 2))
        x_BND = rearrange(x_BHWD, "b h w d -> b (h w) d")
        position_ND = self.param("position", nn.initializers.normal(0.02), x_BND.shape[1:])
        return x_BND + position_ND.astype(self.dtype)


def ask(encoder, x_BND):
    """Learned queries in front of what an encoder sees, its blocks, and what the queries say.

    Called within the `__call__` of an encoder with `num_tokens`, `code_width`, `width`, `depth`,
    `heads`, `stack` and `dtype`, whose parameters these become.

    Returns:
      (codes float32 [B,L,Z], patches [B,N,D] after the last norm).
    """
    query_LD = encoder.param(
        "query", nn.initializers.normal(0.02), (encoder.num_tokens, encoder.width)
    )
    query_BLD = jnp.broadcast_to(query_LD.astype(encoder.dtype), (len(x_BND), *query_LD.shape))
    x_BND = jnp.concatenate([query_BLD, x_BND], axis=1)
    block = functools.partial(transformer.Block, heads=encoder.heads, dtype=encoder.dtype)
    x_BND = encoder.stack(block, encoder.depth, x_BND)
    query_BLD, x_BND = jnp.split(transformer.norm("norm")(x_BND), [encoder.num_tokens], axis=1)
    shape = (encoder.num_tokens, encoder.width, encoder.code_width)
    kernel_LDZ = encoder.param("to_code", nn.initializers.lecun_normal(batch_axis=(0,)), shape)
    codes_BLZ = jnp.einsum("bld,ldz->blz", query_BLD, kernel_LDZ)
    return codes_BLZ, x_BND


class Encoder(nn.Module):
    """Two frames -> codes [B,L,Z] and the parts that the pixels of frame 2 belong to."""

    num_tokens: int
    code_width: int
    width: int
    depth: int
    heads: int
    patch: int
    motions: int
    dtype: jnp.dtype
    stack: transformer.Stack = transformer.Stack()
    radius: int = 4  # of the comparison, in half patches

    @nn.compact
    def __call__(self, first_BHWC, second_BHWC):
        """Returns (codes float32 [B,L,Z], logits of the parts [B,H,W,K+1])."""
        x_BND = self.compare(first_BHWC - 0.5, second_BHWC - 0.5)
        codes_BLZ, x_BND = ask(self, x_BND)
        parts_BNP = nn.Dense(self.patch**2 * (self.motions + 1), name="parts")(x_BND)
        return codes_BLZ, unpatchify(parts_BNP, self.patch, first_BHWC.shape[1])

    def compare(self, first_BHWC, second_BHWC):
        """What lies where in both frames and how like it is to its surroundings: [B,N,D]."""
        fine = self.width // 2
        dense = functools.partial(nn.Dense, dtype=self.dtype)
        cells = patchify(jnp.concatenate([first_BHWC, second_BHWC]), self.patch // 2)
        cells = neighbours(nn.relu(dense(fine // 2, name="pixels")(cells)), 1)
        cells = nn.RMSNorm(dtype=jnp.float32, name="cells_norm")(dense(fine, name="cells")(cells))
        first, second = jnp.split(cells.astype(self.dtype), 2)
        volume = motion.correlate(first, second, self.radius)
        seen = jnp.concatenate([first, second, volume], axis=-1)
        return Halve(self.width, self.dtype, name="halve")(nn.relu(dense(fine, name="mix")(seen)))


class Decoder(nn.Module):
    """Frame 1 and codes -> frame 2: parts of frame 1 that move, and a change beside.

    The codes say K displacements, linearly, each with an uncertainty that blurs and lets gradients
    find far displacements. A transformer that sees the moved copies says which pixel comes from
    which (CDNA, Finn et al. 2016, with Gaussian instead of free kernels).
    """

    width: int
    depth: int
    heads: int
    patch: int
    motions: int
    dtype: jnp.dtype
    stack: transformer.Stack = transformer.Stack()

    @nn.compact
    def __call__(self, first_BHWC, codes_BLZ, parts_BHWP=None):
        """Frame 2 [B,H,W,C]; and, where `parts` are given, the moved copies put together by them.

        Returns:
          (frame 2, None or frame 2 by the given parts).
        """
        height, colours = first_BHWC.shape[1], first_BHWC.shape[3]
        moved_BKHWC = motion.translate(first_BHWC, *self.displacements(codes_BLZ, height))
        copies_BPHWC = jnp.concatenate([first_BHWC[:, None], moved_BKHWC], axis=1)
        seen_BHWX = rearrange(copies_BPHWC - 0.5, "b k h w c -> b h w (k c)")
        cells = nn.Dense(self.width // 2, dtype=self.dtype, name="cells")(
            patchify(seen_BHWX, self.patch // 2)
        )
        x_BND = Halve(self.width, self.dtype, name="halve")(nn.relu(cells))
        block = functools.partial(transformer.Block, heads=self.heads, dtype=self.dtype)
        x_BND = self.stack(block, self.depth, x_BND)
        head = nn.Dense(
            self.patch**2 * (self.motions + 1 + colours),
            kernel_init=nn.initializers.normal(0.01),
            name="pixels",
        )
        out_BHWX = unpatchify(head(transformer.norm("norm")(x_BND)), self.patch, height)
        logits_BHWP, change_BHWC = jnp.split(out_BHWX, [self.motions + 1], axis=-1)
        guided = None if parts_BHWP is None else compose(copies_BPHWC, parts_BHWP)
        return compose(copies_BPHWC, logits_BHWP) + change_BHWC, guided

    def displacements(self, codes_BLZ, height):
        """Displacements and their uncertainty, (dx, dy) in pixels: two [B,K,2]."""
        codes_BX = codes_BLZ.reshape(len(codes_BLZ), -1)
        out = nn.Dense(4 * self.motions, name="displacement")(codes_BX)
        shift_BK2, spread_BK2 = jnp.split(out.reshape(-1, self.motions, 4), 2, axis=-1)
        return shift_BK2 * height / 16, nn.softplus(spread_BK2 + 1.0) * height / 32 + 0.25


def compose(copies_BPHWC, logits_BHWP):
    """Puts the copies together, weighted by the softmax of the logits: [B,H,W,C]."""
    weights_BHWP = nn.softmax(logits_BHWP, axis=-1)
    # a sum of products that XLA fuses; as an einsum it would be thousands of tiny matrix products
    return sum(
        weights_BHWP[..., part, None] * copies_BPHWC[:, part]
        for part in range(copies_BPHWC.shape[1])
    )


class Joint(nn.Module):
    """The default encoder and decoder; images float32 [B,H,W,3] in [0,1]."""

    num_tokens: int
    code_width: int
    width: int
    encoder_depth: int
    decoder_depth: int
    heads: int
    patch: int
    motions: int
    dtype: jnp.dtype
    stack: transformer.Stack = transformer.Stack()

    def setup(self):
        shared = ("width", "heads", "patch", "motions", "dtype", "stack")
        sizes = {name: getattr(self, name) for name in shared}
        action = {n: getattr(self, n) for n in ("num_tokens", "code_width")}
        self.encode = Encoder(**sizes, **action, depth=self.encoder_depth)
        self.decode = Decoder(**sizes, depth=self.decoder_depth)
