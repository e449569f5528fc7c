"""lam.evaluators with made-up predictions whose right scores are known beforehand."""

import numpy as np
import pytest
from evaluator_fixtures import BATCH, DOMAINS, LEVELS, blind, data, make_batch, perfect, results
from matplotlib.figure import Figure

from lam import evaluators
from lam.errors import UserError
from lam.evaluators import codes, motion, pictures, reconstruction


def test_reconstruction_of_a_model_that_uses_its_tokens():
    numbers = results(reconstruction.Evaluator(perfect, data))
    assert numbers["psnr"] > 90
    assert numbers["psnr_over_copy"] == numbers["psnr"] - numbers["psnr_copy"] > 40
    assert numbers["delta_psnr"] > 40


def test_reconstruction_of_a_model_that_ignores_its_tokens():
    numbers = results(reconstruction.Evaluator(blind, data))
    assert numbers["psnr_over_copy"] == pytest.approx(0.0, abs=1e-4)
    assert numbers["delta_psnr"] == numbers["delta_psnr_low"] == numbers["delta_psnr_high"] == 0.0


def test_delta_psnr_has_an_interval_over_scenes():
    def weak(name, variables, batch):
        found = perfect(name, variables, batch)
        noise = np.random.default_rng(batch["frames"].sum(dtype=np.int64)).normal(size=(BATCH, 1))
        return {**found, "recon": found["recon"] + np.float32(0.02 * noise[..., None, None])}

    wide = results(reconstruction.Evaluator(weak, data))
    assert 0.1 < wide["delta_psnr_low"] < wide["delta_psnr"] < wide["delta_psnr_high"] < 10
    one = lambda *which: ({**b, "scene_id": np.zeros(BATCH, int)} for b in data(*which))  # noqa: E731
    assert "delta_psnr_low" not in results(reconstruction.Evaluator(weak, one))


def test_reconstruction_of_a_model_without_tokens():
    def continuous(name, variables, batch):
        found = perfect(name, variables, batch)
        return {key: value for key, value in found.items() if key != "tokens"}

    numbers = results(reconstruction.Evaluator(continuous, data))
    assert numbers["psnr"] > 90
    assert numbers == results(reconstruction.Evaluator(perfect, data))


def test_psnr_comes_from_the_mean_error_of_all_samples():
    numbers = results(reconstruction.Evaluator(blind, data, batches=3, seed=5))
    frames = np.concatenate([b["frames"] for b in data("val", 3, 5)]) / 255
    mse = np.mean((frames[:, 0] - frames[:, 1]) ** 2)
    assert numbers["mse"] == pytest.approx(mse, rel=1e-4)
    assert numbers["psnr_copy"] == pytest.approx(-10 * np.log10(mse), abs=1e-3)


def test_reconstruction_is_a_function_of_seed_and_step():
    evaluator = reconstruction.Evaluator(perfect, data)
    assert results(evaluator, 3) == results(reconstruction.Evaluator(perfect, data), 3)
    first, second = results(evaluator, 3), results(evaluator, 4)
    assert first["psnr"] == second["psnr"]
    assert first["delta_psnr"] != second["delta_psnr"]


def test_the_other_sample_is_never_the_same_one():
    for seed in range(20):
        other = reconstruction.random_other(5, np.random.default_rng(seed))
        assert (other != np.arange(5)).all()
        assert set(other) <= set(range(5))
    with pytest.raises(UserError, match="batch_size to 2"):
        reconstruction.random_other(1, np.random.default_rng(0))


def test_codes_report_usage():
    numbers = results(codes.Evaluator(perfect, data, num_codes=8), 7)
    assert numbers["usage_min"] == numbers["usage/1"] == LEVELS
    assert 4.5 < numbers["perplexity_min"] <= numbers["perplexity/0"] <= LEVELS
    assert 0 < numbers["unique_share"] <= LEVELS**2 / (8 * BATCH)
    assert len(numbers["counts"].axes[0].patches) == 8
    assert [axis.get_title()[:7] for axis in numbers["embedding"].axes] == ["token 0", "token 1"]


def test_codes_report_a_collapsed_position():
    def collapsed(name, variables, batch):
        found = perfect(name, variables, batch)
        return {**found, "tokens": found["tokens"] * [0, 1]}

    numbers = results(codes.Evaluator(collapsed, data))
    assert (numbers["usage/0"], numbers["perplexity/0"]) == (1.0, 1.0)
    assert (numbers["usage_min"], numbers["usage/1"]) == (1.0, LEVELS)


def test_motion_of_a_tokenizer_that_sees_the_displacement():
    numbers = results(motion.Evaluator(perfect, data))
    assert numbers["r2"] > 0.95
    assert numbers["r2_low"] <= numbers["r2"] <= numbers["r2_high"]
    assert min(numbers["r2_dim0"], numbers["r2_dim1"]) > 0.95
    assert numbers["r2_shuffled"] <= 0.05
    assert {f"r2_across/{name}" for name in DOMAINS} <= set(numbers)
    across = [numbers[f"r2_across/{name}"] for name in DOMAINS]
    assert numbers["r2_across_min"] == min(across) > 0.95
    assert isinstance(numbers["scatter"], Figure)


def test_motion_of_a_blind_tokenizer():
    numbers = results(motion.Evaluator(blind, data))
    assert abs(numbers["r2"]) < 0.15
    assert numbers["r2_low"] < 0.1
    assert numbers["r2_across_min"] < 0.1


def test_motion_sees_tokens_that_mean_something_else_in_another_domain():
    def per_domain(name, variables, batch):
        found = perfect(name, variables, batch)
        flipped = (batch["domain"] == "cups")[:, None]
        return {**found, "tokens": np.where(flipped, LEVELS - 1 - found["tokens"], found["tokens"])}

    numbers = results(motion.Evaluator(per_domain, data))
    assert numbers["r2_across/cups"] == numbers["r2_across_min"] < -1


def test_motion_in_a_single_domain_has_nothing_across():
    def one(split, batches, seed):
        for batch in data(split, batches, seed):
            yield {
                **batch,
                "domain": np.full(BATCH, "cups", object),
                "scene_id": batch["scene_id"] // 100,
            }

    names = set(results(motion.Evaluator(perfect, one)))
    assert not any(name.startswith("r2_across") for name in names)
    assert "r2_low" not in names  # one unseen scene has no interval
    assert "r2" in names


def test_motion_uses_only_samples_that_have_the_action():
    def half(split, batches, seed):
        for batch in data(split, batches, seed):
            known = np.arange(BATCH) % 2 == 0
            action = np.where(known[:, None], batch["action"], 1e6)
            yield {**batch, "action": action, "action_mask": batch["action_mask"] & known[:, None]}

    def predict(name, variables, batch):
        return perfect(name, variables, {**batch, "action": np.clip(batch["action"], -2, 2)})

    assert results(motion.Evaluator(predict, half))["r2"] > 0.95


@pytest.mark.parametrize("dims", [(0, 2), (0, 7)])
def test_motion_without_actions_says_what_to_do(dims):
    with pytest.raises(UserError, match=r"needs dims .* which no train sample has.*evals\.motion"):
        motion.Evaluator(perfect, data, dims=dims)


def test_motion_refuses_scenes_that_leak():
    def leaking(split, batches, seed):
        return ({**b, "scene_id": b["scene_id"] % 100} for b in data(split, batches, seed))

    with pytest.raises(AssertionError, match="both in train and in val"):
        results(motion.Evaluator(perfect, leaking))


def test_pictures_follow_seed_and_step():
    def first_frames(seed, step):
        figures = results(pictures.Evaluator(perfect, data, seed=seed), step)
        assert set(figures) == {"reconstruction", "transfer"}
        return np.stack(
            [axis.images[0].get_array() for axis in figures["reconstruction"].axes[:24:4]]
        )

    np.testing.assert_array_equal(first_frames(0, 1), first_frames(0, 1))
    assert (first_frames(0, 1) != first_frames(0, 2)).any()
    assert (first_frames(0, 1) != first_frames(1, 1)).any()


def test_transfer_grid_decodes_the_columns_frame_with_the_rows_tokens():
    figure = results(pictures.Evaluator(perfect, data, grid=3), 1)["transfer"]
    level = [axis.images[0].get_array().mean() for axis in figure.axes if axis.images]
    columns, rows = level[:3], np.reshape(level[3:], (3, 5))
    change_R = rows[:, 1] - rows[:, 0]  # what the tokens of the row say
    np.testing.assert_allclose(rows[:, 2:], np.add.outer(change_R, columns), atol=1e-4)
    heads = {axis.get_title().split("\n")[0] for axis in figure.axes[2:5]}
    assert heads == {"table", "shelf", "cups"}


def test_pictures_of_a_very_small_set():
    def few(split, batches, seed):
        return (evaluators.take(b, slice(4)) for b in data(split, 1, seed))

    def predict(name, variables, batch):
        assert len(batch["frames"]) == 4
        return blind(name, variables, batch)

    figures = results(pictures.Evaluator(predict, few))
    assert len([a for a in figures["transfer"].axes if a.images]) == 2 + 2 * 4


def test_predictions_of_any_number_of_samples_come_in_whole_batches():
    samples = make_batch("val", 0, 0, batch=21)
    output = evaluators.predict_samples(perfect, "tokens", {}, samples, BATCH)
    np.testing.assert_array_equal(output["tokens"], samples["action"][:, :2] + 2)
