"""The probes of lam.evaluators.motion on tokens with planted truth."""

import numpy as np
import pytest
from evaluator_fixtures import BATCH, blind, data, make_batch, perfect, results

from lam.evaluators import motion


def octants(name, variables, batch):
    """Tokens are the octant of the action and noise; an untrained model has noise alone."""
    rng = np.random.default_rng(batch["frames"].sum(dtype=np.int64) + 1)
    turn = np.arctan2(batch["action"][:, 1], batch["action"][:, 0])
    octant = np.rint(turn / (np.pi / 4)).astype(int) % 8
    noise = rng.integers(0, 8, BATCH)
    tokens = np.stack([noise if variables == "untrained" else octant, noise], axis=1)
    return {"tokens": tokens, "latents": np.sin(tokens)[..., None]}


def ring(split, batches, seed):
    """Actions on a circle, in three data sets with means of their own; the state is the action's
    first dim, in half of the samples."""
    for number in range(batches):
        batch = make_batch(split, number, seed)
        rng = np.random.default_rng(batch["frames"].sum(dtype=np.int64))
        turn = rng.uniform(0, 2 * np.pi, BATCH)
        action = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1).astype(np.float32)
        state = np.repeat(action[:, None, :2], 2, axis=1)
        mask = np.tile([True, False], (BATCH, 1)) & (np.arange(BATCH) % 2 == 0)[:, None]
        yield {**batch, "action": action, "state": state, "state_mask": mask}


def numbers_of(predict, stream=ring, **config):
    config = {"train_batches": 16, "untrained": lambda _: "untrained"} | config
    return results(motion.Evaluator(predict, stream, **config))


@pytest.fixture(scope="module")
def planted():
    return numbers_of(octants)


def test_octants_say_nearly_all_of_the_action(planted):
    for kind in ("linear", "mlp"):
        assert planted[f"action/tokens_{kind}"] > 0.9
        assert planted[f"relative/tokens_{kind}"] > 0.9
        low, high = (planted[f"action/tokens_{kind}_{end}"] for end in ("low", "high"))
        assert 0.88 < low < planted[f"action/tokens_{kind}"] < high < 1
    assert planted["r2"] == planted["action/tokens_linear"]


def test_the_baselines_say_nothing_of_it(planted):
    """Neither shuffled tokens nor those of an untrained model; frames have nothing of the ring."""
    assert planted["r2_shuffled"] == planted["action/shuffled_linear"]
    for name in ("shuffled", "random_tokens", "random_latents", "pixel_difference"):
        for kind in ("linear", "mlp"):
            assert planted[f"action/{name}_{kind}"] < 0.1


def test_the_state_is_half_of_this_action(planted):
    assert planted["action/state_linear"] == pytest.approx(0.5, abs=0.12)
    assert planted["state/tokens_linear"] > 0.85
    assert planted["state/shuffled_linear"] < 0.1
    assert not any(name.startswith("state/state") for name in planted)


def test_a_network_finds_what_a_line_cannot(planted):
    """The latent of an octant is its sine, far from linear in the action."""
    assert planted["action/latents_mlp"] > planted["action/latents_linear"] + 0.3


def test_tokens_that_are_independent_of_the_action():
    found = numbers_of(blind, data)
    for name in ("tokens_linear", "tokens_mlp", "latents_linear", "latents_mlp"):
        assert found[f"action/{name}"] < 0.15
        assert found[f"relative/{name}"] < 0.15
    assert found["action/pixel_difference_linear"] > 0.4  # frames do say dim 0


def test_a_model_without_tokens_is_probed_by_its_latents():
    def continuous(name, variables, batch):
        assert name == "latents"
        return {"latents": perfect(name, variables, batch)["latents"]}

    found = numbers_of(continuous, data)
    assert found["r2"] == found["action/latents_linear"] > 0.99
    assert found["action/shuffled_linear"] == found["r2_shuffled"] < 0.1
    assert found["r2_across_min"] > 0.99
    assert not any("tokens" in name for name in found)


def test_the_untrained_model_is_looked_at_once():
    asked = []

    def untrained(variables):
        asked.append(variables)
        return "untrained"

    evaluator = motion.Evaluator(perfect, data, train_batches=4, batches=2, untrained=untrained)
    first, second = (dict(evaluator.run("trained", step)) for step in (1, 2))
    assert asked == ["trained"]
    assert first["action/random_tokens_linear"] == second["action/random_tokens_linear"]
    bare = results(motion.Evaluator(perfect, data, train_batches=4, batches=2))
    assert "action/shuffled_linear" in bare
    assert not any("random" in name for name in bare)


def test_one_data_set_has_no_relative_and_one_training_scene_no_network():
    def one(split, batches, seed):
        for batch in data(split, batches, seed):
            scene = batch["scene_id"] // 100
            yield {**batch, "domain": np.full(BATCH, "cups", object), "scene_id": scene}

    found = numbers_of(perfect, one)
    assert found["action/tokens_linear"] > 0.9
    assert not any("relative" in name or "mlp" in name or "_low" in name for name in found)
    names = [axis.get_title(loc="left") for axis in found["probes"].axes]
    assert names == ["to action"]
