"""Frozen feature towers from files that `python -m lam.convert vit` writes.

B batch, H W pixels, h w patches, D width of the features.
"""

import dataclasses
import functools
import json
import os

import jax
import numpy as np

from lam.errors import UserError
from lam.models import vit, weights
from lam.models.vit_specs import PUBLISHED, Spec
from lam.ops.image import to_float


@dataclasses.dataclass(frozen=True, eq=False)
class Tower:
    """A tower with its weights.

    Attributes:
      spec: what it is, see lam/models/vit_specs.py.
      variables: {"params": ...}, float32.
      about: texts of the file.
    """

    spec: Spec
    variables: dict
    about: dict

    def __call__(self, images, size=0):
        """Features of images [B,H,W,3], RGB: `vit.Features` with patches float32 [B,h,w,D].

        Args:
          images: uint8, or float in [0,1].
          size: pixels of a side that they are resampled to; 0 = as they are. A multiple of the
            patch; UserError.
        """
        images = to_float(images) if images.dtype == np.uint8 else images
        return self._features(self.variables, images, size=size)

    @functools.cached_property
    def _features(self):
        return jax.jit(functools.partial(vit.features, self.spec), static_argnames="size")


def load(path):
    """The tower of a file; UserError."""
    return Tower(*read(path))


def read(path, dtype=np.float32):
    """(spec, variables as numpy arrays, texts) of a file; strict. UserError.

    `dtype`: of the arrays, None leaves them as they are stored.
    """
    spec = read_spec(path)
    flat, about = weights.read(path)
    weights.check(flat, weights.flatten(vit.shapes(spec)), f"{path} as {name_of(spec)}")
    return spec, weights.nest({name: x.astype(dtype or x.dtype) for name, x in flat.items()}), about


def read_spec(path):
    """The spec in a file, whose arrays are not read; UserError."""
    if not os.path.isfile(path):
        raise UserError(f"there is no file {path} of a tower: python -m lam.convert vit makes one")
    text = weights.read_texts(path).get("spec")
    if not text:
        raise UserError(f"{path} does not say which tower it is: run python -m lam.convert vit")
    fields = json.loads(text)
    return Spec(**{k: tuple(x) if isinstance(x, list) else x for k, x in fields.items()})


def texts(spec):
    """The {text: text} that a file of this tower must have."""
    return {"model": name_of(spec), "spec": json.dumps(dataclasses.asdict(spec))}


def name_of(spec):
    """The name of a published size, else the family with its depth and width."""
    published = [name for name, known in PUBLISHED.items() if known == spec]
    return published[0] if published else f"{spec.family} of {spec.depth} x {spec.width}"
