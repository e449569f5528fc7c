"""Every mistake a person can make with data is answered by one line that says what to do."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from pipeline_fixtures import config, episode, episodes, features, write

import input_pipeline
from input_pipeline.errors import DataError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """An ArrayRecord set of 20 episodes of 6 steps in 10 scenes, 2 files."""
    return write(tmp_path_factory.mktemp("tiny") / "1.0.0", episodes(), shards=2)


def complaint(data, batch=4, **options):
    """The one-line message that making a loader and a batch ends with."""
    with pytest.raises(DataError) as caught:
        next(input_pipeline.make(data, batch, **options))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_place_that_is_not_there(tmp_path, tiny):
    assert "no such folder" in complaint(config(tmp_path / "nothing"))
    near = Path(tiny).parent / "1.0.1"
    assert f"did you mean {tiny}?" in complaint(config(near))


def test_a_folder_that_is_no_data_set(tmp_path, tiny):
    message = complaint(config(tmp_path))
    assert "dataset_info.json and features.json" in message
    assert f"did you mean {tiny}?" in complaint(config(Path(tiny).parent))


def test_a_data_file_that_is_missing(tmp_path):
    folder = write(tmp_path / "1.0.0", episodes(2), shards=2)
    (Path(folder) / "tiny-train.array_record-00001-of-00002").unlink()
    assert "1 of 2 data files are missing" in complaint(config(folder))


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ("", "sources is empty"),
        ("tabeltop", "did you mean tabletop?"),
        ("{tiny}:heavy", "'heavy' is no weight"),
        ("{tiny}:0", "'0' is no weight"),
        ("{tiny}:-1", "'-1' is no weight"),
        ("{tiny}:nan", "'nan' is no weight"),
        ("{tiny}:1,tabletop", "no weight to tabletop"),
        ("{tiny}:1,{tiny}:2", "twice"),
        ("{tiny}@train[:90%", "not understood"),
        ("{tiny}@nothing", "nothing"),
        ("bridge_datasett", "did you mean bridge_dataset?"),
        ("{tiny}:1.5,{tiny}@train[:50%]:proportionate", "sum to 1.5 and leave nothing"),
    ],
)
def test_sources_that_cannot_be_meant(tiny, sources, words):
    assert words in complaint(config(sources.format(tiny=tiny)))


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("image_size", 0, "image_size=0 must be a whole number of at least 1"),
        ("gap", -1, "gap=-1"),
        ("gap_seconds", 0.0, "gap_seconds=0.0 must be at least"),
        ("gap_jitter", 1.0, "gap_jitter=1.0 must be at least 0 and below 1"),
        ("hz", "fast", "hz=fast is no frequency"),
        ("frames", 1, "frames=1 must be a whole number of at least 2"),
        ("frames", 4, "set config.data.gap to at most 1 steps"),
        ("pairs_per_episode", "some", "must be all, or a whole number"),
        ("pairs_per_episode", "0", "must be all, or a whole number"),
        ("backend", "fast", "auto, stream, random"),
        ("backend", "stream", "stream reads TFRecord files"),
        ("weighting", "equal", '"", given, proportionate'),
        ("temperature", 0, "temperature=0"),
        ("buffer_gb", 0, "buffer_gb=0"),
        ("split_by", "time", "scene, episode, blocks"),
        ("gap", 6, "(the longest has 6 steps); set config.data.gap to at most 5 steps"),
        ("on_corrupt", "ignore", "error, skip"),
        ("val_fraction", 1.5, "val_fraction=1.5"),
        ("max_episodes", -1, "max_episodes=-1"),
        ("image_key", "imagge", "did you mean"),
        ("action_key", "language_instruction", "which needs number"),
    ],
)
def test_options_out_of_range(tiny, option, value, words):
    assert words in complaint(config(tiny, **{option: value}))


def test_a_gap_in_seconds_that_is_too_long_or_no_steps(tiny, tmp_path):
    assert "gap=6 with config.data.frames=2" in complaint(config(tiny, gap=0, gap_seconds=1.2))
    bare = [{k: v for k, v in e.items() if not k.endswith("hz")} for e in episodes(2)]
    for one in bare:
        one["episode_metadata/control_hz"] = [0.0]
    folder = write(tmp_path / "1.0.0", bare)
    assert "set config.data.hz" in complaint(config(folder, gap=0))


def test_a_mixture_that_is_not_known_or_not_alone(tiny):
    data = config("", mixture="oxe_magic_soop")
    assert "did you mean oxe_magic_soup" in complaint(data)
    assert "cannot both be given" in complaint(config(tiny, mixture="bridge"))


def test_an_unknown_split_and_an_empty_one(tiny):
    assert "choose train, val, test" in complaint(config(tiny), split="validation")
    message = complaint(config(tiny, val_fraction=0.0), split="val")
    assert "10 in tiny" in message
    assert "config.data.val_fraction" in message


def test_a_batch_that_cannot_be_shared(tiny):
    message = complaint(config(tiny), batch=10, shard_count=4)
    assert "10" in message
    assert "4" in message


def test_an_image_that_is_none_is_named(tmp_path):
    flat = [episode(e, 6, f"scene{e}") for e in range(4)]
    for one in flat:
        one["steps/observation/image"] = [b"no image"] * 6
    for storage in ("array_record", "tfrecord"):
        folder = write(tmp_path / storage, flat, storage=storage)
        message = complaint(config(folder))
        assert "tiny/train/00000__" in message
        assert "remove the episode" in message


def test_an_error_stays_an_error(tmp_path):
    flat = [episode(0, 6, "scene") | {"steps/observation/image": [b"no image"] * 6}]
    loader = input_pipeline.make(config(write(tmp_path / "1.0.0", flat)), 2)
    for _ in range(2):
        with pytest.raises(DataError, match="remove the episode"):
            next(loader)


def test_vectors_that_do_not_fit_their_images(tmp_path):
    flat = [episode(0, 6, "scene") | {"steps/action": [1.0, 2.0]}]
    for storage in ("array_record", "tfrecord"):
        folder = write(tmp_path / storage, flat, storage=storage)
        assert "record 0 has 6 images and not as many entries" in complaint(config(folder))


def cut(folder, pattern):
    """Cut the end off a data file."""
    file = next(Path(folder).glob(pattern))
    file.write_bytes(file.read_bytes()[:-40])
    return file


def test_a_cut_off_tfrecord_file(tmp_path):
    folder = write(tmp_path / "1.0.0", episodes(), storage="tfrecord", shards=2)
    file = cut(folder, "*00001-of-00002")
    message = complaint(config(folder))
    assert str(file) in message
    assert "record 9 of 10" in message
    assert "on_corrupt=skip" in message
    loader = input_pipeline.make(config(folder, on_corrupt="skip"), 4)
    next(loader)
    counts = loader.summary()["tiny"]
    assert counts["corrupt"] == 1
    assert sum(row["episodes"] for row in counts["splits"].values()) == 19


def test_a_changed_byte_in_a_tfrecord_file(tmp_path):
    folder = write(tmp_path / "1.0.0", episodes(), storage="tfrecord")
    file = next(Path(folder).glob("*tfrecord*"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    loader = input_pipeline.make(config(folder, on_corrupt="skip"), 4)
    assert loader.summary()["tiny"]["corrupt"] == 1


def test_a_cut_off_array_record_file(tmp_path):
    folder = write(tmp_path / "1.0.0", episodes(), shards=2)
    file = cut(folder, "*00001-of-00002")
    assert str(file) in complaint(config(folder))
    loader = input_pipeline.make(config(folder, on_corrupt="skip"), 4)
    next(loader)
    assert loader.summary()["tiny"]["corrupt"] == 10


def test_a_set_that_holds_no_episodes_of_steps(tmp_path):
    flat = {"image": tfds.features.Image(shape=(12, 16, 3))}
    folder = write(tmp_path / "1.0.0", episodes(1), flat)
    assert "its features need 'steps'" in complaint(config(folder))


def test_sixteen_bit_depth_is_no_image(tmp_path):
    depth = tfds.features.Image(shape=(12, 16, 1), dtype=np.uint16, encoding_format="png")
    folder = write(tmp_path / "1.0.0", episodes(2), features(images=(), more={"depth": depth}))
    assert "no key holds 8-bit images" in complaint(config(folder))
    assert "uint16" in complaint(config(folder, image_key="depth"))
