"""RAFT: names of torchvision and of princeton-vl <-> our tree.

`TABLE` says all: a part of our tree, the same in torchvision, the same in princeton-vl. Kernels are
[O,C,kh,kw] there and [kh,kw,C,O] here. princeton-vl's files may carry "module." before every name,
and those of the large size hold the norms of shortcuts twice.
"""

import functools
import os
import re

import jax
import jax.numpy as jnp
import numpy as np

from lam.convert import files, table
from lam.errors import UserError
from lam.models import weights
from lam.models.raft import SIZES, shapes

BLOCK = r"(\w+)/layer(\d)_(\d)"
TABLE = table.compiled(
    (
        (r"(\w+)/stem", r"\1.convnormrelu.0", r"\1.conv1"),
        (r"(\w+)/stem/norm", r"\1.convnormrelu.1", r"\1.norm1"),
        (rf"{BLOCK}/conv(\d)", r"\1.layer\2.\3.convnormrelu\4.0", r"\1.layer\2.\3.conv\4"),
        (rf"{BLOCK}/conv(\d)/norm", r"\1.layer\2.\3.convnormrelu\4.1", r"\1.layer\2.\3.norm\4"),
        (rf"{BLOCK}/shortcut", r"\1.layer\2.\3.downsample.0", r"\1.layer\2.\3.downsample.0"),
        (rf"{BLOCK}/shortcut/norm", r"\1.layer\2.\3.downsample.1", r"\1.layer\2.\3.downsample.1"),
        (r"(feature|context)/out", r"\1.conv", r"\1.conv2"),
        (r"motion/corr(\d)", r"motion_encoder.convcorr\1.0", r"encoder.convc\1"),
        (r"motion/flow(\d)", r"motion_encoder.convflow\1.0", r"encoder.convf\1"),
        (r"motion/join1", r"motion_encoder.conv.0", r"encoder.conv"),
        (r"gru_0/([zrq])", r"recurrent_block.convgru1.conv\1", r"gru.conv\g<1>1"),
        (r"gru_1/([zrq])", r"recurrent_block.convgru2.conv\1", r"gru.conv\g<1>2"),
        (r"head/conv(\d)", r"flow_head.conv\1", r"flow_head.conv\1"),
        (r"mask/conv1", r"mask_predictor.convrelu.0", r"mask.0"),
        (r"mask/conv2", r"mask_predictor.conv", r"mask.2"),
    )
)
FAMILIES = ("lam", "torchvision", "princeton")
ENCODERS = {
    "torchvision": {"feature": "feature_encoder", "context": "context_encoder"},
    "princeton": {"feature": "fnet", "context": "cnet"},
}
REPEATED = re.compile(r"(cnet\.layer\d\.0)\.norm[34]\.(.*)")  # is \1.downsample.1.\2
PUBLISHED = {  # first digits of the SHA-256
    "01064c6d": "torchvision's raft_small C_T_V2, its default",
    "ad48884c": "torchvision's raft_small C_T_V1",
    "ff5fadd5": "torchvision's raft_large C_T_SKHT_V2, its default",
    "1bb1363a": "torchvision's raft_large C_T_V2",
    "22a6c225": "torchvision's raft_large C_T_V1",
    "0b8c9e55": "torchvision's raft_large C_T_SKHT_V1",
    "4a6a5039": "torchvision's raft_large C_T_SKHT_K_V1",
    "b5c70766": "torchvision's raft_large C_T_SKHT_K_V2",
    "c7d41b9c": "princeton-vl's raft-small.pth",
    "fcfa4125": "princeton-vl's raft-things.pth",
    "90630d2e": "princeton-vl's raft-sintel.pth",
}


def foreign_name(path, family, size):
    """Name of an array of ours ("params/context/stem/kernel") in "torchvision" or "princeton"."""
    module, leaf = path.split("/", 1)[1].rsplit("/", 1)
    name = table.rename(TABLE, module, family == "princeton")
    first, dot, rest = name.partition(".")
    if first in ENCODERS[family]:
        name = ENCODERS[family][first] + dot + rest
    elif first != "mask_predictor":
        name = f"update_block.{name}"
    if family == "princeton" and size == "small":
        name = re.sub(r"(gru\.conv[zrq])1$", r"\1", name)
    return f"{name}.{table.LEAVES[leaf]}"


@functools.cache
def expected(family, size):
    """{name in the family: (our path, shape there)} of every array, without repeated ones."""
    ours = weights.flatten(shapes(size))
    if family == "lam":
        return {path: (path, x.shape) for path, x in ours.items()}
    return {foreign_name(p, family, size): (p, turn(x.shape)) for p, x in ours.items()}


def turn(kernel):
    """The shape of a kernel as torch keeps it; other shapes as they are."""
    return (kernel[3], kernel[2], *kernel[:2]) if len(kernel) == 4 else tuple(kernel)


def recognise(names):
    """(family, size) whose names are most alike."""
    kinds = [(family, size) for family in FAMILIES for size in SIZES]
    return min(kinds, key=lambda kind: len(set(expected(*kind)) ^ set(names)))


def without_repeats(arrays, source):
    """princeton-vl's arrays with "module." and what is there twice taken away."""
    arrays = {name.removeprefix("module."): x for name, x in arrays.items()}
    for name in list(arrays):
        found = REPEATED.fullmatch(name)
        original = found and f"{found[1]}.downsample.1.{found[2]}"
        if original in arrays:
            if not np.array_equal(arrays[original], arrays[name]):
                raise UserError(f"{source}: {name} must be equal to {original}, and is not")
            del arrays[name]
    return arrays


def to_tree(arrays, source="the table"):
    """Arrays under any names -> (family, size, our tree of numpy arrays, types as they were).

    Raises:
      UserError: names are missing, unexpected or of another shape; one line, with the names.
    """
    arrays = without_repeats(arrays, source)
    family, size = recognise(arrays)
    known = expected(family, size)
    wanted = {name: jax.ShapeDtypeStruct(s, jnp.float32) for name, (_, s) in known.items()}
    weights.check(arrays, wanted, f"{source} as raft_{size} with names of {family}")
    if family == "lam":
        return family, size, weights.nest(arrays)
    ours = {
        path: arrays[name].transpose(2, 3, 1, 0) if len(shape) == 4 else arrays[name]
        for name, (path, shape) in known.items()
    }
    return family, size, weights.nest(ours)


def from_tree(tree, family, size):
    """Our tree -> {name: numpy array} as a family writes it, with its repeated arrays."""
    ours = weights.flatten(tree)
    if family == "lam":
        return ours
    arrays = {}
    for name, (path, shape) in expected(family, size).items():
        x = ours[path]
        arrays[name] = np.ascontiguousarray(x.transpose(3, 2, 0, 1)) if len(shape) == 4 else x
        repeated = re.fullmatch(r"(cnet\.layer\d\.0)\.downsample\.1\.(.*)", name)
        if repeated and family == "princeton":
            arrays[f"{repeated[1]}.norm3.{repeated[2]}"] = arrays[name]
    return arrays


def identify(path):
    """What is known of the file: a published one, or its hash; UserError if its name says another.

    torchvision's files carry the first eight digits of their SHA-256 at the end of the name.
    """
    digest = files.sha256(path)
    said = re.search(r"-([0-9a-f]{8})\.pth$", os.path.basename(path))
    if said and said[1] != digest[:8]:
        raise UserError(
            f"{path}: its SHA-256 begins with {digest[:8]}, not with {said[1]} as its name says: "
            "it is cut off or was changed, get it again"
        )
    return PUBLISHED.get(digest[:8], f"no published file that we know (SHA-256 {digest[:8]}...)")


def convert(source, target, names="lam", dtype=""):
    """Reads a file of any family, writes another; the text says what it was.

    Args:
      names: the family of the target. "lam" must be .safetensors, that is what `lam.flow` reads.
      dtype: "float16" or "float32" for all numbers with a fraction; "" keeps them.
    """
    if names == "lam" and files.check_suffix(target) != ".safetensors":
        raise UserError(f"{target}: weights with our names are .safetensors files")
    arrays = files.read(source)
    known = identify(source)
    family, size, tree = to_tree(arrays, source)
    tree = table.cast(tree, dtype)
    about = {"model": f"raft_{size}", "source": os.path.basename(source), "known_as": known}
    found = from_tree(tree, names, size)
    files.write(target, found, about)
    return (
        f"{source}: raft_{size}, {len(arrays)} arrays with names of {family}, {known}\n"
        f"{target}: {len(found)} arrays with names of {names}"
    )
