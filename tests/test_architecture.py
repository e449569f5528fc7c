"""The rules of the house, read from the syntax trees: who imports whom, and how long things are."""

import ast
import json
import statistics
import sys

import pytest
from interpreter import HEAVY, ROOT, fresh

PACKAGES = ("lam", "input_pipeline", "configs", "analysis")

ARRAYS = {"jax", "numpy", "einops"}
ANY_LIBRARY_OF_THE_LOOP = ARRAYS | {
    "flax", "optax", "orbax", "absl", "ml_collections", "clu", "etils", "matplotlib", "tensorboard",
    "safetensors",
}  # fmt: skip
# The first prefix that fits a module counts. Every module may also import its own package.
FLOORS = {
    "configs": {"ml_collections"},
    "input_pipeline": {
        "numpy", "tensorflow", "tensorflow_datasets", "grain", "array_record", "apache_beam",
        "etils", "simplejpeg", "cv2", "PIL", "av", "google_crc32c",
    },
    "lam.errors": set(),
    "lam.registry": {"lam.errors"},
    "lam.command": {"lam.errors", "input_pipeline.errors"},
    "lam.ops.stats": ARRAYS | {"scipy", "lam.ops"},
    "lam.ops.mlp": ARRAYS | {"optax"},
    "lam.ops": ARRAYS,
    "lam.plots": {"matplotlib", "numpy"},
    "lam.token_plots": {"matplotlib", "numpy", "lam.plots"},
    "lam.motion_plots": {"matplotlib", "numpy", "lam.plots"},
    "lam.trial_plots": {"matplotlib", "numpy", "lam.plots"},
    "lam.models": ARRAYS | {"flax", "safetensors", "lam.ops", "lam.errors"},
    "lam.flow.__main__": ANY_LIBRARY_OF_THE_LOOP | {"lam", "input_pipeline"},
    "lam.flow.program": ANY_LIBRARY_OF_THE_LOOP | {"lam", "input_pipeline"},
    "lam.flow.source": {"numpy", "lam", "input_pipeline"},
    "lam.flow.pairs": {"numpy", "lam", "input_pipeline"},
    "lam.flow.columns": {"numpy", "pyarrow"},
    "lam.flow.export": ANY_LIBRARY_OF_THE_LOOP | {"lam"},
    "lam.flow": ARRAYS | {"safetensors", "cv2", "lam.models", "lam.ops", "lam.errors"},
    "lam.tower": ARRAYS | {"lam.models", "lam.ops", "lam.errors"},
    "lam.tasks": ARRAYS | {
        "flax", "optax", "lam.flow", "lam.tower", "lam.models", "lam.ops", "lam.errors",
        "lam.registry",
    },
    "lam.convert": {
        "numpy", "jax", "safetensors", "torch", "lam.models", "lam.tower", "lam.errors",
        "lam.command",
    },
    "lam.evaluators": {
        "numpy", "matplotlib", "lam.ops", "lam.flow", "lam.plots", "lam.token_plots", "lam.errors",
    },
    "lam.label": ANY_LIBRARY_OF_THE_LOOP | {"lam", "input_pipeline", "pyarrow"},
    "lam.labelling": ANY_LIBRARY_OF_THE_LOOP | {"lam", "input_pipeline", "pyarrow"},
    "lam": ANY_LIBRARY_OF_THE_LOOP | {"input_pipeline"},
    "analysis": ANY_LIBRARY_OF_THE_LOOP | {
        "lam", "input_pipeline", "sklearn", "umap", "pyarrow", "PIL", "array_record",
        "transformers",
    },
}  # fmt: skip
FORBIDDEN = {"lam": {"lam.convert"}}  # although of the same package
TENSORFLOW_FILES = {"input_pipeline.stream", "input_pipeline.tabletop.builder"}
LONG_FUNCTIONS = {("lam.train", "train_and_evaluate"): 100}
LIGHT = (
    "lam.ops",
    "lam.models",
    "lam.flow",
    "lam.tower",
    "lam.tasks",
    "lam.convert",
    "lam.api",
    "lam.load",
    "lam.errors",
)


def module_of(path):
    """input_pipeline/batch.py -> input_pipeline.batch, lam/ops/__init__.py -> lam.ops"""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(module, package):
    return module == package or module.startswith(package + ".")


FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MODULES = {module_of(path): path for path in FILES}
ALL_FILES = sorted({*FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")})


def imports(module, source):
    """What the source imports, at the top or inside functions, as dotted names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: write imports in full, not with dots"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def complaints(module, source):
    """The imports of `source` that the table does not allow to `module`."""
    floor = next(name for name in FLOORS if within(module, name))
    own = module if floor in ("lam.errors", "lam.registry", "lam.plots") else floor
    for name in imports(module, source):
        top = name.split(".")[0]
        allowed = any(within(name, one) for one in {*FLOORS[floor], own})
        forbidden = any(within(name, one) for one in FORBIDDEN.get(floor, ()))
        hidden = top == "tensorflow" and module not in TENSORFLOW_FILES
        if top not in sys.stdlib_module_names and (not allowed or forbidden or hidden):
            yield name


@pytest.mark.parametrize("module", MODULES)
def test_imports_keep_to_the_floors(module):
    assert list(complaints(module, MODULES[module].read_text())) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lam.ops.codes", "import flax"),
        ("lam.models.laq", "def f():\n    from lam.tasks import laq"),
        ("lam.evaluators.codes", "import input_pipeline"),
        ("lam.train", "import analysis"),
        ("lam.train", "import torch"),
        ("input_pipeline.batch", "from lam import errors"),
        ("input_pipeline.loader", "import jax"),
        ("input_pipeline.loader", "import tensorflow as tf"),
        ("configs.laq", "import lam"),
        ("lam.plots", "from lam import train"),
    ],
)
def test_the_table_catches(module, source):
    assert list(complaints(module, source))


def functions(path):
    """(name, number of lines) of every function of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.end_lineno - node.lineno + 1


def lines(path):
    return len(path.read_text().splitlines())


def test_no_file_is_long():
    assert {str(path): lines(path) for path in ALL_FILES if lines(path) > 400} == {}
    assert statistics.median(lines(path) for path in FILES if lines(path) > 5) <= 150
    assert lines(ROOT / "lam" / "main.py") < 60


def test_no_function_is_long():
    found = {
        f"{module_of(path)}.{name}": size
        for path in ALL_FILES
        for name, size in functions(path)
        if size > LONG_FUNCTIONS.get((module_of(path), name), 80)
    }
    assert found == {}


def test_every_module_says_what_it_is_for():
    bare = [
        str(path)
        for path in ALL_FILES
        if lines(path) and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert bare == []


def test_the_four_packages_are_those_of_this_checkout():
    """A foreign `configs` or `analysis` folder on the path would be picked up silently."""
    program = (
        "import importlib, pathlib; print({pathlib.Path(importlib.import_module(name).__file__)"
        f".resolve().parents[1].as_posix() for name in {PACKAGES}}})"
    )
    assert fresh(program).strip() == str({ROOT.as_posix()})


IMPORT = """
import importlib, json, sys
for name in {modules}:
    importlib.import_module(name)
print(json.dumps(sorted(set(sys.modules) & set({watched}))))
"""


@pytest.mark.parametrize("without", [(), HEAVY], ids=["installed", "missing"])
def test_models_import_without_the_input_libraries(without):
    modules = [name for name in MODULES if any(within(name, light) for light in LIGHT)]
    assert {"lam.ops.codes", "lam.models"} <= set(modules)
    program = IMPORT.format(modules=modules, watched=HEAVY)
    assert json.loads(fresh(program, without)) == []


def test_the_input_pipeline_imports_without_tensorflow_and_jax():
    lazy = {*TENSORFLOW_FILES, "input_pipeline.tabletop.__main__"}
    modules = [name for name in MODULES if within(name, "input_pipeline") and name not in lazy]
    program = IMPORT.format(modules=modules, watched=("tensorflow", "jax", "lam"))
    assert json.loads(fresh(program)) == []
