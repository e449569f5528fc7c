"""Whole scenes go to train, val or test by a hash of their name; limits come only afterwards.

The validation set is therefore the same for 1, 10, 100 or all training episodes, and a scene that
is validated on was never trained on. G groups.
"""

import argparse
import hashlib
import json
import logging
import sys
import textwrap

import numpy as np

from input_pipeline.errors import DataError

SPLITS = ("train", "val", "test")
UNUSED = -1
OPTIONS = ("val_fraction", "test_fraction", "split_by", "block_gap", "gap", "gap_seconds", "hz")
OPTIONS += ("image_key", "scene_key", "root", "data_dir", "on_corrupt", "threads")
PROGRAM = """Shows how sources are split, and whether what is held out is trained on as well.

Prints groups and exact counts of every split that training makes of these options, then compares
the pictures of val and test with those of train, and does the same with the splits that a folder
brings along. With --val it compares two of these only: --val=val, or --train=train[:95%]
--val=train[95%%:]. Exit status: 0; 1 where held-out episodes repeat training episodes; 2 where
something cannot be read.
"""


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
    return float(_uniform(words[:-1], [words[-1].encode()])[0])


def assign(name, groups, val_fraction, test_fraction):
    """Split of every group of the set `name`: {group: "train" | "val" | "test"}.

    A share above 0 that the hash leaves empty gets the group of the smallest hash (val), and train
    gets the one of the largest; a single group is trained on. groups: str, or bytes of numpy [E].
    """
    if isinstance(groups, np.ndarray):
        distinct = np.unique(groups).tolist()
    else:
        distinct = [group.encode() for group in sorted(set(groups))]
    split = _split(name, distinct, val_fraction, test_fraction)
    return {group.decode(): SPLITS[s] for group, s in zip(distinct, split.tolist(), strict=True)}


def blocks(name, count, val_fraction, test_fraction, gap, block=0):
    """Split of each of `count` consecutive episodes: place in SPLITS, or UNUSED; int8 [count].

    Whole blocks of `block` neighbours (0: a twentieth of the set, at most 100, more than two gaps)
    are split by a hash of their number; the last one takes the rest. The `gap` episodes on either
    side of a val block are used by nobody but val, those beside a test block not by train.
    """
    block = block or max(2 * gap + 1, min(100, count // 20))
    number = np.minimum(np.arange(count) // block, max(0, count // block - 1))
    labels = [f"block {i}".encode() for i in range(number[-1] + 1 if count else 0)]
    split = _split(name, labels, val_fraction, test_fraction)[number]
    near_val, near_test = (_near(split == SPLITS.index(held), gap) for held in ("val", "test"))
    train, val = split == SPLITS.index("train"), split == SPLITS.index("val")
    split[(near_val & ~val) | (near_test & train)] = UNUSED
    if count and not (split == SPLITS.index("train")).any():
        raise DataError(
            f"{name}: blocks of {block} of its {count} episodes with a gap of {gap} leave nothing "
            "to train on; make the gap or config.data.val_fraction and test_fraction smaller"
        )
    return split


def limit(name, keys, count):
    """Places of at most `count` of the episodes `keys` (0: all), in order; picks are nested.

    keys: str, or bytes of numpy [E]. Returns int64.
    """
    if not count or count >= len(keys):
        return np.arange(len(keys))
    array = isinstance(keys, np.ndarray)
    labels = keys.tolist() if array else [key.encode() for key in keys]
    order = np.argsort(_uniform((name, "limit"), labels), kind="stable")
    return np.sort(order[:count]).astype(np.int64)


def _uniform(words, labels):
    """`uniform` of the words and each of the labels (bytes): float64 [N]."""
    start = "".join(word + "\0" for word in words).encode()
    blake2b = hashlib.blake2b
    digests = b"".join([blake2b(start + label, digest_size=8).digest() for label in labels])
    return np.frombuffer(digests, ">u8").astype(np.float64) / 2**64


def _split(name, distinct, val_fraction, test_fraction):
    """Split of every one of the distinct groups (bytes, sorted): int8 [G]."""
    share = _uniform((name,), distinct)
    split = np.zeros(len(share), np.int8)
    split[share < val_fraction + test_fraction] = SPLITS.index("test")
    split[share < val_fraction] = SPLITS.index("val")
    by_hash = np.argsort(share, kind="stable")
    if len(split) > 1 and val_fraction > 0 and not (split == SPLITS.index("val")).any():
        split[by_hash[0]] = SPLITS.index("val")
    if len(split) and not (split == SPLITS.index("train")).any():
        split[by_hash[-1]] = SPLITS.index("train")
    return split


def _near(held, gap):
    """Where an episode of `held` (bool [E]) is at most `gap` places away: bool [E]."""
    before = np.concatenate([[0], np.cumsum(held)])
    place = np.arange(len(held))
    last = np.minimum(place + gap + 1, len(held))
    return before[last] > before[np.maximum(place - gap, 0)]


def main(arguments=None):
    """The program `python -m input_pipeline.splits`; returns its exit status."""
    options = _parse(arguments)
    logging.basicConfig(format="%(message)s")
    for module in ("scan", "thumbnails"):  # say how far they are
        logging.getLogger(f"input_pipeline.{module}").setLevel(logging.INFO)
    try:
        return _own_splits(options) if options.val else _our_splits(options)
    except DataError as error:
        print(f"error: {str(error).replace('config.data.', '--')}", file=sys.stderr)
        return 2


def _parse(arguments):
    from input_pipeline import near_duplicates
    from input_pipeline.options import DEFAULTS

    parser = argparse.ArgumentParser(
        prog="python -m input_pipeline.splits",
        description=PROGRAM,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", help="PLACE[@SPLIT],... as in config.data.sources")
    for option in OPTIONS:
        default = DEFAULTS.get(option, "")
        parser.add_argument(f"--{option}", type=type(default), default=default)
    parser.add_argument("--val", default="", help="a split that the folders bring along")
    parser.add_argument("--train", default="train", help="with --val: what it is compared with")
    parser.add_argument("--threshold", type=int, default=near_duplicates.THRESHOLD)
    parser.add_argument("--show", type=int, default=5, help="groups and pairs that are listed")
    parser.add_argument("--counts_only", action="store_true", help="compare no pictures")
    return parser.parse_args(arguments)


def _our_splits(options):
    """Counts and comparison of the splits that training makes of these options: exit status."""
    from input_pipeline import sources as sources_lib

    data = _data(options, options.sources)
    sources = sources_lib.open_all(data)
    print(_describe(sources, data, options.show))
    if options.counts_only:
        return 0
    train, held = (
        [
            (source, np.flatnonzero((source.table.steps > 0) & np.isin(source.split, wanted)))
            for source in sources
        ]
        for wanted in ([0], [1, 2])
    )
    status = _compare(train, held, "val and test", options)
    for index, (place, split, _) in enumerate(sources_lib.parse(options.sources)):
        names = [] if split else _names(sources[index].episode_set.path)
        for name in (name for name in names if "train" in names and name != "train"):
            part = _data(options, place, index, len(sources))
            both = _opened(part, "train"), _opened(part, name)
            status |= _compare(*both, f"{sources[index].name}'s own {name}", options)
    return status


def _own_splits(options):
    """Comparison of two splits that the folders bring along: exit status."""
    from input_pipeline import sources as sources_lib

    places = ",".join(place for place, _, _ in sources_lib.parse(options.sources))
    data = _data(options, places)
    both = _opened(data, options.train), _opened(data, options.val)
    return _compare(*both, f"the folder's own {options.val}", options)


def _data(options, sources, index=0, count=1):
    """The config of these sources; of several sources' key options that of number `index`."""
    from input_pipeline import keys
    from input_pipeline import options as options_lib

    data = options_lib.DEFAULTS | {name: getattr(options, name) for name in OPTIONS}
    options_lib.check(data, "train")
    if count > 1:
        for option in (name for name in OPTIONS if name == "hz" or name.endswith("_key")):
            data[option] = keys.own(option, data[option], index, count)
    return data | {"sources": sources}


def _opened(data, split):
    """All episodes of one split of the folders: list of (source, places)."""
    from input_pipeline import sources as sources_lib

    places = [f"{place}@{split}" for place, _, _ in sources_lib.parse(data["sources"])]
    sources = sources_lib.open_all(data | {"sources": ",".join(places), "split_by": "episode"})
    return [(source, np.flatnonzero(source.table.steps > 0)) for source in sources]


def _names(folder):
    """The splits that a TFDS folder lists; none for a folder of another kind."""
    from etils import epath

    info = epath.Path(folder) / "dataset_info.json"
    return (
        [split["name"] for split in json.loads(info.read_text())["splits"]] if info.exists() else []
    )


def _compare(train, held, title, options):
    """Prints how near the pictures are; 1 if held-out episodes repeat training episodes."""
    from input_pipeline import near_duplicates

    if not sum(len(places) for _, places in held):
        print(f"\n{title}: no episodes, so nothing was compared")
        return 0
    found = near_duplicates.check(train, held, options.threads)
    if not found.held_out:
        raise DataError(
            f"{title}: none of {found.held} episodes can be compared, {found.blank} show nothing "
            "in their pictures; choose another config.data.image_key"
        )
    print(f"\n{title}, compared with train")
    print(near_duplicates.describe(found, options.threshold, options.show), flush=True)
    repeats = found.repeats(options.threshold)
    if repeats:
        print(
            f"FAIL: {repeats} of {found.held} episodes of {title} are in train, too: a result on "
            "them is no result on new data",
            file=sys.stderr,
        )
    return int(repeats > 0)


def _describe(sources, data, show):
    """Groups and exact counts of every split of every source, at most 80 columns."""
    from input_pipeline import near_duplicates, report

    lines = [f"{'source':<20}{'split':>6}{'groups':>10}{'episodes':>11}{'frames':>15}{'pairs':>17}"]
    for source in sources:
        steps, note = _span(source, data)
        counts = report.counts(source, "train", 0, steps)
        for name, row in counts["splits"].items():
            lines.append(
                f"{source.name[:19]:<20}{name:>6}{row['groups']:>10,}{row['episodes']:>11,}"
                f"{row['frames']:>15,}{row['pairs']:>17,}"
            )
        left_out = [f"{counts[why]} {why}" for why in ("short", "corrupt", "dropped", "unused")]
        lines += [f"  left out: {', '.join(left_out)}", *note]
        for number, name in enumerate(SPLITS[1:], 1):
            groups = np.unique(source.group[source.split == number])
            shown = [near_duplicates.shortened(source.groups[group], 60) for group in groups[:show]]
            more = ["..."] if len(groups) > show else []
            text = f"{name} groups: {', '.join(shown + more) or 'none'}"
            lines += textwrap.wrap(text, 78, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)


def _span(source, data):
    """Steps between the frames of a pair, 1 where nothing tells; lines that say so."""
    from input_pipeline import shares

    if data["gap"] or np.isfinite(source.rate).any():
        return shares.span(source, data)[1], []
    return 1, ["  pairs of neighbours: no control frequency is known (--hz or --gap tells)"]


if __name__ == "__main__":
    sys.exit(main())
