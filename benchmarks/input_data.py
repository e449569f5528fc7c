"""Writes the sets that `benchmarks/input.py` measures on, from a few real clips.

python benchmarks/input_data.py --data=DIR --clips=CLIPS
CLIPS holds rt1_clips/*.mp4 (256x320) and bridge_clips/*.mp4 (480x640). They are flipped and rolled
into many episodes, stored as JPEG in TFRecord files like an Open X-Embodiment set, and converted to
a record a frame. What is there already stays. T steps, H W pixels.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

QUALITY = 95
VECTOR = 7  # dims of action and state
SHARDS = 8
COPIES = 16  # of bridge_like in bridge_large, by hard links: more bytes than any buffer holds
# name: folder of its clips, episodes, Hz
SETS = {"rt1_like": ("rt1_clips", 120, 3.0), "bridge_like": ("bridge_clips", 60, 5.0)}
# name: set it is converted from, options of the conversion
FRAMES = {
    "rt1_frames": ("rt1_like", ()),
    "bridge_frames": ("bridge_like", ()),
    "bridge_frames_256": ("bridge_like", ("--image_size=256",)),
}


def folder(data, name):
    """Where the set `name` lies in the folder `data`."""
    return Path(data) / name / ("" if name in FRAMES else "1.0.0")


def ensure(data, clips=""):
    """Write every set that is not in `data` yet; `clips` may be "" if none is to be written."""
    for name, (where, episodes, rate) in SETS.items():
        if not folder(data, name).is_dir():
            write(folder(data, name), name, read_clips(Path(clips), where), episodes, rate)
    if not folder(data, "bridge_large").is_dir():
        link(folder(data, "bridge_like"), folder(data, "bridge_large"), "bridge_large", COPIES)
    for name, (source, options) in FRAMES.items():
        if not folder(data, name).is_dir():
            program = [sys.executable, "-m", "input_pipeline.convert"]
            places = [str(folder(data, source)), str(folder(data, name))]
            subprocess.run([*program, *places, *options], check=True, stdout=sys.stderr)


def read_clips(clips, where):
    """The videos of one kind: list of (uint8 [T,H,W,3], instruction)."""
    import av

    files = sorted((clips / where).glob("*.mp4"))
    if not files:
        sys.exit(f"{clips / where}: no *.mp4 here; --clips needs a folder with {where}/*.mp4")
    texts = clips / where / "lang_annotations.json"
    texts = json.loads(texts.read_text()) if texts.is_file() else {}
    found = []
    for file in files:
        with av.open(str(file)) as video:
            pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        found.append((np.stack(pictures), texts.get(file.name, "tidy up")))
    return found


def write(target, name, clips, episodes, rate, shards=SHARDS):
    """A TFDS folder of `episodes` flipped and rolled copies of the clips; all of it or nothing."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    unfinished = target.parent / f".{target.name}-unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    height, width = clips[0][0].shape[1:3]
    tfds.features.FeaturesDict(_features(tfds.features, height, width)).save_config(str(unfinished))
    parts = np.array_split(np.arange(episodes), min(shards, episodes))
    for shard, part in enumerate(parts):
        file = unfinished / _file(name, shard, len(parts))
        with tf.io.TFRecordWriter(str(file)) as writer:
            for number in part:
                frames_THWC, text = clips[number % len(clips)]
                frames_THWC = variant(frames_THWC, number // len(clips))
                writer.write(_serialize(tf, _episode(name, number, frames_THWC, text, rate)))
    _write_info(unfinished, name, [len(part) for part in parts])
    unfinished.rename(target)


def variant(frames_THWC, number):
    """Copy `number` of a clip: mirrored, upside down, rolled by whole blocks of the JPEG."""
    sideways, upright = 1 - 2 * (number & 1), 1 - (number & 2)
    turns = number // 4
    rolled = np.roll(frames_THWC, (32 * turns, 48 * turns), (1, 2))
    return rolled[:, ::upright, ::sideways]


def link(source, target, name, copies):
    """The set of `source` over again, `copies` times as long, without more space on the disk."""
    target.mkdir(parents=True)
    shutil.copy(source / "features.json", target)
    info = json.loads((source / "dataset_info.json").read_text())
    lengths = [int(length) for length in info["splits"][0]["shardLengths"]]
    total = copies * len(lengths)
    for shard in range(total):
        file = source / _file(info["name"], shard % len(lengths), len(lengths))
        os.link(file, target / _file(name, shard, total))
    _write_info(target, name, lengths * copies)


def _file(name, shard, shards):
    return f"{name}-train.tfrecord-{shard:05d}-of-{shards:05d}"


def _features(f, height, width):
    picture = f.Image(shape=(height, width, 3), encoding_format="jpeg")
    vector = f.Tensor(shape=(VECTOR,), dtype=np.float32)
    step = {
        "observation": f.FeaturesDict({"image": picture, "state": vector}),
        "action": vector,
        "language_instruction": f.Text(),
        **{flag: f.Scalar(dtype=np.bool_) for flag in ("is_first", "is_last", "is_terminal")},
    }
    metadata = {"file_path": f.Text(), "control_hz": f.Scalar(dtype=np.float32)}
    return {"steps": f.Dataset(step), "episode_metadata": f.FeaturesDict(metadata)}


def _episode(name, number, frames_THWC, text, rate):
    """{flat key: list of values} of one episode; actions are noise, states their sum."""
    steps = len(frames_THWC)
    action = np.random.default_rng(number).normal(0, 0.1, (steps, VECTOR)).astype(np.float32)
    last = np.arange(steps) == steps - 1
    return {
        "steps/observation/image": [_jpeg(frame) for frame in frames_THWC],
        "steps/observation/state": action.cumsum(axis=0).ravel().tolist(),
        "steps/action": action.ravel().tolist(),
        "steps/language_instruction": [text.encode()] * steps,
        "steps/is_first": [int(t == 0) for t in range(steps)],
        "steps/is_last": last.astype(int).tolist(),
        "steps/is_terminal": last.astype(int).tolist(),
        "episode_metadata/file_path": [f"{name}/{number:05d}".encode()],
        "episode_metadata/control_hz": [rate],
    }


def _jpeg(frame_HWC):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame_HWC)).save(stream, "jpeg", quality=QUALITY)
    return stream.getvalue()


def _serialize(tf, flat):
    example = tf.train.Example()
    kinds = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
    for key, values in flat.items():
        getattr(example.features.feature[key], kinds[type(values[0])]).value.extend(values)
    return example.SerializeToString()


def _write_info(target, name, lengths):
    split = {
        "name": "train",
        "numBytes": str(sum(file.stat().st_size for file in target.glob("*.tfrecord-*"))),
        "shardLengths": [str(length) for length in lengths],
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    }
    info = {"fileFormat": "tfrecord", "name": name, "version": "1.0.0", "splits": [split]}
    (target / "dataset_info.json").write_text(json.dumps(info))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--clips", required=True)
    options = parser.parse_args()
    ensure(options.data, options.clips)


if __name__ == "__main__":
    main()
