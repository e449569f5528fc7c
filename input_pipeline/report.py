"""What is in the sources: exact counts of every split, as numbers and as a table."""

import numpy as np

from input_pipeline import splits


def counts(source, split, used, span):
    """Counts of one source.

    span: steps from the first to the last frame of a row; used: episodes drawn from. Returns path,
    storage, short, corrupt, dropped, unused, split, used, fraction (of the rows of a batch, the
    caller's to fill), and for each of the splits its groups, episodes, frames and pairs (before
    any limit or filter).
    """
    table = {}
    for name in splits.SPLITS:
        every = source.usable(name, span)
        steps = source.table.steps[every].astype(np.int64)
        table[name] = {
            "groups": len(np.unique(source.group[every])),
            "episodes": len(every),
            "frames": int(steps.sum()),
            "pairs": int((steps - span).sum()),
        }
    return {
        "path": source.episode_set.path,
        "storage": source.episode_set.storage,
        "short": int((source.table.steps <= span).sum()),
        "corrupt": source.table.lost,
        "dropped": source.table.dropped,
        "unused": int((source.split < 0).sum()),
        "split": split,
        "used": used,
        "fraction": 0.0,
        "splits": table,
    }


def format_summary(summary):
    """The counts of `Loader.summary` as a table of at most 80 columns."""
    lines = [
        f"{'source':<18}{'split':>6}{'scenes':>8}{'episodes':>9}{'frames':>11}{'pairs':>11}"
        f"{'share':>10}"
    ]
    for name, found in summary.items():
        for split, row in found["splits"].items():
            share = f"{100 * found['fraction']:.2f} %" if split == found["split"] else ""
            lines.append(
                f"{name[:17]:<18}{split:>6}{row['groups']:>8}{row['episodes']:>9}"
                f"{row['frames']:>11}{row['pairs']:>11}{share:>10}"
            )
        lines += _left_out(found)
    return "\n".join(lines)


def _left_out(found):
    reasons = {
        "too short for a pair": found["short"],
        "unreadable": found["corrupt"],
        "without success": found["dropped"],
        "in gaps between blocks": found["unused"],
        f"over the limit, {found['used']} used": found["splits"][found["split"]]["episodes"]
        - found["used"],
    }
    said = [f"{number} {reason}" for reason, number in reasons.items() if number]
    return [f"  episodes left out: {', '.join(said)}"] if said else []
