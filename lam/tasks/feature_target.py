"""A frozen feature tower as a target: what DINO or SigLIP sees in frame 2, not its pixels.

`config.features` says which tower and how much it counts (see configs/laq.py). Two losses, both
optional: a decoder learns the features of frame 2 from those of frame 1 and the codes; and the
drawn frame 2 must look to the tower as the true one does ("perceptual"). The target is what the
tower sees, through no trained layer: a projection that is trained on both sides can make all
targets alike. The tower's weights reach the jitted step as its argument `frozen["tower"]`.

B batch, H W pixels, h w patches, F width of the features.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from lam import tower
from lam.errors import UserError
from lam.models import vit


@dataclasses.dataclass(frozen=True)
class Target:
    """What the feature target is.

    Attributes:
      tower: file of weights, as `lam.tower.load` takes it.
      weight: of the mean squared error of the features of frame 2; 0 = no decoder of them.
      perceptual: of the same distance between the drawn and the true frame 2; 0 = none.
      warmup: steps over which both weights grow from zero.
      size: pixels of a side that frames are resampled to for the tower.
      dtype: that the tower computes in.
    """

    tower: str
    weight: float
    perceptual: float
    warmup: int
    size: int
    dtype: jnp.dtype = jnp.float32

    @functools.cached_property
    def spec(self):
        """The tower's Spec, from its file; UserError."""
        spec = tower.read_spec(self.tower)
        if self.size < spec.patch or self.size % spec.patch:
            raise UserError(
                f"config.features.size={self.size} must be a multiple of {spec.patch}, the patch "
                f"of {self.tower}"
            )
        return spec

    def read(self):
        """The tower's variables from its file: numpy arrays; UserError."""
        return self.spec and tower.read(self.tower)[1]

    def shape(self):
        """(h, w, F) of the features."""
        side = self.size // self.spec.patch
        return side, side, self.spec.width

    def see(self, variables, image_BHWC):
        """Normalised features of images float32 [B,H,W,3] in [0,1]: float32 [B,h,w,F].

        Each patch has mean 0 and variance 1 over its features (LayerNorm without parameters): that
        needs no other sample, so that a target is the same in any batch, on any number of devices.
        """
        patches = vit.features(self.spec, variables, image_BHWC, self.size, self.dtype).patches
        return jax.nn.standardize(patches, axis=-1, epsilon=1e-6)

    def pair(self, variables, first_BHWC, second_BHWC):
        """Normalised features of both frames, two [B,h,w,F]; no gradient."""
        both = self.see(variables, jnp.concatenate([first_BHWC, second_BHWC]))
        return jnp.split(jax.lax.stop_gradient(both), 2)

    def loss(self, variables, out, features, steps):
        """The weighted losses of a pass and their metrics.

        Args:
          variables: the tower's.
          out: the `lam.models.laq.Pass`.
          features: of both frames, see `pair`.
          steps: taken before this one.
        """
        first, second = features
        copy = jnp.maximum(jnp.mean((first - second) ** 2), 1e-6)
        loss, metrics = 0.0, {}
        if self.weight:
            error = jnp.mean((out.features - second) ** 2)
            loss += self.weight * error
            metrics |= {"feature_loss": error, "feature_loss_over_copy": error / copy}
        if self.perceptual:
            seen = self.see(jax.lax.stop_gradient(variables), out.recon)
            error = jnp.mean((seen - second) ** 2)
            loss += self.perceptual * error
            metrics |= {"perceptual": error, "perceptual_over_copy": error / copy}
        return loss * jnp.minimum(1.0, (steps + 1) / max(self.warmup, 1)), metrics


def make(section, dtype, encoder="joint"):
    """The Target of `config.features`, None where it names no tower; UserError.

    The encoder "features" needs a tower, if only to see by it.
    """
    if not section["tower"] and encoder == "features":
        raise UserError(
            "config.model.encoder=features sees by a tower: set config.features.tower to a file of "
            "weights, which python -m lam.convert vit makes"
        )
    if not section["tower"]:
        return None
    names = {f.name for f in dataclasses.fields(Target)} - {"dtype"}
    made = Target(**{name: section[name] for name in names}, dtype=dtype)
    if min(made.weight, made.perceptual, made.warmup) < 0 or section["depth"] < 1:
        raise UserError(
            f"config.features: weight={made.weight:g}, perceptual={made.perceptual:g} and "
            f"warmup={made.warmup} must be at least 0, depth={section['depth']} at least 1"
        )
    if encoder != "features" and not made.weight + made.perceptual:
        raise UserError(
            "config.features names a tower, but weight and perceptual are 0: set one of them, or "
            'config.features.tower="", or config.model.encoder=features'
        )
    return made
