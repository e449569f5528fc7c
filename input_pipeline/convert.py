"""Converts data sets: python -m input_pipeline.convert SRC DST [--to=frames|tfds] [options]

--to=frames (what is meant without it): an RLDS set, a folder or a registered name, becomes a folder
of ArrayRecord files with one record a frame, for quick random access. --to=tfds: a folder of
videos, or of folders of frames, becomes an RLDS set that every TFDS user can read.

An interrupted conversion goes on where it stopped when the same command is given again.
"""

import argparse
import logging
import os
import sys

from input_pipeline import shards
from input_pipeline.errors import DataError


def main(argv=None):
    """Runs the command; returns the exit status."""
    options = vars(_parser(argv).parse_args(argv))
    src, dst, to = (options.pop(name) for name in ("src", "dst", "to"))
    try:
        if options.pop("verify"):
            return _verify(dst)
        if to == "tfds":
            from input_pipeline import videos as converter
        else:
            from input_pipeline import frames as converter
        made = converter.convert(src, dst, options)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    print(_table(dst, made) if made else f"{dst}: finished before, by the same options")
    return 0


def _parser(argv):
    """The parser with the options of the kind of conversion that `argv` asks for."""
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--to", choices=("frames", "tfds"), default="frames")
    to = first.parse_known_args(argv)[0].to
    parser = argparse.ArgumentParser(
        "python -m input_pipeline.convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"These are the options of --to={to}.",
        parents=[first],
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("src", help="what is converted")
    add("dst", help="folder to be made")
    add("--image_size", type=int, default=0, help=SIZES[to])
    add("--quality", type=int, default=95, help="of JPEGs that are encoded (95)")
    add("--on_corrupt", choices=("error", "skip"), default="error", help="unreadable episodes")
    add("--shard_mb", type=float, default=256.0, help="size of a file, about (256)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes (one for each core)")
    add("--runner", default="", help="Apache Beam runner instead of processes, e.g. DirectRunner")
    add("--beam_options", default="", help="options for the runner, in one string")
    add("--verify", action="store_true", help="only check the checksums of DST")
    (_add_tfds if to == "tfds" else _add_frames)(add)
    return parser


SIZES = {
    "frames": "re-encode to so many pixels, square (0: bytes are copied as they are)",
    "tfds": "shrink to so many pixels on the shorter side, never enlarge (0: as it is)",
}


def _add_frames(add):
    add("--split", default="", help='as TFDS writes it, e.g. "train[:90%%]" (train)')
    add("--root", default="gs://gresearch/robotics", help="where registered sets are")
    for key in ("image", "action", "state", "language", "scene"):
        add(f"--{key}_key", default="", help=f"key of the {key}, as config.data.{key}_key")


def _add_tfds(add):
    add("--hz", type=float, default=0.0, help="true rate of the frames (that of the container)")
    add("--every", type=int, default=1, help="keep each n-th frame (1)")
    add("--max_steps", type=int, default=0, help="cut longer videos into such episodes (0: never)")
    add("--name", default="", help="of the set (DST's in NAME/1.0.0, else the source's)")
    add("--captions", default="", help="json {file name: instruction} (lang_annotations.json)")
    add("--scene_from", default="", help="parent (folder's name), or a regex for the path")
    add(
        "--file_format", choices=("tfrecord", "array_record"), default="tfrecord", help="(tfrecord)"
    )


def _verify(dst):
    damaged = list(shards.verify(dst))
    for line in damaged:
        print(line)
    if damaged:
        print(f"error: {dst}: {len(damaged)} files are damaged; convert again", file=sys.stderr)
        return 1
    print(f"{dst}: all files are as they were written")
    return 0


def _table(dst, made):
    """What was made, a line each."""
    sizes = [f"{height}x{width}" for height, width in made["sizes"]]
    rows = {
        "episodes": f"{made['episodes']}, {made['with_text']} of them with an instruction",
        "left out": f"{made['lost']} unreadable, {made['dropped']} not successful",
        "frames": f"{made['frames']}, {made['frames'] / made['episodes']:.1f} an episode",
        "pixels": f"{', '.join(sizes[:4])} ({len(sizes)} sizes)" if sizes[1:] else "".join(sizes),
        "time": f"{_duration(made['seconds'])}, of episodes whose frequency is known",
        "on disk": f"{made['bytes'] / 1e6:.1f} MB, {made['bytes'] / made['frames']:.0f} B a frame",
    }
    lines = [f"  {name:<9} {value or 'not the same everywhere'}" for name, value in rows.items()]
    return "\n".join([f"{dst}: finished", *lines, *(f"  left out: {why}" for why in made["why"])])


def _duration(seconds):
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 3600:.1f} hours"


if __name__ == "__main__":
    from input_pipeline.convert import main as importable  # so that its workers can import it

    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("input_pipeline").setLevel(logging.INFO)
    sys.exit(importable())
