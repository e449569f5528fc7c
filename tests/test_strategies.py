"""Scatters, examples, embedding and buckets of lam.evaluators, on tokens with planted truth."""

import logging

import numpy as np
import pytest
from evaluator_fixtures import BATCH, DOMAINS, LEVELS, blind, data, make_batch, perfect, results
from matplotlib.figure import Figure

from lam import evaluators
from lam.errors import UserError
from lam.evaluators import codes, examples, scatter


def stated(split, batches, seed):
    for batch in data(split, batches, seed):
        state = np.repeat(batch["action"][:, None, ::-1], 2, axis=1)
        yield {**batch, "state": state, "state_mask": np.ones((BATCH, 3), bool)}


def test_a_scatter_says_how_much_tokens_explain():
    numbers = results(scatter.Evaluator(perfect, data, batches=30))
    assert numbers["explained/sequence"] == pytest.approx(1)
    assert numbers["explained/0"] == pytest.approx(0.5, abs=0.05)  # one of two dims
    assert max(abs(numbers[f"shuffled/{k}"]) for k in ("0", "1", "sequence")) < 0.1
    noise = results(scatter.Evaluator(blind, data, batches=30))
    assert max(abs(noise[f"explained/{k}"]) for k in ("0", "1", "sequence")) < 0.1


def test_a_scatter_has_a_panel_for_each_position_and_two_for_sequences():
    figure = results(scatter.Evaluator(perfect, data, top=3))["scatter"]
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:2] == ["token 0", "token 1"]
    assert titles[2:] == [f"{LEVELS**2} sequences", "the 3 most frequent"]
    first = np.concatenate([b["action"][:, :2] for b in data("val", 16, 0)])
    drawn = np.concatenate([c.get_offsets() for c in figure.axes[1].collections])
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, first))
    below = figure.axes[1].collections[0].get_offsets()  # code 0 at position 1 is action -2
    assert set(below[:, 1]) == {-2}


def test_a_scatter_of_the_state_takes_frame_1():
    found = results(scatter.Evaluator(perfect, stated, of="state", dims=(2, 1)))
    assert found["explained/sequence"] == pytest.approx(1)
    assert found["scatter"].axes[0].get_ylabel() == "state at frame 1, dim 1"


def test_a_scatter_of_flow_asks_the_teacher_for_every_pair():
    evaluator = scatter.Evaluator(perfect, data, of="flow", batches=2)
    seen = []

    def teacher(first, second):
        seen.append(len(first))
        brighter = second.mean(axis=(1, 2, 3)) - first.mean(axis=(1, 2, 3))
        return {"vector": np.stack([brighter, 0 * brighter], axis=1)}

    evaluator.motion = teacher
    found = results(evaluator)
    assert seen == [BATCH, BATCH]
    assert found["explained/0"] == pytest.approx(1)
    assert found["scatter"].axes[-1].get_xlabel() == "mean flow right, px"


def test_what_a_scatter_needs_follows_from_its_axes():
    assert scatter.Evaluator.needs() == ("action",)
    assert scatter.Evaluator.needs(of="state", dims=(0, 1)) == ("state",)
    assert scatter.Evaluator.needs(of="flow") == ()
    with pytest.raises(UserError, match="of action, state, flow; got 'speed'"):
        scatter.Evaluator.needs(of="speed")
    with pytest.raises(UserError, match=r"2 dims, got dims=\(0, 1, 2\)"):
        scatter.Evaluator(perfect, data, dims=(0, 1, 2))
    with pytest.raises(UserError, match=r"needs its dims \(0, 5\), which no val sample"):
        results(scatter.Evaluator(perfect, data, dims=(0, 5)))


def test_examples_share_their_tokens_and_come_from_different_domains():
    found = results(examples.Evaluator(perfect, data, rows=4, columns=3, batches=30))
    assert found["shared"] == 1.0  # 25 sequences, 480 samples
    axes = np.array(found["examples"].axes).reshape(4, 6)
    for row in axes:
        assert sorted(axis.get_title(loc="left") for axis in row[::2]) == ["cups", "shelf", "table"]
        change = [b.images[0].get_array() - a.images[0].get_array() for a, b in row.reshape(3, 2)]
        token = int(row[0].get_ylabel().split()[0])
        np.testing.assert_allclose([c.mean() for c in change], 5 / 255 * token, atol=1e-6)


def test_examples_are_drawn_by_seed_and_step():
    def shown(seed, step):
        figure = results(examples.Evaluator(perfect, data, seed=seed, batches=20), step)["examples"]
        return np.stack([axis.images[0].get_array() for axis in figure.axes])

    np.testing.assert_array_equal(shown(0, 1), shown(0, 1))
    assert (shown(0, 1) != shown(0, 2)).any()


def test_no_examples_where_every_sequence_is_unique(caplog):
    def unique(name, variables, batch):
        return {"tokens": np.arange(BATCH)[:, None]}

    with caplog.at_level(logging.WARNING, "lam.evaluators"):
        found = results(examples.Evaluator(unique, data, batches=1))
    assert found == {"shared": 0.0}
    assert "no two of 16 samples share their tokens" in caplog.text


def test_tokens_of_a_robot_of_their_own_are_not_shared():
    def private(name, variables, batch):
        return {"tokens": np.searchsorted(np.sort(DOMAINS), batch["domain"].astype(str))[:, None]}

    found = results(examples.Evaluator(private, data))
    assert found["shared"] == 0.0
    for axis in found["examples"].axes[:6:2]:
        assert axis.get_title(loc="left") == found["examples"].axes[0].get_title(loc="left")


def test_the_embedding_is_the_plane_of_largest_variance():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 3, (200, 2))
    latents = np.zeros((200, 2, 5))
    latents[..., 3] = 10 * tokens + rng.normal(size=(200, 2))
    latents[..., 1] = rng.normal(size=(200, 2))
    figure = codes.embedding(latents, tokens, "title")
    for position, axis in enumerate(figure.axes):
        assert axis.get_title() == f"token {position}: 100 % of variance"
        middles = [c.get_offsets()[:, 0].mean() for c in axis.collections]
        np.testing.assert_allclose(np.diff(middles), 10, atol=0.5)
    flat = codes.embedding(latents[..., 3:4], tokens, "title")
    np.testing.assert_array_equal(flat.axes[0].collections[0].get_offsets()[:, 1], 0)


def test_frequent_sequences_are_counted_by_domain():
    axis = results(codes.Evaluator(perfect, data, batches=20, top=4))["sequences"].axes[0]
    widths = np.reshape([bar.get_width() for bar in axis.patches], (len(DOMAINS), 4))
    tokens = np.concatenate([perfect("tokens", {}, b)["tokens"] for b in data("val", 20, 0)])
    _, counts = np.unique(tokens, axis=0, return_counts=True)
    np.testing.assert_allclose(widths.sum(axis=0) * len(tokens), np.sort(counts)[::-1][:4])


def test_a_bucket_has_nothing_else_in_whole_batches():
    for bucket, wanted in (
        (("cups",), {"cups"}),
        (("toys",), {"toys/table", "toys/shelf"}),
        (("toys/table", "cups"), {"toys/table", "cups"}),
    ):
        own = evaluators.in_bucket(data, bucket, "bucket")
        batches = list(own("val", 3, 0))
        assert {len(batch["frames"]) for batch in batches} == {BATCH}
        assert set(np.concatenate([batch["domain"] for batch in batches])) == wanted
        assert len(batches) == 3
        again = next(own("val", 1, 0))
        np.testing.assert_array_equal(again["frames"], batches[0]["frames"])
    everything = np.concatenate([b["frames"][b["domain"] == "cups"] for b in data("val", 99, 0)])
    found = np.concatenate(
        [b["frames"] for b in evaluators.in_bucket(data, ("cups",), "")("val", 3, 0)]
    )
    np.testing.assert_array_equal(found, everything[: len(found)])


def test_a_bucket_that_fits_nothing_says_what_there_is():
    own = evaluators.in_bucket(data, ("plates",), "config.evals.codes.bucket=('plates',)")
    text = (
        r"codes.bucket=\('plates',\): too few among \d+ samples of val; .* cups, toys/shelf, toys"
    )
    with pytest.raises(UserError, match=text):
        next(own("val", 1, 0))


def test_picked_samples_come_in_the_order_that_was_asked_for():
    everything = np.concatenate([b["frames"] for b in data("val", 4, 0)])
    index = [50, 3, 17, 16, 3]
    found = evaluators.pick(data("val", 4, 0), index)
    np.testing.assert_array_equal(found["frames"], everything[index])


def test_collected_samples_are_aligned():
    found = evaluators.collect(
        perfect, "tokens", {}, data("val", 3, 0), lambda b: {"level": b["frames"][:, 0, 0, 0, 0]}
    )
    assert all(len(x) == 3 * BATCH for x in found.values())
    np.testing.assert_array_equal(found["tokens"], found["action"][:, :2] + 2)
    assert set(found["dataset"]) == {"toys", "cups"}
    last = make_batch("val", 2, 0)
    np.testing.assert_array_equal(found["level"][-BATCH:], last["frames"][:, 0, 0, 0, 0])
    assert isinstance(results(codes.Evaluator(perfect, data))["embedding"], Figure)
