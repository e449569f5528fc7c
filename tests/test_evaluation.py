"""lam.evaluation: what is built from a config, and a run that is measured in every way."""

import logging
import types

import numpy as np
import pytest
from evaluator_fixtures import data, make_batch
from ml_collections import ConfigDict
from train_fixtures import config_of

from configs import laq
from lam import evaluation, report, train
from lam.errors import UserError

ALL = ("tokens", "latents", "reconstruct", "transfer")


@pytest.fixture
def built(monkeypatch):
    """A function from entries to the evaluators of a made-up task."""
    monkeypatch.setattr(evaluation, "make_data", lambda config: data)
    monkeypatch.setattr(evaluation, "make_predict", lambda task, mesh: task.predict)

    def build(entries, predict=ALL, create=None):
        config = ConfigDict({"task": "laq", "seed": 3, "evals": entries})
        task = types.SimpleNamespace(predict=dict.fromkeys(predict))
        return evaluation.build(config, task, None, make_batch("train", 0, 0), create)

    return build


def test_every_entry_of_the_config_builds(built, caplog):
    entries = laq.get_config("tiny").evals.to_dict()
    assert {entry["bucket"] for entry in entries.values()} == {()}
    del entries["flow"]  # needs a flow target
    for name in ("scatter_flow", "transfer"):
        entries[name]["type"] = name.split("_")[0]
    with caplog.at_level(logging.WARNING, "lam.evaluation"):
        found = built(entries)
    assert set(entries) - set(found) == {"scatter_state"}
    assert "evals.scatter_state is left out: the data has no state" in caplog.text


def test_an_evaluator_with_a_baseline_gets_another_start(built):
    seeds = []

    def create(seed):
        seeds.append(seed)
        return types.SimpleNamespace(params="fresh", extra="empty")

    motion = built({"motion": {"type": "motion"}}, create=create)["motion"]
    assert seeds == []  # nothing is made before it is wanted
    trained = {"params": "trained", "extra": "full", "frozen": "teacher"}
    assert motion.untrained(trained) == {"params": "fresh", "extra": "empty", "frozen": "teacher"}
    assert motion.untrained(trained)["params"] == "fresh"
    assert seeds == [1003, 1003]


def test_a_bucket_leaves_nothing_else(built):
    entry = {"type": "codes", "bucket": ("toys",)}
    domains = [b["domain"] for b in built({"codes": entry})["codes"].data("val", 2, 0)]
    assert set(np.concatenate(domains)) == {"toys/table", "toys/shelf"}


def test_what_the_model_does_not_say_is_left_out_with_a_warning(built, caplog):
    entries = {"codes": {"type": "codes"}, "recon": {"type": "reconstruction"}}
    assert set(built(entries, ("latents", "reconstruct", "transfer"))) == {"recon"}
    assert "evals.codes is left out: the model says no tokens" in caplog.text


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"type": "codes", "bucket": ("cup",)}, r"config.evals.x.bucket=\('cup',\): too few"),
        ({"type": "scatter", "of": "speed"}, "a scatter is of action, state, flow"),
    ],
)
def test_mistakes_are_said_at_the_start(built, entry, text):
    with pytest.raises(UserError, match=text) as error:
        built({"x": entry})
    assert "\n" not in str(error.value)


def test_a_run_is_measured_in_every_way(tabletop, tmp_path):
    names = (
        "reconstruction",
        "codes",
        "motion",
        "pictures",
        "scatter",
        "scatter_state",
        "examples",
    )
    changes = {f"evals.{name}.type": name.split("_")[0] for name in names}
    changes |= {"total_steps": 1, "evals.codes.bucket": ("tabletop/arm", "tabletop/boom")}
    changes |= {"data.val_fraction": 0.3, "data.test_fraction": 0.1}
    results = train.train_and_evaluate(config_of(tabletop["array_record"], **changes), tmp_path)
    assert {name.split("/")[0] for name in results} == set(names) - {"pictures"}
    for metric in (
        "action/random_tokens_linear",
        "action/pixel_difference_mlp",
        "state/tokens_mlp",
    ):
        assert np.isfinite(results[f"motion/{metric}"])
    figures = {path.name for path in tmp_path.glob("evals/*/1/*.png")}
    assert figures >= {"probes.png", "scatter.png", "examples.png", "embedding.png"}
    table = report.table(results, "runs/demo")
    assert max(map(len, table.splitlines())) <= 80
    for baseline in ("shuffled", "untrained model", "pixel difference", "state alone"):
        assert f"({baseline})" in table


def test_the_table_stands_without_some_numbers():
    table = report.table({"motion/r2": 0.5, "motion/r2_shuffled": -0.01}, "runs/demo").splitlines()
    assert len(table) == 3
    assert table[1].endswith("0.50 R2  -0.01 (shuffled)")
    everything = {metric: -100.0 for _, metric, _, _ in report.ROWS}
    assert max(map(len, report.table(everything, "runs/demo").splitlines())) <= 80
