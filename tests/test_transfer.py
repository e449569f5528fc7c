"""lam.evaluators.transfer on a decoder that moves a blob: by what the tokens say, or otherwise."""

import logging

import numpy as np
import pytest

from lam.evaluators import transfer
from lam.flow import directions

BATCH, SIDE, FAR, PLACES = 8, 64, 5.0, (20, 44)
ROBOTS = np.array(["set/one", "set/two"])


def draw(ground_BHWC, place_B2):
    """A chequered disc at (x, y) over the ground: float32 [B,H,W,3]."""
    y, x = np.mgrid[:SIDE, :SIDE]
    dx, dy = (grid - place_B2[:, i, None, None] for i, grid in enumerate((x, y)))
    cover = np.clip(8 - np.hypot(dx, dy), 0, 1)[..., None]
    squares = 0.5 + 0.4 * np.sign(np.sin(dx / 1.5 + 0.3) * np.sin(dy / 1.5 + 0.3))[..., None]
    return ((1 - cover) * ground_BHWC + cover * squares).astype(np.float32)


def ways(octant_B):
    turn = np.asarray(octant_B) * np.pi / 4
    return FAR * np.stack([np.cos(turn), np.sin(turn)], axis=-1)


def stream(split, batches, seed, far=1.0, robots=ROBOTS):
    """Pairs in which the disc goes one of eight ways; every pair is of a scene of its own."""
    for number in range(batches):
        rng = np.random.default_rng((seed, number))
        ground = rng.uniform(0.2, 0.8, (BATCH, 8, 8, 3)).repeat(8, axis=1).repeat(8, axis=2)
        place, octant = rng.uniform(*PLACES, (BATCH, 2)), rng.integers(0, 8, BATCH)
        frames = np.stack([draw(ground, place), draw(ground, place + far * ways(octant))], axis=1)
        yield {
            "frames": np.rint(255 * frames).astype(np.uint8),
            "ground": ground,
            "place": place,
            "octant": octant,
            "scene_id": np.arange(BATCH) + BATCH * number,
            "domain": robots[np.arange(BATCH) % len(robots)].astype(object),
        }


def moving(turn=0, still=()):
    """A decoder that moves the disc as the tokens say, turned by so many octants; not at all in
    the domains `still`."""

    def predict(name, variables, batch):
        assert len(batch["frames"]) == BATCH
        if name == "latents":
            return {"latents": batch["octant"][:, None, None]}
        way = ways(batch["latents"][:, 0, 0] + turn)
        way = np.where(np.isin(batch["domain"].astype(str), still)[:, None], 0, way)
        return {"recon": draw(batch["ground"], batch["place"] + way)}

    return predict


def centroid(first, second):
    """In place of the teacher: the way of what is far from grey."""
    y, x = np.mgrid[:SIDE, :SIDE]
    found = []
    for image in (first, second):
        image = image / 255 if image.dtype == np.uint8 else image
        weight = np.abs(image[..., 0] - 0.5).clip(0.35) - 0.35
        total = weight.sum(axis=(1, 2))
        found.append(np.stack([(weight * g).sum(axis=(1, 2)) / total for g in (x, y)], axis=1))
    vector = found[1] - found[0]
    moves = np.linalg.norm(vector, axis=1) > 0.5
    return {"vector": vector, "moves": moves, "clear": moves}


def grey(*where, **more):
    """The same pairs with one grey for a ground, so that the disc alone stands out."""
    for batch in stream(*where, **more):
        ground = np.full_like(batch["ground"], 0.5)
        place = batch["place"]
        way = more.get("far", 1.0) * ways(batch["octant"])
        frames = np.stack([draw(ground, place), draw(ground, place + way)], axis=1)
        yield {**batch, "ground": ground, "frames": np.rint(255 * frames).astype(np.uint8)}


def run(predict, data=grey, step=0, **config):
    evaluator = transfer.Evaluator(predict, data, **{"batches": 8, "pairs": 12} | config)
    evaluator.motion = centroid
    return dict(evaluator.run({}, step))


def test_a_decoder_that_follows_the_tokens_is_off_by_nothing():
    found = run(moving())
    assert found["angle_within"] < 5
    assert found["angle_across"] < 5
    assert found["angle_self"] < 5
    assert found["angle_shuffled"] == pytest.approx(90, abs=12)
    assert found["moved"] == 1
    assert found["pairs"] == 24
    assert {f"angle/{a}/{b}" for a in ROBOTS for b in ROBOTS} <= set(found)
    assert len(found["matrix"].axes[0].texts) == 4


@pytest.mark.parametrize("turn", [1, 2, 4])
def test_a_decoder_that_moves_another_way_is_off_by_that_angle(turn):
    found = run(moving(turn))
    assert found["angle_within"] == pytest.approx(45 * turn, abs=5)
    assert found["angle_across"] == pytest.approx(45 * turn, abs=5)
    assert found["angle_across_low"] <= found["angle_across"] <= found["angle_across_high"]


def test_what_does_not_move_counts_as_90():
    found = run(moving(still=("set/two",)))
    assert found["angle/set/one/set/two"] == found["angle/set/two/set/two"] == 90
    assert found["angle/set/two/set/one"] < 5
    assert found["moved"] == pytest.approx(0.5)
    assert found["angle_within"] == pytest.approx(45, abs=4)


def test_first_frames_are_drawn_by_seed_and_step_pairs_by_seed():
    def predict(name, variables, batch):  # off by an angle of the first frame's own
        if name == "latents":
            return moving()(name, variables, batch)
        own = batch["latents"][:, 0, 0] + batch["place"][:, 0] / 20
        return {"recon": draw(batch["ground"], batch["place"] + ways(own))}

    one, same, other = (run(predict, step=step) for step in (3, 3, 4))
    assert one["angle_across"] == same["angle_across"] != other["angle_across"]
    assert one["angle_self"] == other["angle_self"]


def test_cells_never_pair_a_first_frame_with_its_own_tokens_twice():
    domain = np.array(list("aaabbbb"))
    for seed in range(10):
        source, first = transfer.cells(domain, np.random.default_rng(seed))
        own = source == first
        assert own.sum() == 7
        rows = [(domain[s], domain[f]) for s, f in zip(source[~own], first[~own], strict=True)]
        assert {cell: rows.count(cell) for cell in rows} == {
            ("a", "a"): 3, ("a", "b"): 3, ("b", "a"): 4, ("b", "b"): 4,
        }  # fmt: skip


def test_a_single_domain_has_nothing_across():
    found = run(moving(), lambda *where: grey(*where, robots=ROBOTS[:1]))
    assert found["angle_within"] < 5
    assert not any("across" in name for name in found)
    assert "angle/set/one/set/one" in found


def test_pairs_in_which_nothing_moves_give_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "lam.evaluators"):
        assert run(moving(), lambda *where: grey(*where, far=0.0)) == {}
    assert "too few pairs of val with a clear motion: no transfer" in caplog.text


def test_the_shipped_teacher_sees_the_way_of_the_disc():
    batch = next(stream("val", 1, 1))
    frames = batch["frames"]
    found = directions.Directions()(frames[:, 0], frames[:, 1])
    off = directions.angles(found["vector"], ways(batch["octant"]))
    assert np.median(off[found["clear"]]) < 15
    assert found["clear"].sum() >= 5
    still = directions.Directions()
    still._estimate = lambda first, second, updates: np.zeros((*first.shape[:3], 2))
    nothing = still(frames[:3, 0], frames[:3, 1])
    assert not nothing["moves"].any()
    assert nothing["vector"].shape == (3, 2)


def test_angles_of_vectors():
    one = np.array([[1, 0], [1, 0], [2, 0], [0, 0], [1, 1]])
    other = np.array([[3, 0], [0, 2], [-1, 0], [1, 0], [1, 0]])
    np.testing.assert_allclose(directions.angles(one, other), [0, 90, 180, 90, 45], atol=1e-5)
