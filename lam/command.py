"""What the small programs share: a parser, and mistakes told in one line."""

import argparse
import sys

from input_pipeline.errors import DataError
from lam.errors import UserError


class Parser(argparse.ArgumentParser):
    """Keeps the layout of its description and tells a wrong option in one line."""

    def __init__(self, *args, **options):
        shape = argparse.RawDescriptionHelpFormatter
        super().__init__(*args, formatter_class=shape, allow_abbrev=False, **options)

    def error(self, message):
        raise UserError(f"{message}; see {self.prog} --help")


def run(main):
    """Calls `main()`; exit status 1 and one line for a user's mistake."""
    try:
        main()
    except (UserError, DataError) as error:
        fail(error)
    except OSError as error:
        fail(f"{error.strerror or error} ({error.filename or 'no file'})")
    except KeyboardInterrupt:
        fail("interrupted")


def fail(message):
    """Ends the program with status 1 and one line, over the progress line if there is one."""
    clear = "\r\x1b[2K" if sys.stderr.isatty() else ""
    sys.exit(f"{clear}error: {message}")
