"""Programs in a new interpreter, also one in which some packages seem not to be installed."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
HEAVY = ("tensorflow", "tensorflow_datasets", "grain", "clu", "ml_collections", "torch")
BLOCK = """
import sys
class Installed:  # asks the usual finders, but for some names there is nothing to find
    finders = list(sys.meta_path)
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            return None
        found = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in found if spec), None)
sys.meta_path[:] = [Installed()]
"""


def fresh(program, without=()):
    """Output of a program in a new interpreter, started in the checkout, `without` packages."""
    block = BLOCK.format(names=tuple(without)) if without else ""
    done = subprocess.run(
        [sys.executable, "-c", block + program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
