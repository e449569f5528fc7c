"""Do the tokens say how the robot moved? A linear probe from tokens to the true displacement.

Fitted in closed form on the one-hot tokens of TRAINING scenes, scored on scenes the model has never
seen. N samples, L tokens, D displacement dims.
"""

import numpy as np

from lam import plots
from lam.errors import UserError
from lam.evaluators import concatenate, take
from lam.ops import codes, probe


class Evaluator:
    """Yields (R2 = share of variance explained, see `lam.ops.probe.r2`)
    r2                  unseen scenes, all dims together
    r2_low, r2_high     95 % bootstrap interval over the unseen scenes (from two scenes on)
    r2_dim<i>           unseen scenes, dim i of the action alone
    r2_shuffled         control: tokens dealt out to the samples at random; about 0 or below
    r2_across/<domain>  fitted on the training scenes of the OTHER domains, scored on the unseen
                        scenes of this one: do tokens mean the same motion everywhere?
    r2_across_min       the worst of these; left out, like them, with a single domain
    scatter             Figure, predicted against true displacement on unseen scenes

    Config: dims (which dims of `action` are the displacement), train_batches, batches (of unseen
    scenes), split (of the unseen scenes), ridge, resamples, seed.
    Raises UserError when made from data without these actions.
    """

    needs = ("action",)

    def __init__(
        self,
        predict,
        data,
        dims=(0, 1),
        train_batches=32,
        batches=16,
        split="val",
        ridge=1.0,
        resamples=200,
        seed=0,
    ):
        self.predict, self.data, self.dims = predict, data, list(dims)
        self.train_batches, self.batches, self.split = train_batches, batches, split
        self.ridge, self.resamples, self.seed = ridge, resamples, seed
        if not any(self._has_action(batch).any() for batch in data("train", 4, seed)):
            raise UserError(self._complaint("train"))

    def run(self, variables, step):
        train = self._collect(variables, "train", self.train_batches)
        test = self._collect(variables, self.split, self.batches)
        leaked = np.intersect1d(train["scene"], test["scene"])
        assert not len(leaked), f"Scenes {leaked[:5]} are both in train and in {self.split}."
        targets_ND, predictions_ND = test["target"], self._probe(train, test)
        r2 = probe.r2(targets_ND, predictions_ND)
        yield "r2", r2
        if len(np.unique(test["scene"])) > 1:
            low, high = probe.bootstrap_r2(
                targets_ND, predictions_ND, test["scene"], self.resamples, seed=self.seed
            )
            yield "r2_low", low
            yield "r2_high", high
        for dim, value in zip(self.dims, probe.r2_per_dim(targets_ND, predictions_ND), strict=True):
            yield f"r2_dim{dim}", float(value)
        mixed = [{**s, "tokens": probe.shuffled(s["tokens"], self.seed)} for s in (train, test)]
        yield "r2_shuffled", probe.r2(targets_ND, self._probe(*mixed))
        yield from self._across(train, test)
        yield (
            "scatter",
            plots.displacements(
                targets_ND, predictions_ND, test["domain"], f"step {step}, R² {r2:.2f}"
            ),
        )

    def _across(self, train, test):
        scores = {}
        for name in np.unique(test["domain"]):
            others, here = train["domain"] != name, test["domain"] == name
            if others.any():
                fitted, scored = take(train, others), take(test, here)
                scores[name] = probe.r2(scored["target"], self._probe(fitted, scored))
        yield from ((f"r2_across/{name}", score) for name, score in scores.items())
        if scores:
            yield "r2_across_min", min(scores.values())

    def _probe(self, train, test):
        """Predicted displacements [N, D] of `test` by a probe fitted on `train`."""
        num_codes = 1 + max(train["tokens"].max(), test["tokens"].max())
        features = codes.one_hot(train["tokens"], num_codes)
        fitted = probe.fit(features, train["target"], self.ridge)
        return probe.apply(fitted, codes.one_hot(test["tokens"], num_codes))

    def _collect(self, variables, split, batches):
        """Tokens, displacement, scene and domain of the samples that have the actions."""
        parts = []
        for batch in self.data(split, batches, self.seed):
            samples = {
                "tokens": self.predict("tokens", variables, batch)["tokens"],
                "target": batch["action"][:, : max(self.dims) + 1],
                "scene": batch["scene_id"],
                "domain": batch["domain"].astype(str),
            }
            parts.append(take(samples, self._has_action(batch)))
        samples = concatenate(parts)
        if not len(samples["target"]):
            raise UserError(self._complaint(split))
        return {**samples, "target": samples["target"][:, self.dims]}

    def _has_action(self, batch):
        """Which samples have all the wanted dims: bool [B]."""
        mask_BA = batch["action_mask"]
        if max(self.dims) >= mask_BA.shape[1]:
            return np.zeros(len(mask_BA), bool)
        return mask_BA[:, self.dims].all(axis=1)

    def _complaint(self, split):
        return (
            f"The evaluator 'motion' needs dims {tuple(self.dims)} of the true action, which no"
            f" {split} sample has; choose other dims with --config.evals.motion.dims or remove it"
            ' with --config.evals.motion.type="".'
        )
