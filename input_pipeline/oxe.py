"""The registry of Open X-Embodiment: known sets, where they lie, their keys, faults and mixtures.

    python -m input_pipeline.oxe --list            every set, a line each
    python -m input_pipeline.oxe --list NAME       all that is known of one
    python -m input_pipeline.oxe --mixtures        published mixtures and their weights

The tables are in `oxe_sets`, `oxe_converted` and `mixtures`.
"""

import argparse
import dataclasses
import difflib
import math
import signal
import sys
import textwrap
from pathlib import Path

from input_pipeline import keys, oxe_converted, oxe_sets
from input_pipeline.errors import DataError
from input_pipeline.mixtures import MIXTURES, SOURCES

WIDTH = 80
SETS = {row.name: row for row in (*oxe_sets.ROWS, *oxe_converted.ROWS)}
ALIASES = {  # other names of registered sets: of folders, or of their dataset_info.json
    "bridge_orig": "bridge_dataset",
    "bridge_oxe": "bridge",
    "droid_101": "droid",
    "droid_100": "droid",
    "roboset": "robo_set",
    "aloha_mobile_dataset": "aloha_mobile",
    "spoc_robot": "spoc",
    "ego4d_dataset": "ego4d_split_1",
}
LONG, SHORT = oxe_converted.RLDS, "~"
HEAD = ("name", "vers", "robot", "Hz", "pixels", "c", "a", "s", "f")
FORMAT = "{:33} {:5} {:14} {:>4} {:>7} {:>1} {:>2} {:1} {}"
LEGEND = f"""\
~ stands for {LONG}, - for not known.
pixels: height x width of the primary camera, c: cameras, a: numbers of the
action, s: + where a scene key is known to split by, f: faults: K red and blue
are changed over, 1 the first step is dropped, F failures are left out, ! more
under --list NAME, as are all keys."""


def get(name):
    """The Set of exactly this name (that of dataset_info.json, or another known one), or None."""
    return SETS.get(ALIASES.get(name, name))


def find(name):
    """The Set of this name; DataError with near names where there is none."""
    found = get(name)
    if found is None:
        raise DataError(
            f"{name} is no registered set{_near(name, (*SETS, *ALIASES))}; "
            "python -m input_pipeline.oxe --list shows them"
        )
    return found


def mixture(name):
    """The published mixture `name`: list of (set name, weight); DataError if there is none.

    A set named twice (also by another of its names) or a weight that is no number above 0 is a
    DataError: nothing is dropped in silence.
    """
    if name not in MIXTURES:
        raise DataError(
            f"{name} is no published mixture{_near(name, MIXTURES)}; choose one of "
            f"{', '.join(MIXTURES)}"
        )
    pairs = [(find(member).name, weight) for member, weight in MIXTURES[name]]
    members = [member for member, _ in pairs]
    twice = sorted({member for member in members if members.count(member) > 1})
    if twice:
        raise DataError(
            f"mixture {name} names {', '.join(twice)} more than once; name every set once, with "
            "the weight it is to have"
        )
    for member, weight in pairs:
        if not 0 < weight < math.inf:
            raise DataError(
                f"mixture {name} gives {member} the weight {weight}; give a number above 0, or "
                "leave the set out"
            )
    return pairs


def place(name, root):
    """Folder of the set below `root`, a local path or gs://...: root/folder/version."""
    found = find(name)
    if found.version is None:
        raise DataError(
            f"{name}: no public folder of it is known; give the path of your copy in "
            "config.data.sources"
        )
    return f"{root.rstrip('/')}/{found.folder}/{found.version}"


def folder(text, root):
    """Where a source lies: a registered name's place below `root`, a folder as it is."""
    named = "/" not in text and not Path(text).exists() and get(text)
    return place(text, root) if named else text


def scene_of(dataset, value):
    """The scene that `value` (text or number under the scene key) names; "" without a scene key.

    Where the set's pattern does not match, it is the folder of the value, or the value itself, so
    that every episode has a group.
    """
    if dataset.scene is None:
        return ""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return keys.scene_of(text, dataset.scene[1])


def table():
    """The lines of the list of all sets, at most 80 characters each."""
    lines = [FORMAT.format(*HEAD)]
    for dataset in sorted(SETS.values(), key=lambda dataset: dataset.name):
        name = dataset.name.replace(LONG, SHORT)
        if len(name) > 33:  # on a line of its own
            lines.append(name)
            name = ""
        lines.append(FORMAT.format(name, *_columns(dataset)).rstrip())
    return [*lines, "", *LEGEND.splitlines()]


def about(name):
    """The lines that say everything about one set."""
    dataset, lines = find(name), []
    for field in dataclasses.fields(dataset):
        value = _text(getattr(dataset, field.name))
        lines += textwrap.wrap(
            f"{field.name.replace('_', ' '):15} {value}",
            WIDTH,
            subsequent_indent=" " * 16,
            break_on_hyphens=False,
        )
    return lines


def mixtures():
    """The lines of all mixtures with their weights."""
    lines = ["A weight multiplies the number of steps of its set."]
    for name in MIXTURES:
        lines += ["", *textwrap.wrap(f"{name} ({SOURCES[name]})", WIDTH, subsequent_indent="  ")]
        lines += [f"  {weight:<14.11g} {member}" for member, weight in mixture(name)]
    return lines


def main(argv=None):
    """Prints what the flags ask for; a mistake ends the program with one line."""
    parser = argparse.ArgumentParser(
        "python -m input_pipeline.oxe", description="Known sets of Open X-Embodiment."
    )
    parser.add_argument("--list", nargs="?", const="", metavar="NAME", help="all sets, or one")
    parser.add_argument("--name", default="", help="the same as --list NAME")
    parser.add_argument("--mixtures", action="store_true", help="published mixtures")
    flags = parser.parse_args(argv)
    name = flags.name or flags.list
    try:
        if flags.mixtures and (name or flags.list is not None):
            raise DataError("--mixtures and --list cannot both be given; give one of them")
        lines = mixtures() if flags.mixtures else about(name) if name else table()
    except DataError as error:
        sys.exit(f"error: {error}")
    print("\n".join(lines))


def _near(name, names):
    near = [other for other in names if name and other.startswith(name)]
    near += difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _columns(dataset):
    """What stands behind the name of a set in the table: version ... faults."""
    faults = "".join(
        letter
        for letter, has in (
            ("K", dataset.swap),
            ("1", dataset.skip_first),
            ("F", dataset.success),
            ("!", dataset.broken),
        )
        if has
    )
    return (
        dataset.version or "-",
        dataset.robot[:14],
        "-" if dataset.hz is None else f"{dataset.hz:g}",
        "{}x{}".format(*dataset.size) if dataset.size else "-",
        len(dataset.images),
        "-" if dataset.action_dim is None else dataset.action_dim,
        "+" if dataset.scene else "",
        faults,
    )


def _text(value):
    """A value of a Set as a person reads it."""
    if isinstance(value, dict):
        return ", ".join(f"{role}: {key}" for role, key in value.items())
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value if part is not None) or "-"
    if isinstance(value, float):
        return f"{value:g}"
    return "-" if value in (None, "") else str(value)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it quietly
    main()
