"""The arithmetic of the endless stream: who reads which frames when."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from input_pipeline import plan
from input_pipeline.errors import DataError

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=12)
SETS = st.lists(LENGTHS, min_size=1, max_size=3)


def share(pairs, per_episode=1, gap=(2, 2), starts=None):
    """A share of episodes with these numbers of starts, each frame of one byte."""
    pairs = np.array(pairs, np.int64)
    rows = np.minimum(pairs, per_episode)
    return plan.Share(np.arange(len(pairs)), pairs, rows, 2.0 * rows, gap, starts)


def visits(made, source, count):
    """Episodes and starts of the first `count` rows of a source."""
    episode, times = made.visits(source, np.arange(count, dtype=np.int64))
    return episode, times[:, 0]


@settings(deadline=None, max_examples=30)
@given(pairs=SETS, seed=st.integers(-5, 2**63), epochs=st.integers(1, 3))
def test_every_episode_is_read_once_an_epoch_at_a_start_it_has(pairs, seed, epochs):
    made = plan.make(seed, [share(p) for p in pairs], [1.0] * len(pairs))
    rows = made.rows(np.arange(len(pairs) * epochs * max(map(len, pairs)), dtype=np.int64))
    for s, lengths in enumerate(pairs):
        mine = rows["source"] == s
        whole = np.arange(mine.sum()) < mine.sum() // len(lengths) * len(lengths)
        order = rows["episode"][mine][whole].reshape(-1, len(lengths))
        assert (np.sort(order, axis=1) == np.arange(len(lengths))).all()
        starts = rows["times"][mine][:, 0]
        assert (starts >= 0).all()
        assert (starts < np.array(lengths)[rows["episode"][mine]]).all()


@settings(deadline=None, max_examples=40)
@given(
    pairs=LENGTHS, each=st.integers(1, 12), seed=st.integers(0, 2**63),
    chunk=st.one_of(st.none(), st.integers(1, 60)),
)  # fmt: skip
def test_an_epoch_takes_different_starts_of_every_episode(pairs, each, seed, chunk):
    made = plan.make(
        seed, [share(pairs, each)], [1.0], chunk_bytes=None if chunk is None else [chunk]
    )
    total = np.minimum(pairs, each).sum()
    for epoch in range(2):
        episode, times = made.visits(0, np.arange(total) + epoch * total)
        seen = sorted(zip(episode.tolist(), times[:, 0].tolist(), strict=True))
        assert len(set(seen)) == total
        assert np.bincount(episode).tolist() == np.minimum(pairs, each).tolist()
        assert all(0 <= start < pairs[e] for e, start in seen)


@settings(deadline=None, max_examples=40)
@given(pairs=LENGTHS, seed=st.integers(0, 2**63), size=st.integers(1, 80))
def test_a_chunk_is_a_few_whole_episodes_within_the_budget(pairs, seed, size):
    made = plan.make(seed, [share(pairs, 99)], [1.0], chunk_bytes=[size])
    total, position = 2 * sum(pairs), 0
    while position < total:
        end = made.chunk_end(0, position)
        assert all(made.chunk_end(0, p) == end for p in range(position, end))
        episode, _ = visits(made, 0, end)
        episode = episode[position:]
        whole, count = np.unique(episode, return_counts=True)
        assert count.tolist() == np.array(pairs)[whole].tolist()
        assert 2 * count.sum() <= size + 2 * max(pairs)
        position = end
    assert position == total


@settings(deadline=None, max_examples=40)
@given(size=st.integers(1, 300), key=st.integers(0, 2**64 - 1))
def test_a_permutation_is_one(size, key):
    found = plan.permute(np.arange(size), np.int64(size), np.uint64(key))
    assert np.array_equal(np.sort(found), np.arange(size))


def test_every_place_is_as_likely_as_any_other():
    size, keys = 7, 20000
    found = plan.permute(
        np.full(keys, 3), np.int64(size), plan.mix(np.arange(keys, dtype=np.uint64))
    )
    count = np.bincount(found, minlength=size)
    assert ((count - keys / size) ** 2 / (keys / size)).sum() < 22.5  # chi2, 6 dof, p = 0.001


def test_a_row_of_sixty_million_pairs_is_found_at_once():
    made = plan.make(1, [share([600] * 100_000, 600)], [1.0])
    episode, times = made.visits(0, np.arange(2000, dtype=np.int64))
    assert len(np.unique(episode)) > 1900
    assert abs(times[:, 0].mean() - 300) < 15


@settings(deadline=None, max_examples=30)
@given(
    shards=st.integers(1, 5), rows=st.integers(1, 4), batch=st.integers(0, 50), seed=st.integers(0)
)
def test_the_processes_together_read_the_global_batch(shards, rows, batch, seed):
    made = plan.make(seed % 2**70, [share([3] * 7), share([5] * 4, 3)], [2.0, 1.0])
    total = shards * rows
    whole = made.rows(plan.local_rows(batch, 1, total, 0, 1))
    parts = [made.rows(plan.local_rows(batch, 1, total, p, shards)) for p in range(shards)]
    for key, value in whole.items():
        assert np.array_equal(value, np.concatenate([part[key] for part in parts]))
    twice = plan.local_rows(batch, 2, total, shards - 1, shards)
    again = plan.local_rows(batch + 1, 1, total, shards - 1, shards)
    assert np.array_equal(twice[rows:], again)


@settings(deadline=None, max_examples=30)
@given(row=st.integers(0, 20000), phase=st.floats(0, 0.99))
def test_positions_count_the_rows_before(row, phase):
    made = plan.make(3, [share([3] * 7), share([5] * 4), share([2])], [2.0, 0.0, 1.0], phase=phase)
    source = made.rows(np.arange(row, dtype=np.int64))["source"]
    assert made.position(row).tolist() == np.bincount(source, minlength=3).tolist()
    assert made.position(row)[1] == 0


@settings(deadline=None, max_examples=15)
@given(weights=st.lists(st.floats(0.01, 10.0), min_size=2, max_size=4))
def test_a_mixture_keeps_to_its_weights_at_every_point(weights):
    part = np.array(weights) / sum(weights)
    cycle = plan.mix_cycle(np.array(weights))
    given_BS = np.cumsum(cycle[:, None] == np.arange(len(part)), axis=0)
    wanted_BS = np.arange(1, len(cycle) + 1)[:, None] * part
    assert np.abs(given_BS - wanted_BS).max() <= len(part)
    assert np.abs(given_BS[-1] / len(cycle) - part).max() < 1e-3


def test_a_tiny_source_beside_a_giant_one_is_still_read():
    cycle = plan.mix_cycle(np.array([1e9, 1.0]))
    assert 1 <= (cycle == 1).sum() <= 3
    assert len(cycle) <= plan.LONGEST_CYCLE


def test_the_stream_is_a_function_of_seed_and_row_alone():
    rows = np.array([5, 1000, 12345], np.int64)
    shares = [share([4] * 9, 2), share([2] * 5)]
    one, other = (plan.make(7, shares, [3, 1]) for _ in range(2))
    other.rows(np.arange(500, dtype=np.int64))
    for key, value in one.rows(rows).items():
        assert np.array_equal(value, other.rows(rows)[key])
    moved = plan.make(8, shares, [3, 1])
    many = np.arange(90, dtype=np.int64)
    assert not np.array_equal(one.rows(many)["episode"], moved.rows(many)["episode"])


def test_the_order_stays_what_it_was():
    """Pinned numbers: a change here means that no old run can be resumed."""
    rows = plan.make(0, [share([10] * 6)], [1.0]).rows(np.arange(12, dtype=np.int64))
    assert rows["episode"].tolist() == [0, 2, 1, 5, 4, 3, 4, 2, 5, 0, 1, 3]
    assert rows["times"][:, 0].tolist() == [9, 9, 2, 1, 7, 1, 1, 0, 0, 2, 2, 5]
    assert (rows["times"][:, 1] == rows["times"][:, 0] + 2).all()
    episode, start = visits(plan.make(0, [share([4, 3, 5], 99)], [1.0]), 0, 12)
    assert episode.tolist() == PINNED[0]
    assert start.tolist() == PINNED[1]


PINNED = ([0, 0, 2, 2, 1, 2, 2, 2, 0, 0, 1, 1], [0, 3, 2, 3, 1, 0, 4, 1, 1, 2, 2, 0])


def test_epochs_differ_in_order_and_starts():
    rows = plan.make(0, [share([50] * 40)], [1.0]).rows(np.arange(80, dtype=np.int64))
    assert not np.array_equal(rows["episode"][:40], rows["episode"][40:])
    assert len(set(rows["times"][:, 0].tolist())) > 20


def test_the_gap_varies_evenly_and_starts_can_be_chosen():
    starts = np.array([1, 5, 0, 2, 4])
    made = plan.make(0, [share([2, 3], 9, (2, 4), starts)], [1.0], frames=3)
    episode, times = made.visits(0, np.arange(3000))
    gaps = np.diff(times, axis=1)
    assert (gaps[:, 0] == gaps[:, 1]).all()
    assert np.allclose(np.bincount(gaps[:, 0])[2:] / 3000, 1 / 3, atol=0.03)
    seen = set(zip(episode.tolist(), times[:, 0].tolist(), strict=True))
    assert seen == {(0, 1), (0, 5), (1, 0), (1, 2), (1, 4)}


@pytest.mark.parametrize(
    ("batch", "index", "count", "words"),
    [(10, 0, 4, "10.*4"), (0, 0, 1, "0"), (8, 4, 4, "shard_index 4"), (8, -1, 4, "-1")],
)
def test_shards_that_do_not_fit(batch, index, count, words):
    with pytest.raises(DataError, match=words):
        plan.check_shards(batch, index, count)
