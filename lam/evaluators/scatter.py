"""Where in a plane of action, state or image motion do the tokens lie?

N samples, L tokens, S sequences.
"""

from lam import token_plots
from lam.errors import UserError
from lam.evaluators import TARGET, collect, has_dims, take
from lam.flow import directions
from lam.ops import codes, probe, stats

AXES = {"action": "action, dim {}", "state": "state at frame 1, dim {}", "flow": "mean flow {}, px"}
FLOW_DIMS = ("right", "down")


def needs(of="action", **_):
    """What the data must have for these axes."""
    if of not in AXES:
        raise UserError(f"config.evals: a scatter is of {', '.join(AXES)}; got '{of}'")
    return () if of == "flow" else (of,)


class Evaluator:
    """Yields
    explained/<position>, explained/sequence  share of the variance of the points between tokens,
                        or whole sequences, see `lam.ops.stats.between_share`: 1 all, 0 none
    shuffled/...        the same with tokens dealt out to the samples at random; about 0
    scatter             Figure: the points, by the token of each position, by the whole sequence,
                        and the `top` most frequent sequences

    Config: of ("action", as in the batch; "state", at frame 1; "flow", the length-weighted mean of
    the flow by the shipped teacher, which any video has), dims (the two of action or state), top,
    batches, split, seed.
    Raises UserError when run on samples without these dims.
    """

    needs, asks = staticmethod(needs), ("tokens",)

    def __init__(
        self, predict, data, of="action", dims=(0, 1), top=6, batches=16, split="val", seed=0
    ):
        self.predict, self.data, self.of, self.dims = predict, data, of, tuple(dims)
        self.top, self.batches, self.split, self.seed = top, batches, split, seed
        if len(self.dims) != 2:
            raise UserError(f"config.evals: a scatter is of 2 dims, got dims={self.dims}")
        self.motion = directions.Directions() if of == "flow" else None

    def run(self, variables, step):
        points_N2, tokens_NL = self._samples(variables)
        sequences_SL, number_N = codes.sequences(tokens_NL)
        kinds = {str(i): column for i, column in enumerate(tokens_NL.T)} | {"sequence": number_N}
        mixed_N2 = probe.shuffled(points_N2, self.seed)
        for name, kinds_N in kinds.items():
            for key, values_N2 in (("explained", points_N2), ("shuffled", mixed_N2)):
                share = stats.between_share(values_N2, kinds_N, int(kinds_N.max()) + 1)
                yield f"{key}/{name}", float(share)
        dims = FLOW_DIMS if self.of == "flow" else self.dims
        names = [AXES[self.of].format(dim) for dim in dims]
        title = f"Tokens, step {step}, {len(points_N2)} samples"
        top_SL = sequences_SL[: self.top]
        yield "scatter", token_plots.scatter(points_N2, tokens_NL, top_SL, names, title)

    def _samples(self, variables):
        """Points [N, 2] and tokens [N, L] of the samples that have these dims."""
        batches = self.data(self.split, self.batches, self.seed)
        more = self._flow if self.of == "flow" else None
        samples = collect(self.predict, "tokens", variables, batches, more)
        if self.of == "flow":
            return samples["flow"], samples["tokens"]
        samples = take(samples, has_dims(samples[f"{self.of}_mask"], self.dims))
        if not len(samples["tokens"]):
            raise UserError(
                f"a scatter of {self.of} needs its dims {self.dims}, which no {self.split} sample "
                "has: choose others by dims in config.evals"
            )
        values = samples["action"] if self.of == "action" else samples["state"][:, 0]
        return values[:, list(self.dims)], samples["tokens"]

    def _flow(self, batch):
        frames_BTHWC = batch["frames"]
        return {"flow": self.motion(frames_BTHWC[:, 0], frames_BTHWC[:, TARGET])["vector"]}
