"""A learned target: features of frame 2 by a running average of an encoder that is being trained.

`config.latent`. The encoder sees frame 1, a decoder predicts from that and the codes what the
average sees in frame 2; the average follows the encoder and gets no gradient (BYOL, Grill et al.,
2020; for latent actions LAOM, Nikulin et al., 2025). Nothing has to be drawn, so colours and
textures that say nothing of the action need not be known. `latent_spread` tells whether features of
different pairs still differ: it falls to 0 where they collapse.

B batch, h w patches, D width.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from lam.errors import UserError


@dataclasses.dataclass(frozen=True)
class Target:
    """What the learned target is.

    Attributes:
      weight: of the mean squared error of the features of frame 2.
      decay: share of the average that a step keeps.
      warmup: steps over which the weight grows from zero.
    """

    weight: float
    decay: float
    warmup: int

    def follow(self, average, params):
        """The average after a step; both trees of the encoder's parameters."""
        return optax.incremental_update(params, average, 1 - self.decay)

    def loss(self, first_BhwD, found_BhwD, second_BhwD, steps):
        """(weighted loss, metrics) of features of frame 1, of frame 2 as predicted, and as seen."""
        second_BhwD = jax.lax.stop_gradient(second_BhwD)
        error = jnp.mean((found_BhwD - second_BhwD) ** 2)
        copy = jnp.maximum(jnp.mean((first_BhwD - second_BhwD) ** 2), 1e-6)
        spread = jnp.mean(jnp.std(second_BhwD, axis=0))
        metrics = {"latent_loss": error, "latent_loss_over_copy": error / copy}
        weight = self.weight * jnp.minimum(1.0, (steps + 1) / max(self.warmup, 1))
        return weight * error, {**metrics, "latent_spread": spread}


def make(section):
    """The Target of `config.latent`, None where its weight is 0; UserError."""
    made = Target(**{f.name: section[f.name] for f in dataclasses.fields(Target)})
    if min(made.weight, made.warmup) < 0 or not 0 <= made.decay < 1 or section["depth"] < 1:
        raise UserError(
            f"config.latent: weight={made.weight:g} and warmup={made.warmup} must be at least 0, "
            f"decay={made.decay:g} at least 0 and below 1, depth={section['depth']} at least 1"
        )
    return made if made.weight else None
