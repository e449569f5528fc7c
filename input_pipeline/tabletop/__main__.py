"""python -m input_pipeline.tabletop DATA_DIR [--scenes N ...]: writes the set, prints its path."""

import argparse
import sys

from input_pipeline import tabletop
from input_pipeline.errors import DataError


def main(argv=None):
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser("python -m input_pipeline.tabletop", description=__doc__)
    parser.add_argument("data_dir", help="folder that gets tabletop/NAME/1.0.0")
    parser.add_argument("--scenes", type=int, default=800, help="scenes per domain (800)")
    parser.add_argument("--episodes_per_scene", type=int, default=1, help="(1)")
    parser.add_argument("--steps", type=int, default=16, help="steps per episode (16)")
    parser.add_argument("--image_size", type=int, default=64, help="pixels (64)")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    parser.add_argument("--camera_jitter", type=float, default=0.0, help="pixels at 64 x 64 (0)")
    parser.add_argument("--file_format", default="array_record", help="array_record or tfrecord")
    arguments = vars(parser.parse_args(argv))
    try:
        print(tabletop.write(arguments.pop("data_dir"), **arguments))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
