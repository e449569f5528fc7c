"""Folders of videos, or of folders of frames, become an RLDS set that every TFDS user can read.

One video, or one folder of pictures, is one episode: steps with an image (JPEG), an instruction and
three flags; and the file's path, control frequency and scene as metadata. A worker's memory holds
one frame, and some four times the JPEGs of one episode.
H W pixels.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import math
import re
import statistics
import struct
from pathlib import Path

import numpy as np

from input_pipeline import clips, encode, shards
from input_pipeline.errors import DataError

EXPANSION = 8  # a video's frames as JPEGs are about so many times as large as the video
LARGEST = 2**31 - 2**24  # bytes of an episode; a protobuf message ends at 2 GiB
SHORT = 2.0  # seconds; a median video below it makes the container's rate doubtful
PROBED = 20  # videos whose length is looked at
log = logging.getLogger(__name__)


def convert(src, dst, options):
    """Writes the videos below `src` as a TFDS version folder `dst`.

    options: hz, every, image_size, quality, max_steps, name, captions, scene_from, file_format,
    on_corrupt, shard_mb and those of `shards.HOW`; see `input_pipeline.convert`. Returns
    {"episodes", "lost", "dropped" (on purpose), "frames", "bytes", "seconds", "sizes" ((H, W) of
    frames), "with_text" (episodes), "why" (of those lost)}, or None where `dst` was finished
    before. DataError for anything wrong.
    """
    shards.check(options, every=1, max_steps=0, hz=0)
    root, episodes = clips.find(src)
    clips.add_texts(root, episodes, options["captions"])
    if options["scene_from"]:
        clips.add_scenes(root, episodes, options["scene_from"])
    name, version = _name(root, dst, options["name"])
    made_of = {key: value for key, value in options.items() if key not in shards.HOW} | {
        "name": name,
        "source": str(root.resolve()),
        "episodes": hashlib.sha256(json.dumps(episodes).encode()).hexdigest(),
    }
    folder = shards.start(dst, made_of)
    if folder is None:
        return None
    _doubt_the_rate(root, episodes, options["hz"])
    jobs = _jobs(root, folder, name, episodes, options)
    notes = shards.run(jobs, write_shard, name, options)
    why = [line for note in notes for line in note["why"]]
    if not any(note["episodes"] for note in notes):
        raise DataError(f"{root}: none of its {len(episodes)} episodes can be read: {why[0]}")
    sizes = sorted({tuple(size) for note in notes for size in note["sizes"]})
    features = _features(sizes[0] if len(sizes) == 1 else None, "scene" in episodes[0])
    _describe(folder, name, version, notes, features)
    parts = [{key: note[key] for key in ("file", "bytes", "sha256", "episodes")} for note in notes]
    shards.finish(folder, dst, "conversion.json", {"options": made_of, "shards": parts})
    sums = {key: sum(n[key] for n in notes) for key in ("episodes", "frames", "bytes", "seconds")}
    sums |= {"lost": len(why), "dropped": 0, "why": why, "sizes": sizes}
    return sums | {"with_text": sum(note["with_text"] for note in notes)}


def write_shard(job, path):
    """Writes the episodes of a job to the file `path`; returns its counts. A work for `shards`."""
    options, why, sizes = job["options"], [], set()
    counts = dict.fromkeys(("episodes", "frames", "with_text"), 0) | {"seconds": 0.0}
    with _writer(path, options["file_format"]) as write:
        for episode in job["episodes"]:
            try:
                for name, jpegs, size, hz in _pieces(job["root"], episode, options):
                    write(_record(name, jpegs, hz, episode))
                    sizes.add(size)
                    counts["episodes"] += 1
                    counts["frames"] += len(jpegs)
                    counts["with_text"] += bool(episode["text"])
                    counts["seconds"] += 0.0 if math.isnan(hz) else len(jpegs) / hz
            except DataError as error:
                if options["on_corrupt"] == "error":
                    raise
                why.append(str(error))
            shards.count(1, 0)
    return counts | {"sizes": sorted(sizes), "why": why}


def _name(root, dst, given):
    """The set's name (given, as in NAME/1.2.3, or as the source's folder is called), version."""
    dst = shards.absolute(dst)
    version = dst.name if re.fullmatch(r"\d+\.\d+\.\d+", dst.name) else ""
    called = dst.parent.name if version else root.resolve().name
    name = given or re.sub(r"\W+", "_", called, flags=re.ASCII).lower()
    if not given and not re.match(r"[a-z]", name):
        name = f"videos_{name}".rstrip("_")
    if not re.fullmatch(r"[a-zA-Z]\w*", name, re.ASCII):
        raise DataError(f"--name={name}; allowed are letters, digits and _, a letter first")
    return name, version or "1.0.0"


def _doubt_the_rate(root, episodes, hz):
    """Warns where the control frequency is unknown, or the container's can hardly be right."""
    if hz:
        return
    videos = [root / episode["path"] for episode in episodes if not episode["pictures"]]
    if len(videos) < len(episodes):
        log.warning("folders of frames have no rate: without --hz, gaps can be set in steps only")
    probed = []
    for video in videos[:: max(1, len(videos) // PROBED)]:
        with contextlib.suppress(DataError):  # it is told when the video is converted
            probed.append(encode.rate(video))
    known = [(rate, seconds) for rate, seconds in probed if rate == rate and seconds == seconds]
    if known and statistics.median(seconds for _, seconds in known) < SHORT:
        log.warning(
            "half of the videos last less than %.0f s at the %g frames a second of their "
            "container; if that is not the control frequency, set --hz (3 for RT-1)",
            SHORT,
            statistics.median(rate for rate, _ in known),
        )


def _jobs(root, folder, name, episodes, options):
    """Shards of about shard_mb; episodes are mixed by hash, for readers that shuffle little."""
    parts, size = [[]], 0
    for episode in sorted(episodes, key=lambda e: hashlib.sha256(e["path"].encode()).digest()):
        if size > options["shard_mb"] * 1e6:
            parts.append([])
            size = 0
        parts[-1].append(episode)
        grown = 1 if episode["pictures"] else EXPANSION
        size += grown * episode["bytes"] / options["every"]
    start = f"{name}-train.{options['file_format']}"
    return [
        {
            "folder": str(folder),
            "file": f"{start}-{number:05d}-of-{len(parts):05d}",
            "root": str(root.resolve()),
            "episodes": part,
            "options": options,
        }
        for number, part in enumerate(parts)
    ]


def _pieces(root, episode, options):
    """Yields (name, JPEGs, (H, W), Hz) of an episode, or of its pieces of max_steps frames."""
    path, every, longest = Path(root, episode["path"]), options["every"], options["max_steps"]
    hz = options["hz"] or (math.nan if episode["pictures"] else encode.rate(path)[0])
    stored = encode.jpegs(path, every, options["image_size"], options["quality"])
    for number in itertools.count():
        piece, size = _piece(path, itertools.islice(stored, longest or None))
        if piece:
            name = f"{episode['path']}#{number:05d}" if longest else episode["path"]
            yield name, piece, size, hz / every
        if not longest or not piece:
            return


def _piece(path, stored):
    """The JPEGs of (JPEG, (H, W)) and their common size."""
    piece, first, total = [], None, 0
    for jpeg, size in stored:
        first, total = first or size, total + len(jpeg)
        shards.count(0, len(jpeg))
        piece.append(jpeg)
        if size != first:
            raise encode.unreadable(path, f"frames of {first} and of {size} pixels")
        if total > LARGEST:
            raise encode.unreadable(path, "over 2 GiB; set --max_steps, --image_size or --every")
    return piece, first


def _features(size, scene):
    """The TFDS features; size (H, W) of all images, or None where they differ."""
    import tensorflow_datasets as tfds

    image = tfds.features.Image(shape=(*(size or (None, None)), 3), encoding_format="jpeg")
    step = {
        "observation": {"image": image},
        "language_instruction": tfds.features.Text(),
        "is_first": np.bool_,
        "is_last": np.bool_,
        "is_terminal": np.bool_,
    }
    metadata = {"file_path": tfds.features.Text(), "control_hz": np.float32}
    if scene:
        metadata["scene"] = tfds.features.Text()
    return tfds.features.FeaturesDict(
        {"steps": tfds.features.Dataset(step), "episode_metadata": metadata}
    )


def _record(name, jpegs, hz, episode):
    """One episode serialized as TFDS stores it, always in the same order: bytes."""
    from tensorflow_datasets.proto import tf_example_pb2

    steps = len(jpegs)
    first, last = [1] + [0] * (steps - 1), [0] * (steps - 1) + [1]
    lists = {
        "steps/observation/image": ("bytes_list", jpegs),
        "steps/language_instruction": ("bytes_list", [episode["text"].encode()] * steps),
        "steps/is_first": ("int64_list", first),
        "steps/is_last": ("int64_list", last),
        "steps/is_terminal": ("int64_list", last),
        "episode_metadata/file_path": ("bytes_list", [name.encode()]),
        "episode_metadata/control_hz": ("float_list", [hz]),
    }
    if "scene" in episode:
        lists["episode_metadata/scene"] = ("bytes_list", [episode["scene"].encode()])
    example = tf_example_pb2.Example()
    for key, (kind, values) in lists.items():
        getattr(example.features.feature[key], kind).value.extend(values)
    return example.SerializeToString(deterministic=True)


@contextlib.contextmanager
def _writer(path, file_format):
    """A function that appends a record to a file, which is complete at the end."""
    if file_format == "array_record":
        from array_record.python.array_record_module import ArrayRecordWriter

        writer = ArrayRecordWriter(path, "group_size:1,uncompressed")
        try:
            yield writer.write
        finally:
            writer.close()
        return
    with open(path, "wb") as stream:
        yield lambda record: stream.writelines(_tfrecord(record))


def _tfrecord(record):
    """The parts of a TFRecord: length, its checksum, the record, its checksum."""
    for part in (struct.pack("<Q", len(record)), record):
        yield part
        yield shards.masked_crc(part)


def _describe(folder, name, version, notes, features):
    """Writes dataset_info.json and features.json, as TFDS does for files that others wrote."""
    import tensorflow_datasets as tfds

    split = tfds.core.SplitInfo(
        name="train",
        shard_lengths=[note["episodes"] for note in notes],
        num_bytes=sum(note["bytes"] for note in notes),
        filename_template=None,
    )
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=[split],
        version=version,
        check_data=False,
        description="Episodes of videos or of folders of frames.",
    )
