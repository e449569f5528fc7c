"""Latent actions from robot video: models, training and analysis in JAX.

>>> import lam
>>> laq = lam.load("runs/demo")
>>> tokens = laq.encode(frames)  # uint8 [N,2,H,W,3] -> int32 [N,L]
"""

__version__ = "0.1.0"


def load(workdir, step=None):
    """A trained model, ready to use: see `lam.load.load`."""
    from lam.api import load as load_

    return load_(workdir, step)
