"""How training pairs are changed before the model sees them: `config.augment`.

B batch, H W pixels, C colours; frames are float32 [B,H,W,C] in [0,1].
"""

import dataclasses

import jax
import jax.numpy as jnp

from lam.errors import UserError
from lam.ops import augment


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The same window and the same colours for both frames, so that their motion stays.

    Attributes:
      crop: side of the smallest window as a share of the frame; 1 = no crop.
      colour: by how much brightness, contrast and saturation change, 0 = not at all.
      apart: the encoder sees each frame in colours of its own, while the decoder's frames share
        theirs: what a code says of colours is then of no use.
    """

    crop: float = 1.0
    colour: float = 0.0
    apart: bool = False

    def __call__(self, first, second, rng):
        """((frame 1, frame 2), the same as the encoder sees them; None where it sees these)."""
        pair = jnp.stack([first, second], axis=1)
        crop_rng, colour_rng, apart_rng = jax.random.split(rng, 3)
        if self.crop < 1:
            pair = augment.crop(pair, crop_rng, self.crop)
        seen = None
        if self.apart:
            apart = augment.colour(pair, apart_rng, self.colour, alike=False)
            seen = apart[:, 0], apart[:, 1]
        if self.colour:
            pair = augment.colour(pair, colour_rng, self.colour)
        return (pair[:, 0], pair[:, 1]), seen


def make(section):
    """The Augmentation of `config.augment`; UserError."""
    made = Augmentation(**section)
    if not 0 < made.crop <= 1 or not 0 <= made.colour < 1:
        raise UserError(
            f"config.augment: crop={made.crop:g} must be above 0 and at most 1, "
            f"colour={made.colour:g} at least 0 and below 1"
        )
    if made.apart and not made.colour:
        raise UserError("config.augment.apart wants colours to change: set config.augment.colour")
    return made
