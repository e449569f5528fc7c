"""The short table at the end of a run: what was learned, how well, against which baselines."""

# what, its metric, unit, and the baselines: name, metric or number
ROWS = (
    ("motion from tokens, unseen scenes", "motion/r2", "R2", (
        ("shuffled", "motion/r2_shuffled"),
        ("untrained model", "motion/action/random_tokens_linear"),
        ("pixel difference", "motion/action/pixel_difference_linear"),
        ("state alone", "motion/action/state_linear"),
    )),
    ("  by a small network", "motion/action/tokens_mlp", "R2", (
        ("shuffled", "motion/action/shuffled_mlp"),
        ("untrained model", "motion/action/random_tokens_mlp"),
        ("pixel difference", "motion/action/pixel_difference_mlp"),
        ("state alone", "motion/action/state_mlp"),
    )),
    ("  from latents, before quantisation", "motion/action/latents_linear", "R2", (
        ("untrained model", "motion/action/random_latents_linear"),
    )),
    ("  worst robot, probe of the others", "motion/r2_across_min", "R2", (("no skill", 0.0),)),
    ("motion of other robots' frames, off by", "transfer/angle_across", "deg", (
        ("shuffled", "transfer/angle_shuffled"), ("own frame", "transfer/angle_self"),
    )),
    ("frame 2 from tokens", "reconstruction/psnr", "dB", (("copy", "reconstruction/psnr_copy"),)),
    ("  less that from another's tokens", "reconstruction/delta_psnr", "dB", (("no effect", 0.0),)),
    ("codes in use, worst position", "codes/usage_min", "", (("collapsed", 1.0),)),
    ("perplexity of codes, worst position", "codes/perplexity_min", "", (("collapsed", 1.0),)),
)  # fmt: skip


def table(results, workdir):
    """Text of at most 80 columns from {"evaluator/metric": float}."""
    lines = [f"{'':<38}{'result':>10} baseline"]
    for what, metric, unit, baselines in ROWS:
        if metric not in results:
            continue
        start = f"{what:<38}{f'{results[metric]:.2f} {unit}'.strip():>10}"
        for baseline, against in baselines:
            number = results.get(against) if isinstance(against, str) else against
            if number is not None:
                lines.append(f"{start:<48} {number:6.2f} ({baseline})")
                start = ""
        if start:
            lines.append(start)
    lines.append(f"pictures: {workdir}/evals")
    return "\n".join(lines)
