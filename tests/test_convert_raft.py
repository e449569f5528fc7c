"""lam.convert raft: names of three families, files of three kinds, strict, and back unchanged."""

import json
import os

import jax
import numpy as np
import pytest
from raft_fixtures import random_weights

from lam import command, flow
from lam.convert import __main__ as program
from lam.convert import files
from lam.convert import raft as convert
from lam.errors import UserError
from lam.models import weights

SIZES = ("small", "large")
FOREIGN = ("torchvision", "princeton")


def equal(one, other):
    assert one.keys() == other.keys()
    for name, x in one.items():
        np.testing.assert_array_equal(other[name], x, strict=True)


@pytest.mark.parametrize("family", convert.FAMILIES)
@pytest.mark.parametrize("size", SIZES)
def test_there_and_back_is_identical(size, family):
    tree = random_weights(size)
    arrays = convert.from_tree(tree, family, size)
    found_family, found_size, found = convert.to_tree(arrays)
    assert (found_family, found_size) == (family, size)
    equal(weights.flatten(tree), weights.flatten(found))
    equal(arrays, convert.from_tree(found, family, size))


@pytest.mark.parametrize(("size", "entries"), [("small", (106, 106)), ("large", (169, 179))])
def test_names_are_those_of_the_originals(real_data, size, entries):
    """By the supplied map from torchvision to princeton-vl; the large size repeats ten arrays."""
    table = json.loads((real_data / "flow" / f"torchvision_to_princeton_{size}.json").read_text())
    tree = random_weights(size)
    torchvision, princeton = (convert.from_tree(tree, name, size) for name in FOREIGN)
    assert (len(torchvision), len(princeton)) == entries
    assert torchvision.keys() == table.keys()
    for name, other in table.items():
        np.testing.assert_array_equal(torchvision[name], princeton[other])


def test_prefix_and_repeated_names_are_taken_away():
    tree = random_weights("large")
    arrays = convert.from_tree(tree, "princeton", "large")
    wrapped = {f"module.{name}": x for name, x in arrays.items()}
    equal(weights.flatten(tree), weights.flatten(convert.to_tree(wrapped)[2]))
    name = next(name for name in wrapped if ".norm3." in name and name.endswith("weight"))
    wrapped[name] = wrapped[name] + 1
    with pytest.raises(UserError, match=r"must be equal to .*downsample"):
        convert.to_tree(wrapped)


@pytest.mark.parametrize("kind", ["safetensors", "npz", "pth"])
def test_files_of_all_kinds(tmp_path, kind, capsys):
    """princeton's names from a file of each kind to ours and back: the same arrays."""
    if kind == "pth" and not os.environ.get("LAM_ORACLES"):
        pytest.skip("needs torch: bash launch/test.sh --oracles")
    arrays = convert.from_tree(random_weights("small"), "princeton", "small")
    source, ours, back = (tmp_path / name for name in (f"a.{kind}", "b.safetensors", f"c.{kind}"))
    files.write(source, {f"module.{name}": x for name, x in arrays.items()})
    program.main(["raft", str(source), str(ours)])
    program.main(["raft", str(ours), str(back), "--names=princeton"])
    equal(arrays, files.read(back))
    said = capsys.readouterr().out
    assert "raft_small, 106 arrays with names of princeton" in said
    assert "no published file that we know (SHA-256 " in said
    assert flow.load(ours).about["source"] == f"a.{kind}"


def test_half_precision_halves_the_file(tmp_path):
    source, target = tmp_path / "a.npz", tmp_path / "b.safetensors"
    tree = random_weights("large")
    files.write(source, convert.from_tree(tree, "torchvision", "large"))
    convert.convert(source, target, dtype="float16")
    assert target.stat().st_size < 0.51 * source.stat().st_size
    variables = jax.device_get(flow.load(target).variables)
    for name, x in weights.flatten(tree).items():
        found = weights.flatten(variables)[name]
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, x.astype(np.float16).astype(x.dtype))


def test_published_files_are_known_by_their_hash(tmp_path, monkeypatch):
    path = tmp_path / "raft_small_C_T_V2-01064c6d.npz"
    files.write(path, convert.from_tree(random_weights("small"), "torchvision", "small"))
    digest = files.sha256(path)
    monkeypatch.setitem(convert.PUBLISHED, digest[:8], "a file of this test")
    assert convert.identify(path) == "a file of this test"
    assert "a file of this test" in convert.convert(path, tmp_path / "b.safetensors")
    renamed = path.with_suffix(".pth")
    path.rename(renamed)
    with pytest.raises(UserError, match=r"not with 01064c6d as its name says.*get it again"):
        convert.identify(renamed)


def without(arrays, name):
    return {key: x for key, x in arrays.items() if key != name}


def spoiled(case):
    """Arrays of torchvision's small size with something wrong, and what must be said of it."""
    arrays = convert.from_tree(random_weights("small"), "torchvision", "small")
    name = "context_encoder.conv.weight"
    return {
        "missing": (without(arrays, name), f"1 missing: {name}"),
        "unexpected": (arrays | {"head.weight": np.zeros(3)}, "1 unexpected: head.weight"),
        "shape": (arrays | {name: arrays[name][1:]}, rf"{name} \[159, 96, 1, 1\] for \[160, 96"),
        "foreign": ({"conv.weight": np.zeros(3)}, "of 10[0-9] names .* and 10[0-9] more"),
    }[case]


@pytest.mark.parametrize("case", ["missing", "unexpected", "shape", "foreign"])
def test_arrays_that_do_not_fit_are_listed(tmp_path, case):
    arrays, message = spoiled(case)
    files.write(tmp_path / "a.npz", arrays)
    with pytest.raises(UserError, match=message) as caught:
        convert.convert(tmp_path / "a.npz", tmp_path / "b.safetensors")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize("kind", ["safetensors", "npz", "pth"])
@pytest.mark.parametrize("damage", ["cut", "text", "absent"])
def test_broken_files(tmp_path, kind, damage):
    if kind == "pth" and not os.environ.get("LAM_ORACLES"):
        pytest.skip("needs torch: bash launch/test.sh --oracles")
    path = tmp_path / f"a.{kind}"
    if damage != "absent":
        files.write(path, convert.from_tree(random_weights("small"), "torchvision", "small"))
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"no weights at all\n")
    with pytest.raises(SystemExit) as caught:
        command.run(lambda: program.main(["raft", str(path), str(tmp_path / "b.safetensors")]))
    said = str(caught.value)
    assert said.startswith("error: ")
    assert "\n" not in said
    assert ("no such file" if damage == "absent" else f"is no .{kind} file, or it is cut") in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["raft", "a.bin", "b.safetensors"], "a.bin: a name must end in one of"),
        (["raft", "a.npz", "b.npz"], "weights with our names are .safetensors"),
        (["raft", "a.npz"], "target"),
        (["laft", "a.npz", "b.npz"], "'raft'"),
        (["raft", "a.npz", "b.npz", "--names=jax"], "princeton"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments, message):
    with pytest.raises(SystemExit) as caught:
        command.run(lambda: program.main(arguments))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
