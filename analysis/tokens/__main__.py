"""Do action tokens mean the same motion everywhere?

python -m analysis.tokens --workdir=RUN --out=DIR [--config=configs/tokens.py:full]
    [--config.data.sources=PLACE ...] [--split=val] [--flow=shipped] [--only=NAME,...] [--list]

DIR gets what was collected, records.parquet and frames.npz, and a folder for each analysis. The
data are those of the run unless `--config.data.` says otherwise. What is there is not collected
again; without --workdir only the analyses are made, of what is there.

python -m analysis.tokens --compare=DIR1,DIR2 --out=DIR

puts the headline numbers of several such folders in one table, beside controls.
"""

import dataclasses
import importlib.util
import pathlib
import sys

from absl import flags
from ml_collections import ConfigDict, config_flags

from analysis.tokens import compare, inspected, records, report, result
from analysis.tokens.analyses import ANALYSES, folder_of, question
from analysis.tokens.collect import collect
from analysis.tokens.options import Options
from lam import cli, command, progress, workdir
from lam.errors import UserError
from lam.registry import suggest

CONFIG = "configs/tokens.py:full"


def define():
    """The flags, but for the config, as a FlagValues of their own."""
    known = flags.FlagValues()
    for name, default, text in (
        ("workdir", "", "The run whose tokens are analysed."),
        ("out", "", "Folder for what is collected and found."),
        ("flow", "shipped", "Flow by these weights: shipped, a file; exact for tabletop."),
        ("compare", "", "Folders of analyses to put in one table with controls, DIR,...."),
        ("only", "", "Analyses to make, NAME,...; all if empty."),
    ):
        flags.DEFINE_string(name, default, text, flag_values=known)
    splits = ("val", "test", "train", "all")
    flags.DEFINE_enum("split", "val", splits, "Which episodes.", flag_values=known)
    flags.DEFINE_bool("list", False, "Say which analyses there are, and stop.", flag_values=known)
    return known


def parse(argv):
    """(flags, ConfigDict with the data of the run) of a command line; UserError."""
    known, rest, values = define(), [], {"config": CONFIG, "workdir": ""}
    for before, argument in zip(["", *argv], argv, strict=False):
        name, equals, value = argument.lstrip("-").partition("=")
        named = before.lstrip("-") if before.startswith("-") and "=" not in before else ""
        if argument.startswith("-") and name in values and equals:
            values[name] = value
        elif named in values:
            values[named] = argument
        if "config" not in (name * argument.startswith("-"), named):
            rest.append(argument)
    config = of_file(values["config"])
    if values["workdir"]:
        config.data = ConfigDict(workdir.read_config(values["workdir"])["data"])
    config_flags.DEFINE_config_dict("config", config, flag_values=known, sys_argv=rest)
    cli.parse(rest, known)
    return known, known["config"].value


def of_file(name):
    """The ConfigDict of FILE.py[:VARIANT]; UserError."""
    path, _, variant = cli.find_config(name).partition(":")
    spec = importlib.util.spec_from_file_location("config_of_tokens", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return module.get_config(*[variant] if variant else [])
    except Exception as error:  # a config file is a program: it may raise anything
        raise UserError(f"--config={name}: {cli.one_line(error)}") from None


def chosen(only):
    """The names of the analyses to be made, in order; UserError for one that there is not."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        if name not in ANALYSES:
            raise UserError(f"No analysis '{name}'.{suggest(name, ANALYSES)}")
    return [name for name in ANALYSES if name in names or not names]


def options_of(config, sequences=()):
    own = {field.name for field in dataclasses.fields(Options)} & set(config) - {"inspected"}
    return Options(inspected=sequences, **{key: config[key] for key in own})


def analyse(folder, names, config):
    """Makes some analyses of what was collected in a folder, and the report of all in it."""
    found = records.read(folder)
    options = options_of(config, inspected.read(folder))
    for name in names:
        with progress.working(name):
            made = ANALYSES[name](found, options)
            result.write(made, folder / folder_of(name))
        progress.show(f"{name}: {made.reading}", end=True)
    report.write(folder, found)


def main(argv):
    """Collects unless that was done, and analyses."""
    known, config = parse(argv)
    if known["list"].value:
        print("\n".join(f"{name:16}{question(name)}" for name in ANALYSES))
        return
    names = chosen(known["only"].value)
    run, out = known["workdir"].value, known["out"].value
    if not out:
        raise UserError("--out=DIR is needed: the folder for what is collected and found")
    folder = pathlib.Path(out).expanduser()
    if known["compare"].value:
        folders = [name for name in known["compare"].value.split(",") if name]
        with progress.working("compare"):
            compare.write(folders, folder, options_of(config), chosen(",".join(compare.NUMBERS)))
        print(f"{len(folders)} analyses compared: {folder / 'compare.html'}")
        return
    if run:
        run_config = ConfigDict(workdir.read_config(run))
        run_config.data = config.data
        print(collect(run, folder, config, run_config, known["split"].value, known["flow"].value))
    analyse(folder, names, config)
    print(f"{len(names)} analyses: {folder / 'report.html'}")


if __name__ == "__main__":
    cli.quiet()
    command.run(lambda: main(sys.argv))
