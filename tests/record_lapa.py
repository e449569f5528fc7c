"""Records what LAPA's own code answers, for tests that run without it: tests/data/lapa.npz.

python tests/record_lapa.py CLONE   (of LatentActionPretraining/LAPA; needs torch)

Of every case the tokens of some pairs and every eighth pixel of the second frames. B pairs, H W
pixels, L tokens.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import lapa_clone
import lapa_fixtures as fixtures
import numpy as np
import torch

FILE = Path(__file__).parent / "data" / "lapa.npz"
PAIRS, STEP = 16, 8


def peer(clone, model, size, arrays):
    """LAPA's net of the size of a LAQ with {name: array}, taken by torch's strict loading."""
    net = lapa_clone.sized(clone, model, size).eval()
    state = {name: torch.from_numpy(np.array(x)) for name, x in arrays.items()}
    torch.nn.Module.load_state_dict(net, state, strict=True)
    return net


def answers(net, frames_B2HWC):
    """(tokens int64 [B,L], second frames float32 [B,H,W,3]) of uint8 pairs."""
    video = torch.from_numpy(frames_B2HWC).permute(0, 4, 1, 2, 3).float() / 255
    with torch.inference_mode():
        tokens_BL = net.inference(video, return_only_codebook_ids=True)
        recon = net.inference(video)
    return tokens_BL.numpy(), recon.permute(0, 2, 3, 1).numpy()


def main(clone):
    found = {}
    for case in fixtures.CASES:
        model, size = fixtures.model_of(case)
        net = peer(clone, model, size, fixtures.random_arrays(model, size))
        tokens_BL, recon = answers(net, fixtures.frames_of(PAIRS, size))
        found[f"tokens_{case}"] = tokens_BL.astype(np.uint8)
        found[f"recon_{case}"] = recon[:2, ::STEP, ::STEP]
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **found)
    print(f"{FILE}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
