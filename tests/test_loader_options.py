"""What can be asked of the loader beyond plain pairs: gaps, windows, mixtures, hosts, backends."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_fixtures import colour, config, episode, episodes, features, write

import input_pipeline
from input_pipeline import sources
from input_pipeline.errors import DataError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """20 episodes of 6 steps at 5 Hz in 10 scenes, by storage."""
    root = tmp_path_factory.mktemp("tiny")
    return {
        storage: write(root / storage, episodes(), storage=storage, shards=2)
        for storage in ("array_record", "tfrecord")
    }


def read(data, batch, count=1, **options):
    """`count` batches and the loader, which is closed."""
    loader = input_pipeline.make(data, batch, **options)
    found = [next(loader) for _ in range(count)]
    loader.close()
    return found, loader


def starts(batches):
    """(episode number, first step) of every row, as the colours of its first frame tell."""
    return [
        (int(e), int(t)) for b in batches for e, t in b["frames"][:, 0, 0, 0, :2]
    ]  # fmt: skip


def same(one, other):
    return all(
        np.array_equal(one[key], other[key], equal_nan=one[key].dtype == np.float32) for key in one
    )


@pytest.mark.parametrize("storage", ["array_record", "tfrecord"])
def test_an_epoch_of_all_starts_is_every_pair_once(tiny, storage):
    data = config(tiny[storage], pairs_per_episode="all", buffer_gb=0.001)
    loader = input_pipeline.make(data, 4)
    pairs = loader.summary()["tiny"]["splits"]["train"]["pairs"]
    assert pairs % 4 == 0
    epochs = [starts([next(loader) for _ in range(pairs // 4)]) for _ in range(2)]
    assert all(len(set(epoch)) == pairs for epoch in epochs)
    assert set(epochs[0]) == set(epochs[1])
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("pairs", ["1", "2", "all"])
def test_both_backends_read_the_same_pairs(tiny, pairs):
    """One by one the order is the same; what is shuffled in memory has the same pairs an epoch."""
    found = {}
    for backend in ("stream", "random"):
        data = config(tiny["tfrecord"], pairs_per_episode=pairs, backend=backend, max_episodes=8)
        epoch = {"1": 8, "2": 16, "all": 32}[pairs] // 4
        found[backend], _ = read(data, 4, epoch, seed=7)
    if pairs == "1":
        assert all(map(same, found["stream"], found["random"]))
    episodes_of = {
        backend: sorted(e for e, _ in starts(batches)) for backend, batches in found.items()
    }
    assert episodes_of["stream"] == episodes_of["random"]


@pytest.mark.parametrize("at", [1, 3, 7])
@pytest.mark.parametrize("backend", ["stream", "random"])
def test_a_mixture_goes_on_exactly_in_the_middle_of_an_epoch(tiny, tmp_path, backend, at):
    other = write(
        tmp_path / "other", episodes(4, 1), features(), "tfrecord", name="other"
    )  # fmt: skip
    data = config(
        f"{tiny['tfrecord']}:3,{other}:1", pairs_per_episode="all", backend=backend,
        gap_jitter=0.5, buffer_gb=0.001,
    )  # fmt: skip
    _, loader = read(data, 6, at, seed=3)
    state = loader.get_state()
    again = input_pipeline.make(data, 6, seed=3)
    again.set_state(state)
    straight, _ = read(data, 6, at + 4, seed=3)
    assert all(same(next(again), batch) for batch in straight[at:])
    assert len(str(state)) < 100


def test_a_gap_in_seconds_follows_the_frequency(tiny):
    for seconds, steps in ((0.2, 1), (0.4, 2), (0.59, 3)):
        (batch,), _ = read(config(tiny["array_record"], gap=0, gap_seconds=seconds), 16)
        assert (np.diff(batch["frames"][:, :, 0, 0, 1].astype(int)) == steps).all()
        np.testing.assert_allclose(batch["dt"], steps / 5)
    (batch,), _ = read(config(tiny["array_record"], gap=0, gap_seconds=0.2, hz="10"), 16)
    np.testing.assert_allclose(batch["dt"], 0.2)


@pytest.mark.parametrize("storage", ["array_record", "tfrecord"])
def test_the_gap_may_vary_and_dt_and_action_follow(tiny, storage):
    data = config(tiny[storage], gap=2, gap_jitter=0.5)
    (batch,), _ = read(data, 64)
    first, last = batch["frames"][:, :, 0, 0, 1].astype(int).T
    assert set(last - first) == {1, 2, 3}
    np.testing.assert_allclose(batch["dt"], (last - first) / 5)
    sums = [sum(t + 1 for t in range(a, b)) for a, b in zip(first, last, strict=True)]
    np.testing.assert_allclose(batch["action"][:, 0], sums)


@pytest.mark.parametrize("storage", ["array_record", "tfrecord"])
def test_windows_of_more_frames(tiny, storage):
    data = config(tiny[storage], frames=3)
    (batch,), loader = read(data, 8)
    assert {k: (v.shape, v.dtype) for k, v in batch.items()} == loader.element_spec
    steps = batch["frames"][:, :, 0, 0, 1].astype(int)
    assert (np.diff(steps) == 2).all()
    np.testing.assert_allclose(batch["state"][:, :, 0], steps)
    np.testing.assert_allclose(batch["dt"], 0.4)


def test_a_sub_split_is_counted_exactly(tiny):
    place = tiny["tfrecord"]
    for split, count in (("train[:90%]", 18), ("train[10:15]", 5), ("train[90%:]", 2)):
        _, loader = read(config(f"{place}@{split}", val_fraction=0.0), 8)
        summary = loader.summary()["tiny"]["splits"].values()
        assert sum(row["episodes"] for row in summary) == count
        assert sum(row["frames"] for row in summary) == 6 * count


def test_weights_as_given_by_size_and_by_temperature(tiny, tmp_path):
    small = write(tmp_path / "small", episodes(5, 1), features(), name="small")

    def fraction(text, **changes):
        data = config(text.format(tiny["array_record"], small), test_fraction=0.0, **changes)
        _, loader = read(data, 4)
        return [counts["fraction"] for counts in loader.summary().values()]

    big, few = (16 + 1) * 4, 4 * 4  # pairs that are trained on
    size = np.array([big, few]) / (big + few)
    _, loader = read(config(f"{tiny['array_record']},{small}", test_fraction=0.0), 4)
    counted = [c["splits"]["train"]["pairs"] for c in loader.summary().values()]
    size = np.array(counted) / sum(counted)
    near = {"atol": 2e-3}
    np.testing.assert_allclose(fraction("{}:3,{}:1"), [0.75, 0.25], **near)
    np.testing.assert_allclose(fraction("{},{}"), size, **near)
    np.testing.assert_allclose(fraction("{},{}", temperature=1e6), [0.5, 0.5], **near)
    root = np.sqrt(size) / np.sqrt(size).sum()
    np.testing.assert_allclose(fraction("{},{}", temperature=2.0), root, **near)
    twice = size * [1, 2] / (size * [1, 2]).sum()
    np.testing.assert_allclose(fraction("{}:1,{}:2", weighting="proportionate"), twice, **near)
    np.testing.assert_allclose(fraction("{}:proportionate,{}:0.3"), [0.7, 0.3], **near)


@settings(deadline=None, max_examples=8)
@given(processes=st.integers(1, 4), pairs=st.sampled_from(["1", "all"]))
def test_processes_read_disjoint_episodes_that_are_all_of_them(tiny, processes, pairs):
    data = config(
        tiny["tfrecord"], backend="stream", pairs_per_episode=pairs, val_fraction=0.0,
        test_fraction=0.0,
    )  # fmt: skip
    seen = []
    for process in range(processes):
        loader = input_pipeline.make(
            data, processes, shard_index=process, shard_count=processes, seed=1
        )
        mine = len(range(process, 20, processes)) * (1 if pairs == "1" else 4)
        rows = loader._plan.rows(np.arange(mine, dtype=np.int64))  # no picture need be read
        assert (rows["epoch"] == 0).all()
        seen.append(set(rows["episode"].tolist()))
    assert sum(map(len, seen)) == 20
    assert set().union(*seen) == set(range(20))


def test_another_number_of_processes_is_taken_or_refused(tiny):
    data = config(tiny["tfrecord"], backend="random")
    _, loader = read(data, 4, 2)
    state = loader.get_state()
    part = input_pipeline.make(data, 4, shard_index=1, shard_count=2)
    part.set_state(state)
    again = input_pipeline.make(data, 4)
    again.set_state(state)
    assert np.array_equal(next(part)["frames"], next(again)["frames"][2:])
    part.close()
    again.close()
    _, loader = read(data | {"backend": "stream"}, 4, 2)
    part = input_pipeline.make(data | {"backend": "stream"}, 4, shard_index=1, shard_count=2)
    with pytest.raises(DataError, match="stream in 1 processes, this is stream in 2"):
        part.set_state(loader.get_state())
    with pytest.raises(DataError, match="random access, this is stream in 2"):
        part.set_state(state)
    part.set_state({"batch": 0})
    with pytest.raises(DataError, match="cannot be dealt to 32 processes"):
        input_pipeline.make(data | {"backend": "stream"}, 32, shard_index=1, shard_count=32)


def test_still_pairs_are_left_out_and_counted(tmp_path, caplog):
    flat = [episode(e, 6, f"scene{e}") for e in range(4)]
    for one in flat:  # nothing moves before step 3
        pictures = one["steps/observation/image"]
        one["steps/observation/image"] = [pictures[0]] * 3 + [colour(200, 200)] * 3
    folder = write(tmp_path / "still", flat)
    data = config(folder, min_motion=5.0, val_fraction=0.0, test_fraction=0.0)
    with caplog.at_level(logging.INFO, "input_pipeline"):
        batches, _ = read(data | {"pairs_per_episode": "all"}, 8, 2)
    assert "8 of 16 pairs (50.0 %)" in caplog.text
    changed = [int(b - a) for x in batches for a, b in x["frames"][:, :, 0, 0, 1].astype(int)]
    assert min(changed) > 100


def test_statistics_are_of_training_episodes_and_normalise(tiny):
    data = config(tiny["array_record"], gap=1)
    _, loader = read(data, 4)
    found = loader.statistics()["tiny"]
    assert found["episodes"] == loader.summary()["tiny"]["used"]
    assert found["state"]["mean"] == [2.5]
    (batch,), _ = read(data | {"normalize": "mean_std", "pairs_per_episode": "all"}, 60)
    assert abs(batch["state"][:, 0].mean() - (-0.29)) < 0.2
    assert batch["state"].max() < 1.6
    assert batch["action"].min() < -1


def test_blocks_of_episodes_can_be_held_out(tiny):
    data = config(tiny["array_record"], split_by="blocks", block_gap=1, val_fraction=0.2)
    _, loader = read(data, 4)
    counts = loader.summary()["tiny"]
    assert counts["unused"] > 0
    assert sum(row["episodes"] for row in counts["splits"].values()) + counts["unused"] == 20


def test_an_index_is_kept_and_made_again_when_a_file_changes(tmp_path, caplog):
    folder = write(tmp_path / "set", episodes(4, 1), storage="tfrecord")
    data = config(folder, data_dir=str(tmp_path / "cache"))
    sources.open_all(input_pipeline.options.DEFAULTS | data)
    (kept,) = (tmp_path / "cache" / "index").iterdir()
    before = kept.stat().st_mtime_ns
    sources.open_all(input_pipeline.options.DEFAULTS | data)
    assert kept.stat().st_mtime_ns == before
    file = next((tmp_path / "set").glob("*tfrecord*"))
    file.write_bytes(file.read_bytes())
    sources.open_all(input_pipeline.options.DEFAULTS | data)
    assert len(list((tmp_path / "cache" / "index").iterdir())) == 2
