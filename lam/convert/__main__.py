"""Converts weights between files and names.

python -m lam.convert raft SOURCE TARGET [--names=lam|torchvision|princeton] [--dtype=float16]
python -m lam.convert vit SOURCE TARGET [--names=lam|huggingface] [--dtype=float16]
python -m lam.convert laq SOURCE TARGET [--image_size=256] [--dtype=float16]

Files end in .safetensors, .npz, .pth or .pt. raft: the names in SOURCE are recognised. laq: LAPA's
latent action quantizer to a .safetensors file, which `lam.load` reads, and such a file back to
LAPA's names in a .pt file, which LAPA reads. vit: DINOv2, DINOv3 and SigLIP; SOURCE is a folder of
config.json and model.safetensors as Hugging Face has it, the .safetensors file alone where its size
is a published one, or a file of ours.
"""

from lam import command
from lam.convert import laq, raft, vit

MODELS = {"raft": raft, "laq": laq, "vit": vit}


def main(argv=None):
    parser = command.Parser("python -m lam.convert", description=__doc__)
    models = parser.add_subparsers(dest="model", required=True)
    for name in MODELS:
        model = models.add_parser(name)
        model.add_argument("source")
        model.add_argument("target")
        model.add_argument("--dtype", choices=("float16", "float32"), default="", help="of TARGET")
    for name, families in {"raft": raft.FAMILIES, "vit": vit.FAMILIES}.items():
        options = models.choices[name]
        options.add_argument("--names", choices=families, default="lam", help="of TARGET")
    laq_options = models.choices["laq"]
    laq_options.add_argument("--image_size", type=int, default=256, help="of LAPA's training")
    given = vars(parser.parse_args(argv))
    print(MODELS[given.pop("model")].convert(**given))


if __name__ == "__main__":
    command.run(main)
