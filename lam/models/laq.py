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


def unpatchify(patches_BNP, patch, height):
    return rearrange(
        patches_BNP, "b (h w) (p q c) -> b (h p) (w q) c", p=patch, q=patch, h=height // patch
    )


class Stem(nn.Module):
    """Image -> one vector per patch, two convolutions so that neighbours overlap: [B,N,D]."""

    width: int
    patch: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, image_BHWC):
        half = self.patch // 2
        conv = nn.Conv(self.width // 2, (half, half), half, dtype=self.dtype, name="fine")
        x_BHWD = nn.relu(conv(image_BHWC))
        conv = nn.Conv(self.width, (3, 3), 2, dtype=self.dtype, name="coarse")
        x_BND = rearrange(conv(x_BHWD), "b h w d -> b (h w) d")
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
        query_LD = self.param(
            "query", nn.initializers.normal(0.02), (self.num_tokens, self.width)
        )
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


class ChangeDecoder(nn.Module):
    """Frame 1 and L codes -> frame 2, as frame 1 plus a predicted change [B,H,W,C]."""

    width: int
    depth: int
    heads: int
    patch: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, first_BHWC, codes_BLZ):
        batch, height, _, channels = first_BHWC.shape
        x_BND = Stem(self.width, self.patch, self.dtype, name="stem")(first_BHWC - 0.5)
        # the action is a sum of what each position says, so that tokens are read linearly
        action_BD = nn.Dense(self.width, dtype=self.dtype, name="action")(
            codes_BLZ.reshape(batch, -1)
        )
        for i in range(self.depth):
            block = transformer.Block(self.heads, dtype=self.dtype, name=f"block_{i}")
            x_BND = block(x_BND, action_BD)
        x_BND = transformer.norm("norm")(x_BND)
        out = nn.Dense(self.patch**2 * channels, kernel_init=nn.initializers.zeros, name="pixels")
        return first_BHWC + unpatchify(out(x_BND), self.patch, height)


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

    def setup(self):
        sizes = dict(width=self.width, heads=self.heads, patch=self.patch, dtype=self.dtype)
        action = dict(num_tokens=self.num_tokens, code_width=self.code_width)
        self.encode = JointEncoder(**sizes, **action, depth=self.encoder_depth)
        self.decode = ChangeDecoder(**sizes, depth=self.decoder_depth)


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
