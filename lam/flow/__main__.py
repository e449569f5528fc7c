"""Optical flow of videos, pictures and data sets, in numbers and pictures.

SOURCE is a video, a folder of videos or of pictures, or a data set as
config.data.sources takes it: a TFDS version folder, a converted set, tabletop,
a registered name. DIR gets
  summary.parquet  a row a pair: what moves where to (lam.ops.motion.summary);
                   its metadata tell the meaning of columns and the weights
  pictures.png     some pairs: both frames, flow in colours and as arrows
  flow/ROW.flo     with --save=flo, the flow of every row
"""

import logging

from input_pipeline.errors import DataError
from lam import command
from lam.errors import UserError
from lam.flow import program, source

NAMES = {  # what errors of the input pipeline say, and what it is called here
    "config.data.sources=": "",
    "config.data.sources": "SOURCE",
    "config.data.image_size": "--size",
    " with config.data.frames=2": "",
    "config.data.": "--",
}


def parser():
    usage = "%(prog)s SOURCE --out=DIR [options]"
    made = command.Parser("python -m lam.flow", usage=usage, description=__doc__)
    add, number = made.add_argument, {"type": int, "metavar": "N"}
    add("source", metavar="SOURCE")
    add("--out", metavar="DIR", required=True, help="folder for the results")
    add("--gap", **number, default=0, help="steps between frames (videos 1, data sets 0.6 s)")
    add("--gap_seconds", type=float, metavar="S", help="the same, by the rate of the source")
    add("--hz", metavar="HZ", default="", help="rate, where the source tells none or a wrong one")
    add("--size", **number, help=f"pixels a side, of data sets only ({source.SIZE})")
    add("--weights", metavar="W", default="shipped", help="shipped, raft_small, raft_large, a file")
    add("--updates", **number, default=12, help="of the flow (12)")
    add("--limit", **number, default=0, help="pairs, spread evenly over all (0: all)")
    add("--pictures", **number, default=12, help="pairs to draw, spread evenly (12)")
    add("--save", choices=("", "flo"), default="", help="flo: also a file of each flow")
    add("--on_corrupt", choices=("error", "skip"), default="error", help="unreadable episodes")
    add("--root", metavar="DIR", default=source.Wanted.root, help="where registered sets are")
    return made


def main(argv=None):
    """Runs the command. UserError, or OSError, for what a person can mend."""
    given = vars(parser().parse_args(argv))
    try:
        print(program.run(given.pop("source"), **given))
    except DataError as error:
        text = str(error)
        for theirs, ours in NAMES.items():
            text = text.replace(theirs, ours)
        raise UserError(text) from error


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("input_pipeline").setLevel(logging.INFO)
    command.run(main)
