"""What the decoder makes of some pictures, for the analyses that look at decoded motion.

Tokens are put on first frames, the frame that the decoder draws is compared with the first one by
the flow teacher. P pictures, S inspected sequences, Q first frames, M trials, V variants, L token
positions, K codes, Z width of a code, H W pixels. Flow fields in pixels, float16; motions (the
median-corrected mean, weighted by length) float32 in shares of (W, H) per pair; `moves` says
whether anything does. Arrays of frames.npz beside the pictures themselves:

| array | shape | what |
|---|---|---|
| codes | [L,K,Z] | what the decoder is given for each code |
| latents | [P,L,Z] | what the tokens of each picture were quantised from |
| apply_tokens, apply_first | [S,L], [Q] | inspected sequences, on each of these pictures |
| apply_recon, apply_flow | [S,Q,H,W,3], [S,Q,H,W,2] | the frame that comes out, its flow |
| apply_motion, apply_moves | [S,Q,2], [S,Q] | |
| apply_true_flow | [Q,H,W,2] | of the real pair |
| apply_decoder_flow | [S,Q,H,W,2] | by the flow decoder, where the model has one |
| transfer_source, transfer_first | [M] | tokens of one picture on the first frame of another |
| transfer_motion, transfer_moves | [M,2], [M] | |
| swap_source, swap_first | [M] | the same, with the picture of the domain that begins most alike |
| swap_by | [] | "state", "pixels" or, where some have no state, "state or pixels" |
| swap_distance | [M] | how far apart they begin, in standard deviations of the domain |
| swap_recon, swap_flow | [M,H,W,3], [M,H,W,2] | |
| swap_motion, swap_moves | [M,2], [M] | |
| order_names | [V] | own, reversed, permuted, position 0, ...: from another sample there |
| order_picture | [M] | |
| order_motion, order_moves | [V,M,2], [V,M] | |
"""

import numpy as np

from analysis.tokens.records import KIND, VECTOR
from lam import progress
from lam.evaluators.transfer import cells
from lam.ops.image import pooled

GRID = 8  # cells of a side, of the colours by which first frames are compared


def make(records, laq, teacher, sequences, counts):
    """All arrays of the table above, {name: array}.

    Args:
      records: Records with pictures.
      laq: lam.api.LatentActions.
      teacher: analysis.tokens.teacher.Teacher.
      sequences: inspected ones, tuple of int tuples.
      counts: as `trials` in configs/tokens.py.
    """
    table = {key: value[records.pictures["row"]] for key, value in records.columns.items()}
    table["moving"] = records.moving_N[records.pictures["row"]]
    decoder = Decoder(laq, teacher, records.pictures["frames"])
    rng = np.random.default_rng([records.about.seed, 2])
    tokens_KL = np.repeat(np.arange(laq.num_codes)[:, None], laq.num_tokens, axis=1)
    found = {"codes": np.swapaxes(laq.codes(tokens_KL), 0, 1)}
    steps = {"apply": apply, "transfer": transfer, "swap": swap, "order": order}
    for name, step in steps.items():
        with progress.working(f"decoding: {name}"):
            found |= step(table, decoder, rng, counts, sequences)
    return found


class Decoder:
    """Frames of the decoder and what moves in them.

    Attributes:
      frames_P: uint8 [P,2,H,W,3], the pictures.
    """

    def __init__(self, laq, teacher, frames_P):
        self.laq, self.teacher, self.frames_P = laq, teacher, frames_P

    def __call__(self, first_M, tokens_ML):
        """{"recon", "flow", "motion", "moves"} of tokens on first frames of pictures [M]."""
        size = self.laq.image_size
        if not len(first_M):
            return {
                "recon": np.zeros((0, size, size, 3), np.uint8),
                "flow": np.zeros((0, size, size, 2), np.float16),
                "motion": np.zeros((0, 2), np.float32),
                "moves": np.zeros(0, bool),
            }
        first = self.frames_P[first_M, 0]
        recon = self.laq.decode(first, tokens_ML)
        flow, summary = self.teacher(first, recon)
        return {
            "recon": recon,
            "flow": flow.astype(np.float16),
            "motion": (summary[KIND][VECTOR] / size).astype(np.float32),
            "moves": ~summary[KIND]["is_static"],
        }


def drawn(table, rng, per_domain):
    """Pictures in which something moves, so many of each domain, each of another episode as far as
    there are: int [M], in order of the domains."""
    found = []
    for name in np.unique(table["domain"]):
        here = rng.permutation(np.flatnonzero((table["domain"] == name) & table["moving"]))
        _, first = np.unique(table["episode"][here], return_index=True)
        rest = np.setdiff1d(np.arange(len(here)), first)
        found.append(here[np.concatenate([np.sort(first), rest])][:per_domain])
    return np.concatenate(found)


def share_of(total, table):
    """Pictures of each domain where `total` are wanted, at least one if any."""
    return -(-total // len(np.unique(table["domain"])))


def others(table, rng, picture_M):
    """Another picture of the same domain, of another episode where there is one, for each: [M]."""
    found = []
    for p in picture_M:
        same = table["domain"] == table["domain"][p]
        other = np.flatnonzero(same & (table["episode"] != table["episode"][p]))
        found.append(rng.choice(other if len(other) else np.flatnonzero(same)))
    return np.array(found, np.int64)


def apply(table, decoder, rng, counts, sequences):
    """{"apply_...": array}: every inspected sequence on the first frames of some pictures."""
    first_Q = drawn(table, rng, share_of(counts.firsts, table))
    tokens_SL = np.array(sequences, np.int32).reshape(-1, decoder.laq.num_tokens)
    shape = (len(tokens_SL), len(first_Q))
    flat = {"first": np.tile(first_Q, shape[0]), "tokens": np.repeat(tokens_SL, shape[1], axis=0)}
    made = decoder(flat["first"], flat["tokens"])
    found = {f"apply_{key}": x.reshape(*shape, *x.shape[1:]) for key, x in made.items()}
    found |= {"apply_tokens": tokens_SL, "apply_first": first_Q.astype(np.int32)}
    frames = decoder.frames_P[first_Q]
    size = decoder.laq.image_size
    true_flow = np.zeros((0, size, size, 2))
    if len(first_Q):
        true_flow, _ = decoder.teacher(frames[:, 0], frames[:, 1])
    found["apply_true_flow"] = true_flow.astype(np.float16)
    if decoder.laq.task.model.flow_depth:
        flow = decoder.laq.flow(decoder.frames_P[flat["first"], 0], flat["tokens"])
        found["apply_decoder_flow"] = flow.astype(np.float16).reshape(*shape, *flow.shape[1:])
    return found


def transfer(table, decoder, rng, counts, sequences):
    """{"transfer_...": array}: tokens on their own frame, another of their domain, others."""
    del sequences
    chosen = drawn(table, rng, counts.transfer)
    _, kind, sizes = np.unique(table["domain"][chosen], return_inverse=True, return_counts=True)
    chosen = chosen[sizes[kind] > 1]  # a domain with one picture has no other of its own
    source_M, first_M = np.zeros((2, 0), np.int64)
    if len(chosen):
        source_M, first_M = (chosen[x] for x in cells(table["domain"][chosen], rng))
    made = decoder(first_M, table["tokens"][source_M])
    return {
        "transfer_source": source_M.astype(np.int32),
        "transfer_first": first_M.astype(np.int32),
        "transfer_motion": made["motion"],
        "transfer_moves": made["moves"],
    }


def swap(table, decoder, rng, counts, sequences):
    """{"swap_...": array}: tokens on the frame of their domain that begins most alike."""
    del sequences
    source_M = drawn(table, rng, share_of(counts.swap, table))
    colours_P = pooled(decoder.frames_P[:, 0], GRID).reshape(len(decoder.frames_P), -1) / 255
    first_M, by_M, distance_M = [], [], []
    for p in source_M:
        here = np.flatnonzero(
            (table["domain"] == table["domain"][p]) & (table["episode"] != table["episode"][p])
        )
        if not len(here):
            here = np.flatnonzero(table["domain"] == table["domain"][p])
        where, by = table["state"], "state"
        known = np.isfinite(where[p]) & np.isfinite(where[here]).all(axis=0)
        if not known.any():
            where, by, known = colours_P, "pixels", np.ones(colours_P.shape[1], bool)
        spread = np.maximum(where[here][:, known].std(axis=0), 1e-6)
        apart = np.sqrt((((where[here] - where[p])[:, known] / spread) ** 2).mean(axis=1))
        first_M.append(here[np.argmin(apart)])
        by_M.append(by)
        distance_M.append(apart.min())
    first_M = np.array(first_M, np.int64)
    made = decoder(first_M, table["tokens"][source_M])
    found = {f"swap_{key}": made[key] for key in ("recon", "flow", "motion", "moves")}
    return found | {
        "swap_source": source_M.astype(np.int32),
        "swap_first": first_M.astype(np.int32),
        "swap_by": np.array(" or ".join(sorted(set(by_M), reverse=True))),
        "swap_distance": np.array(distance_M, np.float32),
    }


def order(table, decoder, rng, counts, sequences):
    """{"order_...": array}: tokens in other orders, and with one of another sample."""
    del sequences
    picture_M = drawn(table, rng, share_of(counts.order, table))
    variants = orders(table["tokens"], picture_M, others(table, rng, picture_M), rng)
    made = [decoder(picture_M, tokens_ML) for tokens_ML in variants.values()]
    return {
        "order_names": np.array(list(variants)),
        "order_picture": picture_M.astype(np.int32),
        "order_motion": np.stack([one["motion"] for one in made]),
        "order_moves": np.stack([one["moves"] for one in made]),
    }


def orders(tokens_PL, picture_M, other_M, rng):
    """{name of a variant: tokens [M,L]}; `permuted` is no sample's own order where L > 1."""
    own, other = tokens_PL[picture_M], tokens_PL[other_M]
    length, identity = own.shape[1], np.arange(own.shape[1])
    place_ML = np.tile(identity, (len(own), 1))
    for place_L in place_ML:
        while length > 1 and (place_L == identity).all():
            place_L[:] = rng.permutation(length)
    found = {"own": own, "reversed": own[:, ::-1]}
    found["permuted"] = np.take_along_axis(own, place_ML, axis=1)
    for position in range(length):
        changed = own.copy()
        changed[:, position] = other[:, position]
        found[f"position {position}"] = changed
    return found
