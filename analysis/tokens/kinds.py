"""Tokens as kinds of samples that can be counted: codes of one position, or whole sequences.

N samples, L token positions, K codes, T kinds. Never all K^L sequences: rare ones count together.
"""

import dataclasses

import numpy as np

from lam.ops import codes

OTHER = "other"
MOST = 64  # codes of a position that stand for themselves


@dataclasses.dataclass(frozen=True, eq=False)
class Kinds:
    """A label for each sample.

    Attributes:
      name: "position 0", "sequences", ...
      number_N: int32 [N], 0..T-1; -1 for samples that are of none.
      names: of the T kinds, e.g. "3" or "3 1 2 0"; "other" is the last where there is one.
    """

    name: str
    number_N: np.ndarray
    names: tuple

    def __len__(self):
        return len(self.names)

    @property
    def single_T(self):
        """Kinds that are one token or sequence, not what is left: bool [T]."""
        return np.array([name != OTHER for name in self.names], bool)


def positions(tokens_NL):
    """One Kinds for each position; with more than 64 codes the rare ones are "other"."""
    return [
        most_frequent(f"position {place}", column_N[:, None], MOST, ordered=True)
        for place, column_N in enumerate(tokens_NL.T)
    ]


def sequences(tokens_NL, top):
    """The `top` most frequent sequences; all others are "other"."""
    return most_frequent("sequences", tokens_NL, top)


def every(tokens_NL, top):
    """All positions, and the sequences where a sequence is more than one token."""
    found = positions(tokens_NL)
    return found if tokens_NL.shape[1] == 1 else [*found, sequences(tokens_NL, top)]


def most_frequent(name, tokens_NL, top, ordered=False):
    """The `top` most frequent rows of tokens and "other", by frequency or ordered by token."""
    found_SL, number_N = codes.sequences(tokens_NL)
    chosen_SL = found_SL[:top]
    if ordered:
        chosen_SL = chosen_SL[np.lexsort(chosen_SL.T[::-1])]
    kinds = listed(name, tokens_NL, chosen_SL)
    if len(found_SL) <= top:
        return kinds
    number_N = np.where(kinds.number_N < 0, len(chosen_SL), kinds.number_N).astype(np.int32)
    return Kinds(name, number_N, (*kinds.names, OTHER))


def listed(name, tokens_NL, sequences_SL):
    """These sequences as kinds, in their order; every other sample is of none."""
    number_N = np.full(len(tokens_NL), -1, np.int32)
    for number, sequence_L in enumerate(sequences_SL):
        number_N[(tokens_NL == np.asarray(sequence_L)).all(axis=1)] = number
    return Kinds(name, number_N, tuple(label(sequence_L) for sequence_L in sequences_SL))


def label(sequence_L, between=" "):
    """A sequence as it is written: "3 1 2 0", in names of files "3-1-2-0"."""
    return between.join(str(int(token)) for token in sequence_L)


def supports(kinds, domain_N, domains):
    """Samples of each kind in each of `domains` (a number): int64 [T, domains]."""
    some_N = kinds.number_N >= 0
    place_N = kinds.number_N[some_N].astype(np.int64) * domains + domain_N[some_N]
    return np.bincount(place_N, minlength=len(kinds) * domains).reshape(len(kinds), domains)
