"""Opening folders of episodes: sub-splits with exact counts, remote folders, converted sets."""

import dataclasses
import json
from pathlib import Path

import hypothesis
import pytest
import tensorflow_datasets as tfds
from hypothesis import strategies as st
from pipeline_fixtures import episodes, write
from remote_fixtures import BUCKET, bucket

from input_pipeline import keys, rlds
from input_pipeline.errors import DataError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A TFRecord set of 25 training episodes in 3 files and 4 validation episodes in one."""
    folder = tmp_path_factory.mktemp("sets") / "tiny" / "1.0.0"
    write(folder, episodes(25, 1, 2), storage="tfrecord", shards=3)
    info = json.loads((folder / "dataset_info.json").read_text())
    train = info["splits"][0]
    info["splits"].append(train | {"name": "val", "shardLengths": ["4"]})
    (folder / "dataset_info.json").write_text(json.dumps(info))
    other = write(folder.parent / "val", episodes(4, 1, 2), storage="tfrecord")
    name = "tiny-val.tfrecord-00000-of-00001"
    Path(other, name.replace("val", "train")).rename(folder / name)
    return str(folder)


def complaint(path, split=""):
    """The one-line message that opening ends with."""
    with pytest.raises(DataError) as caught:
        rlds.open_set(path, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def picked(episode_set):
    """{(file, number)} of the episodes of a set."""
    rows = zip(episode_set.files, episode_set.skips, episode_set.lengths, strict=True)
    return {(file, skip + i) for file, skip, length in rows for i in range(length)}


def test_a_whole_set(tiny):
    found = rlds.open_set(tiny)
    assert (found.path, found.name, found.storage, found.keys) == (tiny, "tiny", "tfrecord", None)
    assert found.lengths == (9, 8, 8)
    assert found.skips == (0, 0, 0)
    assert found.labels == ("train/00000", "train/00001", "train/00002")
    assert found.files[1] == f"{tiny}/tiny-train.tfrecord-00001-of-00003"
    assert found.fields["steps/observation/image"] == rlds.Field(
        "image", (12, 16, 3), "uint8", "png"
    )
    assert found.fields["steps/action"].size == 2


def test_train_is_taken_where_there_is_one_and_everything_otherwise(tiny, tmp_path):
    assert sum(rlds.open_set(tiny).lengths) == 25
    assert rlds.open_set(tiny, "val").labels == ("val/00000",)
    for file in Path(tiny).iterdir():
        (tmp_path / file.name.replace("train", "test")).write_bytes(file.read_bytes())
    info = (tmp_path / "dataset_info.json").read_text().replace('"train"', '"test"')
    (tmp_path / "dataset_info.json").write_text(info)
    assert sum(rlds.open_set(str(tmp_path)).lengths) == 29


SPLITS = (
    "train[:90%]",
    "train[90%:]",
    "train[10:25]",
    "train[3:4]",
    "train[-3:]",
    "train[:2shard]",
)
SPLITS += ("val", "val[:50%]", "all", "train[:10]+val", "train[:5]+train[20:]")


@pytest.mark.parametrize("split", SPLITS)
def test_a_sub_split_has_as_many_episodes_as_tfds_counts(tiny, split):
    info = tfds.builder_from_directory(tiny).info
    found = rlds.open_set(tiny, split)
    assert sum(found.lengths) == info.splits[split].num_examples == len(picked(found))
    wanted = info.splits[split].file_instructions
    assert [(part.filename, part.skip, part.take) for part in wanted] == list(
        zip(found.files, found.skips, found.lengths, strict=True)
    )


@hypothesis.settings(max_examples=30)
@hypothesis.given(st.integers(1, 24), st.sampled_from(["", "%"]))
def test_two_parts_make_the_whole(tiny, cut, unit):
    cut *= 4 if unit else 1
    one, other = (
        picked(rlds.open_set(tiny, f"train[{part}]")) for part in (f":{cut}{unit}", f"{cut}{unit}:")
    )
    assert not one & other
    assert one | other == picked(rlds.open_set(tiny))


def test_splits_that_cannot_be_meant(tiny):
    message = complaint(tiny, "validation")
    assert "it has train (25 episodes), val (4 episodes)" in message
    assert "Unknown split" in message
    assert "30" in complaint(tiny, "train[:30]")
    assert "it has train" in complaint(tiny, "train[a:b]")
    assert "no episodes in split train[:0]" in complaint(tiny, "train[:0]")
    assert "episodes twice" in complaint(tiny, "train[:60%]+train[40%:]")


def test_remote_folders_are_like_local_ones(tiny):
    local = rlds.open_set(tiny, "train[:90%]")
    with bucket(Path(tiny).parents[1]) as store:
        place = f"{BUCKET}/tiny/1.0.0"
        found = rlds.open_set(place, "train[:90%]")
        assert found.files == tuple(file.replace(tiny, place) for file in local.files)
        assert dataclasses.replace(found, path=tiny, files=local.files) == local
        assert [call for call, _ in store.calls].count("listdir") == 1
        assert not any(".tfrecord" in path for call, path in store.calls)
        assert f"did you mean {place}?" in complaint(f"{BUCKET}/tiny/1.0.1")
        assert f"did you mean {place}?" in complaint(f"{BUCKET}/tiny")
        assert f"did you mean {place}?" in complaint(BUCKET)
    assert rlds.is_remote(place)
    assert not rlds.is_remote(tiny)


def test_a_remote_store_that_does_not_answer(tiny, monkeypatch):
    def fail(self, path):
        raise RuntimeError("no answer\nfrom the store")

    with bucket(Path(tiny).parents[1]) as store:
        monkeypatch.setattr(type(store), "exists", fail)
        message = complaint(f"{BUCKET}/tiny/1.0.0")
    assert message.startswith("gs://bucket/tiny/1.0.0: cannot be opened: no answer;")


KEYS = keys.Keys(
    "steps/observation/rgb", ("steps/a", "steps/b"), (), "steps/task", None, None, None,
    skip_first=1, scene_pattern="x",
)  # fmt: skip


def frames_set(folder, **changes):
    """A converted set with two shards that hold no frames."""
    folder.mkdir()
    shards = [{"file": f"frames-{i:05d}-of-00002.array_record", "bytes": i} for i in range(2)]
    for shard in shards:
        (folder / shard["file"]).write_bytes(bytes(shard["bytes"]))
        shard |= {"episodes": 3, "frames": 9, "sha256": ""}
    fields = {
        "steps/observation/rgb": rlds.Field("image", (480, 640, 3), "uint8", "png"),
        "steps/a": rlds.Field("number", (3,), "float32"),
        "steps/b": rlds.Field("number", (), "bool"),
        "steps/task": rlds.Field("text", (), "string"),
    }
    made = {
        "format": 1,
        "name": "tiny",
        "source": "gs://bucket/tiny/1.0.0",
        "image": {"shape": [256, 256, 3], "encoding": "jpeg"},
        "keys": dataclasses.asdict(KEYS),
        "fields": {key: dataclasses.asdict(field) for key, field in fields.items()},
        "shards": shards,
    }
    (folder / rlds.FRAMES).write_text(json.dumps(made | changes))
    return str(folder)


def test_a_converted_set(tmp_path):
    folder = frames_set(tmp_path / "set")
    found = rlds.open_set(folder)
    assert (found.name, found.storage, found.lengths) == ("tiny", "frames", (3, 3))
    assert found.labels == ("00000", "00001")
    assert found.files[1] == f"{folder}/frames-00001-of-00002.array_record"
    assert found.keys == KEYS
    assert found.fields["steps/a"] == rlds.Field("number", (3,), "float32")
    assert found.fields[KEYS.image] == rlds.Field("image", (256, 256, 3), "uint8", "jpeg")
    chosen = dict.fromkeys(keys.OPTIONS, "")
    assert keys.find(found.fields, chosen, "tiny", held=found.keys) == KEYS


def test_converted_sets_that_are_wrong(tmp_path):
    folder = frames_set(tmp_path / "set")
    assert "no split train[:3]" in complaint(folder, "train[:3]")
    (tmp_path / "set" / "frames-00001-of-00002.array_record").write_bytes(b"")
    assert "has 0 bytes, frames.json says 1" in complaint(folder)
    (tmp_path / "set" / "frames-00001-of-00002.array_record").unlink()
    assert "1 of 2 data files are missing" in complaint(folder)
    assert "format 2, this reads 1" in complaint(frames_set(tmp_path / "new", format=2))
    assert "damaged" in complaint(frames_set(tmp_path / "bad", keys={"picture": "x"}))
    (tmp_path / "bad" / rlds.FRAMES).write_text("{")
    assert "damaged" in complaint(str(tmp_path / "bad"))
