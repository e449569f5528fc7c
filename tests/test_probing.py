"""lam.ops that probes stand on, with planted truth."""

import numpy as np
import pytest

from lam.ops import codes, image, mlp, pca, probe, probing, resample


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_network_learns_what_is_not_linear(rng):
    """Each pair of tokens has a displacement of its own: no sum over positions says it."""
    tokens, table = rng.integers(0, 4, (600, 2)), rng.normal(size=(4, 4, 2))
    features, targets = codes.one_hot(tokens, 4), table[tokens[:, 0], tokens[:, 1]]
    fit, held, test = slice(400), np.arange(400) % 5 == 0, slice(400, 600)
    network = mlp.fit(features[fit], targets[fit], held)
    assert probe.r2(targets[test], mlp.apply(network, features[test])) > 0.97
    linear = probe.fit(features[fit], targets[fit])
    assert probe.score(linear, features[test], targets[test]) < 0.8


def test_a_network_on_noise_stops_at_once_and_says_the_mean(rng):
    features, targets = rng.normal(size=(300, 30)), 5 + rng.normal(size=(300, 2))
    network = mlp.fit(features, targets, np.arange(300) % 5 == 0)
    fresh = rng.normal(size=(300, 30)), 5 + rng.normal(size=(300, 2))
    assert -0.15 < probe.r2(fresh[1], mlp.apply(network, fresh[0])) < 0.05


def test_networks_are_reproducible_and_blind_to_columns_of_zeros(rng):
    features = rng.normal(size=(120, 3))
    targets, held = np.sin(2 * features[:, :1]), np.arange(120) % 4 == 0
    found = mlp.apply(mlp.fit(features, targets, held), features)
    np.testing.assert_array_equal(mlp.apply(mlp.fit(features, targets, held), features), found)
    wide = np.pad(features, ((0, 0), (0, 5)))
    np.testing.assert_allclose(mlp.apply(mlp.fit(wide, targets, held), wide), found, atol=1e-5)
    other = mlp.apply(mlp.fit(features, targets, held, seed=1), features)
    assert np.abs(other - found).max() > 1e-3


def test_held_out_samples_are_whole_scenes_and_never_all():
    scenes = np.repeat(np.arange(10), 3)
    held = probing.held_out(scenes, seed=0)
    assert held.sum() == 6
    assert all(len(set(held[scenes == scene])) == 1 for scene in range(10))
    assert probing.held_out(np.array([4, 7]), 0).sum() == 1
    assert not probing.held_out(np.array([4, 4]), 0).any()


def test_principal_components_find_the_planted_directions(rng):
    axes, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    points = rng.normal(size=(400, 2)) * [3, 1] @ axes[:, :2].T + 7
    components = pca.fit(points, 4)
    np.testing.assert_allclose(np.abs(axes[:, :2].T @ components[1][:, :2]), np.eye(2), atol=0.1)
    assert components[2][0] > 0.8
    assert components[2][:2].sum() == pytest.approx(1)
    found = pca.apply(components, points)
    np.testing.assert_allclose(found @ components[1].T + components[0], points, atol=1e-6)
    assert pca.fit(points[:, :1], 4)[1].shape == (1, 1)
    np.testing.assert_array_equal(pca.fit(np.ones((5, 3)), 2)[2], 0)


def test_pooled_colours_are_means_of_cells(rng):
    images = rng.uniform(size=(2, 12, 8, 3)).astype(np.float32)
    found = image.pooled(images, 4)
    np.testing.assert_allclose(found[1, 2, 3], images[1, 6:9, 6:8].mean(axis=(0, 1)), rtol=1e-5)
    assert image.pooled(images[:, :3], 4).shape == (2, 3, 4, 3)
    np.testing.assert_allclose(image.pooled(np.ones((7, 9, 1)), 4), 1)


def test_sequences_by_frequency():
    tokens = np.array([[1, 0], [2, 2], [0, 5], [2, 2], [0, 5], [2, 2]])
    found, number = codes.sequences(tokens)
    assert found.tolist() == [[2, 2], [0, 5], [1, 0]]
    np.testing.assert_array_equal(found[number], tokens)


def test_the_interval_of_a_mean_is_that_of_its_groups(rng):
    groups = np.repeat(np.arange(40), 25)
    values = rng.normal(size=40)[groups]  # all spread lies between the groups
    low, high = resample.mean_interval(values, groups, resamples=2000)
    error = values.std() / 40**0.5
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert low < values.mean() < high


def samples(rng, count, scenes, **more):
    return {
        "tokens": rng.integers(0, 3, (count, 2)),
        "latents": rng.normal(size=(count, 2, 2)),
        "pixel_difference": rng.normal(size=(count, 30)),
        "target": rng.normal(size=(count, 2)),
        "scene": rng.choice(scenes, count),
        "dataset": np.array(["one", "two"])[rng.integers(0, 2, count)],
        **more,
    }


def test_inputs_have_one_width_and_pixels_no_more_components_than_the_model(rng):
    train, test = samples(rng, 80, range(8)), samples(rng, 40, range(8, 12))
    found = probing.inputs(train, test, (train, test), 0)
    names = ["tokens", "latents", "shuffled", "random_tokens", "random_latents"]
    assert list(found) == [*names, "pixel_difference"]
    assert {x.shape for pair in found.values() for x in pair} == {(80, 10), (40, 10)}
    assert np.linalg.matrix_rank(found["pixel_difference"][0]) == 10  # 2 x 3 codes + 2 x 2
    np.testing.assert_array_equal(found["tokens"][0][:, :6], codes.one_hot(train["tokens"], 3))
    assert (found["shuffled"][0] != found["tokens"][0]).any()
    assert sorted(map(tuple, found["shuffled"][0])) == sorted(map(tuple, found["tokens"][0]))


def test_relative_targets_have_no_data_set_in_them(rng):
    def shifted(count, scenes):
        found = samples(rng, count, scenes)
        far = np.where(found["dataset"] == "one", 100.0, -100.0)[:, None]
        return {**found, "target": far + np.arange(count)[:, None] % 2}

    train, test = shifted(400, range(8)), shifted(100, range(8, 12))
    test["dataset"][:5] = "three"  # has no training sample, so no mean
    inputs = probing.inputs(train, test, None, 0)
    found = {(target, name): pair for target, name, pair in probing.pairs(inputs, train, test)}
    features, fitted, scored = found["relative", "tokens"]
    assert np.abs(fitted["target"]).max() < 0.7
    assert len(scored["target"]) == len(features[1]) == 95
    assert len(found["action", "tokens"][2]["target"]) == 100


def test_state_is_of_those_who_have_it(rng):
    def stated(count, scenes):
        there = np.arange(count) % 2 == 0
        state = rng.normal(size=(count, 2, 4)) * [1, 100, 1, 1]
        state[..., 3] = 5.0  # does not vary
        mask = np.tile([True, True, False, True], (count, 1)) & there[:, None]
        return samples(rng, count, scenes, state=state, state_mask=mask)

    train, test = stated(200, range(8)), stated(60, range(8, 12))
    inputs = probing.inputs(train, test, None, 0)
    found = {(target, name): pair for target, name, pair in probing.pairs(inputs, train, test)}
    features, fitted, scored = found["state", "tokens"]
    assert fitted["target"].shape == (100, 2)
    assert len(scored["target"]) == len(features[1]) == 30
    np.testing.assert_allclose(fitted["target"].std(axis=0), 1)
    expected = train["state"][::2, 0, 1]
    assert np.corrcoef(fitted["target"][:, 1], expected)[0, 1] == pytest.approx(1)
    assert len(found["action", "state"][2]["target"]) == 30
    assert ("state", "state") not in found
    bare = {k: v for k, v in train.items() if not k.startswith("state")}
    assert "state" not in probing.inputs(bare, test, None, 0)
