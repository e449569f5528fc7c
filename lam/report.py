"""The short table at the end of a run: what was learned, how well, against which baseline."""

# what, its metric, unit, baseline, the baseline's metric or number
ROWS = (
    ("motion from tokens, unseen scenes", "motion/r2", "R2", "shuffled", "motion/r2_shuffled"),
    ("  worst robot, probe of the others", "motion/r2_across_min", "R2", "no skill", 0.0),
    ("frame 2 from tokens", "reconstruction/psnr", "dB", "copy", "reconstruction/psnr_copy"),
    ("  less that from another's tokens", "reconstruction/delta_psnr", "dB", "no effect", 0.0),
    ("codes in use, worst position", "codes/usage_min", "", "collapsed", 1.0),
    ("perplexity of codes, worst position", "codes/perplexity_min", "", "collapsed", 1.0),
)


def table(results, workdir):
    """Text of at most 80 columns from {"evaluator/metric": float}."""
    lines = [f"{'':<37}{'result':>10}   baseline"]
    for what, metric, unit, baseline, against in ROWS:
        if metric in results:
            number = results[against] if isinstance(against, str) else against
            value = f"{results[metric]:.2f} {unit}".strip()
            lines.append(f"{what:<37}{value:>10}   {number:.2f} ({baseline})")
    lines.append(f"pictures: {workdir}/evals")
    return "\n".join(lines)
