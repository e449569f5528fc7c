"""Copies of an episode are found, other episodes of its scene are not, blank pictures are told."""

import io

import numpy as np
import pipeline_fixtures as tiny
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn

from input_pipeline import near_duplicates, options, sources

OCTO = "octo_bridge_debug/bridge_dataset/1.0.0"
HASHES = st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 2), max_size=30)


def picture(seed):
    """A smooth random grey picture uint8 [32,32]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((32, 32), Image.BICUBIC))


def png(grey):
    stream = io.BytesIO()
    Image.fromarray(grey).convert("RGB").resize((64, 48)).save(stream, "png")
    return stream.getvalue()


def folder(path, episodes):
    """A TFDS folder of episodes given as lists of grey pictures."""
    flat = [
        tiny.episode(number, len(pictures), "scene")
        | {"steps/observation/image": [png(grey) for grey in pictures]}
        for number, pictures in enumerate(episodes)
    ]
    return tiny.write(path, flat)


def side(place, cache):
    data = options.DEFAULTS | {"sources": str(place), "data_dir": str(cache), "split_by": "episode"}
    return [(source, np.arange(len(source.table))) for source in sources.open_all(data)]


def test_the_hash_is_of_the_lowest_frequencies():
    pictures = np.stack([picture(seed) for seed in range(5)])
    for grey, found in zip(pictures, near_duplicates.phash(pictures), strict=True):
        waves = dctn(grey.astype(float))[1:9, 1:9].ravel()
        bits = np.unpackbits(np.array([found]).view(np.uint8)).astype(bool)
        assert np.array_equal(bits, waves > np.median(waves))


def test_brightness_and_contrast_hardly_change_the_hash_and_another_picture_does():
    pictures = np.stack([picture(seed) // 2 + 40 for seed in range(50)])
    hashes = near_duplicates.phash(pictures)
    changed = near_duplicates.phash((pictures * 1.2 + 10).astype(np.uint8))
    assert np.bitwise_count(hashes ^ changed).max() <= near_duplicates.THRESHOLD
    apart = np.bitwise_count(hashes[:, None] ^ hashes)[np.triu_indices(50, 1)]
    assert apart.min() > near_duplicates.THRESHOLD


@given(HASHES, HASHES, st.integers(1, 100))
def test_the_nearest_is_the_nearest(train, held, block):
    arrays = [np.array(side, np.uint64).reshape(-1, 2).T for side in (train, held)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "BLOCK", block)
        near, first, middle, look = near_duplicates.nearest(*arrays)
    if not train:
        assert len(near) == len(first) == len(middle) == len(look) == 0
        return
    assert len(near) == len(held)
    for m, one in enumerate(held):
        bits = [[(a ^ b).bit_count() for a, b in zip(one, other, strict=True)] for other in train]
        assert bits[near[m]] == [first[m], middle[m]]
        assert max(bits[near[m]]) == min(max(pair) for pair in bits)
        assert look[m] == min(pair[0] for pair in bits)


def test_copies_are_told_from_the_same_start(tmp_path):
    trained = [[picture(seed + t) for t in range(5)] for seed in (100, 200, 300)]
    held = [
        [trained[0][0]] + [picture(400 + t) for t in range(4)],  # starts like the first one
        [grey // 2 + 60 for grey in trained[2]],  # is the third one, paler
        [picture(500 + t) for t in range(6)],
        [np.full((32, 32), 77, np.uint8)] * 5,  # shows nothing
    ]
    train = side(folder(tmp_path / "train", trained), tmp_path / "cache")
    other = side(folder(tmp_path / "held", held), tmp_path / "cache")
    found = near_duplicates.check(train, other, threads=2)
    assert (found.train, found.held, found.blank) == (3, 4, 1)
    assert found.repeats(near_duplicates.THRESHOLD) == 1
    assert (found.held_out[0][1], found.trained_on[0][1]) == (1, 2)
    assert sorted(place for _, place in found.held_out) == [0, 1, 2]
    look = {place: bits for (_, place), bits in zip(found.held_out, found.look, strict=True)}
    assert look[0] == 0
    assert look[2] > near_duplicates.THRESHOLD
    text = near_duplicates.describe(found, near_duplicates.THRESHOLD, show=1)
    assert "2 held-out episodes start like one" in text
    assert "1 repeat one of train" in text
    assert "1 show nothing" in text
    assert max(map(len, text.splitlines())) <= 80


def test_equal_actions_are_counted(tmp_path):
    trained = [[picture(seed + t) for t in range(5)] for seed in (100, 200)]
    one = side(folder(tmp_path / "one", trained), tmp_path / "cache")
    found = near_duplicates.check(one, one, threads=2)
    assert "2 of these have its actions" in near_duplicates.describe(found, 4, 0)
    moved = tiny.write(
        tmp_path / "moved",
        [
            tiny.episode(0, 5, "scene", action=(2.0, 0.5))
            | {"steps/observation/image": [png(grey) for grey in trained[0]]}
        ],
    )
    found = near_duplicates.check(one, side(moved, tmp_path / "cache"), threads=2)
    assert found.repeats(0) == 1
    assert "0 of these have its actions" in near_duplicates.describe(found, 4, 0)


def test_episodes_of_a_real_scene_are_not_taken_for_copies(real_data, data_dir):
    data = options.DEFAULTS | {"data_dir": str(data_dir), "split_by": "episode"}
    for camera in ("image_0", "image_1", "image_2"):
        every = options.DEFAULTS | data | {"image_key": camera, "sources": str(real_data / OCTO)}
        (source,) = sources.open_all(every)
        one, other = [(source, np.arange(0, 25, 2))], [(source, np.arange(1, 25, 2))]
        found = near_duplicates.check(one, other, threads=2)
        nearest = np.maximum(found.first, found.middle)
        assert len(nearest) == 12
        assert nearest.min() > near_duplicates.THRESHOLD
        found = near_duplicates.check(one, one, threads=2)
        assert found.repeats(0) == 13


def test_labels_keep_their_ends():
    assert near_duplicates.shortened("abc", 3) == "abc"
    assert near_duplicates.shortened("abcdefgh", 6) == "...fgh"
