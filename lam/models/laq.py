"""Latent action quantizer: two frames -> a few discrete tokens -> the second frame from the first.

B batch, H W pixels, C channels, N patches, P patch width, D width, L token positions, Z code width.

The published model (LAPA, Ye et al. 2024) encodes each frame by itself and predicts pixels anew. On
small robot worlds it learns no motion. Here the encoder sees both frames and their difference in
one sequence, a few queries read the action out of it, and the decoder predicts how frame 1 changes.
"""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange

from lam.models import transformer
from lam.models.lapa import Lapa
from lam.models.quantizers import NSVQ
from lam.ops import motion


def unpatchify(patches_BNP, patch, height):
    return rearrange(
        patches_BNP, "b (h w) (p q c) -> b (h p) (w q) c", p=patch, q=patch, h=height // patch
    )


def patchify(image_BHWC, patch):
    """Pixels of each patch side by side: [B,H/patch,W/patch,patch*patch*C]."""
    return rearrange(image_BHWC, "b (h p) (w q) c -> b h w (p q c)", p=patch, q=patch)


def neighbours(x_BHWC):
    """Every second cell with the eight around it, zeros outside: [B,H/2,W/2,9*C]."""
    _, height, width, _ = x_BHWC.shape
    padded = jnp.pad(x_BHWC, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, i : i + height : 2, j : j + width : 2] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifted, axis=-1)


class Stem(nn.Module):
    """Image -> one vector per patch, two layers of which the second overlaps: [B,N,D].

    The layers are convolutions of stride patch/2 and 2, written as matrix products because XLA's
    convolutions on a CPU are slower by an order of magnitude.
    """

    width: int
    patch: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, image_BHWC):
        pixels = patchify(image_BHWC, self.patch // 2)
        x_BHWD = nn.relu(nn.Dense(self.width // 2, dtype=self.dtype, name="fine")(pixels))
        x_BHWD = nn.Dense(self.width, dtype=self.dtype, name="coarse")(neighbours(x_BHWD))
        x_BND = rearrange(x_BHWD, "b h w d -> b (h w) d")
        position_ND = self.param("position", nn.initializers.normal(0.02), x_BND.shape[1:])
        return x_BND + position_ND.astype(self.dtype)


class JointEncoder(nn.Module):
    """Both frames and their difference -> L continuous codes [B,L,Z]."""

    num_tokens: int
    code_width: int
    width: int
    depth: int
    heads: int
    patch: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, first_BHWC, second_BHWC):
        frames = jnp.concatenate(
            [first_BHWC - 0.5, second_BHWC - 0.5, second_BHWC - first_BHWC], axis=-1
        )
        x_BND = Stem(self.width, self.patch, self.dtype, name="stem")(frames)
        query_LD = self.param("query", nn.initializers.normal(0.02), (self.num_tokens, self.width))
        queries_BLD = jnp.broadcast_to(
            query_LD.astype(self.dtype), (x_BND.shape[0], *query_LD.shape)
        )
        x_BND = jnp.concatenate([queries_BLD, x_BND], axis=1)
        for i in range(self.depth):
            x_BND = transformer.Block(self.heads, dtype=self.dtype, name=f"block_{i}")(x_BND)
        out_BLD = transformer.norm("norm")(x_BND[:, : self.num_tokens])
        kernel = nn.initializers.lecun_normal(batch_axis=(0,))
        shape = (self.num_tokens, self.width, self.code_width)
        return jnp.einsum("bld,ldz->blz", out_BLD, self.param("to_code", kernel, shape))


class MotionDecoder(nn.Module):
    """Frame 1 and L codes -> frame 2 [B,H,W,C]: parts of frame 1 that move, plus a change.

    The codes say K displacements, linearly; each gives a moved copy of frame 1, and a transformer
    that sees the copies says which pixel comes from which and what changes beside (after CDNA,
    Finn et al. 2016, with Gaussian instead of free kernels).
    """

    width: int
    depth: int
    heads: int
    patch: int
    motions: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, first_BHWC, codes_BLZ):
        batch, height, _, channels = first_BHWC.shape
        codes_BZ = codes_BLZ.reshape(batch, -1)
        copies_BKHWC = motion.translate(first_BHWC, *self.displacements(codes_BZ, height))
        copies_BKHWC = jnp.concatenate([first_BHWC[:, None], copies_BKHWC], axis=1)
        seen_BHWC = rearrange(copies_BKHWC - 0.5, "b k h w c -> b h w (k c)")
        x_BND = Stem(self.width, self.patch, self.dtype, name="stem")(seen_BHWC)
        action_BD = nn.Dense(self.width, dtype=self.dtype, name="action")(codes_BZ)
        for i in range(self.depth):
            block = transformer.Block(self.heads, dtype=self.dtype, name=f"block_{i}")
            x_BND = block(x_BND, action_BD)
        x_BND = transformer.norm("norm")(x_BND)
        outputs = self.motions + 1 + channels
        head = nn.Dense(
            self.patch**2 * outputs, kernel_init=nn.initializers.normal(0.01), name="pixels"
        )
        out_BHWX = unpatchify(head(x_BND), self.patch, height)
        logits_BHWK, change_BHWC = jnp.split(out_BHWX, [self.motions + 1], axis=-1)
        weights_BHWK = nn.softmax(logits_BHWK, axis=-1)
        return jnp.einsum("bhwk,bkhwc->bhwc", weights_BHWK, copies_BKHWC) + change_BHWC

    def displacements(self, codes_BZ, height):
        """Shift and its uncertainty of each motion in pixels: two [B,K,2]."""
        out = nn.Dense(self.motions * 4, name="displacement")(codes_BZ)
        shift_BK2, spread_BK2 = jnp.split(out.reshape(-1, self.motions, 4), 2, axis=-1)
        return shift_BK2 * height / 16, nn.softplus(spread_BK2 + 1.0) * height / 32 + 0.25


class Joint(nn.Module):
    """The default encoder and decoder; images float32 [B,H,W,3] in [0,1]."""

    num_tokens: int
    code_width: int
    width: int
    encoder_depth: int
    decoder_depth: int
    heads: int
    patch: int
    dtype: jnp.dtype
    motions: int = 4

    def setup(self):
        sizes = {n: getattr(self, n) for n in ("width", "heads", "patch", "dtype")}
        action = {n: getattr(self, n) for n in ("num_tokens", "code_width")}
        self.encode = JointEncoder(**sizes, **action, depth=self.encoder_depth)
        self.decode = MotionDecoder(**sizes, depth=self.decoder_depth, motions=self.motions)


NETS = {"joint": Joint, "lapa": Lapa}


class LAQ(nn.Module):
    """Encoder, quantiser and decoder; images are float32 [B,H,W,3] in [0,1].

    Attributes:
      encoder: "joint" (default) or "lapa" (the published architecture, see lam/models/lapa.py).
      shared_codebook: one codebook for all positions, as published, instead of one each.
    """

    encoder: str = "joint"
    num_tokens: int = 4
    num_codes: int = 8
    code_width: int = 32
    width: int = 128
    encoder_depth: int = 4
    decoder_depth: int = 4
    heads: int = 4
    patch: int = 8
    shared_codebook: bool = False
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.net = NETS[self.encoder](
            num_tokens=self.num_tokens,
            code_width=self.code_width,
            width=self.width,
            encoder_depth=self.encoder_depth,
            decoder_depth=self.decoder_depth,
            heads=self.heads,
            patch=self.patch,
            dtype=self.dtype,
        )
        codebooks = 1 if self.shared_codebook else self.num_tokens
        self.quantizer = NSVQ(codebooks, self.num_codes, self.code_width)

    def encode(self, first_BHWC, second_BHWC):
        """Continuous codes before quantisation: float32 [B,L,Z]."""
        return self.net.encode(first_BHWC, second_BHWC).astype(jnp.float32)

    def tokens(self, first_BHWC, second_BHWC):
        """Latent action tokens: int32 [B,L] in [0, num_codes)."""
        return self.quantizer(self.encode(first_BHWC, second_BHWC))[1]

    def decode(self, first_BHWC, tokens_BL):
        """Frame 2 as the tokens say: float32 [B,H,W,3], not clipped."""
        return self.net.decode(first_BHWC, self.quantizer.lookup(tokens_BL)).astype(jnp.float32)

    def __call__(self, first_BHWC, second_BHWC, rng=None):
        """One pass: (reconstruction [B,H,W,3], tokens [B,L], continuous codes [B,L,Z])."""
        z_BLZ = self.encode(first_BHWC, second_BHWC)
        codes_BLZ, tokens_BL = self.quantizer(z_BLZ, rng)
        recon_BHWC = self.net.decode(first_BHWC, codes_BLZ).astype(jnp.float32)
        return recon_BHWC, tokens_BL, z_BLZ
