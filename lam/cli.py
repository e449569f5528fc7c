"""Between the command line and the programs: config files, and mistakes told in one line."""

import importlib.util
import logging
import pathlib
import sys

import absl.logging
from absl import flags

from input_pipeline.errors import DataError
from lam.errors import UserError

CONFIG = ("--config", "-config")


def find_config(value):
    """`configs/x.py:variant` of the installed package where there is no such file."""
    path, colon, variant = value.partition(":")
    if path.startswith("configs/") and not pathlib.Path(path).exists():
        package = importlib.util.find_spec("configs")
        installed = pathlib.Path(package.origin).parent / path.removeprefix("configs/")
        if installed.exists():
            path = str(installed)
    return f"{path}{colon}{variant}"


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


def parse(argv):
    """Parses the flags; UserError, in one line, for anything wrong with them."""
    try:
        rest = flags.FLAGS(find_configs(argv))
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"wrong flags: {text}") from None
    if len(rest) > 1:
        raise UserError(f"not understood: {' '.join(rest[1:])}; options begin with --config.")


def show_unraisable(event):
    """As usual, but for what orbax's writers report in plenty once a failed save has ended."""
    if str(event.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(event)


def run(main, argv=None):
    """Calls `main()` after parsing; exit status 1 and one line for a user's mistake."""
    absl.logging.set_verbosity(absl.logging.FATAL)  # orbax logs its exceptions, then raises them
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    for ours in ("lam", "input_pipeline"):
        logging.getLogger(ours).setLevel(logging.INFO)
    sys.unraisablehook = show_unraisable
    try:
        parse(sys.argv if argv is None else argv)
        main()
    except (UserError, DataError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.strerror or error} ({error.filename or 'no file'})")
