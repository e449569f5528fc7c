"""Whole scenes go to train, val or test by a hash of their name; limits come only afterwards.

The validation set is therefore the same for 1, 10, 100 or all training episodes, and a scene that
is validated on was never trained on.
"""

import hashlib

import numpy as np

from input_pipeline.errors import DataError

SPLITS = ("train", "val", "test")


def check(val_fraction, test_fraction):
    """DataError unless both shares are in [0, 1) and leave something to train on."""
    for option, share in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= share < 1:
            raise DataError(f"config.data.{option}={share} must be at least 0 and below 1")
    if val_fraction + test_fraction >= 1:
        raise DataError(
            f"config.data.val_fraction={val_fraction} and test_fraction={test_fraction} leave "
            "nothing to train on; make their sum less than 1"
        )


def uniform(*words):
    """A number in [0, 1) that depends on the words and on nothing else."""
    digest = hashlib.blake2b("\0".join(words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def assign(name, groups, val_fraction, test_fraction):
    """Split of every group of the set `name`: {group: "train" | "val" | "test"}.

    A share above 0 that the hash leaves empty gets the group of the smallest hash (val), and train
    gets the one of the largest; a single group is trained on.
    """
    share = {group: uniform(name, group) for group in sorted(set(groups))}
    by_hash = sorted(share, key=lambda group: (share[group], group))
    split_of = {
        group: "val"
        if u < val_fraction
        else "test"
        if u < val_fraction + test_fraction
        else "train"
        for group, u in share.items()
    }
    if len(by_hash) > 1 and val_fraction > 0 and "val" not in split_of.values():
        split_of[by_hash[0]] = "val"
    if by_hash and "train" not in split_of.values():
        split_of[by_hash[-1]] = "train"
    return split_of


def limit(name, keys, count):
    """Places of at most `count` of the episodes `keys` (0: all), in order; picks are nested."""
    if not count or count >= len(keys):
        return np.arange(len(keys))
    order = sorted(range(len(keys)), key=lambda i: uniform(name, "limit", keys[i]))
    return np.array(sorted(order[:count]), np.int64)
