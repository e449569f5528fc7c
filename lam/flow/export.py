"""The weights of a run of configs/flow.py as a file that `lam.flow.load` reads.

python -m lam.flow.export RUN TARGET.safetensors [--step=N] [--dtype=float16]
"""

import json
import pathlib

from lam import checkpoint, command, workdir
from lam.errors import UserError
from lam.flow import weights

TOLD = ("seed", "total_steps", "batch_size")  # fields of the config that go into the file


def export(run, target, step=None, dtype="float16"):
    """Writes the weights of a step of a run (default the newest) with what made them; a text.

    Raises:
      UserError: no run of this task, no such step, or a target of another kind.
    """
    config = workdir.read_config(run)
    if config["task"] != "flow":
        raise UserError(f"{run} holds a '{config['task']}'; flow teachers are 'flow' workdirs")
    if pathlib.Path(target).suffix != ".safetensors":
        raise UserError(f"{target}: a file of weights must end in .safetensors")
    step, params = checkpoint.load_params(run, step)
    variables = {"params": params}
    if config["model"]["size"] == "large":
        variables |= checkpoint.load_item(run, step, "train")["extra"]["variables"]
    about = {name: json.dumps(config[name]) for name in TOLD}
    about |= {"step": str(step), "config": json.dumps(config["model"], sort_keys=True)}
    about["commit"] = str(json.loads((pathlib.Path(run) / "run.json").read_text())["git"])
    scores = pathlib.Path(run) / "evals" / "endpoint" / str(step) / "numbers.json"
    about["validation"] = scores.read_text() if scores.exists() else "{}"
    weights.save(target, variables, config["model"]["size"], dtype, about)
    size = pathlib.Path(target).stat().st_size
    return f"{target}: raft_{config['model']['size']} of step {step}, {dtype}, {size / 1e6:.1f} MB"


def main(argv=None):
    parser = command.Parser("python -m lam.flow.export", description=__doc__)
    parser.add_argument("run")
    parser.add_argument("target")
    parser.add_argument("--step", type=int, help="default: the newest")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    print(export(**vars(parser.parse_args(argv))))


if __name__ == "__main__":
    command.run(main)
