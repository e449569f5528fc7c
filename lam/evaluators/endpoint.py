"""How far is flow off, on pairs that were never trained on: a teacher's from the exact one, or that
which tokens say from the teacher's?

N pairs, H W pixels.
"""

import numpy as np

from lam import plots
from lam.evaluators import concatenate

STILL = 0.1  # pixels of mean motion, of a pair in which (next to) nothing moves
SHOWN = 6


class Evaluator:
    """Yields (mean end-point errors in pixels)
    epe            over all pixels
    epe_visible    over the pixels that are visible in both frames, where those are known
    epe_still      of pairs with a mean motion below 0.1 px; left out if there are none
    epe_moving     of the others; left out if there are none
    zero           that zero flow has
    pairs          Figure: some pairs, their flow as it is and as it is found

    Config: batches, split, seed.
    """

    needs, asks = (), ("errors", "flow")

    def __init__(self, predict, data, batches=16, split="val", seed=0):
        self.predict, self.data = predict, data
        self.batches, self.split, self.seed = batches, split, seed

    def run(self, variables, step):
        batches = list(self.data(self.split, self.batches, self.seed))
        errors = concatenate([self.predict("errors", variables, batch) for batch in batches])
        for name, error_N in errors.items():
            yield name, float(error_N.mean())
        still_N = errors["zero"] < STILL
        for name, chosen_N in (("epe_still", still_N), ("epe_moving", ~still_N)):
            if chosen_N.any():
                yield name, float(errors["epe"][chosen_N].mean())
        yield "pairs", self._picture(variables, batches, step)

    def _picture(self, variables, batches, step):
        """Pairs drawn by (seed, step)."""
        rng = np.random.default_rng((self.seed, step))
        shown = self.predict("flow", variables, batches[rng.integers(len(batches))])
        rows = np.arange(min(SHOWN, len(shown["flow"])))
        first, second, flow, found = (
            shown[key][rows] for key in ("first", "second", "flow", "found")
        )
        title = f"step {step}: flow and, below each, as found"
        frames = [np.repeat(x, 2, axis=0) / 255 for x in (first, second)]
        flows = np.stack([flow, found], axis=1).reshape(-1, *flow.shape[1:])
        return plots.flows(
            *frames, flows, [f"{kind}" for _ in rows for kind in ("flow", "found")], title
        )
