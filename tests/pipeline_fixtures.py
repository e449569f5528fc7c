"""Tiny episode sets as TFDS folders, written without TensorFlow, for the input pipeline's tests.

The picture of step t of episode e is one colour, (e, t, 7), stored as PNG, so that a decoded frame
tells where it came from.
"""

import io
import json
import struct
import tempfile
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

f = tfds.features


def colour(episode, step, size=(16, 12), mode="RGB"):
    """A PNG of one colour: (episode, step, 7)."""
    picture = Image.new("RGB", size, (episode, step, 7)).convert(mode)
    stream = io.BytesIO()
    picture.save(stream, "png")
    return stream.getvalue()


def episode(number, steps, scene, action=(1.0, 0.5), extra=None):
    """{flat key: list of values} of one episode; action[t] = action * (t + 1), state[t] = [t]."""
    return {
        "steps/observation/image": [colour(number, t) for t in range(steps)],
        "steps/observation/state": [float(t) for t in range(steps)],
        "steps/action": [a * (t + 1) for t in range(steps) for a in action],
        "steps/language_instruction": [f"do {number}".encode()] * steps,
        "episode_metadata/scene": [scene.encode()],
        "episode_metadata/control_hz": [5.0],
    } | (extra or {})


def episodes(scenes=10, each=2, steps=6):
    """`each` episodes in each of `scenes` scenes, numbered through."""
    return [episode(s * each + i, steps, f"scene{s}") for s in range(scenes) for i in range(each)]


def features(images=("image",), action=2, scene=True, more=None):
    """The TFDS features of `episode`, with other cameras, without action or scene if so wished."""
    observation = {name: f.Image(shape=(12, 16, 3), encoding_format="png") for name in images}
    step = {
        "observation": f.FeaturesDict(
            observation | {"state": f.Tensor(shape=(1,), dtype=np.float32)} | (more or {})
        ),
        "language_instruction": f.Text(),
    }
    if action:
        step["action"] = f.Tensor(shape=(action,), dtype=np.float32)
    metadata = {"control_hz": f.Scalar(dtype=np.float32)} | ({"scene": f.Text()} if scene else {})
    return {"steps": f.Dataset(step), "episode_metadata": f.FeaturesDict(metadata)}


def serialize(flat):
    """A tf.train.Example of {flat key: list of bytes, int or float}."""
    example = tf_example_pb2.Example()
    for key, values in flat.items():
        feature = example.features.feature[key]
        kind = {bytes: "bytes_list", int: "int64_list", float: "float_list"}[type(values[0])]
        getattr(feature, kind).value.extend(values)
    return example.SerializeToString()


def write(folder, flat_episodes, feature_dict=None, storage="array_record", name="tiny", shards=1):
    """A TFDS version folder of these episodes; returns its path as str."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    f.FeaturesDict(feature_dict or features()).save_config(str(folder))
    parts = np.array_split(np.arange(len(flat_episodes)), shards)
    for shard, part in enumerate(parts):
        file = folder / f"{name}-train.{storage}-{shard:05d}-of-{shards:05d}"
        write_file(file, [serialize(flat_episodes[i]) for i in part], storage)
    info = {
        "fileFormat": storage,
        "name": name,
        "version": "1.0.0",
        "moduleName": "tiny",
        "splits": [
            {
                "name": "train",
                "numBytes": "0",
                "shardLengths": [str(len(part)) for part in parts],
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
        ],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return str(folder)


def write_file(file, records, storage):
    if storage == "array_record":
        writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1")
        for record in records:
            writer.write(record)
        writer.close()
        return
    with file.open("wb") as stream:
        for record in records:
            length = struct.pack("<Q", len(record))
            stream.write(length + _masked_crc(length) + record + _masked_crc(record))


def _masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _crc_table()


CACHE = tempfile.TemporaryDirectory(prefix="lam-test-index-")


def config(sources, **changes):
    """A data config for these tiny sets: frames of 12 pixels, 2 steps apart."""
    data = {"sources": str(sources), "image_size": 12, "gap": 2, "threads": 2}
    return data | {"data_dir": CACHE.name} | changes
