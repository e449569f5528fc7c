"""Analyses of records alone: right on cases that are known, plain words where nothing can be said.

N samples. Simulated records: what tokens mean is known.
"""

import dataclasses
import functools

import numpy as np
import pytest

from analysis.tokens import (
    compass,
    consistency,
    disentanglement,
    flow_scatter,
    heatmap,
    kinds,
    magnitude,
    result,
    rotations,
    simulate,
)
from analysis.tokens.options import Options
from lam import plots
from lam.ops import codes, stats

ANALYSES = {
    "flow_scatter": flow_scatter, "consistency": consistency, "heatmap": heatmap,
    "compass": compass, "disentanglement": disentanglement, "magnitude": magnitude,
}  # fmt: skip
TINY = {"episodes": 24, "samples": 8, "length": 2}


def options_of(records, **changes):
    top_SL = codes.sequences(records.tokens_NL)[0][:6]
    inspected = tuple(tuple(int(token) for token in sequence) for sequence in top_SL)
    return Options(**{"inspected": inspected, "permutations": 99, "support": 5, **changes})


@functools.cache
def found(name, kind, domains=3):
    records = simulate.simulate(kind, domains=domains, seed=1, **TINY)
    return ANALYSES[name].run(records, options_of(records))


@pytest.mark.parametrize("name", ["flow_scatter", "consistency", "compass", "disentanglement"])
def test_tokens_that_say_nothing_are_near_their_chance(name):
    headline = found(name, "independent").headline
    near = {"consistency": 45.0}.get(name, 0.1)
    assert abs(headline.value - headline.null) < near
    assert headline.p > 0.05
    assert "not shown" in found(name, "independent").reading


def test_octants_are_told():
    scatter = found("flow_scatter", "octants").headline
    assert scatter.low > 0.5
    assert scatter.p == 0.01
    assert found("compass", "octants").headline.value > 0.6
    assert found("consistency", "octants").headline.high < 20
    assert found("consistency", "octants").headline.p == 0.01
    assert found("consistency", "octants").numbers["turned"] == {}
    left = found("disentanglement", "octants")
    assert left.headline.high < 0.7
    assert left.numbers["given_domain"]["p"] > 0.05
    assert left.numbers["given_action"]["value"] < 0.7
    assert found("magnitude", "direction").numbers["verdict"] == "direction"


def test_magnitude_is_told():
    assert found("magnitude", "magnitude").numbers["verdict"] == "magnitude"
    assert found("magnitude", "magnitude").headline.high < 0
    assert found("magnitude", "independent").numbers["verdict"] == "neither"


def test_a_turned_domain_is_named_with_its_angle():
    turned = found("consistency", "rotated")
    assert list(turned.numbers["turned"]) == ["robot_2"]
    assert turned.numbers["turned"]["robot_2"] == pytest.approx(-90, abs=10)
    assert "robot_2 is turned by -9" in turned.reading or "by -8" in turned.reading
    rows = {row["domain"]: row for row in turned.tables["domains"]}
    assert rows["robot_2"]["agreement_turned_back"] > 0.9
    assert rows["robot_0"]["agreement"] > rows["robot_2"]["agreement"] + 0.2
    assert sum(row["differs"] for row in turned.tables["tokens"]) > 8
    assert not any(row["differs"] for row in found("consistency", "octants").tables["tokens"])
    assert found("disentanglement", "rotated").numbers["given_domain"]["p"] == 0.01


def test_of_two_domains_it_is_not_said_which_is_turned():
    turned = found("consistency", "rotated", domains=2)
    assert "One of the two domains is turned against the other by" in turned.reading


def test_centring_removes_a_camera_that_moves():
    angles = found("consistency", "pan").numbers
    assert angles["angle_centred"]["value"] < 20
    assert angles["angle_centred"]["value"] < angles["angle_raw"]["value"] - 5
    base = {row["domain"]: row for row in found("compass", "pan").tables["dataset_baseline"]}
    moved = np.array([base["robot_2"]["x"], base["robot_2"]["y"]])
    np.testing.assert_allclose(moved, simulate.PAN, atol=0.06)
    numbers = found("flow_scatter", "pan").numbers
    assert numbers["agreement_centred"]["value"] > numbers["agreement_raw"]["value"] + 0.02


def test_usage_counts_samples_and_shares():
    records = simulate.simulate("octants", domains=2, episodes=4, samples=5, length=1, codes=2)
    records.columns["tokens"] = np.tile(np.array([[0], [0], [0], [1]], np.int32), (10, 1))
    tables = heatmap.run(records, options_of(records, inspected=((1,),))).tables
    assert [row["share"] for row in tables["inspected"]] == [0.25, 0.25]  # of all in the domain
    rows = tables["position_0"]
    assert [(row["token"], row["samples"], row["share"]) for row in rows] == [
        ("0", 15, 0.75), ("0", 15, 0.75), ("1", 5, 0.25), ("1", 5, 0.25),
    ]  # fmt: skip


def test_tokens_that_give_the_domain_away():
    records = simulate.simulate("independent", domains=2, **TINY)
    records.columns["tokens"] = np.repeat(np.array([[0, 1], [1, 1]], np.int32), 192, axis=0)
    own = heatmap.run(records, options_of(records))
    assert own.headline.value == pytest.approx(0.5)  # one position of two
    assert own.headline.p == 0.01
    assert "differently" in own.reading
    assert heatmap.cramers_v([[192, 0], [0, 192]]) == pytest.approx(1, abs=1e-3)
    assert heatmap.cramers_v([[10, 20], [20, 40]]) == 0
    assert np.isnan(heatmap.cramers_v([[10, 20], [0, 0]]))
    # V of scipy.stats.contingency.association of this table is 0.5; corrected by hand
    phi2 = 0.25 - 1 / 39
    assert heatmap.cramers_v([[15, 5], [5, 15]]) == pytest.approx((phi2 / (1 - 1 / 39)) ** 0.5)


def test_opposed_motions_of_a_sequence_are_marked():
    records = simulate.simulate("octants", domains=2, static=0.0, **TINY)
    sign_N = np.tile([1, -1], len(records) // 2)
    for axis, size in (("x", 5.0), ("y", 0.5)):
        records.columns[f"median_weighted_{axis}"] = (size * sign_N).astype(np.float32)
    records.columns["tokens"] = np.zeros((len(records), 2), np.int32)
    records.columns["tokens"][::3, 0] = 1
    rows = compass.run(records, options_of(records)).tables["compass"]
    assert all(row["opposed"] for row in rows)
    assert {row["sequence"] for row in rows} == {"0 0", "1 0"}


def test_shares_of_sums_are_shares_of_variance():
    rng = np.random.default_rng(0)
    angle_N, domain_N = rng.normal(size=60), rng.integers(0, 3, 60)
    unit_N2 = np.stack([np.cos(angle_N + domain_N), np.sin(angle_N + domain_N)], axis=1)
    sums_GC = np.stack(
        [np.bincount(domain_N, column, 3) for column in (np.ones(60), *unit_N2.T)], axis=1
    )
    one_PT, whole_P = rotations.shares(sums_GC[None, None], 1)
    expected = stats.between_share(unit_N2.astype(np.float32), domain_N, 3)
    np.testing.assert_allclose(one_PT[0, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(whole_P, expected, rtol=1e-5)


def test_domains_that_do_not_matter_are_found_at_the_level():
    """Centring fits noise of the true domains; the null has to do the same."""
    found = 0
    for seed in range(20):
        records = simulate.simulate("octants", domains=2, seed=100 + seed, **TINY)
        numbers = consistency.run(records, options_of(records, permutations=39)).numbers
        found += numbers["between_share"]["centred"]["p"] <= 0.05
    assert found <= 4  # P(more) = 0.003 at 5 %


def test_rare_sequences_count_as_one():
    tokens_NL = np.array([[1, 2]] * 3 + [[0, 2]] * 2 + [[4, 4], [5, 5]])
    found = kinds.sequences(tokens_NL, 2)
    assert found.names == ("1 2", "0 2", "other")
    assert found.number_N.tolist() == [0, 0, 0, 1, 1, 2, 2]
    first, second = kinds.positions(tokens_NL)
    assert first.names == ("0", "1", "4", "5")
    assert first.number_N.tolist() == [1, 1, 1, 0, 0, 2, 3]
    assert kinds.supports(second, np.array([0, 0, 1, 1, 0, 1, 1]), 2).tolist() == [
        [3, 2], [0, 1], [0, 1],
    ]  # fmt: skip


def spoil(records, how):
    """The records with something that makes an analysis hard."""
    columns, count = dict(records.columns), len(records)
    if how == "static":
        columns["median_is_static"] = np.ones(count, bool)
    elif how in ("no flow", "some flow missing"):
        gone_N = np.arange(count) % (1 if how == "no flow" else 3) == 0
        for axis in "xy":
            column = columns[f"median_weighted_{axis}"]
            columns[f"median_weighted_{axis}"] = np.where(gone_N, np.float32("nan"), column)
    elif how == "one token":
        columns["tokens"] = np.zeros_like(columns["tokens"])
    elif how == "a token once":
        columns["tokens"] = columns["tokens"].copy()
        columns["tokens"][0] = 7
    elif how == "no action":
        columns["action"] = np.full((count, 3), np.nan, np.float32)
    elif how == "one still domain":
        columns["median_is_static"] = columns["domain"] == "robot_1"
    records = dataclasses.replace(records, columns=columns)
    if how == "one domain":
        return records.select(records.domain_N == "robot_0")
    if how in ("few", "one sample"):
        return records.select(np.arange(3 if how == "few" else 1))
    return records


SILENT = {"static", "no flow", "few", "one sample", "one token"}


@pytest.mark.parametrize("name", ANALYSES)
@pytest.mark.parametrize(
    "how",
    [
        *sorted(SILENT), "some flow missing", "a token once", "no action", "one still domain",
        "one domain", "none inspected", "support",
    ],
)  # fmt: skip
def test_bad_input_gives_a_sentence(name, how, tmp_path):
    records = spoil(simulate.simulate("octants", domains=2, codes=4, seed=1, **TINY), how)
    changes = {"none inspected": {"inspected": ()}, "support": {"support": 150}}.get(how, {})
    options = options_of(records, permutations=9, **changes)
    found = ANALYSES[name].run(records, options)
    assert found.reading.endswith(".")
    assert found.headline is None or np.isfinite(found.headline.value)
    if found.headline is None:
        assert found.missing
    if how in SILENT and name != "heatmap":
        assert found.headline is None
        assert not found.figures
    expected = {
        ("one domain", "consistency"): "only one domain",
        ("one domain", "heatmap"): "only one domain",
        ("one domain", "disentanglement"): "only one domain",
        ("one still domain", "consistency"): "only one domain",
        ("no action", "disentanglement"): "action",
        ("none inspected", "compass"): "inspected",
        ("support", "consistency"): "150 samples",
        ("some flow missing", "magnitude"): "no finite flow",
    }.get((how, name), "")
    assert expected in " ".join(found.missing)
    result.write(dataclasses.replace(found, figures={}), tmp_path)
    for figure in found.figures.values():
        assert any(axis.has_data() or axis.texts for axis in figure.axes)


@pytest.mark.parametrize("name", ANALYSES)
def test_the_same_seed_gives_the_same_files(name, tmp_path):
    texts = []
    for number in range(2):
        records = simulate.simulate("rotated", domains=2, seed=3, **TINY)
        out = ANALYSES[name].run(records, options_of(records, permutations=19))
        result.write(dataclasses.replace(out, figures={}), tmp_path / str(number))
        files = sorted((tmp_path / str(number)).iterdir())
        texts.append({file.name: file.read_text().replace(f"# {number}", "") for file in files})
    assert texts[0] == texts[1]
    assert len(texts[0]) > 2


@pytest.mark.parametrize("name", ANALYSES)
def test_figures_fit_a_column_and_letters_can_be_read(name):
    for figure in found(name, "octants").figures.values():
        assert figure.get_size_inches()[0] <= 4.6
        plots.to_array(figure)
        texts = [text for text in figure.findobj(plots.matplotlib.text.Text) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 7
