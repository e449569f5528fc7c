"""Quantizers: what the encoder says becomes tokens, and codes that the decoder is given.

B batch, L token positions, G codebooks (L, or 1 shared), K codes, D width of a code.

| name        | the decoder is given in training           | codes are moved by                  |
|-------------|--------------------------------------------|-------------------------------------|
| `nsvq`      | z and noise as long as the error           | gradient and means of their outputs |
| `nsvq_lapa` | the same                                   | gradient; with the faults of LAPA's |
| `vq`        | the code, gradient straight through to z   | gradient of their distance to z     |
| `vq_ema`    | the same                                   | running means of their outputs      |
| `cosine`    | the same on unit vectors, nearest by angle | gradient of their distance to z     |
| `fsq`       | z on a grid, gradient straight through     | nothing: the grid is given          |
| `vae`       | a sample around the mean that z says       | there are none: the control         |

Without `rng`, as in use, all give the code itself (`vae`: the mean). Dead codes are re-seeded.
Sources: Vali and Backstrom (IEEE Access 2022), LatentActionPretraining/LAPA, van den Oord et al.
(2017), Razavi et al. (2019), Yu et al. (2021, arXiv 2110.04627), Mentzer et al. (2023), Higgins et
al. (2017).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lam.models import codebooks
from lam.ops import fsq

SMOOTHING = 1e-5  # of the running counts, so that none is zero
LAPA_NOISE = 1e-12  # of LAPA's copies of codes, as published


class Quantised(NamedTuple):
    """What a quantizer gives."""

    codes: jax.Array  # float32 [B,L,D]
    tokens: jax.Array | None  # int32 [B,L], None of what is continuous
    loss: jax.Array | float  # scalar, to be added to the task's own


class Quantizer(nn.Module):
    """What all have; `lookup` of tokens only those that have tokens."""

    def latents(self, z_BLD):
        """What a probe may look at: z before it is quantised, [B,L,D]."""
        return z_BLD

    def codes(self, latents_BLD):
        """What the decoder is given for these latents, in use: [B,L,D]."""
        return self(latents_BLD).codes


class Codebook(Quantizer):
    """What the quantizers with a codebook share.

    Attributes:
      codebooks: G, one for each token position or 1 for all.
      num_codes: codes K of each codebook.
      width: size D of a code.
      commitment: weight of the distance of z to its code, for those that have it.
    """

    codebooks: int
    num_codes: int
    width: int
    commitment: float = 0.25

    def setup(self):
        shape = (self.codebooks, self.num_codes, self.width)
        self.codebook = self.param("codebook", nn.initializers.normal(1.0), shape)

    def lookup(self, tokens_BL):
        """Codes of given tokens: [B,L,D]."""
        return codebooks.lookup(tokens_BL, self.codebook)

    @staticmethod
    def begin(z_BLD, count, num_codes, rng):
        """`count` codebooks to begin with, from the first encoder outputs: [G,K,D]."""
        return codebooks.init_codes(z_BLD, count, num_codes, rng)

    @staticmethod
    def count(tokens_BL, count, num_codes):
        """How often a step used each code of `count` codebooks: float32 [G,K]."""
        return codebooks.count(tokens_BL, count, num_codes)

    @staticmethod
    def due(step, every, until):
        """Are dead codes re-seeded after this step? bool; every = 0 is never."""
        return (step % (every or 1) == 0) & (step <= until) & (every > 0)

    @staticmethod
    def reseed(codebook_GKD, counts_GK, threshold, z_BLD, rng):
        """(codebook with fresh codes for the dead ones, which ones they are: bool [G,K])."""
        dead_GK = codebooks.dead(counts_GK, threshold)
        return codebooks.reseed(codebook_GKD, dead_GK, z_BLD, rng), dead_GK

    @staticmethod
    def averages(codebook_GKD):
        """Running averages to begin with, part of the training state: {"count": float32 [G,K],
        "sum": float32 [G,K,D]} of the outputs that each code stands for; {} for none."""
        del codebook_GKD
        return {}

    @staticmethod
    def move(codebook_GKD, averages, z_BLD, rate):
        """(codebook [G,K,D], averages) after a step, apart from the gradient's; `rate` in 0..1."""
        del z_BLD, rate
        return codebook_GKD, averages

    @staticmethod
    def restart(averages, dead_GK, codebook_GKD):
        """The averages after the codes dead_GK (bool [G,K]) were re-seeded in the codebook."""
        del dead_GK, codebook_GKD
        return averages


class NSVQ(Codebook):
    """Noise substitution: gradients reach encoder and codebook without a loss of their own."""

    def __call__(self, z_BLD, rng=None, noise=1.0):
        """z [B,L,D] -> Quantised; with `rng` the noise is scaled by `noise` in 0..1."""
        z_BLD = z_BLD.astype(jnp.float32)
        tokens_BL = codebooks.nearest(jax.lax.stop_gradient(z_BLD), self.codebook)
        codes_BLD = self.lookup(tokens_BL)
        if rng is not None:
            codes_BLD = substitute_noise(z_BLD, codes_BLD, rng, noise)
        return Quantised(codes_BLD, tokens_BL, 0.0)

    @staticmethod
    def move(codebook_GKD, averages, z_BLD, rate):
        return codebooks.follow(codebook_GKD, z_BLD, rate), averages


class NSVQLapa(NSVQ):
    """NSVQ as LAPA published it, whose codebook collapses; to compare with, not to be used.

    Three faults: codes start far outside the encoder's outputs, a step counts a code once however
    often it was used, and the copies that replace dead codes differ by noise that float32 loses.
    """

    def __call__(self, z_BLD, rng=None, noise=1.0):
        """z [B,L,D] -> Quantised; the noise is never scaled."""
        del noise
        return super().__call__(z_BLD, rng)

    @staticmethod
    def begin(z_BLD, count, num_codes, rng):
        return jax.random.normal(rng, (count, num_codes, z_BLD.shape[-1]))

    @staticmethod
    def count(tokens_BL, count, num_codes):
        return jnp.minimum(codebooks.count(tokens_BL, count, num_codes), 1.0)

    @staticmethod
    def due(step, every, until):
        """The published steps, whatever the settings."""
        del every, until
        early = (step % 10 == 0) & (step < 100)
        return early | ((step % 100 == 0) & (step < 1000)) | ((step % 500 == 0) & (step < 5000))

    @staticmethod
    def reseed(codebook_GKD, counts_GK, threshold, z_BLD, rng):
        """Dead, used less than `threshold` times the BATCH, become copies of others."""
        dead_GK = counts_GK < threshold * len(z_BLD)
        alive_GK = jnp.where(dead_GK, -jnp.inf, 0.0)
        none_G1 = jnp.all(dead_GK, axis=-1, keepdims=True)
        draw_GK = jax.random.categorical(rng, alive_GK[:, None], shape=dead_GK.shape, axis=-1)
        copies_GKD = jnp.take_along_axis(codebook_GKD, draw_GK[..., None], axis=1)
        copies_GKD = jnp.where(none_G1[..., None], codebook_GKD, copies_GKD)
        copies_GKD += LAPA_NOISE * jax.random.normal(jax.random.fold_in(rng, 1), copies_GKD.shape)
        return jnp.where(dead_GK[..., None], copies_GKD, codebook_GKD), dead_GK

    move = staticmethod(Codebook.move)


class VQ(Codebook):
    """Straight-through, with the codebook and commitment losses of VQ-VAE."""

    def __call__(self, z_BLD, rng=None, noise=1.0):
        """z [B,L,D] -> Quantised."""
        del rng, noise
        z_BLD = self.space(z_BLD.astype(jnp.float32))
        codebook = self.space(self.codebook)
        tokens_BL = codebooks.nearest(jax.lax.stop_gradient(z_BLD), codebook)
        codes_BLD = codebooks.lookup(tokens_BL, codebook)
        loss = self.commitment * mean_square(z_BLD, jax.lax.stop_gradient(codes_BLD))
        loss += self.codebook_loss(jax.lax.stop_gradient(z_BLD), codes_BLD)
        codes_BLD = z_BLD + jax.lax.stop_gradient(codes_BLD - z_BLD)
        return Quantised(codes_BLD, tokens_BL, loss)

    def space(self, x):
        """Where distances are taken."""
        return x

    def codebook_loss(self, z_BLD, codes_BLD):
        return mean_square(z_BLD, codes_BLD)


class Cosine(VQ):
    """VQ on unit vectors: the nearest code is that of the smallest angle."""

    def lookup(self, tokens_BL):
        """Codes of given tokens: [B,L,D], of length 1."""
        return codebooks.lookup(tokens_BL, self.space(self.codebook))

    def space(self, x):
        return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


class VQEMA(VQ):
    """VQ whose codes are running means (VQ-VAE-2): `rate` is 1 less the decay."""

    def codebook_loss(self, z_BLD, codes_BLD):
        del z_BLD, codes_BLD
        return 0.0

    @staticmethod
    def averages(codebook_GKD):
        return {"count": jnp.ones(codebook_GKD.shape[:2]), "sum": codebook_GKD}

    @staticmethod
    def move(codebook_GKD, averages, z_BLD, rate):
        new = dict(zip(("count", "sum"), codebooks.used_by(codebook_GKD, z_BLD), strict=True))
        averages = jax.tree.map(lambda a, b: a + rate * (b - a), averages, new)
        count_GK, num_codes = averages["count"], codebook_GKD.shape[1]
        total_G1 = jnp.sum(count_GK, axis=-1, keepdims=True)
        smooth_GK = (count_GK + SMOOTHING) * (total_G1 / (total_G1 + num_codes * SMOOTHING))
        return averages["sum"] / smooth_GK[..., None], averages

    @staticmethod
    def restart(averages, dead_GK, codebook_GKD):
        mean_G1 = jnp.mean(averages["count"], axis=-1, keepdims=True)
        count_GK = jnp.where(dead_GK, mean_G1, averages["count"])
        sum_GKD = jnp.where(dead_GK[..., None], mean_G1[..., None] * codebook_GKD, averages["sum"])
        return {"count": count_GK, "sum": sum_GKD}


class FSQ(Quantizer):
    """Finite scalar quantisation; the levels decide the number of codes and their width."""

    levels: tuple[int, ...]

    def __call__(self, z_BLD, rng=None, noise=1.0):
        """z [B,L,D], D the number of levels -> Quantised."""
        del rng, noise
        codes_BLD = fsq.quantize(z_BLD, self.levels)
        return Quantised(codes_BLD, fsq.indices(codes_BLD, self.levels), 0.0)

    def lookup(self, tokens_BL):
        """Codes of given tokens: [B,L,D]."""
        return fsq.codes(tokens_BL, self.levels)


class Gaussian(Quantizer):
    """No tokens: a normal distribution, held near the standard one by `beta` (beta-VAE).

    Attributes:
      beta: weight of the divergence from the standard normal, nats of a pair of frames.
    """

    beta: float

    def __call__(self, z_BLX, rng=None, noise=1.0):
        """z [B,L,2*D], means and logarithms of variances -> Quantised."""
        mean_BLD, log_BLD = jnp.split(z_BLX.astype(jnp.float32), 2, axis=-1)
        divergence_BLD = 0.5 * (mean_BLD**2 + jnp.exp(log_BLD) - 1 - log_BLD)
        loss = self.beta * jnp.mean(jnp.sum(divergence_BLD, axis=(1, 2)))
        if rng is None:
            return Quantised(mean_BLD, None, loss)
        sample_BLD = jax.random.normal(rng, mean_BLD.shape)
        return Quantised(mean_BLD + noise * jnp.exp(log_BLD / 2) * sample_BLD, None, loss)

    def latents(self, z_BLX):
        """What a probe may look at: the means, [B,L,D]."""
        return jnp.split(z_BLX, 2, axis=-1)[0]

    def codes(self, latents_BLD):
        """What the decoder is given for these latents: themselves."""
        return latents_BLD


WITH_CODEBOOK = {"nsvq": NSVQ, "nsvq_lapa": NSVQLapa, "vq": VQ, "vq_ema": VQEMA, "cosine": Cosine}
NAMES = (*WITH_CODEBOOK, "fsq", "vae")


def mean_square(one, other):
    return jnp.mean((one - other) ** 2)


def substitute_noise(z_BLD, codes_BLD, rng, scale=1.0):
    """NSVQ: z plus noise `scale` times as long as the quantisation error |z - code|."""
    error_BL1 = jnp.sqrt(jnp.sum((z_BLD - codes_BLD) ** 2, axis=-1, keepdims=True) + 1e-12)
    noise_BLD = jax.random.normal(rng, z_BLD.shape, z_BLD.dtype)
    unit_BLD = noise_BLD / jnp.linalg.norm(noise_BLD, axis=-1, keepdims=True)
    return z_BLD + scale * error_BL1 * unit_BLD
