"""Scenes are split by hash, limits come after the split, and the program shows what repeats."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from input_pipeline import splits
from input_pipeline.errors import DataError

TRAIN, VAL, TEST = range(3)
SHARES = st.tuples(st.floats(0, 0.5), st.floats(0, 0.49))
OCTO = "octo_bridge_debug/bridge_dataset/1.0.0"


def test_shares_of_many_scenes_are_near_the_fractions():
    split_of = splits.assign("set", [f"scene{i}" for i in range(4000)], 0.1, 0.2)
    count = {name: list(split_of.values()).count(name) / 4000 for name in splits.SPLITS}
    assert abs(count["val"] - 0.1) < 0.02
    assert abs(count["test"] - 0.2) < 0.02


def test_a_scene_keeps_its_split_when_others_come_and_go():
    few = splits.assign("set", [f"scene{i}" for i in range(100)], 0.2, 0.2)
    many = splits.assign("set", [f"scene{i}" for i in range(300)], 0.2, 0.2)
    assert all(many[group] == split for group, split in few.items())


def test_the_name_of_the_set_matters():
    groups = [f"scene{i}" for i in range(50)]
    assert splits.assign("a", groups, 0.3, 0.3) != splits.assign("b", groups, 0.3, 0.3)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_a_small_set_has_something_to_train_and_to_validate_on(count, name):
    found = splits.assign(name, [str(i) for i in range(count)], 0.1, 0.1).values()
    assert {"train", "val"} <= set(found)


def test_large_fractions_leave_one_scene_to_train_on():
    found = list(splits.assign("set", ["1", "2", "3"], 0.5, 0.4999).values())
    assert "train" in found
    assert "val" in found


def test_one_scene_is_trained_on():
    assert splits.assign("set", ["only"] * 5, 0.5, 0.4) == {"only": "train"}


def test_no_validation_is_made_up_where_none_is_wanted():
    assert set(splits.assign("set", ["1", "2", "3"], 0.0, 0.0).values()) == {"train"}


def test_published_splits_stay_as_they_are():
    assert splits.uniform("bridge_dataset", "toykitchen1") == 0.47697627206775084
    scenes = [f"toykitchen{i}" for i in range(8)]
    found = " ".join(splits.assign("bridge_dataset", scenes, 0.2, 0.2).values())
    assert found == "test train train train test val test test"
    keys = [f"e{i}" for i in range(20)]
    assert splits.limit("bridge_dataset", keys, 6).tolist() == [2, 3, 4, 7, 17, 19]


@given(st.text(max_size=5), st.lists(st.text(max_size=3), max_size=40), SHARES)
def test_every_group_goes_where_its_own_hash_says(name, groups, shares):
    val, test = shares
    split_of = splits.assign(name, groups, val, test)
    assert list(split_of) == sorted(set(groups))
    by_hash = sorted(split_of, key=lambda group: share_of(name, group))
    for group in by_hash[1:-1]:  # the ends may be moved where a split would be empty
        u = share_of(name, group)
        assert split_of[group] == ("val" if u < val else "test" if u < val + test else "train")


@given(st.lists(st.text("abé/_", max_size=4), max_size=40), SHARES, st.integers(0, 50))
def test_arrays_of_bytes_are_split_and_limited_as_lists_are(groups, shares, count):
    array = np.array([group.encode() for group in groups], np.bytes_)
    assert splits.assign("set", array, *shares) == splits.assign("set", groups, *shares)
    picks = splits.limit("set", groups, count)
    assert np.array_equal(splits.limit("set", array, count), picks)
    assert picks.dtype == np.int64


def share_of(*words):
    digest = hashlib.blake2b("\0".join(words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def test_smaller_limits_pick_from_larger_ones():
    keys = [f"episode{i}" for i in range(50)]
    picks = [set(splits.limit("set", keys, n).tolist()) for n in (1, 10, 40, 0)]
    assert [len(pick) for pick in picks] == [1, 10, 40, 50]
    assert picks[0] < picks[1] < picks[2] < picks[3]
    assert np.array_equal(splits.limit("set", keys, 99), np.arange(50))


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.1), (0.1, 1.0), (0.5, 0.5)])
def test_fractions_that_cannot_be(val, test):
    with pytest.raises(DataError, match="fraction"):
        splits.check(val, test)


@st.composite
def block_cases(draw):
    gap = draw(st.integers(0, 6))
    block = draw(st.one_of(st.just(0), st.integers(2 * gap + 1, 2 * gap + 20)))
    name, count = draw(st.text(max_size=3)), draw(st.integers(0, 600))
    return name, count, *draw(SHARES), gap, block


@given(block_cases())
def test_blocks_keep_their_distance_and_use_all_the_rest(case):
    *_, gap, _ = case
    split = splits.blocks(*case)
    assert len(split) == case[1]
    assert split.dtype == np.int8
    for apart in range(1, gap + 1):
        one, other = split[:-apart], split[apart:]
        for held in (VAL, TEST):
            assert not ((one == TRAIN) & (other == held)).any()
            assert not ((one == held) & (other == TRAIN)).any()
        assert not (((one == VAL) & (other == TEST)) | ((one == TEST) & (other == VAL))).any()
    held = np.flatnonzero((split == VAL) | (split == TEST))
    for place in np.flatnonzero(split == splits.UNUSED):  # no episode is lost without a reason
        assert np.abs(held - place).min() <= 2 * gap
    if case[1]:
        assert (split == TRAIN).any()


@given(block_cases())
def test_blocks_are_whole_and_are_what_the_hash_says(case):
    name, count, val, test, gap, block = case
    split = splits.blocks(*case)
    block = block or max(2 * gap + 1, min(100, count // 20))
    whole = max(1, count // block)
    labels = [f"block {i}" for i in range(whole if count else 0)]
    split_of = splits.assign(name, labels, val, test)
    for number, label in enumerate(labels):
        end = count if number == whole - 1 else (number + 1) * block
        inside = split[number * block : end]
        wanted = splits.SPLITS.index(split_of[label])
        assert set(inside.tolist()) <= {wanted, splits.UNUSED}
        assert wanted != VAL or (inside == VAL).all()
        assert wanted == TRAIN or (inside == wanted).any()


@given(block_cases())
def test_without_a_gap_blocks_leave_out_nobody(case):
    assert (splits.blocks(*case[:4], 0, case[5]) >= 0).all()


def test_blocks_stay_where_they_are_when_episodes_are_appended():
    short, long = (splits.blocks("set", count, 0.2, 0.2, 2, 10) for count in (300, 400))
    assert np.array_equal(short[:288], long[:288])  # all but the last block and the gap before it


def test_too_large_a_gap_is_refused():
    with pytest.raises(DataError, match="nothing to train on"):
        splits.blocks("set", 40, 0.45, 0.45, 20, 2)


def program(capsys, *arguments):
    status = splits.main([str(argument) for argument in arguments])
    output, errors = capsys.readouterr()
    assert max((len(line) for line in output.splitlines()), default=0) <= 80
    return status, output, errors


def test_the_program_fails_on_a_set_whose_val_repeats_its_train(capsys, real_data, data_dir):
    source, cache = real_data / OCTO, f"--data_dir={data_dir}"
    status, output, errors = program(capsys, source, "--split_by=episode", cache)
    assert status == 1
    ours, theirs = output.split("bridge_dataset's own val")
    assert "\n  0 repeat one of train" in ours
    assert "\n  25 repeat one of train" in theirs
    assert "25 of these have its actions" in theirs
    assert "FAIL: 25 of 25 episodes of bridge_dataset's own val" in errors
    status, output, errors = program(capsys, source, "--val=val", "--show=1", cache)
    assert status == 1
    assert "FAIL: 25 of 25" in errors
    assert output.splitlines()[-2].startswith("   0   0  ")


def test_the_program_passes_parts_that_differ(capsys, real_data, data_dir):
    arguments = "--train=train[:50%]", "--val=train[50%:]", f"--data_dir={data_dir}"
    status, output, errors = program(capsys, real_data / OCTO, *arguments)
    assert (status, errors) == (0, "")
    assert "13 held-out against 12 training" in output


def test_the_program_counts_and_passes_our_own_split(capsys, real_data, data_dir):
    source = real_data / "rt1_mini/0.1.0"
    status, output, _ = program(capsys, source, "--hz=3", f"--data_dir={data_dir}")
    assert status == 0
    rows = [line.split() for line in output.splitlines() if line.startswith("rt1_mini  ")]
    assert [row[1] for row in rows] == ["train", "val", "test"]
    groups, episodes, frames, pairs = (
        sum(int(row[column].replace(",", "")) for row in rows) for column in range(2, 6)
    )
    assert (groups, episodes, frames, pairs) == (6, 6, 220, 220 - 6 * 2)  # 0.6 s of 3 Hz
    assert "2 held-out against 4 training" in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--image_key=image_3", "--val=val"], "show nothing in their pictures"),
        (["--val_fraction=2"], "--val_fraction=2.0 must be"),
        (["--val=vall"], "vall"),
    ],
)
def test_the_program_says_in_one_line_what_is_wrong(capsys, real_data, data_dir, arguments, says):
    status, _, errors = program(capsys, real_data / OCTO, f"--data_dir={data_dir}", *arguments)
    assert status == 2
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert says in errors
    assert "config.data" not in errors
