"""Analyses of decoded pictures, text, state and codebook, on made-up records with known answers."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from decoded_fixtures import CODES, EPISODES, SIDE, STEPS, make

from analysis.tokens import (
    codebook,
    cross_robot,
    decoded,
    examples,
    flow_transfer,
    order,
    result,
    sentences,
    state,
    text,
    token_reports,
    transfer,
)
from lam.errors import UserError
from lam.ops import cluster

ALL = (
    examples, transfer, flow_transfer, token_reports, text, order, cross_robot, state, codebook,
)  # fmt: skip
OF_PICTURES = (transfer, flow_transfer, order, cross_robot)
COUNT = 2 * EPISODES * STEPS


@pytest.fixture(scope="module")
def good():
    return make()


@pytest.fixture(scope="module")
def blind():
    return make(follows=False)


def inside(estimate):
    return estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9


@pytest.mark.parametrize("analysis", [transfer, cross_robot])
def test_a_decoder_that_follows_the_tokens_is_off_by_nothing(analysis, good, blind):
    found, other = (analysis.run(*records).headline for records in (good, blind))
    assert found.value < 6
    assert inside(found)
    assert found.p < 0.05
    assert found.null == pytest.approx(90, abs=12)
    assert other.value == pytest.approx(90, abs=25)
    assert other.p > 0.05


def test_cross_robot_finds_the_domain_that_is_turned():
    """Frames of one domain answer with the opposite motion: only the way across is wrong."""
    records, options = make()
    pictures = dict(records.pictures)
    row, first = pictures["row"], pictures["transfer_first"]
    source = pictures["transfer_source"]
    across = records.domain_N[row[first]] != records.domain_N[row[source]]
    pictures["transfer_motion"] = np.where(across[:, None], -1, 1) * pictures["transfer_motion"]
    found = cross_robot.run(dataclasses.replace(records, pictures=pictures), options)
    assert found.headline.value > 174
    assert found.headline.p == 1
    assert found.numbers["within"].value < 6
    assert found.numbers["difference"].low > 160
    angle = {(r["tokens_of"], r["first_frame_of"]): r["angle"] for r in found.tables["matrix"]}
    assert angle["set/arm", "set/boom"] > 174
    assert angle["set/boom", "set/boom"] < 6


def test_transfer_centred_takes_a_pan_of_one_domain_away():
    """Everything decoded on one domain drifts right; only the raw angle suffers."""
    records, options = make()
    pictures = dict(records.pictures)
    drift_Q = records.domain_N[pictures["row"][pictures["apply_first"]]] == "set/boom"
    shift = np.where(drift_Q[:, None], [0.2, 0.0], 0.0).astype(np.float32)
    pictures["apply_motion"] = pictures["apply_motion"] + shift
    found = transfer.run(dataclasses.replace(records, pictures=pictures), options)
    assert found.headline.value > 25
    assert found.numbers["centred"].value < 6


def test_flow_transfer_tells_what_token_and_image_do():
    records, options = make()
    found = flow_transfer.run(records, options)
    assert found.headline.value > 0.99
    assert found.headline.null == pytest.approx(0, abs=0.03)
    assert found.numbers["swap"].value < 6
    assert found.numbers["agreement"].value > 0.99
    assert "no flow decoder" in found.missing[0]
    assert found.figures["same_token_different_images"].texts[0].get_text().endswith("pixels)")
    shares = flow_transfer.parts(np.array([[[1.0, 0], [2, 0]], [[1, 0], [2, 0]]]))
    assert shares == {"token": 0, "image": 1, "rest": 0}


def test_flow_transfer_uses_the_flow_decoder_where_there_is_one():
    flow = np.zeros((CODES, 8, SIDE, SIDE, 2), np.float16)
    flow[:, :, :6, :6] = (
        3 * np.stack([np.cos(np.arange(CODES)), np.sin(np.arange(CODES))], -1)[:, None, None, None]
    )
    found = flow_transfer.run(*make(follows=False, apply_decoder_flow=flow))
    assert found.numbers["flow_by"] == "flow decoder"
    assert found.headline.value > 0.99
    assert not found.missing


def test_a_decoder_that_ignores_tokens_has_no_separation(blind):
    found = flow_transfer.run(*blind)
    assert found.headline.value < 0.2
    assert found.headline.p > 0.05


def test_order_names_the_position_that_carries_the_motion(good):
    found = order.run(*good)
    effects = found.numbers["effects"]
    assert effects["position 1"] == 0
    assert effects["position 0"] == pytest.approx(1, abs=0.35)
    assert "position 0 carries most" in found.reading
    rows = {row["variant"]: row for row in found.tables["variants"]}
    assert rows["position 1"]["angle"] == 0
    assert rows["position 1"]["p_less_than_chance"] < 0.05
    assert rows["reversed"]["angle"] > 50


def test_effect_is_one_for_another_sample(good):
    rng = np.random.default_rng(0)
    own, other = rng.normal(size=(2, 4000, 2))
    assert order.effect(other, own, np.ones((1, 4000)))[0] == pytest.approx(1, abs=0.05)


def test_examples_that_share_a_token_move_alike(good):
    found = examples.run(*good)
    assert found.headline.value < 10
    assert inside(found.headline)
    assert found.headline.null == pytest.approx(90, abs=8)
    assert found.headline.p < 0.05
    assert found.numbers["across_domains"].value < 10
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 3, (COUNT, 2)).astype(np.int32)
    other = examples.run(*make(tokens=tokens))
    assert other.headline.value == pytest.approx(90, abs=8)


def test_pairs_of_directions_are_counted_as_by_hand():
    rng = np.random.default_rng(1)
    number, domain = rng.integers(-1, 3, 60), rng.integers(0, 2, 60)
    episode, turn = 2 * rng.integers(0, 5, 60) + domain, rng.integers(0, examples.BINS, 60)
    columns = np.stack([turn, domain, episode], axis=1).astype(np.int32)
    sums = np.asarray(examples.pair_sums(number, np.ones(60, np.float32), columns, 3, 2, 10))
    expected = np.zeros((3, 2))
    for i, j in np.ndindex(60, 60):
        if number[i] == number[j] >= 0 and episode[i] != episode[j]:
            pair = np.array([examples.gaps()[turn[i], turn[j]], 1])
            expected[0] += pair
            expected[1 if domain[i] == domain[j] else 2] += pair
    np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=1e-2)


def test_reports_have_the_files_that_are_asked_for(good, tmp_path):
    records, options = good
    options = dataclasses.replace(options, inspected=options.inspected[:2])
    found = token_reports.run(records, options)
    result.write(found, tmp_path / "analysis_8_token_reports")
    folder = tmp_path / "analysis_8_token_reports" / "token_1-0"
    names = {"samples", "latent_transfer", "flow_decoder", "mean_shift"}
    assert {path.stem for path in folder.glob("*.png")} == names
    numbers = json.loads((folder / "summary.json").read_text())
    assert numbers["tokens"] == "1 0"
    assert numbers["agreement"] > 0.95
    assert numbers["q"] < 0.05
    assert numbers["decoded_angle_degrees"] < 10
    assert set(numbers["domains"]) == {"set/arm", "set/boom"}
    assert found.numbers["with_a_direction"] == 2


def test_text_finds_tokens_that_know_the_instruction(good):
    records, options = good
    assert text.run(records, options).headline.p > 0.05
    words = records.columns["text"]
    knows = np.unique(words, return_inverse=True)[1].astype(np.int32)
    tokens = np.stack([knows, records.tokens_NL[:, 1]], axis=1)
    found = text.run(*make(tokens=tokens))
    rows = {row["tokens"]: row for row in found.tables["agreement"]}
    assert rows["position 0"]["ami"] == pytest.approx(1, abs=1e-3)
    assert rows["position 0"]["q"] < 0.05
    assert abs(rows["position 1"]["ami"]) < 0.05


def test_tf_idf_puts_like_instructions_together():
    texts = ["push the block left", "push block to the left", "lift the red cup", "lift red cup up"]
    vectors = sentences.embed(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    kinds, _, _ = cluster.kmeans(vectors, 2)
    assert kinds[0] == kinds[1] != kinds[2] == kinds[3]
    many = [f"word{i} word{i % 7} again" for i in range(100)]
    assert sentences.tf_idf(many, dims=5).shape == (100, 5)


def test_a_sentence_model_that_cannot_be_loaded_is_told(good, tmp_path):
    options = dataclasses.replace(good[1], text_model=str(tmp_path / "no_model"))
    with pytest.raises(UserError, match="cannot be loaded") as error:
        text.run(good[0], options)
    assert "\n" not in str(error.value)


def test_state_finds_tokens_that_know_where_the_robot_is(good):
    found = state.run(*good)
    assert found.headline.p > 0.05
    values = good[0].columns["state"][:, 0]
    tokens = good[0].tokens_NL.copy()
    tokens[:, 1] = values > 0
    knows = state.run(*make(tokens=tokens))
    rows = {row["position"]: row for row in knows.tables["positions"]}
    assert rows["position 1"]["share"] > 0.15
    assert rows["position 1"]["beyond_motion_p"] < 0.05
    assert rows["position 1"]["beyond_motion"] > rows["position 1"]["beyond_motion_by_chance"] + 0.1
    assert rows["position 0"]["ami_p"] > 0.05


def test_codebook_counts_what_is_used(good):
    found = codebook.run(*good)
    rows = found.tables["positions"]
    assert [row["used"] for row in rows] == [CODES, 2]
    assert [row["dead"] for row in rows] == [0, CODES - 2]
    assert rows[0]["perplexity"] == pytest.approx(8, abs=0.4)
    assert found.headline.value == pytest.approx(2, abs=0.05)
    assert found.headline.null > 7
    assert abs(found.numbers["redundancy"].value) < 0.05
    assert abs(found.numbers["domains"].value) < 0.05
    tokens = good[0].tokens_NL.copy()
    tokens[:, 1] = good[0].domain_N == "set/boom"
    other = codebook.run(*make(tokens=tokens)).numbers["domains"]
    assert other.value == pytest.approx(0.5, abs=0.05)
    assert other.p < 0.05


@pytest.mark.parametrize("analysis", ALL, ids=lambda module: module.__name__.split(".")[-1])
def test_the_same_seed_gives_the_same_files(analysis, good):
    first, second = (result.to_json(result.metrics(analysis.run(*make()))) for _ in range(2))
    assert first == second


BAD = {
    "no_pictures": {"frames": None, "row": None},
    "nothing_decoded": dict.fromkeys(
        ("apply_motion", "transfer_motion", "swap_motion", "order_motion", "latents")
    ),
    "static": {"static": True},
    "nan_flow": {"median_weighted_x": np.full(COUNT, np.nan, np.float32)},
    "one_domain": {"domains": ("set/arm",)},
    "no_state_no_text": {
        "state": np.full((COUNT, 3), np.nan, np.float32), "text": np.full(COUNT, ""),
    },
    "one_token": {"tokens": np.zeros((COUNT, 2), np.int32)},
    "seen_once": {
        "tokens": np.stack([np.arange(COUNT), np.zeros(COUNT, int)], axis=1).astype(np.int32)
    },
    "no_decoded_motion": {
        "apply_moves": np.zeros((CODES, 8), bool),
        "transfer_moves": np.zeros(COUNT, bool),
        "order_moves": np.zeros((5, COUNT // 4), bool),
        "swap_moves": np.zeros(COUNT // 8, bool),
    },
    "nan_decoded": {"apply_motion": np.full((CODES, 8, 2), np.nan, np.float32)},
    "no_trials": {
        "transfer_source": np.zeros(0, np.int32), "transfer_first": np.zeros(0, np.int32),
        "transfer_motion": np.zeros((0, 2), np.float32), "transfer_moves": np.zeros(0, bool),
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("analysis", ALL, ids=lambda module: module.__name__.split(".")[-1])
def test_bad_input_gives_a_sentence(analysis, kind):
    """Never a crash, a warning (they are errors here) or an empty figure."""
    records, options = make(**BAD[kind])
    options = dataclasses.replace(options, permutations=9, resamples=9)
    found = analysis.run(records, options)
    assert found.reading.endswith(".")
    assert "nan" not in found.reading
    result.to_json(result.metrics(found))
    for figure in found.figures.values():
        assert any(axis.images or axis.collections or axis.lines or axis.patches or axis.texts
                   for axis in figure.axes)  # fmt: skip
    if kind == "no_pictures" and analysis in OF_PICTURES:
        assert "No pictures were kept" in found.reading
        assert not found.figures
    if found.headline is None:
        assert found.missing


def test_no_inspected_sequence_and_few_samples():
    records, options = make()
    options = dataclasses.replace(options, inspected=(), support=10**6)
    for analysis in (examples, transfer, token_reports):
        found = analysis.run(records, options)
        assert found.missing


def test_domains_take_turns():
    domain = np.array(["a", "a", "a", "b", "c"])
    assert decoded.spread_over(domain, np.arange(5), 4).tolist() == [0, 3, 4, 1]
    assert decoded.spread_over(domain, np.arange(0), 4).tolist() == []


@pytest.mark.parametrize(("count", "clusters"), [(4, 0), (4, 5)])
def test_kmeans_refuses(count, clusters):
    with pytest.raises(ValueError, match="clusters"):
        cluster.kmeans(np.zeros((count, 2)), clusters)
    with pytest.raises(ValueError, match="finite"):
        cluster.kmeans(np.full((4, 2), np.nan), 2)


def test_kmeans_finds_clusters_and_says_the_same_again():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=(n, 2)) + 20 * k for k, n in enumerate((9, 20, 5))])
    found, centres, spread = cluster.kmeans(values, 3, seed=2)
    assert found.tolist() == [1] * 9 + [0] * 20 + [2] * 5
    np.testing.assert_allclose(centres[0], values[9:29].mean(axis=0), rtol=1e-4)
    expected = ((values - centres[found]) ** 2).sum(axis=1).mean()
    assert spread == pytest.approx(expected, rel=1e-3)
    assert cluster.kmeans(values, 3, seed=2)[2] == spread
    assert len(np.unique(cluster.kmeans(np.zeros((5, 2)), 3)[0])) == 1


def test_how_is_written_for_people():
    for analysis in ALL:
        assert len(analysis.HOW) > 300
        assert analysis.QUESTION.endswith("?")
        assert pathlib.Path(analysis.__file__).stem in analysis.__name__
