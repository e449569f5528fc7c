"""Pairs in order: every one once, the same as the loader's, from local files of every storage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreter import fresh
from pipeline_fixtures import config, episode, episodes, features, write
from remote_fixtures import BUCKET, bucket

import input_pipeline
from input_pipeline import ordered
from input_pipeline.errors import DataError

STEPS = 6


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Two sources: 10 episodes of 6 steps in 5 scenes and one of 2, TFRecord; 3 episodes."""
    root = tmp_path_factory.mktemp("ordered")
    short = episode(10, 2, "scene5")
    one = write(root / "one", [*episodes(5), short], storage="tfrecord", shards=2)
    other = write(root / "other", episodes(3, 1), features(action=2), name="other")
    return f"{one},{other}"


def same(one, other):
    """Two rows or batches are equal in every key."""
    return all(
        np.array_equal(one[key], other[key], equal_nan=one[key].dtype == np.float32) for key in one
    )


def joined(batches):
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}


def rows(batch):
    """{key: row} of a batch."""
    return {key: {k: v[i : i + 1] for k, v in batch.items()} for i, key in enumerate(batch["key"])}


def starts(batch):
    """(source, episode, start), as dataset_id and the colours of the first frames tell."""
    colours = batch["frames"][:, 0, 0, 0, :2]
    return [
        (int(s), int(e), int(t)) for s, (e, t) in zip(batch["dataset_id"], colours, strict=True)
    ]


@settings(max_examples=12, deadline=None)
@given(gap=st.integers(1, STEPS - 1), batch_size=st.integers(1, 70))
def test_every_pair_once_in_order_and_as_the_loader_gives_it(tiny, gap, batch_size):
    data = config(tiny, gap=gap, pairs_per_episode="all", val_fraction=0.0, test_fraction=0.0)
    data["backend"] = "random"
    pairs = ordered.pairs(data, batch_size)
    batches = list(pairs)
    sizes = [len(batch["key"]) for batch in batches]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert 0 < sizes[-1] <= batch_size
    found = joined(batches)
    lengths = {0: [STEPS] * 10 + [2], 1: [STEPS] * 3}
    assert starts(found) == [
        (s, e, t) for s in (0, 1) for e, steps in enumerate(lengths[s]) for t in range(steps - gap)
    ]
    assert len(pairs) == len(found["key"]) == len(set(found["key"]))
    assert pairs.gaps == [gap, gap]
    random = input_pipeline.make(data, 64)
    given_rows, mine = rows(next(random)), rows(found)
    random.close()
    assert all(same(mine[key], row) for key, row in given_rows.items())


def test_it_can_be_iterated_again_and_left_early(tiny):
    pairs = ordered.pairs(config(tiny), 8)
    whole = joined(list(pairs))
    for batch in pairs:
        assert same(batch, {key: value[:8] for key, value in whole.items()})
        break
    assert same(joined(list(pairs)), whole)
    assert pairs.names == ["tiny", "other"]


def test_splits_share_out_the_pairs(tiny):
    data = config(tiny, val_fraction=0.3, test_fraction=0.3)
    keys = {
        split: joined(list(ordered.pairs(data, 16, split)))["key"].tolist()
        for split in ("all", "train", "val", "test")
    }
    parts = [keys[split] for split in ("train", "val", "test")]
    assert sorted(keys["train"] + keys["val"] + keys["test"]) == sorted(keys["all"])
    assert all(part == [key for key in keys["all"] if key in part] for part in parts)
    limited = joined(list(ordered.pairs(data | {"max_episodes": 1}, 16, "train")))
    assert len({key.rpartition("@")[0] for key in limited["key"]}) == 2  # one of each source
    assert set(limited["key"]) < set(keys["train"])


@given(total=st.integers(1, 10**12), count=st.integers(1, 200))
def test_a_limit_takes_one_of_each_equal_part(total, count):
    count = min(count, total)
    chosen = ordered.spread(np.arange(count), count, total)
    ends = np.arange(count + 1) * total // count
    assert (ends[:-1] <= chosen).all()
    assert (chosen < ends[1:]).all()
    assert ordered.spread(np.arange(5), 5, 5).tolist() == [0, 1, 2, 3, 4]
    assert len(ordered.spread(np.arange(0), 0, 5)) == 0


def test_a_limit_meets_episodes_of_one_length_at_all_their_steps():
    steps = ordered.spread(np.arange(60), 60, 2400 * 10) % 10  # every 40th episode
    assert np.bincount(steps, minlength=10).min() >= 4


def test_limited_pairs_are_some_of_all(tiny):
    every = starts(joined(list(ordered.pairs(config(tiny), 64))))
    pairs = ordered.pairs(config(tiny), 2, limit=5)
    chosen = [every[i] for i in ordered.spread(np.arange(5), 5, len(every))]
    assert len(pairs) == 5
    assert starts(joined(list(pairs))) == chosen
    assert len(ordered.pairs(config(tiny), 2, limit=1000)) == len(every)


def test_windows_and_a_filter_of_still_pairs(tiny):
    batch = joined(list(ordered.pairs(config(tiny, frames=3), 64)))
    assert batch["frames"].shape[1:3] == (3, 12)
    assert (np.diff(batch["frames"][:, :, 0, 0, 1].astype(int)) == 2).all()
    still = config(tiny, min_motion=0.5)  # green grows by 2 of 3 x 255 in two steps
    assert len(ordered.pairs(still, 64)) == len(ordered.pairs(config(tiny), 64))
    with pytest.raises(DataError, match="no episode long enough"):
        ordered.pairs(still | {"min_motion": 5.0}, 64)


WRONG = {
    "split": ({}, {"split": "dev"}, "split 'dev' does not exist; choose all, train, val, test"),
    "option": ({"gap": -1}, {}, "config.data.gap=-1 must be"),
    "jitter": ({"gap_jitter": 0.3}, {}, "gap_jitter=0.3 gives no one order"),
    "limit": ({}, {"limit": -1}, "limit=-1 must be"),
    "batch": ({}, {"batch_size": 0}, "batch size 0"),
    "gap": ({"gap": 9}, {}, "set config.data.gap to at most 5 steps"),
    "no split": (
        {"val_fraction": 0.0},
        {"split": "val"},
        "the val split has no episode .* change config.data.val_fraction",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_told_in_one_line(tiny, case):
    changes, options, message = WRONG[case]
    with pytest.raises(DataError, match=message) as caught:
        ordered.pairs(config(tiny, **changes), **{"batch_size": 4} | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [f"{BUCKET}/one", "bridge_dataset"])
def test_a_remote_folder_is_refused_before_anything_is_read(tmp_path, place):
    with bucket(tmp_path) as store, pytest.raises(DataError, match="remote folder"):
        ordered.pairs(config(place), 4)
    assert not store.calls


def test_it_needs_no_tensorflow(tiny):
    program = (
        "import sys; from input_pipeline import ordered; "
        f"batch = next(iter(ordered.pairs({config(tiny)!r}, 4))); "
        "print(batch['frames'].shape, 'tensorflow' in sys.modules)"
    )
    assert fresh(program).strip() == "(4, 2, 12, 12, 3) False"
