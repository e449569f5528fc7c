"""Token analysis of a trained model.

python -m analysis.tokens --workdir=RUN --out=DIR [--config=configs/tokens.py:full]

Variants: `full` (3,000 pairs of a domain, minutes), `smoke` (100).
"""

from ml_collections import ConfigDict


def get_config(variant="full"):
    """The config of a variant: full or smoke."""
    if variant not in VARIANTS:
        raise ValueError(f"no variant '{variant}' of configs/tokens.py: use {', '.join(VARIANTS)}")
    c = ConfigDict()
    c.seed = 0  # of all that is drawn
    c.samples = 3000  # pairs of a domain, at most
    c.pictures = 2000  # pairs whose frames are kept, evenly of all domains
    c.batch = 64  # pairs at once
    c.updates = 6  # of the teacher's flow; twelve are no better at 64 x 64
    c.inspected = 12  # sequences of tokens that are looked at closely, at most
    c.support = 10  # samples of a token in a domain from which it counts there
    c.permutations = 500  # of the episodes, for null and p
    c.resamples = 500  # of the episodes, for intervals
    c.top = 16  # most frequent sequences that stand for themselves, the others as one
    c.level = 0.05  # false discovery rate of findings about single tokens
    c.trials = trials()
    c.data = ConfigDict()  # any of config.data of configs/common.py; what is not given: as the run
    VARIANTS[variant](c)
    return c


def trials():
    """Frames that the decoder makes, of pictures that are kept."""
    t = ConfigDict()
    t.firsts = 24  # first frames for each inspected sequence, evenly of all domains
    t.transfer = 64  # pairs of a domain whose tokens move frames of every domain
    t.swap = 192  # pairs whose tokens move the frame of another that begins alike
    t.order = 128  # pairs whose tokens are decoded in other orders and with one changed
    return t


def full(c):
    del c


def smoke(c):
    c.samples, c.pictures, c.support = 100, 200, 3
    c.trials.update(firsts=12, transfer=16, swap=48, order=32)


VARIANTS = {"full": full, "smoke": smoke}
