"""Do the tokens say how the robot moved? Probes from tokens to the true displacement, and controls.

Fitted on TRAINING scenes, scored on scenes the model has never seen. N samples, L tokens, Z width
of a latent, D displacement dims, F features.
"""

import numpy as np

from lam import plots, token_plots
from lam.errors import UserError
from lam.evaluators import collect, has_dims, take
from lam.ops import mlp, probe, probing

OWN = ("tokens", "latents")  # inputs whose intervals are also given as numbers


class Evaluator:
    """Yields R2 = share of variance explained on unseen scenes, see `lam.ops.probe.r2`.

    Of a linear probe of the one-hot tokens (of the latents where a model has no tokens):
    r2                  all dims together
    r2_low, r2_high     95 % bootstrap interval over the unseen scenes (from two scenes on)
    r2_dim<i>           dim i of the action alone
    r2_shuffled         control: tokens dealt out to the samples at random; about 0 or below
    r2_across/<domain>  fitted on the training scenes of the OTHER domains, scored on the unseen
                        scenes of this one: do tokens mean the same motion everywhere?
    r2_across_min       the worst of these; left out, like them, with a single domain
    scatter             Figure, predicted against true displacement on unseen scenes

    Of every probe, as `<target>/<input>_<probe>`; `..._low` and `..._high` for tokens and latents
      target  action    these dims of the action
              relative  the same less the mean of the training samples of its data set, so that
                        nothing is won by telling data sets apart; left out with a single one
              state     proprioception at frame 1, each dim by its spread: tokens that say it
                        describe where the robot is, not what it does. Left out without state
      input   tokens    one-hot
              latents   what is quantised
              shuffled  tokens dealt out at random
              random_tokens, random_latents  of the same model before any training
              pixel_difference  mean colours of a grid of 8 x 8, frame 2 less frame 1, as many
                        principal components as tokens and latents have features; what a frozen
                        encoder would give, here of pixels
              state     at frame 1: how much of the action is known without seeing it
      probe   linear    ridge regression
              mlp       one hidden layer, stopped by a fifth of the training scenes, see
                        `lam.ops.mlp`; left out with fewer than two training scenes
    probes              Figure of all these with their intervals

    Config: dims (which dims of `action` are the displacement), train_batches, batches (of unseen
    scenes), split (of the unseen scenes), ridge, resamples, seed.
    Raises UserError when made from data without these actions.
    """

    needs, asks, baseline = ("action",), ("latents",), True

    def __init__(
        self, predict, data, untrained=None, dims=(0, 1), train_batches=32, batches=16,
        split="val", ridge=1.0, resamples=200, seed=0,
    ):  # fmt: skip
        self.predict, self.data, self.dims = predict, data, list(dims)
        self.train_batches, self.batches, self.split = train_batches, batches, split
        self.ridge, self.resamples, self.seed = ridge, resamples, seed
        self.untrained, self.control = untrained, None
        if not any(has_dims(b["action_mask"], dims).any() for b in data("train", 4, seed)):
            raise UserError(self._complaint("train"))

    def run(self, variables, step):
        train, test = self._collect(variables)
        leaked = np.intersect1d(train["scene"], test["scene"])
        assert not len(leaked), f"Scenes {leaked[:5]} are both in train and in {self.split}."
        if self.untrained and not self.control:
            self.control = self._collect(self.untrained(variables))
        inputs = probing.inputs(train, test, self.control, self.seed)
        rows, found = self._probes(inputs, train, test)
        main = next(iter(inputs))
        predictions_ND = found[f"action/{main}_linear"]
        yield from self._in_short(rows, main, test, predictions_ND)
        yield from self._across(inputs[main], train, test)
        title = f"step {step}, R² {rows[f'action/{main}_linear'][0]:.2f}"
        yield "scatter", plots.displacements(test["target"], predictions_ND, test["domain"], title)
        for name, (r2, *interval) in rows.items():
            yield name, r2
            if interval and name.split("/")[1].rsplit("_", 1)[0] in OWN:
                yield f"{name}_low", interval[0]
                yield f"{name}_high", interval[1]
        yield "probes", token_plots.probes(rows, f"unseen scenes, step {step}")

    def _in_short(self, rows, main, test, predictions_ND):
        r2, *interval = rows[f"action/{main}_linear"]
        yield "r2", r2
        for name, bound in zip(("low", "high"), interval, strict=False):
            yield f"r2_{name}", bound
        per_dim_D = probe.r2_per_dim(test["target"], predictions_ND)
        for dim, value in zip(self.dims, per_dim_D, strict=True):
            yield f"r2_dim{dim}", float(value)
        yield "r2_shuffled", rows["action/shuffled_linear"][0]

    def _across(self, main, train, test):
        scores = {}
        for name in np.unique(test["domain"]):
            others, here = train["domain"] != name, test["domain"] == name
            if others.any():
                features = main[0][others], main[1][here]
                found = self._linear(features, train["target"][others])
                scores[name] = probe.r2(test["target"][here], found)
        yield from ((f"r2_across/{name}", score) for name, score in scores.items())
        if scores:
            yield "r2_across_min", min(scores.values())

    def _probes(self, inputs, train, test):
        """{"<target>/<input>_<probe>": (R2, low, high) or (R2,)} and the predictions of each."""
        rows, predictions = {}, {}
        for target, input_name, pair in probing.pairs(inputs, train, test):
            (x_train, x_test), fitted, scored = pair
            found = {"linear": self._linear((x_train, x_test), fitted["target"])}
            held_N = probing.held_out(fitted["scene"], self.seed)
            if held_N.any():
                network = mlp.fit(x_train, fitted["target"], held_N, seed=self.seed)
                found["mlp"] = mlp.apply(network, x_test)
            for kind, found_ND in found.items():
                name = f"{target}/{input_name}_{kind}"
                interval = self._interval(scored, found_ND)
                rows[name] = probe.r2(scored["target"], found_ND), *interval
                predictions[name] = found_ND
        return rows, predictions

    def _linear(self, features, targets_ND):
        """Predictions [N, D] for the second of the features by a probe fitted on the first."""
        return probe.apply(probe.fit(features[0], targets_ND, self.ridge), features[1])

    def _interval(self, test, predictions_ND):
        """(low, high) of R2 over the scenes, () with a single one."""
        if len(np.unique(test["scene"])) < 2:
            return ()
        return probe.bootstrap_r2(
            test["target"], predictions_ND, test["scene"], self.resamples, seed=self.seed
        )

    def _collect(self, variables):
        """The samples of both sets that have the actions, `target` being these."""
        found = []
        for split, batches in (("train", self.train_batches), (self.split, self.batches)):
            stream = self.data(split, batches, self.seed)
            samples = collect(self.predict, "latents", variables, stream, probing.difference)
            samples = take(samples, has_dims(samples["action_mask"], self.dims))
            if not len(samples["scene"]):
                raise UserError(self._complaint(split))
            found.append({**samples, "target": samples["action"][:, self.dims]})
        return found

    def _complaint(self, split):
        return (
            f"The evaluator 'motion' needs dims {tuple(self.dims)} of the true action, which no"
            f" {split} sample has; choose other dims with --config.evals.motion.dims or remove it"
            ' with --config.evals.motion.type="".'
        )
