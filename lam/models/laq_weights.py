"""Files of LAQ weights: .safetensors with the names of our tree, and the text "laq" in it.

The text is JSON, {field of LAQ: value, "image_size": pixels of a side}: all that it takes to build
the model, so that such a file stands for itself (`lam.load`) and a run can begin with it
(`config.model.start`).
"""

import dataclasses
import json

import jax
import jax.numpy as jnp

from lam.errors import UserError
from lam.models import weights
from lam.models.laq import LAQ

KEY = "laq"
RUNTIME = (
    "parent",
    "name",
    "dtype",
    "remat",
)  # attributes of a LAQ that do not say which one it is
BESIDE = (
    "commitment",
    "beta",
    "flow_depth",
    "feature_depth",
    "latent_depth",
    "action_dims",
    "detach_pixels",
)  # a start may be of another
TRAINING_ONLY = ("feature_decoder", "frame_encoder", "latent_decoder")
TOP = "params/"


def facts(model):
    """{field: value} of a LAQ, JSON types but for the tuple `levels`."""
    fields = (field.name for field in dataclasses.fields(model))
    return {name: getattr(model, name) for name in fields if name not in RUNTIME}


def shapes(model, image_size):
    """The parameters of a LAQ as a tree of ShapeDtypeStructs; UserError where sizes do not fit."""
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), image, image)["params"]


def read(path):
    """(LAQ, image size, parameters as numpy float32, texts) of a file; strict. UserError."""
    flat, about = weights.read(path)
    try:
        told = json.loads(about[KEY])
        size = int(told.pop("image_size"))
        model = LAQ(**{**told, "levels": tuple(told["levels"])})
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} does not say which LAQ it holds: run python -m lam.convert laq {path} NEW"
        ) from None
    expected = {TOP + name: x for name, x in weights.flatten(shapes(model, size)).items()}
    weights.check(flat, expected, path)
    flat = {name.removeprefix(TOP): x.astype("float32") for name, x in flat.items()}
    return model, size, weights.nest(flat), about


def write(path, params, model, image_size, dtype="float32", about=None):
    """Writes what `read` reads, numbers as `dtype`; `about`: more texts.

    What only training needs is left out: the decoder of a tower's features and the learned target.

    Raises:
      UserError: the encoder sees by a tower, which is a file of its own.
    """
    if model.encoder == "features":
        raise UserError(
            f"{path}: the encoder of this model sees by a feature tower, which is a file of its "
            "own, so one file cannot hold all of it: keep the workdir"
        )
    model = dataclasses.replace(model, feature_depth=0, latent_depth=0)
    params = {name: part for name, part in params.items() if name not in TRAINING_ONLY}
    flat = weights.flatten(jax.device_get(params))
    told = json.dumps({**facts(model), "image_size": image_size})
    flat = {TOP + name: x.astype(dtype) for name, x in flat.items()}
    weights.write(path, flat, {**(about or {}), KEY: told})


def begin(path, model, params):
    """`params` of a LAQ, with those of a file instead of all that the file holds.

    Inside jit, too: the file is read when the program runs, its arrays are no part of the program.
    What it may lack are the flow decoder and the head for actions, which then stay as they are.

    Raises:
      UserError: the file is of another model; says the fields to set.
    """
    found, _, stored, _ = read(path)
    theirs, ours = facts(found), facts(model)
    other = [k for k in ours if k not in BESIDE and theirs[k] != ours[k]]
    if other:
        raise UserError(
            f"config.model.start={path} is of another model: set "
            + ", ".join(f"config.model.{k}={theirs[k]} (now {ours[k]})" for k in other)
        )
    stored = {part: stored[part] for part in params if part in stored}
    like = {part: params[part] for part in stored}
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)
    source = f"config.model.start={path}"
    weights.check(weights.flatten(stored), weights.flatten(like), source)
    return {**params, **jax.pure_callback(lambda: stored, like)}
