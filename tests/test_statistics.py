"""Statistics of actions and states: the numbers of numpy on the whole array, kept by content."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from input_pipeline import rlds, statistics
from input_pipeline import table as table_lib
from input_pipeline.errors import DataError
from input_pipeline.sources import Source

FLOATS = st.floats(-1e4, 1e4, width=32)


def make_table(actions, state_dim=1):
    """A Table of episodes with these actions [T,A]; states count the steps."""
    builder = table_lib.Builder(actions[0].shape[1] if actions else 2, state_dim)
    for number, action in enumerate(actions):
        steps = len(action)
        builder.add(
            file=0, record=number, offset=0, length=100 * steps, rate=5.0, key=f"episode{number}",
            scene="", action=action, state=np.tile(np.arange(steps)[:, None], state_dim),
            texts=[""] * steps, frame_offset=np.zeros(steps), frame_length=np.zeros(steps),
        )  # fmt: skip
    return builder.build()


def make_source(table, name="set", keys=("image",)):
    episode_set = rlds.EpisodeSet("/nowhere", name, "tfrecord", {}, (), (), (), ())
    none = np.zeros(len(table), np.int8)
    return Source(name, None, episode_set, keys, table, none, (), none, none)


def random_table(episodes=40, dims=3, seed=0):
    rng = np.random.default_rng(seed)
    return make_table(
        [
            rng.normal(5.0, [1e-3, 1.0, 50.0][:dims], (steps, dims))
            for steps in rng.integers(0, 30, episodes)
        ]
    )


def chosen(table, places):
    rows = [np.arange(table.first[p], table.first[p + 1]) for p in sorted(places)]
    return table.action[np.concatenate(rows)].astype(np.float64)


@pytest.mark.parametrize("block", [1, 7, 65536])
def test_the_same_as_numpy_on_the_whole_array(monkeypatch, block):
    monkeypatch.setattr(statistics, "BLOCK", block)
    table, places = random_table(), np.array([30, 2, 3, 4, 20, 11])
    found, values = statistics.of(table, places), chosen(table, places)
    assert (found["episodes"], found["steps"]) == (6, len(values))
    wanted = {
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "q01": np.quantile(values, 0.01, axis=0),
        "q99": np.quantile(values, 0.99, axis=0),
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(found["action"][name], value, rtol=1e-9, err_msg=name)
    assert found["action"]["constant"] == [False] * 3


def test_neither_order_nor_other_episodes_matter():
    table = random_table()
    some = np.array([4, 9, 17, 33])
    assert statistics.of(table, some) == statistics.of(table, some[::-1])
    assert statistics.of(table, some) != statistics.of(table, np.array([4, 9, 17, 34]))


def test_a_large_mean_costs_no_precision():
    rng = np.random.default_rng(0)
    values = (1e4 + rng.normal(0, 0.01, (5000, 1))).astype(np.float32)
    found = statistics.of(make_table(np.split(values, 50)), np.arange(50))
    np.testing.assert_allclose(found["action"]["std"], values.std(axis=0, dtype=float), rtol=1e-9)


@pytest.mark.parametrize("block", [64, 65536])
def test_sampled_quantiles_are_within_their_error(monkeypatch, block):
    monkeypatch.setattr(statistics, "SAMPLE", 2000)
    monkeypatch.setattr(statistics, "BLOCK", block)
    values = np.random.default_rng(1).normal(size=(60_000, 4)).astype(np.float32)
    values[:, 1] = np.linspace(-1, 1, 60_000)  # sorted in time
    values[:, 2] = np.sin(np.arange(60_000))  # a period to resonate with
    found = statistics.of(make_table(np.split(values, 100)), np.arange(100))["action"]
    error = 3 * np.sqrt(0.01 * 0.99 / 2000)
    np.testing.assert_allclose((values < found["q01"]).mean(axis=0), 0.01, atol=error)
    np.testing.assert_allclose((values > found["q99"]).mean(axis=0), 0.01, atol=error)
    assert found["min"] == values.min(axis=0).astype(float).tolist()
    monkeypatch.setattr(statistics, "BLOCK", 1)
    again = statistics.of(make_table(np.split(values, 100)), np.arange(100))["action"]
    assert (again["q01"], again["q99"]) == (found["q01"], found["q99"])


@given(st.integers(1, 5000), st.integers(1, 300))
def test_a_sample_draws_once_from_every_stretch(total, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "SAMPLE", size)
        sample = statistics._sample(total)
    assert len(sample) == min(total, size)
    assert (np.diff(sample) > 0).all()
    assert sample[0] >= 0
    assert sample[-1] < total


def test_a_constant_dim_has_no_deviation_and_becomes_zero(monkeypatch):
    monkeypatch.setattr(statistics, "BLOCK", 1)
    values = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    values[:, 1] = 0.1
    found = statistics.of(make_table(np.split(values, [3, 10, 21, 160])), np.arange(5))["action"]
    assert found["constant"] == [False, True]
    assert found["std"][1] == 0
    assert found["mean"][1] == found["min"][1] == np.float32(0.1)
    for how in ("mean_std", "q01_q99"):
        scaled = statistics.normalise(values, found, how)
        assert (scaled[:, 1] == 0).all()
        np.testing.assert_allclose(
            statistics.denormalise(scaled, found, how), values, rtol=1e-5, atol=1e-6
        )


def test_scales_are_what_their_names_say():
    values = np.random.default_rng(0).normal(3, 7, (1000, 2)).astype(np.float32)
    found = statistics.of(make_table([values]), np.arange(1))["action"]
    scaled = statistics.normalise(values, found, "mean_std")
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-5)
    scaled = statistics.normalise(values, found, "q01_q99")
    np.testing.assert_allclose(np.quantile(scaled, [0.01, 0.99], axis=0), [[-1, -1], [1, 1]])
    assert scaled.max() > 1  # nothing is cut off
    with pytest.raises(DataError, match="choose mean_std or q01_q99"):
        statistics.normalise(values, found, "z")


def test_a_dim_that_hardly_ever_changes_is_scaled_by_its_extremes():
    values = np.zeros((1000, 1), np.float32)
    values[500] = 4
    found = statistics.of(make_table([values]), np.arange(1))["action"]
    assert found["q01"] == found["q99"] == [0]
    assert set(statistics.normalise(values, found, "q01_q99").ravel().tolist()) == {-1.0, 1.0}


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20), elements=FLOATS),
    st.sampled_from(["mean_std", "q01_q99"]),
)
def test_denormalise_undoes_normalise(values, how):
    found = statistics.of(make_table([values]), np.arange(1))["action"]
    back = statistics.denormalise(statistics.normalise(values, found, how), found, how)
    reach = np.abs(values).max(axis=0) + np.ptp(values, axis=0)
    assert (np.abs(back - values) <= 1e-5 * reach + 1e-30).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_none_is_refused_by_name(bad):
    actions = [np.ones((4, 2)) for _ in range(5)]
    actions[3][2, 1] = bad
    table = make_table(actions)
    with pytest.raises(DataError, match=rf"episode3: action\[1\] is {bad} at step 2") as error:
        statistics.of(table, np.arange(1, 5))
    assert "\n" not in str(error.value)
    assert statistics.of(table, np.arange(3))["action"]["mean"] == [1, 1]


def test_without_actions_or_episodes():
    found = statistics.of(make_table([np.zeros((5, 0))]), np.arange(1))
    assert found["action"] == {
        name: [] for name in ("mean", "std", "min", "max", "q01", "q99", "constant")
    }
    assert found["state"]["mean"] == [2]
    for table in (make_table([]), make_table([np.zeros((0, 2))])):
        with pytest.raises(DataError, match="no training episode"):
            statistics.of(table, np.arange(len(table)))


def test_the_cache_is_found_again_by_content(tmp_path, monkeypatch):
    source = make_source(random_table())
    first = statistics.cached(source, np.arange(10), tmp_path)
    monkeypatch.setattr(statistics, "of", lambda *_: pytest.fail("computed again"))
    again = make_source(random_table())
    assert statistics.cached(again, np.arange(10)[::-1], tmp_path) == first
    assert [file.suffix for file in (tmp_path / "statistics").iterdir()] == [".json"]


def changed(table, column, place, value):
    array = getattr(table, column).copy()
    array[place] = value
    return dataclasses.replace(table, **{column: array})


@pytest.mark.parametrize(
    "other",
    [
        lambda table: make_source(table, name="other"),
        lambda table: make_source(table, keys=("image", "wrist")),
        lambda table: make_source(changed(table, "key", 3, b"another")),
        lambda table: make_source(changed(table, "length", 3, 1)),
        lambda table: make_source(changed(table, "action", table.first[3], 1.0)),
        lambda table: make_source(changed(table, "action", table.first[4] - 1, 1.0)),
    ],
)
def test_the_cache_is_not_used_for_another_set(tmp_path, other):
    table = random_table()
    assert table.steps[3] > 1
    statistics.cached(make_source(table), np.arange(10), tmp_path)
    source = other(table)
    assert statistics.cached(source, np.arange(10), tmp_path) == statistics.of(
        source.table, np.arange(10)
    )
    assert len(list((tmp_path / "statistics").iterdir())) == 2


def test_a_failed_write_leaves_nothing(tmp_path):
    def fill(stream):
        stream.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        statistics.write(tmp_path / "new" / "file", fill)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_damaged_file_is_named(tmp_path):
    source = make_source(random_table())
    statistics.cached(source, np.arange(10), tmp_path)
    (file,) = (tmp_path / "statistics").iterdir()
    file.write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(DataError, match=r"damaged.*delete it"):
        statistics.cached(source, np.arange(10), tmp_path)
