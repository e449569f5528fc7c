"""Converts weights between files and names.

python -m lam.convert raft SOURCE TARGET [--names=lam|torchvision|princeton] [--dtype=float16]

SOURCE and TARGET end in .safetensors, .npz or .pth; the names in SOURCE are recognised.
"""

import argparse
import sys

from lam.convert import raft
from lam.errors import UserError

MODELS = {"raft": raft}


class Parser(argparse.ArgumentParser):
    """Tells a wrong option in one line."""

    def error(self, message):
        raise UserError(f"{message}; see python -m lam.convert --help")


def main(argv=None):
    shape = argparse.RawDescriptionHelpFormatter
    parser = Parser("python -m lam.convert", description=__doc__, formatter_class=shape)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--names", choices=raft.FAMILIES, default="lam", help="of TARGET")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="", help="of TARGET")
    try:
        given = vars(parser.parse_args(argv))
        print(MODELS[given.pop("model")].convert(**given))
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.strerror} ({error.filename})")


if __name__ == "__main__":
    main()
