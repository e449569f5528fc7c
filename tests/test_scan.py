"""A scan finds what protobuf and TFDS find in the files."""

import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python import array_record_data_source
from pipeline_fixtures import colour, episode, episodes, features, write
from scan_fixtures import (
    IMAGE,
    STORAGES,
    Empty,
    check_same,
    images,
    rows,
    scanned,
    write_lists,
)
from tensorflow_datasets.proto import tf_example_pb2

from input_pipeline import keys, rlds

f = tfds.features


@pytest.mark.parametrize("storage", STORAGES)
def test_everything_of_a_small_set(tmp_path, storage):
    lengths = (3, 1, 0, 4)
    flat = [episode(number, steps, f"scene{number}") for number, steps in enumerate(lengths)]
    for key in (IMAGE, "steps/observation/state", "steps/action", "steps/language_instruction"):
        flat[2][key] = []
    folder = write_lists(tmp_path / "1.0.0", flat, storage=storage, shards=2)
    table = scanned(folder)
    assert table.steps.tolist() == list(lengths)
    assert table.file.tolist() == [0, 0, 1, 1]
    assert table.record.tolist() == [0, 1, 0, 1]
    assert table.rate.tolist() == [5.0] * 4
    assert table.key.tolist() == [f"train/{i // 2:05d}__{i % 2}".encode() for i in range(4)]
    assert table.scene.tolist() == [f"scene{i}".encode() for i in range(4)]
    assert table.action.tolist() == [
        [t + 1.0, (t + 1) / 2] for steps in lengths for t in range(steps)
    ]
    assert table.state.tolist() == [[float(t)] for steps in lengths for t in range(steps)]
    texts = [f"do {number}" for number, steps in enumerate(lengths) for _ in range(steps)]
    assert [table.texts[number] for number in table.text_id] == texts
    assert table.texts[0] == ""
    wanted = [colour(number, t) for number, steps in enumerate(lengths) for t in range(steps)]
    assert images(folder, table) == wanted
    assert (table.lost, table.dropped) == (0, 0)


def test_both_storages_hold_the_same(tmp_path):
    one, other = (
        scanned(write(tmp_path / storage, episodes(), storage=storage, shards=3))
        for storage in STORAGES
    )
    check_same(one, other, without=("offset",))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("split", ["train[:90%]", "train[5:13]", "train[-3:]"])
def test_a_sub_split_is_a_part_of_the_table(tmp_path, storage, split):
    folder = write(tmp_path / "1.0.0", episodes(), storage=storage, shards=3)
    whole, part = scanned(folder), scanned(folder, split=split)
    episode_numbers = list(range(20))[slice(*PARTS[split])]
    assert rows(part, range(len(part))) | {"file": 0} == rows(whole, episode_numbers) | {"file": 0}
    assert images(folder, whole)[whole.first[episode_numbers[0]]] == colour(episode_numbers[0], 0)


def test_mapped_pages_are_given_back_and_nothing_changes(tmp_path, monkeypatch):
    folder = write(tmp_path / "1.0.0", episodes(20, 2), storage="tfrecord")
    wanted = scanned(folder, "skip")
    monkeypatch.setattr("input_pipeline.scan.KEPT", 0)
    check_same(scanned(folder, "skip"), wanted)


PARTS = {"train[:90%]": (0, 18), "train[5:13]": (5, 13), "train[-3:]": (17, 20)}


@pytest.mark.parametrize(
    "folder",
    [
        "octo_bridge_debug/bridge_dataset/1.0.0",
        "tfds_array_record_example/bridge_dataset/1.0.0",
        "rt1_mini/0.1.0",
    ],
)
def test_real_sets_as_protobuf_reads_them(real_data, folder):
    folder = real_data / folder
    table, found = scanned(folder), images(folder, scanned(folder))
    builder = tfds.builder_from_directory(str(folder))
    if builder.info.file_format.value == "tfrecord":
        records = []
        for path in builder.info.splits["train"].filepaths:
            data, place = Path(path).read_bytes(), 0
            while place < len(data):
                (length,) = struct.unpack_from("<Q", data, place)
                records.append(data[place + 12 : place + 12 + length])
                place += length + 16
    else:
        paths = [str(path) for path in builder.info.splits["train"].filepaths]
        records = list(array_record_data_source.ArrayRecordDataSource(paths))
    key = keys.find(rlds.open_set(str(folder)).fields, dict.fromkeys(keys.OPTIONS, ""), "real")
    wanted = [tf_example_pb2.Example.FromString(record).features.feature for record in records]
    assert found == [image for one in wanted for image in one[key.image].bytes_list.value]
    texts = [text.decode() for one in wanted for text in one[key.language].bytes_list.value]
    assert [table.texts[number] for number in table.text_id] == texts
    if key.action:
        action = np.concatenate([one[key.action[0]].float_list.value for one in wanted])
        np.testing.assert_array_equal(table.action.ravel(), action.astype(np.float32))


# what the keys ask for


def test_first_steps_are_left_out(tmp_path):
    flat = [episode(0, 4, "s"), episode(1, 1, "s"), episode(2, 2, "s")]
    folder = write(tmp_path / "1.0.0", flat, storage="tfrecord")
    table = scanned(folder, skip_first=2)
    assert table.steps.tolist() == [2, 0, 0]
    assert table.action.tolist() == [[3.0, 1.5], [4.0, 2.0]]
    assert table.state.ravel().tolist() == [2.0, 3.0]
    assert images(folder, table) == [colour(0, 2), colour(0, 3)]
    assert len(table.text_id) == 2


@pytest.mark.parametrize("success", [{"success": [0]}, {"success": []}, {"success": [0] * 6}])
def test_only_episodes_that_succeeded(tmp_path, success):
    flat = [episode(0, 6, "s", extra={"success": [1]}), episode(1, 6, "s", extra=success)]
    flat += [episode(2, 6, "s", extra={"success": [0, 0, 1, 0, 0, 0]})]
    fields = features() | {"success": f.Scalar(np.bool_)}
    flat[1] = {k: v if v else Empty([0]) for k, v in flat[1].items()}
    folder = write(tmp_path / "1.0.0", flat, fields, storage="tfrecord")
    table = scanned(folder, success="success")
    assert table.record.tolist() == [0, 2]
    assert (table.lost, table.dropped) == (0, 1)
    assert len(scanned(folder)) == 3


def test_vectors_in_parts_of_other_types_and_turned_off(tmp_path):
    flat = [episode(e, 3, "s", extra={"steps/open": [1, 0, 1], "steps/none": []}) for e in range(2)]
    flat = [{k: v if v else Empty([0.0]) for k, v in one.items()} for one in flat]
    fields = features()
    step = dict(fields["steps"].feature) | {"open": f.Scalar(np.bool_)}
    step["none"] = f.Tensor(shape=(0,), dtype=np.float32)
    folder = write(tmp_path / "1.0.0", flat, fields | {"steps": f.Dataset(step)})
    table = scanned(folder, options={"action_key": "open+steps/action+none", "state_key": "none"})
    assert table.action[:3].tolist() == [[1, 1, 0.5], [0, 2, 1], [1, 3, 1.5]]
    assert table.action.dtype == np.float32
    assert table.state.shape == (6, 0)


def test_a_language_of_code_points(tmp_path):
    texts = ["push the red\nmoon", "Löffel 🥄", ""]
    codes = [[ord(c) for c in text] + [0] * (20 - len(text)) for text in texts]
    flat = [episode(0, 3, "s"), episode(1, 2, "s")]
    flat[0]["steps/words"] = [code for row in codes for code in row]
    flat[1]["steps/words"] = codes[0] + codes[0]
    fields = features()
    words = f.Tensor(shape=(20,), dtype=np.int32)
    fields["steps"] = f.Dataset(dict(fields["steps"].feature) | {"words": words})
    folder = write(tmp_path / "1.0.0", flat, fields, storage="tfrecord")
    table = scanned(folder, options={"language_key": "words"})
    found = [table.texts[number] for number in table.text_id]
    assert found == [*texts, texts[0], texts[0]]
    assert len(table.texts) == 3


@pytest.mark.parametrize(
    ("words", "wanted"),
    [([b"one for all"], ["one for all"] * 3), ([], [""] * 3), ([b"", b"b", b""], ["", "b", ""])],
)
def test_texts_of_an_episode_or_none_or_empty_ones(tmp_path, words, wanted):
    flat = [episode(0, 3, "s") | {"steps/language_instruction": words}]
    folder = write_lists(tmp_path / "1.0.0", flat, storage="tfrecord")
    table = scanned(folder)
    assert [table.texts[number] for number in table.text_id] == wanted


def test_a_text_that_an_episode_lacks(tmp_path):
    flat = [episode(0, 3, "s")]
    del flat[0]["steps/language_instruction"]
    table = scanned(write(tmp_path / "1.0.0", flat))
    assert [table.texts[number] for number in table.text_id] == [""] * 3


def test_labels_scenes_and_rates(tmp_path):
    path = {"episode_metadata/file_path": [b"/data/bww/toykitchen1/put/traj7"]}
    flat = [episode(e, 2, f"{e}", extra=path) for e in range(4)]
    flat[2] |= {"episode_metadata/file_path": [b""], "episode_metadata/control_hz": [0.0]}
    del flat[3]["episode_metadata/file_path"], flat[3]["episode_metadata/scene"]
    fields = features()
    metadata = dict(fields["episode_metadata"]) | {"file_path": f.Text()}
    folder = write(tmp_path / "1.0.0", flat, fields | {"episode_metadata": metadata})
    table = scanned(folder)
    label = path["episode_metadata/file_path"][0]
    assert table.key.tolist() == [
        label + b"#0",
        label + b"#1",
        b"train/00000__2",
        b"train/00000__3",
    ]
    assert table.scene.tolist() == [b"0", b"1", b"2", b""]
    assert np.isnan(table.rate).tolist() == [False, False, True, False]
    by_path = scanned(folder, scene="episode_metadata/file_path", scene_pattern="toykitchen[0-9]+")
    assert by_path.scene.tolist() == [b"toykitchen1", b"toykitchen1", b"", b""]
    by_rate = scanned(folder, scene="episode_metadata/control_hz")
    assert by_rate.scene.tolist() == [b"5.0", b"5.0", b"0.0", b"5.0"]
    assert not scanned(folder, scene=None).scene.any()
