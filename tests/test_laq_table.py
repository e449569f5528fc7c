"""The table over quantizers and targets: right means, every run once, a stop loses nothing."""

import importlib
import json
import pathlib
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"
RUN = """import json, pathlib, sys
folder, value = pathlib.Path(sys.argv[1]), float(sys.argv[2])
path = folder / "evals" / "motion" / "3" / "numbers.json"
path.parent.mkdir(parents=True)  # a second run of the same cell fails here
path.write_text(json.dumps({"r2": value}))
sys.exit(value > 10)
"""


@pytest.fixture
def lib(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("laq_table")


@pytest.fixture
def call(lib, monkeypatch, tmp_path, capsys):
    """main() with runs that only write down 0.1 * (seed + 1), or what `values` says."""
    values = {}

    def command(folder, quantizer, target, seed, options):
        value = values.get((quantizer, seed), 0.1 * (seed + 1))
        return [sys.executable, "-c", RUN, str(folder), str(value)]

    def run(*more):
        fixed = [f"--out={tmp_path / 'out'}", "--steps=3", "--targets=pixels", "--jobs=2"]
        monkeypatch.setattr(sys, "argv", ["laq_table.py", *fixed, *more])
        lib.main()
        return capsys.readouterr().out

    monkeypatch.setattr(lib, "command", command)
    monkeypatch.setattr(lib.tabletop, "write", lambda folder: None)
    run.values = values
    return run


def test_mean_and_interval_by_hand(lib):
    """Of 1, 2, 3: 2, and 4.303 times the standard error of 0.577."""
    assert lib.told([1.0, 2.0, 3.0], 2) == "2.00 ± 2.48"
    assert lib.told([0.5], 1) == "0.5"
    assert lib.told([], 2) == "none"


def test_runs_are_done_once_and_go_on_after_a_failure(call, lib, tmp_path):
    assert "| nsvq | pixels | 2 | 0.15 ± 0.64 | none |" in call("--seeds=0,1", "--quantizers=nsvq")
    call.values["vq", 2] = 99
    with pytest.raises(SystemExit, match="vq-pixels-2: exit 1, see"):
        call("--seeds=2", "--quantizers=nsvq,vq")
    rows = lib.read(tmp_path / "out" / "table.csv")
    assert {lib.key(row) for row in rows} == {("nsvq", "pixels", seed, 3) for seed in range(3)}
    text = call("--seeds=0,1,2", "--quantizers=nsvq")
    assert "| nsvq | pixels | 3 | 0.20 ± 0.25 |" in text


def test_command_of_a_real_run(lib, tmp_path):
    """The options are those that the config has."""
    from configs import laq

    options = lib.parse(["--out=x", "--steps=200"])
    for target in lib.TARGETS:
        given = lib.command(tmp_path, "vae", target, 1, options)[5:]
        config = laq.get_config("tiny")
        flat = dict(item.removeprefix("--config.").split("=", 1) for item in given)
        for name in flat:
            node = config
            for part in name.split("."):
                node = node[part]
        assert flat["model.quantizer"] == "vae"
        assert json.loads(flat["model.noise_warmup"]) == 50


def test_mistakes(lib, capsys):
    with pytest.raises(SystemExit):
        lib.parse(["--out=x", "--targets=pixel"])
    assert "--targets has no pixel: choose of pixels, pixels+flow, flow" in capsys.readouterr().err
