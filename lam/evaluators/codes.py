"""How many of the codes are alive, position by position.

N samples, L tokens, K codes.
"""

import numpy as np

from lam import plots
from lam.ops import codes


class Evaluator:
    """Yields
    usage_min, usage/<position>            codes that occur at least once, 1..K
    perplexity_min, perplexity/<position>  exp(entropy) of the codes, 1..K
    unique_share                           different token sequences / samples, (0, 1]
    counts                                 Figure

    Config: batches (batches of the set), split, seed, num_codes (K, for the axis of the figure; 0:
    the largest code seen + 1. The numbers do not depend on it).
    """

    needs = ()

    def __init__(self, predict, data, batches=8, split="val", seed=0, num_codes=0):
        self.predict, self.data = predict, data
        self.batches, self.split, self.seed, self.num_codes = batches, split, seed, num_codes

    def run(self, variables, step):
        batches = self.data(self.split, self.batches, self.seed)
        tokens_NL = np.concatenate(
            [self.predict("tokens", variables, batch)["tokens"] for batch in batches]
        )
        counts_LK = codes.counts(tokens_NL, max(self.num_codes, tokens_NL.max() + 1))
        usage_L, perplexity_L = codes.usage(counts_LK), codes.perplexity(counts_LK)
        yield "usage_min", float(usage_L.min())
        yield "perplexity_min", float(perplexity_L.min())
        for position, (used, spread) in enumerate(zip(usage_L, perplexity_L, strict=True)):
            yield f"usage/{position}", float(used)
            yield f"perplexity/{position}", float(spread)
        yield "unique_share", codes.unique_sequences(tokens_NL) / len(tokens_NL)
        yield "counts", plots.code_counts(counts_LK, f"step {step}, {len(tokens_NL)} samples")
