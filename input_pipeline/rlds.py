"""Opening a folder of robot episodes: its files and its flat keys, without TensorFlow.

In a TFDS version folder a serialized RLDS episode is one flat `tf.train.Example`: `steps/action`
holds all T*A numbers of an episode, `steps/observation/image` its T encoded images,
`episode_metadata/scene` one entry. A folder of `input_pipeline.convert` has a frames.json.
Both may be local or remote (gs://...), by `etils.epath`.
"""

import dataclasses
import difflib
import itertools
import json
import math
import os

from input_pipeline.errors import DataError
from input_pipeline.keys import Keys

LOOKED_FOR = ("dataset_info.json", "features.json")
FRAMES = "frames.json"
FRAMES_FORMAT = 1
NEARBY = 20  # folders looked into for a hint


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


@dataclasses.dataclass(frozen=True)
class EpisodeSet:
    """An opened folder. storage: "tfrecord", "array_record" or "frames"; files, lengths (episodes
    wanted of each), skips (episodes before them) and labels are parallel. keys: those that a
    frames set was made with, None otherwise."""

    path: str
    name: str
    storage: str
    fields: dict
    files: tuple
    lengths: tuple
    skips: tuple
    labels: tuple
    keys: Keys | None = None


def open_set(path, split=""):
    """Open the folder `path`; DataError if it is none or holds no episodes.

    split as TFDS writes it: "val", "train[:90%]", "train[10:25]+val"; "" is "train" where there is
    one and everything otherwise.
    """
    from etils import epath

    folder = epath.Path(path).expanduser()
    try:
        if (folder / FRAMES).exists():
            return _open_frames(folder, split)
        _check_folder(folder)
        return _open_tfds(folder, split)
    except DataError:
        raise
    except Exception as error:  # each file system has its own
        check = "the network and config.data.root" if is_remote(path) else "its files"
        raise DataError(f"{folder}: cannot be opened: {_first(error)}; check {check}") from error


def is_remote(path):
    """Whether `path` is not on a disk of this machine."""
    return "://" in str(path)


def _open_tfds(folder, split):
    import tensorflow_datasets as tfds

    try:
        info = tfds.builder_from_directory(str(folder)).info
        features = info.features
    except Exception as error:
        raise DataError(f"{folder}: tensorflow_datasets cannot open it: {_first(error)}") from error
    _check_steps(folder, features, tfds.features)
    parts = _parts(folder, info.splits, split)
    _check_files(folder, {part.filename: None for part in parts})
    label = {
        os.fspath(file): f"{name}/{_shard(file.name)}"
        for name in info.splits
        for file in info.splits[name].filepaths
    }
    return EpisodeSet(
        path=str(folder),
        name=info.name,
        storage=info.file_format.value,
        fields=dict(sorted(_flatten(features, "", tfds.features).items())),
        files=tuple(part.filename for part in parts),
        lengths=tuple(part.take for part in parts),
        skips=tuple(part.skip for part in parts),
        labels=tuple(label[part.filename] for part in parts),
    )


def _parts(folder, splits, split):
    """What of which file: list of FileInstruction (filename, skip, take), none of it twice."""
    names = [split] if split else ["train"] if "train" in splits else sorted(splits)
    try:
        parts = [part for name in names for part in splits[name].file_instructions]
    except Exception as error:
        had = ", ".join(f"{name} ({splits[name].num_examples} episodes)" for name in splits)
        raise DataError(f"{folder}: split {split}: {_first(error)}; it has {had}") from error
    if not parts:
        which = f"in split {split}" if split else "(dataset_info.json lists none)"
        raise DataError(f"{folder}: no episodes {which}; use another folder or split")
    ordered = sorted(parts, key=lambda part: (part.filename, part.skip))
    for one, other in itertools.pairwise(ordered):
        if one.filename == other.filename and one.skip + one.take > other.skip:
            raise DataError(f"{folder}: split {split} names episodes twice; let its parts not meet")
    return parts


def _open_frames(folder, split):
    """A set with a record a frame, as `input_pipeline.convert` writes it."""
    try:
        made = json.loads((folder / FRAMES).read_text())
        if made["format"] != FRAMES_FORMAT:
            raise DataError(
                f"{folder}: {FRAMES} is of format {made['format']}, this reads {FRAMES_FORMAT}; "
                "convert the set again"
            )
        keys = {k: tuple(v) if isinstance(v, list) else v for k, v in made["keys"].items()}
        fields = {k: Field(**f | {"shape": tuple(f["shape"])}) for k, f in made["fields"].items()}
        keys, image, shards = Keys(**keys), made["image"], made["shards"]
        fields[keys.image] = Field("image", tuple(image["shape"]), "uint8", image["encoding"])
        size = {str(folder / shard["file"]): int(shard["bytes"]) for shard in shards}
        lengths = tuple(int(shard["episodes"]) for shard in shards)
        name = made["name"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError(
            f"{folder}: {FRAMES} is damaged ({_first(error)}); convert the set again"
        ) from error
    if split:
        raise DataError(
            f"{folder}: a converted set has no split {split}; leave it out, or convert that split"
        )
    _check_files(folder, size)
    labels = tuple(_shard(shard["file"]) for shard in shards)
    return EpisodeSet(
        str(folder), name, "frames", dict(sorted(fields.items())), tuple(size), lengths,
        (0,) * len(size), labels, keys,
    )  # fmt: skip


def _check_folder(folder):
    if not folder.exists():
        near = difflib.get_close_matches(folder.name, _listing(folder.parent))
        hint = f" (did you mean {folder.parent / near[0]}?)" if near else ""
        raise DataError(f"{folder}: no such folder{hint}; data.sources needs a TFDS version folder")
    missing = [name for name in LOOKED_FOR if not (folder / name).exists()]
    if missing:
        inside = next((place for place in _below(folder) if (place / LOOKED_FOR[0]).exists()), None)
        hint = f"; did you mean {inside}?" if inside else ""
        raise DataError(
            f"{folder}: not a TFDS version folder, looked for {' and '.join(LOOKED_FOR)} and did "
            f"not find {' and '.join(missing)}{hint}"
        )


def _below(folder):
    """The folders in `folder` and in those: the first few of them."""
    for name in _listing(folder)[:NEARBY]:
        yield folder / name
        yield from (folder / name / inner for inner in _listing(folder / name)[:NEARBY])


def _listing(folder):
    """Names in a folder, none if it is no folder."""
    return sorted(place.name for place in folder.iterdir()) if folder.is_dir() else []


def _check_steps(folder, features, lib):
    names = list(features) if isinstance(features, lib.FeaturesDict) else [str(features)]
    steps = features["steps"] if "steps" in names else None
    if not isinstance(steps, lib.Dataset) or not isinstance(steps.feature, lib.FeaturesDict):
        raise DataError(
            f"{folder}: not a set of episodes (its features need 'steps', a Dataset of dicts, "
            f"and have: {', '.join(names)}); use an RLDS set"
        )


def _check_files(folder, sizes):
    """All files of {path: bytes or None} are there, by one listing, and of that size."""
    there = {place.name for place in folder.iterdir()}
    missing = [file for file in sizes if os.path.basename(file) not in there]
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of {len(sizes)} data files are missing, the first is "
            f"{os.path.basename(missing[0])}; copy them here"
        )
    for file, size in sizes.items():
        found = (folder / os.path.basename(file)).stat().length if size is not None else None
        if found != size:
            raise DataError(
                f"{file}: has {found} bytes, {FRAMES} says {size}; copy it again, or run "
                "input_pipeline.convert again"
            )


def _shard(file):
    """The number of the file among its split's, which no file format changes: "00003"."""
    return file.rpartition("-of-")[0].rpartition("-")[2] or file


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
