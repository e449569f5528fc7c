"""Reading frames at random: the right ones, from every storage, and what is said of damage."""

import gc
import os
import resource
import time

import numpy as np
import pytest
from reader_fixtures import encoded, layout, source, waves

import input_pipeline
from input_pipeline import decode, random_access, rlds
from input_pipeline.errors import DataError

STORAGES = ("tfrecord", "array_record", "frames")
LENGTHS = (5, 3, 7, 4, 6)


def episodes(seed=0, shape=(24, 32), kind="jpeg"):
    """Encoded pictures, each unlike all others."""
    return [
        [encoded(waves(*shape, seed + e + t / 10), kind) for t in range(length)]
        for e, length in enumerate(LENGTHS)
    ]


def rows_of(sources, frames=2, size=9):
    """Batch i -> `size` random rows of these sources; some episodes more than once."""

    def rows(i):
        rng = np.random.default_rng(i)
        episode = rng.integers(len(LENGTHS), size=size)
        steps = np.array(LENGTHS)[episode]
        times = np.stack([rng.integers(steps) for _ in range(frames)], axis=1)
        return {"source": rng.integers(sources, size=size), "episode": episode, "times": times}

    return rows


def expected(pictures, made, rows, size):
    """The frames of a batch, decoded one by one from the pictures that were stored."""
    shape = (*rows["times"].shape, size, size, 3)
    frames_BTHWC = np.empty(shape, np.uint8)
    for b, (s, e) in enumerate(zip(rows["source"], rows["episode"], strict=True)):
        field = next(iter(made[s].episode_set.fields.values()))
        ratio = decode.ratio(field.shape, field.encoding, size)
        fast = decode.fast(field.shape, size)
        for t, step in enumerate(rows["times"][b]):
            place = frames_BTHWC[b, t]
            decode.into(pictures[s][e][step], place, ratio, made[s].keys.swap, fast)
    return frames_BTHWC


@pytest.mark.parametrize("storage", STORAGES)
def test_every_storage_gives_the_frames_that_were_asked_for(tmp_path, storage):
    pictures = [episodes()]
    made = [source(tmp_path, pictures[0], storage)]
    rows = rows_of(1, frames=3)
    batches = random_access.batches(made, rows, layout(12, frames=3), first=4)
    for number in range(4, 10):
        np.testing.assert_array_equal(next(batches), expected(pictures, made, rows(number), 12))
    batches.close()


@pytest.mark.parametrize("threads", [1, 5])
def test_sources_of_all_kinds_are_mixed(tmp_path, threads):
    pictures = [episodes(0), episodes(10, (48, 64)), episodes(20, (16, 16), "png")]
    shapes = [(24, 32, 3), (48, 64, 3), (16, 16, 3)]
    made = [
        source(tmp_path / str(s), pictures[s], STORAGES[s], f"set{s}", shapes[s], swap=s == 1)
        for s in range(3)
    ]
    rows = rows_of(3, size=20)
    batches = random_access.batches(made, rows, layout(16, threads=threads), first=0)
    for number in range(4):
        np.testing.assert_array_equal(next(batches), expected(pictures, made, rows(number), 16))
    batches.close()


def test_an_episode_is_read_once_a_batch(tmp_path, monkeypatch):
    made = [source(tmp_path, episodes(), "array_record")]
    read, seen = random_access._Store.read, []
    monkeypatch.setattr(
        random_access._Store, "read", lambda store, frame: seen.append(frame) or read(store, frame)
    )
    store = random_access._Store(made[0], 12)
    work = random_access._frames([store], rows_of(1, size=40)(0), 0)
    work.sort()
    random_access._fill([store], work, np.empty((40, 2, 12, 12, 3), np.uint8))
    assert len(seen) == len(LENGTHS)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_picture_that_is_none_is_named(tmp_path, storage):
    pictures = episodes()
    pictures[2][1] = b"no picture at all"
    made = [source(tmp_path, pictures, storage, "kitchen")]
    rows = {"source": [0, 0], "episode": [0, 2], "times": [[1, 2], [0, 1]]}
    rows = {key: np.array(value) for key, value in rows.items()}
    for _ in range(2):  # whoever asks again gets the same answer
        batches = random_access.batches(made, lambda i: rows, layout(12), 3)
        with pytest.raises(DataError) as caught:
            next(batches)
        message = str(caught.value)
        assert message.startswith("kitchen/episode2@1: ")
        assert "neither JPEG nor PNG" in message
        assert made[0].episode_set.files[0] in message
        assert "remove the episode" in message
        assert "\n" not in message
        batches.close()


@pytest.mark.parametrize("storage", STORAGES)
def test_a_file_that_was_cut_off_later_is_named(tmp_path, storage):
    made = [source(tmp_path, episodes(), storage, "kitchen")]
    file = made[0].episode_set.files[1]
    with open(file, "r+b") as stream:
        stream.truncate(100)
    rows = {key: np.array(v) for key, v in {"source": [0], "episode": [4], "times": [[2]]}.items()}
    batches = random_access.batches(made, lambda i: rows, layout(12, frames=1), 0)
    with pytest.raises(DataError, match=r"kitchen/episode4@2: .*copy the file again") as caught:
        next(batches)
    assert file in str(caught.value)
    batches.close()


def test_a_remote_folder_is_refused_before_anything_is_opened(monkeypatch):
    monkeypatch.setattr(rlds, "open_set", None)
    data = {"sources": "gs://bucket/set/1.0.0", "backend": "random"}
    with pytest.raises(DataError, match=r"gs://bucket/set/1\.0\.0: .*backend=stream") as caught:
        input_pipeline.make(data, 4)
    assert "\n" not in str(caught.value)


def test_more_files_than_the_system_allows(tmp_path, monkeypatch):
    made, limits = source(tmp_path, episodes()), []
    made.episode_set.files *= 500
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 2000))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    random_access._check([made])
    assert limits == [(1000 + random_access.SPARE_FILES, 2000)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 512))
    with pytest.raises(DataError, match=r"1256 open files.*512.*ulimit"):
        random_access._check([made])


def test_files_are_closed_with_their_reader(tmp_path):
    made = [source(tmp_path, episodes())]
    batches = random_access.batches(made, rows_of(1), layout(12), 0)
    next(batches)
    assert {os.path.realpath(file) for file in made[0].episode_set.files} & _opened()
    batches.close()
    del batches
    files = {os.path.realpath(file) for file in made[0].episode_set.files}
    for _ in range(100):  # batches that are being read ahead are finished first
        gc.collect()
        if not files & _opened():
            break
        time.sleep(0.1)
    assert not files & _opened()


def _opened():
    """Paths of all files that this process has open."""
    paths = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            paths.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:  # the listing itself
            continue
    return paths
