"""What all analyses are told."""

import dataclasses

import numpy as np

from lam.ops import draws


@dataclasses.dataclass(frozen=True)
class Options:
    """The same for all analyses; defaults are those of `configs/tokens.py:full`.

    Attributes:
      inspected: sequences of tokens that are looked at closely, int tuples of length L, see
        `analysis.tokens.inspected`; chosen once and the same everywhere.
      support: samples of a token in a domain from which it counts there.
      permutations: of the episodes, for null and p.
      resamples: of the episodes, for intervals.
      top: most frequent sequences that stand for themselves; all others count as one, "other".
      seed: of all that is drawn.
      text_model: sentence embedding of instructions, a name or folder of transformers; "" TF-IDF.
      clusters: of the instructions, at most.
      level: false discovery rate of findings about single tokens (Benjamini-Hochberg).
    """

    inspected: tuple = ()
    support: int = 10
    permutations: int = 500
    resamples: int = 500
    top: int = 16
    seed: int = 0
    text_model: str = ""
    clusters: int = 8
    level: float = 0.05

    def sampling(self, records):
        """How episodes of these records are drawn: `lam.ops.draws.Sampling`."""
        return self.draws(records.episode_N, records.domain_N, records.columns["step"])

    def draws(self, episode_M, domain_M, step_M=None):
        """The same of M trials; where they have no steps, in the order they come in."""
        step_M = np.arange(len(episode_M)) if step_M is None else step_M
        return draws.Sampling(
            episode_M, domain_M, step_M, self.permutations, self.resamples, self.seed
        )
