"""Latent action quantizer: two frames -> a few discrete tokens -> the second frame from the first.

B batch, H W pixels, C colours, P parts, L token positions, Z code width, h w patches of a tower,
F width of its features.

`NETS` are the pairs of encoder and decoder; each has
- `encode(first, second) -> codes [B,L,Z], parts`: of two frames, for "features" of what a tower
  sees in them; `parts` may be None;
- `decode(first, codes, parts=None) -> frame 2, guided`: `guided` is frame 2 put together by the
  encoder's parts, or None. It knows frame 2, so it only serves to train the codes.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lam.models import action_decoder, transformer
from lam.models.action_decoder import ActionDecoder
from lam.models.feature_net import FeatureNet
from lam.models.frame_encoder import FrameEncoder
from lam.models.joint import Joint
from lam.models.lapa import Lapa
from lam.models.quantizers import FSQ, WITH_CODEBOOK, Gaussian

NETS = {"joint": Joint, "lapa": Lapa, "features": FeatureNet}


class Pass(NamedTuple):
    """What one pass gives."""

    recon: jax.Array  # float32 [B,H,W,C], frame 2 from frame 1 and the codes, not clipped
    guided: jax.Array | None  # the same with the encoder's parts, where the net has them
    tokens: jax.Array | None  # int32 [B,L], None of a continuous bottleneck
    outputs: jax.Array  # float32 [B,L,Z] of the encoder, before quantisation; "vae": [B,L,2*Z]
    latents: jax.Array  # float32 [B,L,Z], what of them says the action
    flow: jax.Array | None  # float32 [B,H,W,2], (dx / W, dy / H), where there is a flow decoder
    features: jax.Array | None  # float32 [B,h,w,F] of frame 2, where those of frame 1 are given
    predicted: tuple | None  # features of frames 1 and 2 by the frame encoder, the latter predicted
    action: jax.Array | None  # float32 [B,A], where there is a head for it
    quantizer_loss: jax.Array | float


class LAQ(nn.Module):
    """Encoder, quantiser and decoder; images are float32 [B,H,W,3] in [0,1].

    Attributes:
      encoder: "joint" (default, lam/models/joint.py), "lapa" (as published, lam/models/lapa.py) or
        "features" (lam/models/feature_net.py), which is given features in place of frames.
      motions: displacements that the codes of "joint" say.
      quirks: of "lapa", as published weights need it.
      quantizer: see lam/models/quantizers.py.
      commitment: weight of the distance of encoder outputs to their codes, where there is one.
      beta: of the quantizer "vae".
      levels: of the quantizer "fsq", whose product is num_codes and whose number is code_width.
      shared_codebook: one codebook for all positions, as published, instead of one each.
      detach_pixels: the decoder of frame 2 learns to draw, but the codes learn nothing from it.
      flow_depth: blocks of the decoder of optical flow; 0 = there is none.
      feature_depth: blocks of the decoder of a tower's features; 0 = there is none.
      latent_depth: blocks of an encoder of single frames and of the decoder that predicts what it
        sees in frame 2; 0 = there are none.
      remat, scan_layers: of the blocks, see `lam.models.transformer.Stack`.
      action_dims: A of the linear head that reads the true action from the codes; 0 = none.
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
    motions: int = 4
    quirks: bool = False
    quantizer: str = "nsvq"
    commitment: float = 0.25
    beta: float = 1e-4
    levels: tuple[int, ...] = ()
    shared_codebook: bool = False
    detach_pixels: bool = False
    flow_depth: int = 0
    feature_depth: int = 0
    latent_depth: int = 0
    action_dims: int = 0
    remat: bool = False
    scan_layers: bool = False
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        own = {"lapa": {"quirks": self.quirks}}.get(self.encoder, {"motions": self.motions})
        stack = transformer.Stack(self.remat, self.scan_layers)
        self.net = NETS[self.encoder](
            num_tokens=self.num_tokens,
            code_width=self.code_width * (2 if self.quantizer == "vae" else 1),
            width=self.width,
            encoder_depth=self.encoder_depth,
            decoder_depth=self.decoder_depth,
            heads=self.heads,
            patch=self.patch,
            dtype=self.dtype,
            stack=stack,
            **own,
        )
        if self.quantizer == "fsq":
            self.bottleneck = FSQ(self.levels)
        elif self.quantizer == "vae":
            self.bottleneck = Gaussian(self.beta)
        else:
            codebooks = 1 if self.shared_codebook else self.num_tokens
            kind = WITH_CODEBOOK[self.quantizer]
            self.bottleneck = kind(codebooks, self.num_codes, self.code_width, self.commitment)
        sizes = {name: getattr(self, name) for name in ("width", "heads", "dtype")}
        sizes |= {"stack": stack}
        if self.flow_depth:
            self.flow_decoder = ActionDecoder(
                depth=self.flow_depth, takes="pixels", gives="flow", outputs=2 * self.patch**2,
                **sizes,
            )  # fmt: skip
        if self.feature_depth:
            self.feature_decoder = ActionDecoder(
                depth=self.feature_depth, takes="first", gives="change", **sizes
            )
        if self.latent_depth:
            self.frame_encoder = FrameEncoder(depth=self.latent_depth, patch=self.patch, **sizes)
            self.latent_decoder = ActionDecoder(
                depth=self.latent_depth, takes="first", gives="change", **sizes
            )
        if self.action_dims:
            self.action_head = nn.Dense(self.action_dims)

    def encode(self, first_BHWC, second_BHWC):
        """What the bottleneck is given: float32 [B,L,Z], of "vae" [B,L,2*Z]."""
        return self.net.encode(first_BHWC, second_BHWC)[0].astype(jnp.float32)

    def action(self, first_BHWC, second_BHWC):
        """(latents, what says the action before it is quantised: float32 [B,L,Z]; tokens: int32
        [B,L] in [0, num_codes), None of a continuous bottleneck)."""
        z_BLZ = self.encode(first_BHWC, second_BHWC)
        return self.bottleneck.latents(z_BLZ), self.bottleneck(z_BLZ).tokens

    def codes(self, tokens_BL=None, latents_BLZ=None):
        """What the decoders are given for tokens or else for latents: float32 [B,L,Z]."""
        if tokens_BL is not None:
            return self.bottleneck.lookup(tokens_BL)
        return self.bottleneck.codes(latents_BLZ)

    def decode(self, first_BHWC, tokens_BL=None, latents_BLZ=None):
        """Frame 2 as the tokens or else the latents say: float32 [B,H,W,3], not clipped."""
        codes_BLZ = self.codes(tokens_BL, latents_BLZ)
        return self.net.decode(first_BHWC, codes_BLZ)[0].astype(jnp.float32)

    def __call__(self, first_BHWC, second_BHWC, rng=None, noise=1.0, seen=None, features=None):
        """One pass; with `rng` as in training, the quantisation noise scaled by `noise`.

        seen: the two frames as the encoder sees them, where they are not those of the decoder;
          for "features" those of both.
        features: of frame 1, float32 [B,h,w,F], where those of frame 2 are asked for.
        """
        z_BLZ, parts = self.net.encode(*(seen or (first_BHWC, second_BHWC)))
        codes_BLZ, tokens_BL, loss = self.bottleneck(z_BLZ, rng, noise)
        drawn = (codes_BLZ, parts)
        if self.detach_pixels:
            drawn = jax.lax.stop_gradient(drawn)
        recon_BHWC, guided = self.net.decode(first_BHWC, *drawn)
        return Pass(
            recon_BHWC.astype(jnp.float32),
            None if guided is None else guided.astype(jnp.float32),
            tokens_BL,
            z_BLZ.astype(jnp.float32),
            self.bottleneck.latents(z_BLZ.astype(jnp.float32)),
            self.share(first_BHWC, codes_BLZ) if self.flow_depth else None,
            self.changed(features, codes_BLZ) if self.feature_depth else None,
            self.predict(first_BHWC, codes_BLZ) if self.latent_depth else None,
            self.action_head(codes_BLZ.reshape(len(codes_BLZ), -1)) if self.action_dims else None,
            loss,
        )

    def share(self, first_BHWC, codes_BLZ):
        """The flow that the codes say, as a share of the frame: float32 [B,H,W,2]."""
        return action_decoder.flow(self.flow_decoder, first_BHWC, codes_BLZ, self.patch)

    def changed(self, first_BhwF, codes_BLZ):
        """Features of frame 2 as the codes say, None where those of frame 1 are not given."""
        if first_BhwF is None:
            return None
        return action_decoder.features(self.feature_decoder, first_BhwF, codes_BLZ)

    def see(self, image_BHWC):
        """Features of one frame by the frame encoder: float32 [B,h,w,D]."""
        return self.frame_encoder(image_BHWC)

    def predict(self, first_BHWC, codes_BLZ):
        """Features of frame 1 by the frame encoder, of frame 2 as predicted: two [B,h,w,D]."""
        first_BhwD = self.see(first_BHWC)
        return first_BhwD, action_decoder.features(self.latent_decoder, first_BhwD, codes_BLZ)
