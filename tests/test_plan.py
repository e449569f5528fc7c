"""The arithmetic of the endless stream: who reads which pair when."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from input_pipeline import plan
from input_pipeline.errors import DataError

SETS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), min_size=1, max_size=3)


@settings(deadline=None, max_examples=30)
@given(pairs=SETS, seed=st.integers(-5, 2**63), epochs=st.integers(1, 3))
def test_every_episode_is_read_once_an_epoch_at_a_start_it_has(pairs, seed, epochs):
    made = plan.make(seed, pairs, [1.0] * len(pairs))
    rows = made.rows(np.arange(len(pairs) * epochs * max(map(len, pairs)), dtype=np.int64))
    for s, lengths in enumerate(pairs):
        mine = rows["source"] == s
        whole = np.arange(mine.sum()) < mine.sum() // len(lengths) * len(lengths)
        visits = rows["episode"][mine][whole].reshape(-1, len(lengths))
        assert (np.sort(visits, axis=1) == np.arange(len(lengths))).all()
        starts = rows["start"][mine]
        assert (starts >= 0).all()
        assert (starts < np.array(lengths)[rows["episode"][mine]]).all()


@settings(deadline=None, max_examples=30)
@given(
    shards=st.integers(1, 5), share=st.integers(1, 4), batch=st.integers(0, 50), seed=st.integers(0)
)
def test_the_processes_together_read_the_global_batch(shards, share, batch, seed):
    made = plan.make(seed % 2**70, [[3] * 7, [5] * 4], [2.0, 1.0])
    total = shards * share
    whole = made.rows(plan.local_rows(batch, 1, total, 0, 1))
    parts = [made.rows(plan.local_rows(batch, 1, total, p, shards)) for p in range(shards)]
    for key, value in whole.items():
        assert np.array_equal(value, np.concatenate([part[key] for part in parts]))
    twice = plan.local_rows(batch, 2, total, shards - 1, shards)
    again = plan.local_rows(batch + 1, 1, total, shards - 1, shards)
    assert np.array_equal(twice[share:], again)


@settings(deadline=None, max_examples=15)
@given(weights=st.lists(st.floats(0.01, 10.0), min_size=2, max_size=4))
def test_a_mixture_keeps_to_its_weights_at_every_point(weights):
    share = np.array(weights) / sum(weights)
    cycle = plan.mix_cycle(np.array(weights))
    given_BS = np.cumsum(cycle[:, None] == np.arange(len(share)), axis=0)
    wanted_BS = np.arange(1, len(cycle) + 1)[:, None] * share
    assert np.abs(given_BS - wanted_BS).max() <= len(share)
    assert np.abs(given_BS[-1] / len(cycle) - share).max() < 1e-3


def test_a_tiny_source_beside_a_giant_one_is_still_read():
    cycle = plan.mix_cycle(np.array([1e9, 1.0]))
    assert 1 <= (cycle == 1).sum() <= 3
    assert len(cycle) <= plan.LONGEST_CYCLE


def test_the_stream_is_a_function_of_seed_and_row_alone():
    rows = np.array([5, 1000, 12345], np.int64)
    one, other = (plan.make(7, [[4] * 9, [2] * 5], [3, 1]) for _ in range(2))
    other.rows(np.arange(500, dtype=np.int64))
    for key, value in one.rows(rows).items():
        assert np.array_equal(value, other.rows(rows)[key])
    moved = plan.make(8, [[4] * 9, [2] * 5], [3, 1])
    many = np.arange(90, dtype=np.int64)
    assert not np.array_equal(one.rows(many)["episode"], moved.rows(many)["episode"])


def test_the_order_stays_what_it_was():
    """Pinned numbers: a change here means that no old run can be resumed."""
    rows = plan.make(0, [[10] * 6], [1.0]).rows(np.arange(12, dtype=np.int64))
    assert rows["episode"].tolist() == [0, 2, 1, 5, 4, 3, 4, 2, 5, 0, 1, 3]
    assert rows["start"].tolist() == [9, 9, 2, 1, 7, 1, 1, 0, 0, 2, 2, 5]


def test_epochs_differ_in_order_and_starts():
    rows = plan.make(0, [[50] * 40], [1.0]).rows(np.arange(80, dtype=np.int64))
    assert not np.array_equal(rows["episode"][:40], rows["episode"][40:])
    assert len(set(rows["start"].tolist())) > 20


@pytest.mark.parametrize(
    ("batch", "index", "count", "words"),
    [(10, 0, 4, "10.*4"), (0, 0, 1, "0"), (8, 4, 4, "shard_index 4"), (8, -1, 4, "-1")],
)
def test_shards_that_do_not_fit(batch, index, count, words):
    with pytest.raises(DataError, match=words):
        plan.check_shards(batch, index, count)
