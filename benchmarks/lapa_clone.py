"""LAPA's latent action quantizer, run as published from a clone of LatentActionPretraining/LAPA.

Nothing of the clone is changed or copied: its package is imported without the trainer, which needs
far more libraries than the net, and its fixed "cuda" device is replaced from outside. Needs torch,
einops and beartype (launch/requirements-oracles.txt).
"""

import importlib
import sys
import types
import warnings
from pathlib import Path

MODULE = "laq_model"


def quantizer(clone, device="cpu"):
    """The class LatentActionQuantization of the clone, as it is but for the device.

    Args:
      clone: folder of the clone, which holds laq/laq_model.
      device: of its codebook; the rest is moved by `.to(device)`.

    Raises:
      FileNotFoundError: there is no such folder.
    """
    folder = Path(clone) / "laq" / MODULE
    if not folder.is_dir():
        raise FileNotFoundError(f"{clone} is no clone of LatentActionPretraining/LAPA: no {folder}")
    package = types.ModuleType(MODULE)
    package.__path__ = [str(folder)]
    sys.modules[MODULE] = package
    with warnings.catch_warnings():  # beartype of the way in which types are written
        warnings.simplefilter("ignore", DeprecationWarning)
        module = importlib.import_module(f"{MODULE}.latent_action_quantization")
    original = importlib.import_module(f"{MODULE}.nsvq").NSVQ
    module.NSVQ = lambda **options: original(**{**options, "device": device})
    return module.LatentActionQuantization


def sized(clone, model, image_size, device="cpu"):
    """A net of the size of a lam.models.laq.LAQ, by torch's current random state."""
    assert model.encoder_depth == model.decoder_depth, "LAPA has one depth for both"
    net = quantizer(clone, device)(
        dim=model.width, spatial_depth=model.encoder_depth, temporal_depth=model.encoder_depth,
        heads=model.heads, patch_size=model.patch, image_size=image_size,
        code_seq_len=model.num_tokens, codebook_size=model.num_codes, quant_dim=model.code_width,
    )  # fmt: skip
    return net.to(device)
