"""Vision towers: names of Hugging Face's DINOv2, DINOv3 and SigLIP files <-> our tree.

`TABLE` says all: a part of our tree, the same in files of DINOv2, of DINOv3 and of SigLIP. The two
halves of SwiGLU are one array in DINOv2's. Of SigLIP only the vision tower is taken, without its
pooling head.
"""

import functools
import os
import re

import jax
import jax.numpy as jnp
import numpy as np

from lam import tower
from lam.convert import files, table, vit_config
from lam.errors import UserError
from lam.models import vit, weights

FAMILIES = ("lam", "huggingface")
COLUMNS = {"dinov2": 0, "dinov3": 1, "siglip": 2, "siglip2": 2}
PATCHES = ("embeddings.patch_embeddings.projection", "embeddings.patch_embeddings")
POSITIONS = ("embeddings.position_embeddings", "", "embeddings.position_embedding.weight")
BLOCKS = ("encoder.layer", "layer", "encoder.layers")
WITHIN_BLOCKS = (
    ("attention_norm", "norm1", "norm1", "layer_norm1"),
    ("attention/query", "attention.attention.query", "attention.q_proj", "self_attn.q_proj"),
    ("attention/key", "attention.attention.key", "attention.k_proj", "self_attn.k_proj"),
    ("attention/value", "attention.attention.value", "attention.v_proj", "self_attn.v_proj"),
    ("attention/out", "attention.output.dense", "attention.o_proj", "self_attn.out_proj"),
    ("attention_scale", "layer_scale1.lambda1", "layer_scale1.lambda1", ""),
    ("mlp_norm", "norm2", "norm2", "layer_norm2"),
    ("mlp/gate", "mlp.fc1", "mlp.gate_proj", ""),
    ("mlp/up", "mlp.fc1", "mlp.up_proj", "mlp.fc1"),
    ("mlp/down", "mlp.fc2", "mlp.down_proj", "mlp.fc2"),
    ("mlp_scale", "layer_scale2.lambda1", "layer_scale2.lambda1", ""),
)
TABLE = table.compiled(
    (
        ("embed", *PATCHES, "embeddings.patch_embedding"),
        ("(cls|mask)", r"embeddings.\1_token", r"embeddings.\1_token", ""),
        ("registers", "embeddings.register_tokens", "embeddings.register_tokens", ""),
        ("position", *POSITIONS),
        ("norm", "layernorm", "norm", "post_layernorm"),
        *(
            (
                rf"block_(\d+)/{ours}",
                *(rf"{block}.\1.{name}" for block, name in zip(BLOCKS, names, strict=True)),
            )
            for ours, *names in WITHIN_BLOCKS
        ),
    )
)
# dimensions of arrays that are not of layers; there are ones in front
DIMENSIONS = {
    "dinov2": {"params/cls": 3, "params/mask": 2, "params/registers": 3, "params/position": 3},
    "dinov3": {"params/cls": 3, "params/mask": 3, "params/registers": 3},
    "siglip": {},
    "siglip2": {},
}
PREFIXES = {"dinov2": "", "dinov3": "model.", "siglip": "vision_model.", "siglip2": "vision_model."}
SKIPPED = re.compile(r"(text_model|head)\..*|logit_(scale|bias)|embeddings\.position_ids")


def foreign_name(path, spec):
    """Name of an array of ours ("params/block_0/mlp/up/kernel") in files of its family."""
    module, _, leaf = path.split("/", 1)[1].rpartition("/")
    column = COLUMNS[spec.family]
    if leaf not in table.LEAVES:
        return table.rename(TABLE, f"{module}/{leaf}".lstrip("/"), column)
    name = table.rename(TABLE, module, column)
    if spec.family == "dinov2" and spec.gated:
        name = name.replace("mlp.fc1", "mlp.weights_in").replace("mlp.fc2", "mlp.weights_out")
    return f"{name}.{table.LEAVES[leaf]}"


def to_foreign(path, x, spec):
    """An array of ours with the axes that it has in files of its family."""
    if path == "params/embed/kernel" and spec.family != "siglip2":
        return x.reshape(spec.patch, spec.patch, 3, spec.width).transpose(3, 2, 0, 1)
    if path.endswith("/kernel"):
        return x.T
    dimensions = DIMENSIONS[spec.family].get(path, x.ndim)
    return x.reshape((1,) * (dimensions - x.ndim) + x.shape)


def to_ours(path, x, spec, shape):
    """The other way round: kernels as [I,O], and no ones in front."""
    if path == "params/embed/kernel" and spec.family != "siglip2":
        x = x.transpose(2, 3, 1, 0)
    elif path.endswith("/kernel"):
        x = x.T
    return x.reshape(shape)


@functools.cache
def expected(spec):
    """{name in files: (its shape, {path of ours: its rows})}, usually one path for all rows."""
    parts, table = {}, {}
    for path, like in weights.flatten(vit.shapes(spec)).items():
        there = to_foreign(path, np.broadcast_to(np.float32(0), like.shape), spec).shape
        parts.setdefault(foreign_name(path, spec), {})[path] = there
    for name, shapes in parts.items():
        (rows, *rest), *_ = shapes.values()  # halves are alike
        places = {path: slice(i * rows, (i + 1) * rows) for i, path in enumerate(shapes)}
        table[name] = ((rows * len(shapes), *rest), places)
    return table


def known_names(arrays, spec):
    """The arrays without what is in front of their names, and the names that are not of a tower.

    Arrays without numbers (no registers) are no arrays.
    """
    prefix = PREFIXES[spec.family]
    arrays = {name.removeprefix(prefix): x for name, x in arrays.items() if x.size}
    skipped = [
        name for name in arrays if spec.family.startswith("siglip") and SKIPPED.fullmatch(name)
    ]
    return {name: x for name, x in arrays.items() if name not in skipped}, skipped


def likeness(spec, arrays):
    """Share of the names with their shapes that are those of a spec, 0..1."""
    arrays, _ = known_names(arrays, spec)
    wanted = {(name, shape) for name, (shape, _) in expected(spec).items()}
    found = {(name, tuple(x.shape)) for name, x in arrays.items()}
    return len(wanted & found) / len(wanted | found)


def to_tree(arrays, spec, source="the table"):
    """Arrays under names of Hugging Face's -> (our tree of numpy arrays, names left out).

    Raises:
      UserError: names are missing, unexpected or of another shape; one line, with the names.
    """
    arrays, skipped = known_names(arrays, spec)
    known = expected(spec)
    wanted = {name: jax.ShapeDtypeStruct(s, jnp.float32) for name, (s, _) in known.items()}
    weights.check(arrays, wanted, f"{source} as {tower.name_of(spec)}")
    shapes = {path: x.shape for path, x in weights.flatten(vit.shapes(spec)).items()}
    ours = {
        path: to_ours(path, arrays[name][rows], spec, shapes[path])
        for name, (_, places) in known.items()
        for path, rows in places.items()
    }
    return weights.nest(ours), skipped


def from_tree(tree, spec):
    """Our tree -> {name: numpy array} as the published files have them."""
    ours = weights.flatten(tree)
    return {
        name: np.concatenate([to_foreign(path, ours[path], spec) for path in places])
        for name, (_, places) in expected(spec).items()
    }


def convert(source, target, names="lam", dtype=""):
    """Reads a file or folder of Hugging Face's, or a file of ours; the text says what it was.

    Args:
      source: a folder of config.json and model.safetensors; or one file, with its config.json
        beside it or of a published size.
      names: of the target: "lam", or "huggingface" from a file of ours.
      dtype: "float16" or "float32" for all numbers; "" keeps them.
    """
    if os.path.isdir(source):
        source = os.path.join(source, "model.safetensors")
    for path in (source, target):
        if files.check_suffix(path) != ".safetensors":
            raise UserError(f"{path}: weights of towers are .safetensors files")
    arrays, skipped = files.read(source), []
    if any(name.startswith("params/") for name in arrays):
        spec, tree, _ = tower.read(source, dtype=None)
    else:
        spec = vit_config.find(source, arrays, likeness)
        tree, skipped = to_tree(arrays, spec, source)
    tree = table.cast(tree, dtype)
    if names == "lam":
        about = {**tower.texts(spec), "source": os.path.basename(source)}
        found = weights.flatten(tree)
    else:
        about, found = {"format": "pt"}, from_tree(tree, spec)
    files.write(target, found, about)
    left = f", without {len(skipped)} of no tower ({weights.shorten(skipped)})" if skipped else ""
    return (
        f"{source}: {tower.name_of(spec)}, {len(arrays)} arrays{left}\n"
        f"{target}: {len(found)} arrays with names of {names}"
    )
