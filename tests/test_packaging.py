"""The wheel holds the four packages, whole, and nothing else; the scripts carry no addresses."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lam

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"lam", "input_pipeline", "configs", "analysis"}


def tracked(pattern="."):
    """The files of the checkout that are not ignored, as paths from its root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.split("\n") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built without network from a copy, so that no build folder is left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    build = ["wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *build], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_wheel_holds_every_module_of_the_four_packages_and_nothing_else(wheel):
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in shipped} == PACKAGES
    wanted = {*tracked("*.py"), *tracked("*.safetensors"), *tracked("analysis/tokens/page/*")}
    assert shipped == {name for name in wanted if name.split("/")[0] in PACKAGES}


def test_wheel_metadata(wheel):
    name = next(name for name in wheel.namelist() if name.endswith("METADATA"))
    metadata = wheel.read(name).decode()
    assert f"Version: {lam.__version__}\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
    needed = re.findall(r"^Requires-Dist: ([\w-]+)(?!.*extra ==)", metadata, re.MULTILINE)
    assert {"jax", "flax", "tensorflow-cpu", "grain"} <= set(needed)
    assert not {"torch", "transformers"} & set(needed), "these belong in extras"


def test_every_package_folder_is_a_regular_package():
    folders = {(ROOT / name).parent for name in tracked("*.py") if name.split("/")[0] in PACKAGES}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def names_of(file):
    """The packages that a file of requirements names."""
    lines = [line for line in (ROOT / "launch" / file).read_text().splitlines() if line[:1] != "#"]
    return {re.match(r"[\w-]+", line)[0].lower() for line in lines if line}


def test_lock_pins_everything_that_is_asked_for():
    lock = (ROOT / "launch" / "requirements.txt").read_text()
    assert names_of("requirements.in") <= names_of("requirements.txt")
    for line in lock.splitlines():
        assert line.startswith("#") or re.match(r"[\w.-]+==[\w.]+( ; .+)?$", line), line


def test_setup_asks_for_what_the_checkout_uses():
    text = (ROOT / "setup.py").read_text()
    block = text[text.index("install_requires") : text.index("extras_require")]
    asked = set(re.findall(r"""^\s+["']([\w-]+)""", block, re.MULTILINE))
    tools = {"av", "pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "ruff", "setuptools"}
    assert asked == names_of("requirements.in") - tools


@pytest.mark.parametrize("file", tracked("launch/*"))
def test_no_index_addresses_and_no_private_paths(file):
    text = (ROOT / file).read_text()
    found = re.findall(
        r"https?://\S+|file:\S+|--(?:extra-)?index-url\b(?! )|/(?:opt|root|home)/\S*", text
    )
    assert found == []


@pytest.mark.parametrize("script", tracked("launch/*.sh"))
def test_shell_scripts_parse(script):
    done = subprocess.run(["bash", "-n", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


MODULE_OF = {"pillow": "PIL", "absl-py": "absl", "orbax-checkpoint": "orbax"}  # where they differ


def test_everything_imported_at_the_top_is_asked_for():
    asked = {MODULE_OF.get(name, name.replace("-", "_")) for name in names_of("requirements.in")}
    for name in tracked("*.py"):
        if name.split("/")[0] in PACKAGES:
            body = ast.parse((ROOT / name).read_text()).body
            nodes = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
            used = {getattr(node, "module", None) or node.names[0].name for node in nodes}
            used = {module.split(".")[0] for module in used} - PACKAGES
            assert used - set(sys.stdlib_module_names) <= asked, name
