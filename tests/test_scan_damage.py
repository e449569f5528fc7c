"""What is wrong with a set is said in one line, or skipped and counted; remote, converted sets."""

import dataclasses
import json
import logging
import shutil
from pathlib import Path

import hypothesis
import numpy as np
import pipeline_fixtures
import pytest
from hypothesis import strategies as st
from pipeline_fixtures import episodes, write
from remote_fixtures import BUCKET, bucket
from scan_fixtures import COLUMNS, IMAGE, STORAGES, check_same, complaint, rows, scanned

from input_pipeline import keys, rlds
from input_pipeline.errors import DataError
from input_pipeline.scan import scan
from input_pipeline.table import Builder

# what is wrong with an episode


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"steps/action": [1.0, 2.0]},
            "record 1 has 6 images and not as many entries of steps/act",
        ),
        ({"steps/action": None}, "record 1 has 6 images and not as many entries of steps/action"),
        ({IMAGE: [b"one"]}, "record 1 has 1 images and not as many entries"),
        ({IMAGE: None}, "record 1 has no steps/observation/image; choose another key or repair"),
        ({IMAGE: [1.0] * 6}, "record 1 of 3 cannot be read (a list of numbers where"),
        ({"steps/action": [b"a"] * 6}, "record 1 of 3 cannot be read (a list of texts or images"),
        ({"steps/language_instruction": [b"a"] * 5}, "not as many entries of steps/language"),
        ({"steps/language_instruction": [1.0] * 6}, "6 numbers are no texts"),
    ],
)
def test_an_episode_that_does_not_fit(tmp_path, storage, change, words, caplog):
    flat = episodes(3, 1)
    flat[1] |= change
    flat[1] = {key: value for key, value in flat[1].items() if value is not None}
    folder = write(tmp_path / "1.0.0", flat, storage=storage)
    assert words in complaint(folder)
    with caplog.at_level(logging.WARNING):
        table = scanned(folder, "skip")
    assert table.record.tolist() == [0, 2]
    assert (table.lost, table.dropped) == (1, 0)
    assert "tiny: 1 episodes are left out as unreadable, the first: " in caplog.text
    assert words in caplog.text


def test_a_set_without_the_success_key_it_should_have(tmp_path):
    folder = write(tmp_path / "1.0.0", episodes(2))
    assert "record 0 has no success, which tells of success" in complaint(folder, success="success")


def test_skipping_is_no_excuse_for_losing_everything(tmp_path):
    flat = [one | {"steps/action": [1.0]} for one in episodes(3)]
    folder = write(tmp_path / "1.0.0", flat, storage="tfrecord")
    assert "not as many entries of steps/action" in complaint(folder, "skip")


@pytest.mark.parametrize("storage", STORAGES)
def test_a_record_that_is_no_example(tmp_path, storage, monkeypatch):
    real = pipeline_fixtures.serialize
    monkeypatch.setattr(
        pipeline_fixtures, "serialize", lambda one: b"\x0a\x50garbage" if one is None else real(one)
    )
    flat = episodes(3, 1)
    flat[2] = None
    folder = write(tmp_path / "1.0.0", flat, storage=storage)
    message = complaint(folder)
    assert "record 2 of 3 cannot be read (field 1 of 80 bytes does not fit at byte" in message
    assert message.endswith("copy the file again or set config.data.on_corrupt=skip")
    assert len(scanned(folder, "skip")) == 2


# what is wrong with a file


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """(folder, its first file, that file's bytes, ends of its 6 records, its table)."""
    folder = write(tmp_path_factory.mktemp("damaged") / "1.0.0", episodes(6, 2), storage="tfrecord",
                   shards=2)  # fmt: skip
    file = Path(folder) / "tiny-train.tfrecord-00000-of-00002"
    table = scanned(folder)
    ends = (table.offset + table.length + 4)[table.file == 0].tolist()
    return folder, file, file.read_bytes(), ends, rows(table, range(12))


def check_rest(folder, lost, whole):
    """With "skip", the episodes `lost` are missing and the others are as they were."""
    table = scanned(folder, "skip")
    kept = [number for number in range(12) if number not in lost]
    assert table.lost == len(lost)
    assert rows(table, range(len(table))) == {k: [v[i] for i in kept] for k, v in whole.items()}


@hypothesis.settings(max_examples=40)
@hypothesis.given(st.data())
def test_a_file_that_is_cut_off_anywhere(damaged, data):
    folder, file, content, ends, whole = damaged
    end = data.draw(st.integers(0, len(content) - 1) | st.sampled_from([*ends[:-1], ends[-1] - 1]))
    whole_records = sum(e <= end for e in ends)
    try:
        file.write_bytes(content[:end])
        message = complaint(folder)
        assert message.startswith(f"{file}: record {whole_records} of 6 cannot be read (")
        place = ([0, *ends])[whole_records]
        wanted = f"the file holds {whole_records} records" if place == end else "cut off"
        assert wanted in message
        check_rest(folder, range(whole_records, 6), whole)
    finally:
        file.write_bytes(content)


@hypothesis.settings(max_examples=60)
@hypothesis.given(st.data(), st.integers(1, 255))
def test_a_byte_that_was_changed_anywhere(damaged, data, change):
    folder, file, content, ends, whole = damaged
    place = data.draw(st.integers(0, len(content) - 1))
    record = sum(e <= place for e in ends)
    start = ([0, *ends])[record]
    in_length = place < start + 12
    try:
        changed = bytearray(content)
        changed[place] ^= change
        file.write_bytes(changed)
        check_rest(folder, range(record, 6) if in_length else [record], whole)
        if in_length:
            message = complaint(folder)
            assert (
                f"record {record} of 6 cannot be read (corrupted record at {start}: its" in message
            )
    finally:
        file.write_bytes(content)


def test_the_bytes_of_images_are_looked_at_only_to_skip_damaged_ones(damaged):
    folder, file, content, _, whole = damaged
    try:
        changed = bytearray(content)
        changed[content.index(b"IHDR")] ^= 1
        file.write_bytes(changed)
        table = scanned(folder)
        assert rows(table, range(len(table))) == whole
        check_rest(folder, [0], whole)
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("content", [b"", b"no array record", None])
def test_an_array_record_file_that_cannot_be_opened(tmp_path, content):
    folder = write(tmp_path / "1.0.0", episodes(), shards=2)
    whole = rows(scanned(folder), range(10, 20))
    file = Path(folder) / "tiny-train.array_record-00000-of-00002"
    file.write_bytes(file.read_bytes()[:-40] if content is None else content)
    assert complaint(folder).startswith(f"{file}: record 0 of 10 cannot be read (")
    table = scanned(folder, "skip")
    assert rows(table, range(10)) == whole
    assert table.lost == 10


@pytest.mark.parametrize("storage", STORAGES)
def test_a_file_with_fewer_episodes_than_promised(tmp_path, storage):
    folder = write(tmp_path / "1.0.0", episodes(), storage=storage)
    info = Path(folder) / "dataset_info.json"
    info.write_text(info.read_text().replace('["20"]', '["22"]'))
    assert "record 20 of 22 cannot be read (the file holds 20 records)" in complaint(folder)
    table = scanned(folder, "skip")
    assert (len(table), table.lost) == (20, 2)
    assert len(scanned(folder, split="train[:20]")) == 20


# remote and converted sets


def test_a_remote_set(tmp_path):
    folder = write(tmp_path / "1.0.0", episodes(), storage="tfrecord", shards=2)
    with bucket(tmp_path) as store:
        check_same(scanned(f"{BUCKET}/1.0.0"), scanned(folder))
        check_same(
            scanned(f"{BUCKET}/1.0.0", "skip", "train[3:]"), scanned(folder, split="train[3:]")
        )
        read = [path for call, path in store.calls if call == "open" and "tfrecord" in path]
        assert len(read) == 4
        episode_set = rlds.open_set(f"{BUCKET}/1.0.0")
        (tmp_path / "1.0.0" / "tiny-train.tfrecord-00001-of-00002").unlink()
        chosen = dict.fromkeys(keys.OPTIONS, "")
        with pytest.raises(DataError, match=r"00001-of-00002: record 0 of 10 cannot be read .*No"):
            scan(episode_set, keys.find(episode_set.fields, chosen, "tiny"), "error")


def test_a_remote_array_record_set(tmp_path):
    write(tmp_path / "1.0.0", episodes(2))
    with bucket(tmp_path):
        assert "copy or mount the folder here" in complaint(f"{BUCKET}/1.0.0")


@pytest.fixture
def converted(tmp_path):
    """A converted set of the table of a small set; its files are empty."""
    folder = write(tmp_path / "source", episodes(), storage="tfrecord")
    table = scanned(folder)
    episode_set = rlds.open_set(folder)
    found = keys.find(episode_set.fields, dict.fromkeys(keys.OPTIONS, ""), "tiny")
    table.save(tmp_path / "set" / "table")
    (tmp_path / "set" / "frames-00000-of-00001.array_record").write_bytes(b"")
    made = {
        "format": 1,
        "name": "tiny",
        "source": folder,
        "image": {"shape": [12, 16, 3], "encoding": "png"},
        "keys": dataclasses.asdict(found),
        "fields": {},
        "shards": [{"file": "frames-00000-of-00001.array_record", "bytes": 0, "episodes": 20}],
    }
    (tmp_path / "set" / rlds.FRAMES).write_text(json.dumps(made))
    return tmp_path / "set", table


def test_the_table_of_a_converted_set(converted):
    folder, table = converted
    check_same(scanned(folder, held=True), table)


def test_a_converted_set_with_keys_turned_off(converted):
    folder, table = converted
    off = dict.fromkeys(("action_key", "state_key", "language_key", "scene_key"), "none")
    found = scanned(folder, held=True, options=off)
    assert found.action.shape == found.state.shape == (len(table.action), 0)
    assert found.texts == ("",)
    assert not found.text_id.any()
    assert not found.scene.any()
    for name in set(COLUMNS) - {"action", "state", "text_id", "scene"}:
        np.testing.assert_array_equal(getattr(found, name), getattr(table, name))


def test_a_converted_set_whose_table_is_gone_or_another(converted):
    folder, _ = converted
    shutil.rmtree(folder / "table")
    Builder(2, 1).build().save(folder / "table")
    assert "0 episodes, frames.json says 20; convert the set again" in complaint(folder, held=True)
    (folder / "table" / "table.json").unlink()
    assert "no table (" in complaint(folder, held=True)
