"""What probes read and what they are asked for, from samples of training and of unseen scenes.

Samples are dicts of arrays as `lam.evaluators.collect` gives them, with a `target` [N, D]. numpy.
N samples, F features, D target dims, L tokens, K codes, S state dims.
"""

import numpy as np

from lam.ops import codes, image, pca, probe

CELLS = 8  # a side, of the grid of mean colours


def inputs(train, test, control, seed):
    """{name: (float [N, F] of train, of test)} of every input; the model's own comes first.

    `control`: the same two sets of samples by an untrained model, or None. Features that are not
    one-hot are standardised by the training samples. All pairs are as wide as the widest, with
    columns of zeros.
    """
    found = _coded((train, test), "")
    found["shuffled"] = [probe.shuffled(x, seed) for x in next(iter(found.values()))]
    most = sum(found[name][0].shape[1] for name in ("tokens", "latents") if name in found)
    if control:
        found |= _coded(control, "random_")
    components = pca.fit(train["pixel_difference"], most)
    changes = [pca.apply(components, samples["pixel_difference"]) for samples in (train, test)]
    found["pixel_difference"] = standardised(*changes)
    state = _state(train, test)
    if state:
        found["state"] = state[0]
    widest = max(pair[0].shape[1] for pair in found.values())
    return {name: [_wide(x, widest) for x in pair] for name, pair in found.items()}


def pairs(inputs, train, test):
    """Every (target, input, ((features of train, of test), train, test)) there is to fit.

    The two dicts hold `scene` and `target` of the samples that count: all, or those with a state.
    Targets are "action" as in the samples, "relative" where there are several data sets, and
    "state", see `lam.evaluators.motion`.
    """
    everything = [np.ones(len(samples["scene"]), bool) for samples in (train, test)]
    targets = {"action": ((train["target"], test["target"]), everything)}
    if len(np.unique(train["dataset"])) > 1:
        targets["relative"] = _relative(train, test)
    state = _state(train, test)
    if state:
        targets["state"] = state
    for target, (values, counted) in targets.items():
        for name, features in inputs.items():
            if target == name:
                continue
            needed = state[1] if name == "state" else everything
            rows = [a & b for a, b in zip(counted, needed, strict=True)]
            chosen = [
                {"scene": samples["scene"][row], "target": value[row]}
                for samples, value, row in zip((train, test), values, rows, strict=True)
            ]
            if all(len(samples["scene"]) for samples in chosen):
                yield (
                    target,
                    name,
                    ([x[row] for x, row in zip(features, rows, strict=True)], *chosen),
                )


def difference(batch):
    """{"pixel_difference": float32 [B, F]}: mean colours of a grid, last frame less the first."""
    frames_BTHWC = image.to_float(batch["frames"])
    change = image.pooled(frames_BTHWC[:, -1] - frames_BTHWC[:, 0], CELLS)
    return {"pixel_difference": change.reshape(len(change), -1)}


def held_out(scene_N, seed, share=0.2):
    """Samples of some scenes, at least one, to decide with: bool [N]; none of a single scene."""
    scenes = np.random.default_rng(seed).permutation(np.unique(scene_N))
    few = max(1, round(share * len(scenes))) if len(scenes) > 1 else 0
    return np.isin(scene_N, scenes[:few])


def standardised(train_NF, test_NF):
    """Both less the mean and by the spread of the first; a column that does not vary is kept."""
    mean_F, spread_F = train_NF.mean(axis=0), train_NF.std(axis=0)
    spread_F = np.where(spread_F > 0, spread_F, 1)
    return [(x - mean_F) / spread_F for x in (train_NF, test_NF)]


def _coded(sets, prefix):
    """Tokens as one-hot, where there are any, and latents of two sets of samples."""
    found = {}
    if "tokens" in sets[0]:
        num_codes = 1 + max(samples["tokens"].max() for samples in sets)
        found[f"{prefix}tokens"] = [codes.one_hot(s["tokens"], num_codes) for s in sets]
    flat = [samples["latents"].reshape(len(samples["latents"]), -1) for samples in sets]
    return found | {f"{prefix}latents": standardised(*flat)}


def _state(train, test):
    """((state of train, of test), which samples have one), at the first frame and standardised.

    Of the dims that vary and that all these samples have; zeros for the others. None without any.
    """
    if "state" not in train:
        return None
    there = [samples["state_mask"].any(axis=1) for samples in (train, test)]
    if not all(rows.any() for rows in there):
        return None
    known = [
        samples["state_mask"][rows] for samples, rows in zip((train, test), there, strict=True)
    ]
    fit = train["state"][there[0], 0]
    dims = np.flatnonzero(known[0].all(axis=0) & known[1].all(axis=0) & (fit.std(axis=0) > 0))
    if not len(dims):
        return None
    mean, spread = fit[:, dims].mean(axis=0), fit[:, dims].std(axis=0)
    values = [(samples["state"][:, 0, dims] - mean) / spread for samples in (train, test)]
    return [np.where(rows[:, None], x, 0) for x, rows in zip(values, there, strict=True)], there


def _relative(train, test):
    """((targets of train, of test) less the means of their data sets, which samples have one)."""
    names = np.unique(train["dataset"])
    means = np.stack([train["target"][train["dataset"] == name].mean(axis=0) for name in names])
    values, known = [], []
    for samples in (train, test):
        place = np.searchsorted(names, samples["dataset"]).clip(max=len(names) - 1)
        values.append(samples["target"] - means[place])
        known.append(names[place] == samples["dataset"])
    return values, known


def _wide(features_NF, width):
    return np.pad(features_NF, ((0, 0), (0, width - features_NF.shape[1])))
