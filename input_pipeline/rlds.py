"""Opening a TFDS version folder of robot episodes: its files and its flat keys, without TensorFlow.

A serialized RLDS episode is one flat `tf.train.Example`: `steps/action` holds all T*A numbers of an
episode, `steps/observation/image` its T encoded images, `episode_metadata/scene` one entry.
"""

import dataclasses
import difflib
import math
from pathlib import Path

from input_pipeline.errors import DataError

LOOKED_FOR = ("dataset_info.json", "features.json")


@dataclasses.dataclass(frozen=True)
class Field:
    """One flat key. kind: "image", "text", "number", or "unsupported: <why>"; shape of one step;
    encoding of an image: "jpeg", "png" or "" where the set does not say."""

    kind: str
    shape: tuple
    dtype: str
    encoding: str = ""

    @property
    def size(self):
        """Numbers a step holds."""
        return math.prod(self.shape)

    def jpeg_ratio(self, size):
        """1, 2, 4 or 8: by how much a JPEG may shrink in the decoder and still be size x size."""
        if self.encoding != "jpeg" or None in self.shape[:2]:
            return 1
        return max(
            ratio for ratio in (1, 2, 4, 8) if ratio == 1 or min(self.shape[:2]) >= ratio * size
        )


@dataclasses.dataclass(frozen=True)
class EpisodeSet:
    """An opened folder. files, lengths (promised episodes) and labels are parallel."""

    path: str
    name: str
    storage: str
    fields: dict
    files: tuple
    lengths: tuple
    labels: tuple


def open_set(path):
    """Open the TFDS version folder `path`; DataError if it is none or holds no episodes."""
    folder = Path(path).expanduser()
    _check_folder(folder)
    import tensorflow_datasets as tfds

    try:
        info = tfds.builder_from_directory(str(folder)).info
        features = info.features
        splits = {"train": info.splits["train"]} if "train" in info.splits else dict(info.splits)
    except Exception as error:
        raise DataError(f"{folder}: tensorflow_datasets cannot open it: {_first(error)}") from error
    _check_steps(folder, features, tfds.features)
    shards = [
        (str(file), int(length), f"{split}/{_shard(file)}")
        for split, info_split in sorted(splits.items())
        for file, length in zip(info_split.filepaths, info_split.shard_lengths, strict=True)
        if length
    ]
    _check_files(folder, shards)
    files, lengths, labels = zip(*shards, strict=True)
    return EpisodeSet(
        path=str(folder),
        name=info.name,
        storage=info.file_format.value,
        fields=dict(sorted(_flatten(features, "", tfds.features).items())),
        files=files,
        lengths=lengths,
        labels=labels,
    )


def _check_folder(folder):
    if not folder.exists():
        near = difflib.get_close_matches(
            folder.name, [p.name for p in folder.parent.glob("*")] if folder.parent.is_dir() else []
        )
        hint = f" (did you mean {folder.parent / near[0]}?)" if near else ""
        raise DataError(f"{folder}: no such folder{hint}; data.sources needs a TFDS version folder")
    missing = [name for name in LOOKED_FOR if not (folder / name).is_file()]
    if missing:
        found = [*folder.glob(f"*/{LOOKED_FOR[0]}"), *folder.glob(f"*/*/{LOOKED_FOR[0]}")]
        inside = sorted(str(info.parent) for info in found)
        hint = f"; did you mean {inside[0]}?" if inside else ""
        raise DataError(
            f"{folder}: not a TFDS version folder, looked for {' and '.join(LOOKED_FOR)} and did "
            f"not find {' and '.join(missing)}{hint}"
        )


def _check_steps(folder, features, lib):
    names = list(features) if isinstance(features, lib.FeaturesDict) else [str(features)]
    steps = features["steps"] if "steps" in names else None
    if not isinstance(steps, lib.Dataset) or not isinstance(steps.feature, lib.FeaturesDict):
        raise DataError(
            f"{folder}: not a set of episodes (its features need 'steps', a Dataset of dicts, "
            f"and have: {', '.join(names)}); use an RLDS set"
        )


def _check_files(folder, shards):
    if not shards:
        raise DataError(f"{folder}: no episodes (dataset_info.json lists none); use another folder")
    missing = [file for file, _, _ in shards if not Path(file).is_file()]
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of {len(shards)} data files are missing, the first is "
            f"{Path(missing[0]).name}; copy them here"
        )


def _shard(file):
    """The part of a file name that no file format changes: "00003-of-00008"."""
    return Path(file).name.rpartition("-of-")[0].rpartition("-")[2] or Path(file).name


def _first(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _flatten(features, prefix, lib):
    flat = {}
    for name, feature in features.items():
        key = prefix + name
        if key == "steps":
            flat |= _flatten(feature.feature, "steps/", lib)
        elif isinstance(feature, lib.FeaturesDict):
            flat |= _flatten(feature, key + "/", lib)
        else:
            flat[key] = _field(feature, lib)
    return flat


def _field(feature, lib):
    if isinstance(feature, lib.Image):
        channels = feature.shape[-1]
        if str(feature.np_dtype) != "uint8":
            return Field(f"unsupported: {feature.np_dtype} image", feature.shape, "string")
        if channels not in (1, 3, 4, None):
            return Field(f"unsupported: image of {channels} channels", feature.shape, "string")
        return Field(
            "image", feature.shape, "uint8", getattr(feature, "_encoding_format", "") or ""
        )
    if isinstance(feature, lib.Text):
        return Field("text", (), "string")
    if not isinstance(feature, lib.Tensor | lib.ClassLabel):
        return Field(f"unsupported: {type(feature).__name__}", (), "")
    dtype = getattr(feature.np_dtype, "__name__", str(feature.np_dtype))
    shape = tuple(feature.shape)
    stored, plain = feature.get_serialized_info(), lib.Encoding.NONE
    if None in shape:
        return Field("unsupported: a shape that is not fixed", shape, dtype)
    if dtype in ("object_", "object", "str", "bytes_"):
        kind = "text" if shape == () else "unsupported: an array of strings"
        return Field(kind, shape, "string")
    if stored.shape != shape or getattr(feature, "_encoding", plain) != plain:
        return Field("unsupported: an encoded (compressed) tensor", shape, dtype)
    return Field("number", shape, dtype)
