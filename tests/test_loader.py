"""From folders to batches: that they are right, exact and the same for both readers."""

import struct
import subprocess
import sys

import numpy as np
import pytest
from array_record.python import array_record_module
from pipeline_fixtures import colour, config, episode, episodes, features, write

import input_pipeline
from input_pipeline.report import format_summary


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """An ArrayRecord set of 20 episodes of 6 steps in 10 scenes, 2 files."""
    return write(tmp_path_factory.mktemp("tiny") / "1.0.0", episodes(), shards=2)


@pytest.fixture(scope="module")
def tiny_tfrecord(tmp_path_factory):
    """The same episodes as `tiny`, in TFRecord files."""
    folder = tmp_path_factory.mktemp("tiny_tfrecord") / "1.0.0"
    return write(folder, episodes(), storage="tfrecord", shards=2)


def parts(key):
    """("tiny", "train/00000__3", 2) of "tiny/train/00000__3@2"."""
    name, _, rest = key.partition("/")
    label, _, start = rest.rpartition("@")
    return name, label, int(start)


def same(one, other):
    """Two batches are equal in every key."""
    return all(
        np.array_equal(one[key], other[key], equal_nan=one[key].dtype == np.float32) for key in one
    )


def test_a_batch_is_what_batch_py_says(tiny):
    loader = input_pipeline.make(config(tiny), 16, seed=3)
    batch = next(loader)
    assert {k: (v.shape, v.dtype) for k, v in batch.items()} == loader.element_spec
    frame = batch["frames"][:, :, 5, 5]
    assert (batch["frames"] == frame[:, :, None, None]).all()
    start = np.array([parts(key)[2] for key in batch["key"]])
    assert (frame[:, 0, 1] == start).all()
    assert (frame[:, 1, 1] == start + 2).all()
    assert (frame[:, 0, 0] == frame[:, 1, 0]).all()
    assert [f"do {number}" for number in frame[:, 0, 0]] == batch["text"].tolist()
    np.testing.assert_allclose(batch["action"], (2 * start[:, None] + 3) * [1.0, 0.5])
    np.testing.assert_allclose(batch["state"][:, :, 0], np.stack([start, start + 2], axis=1))
    assert batch["action_mask"].all()
    assert batch["state_mask"].all()
    np.testing.assert_allclose(batch["dt"], 0.4)
    assert loader.names == ["tiny"]


def test_one_scene_id_for_the_episodes_of_a_scene(tiny):
    batch = next(input_pipeline.make(config(tiny), 64, seed=0))
    scenes = {}
    for scene, number in zip(batch["scene_id"], batch["frames"][:, 0, 0, 0, 0], strict=True):
        scenes.setdefault(int(scene), set()).add(int(number) // 2)
    assert len(scenes) > 3
    assert all(len(numbers) == 1 for numbers in scenes.values())


def test_the_stream_goes_on_where_it_stopped(tiny):
    loader = input_pipeline.make(config(tiny), 4, seed=5)
    seen = [next(loader) for _ in range(4)]
    state = loader.get_state()
    assert state == {"batch": 4}
    later = [next(loader) for _ in range(2)]
    other = input_pipeline.make(config(tiny), 4, seed=5)
    other.set_state(state)
    assert all(same(next(other), batch) for batch in later)
    loader.set_state({"batch": 0})
    assert all(same(next(loader), batch) for batch in seen)
    assert not same(next(input_pipeline.make(config(tiny), 4, seed=6)), seen[0])


def test_processes_share_a_batch(tiny):
    whole = next(input_pipeline.make(config(tiny), 6, seed=1))
    shards = [
        next(input_pipeline.make(config(tiny), 6, seed=1, shard_index=p, shard_count=3))
        for p in range(3)
    ]
    assert shards[0]["frames"].shape[0] == 2
    assert same(whole, {k: np.concatenate([s[k] for s in shards]) for k in whole})


def test_validation_is_the_same_however_few_episodes_are_trained_on(tiny):
    def val(limit):
        return next(input_pipeline.make(config(tiny, max_episodes=limit), 8, split="val"))

    def used(limit):
        loader = input_pipeline.make(config(tiny, max_episodes=limit), 64, split="train")
        return {parts(key)[1] for key in next(loader)["key"]}

    assert all(same(val(0), val(limit)) for limit in (1, 5, 10))
    assert [len(used(limit)) for limit in (1, 5)] == [1, 5]
    assert used(1) < used(5) < used(0)
    validated = {parts(key)[1] for key in val(0)["key"]}
    assert not validated & used(0)


def test_the_summary_counts_exactly(tmp_path):
    short = [episode(40, 2, "scene0"), episode(41, 1, "scene1")]
    folder = write(tmp_path / "1.0.0", [*episodes(), *short], shards=3)
    loader = input_pipeline.make(config(folder, max_episodes=3), 4)
    counts = loader.summary()["tiny"]
    splits = counts["splits"].values()
    assert sum(row["groups"] for row in splits) == 10
    assert sum(row["episodes"] for row in splits) == 20
    assert sum(row["pairs"] for row in splits) == 20 * 4
    assert (counts["short"], counts["corrupt"], counts["used"]) == (2, 0, 3)
    table = format_summary(loader.summary())
    assert max(map(len, table.splitlines())) <= 80
    assert "left out: 2 too short for a pair, 13 over the limit, 3 used" in table


def test_sources_are_mixed_by_weight_and_padded(tmp_path, tiny):
    bare = [
        {k: v for k, v in e.items() if not k.endswith(("action", "scene"))} for e in episodes(4, 2)
    ]
    other = write(tmp_path / "1.0.0", bare, features(action=0, scene=False), name="bare")
    loader = input_pipeline.make(config(f"{tiny}:3,{other}:1"), 64)
    batch = next(loader)
    mine = batch["dataset_id"] == 1
    assert loader.names == ["tiny", "bare"]
    assert mine.sum() == 16
    assert not batch["action_mask"][mine].any()
    assert not batch["action"][mine].any()
    assert batch["action_mask"][~mine].all()
    assert not set(batch["scene_id"][mine]) & set(batch["scene_id"][~mine])
    proportionate = next(input_pipeline.make(config(f"{tiny},{other}"), 64))
    assert 0.15 < (proportionate["dataset_id"] == 1).mean() < 0.4


def test_only_the_two_frames_of_a_pair_are_decoded(tmp_path):
    rubbish = [b"no image"] * 4
    flat = [
        episode(e, 6, f"scene{e}")
        | {
            "steps/observation/image": [colour(e, 0), *rubbish, colour(e, 5)],
            "steps/observation/wrist_image": [b"no image"] * 6,
        }
        for e in range(4)
    ]
    shape = features(images=("image", "wrist_image"))
    folder = write(tmp_path / "1.0.0", flat, shape)
    batch = next(input_pipeline.make(config(folder, gap=5), 8))
    assert (batch["frames"][:, :, 0, 0, 1] == [0, 5]).all()


def test_a_set_without_scenes_says_so_and_is_split_by_episode(tmp_path, caplog):
    flat = [{k: v for k, v in e.items() if "scene" not in k} for e in episodes()]
    folder = write(tmp_path / "1.0.0", flat, features(scene=False))
    loader = input_pipeline.make(config(folder), 4)
    said = [record.message for record in caplog.records if "no scene key" in record.message]
    assert len(said) == 1
    assert "\n" not in said[0]
    assert sum(row["groups"] for row in loader.summary()["tiny"]["splits"].values()) == 20


def test_array_record_is_read_without_tensorflow(tiny):
    code = (
        "import sys, input_pipeline\n"
        f"loader = input_pipeline.make({config(tiny)!r}, 4)\n"
        "assert next(loader)['frames'].shape == (4, 2, 12, 12, 3)\n"
        "assert 'tensorflow' not in sys.modules, 'tensorflow was imported'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_both_readers_give_the_same_batches(tiny, tiny_tfrecord):
    loaders = [
        input_pipeline.make(config(place, image_size=8, backend="random"), 6, seed=2)
        for place in (tiny, tiny_tfrecord)
    ]
    for loader in loaders:
        loader.set_state({"batch": 11000})
    for _ in range(3):
        one, other = (next(loader) for loader in loaders)
        assert same(one, other)
    loaders[1].set_state({"batch": 2})
    loaders[0].set_state({"batch": 2})
    assert same(next(loaders[0]), next(loaders[1]))


@pytest.mark.parametrize(("size", "tolerance"), [(64, 0), (40, 1), (96, 1)])
def test_both_readers_agree_on_real_robot_video(real_data, size, tolerance):
    places = ("octo_bridge_debug", "tfds_array_record_example")
    loaders = [
        input_pipeline.make(
            config(real_data / place / "bridge_dataset/1.0.0", image_size=size, gap=4), 8
        )
        for place in places
    ]
    for _ in range(4):
        one, other = (next(loader) for loader in loaders)
        difference = np.abs(one.pop("frames").astype(int) - other.pop("frames"))
        assert difference.max() <= tolerance
        assert same(one, other)


def repack(folder, target):
    """The records of a TFRecord folder, copied as they are to an ArrayRecord folder."""
    target.mkdir()
    for file in folder.iterdir():
        if file.suffix == ".json":
            text = file.read_text().replace('"tfrecord"', '"array_record"')
            (target / file.name).write_text(text)
            continue
        data, place = file.read_bytes(), 0
        name = str(target / file.name.replace(".tfrecord-", ".array_record-"))
        writer = array_record_module.ArrayRecordWriter(name, "group_size:1")
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            writer.write(data[place + 12 : place + 12 + length])
            place += length + 16
        writer.close()
    return target


def test_both_readers_agree_where_real_video_shrinks(real_data, tmp_path):
    """256x320 JPEG: shrunk by the decoder 8, 4, 2 and 1 times, and by the filter for the rest."""
    places = [real_data / "rt1_mini/0.1.0"]
    places.append(repack(places[0], tmp_path / "0.1.0"))
    for size in (32, 60, 128, 250):
        one, other = (
            next(input_pipeline.make(config(place, image_size=size), 4)) for place in places
        )
        difference = np.abs(one.pop("frames").astype(int) - other.pop("frames"))
        assert difference.max() <= 2
        assert difference.mean() < 0.2
        assert same(one, other)


def test_real_video_without_actions(real_data):
    loader = input_pipeline.make(config(real_data / "rt1_mini/0.1.0", image_size=32), 4)
    batch = next(loader)
    assert {k: (v.shape, v.dtype) for k, v in batch.items()} == loader.element_spec
    assert not batch["action_mask"].any()
    assert not batch["state_mask"].any()
    assert np.isnan(batch["dt"]).all()
    assert all(batch["text"])


def test_tfrecord_mixes_sets_of_different_keys(real_data, tiny_tfrecord):
    place = real_data / "octo_bridge_debug/bridge_dataset/1.0.0"
    batch = next(input_pipeline.make(config(f"{place}:1,{tiny_tfrecord}:1"), 16))
    mine = batch["dataset_id"] == 1
    assert mine.sum() == 8
    assert batch["action_mask"].sum(axis=1)[mine].tolist() == [2] * 8
    assert batch["action_mask"].sum(axis=1)[~mine].tolist() == [7] * 8
    assert (batch["frames"][mine][:, :, 0, 0, 2] == 7).all()


def test_the_builtin_set_is_a_source(tmp_path, monkeypatch):
    from input_pipeline import tabletop

    real = tabletop.write
    small = {"scenes": 4, "steps": 8, "image_size": 16, "progress": False}
    monkeypatch.setattr(tabletop, "write", lambda place, **k: real(place, **k | small))
    data = config("tabletop", data_dir=str(tmp_path), image_size=16)
    batch = next(input_pipeline.make(data, 8))
    assert batch["action_mask"].shape == (8, 3)
    assert (batch["dt"] > 0).all()
