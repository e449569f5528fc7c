"""The short table at the end of a run: what was learned, how well, against which baseline."""

# (what, metric, unit, baseline, its metric or number)
ROWS = (
    ("motion read from tokens, unseen scenes", "motion/r2", "R2", "tokens shuffled", "motion/r2_shuffled"),
    ("  worst robot, read by the others' probe", "motion/r2_across_min", "R2", "no skill", 0.0),
    ("frame 2 from frame 1 and tokens", "reconstruction/psnr", "dB", "frame 1 copied", "reconstruction/psnr_copy"),
    ("true tokens against another pair's", "reconstruction/delta_psnr", "dB", "no effect", 0.0),
    ("codes in use, worst position", "codes/usage_min", "", "collapsed", 1.0),
    ("perplexity of the codes, worst position", "codes/perplexity_min", "", "collapsed", 1.0),
)  # fmt: skip


def table(results, workdir):
    """Text of at most 80 columns from {"evaluator/metric": float}."""
    lines = [f"{'':<42}{'result':>10}   baseline"]
    for what, metric, unit, baseline, against in ROWS:
        if metric in results:
            number = results[against] if isinstance(against, str) else against
            value = f"{results[metric]:.2f} {unit}".strip()
            lines.append(f"{what:<42}{value:>10}   {number:.2f} ({baseline})")
    lines.append(f"pictures: {workdir}/evals")
    return "\n".join(lines)
