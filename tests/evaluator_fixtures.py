"""Made-up batches and predictions whose right scores are known beforehand."""

import numpy as np

BATCH, SIZE, LEVELS = 16, 8, 5
DOMAINS = np.array(["toys/table", "toys/shelf", "cups"])


def make_batch(split, number, seed, batch=BATCH):
    """Frames of one grey level each; frame 2 is brighter by 0.02 for every step of dim 0."""
    rng = np.random.default_rng((seed, number, ["train", "val", "test"].index(split)))
    steps_BA = rng.integers(0, LEVELS, (batch, 2))
    first_B = rng.integers(20, 120, batch)
    levels_BT = np.stack([first_B, first_B + 5 * steps_BA[:, 0]], axis=1)
    frames = np.broadcast_to(levels_BT[..., None, None, None], (batch, 2, SIZE, SIZE, 3))
    domain = rng.integers(0, len(DOMAINS), batch)
    return {
        "frames": frames.astype(np.uint8),
        "action": np.c_[steps_BA - 2.0, np.zeros(batch)].astype(np.float32),
        "action_mask": np.tile([True, True, False], (batch, 1)),
        "scene_id": (100 * (split == "train") + rng.integers(0, 10, batch)).astype(np.int32),
        "dataset_id": (domain == 2).astype(np.int32),
        "domain": DOMAINS[domain].astype(object),
    }


def data(split, batches, seed):
    return (make_batch(split, number, seed) for number in range(batches))


def perfect(name, variables, batch):
    """Tokens are the displacement, the decoder adds it."""
    assert len(batch["frames"]) == BATCH, "predictions are compiled for one batch size"
    tokens = np.rint(batch["action"][:, :2] + 2).astype(np.int32)
    if name == "transfer":
        tokens = np.rint(batch["latents"][..., 0] - 0.1)
    recon = batch["frames"][:, 0] / 255 + 5 / 255 * tokens[:, :1, None, None]
    recon = {"recon": recon.astype(np.float32)}
    latents = {"tokens": tokens, "latents": tokens[..., None] + np.float32([0.1, 0.2])}
    made = {"tokens": {"tokens": tokens}, "latents": latents, "transfer": recon}
    return made.get(name, recon | latents)


def blind(name, variables, batch):
    """Tokens are noise and the decoder ignores them: frame 1 comes back."""
    rng = np.random.default_rng(batch["frames"].sum(dtype=np.int64))
    tokens = rng.integers(0, LEVELS, (len(batch["frames"]), 2)).astype(np.int32)
    recon = (batch["frames"][:, 0] / 255).astype(np.float32)
    latents = rng.normal(size=(*tokens.shape, 2)).astype(np.float32)
    return {"tokens": tokens, "recon": recon, "latents": latents}


def results(evaluator, step=0):
    return dict(evaluator.run({}, step))
