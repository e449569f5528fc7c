"""Scenes are split by hash, and limits come after the split."""

import numpy as np
import pytest

from input_pipeline import splits
from input_pipeline.errors import DataError


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
