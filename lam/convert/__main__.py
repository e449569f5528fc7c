"""Converts weights between files and names.

python -m lam.convert raft SOURCE TARGET [--names=lam|torchvision|princeton] [--dtype=float16]

SOURCE and TARGET end in .safetensors, .npz or .pth; the names in SOURCE are recognised.
"""

from lam import command
from lam.convert import raft

MODELS = {"raft": raft}


def main(argv=None):
    parser = command.Parser("python -m lam.convert", description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--names", choices=raft.FAMILIES, default="lam", help="of TARGET")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="", help="of TARGET")
    given = vars(parser.parse_args(argv))
    print(MODELS[given.pop("model")].convert(**given))


if __name__ == "__main__":
    command.run(main)
