"""Between the command line and the programs: config files, and mistakes told in one line."""

import importlib.util
import logging
import os
import pathlib
import sys
import warnings

import absl.logging
from absl import flags

from lam import command
from lam.errors import UserError

CONFIG = ("--config", "-config")


def find_config(value):
    """`configs/x.py:variant` of the installed package where there is no such file here."""
    path, colon, variant = value.partition(":")
    if pathlib.Path(path).is_file():
        return value
    package = pathlib.Path(importlib.util.find_spec("configs").origin).parent
    installed = package / path.removeprefix("configs/")
    if not path.startswith("configs/") or not installed.is_file():
        known = ", ".join(sorted(f"configs/{file.name}" for file in package.glob("[!_]*.py")))
        raise UserError(f"no config file {path}; give one of your own or one of: {known}")
    return f"{installed}{colon}{variant}"


def find_configs(argv):
    """The arguments, with the value of `--config=X` or `--config X` found."""
    found = []
    for before, argument in zip(["", *argv], argv, strict=False):
        name, equals, value = argument.partition("=")
        if name in CONFIG and equals:
            argument = f"{name}={find_config(value)}"
        elif before in CONFIG:
            argument = find_config(argument)
        found.append(argument)
    return found


def parse(argv, known=flags.FLAGS):
    """Parses the flags `known`; UserError, in one line, for anything wrong with them."""
    try:
        rest = known(find_configs(argv))
    except UserError:
        raise
    except Exception as error:  # a config file is a program: it may raise anything
        raise UserError(f"wrong flags: {one_line(error)}") from None
    if len(rest) > 1:
        raise UserError(f"not understood: {' '.join(rest[1:])}; options begin with --config.")


def one_line(error):
    """What an exception says, without the traceback that ml_collections puts into its text."""
    text = error.args[0] if isinstance(error, KeyError) else str(error)
    before, traceback, after = str(text).partition("Traceback (most recent call last):")
    if traceback:
        text = before + after.strip().splitlines()[-1]
    if text[:1] == text[-1:] == "'":  # ml_collections quotes its own text
        text = text[1:-1].replace("\\n", " ").replace("\\'", "'")
    return " ".join(text.split())


def show_unraisable(event):
    """As usual, but for what orbax's writers report in plenty once a failed save has ended."""
    if str(event.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(event)


def quiet():
    """Our own messages go to the screen, the chatter of libraries does not."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before jax, which asks for more
    absl.logging.set_verbosity(absl.logging.FATAL)  # orbax logs its exceptions, then raises them
    logging.basicConfig(format="%(message)s", level=logging.WARNING, force=True)
    for ours in ("lam", "input_pipeline"):
        logging.getLogger(ours).setLevel(logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # so do the loops that orbax runs
    sys.unraisablehook = show_unraisable
    # what a failed save of orbax leaves behind would stand below our own line
    warnings.filterwarnings("ignore", r"coroutine '.*' was never awaited", RuntimeWarning)


def run(main, argv=None):
    """Calls `main()` after parsing; exit status 1 and one line for a user's mistake."""
    quiet()

    def parsed():
        parse(sys.argv if argv is None else argv)
        main()

    command.run(parsed)
