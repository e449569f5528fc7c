"""The folder of a run: `config.json`, `run.json`, metrics, checkpoints and evaluations."""

import json
import pathlib
import platform
import shutil
import subprocess
from importlib import metadata

import jax

from lam.errors import UserError
from lam.registry import suggest

DTYPES = ("auto", "float32", "bfloat16")
PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "numpy")
# fields that change how a run is watched or laid out, not what it computes
FREE = ("log_every", "eval_every", "checkpoint_every", "evals", "mesh", "stop_at", "peak_tflops")


def prepare(workdir, config):
    """Makes the folder, or checks that it belongs to this config."""
    if "://" in str(workdir):
        raise UserError(f"workdir {workdir} must be a folder of a mounted disk, not an address")
    try:
        pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"workdir {workdir} cannot be a folder ({error}): give another") from None
    if (pathlib.Path(workdir) / "config.json").exists():
        check_same(workdir, read_config(workdir), json.loads(config_text(config)))


def record(workdir, config, parameters):
    """Writes config, versions and the table of parameters, when nothing is left to go wrong."""
    if jax.process_index() == 0:
        path = pathlib.Path(workdir)
        write_whole(path / "config.json", config_text(config))
        write_whole(path / "run.json", json.dumps(describe(), indent=2))
        write_whole(path / "parameters.txt", parameters + "\n")


def config_text(config):
    return json.dumps(config.to_dict(), indent=2, sort_keys=True, default=list)


def read_config(workdir):
    """The resolved config of a run as plain dicts."""
    path = pathlib.Path(workdir) / "config.json"
    if not path.exists():
        raise UserError(f"{workdir} is no workdir of lam.main: it has no config.json")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): remove it or give another folder") from None


def compute_dtype(model):
    """The compute type of `config.model`, "auto" decided for the devices at hand."""
    dtype = model.get("dtype", "auto")
    if dtype not in DTYPES:
        raise UserError(f"No model.dtype '{dtype}'.{suggest(dtype, DTYPES)}")
    if dtype != "auto":
        return dtype
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def write_whole(path, text):
    """Writes a file that is either complete or absent; OSError names it."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def flat(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def check_same(workdir, old, new, option="--workdir"):
    """UserError naming the fields in which a folder's config differs from the one given; `option`
    is the one that names the folder."""
    old, new = ({k: v for k, v in flat(tree) if k.split(".")[0] not in FREE} for tree in (old, new))
    differ = [
        f"{k}: {old.get(k, 'absent')} there, {new.get(k, 'absent')} here"
        for k in sorted(old.keys() | new.keys())
        if old.get(k, "absent") != new.get(k, "absent")
    ]
    if differ:
        raise UserError(
            f"{workdir} belongs to another config ({'; '.join(differ)}): "
            f"give another {option} or the same values"
        )


def describe():
    """Versions, devices and the state of the source tree."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "packages": versions,
        "devices": [str(d.device_kind) for d in jax.devices()],
        "processes": jax.process_count(),
        "git": git_state(),
    }


def git_state():
    """Commit, and whether files differ from it; None outside a checkout."""
    root = pathlib.Path(__file__).parent
    commands = (["git", "rev-parse", "HEAD"], ["git", "status", "--porcelain", "-uno"])
    if shutil.which("git") is None:
        return None
    head, status = (subprocess.run(c, cwd=root, capture_output=True, text=True) for c in commands)
    if head.returncode:
        return None
    return {"commit": head.stdout.strip(), "changed": bool(status.stdout.strip())}


def check_disk(workdir, state):
    """UserError before step 0 if the checkpoints of `state` (shapes) cannot fit on the disk."""
    one = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state) if hasattr(x, "size"))
    need, free = 5 * one, shutil.disk_usage(workdir).free  # two last, two best, one being written
    if free < need:
        raise UserError(
            f"{workdir} has {free / 1e9:.2f} GB free, but five checkpoints need {need / 1e9:.2f} "
            "GB: free some space or give a --workdir on another disk"
        )
