"""Between the command line and the programs: config files, and mistakes told in one line."""

import importlib.util
import logging
import pathlib
import sys

import absl.logging
from absl import flags

from input_pipeline.errors import DataError
from lam.errors import UserError


def find_config(argument):
    """`--config=configs/x.py:variant` also where there is no such file: from the installed one."""
    name, equals, value = argument.partition("=")
    if name not in ("--config", "-config") or not equals:
        return argument
    path, colon, variant = value.partition(":")
    if path.startswith("configs/") and not pathlib.Path(path).exists():
        package = importlib.util.find_spec("configs")
        installed = pathlib.Path(package.origin).parent / path.removeprefix("configs/")
        if installed.exists():
            path = str(installed)
    return f"{name}={path}{colon}{variant}"


def parse(argv):
    """Parses the flags; UserError, in one line, for anything wrong with them."""
    try:
        rest = flags.FLAGS([find_config(argument) for argument in argv])
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"wrong flags: {text}") from None
    if len(rest) > 1:
        raise UserError(f"not understood: {' '.join(rest[1:])}; options begin with --config.")


def run(main, argv=None):
    """Calls `main()` after parsing; exit status 1 and one line for a user's mistake."""
    absl.logging.set_verbosity(absl.logging.WARNING)  # orbax and tfds tell much at INFO
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    for ours in ("lam", "input_pipeline"):
        logging.getLogger(ours).setLevel(logging.INFO)
    try:
        parse(sys.argv if argv is None else argv)
        main()
    except (UserError, DataError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.strerror or error} ({error.filename or 'no file'})")
