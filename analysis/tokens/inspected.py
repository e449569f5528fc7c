"""The sequences of tokens that are looked at closely: chosen once, the same in every analysis.

Those that occur in most domains come first, then the most frequent ones. N samples, L positions, U
different sequences, G domains.
"""

import json

import numpy as np

from analysis.tokens import kinds
from analysis.tokens.result import to_json, write_table

NAME = "inspected_tokens"


def choose(records, count, support):
    """The sequences with at least `support` samples, best first, at most `count` of them.

    Args:
      records: Records.
      count: of sequences.
      support: samples in a domain from which a sequence covers it, and in all at least.

    Returns:
      list of {"tokens": "3-1-2-0", "domains": covered, "samples": in all, "share": of all samples,
      "samples of <domain>": of each}.
    """
    names = records.domains
    sequence_UL, kind_N = np.unique(records.tokens_NL, axis=0, return_inverse=True)
    domain_N = np.searchsorted(names, records.domain_N)
    counts_UG = np.zeros((len(sequence_UL), len(names)), np.int64)
    np.add.at(counts_UG, (kind_N.reshape(-1), domain_N), 1)
    covered_U, total_U = (counts_UG >= support).sum(axis=1), counts_UG.sum(axis=1)
    order = sorted(range(len(sequence_UL)), key=lambda u: (-covered_U[u], -total_U[u], u))
    return [
        {
            "tokens": kinds.label(sequence_UL[u], "-"),
            "domains": int(covered_U[u]),
            "samples": int(total_U[u]),
            "share": float(total_U[u] / len(records)),
        }
        | {f"samples of {name}": int(n) for name, n in zip(names, counts_UG[u], strict=True)}
        for u in order
        if total_U[u] >= support
    ][:count]


def sequences(rows):
    """What `choose` gave as a tuple of int tuples, for `Options.inspected`."""
    return tuple(tuple(int(token) for token in row["tokens"].split("-")) for row in rows)


def write(rows, support, folder):
    """inspected_tokens.csv and .json."""
    write_table(folder / f"{NAME}.csv", rows)
    (folder / f"{NAME}.json").write_text(to_json({"support": support, "tokens": rows}))


def read(folder):
    """The sequences that `write` kept: tuple of int tuples."""
    return sequences(json.loads((folder / f"{NAME}.json").read_text())["tokens"])
