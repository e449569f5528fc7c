"""Finds a module by name, and says which names there are."""

import difflib
import importlib
import pkgutil

from lam.errors import UserError


def suggest(name, known):
    """Text for an error: the closest known name and the whole list."""
    close = difflib.get_close_matches(str(name), known, 1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{hint} There are: {', '.join(sorted(known))}."


def load(package, name):
    """The module `package.name`; UserError with the known names if there is none."""
    known = [m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    if name not in known:
        raise UserError(f"No {package}.{name}.{suggest(name, known)}")
    return importlib.import_module(f"{package}.{name}")
