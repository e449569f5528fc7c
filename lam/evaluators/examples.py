"""Pairs of frames that share all their tokens, to look at: do they show the same motion?

N samples, L tokens, S sequences.
"""

import logging

import numpy as np

from lam import token_plots
from lam.evaluators import TARGET, collect, pick
from lam.evaluators.pictures import in_turn
from lam.ops import codes, image

log = logging.getLogger(__name__)


class Evaluator:
    """Yields
    shared    share of samples whose sequence of tokens occurs in several domains, 0..1; left out
              with a single domain
    examples  Figure: a row for each of the sequences that occur in most domains, then those that
              are most frequent, with pairs of different domains drawn by (seed, step); left out,
              with a warning, where no two samples share a sequence

    Config: rows, columns, batches, split, seed.
    """

    needs, asks = (), ("tokens",)

    def __init__(self, predict, data, rows=6, columns=3, batches=16, split="val", seed=0):
        self.predict, self.data, self.rows, self.columns = predict, data, rows, columns
        self.batches, self.split, self.seed = batches, split, seed

    def run(self, variables, step):
        samples = collect(self.predict, "tokens", variables, self._stream())
        domain_N = samples["domain"]
        sequences_SL, number_N = codes.sequences(samples["tokens"])
        pairs = np.unique(np.stack([number_N, np.unique(domain_N, return_inverse=True)[1]]), axis=1)
        domains_S, counts_S = np.bincount(pairs[0]), np.bincount(number_N)
        if len(np.unique(domain_N)) > 1:
            yield "shared", float(np.mean(domains_S[number_N] > 1))
        ranked = np.lexsort((-counts_S, -domains_S))
        chosen = [number for number in ranked if counts_S[number] > 1][: self.rows]
        if not chosen:
            log.warning("no two of %d samples share their tokens: no examples", len(number_N))
            return
        rng = np.random.default_rng((self.seed, step))
        members = [
            in_turn(domain_N, rng.permutation(np.flatnonzero(number_N == number)))[: self.columns]
            for number in chosen
        ]
        names = [" ".join(map(str, sequences_SL[number])) for number in chosen]
        yield "examples", self._picture(members, names, step)

    def _picture(self, members, names, step):
        shown = pick(self._stream(), np.concatenate(members))
        rows = np.split(np.arange(len(shown["domain"])), np.cumsum([len(m) for m in members])[:-1])
        frames = image.to_float(shown["frames"])
        columns = max(map(len, rows))
        labels = [[str(shown["domain"][i]) for i in row] for row in rows]
        return token_plots.examples(
            [frames[row, 0] for row in rows],
            [frames[row, TARGET] for row in rows],
            [label + [""] * (columns - len(label)) for label in labels],
            names,
            f"Pairs that share their tokens, step {step}",
        )

    def _stream(self):
        return self.data(self.split, self.batches, self.seed)
