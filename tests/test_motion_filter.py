"""How far frames differ, which pairs are left, and the small pictures that it is measured on."""

import numpy as np
import pipeline_fixtures as tiny
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_near_duplicates import png
from test_statistics import make_table

from input_pipeline import motion_filter, options, sources, thumbnails
from input_pipeline.errors import DataError


def opened(place, cache, **changes):
    data = options.DEFAULTS | {"sources": str(place), "data_dir": str(cache)} | changes
    (source,) = sources.open_all(data)
    return source


def greys(levels):
    return [png(np.full((32, 32), level, np.uint8)) for level in levels]


def write(path, episodes, **how):
    """A TFDS folder of episodes given as lists of grey levels."""
    flat = [
        tiny.episode(number, len(levels), "scene") | {"steps/observation/image": greys(levels)}
        for number, levels in enumerate(episodes)
    ]
    return tiny.write(path, flat, **how)


@pytest.mark.parametrize("storage", ["array_record", "tfrecord"])
@pytest.mark.parametrize("gap", [1, 2, 5])
@pytest.mark.parametrize("rows", [3, 256])
def test_scores_are_differences_in_grey_levels(tmp_path, monkeypatch, storage, gap, rows):
    monkeypatch.setattr(thumbnails, "ROWS", rows)
    episodes = [[10, 12, 15, 15, 90], [200], [7, 7, 7], [50, 40, 30, 20, 10, 0]]
    source = opened(write(tmp_path / "set", episodes, storage=storage), tmp_path / "cache")
    found = motion_filter.scores(source, gap, 2, tmp_path / "cache")
    assert found.dtype == np.float32
    wanted = [
        abs(levels[t + gap] - levels[t]) if t + gap < len(levels) else np.nan
        for levels in episodes
        for t in range(len(levels))
    ]
    np.testing.assert_allclose(found, wanted, atol=1.01)


def test_scores_are_measured_once_for_a_gap(tmp_path, monkeypatch):
    source = opened(write(tmp_path / "set", [[1, 2, 3, 9]]), tmp_path / "cache")
    first = motion_filter.scores(source, 1, 0, tmp_path / "cache")
    two = motion_filter.scores(source, 2, 0, tmp_path / "cache")
    monkeypatch.setattr(thumbnails, "of", lambda *_: pytest.fail("read again"))
    np.testing.assert_array_equal(motion_filter.scores(source, 1, 0, tmp_path / "cache"), first)
    np.testing.assert_array_equal(motion_filter.scores(source, 2, 0, tmp_path / "cache"), two)
    assert not np.array_equal(first, two, equal_nan=True)


def test_real_frames_move_and_copies_do_not(real_data, data_dir):
    source = opened(real_data / "rt1_mini/0.1.0", data_dir)
    found = motion_filter.scores(source, 2, 2, data_dir)
    assert np.isnan(found).sum() == 2 * 6
    assert 1 < np.nanmedian(found) < 30
    assert np.nanmin(found) > 0
    (pictures,) = thumbnails.of(source, 1, lambda n: (n, np.array([[5, 5, 6]])), 1)
    assert pictures.shape == (1, 3, 32, 32)
    assert np.array_equal(pictures[0, 0], pictures[0, 1])
    assert not np.array_equal(pictures[0, 0], pictures[0, 2])


def test_a_frame_that_cannot_be_read_is_named(tmp_path):
    flat = tiny.episode(0, 3, "scene") | {
        "steps/observation/image": [*greys([1, 2]), b"\x89PNG no more"]
    }
    source = opened(tiny.write(tmp_path / "set", [flat]), tmp_path / "cache")
    with pytest.raises(DataError, match="@2: the image cannot be read"):
        motion_filter.scores(source, 1, 1, tmp_path / "cache")
    assert not (tmp_path / "cache" / "motion").exists()


@given(st.data())
def test_allowed_is_what_a_loop_finds(data):
    steps = data.draw(st.lists(st.integers(0, 8), min_size=1, max_size=6))
    table = make_table([np.zeros((count, 1)) for count in steps])
    gap, threshold = data.draw(st.integers(1, 4)), 2.0
    scores = np.array(
        data.draw(st.lists(st.sampled_from([0, 1.99, 2, 3]), min_size=50, max_size=50)), np.float32
    )
    places = np.array(
        data.draw(st.lists(st.sampled_from(range(len(steps))), unique=True)), np.int64
    )
    pairs = np.maximum(0, table.steps[places].astype(np.int64) - gap)
    starts, left = motion_filter.allowed(table, places, pairs, scores, threshold)
    wanted = [
        [t for t in range(count) if scores[table.first[place] + t] >= threshold]
        for place, count in zip(places, pairs, strict=True)
    ]
    assert starts.tolist() == [start for kept in wanted for start in kept]
    assert left.tolist() == [len(kept) for kept in wanted]
    assert (starts.dtype, left.dtype) == (np.int32, np.int64)


def test_what_was_dropped_is_said():
    pairs, left = np.array([4000, 400, 10, 0]), np.array([4000, 98, 0, 0])
    assert motion_filter.report(pairs, left, 2) == (
        "motion filter: 312 of 4,410 pairs (7.1 %) below 2.0 grey levels dropped; "
        "1 episodes have none left"
    )
    nothing = np.zeros(0, np.int64)
    assert "0 of 0 pairs (0.0 %)" in motion_filter.report(nothing, nothing, 2)


def test_grey_weighs_colours_as_the_eye_does():
    colours = np.eye(3, dtype=np.uint8) * 255
    found = thumbnails.grey(
        np.concatenate([colours, [[255] * 3, [0] * 3, [9] * 3]]).astype(np.uint8)
    )
    np.testing.assert_allclose(found, [76, 150, 29, 255, 0, 9], atol=1)
