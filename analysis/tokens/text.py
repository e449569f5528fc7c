"""Analysis 10: do like instructions go with like tokens?

N samples with an instruction, U different texts, K clusters of them, T kinds of tokens.
"""

import numpy as np

from analysis.tokens import kinds, sentences
from analysis.tokens.result import Estimate, Result, nothing
from lam import plots, trial_plots
from lam.ops import cluster, stats

QUESTION = "Do samples with like instructions have like tokens?"
HOW = (
    "The different instructions are clustered by k-means on a sentence embedding (TF-IDF of words "
    "and word pairs, unless a model is named). The number is the adjusted mutual information of "
    "cluster and token, for each position and for the most frequent sequences (all others count "
    "as one, `other`): 1, each tells the other; 0, neither tells anything. By chance: tokens of "
    "other episodes of the same domain, whole episodes dealt out, so that what a domain has in "
    "common (its instructions and its tokens) does not count as agreement; the number by chance "
    "can be above 0 for that. The headline is the mean over positions. `q` is p after correction "
    "for the number of rows.\n\n"
    "An instruction holds for a whole episode and a token for a moment of it, so even good tokens "
    "agree little with instructions: pushing left and pushing right share the way to the block. "
    "In `clusters` a row is a cluster, named by its most frequent instruction, a column a code; "
    "rows with the same shades mean that tokens do not know the instruction. The table "
    "`instructions` lists all texts with their cluster."
)
LONG = 34  # letters of an instruction in a figure


def run(records, options):
    """The Result; see HOW. Raises UserError where options.text_model cannot be loaded."""
    some_N = records.columns["text"] != ""
    if not some_N.any():
        return nothing(QUESTION, HOW, "The records have no instructions.")
    here = records.select(some_N)
    texts_U, text_N, count_U = np.unique(
        here.columns["text"], return_inverse=True, return_counts=True
    )
    if len(texts_U) < 2:
        return nothing(
            QUESTION, HOW, f"All samples have one instruction, '{texts_U[0]}', so none can differ."
        )
    vectors_UD = sentences.embed(list(texts_U), options.text_model)
    count = min(options.clusters, len(texts_U))
    cluster_U, _, _ = cluster.kmeans(vectors_UD, count, options.seed)
    cluster_N = cluster_U[text_N.reshape(-1)]
    if len(np.unique(cluster_U)) < 2:
        return nothing(QUESTION, HOW, "All instructions fell into one cluster.")
    sampling = options.sampling(here)
    found = kinds.every(here.tokens_NL, options.top)
    drawn = [
        stats.agreement(kind.number_N, cluster_N, sampling, len(kind), count) for kind in found
    ]
    rows = table(found, drawn)
    headline = mean_over(drawn[: here.tokens_NL.shape[1]])
    missing = ()
    if not some_N.all():
        missing = (f"{100 * (1 - some_N.mean()):.0f} % of the samples have no instruction.",)
    if not np.isfinite(headline.value):
        missing += ("All samples have the same token at every position.",)
    names = cluster_names(texts_U, count_U, cluster_U)
    numbers = {
        "embedding": options.text_model or "TF-IDF", "texts": len(texts_U),
        "clusters": len(np.unique(cluster_U)), "samples": len(here),
        "positions": {row["tokens"]: row["ami"] for row in rows},
    }  # fmt: skip
    listed = [
        {"cluster": cluster_U[u], "text": texts_U[u], "samples": count_U[u]}
        for u in np.lexsort((-count_U, cluster_U))
    ]
    figures = draw(found, drawn, rows, cluster_N, names)
    return Result(QUESTION, reading(headline, numbers), HOW, headline, numbers,
                  {"agreement": rows, "instructions": listed}, figures, missing)  # fmt: skip


def table(found, drawn):
    """A row for each position and for the sequences, with p and q."""
    made = [one.estimate() for one in drawn]
    q_T = stats.benjamini_hochberg([one.p for one in made])
    return [
        {"tokens": kind.name, "ami": one.value, "low": one.low, "high": one.high,
         "by_chance": one.null, "p": one.p, "q": q}
        for kind, one, q in zip(found, made, q_T, strict=True)
    ]  # fmt: skip


def mean_over(drawn):
    """Estimate of the mean of several Drawn numbers; what is NaN (one code only) counts as 0."""
    stack = lambda name: np.nan_to_num(np.stack([getattr(one, name) for one in drawn], axis=-1))  # noqa: E731
    whole = stats.Drawn(stack("value"), stack("null_R"), stack("weighted_W"), drawn[0].bootstrap)
    if not any(np.isfinite(one.value) for one in drawn):
        return Estimate(np.nan)
    return Estimate(*whole.map(lambda x_ML: x_ML.mean(axis=-1)).estimate())


def cluster_names(texts_U, count_U, cluster_U):
    """The most frequent instruction of each cluster, cut to fit a figure."""
    found = []
    for number in range(cluster_U.max() + 1):
        here_U = np.flatnonzero(cluster_U == number)
        text = str(texts_U[here_U[count_U[here_U].argmax()]])
        text = text if len(text) <= LONG else text[: LONG - 1] + "…"
        found.append(f"{text} (+{len(here_U) - 1})" if len(here_U) > 1 else text)
    return found


def draw(found, drawn, rows, cluster_N, names):
    """The agreement by position, and codes by cluster at the position with most of it."""
    column = lambda key: np.array([[row[key]] for row in rows])  # noqa: E731
    figures = {"agreement": trial_plots.bars(
        column("ami"), column("low"), column("high"), [row["tokens"] for row in rows],
        ("tokens",), plots.COLOURS[:1], column("by_chance"),
        "adjusted mutual information with the instruction", "What tokens know of the instruction",
    )}  # fmt: skip
    best = int(np.argmax([np.nan_to_num(one.value, nan=-1.0) for one in drawn]))
    kind = found[best]
    share_KT = np.zeros((len(names), len(kind)))
    np.add.at(share_KT, (cluster_N, kind.number_N), 1)
    share_KT /= np.maximum(share_KT.sum(axis=1, keepdims=True), 1)
    figures["clusters"] = trial_plots.shares(
        share_KT, names, kind.names, f"code, {kind.name}", "", "Codes by kind of instruction"
    )
    return figures


def reading(headline, numbers):
    if not np.isfinite(headline.value):
        return "Nothing can be said: tokens do not vary."
    verdict = "more than" if headline.p < 0.05 else "not more than"
    return (
        f"Tokens tell of the instruction {verdict} episodes of one domain do by chance: adjusted "
        f"mutual information {headline.value:.3f} ({headline.null:.3f} by chance, p = "
        f"{headline.p:.3f}) with "
        f"{numbers['clusters']} clusters of {numbers['texts']} instructions."
    )
