"""Analysis 15: how much of the codebook is used, and where the codes lie.

N samples, L positions, K codes, G domains, P pictures, Z width of a latent, R draws.
"""

import jax
import jax.numpy as jnp
import numpy as np

from analysis.tokens import decoded, text
from analysis.tokens.result import Estimate, Result
from lam import trial_plots
from lam.evaluators import codes as drawings
from lam.ops import codes, information, stats

QUESTION = (
    "How much of the codebook is used, in every domain, and do positions say different things?"
)
HOW = (
    "`perplexity` is exp(entropy) of the codes of a position, entropy corrected for few samples "
    "(Miller-Madow): 1, one code only; K, all K equally often. The headline is the worst "
    "position. By chance: the codes of every episode renamed at random, so that all codes are "
    "equally frequent in the long run while samples of one episode stay alike; a lower number "
    "means that some codes are preferred. `used` counts the codes that occur, `dead` those that "
    "never do. `redundancy` is the mean adjusted mutual information of two positions: 0, each "
    "says something of its own; 1, one is enough; by chance with the tokens of other episodes of "
    "the domain. `domains` is the adjusted mutual information of code and domain: 0, robots use "
    "the same codes; by chance with domains dealt out to episodes. Intervals are over episodes.\n\n"
    "`usage` shows how often each code occurs at each position, in each domain, with the line "
    "where all codes would be equally often. `embedding` shows the latents before they are "
    "quantised along their two main components, in the colour of their code, with the number of "
    "each code where the decoder sees it: codes far from all points are dead, points between "
    "codes are ambiguous."
)
SHOWN = 900


def run(records, options):
    """The Result; see HOW."""
    tokens_NL, num_codes = records.tokens_NL, records.about.num_codes
    num_codes = max(num_codes, int(tokens_NL.max(initial=0)) + 1)
    sampling = options.sampling(records)
    counts = stats.weighted(tables, tokens_NL, sampling.jackknife_GN, codes=num_codes)
    counts_LK = codes.counts(tokens_NL, num_codes)
    chance_RL = renamed(tokens_NL, num_codes, sampling, options)
    drawn = stats.Drawn(perplexity(counts_LK), chance_RL, perplexity(counts), False)
    worst = drawn.map(lambda x_ML: x_ML.min(axis=1))
    headline = Estimate(*worst.estimate("less"), unit=f"of {num_codes} codes")
    found = drawn.estimate("less")
    length = tokens_NL.shape[1]
    rows = [
        {"position": place, "perplexity": found.value[place], "low": found.low[place],
         "high": found.high[place], "by_chance": found.null[place], "p": found.p[place],
         "entropy": float(information.entropy_mm(counts_LK[place])),
         "used": int(codes.usage(counts_LK)[place]),
         "dead": num_codes - int(codes.usage(counts_LK)[place])}
        for place in range(length)
    ]  # fmt: skip
    numbers = {
        "codes": num_codes, "samples": len(records), "used_worst": min(row["used"] for row in rows),
        "unique_sequences": codes.unique_sequences(tokens_NL),
    }  # fmt: skip
    missing = ()
    if length > 1:
        numbers["redundancy"] = redundancy(tokens_NL, sampling, num_codes)
    else:
        missing += ("A sequence of one token has no second position to be compared with.",)
    if len(records.domains) > 1:
        numbers["domains"] = domains(records, sampling, num_codes)
    else:
        missing += (f"There is one domain only ({records.domains[0]}), so none can be compared.",)
    by_domain, shares_GLK = usage(records, num_codes)
    figures = {"usage": trial_plots.code_usage(shares_GLK, records.domains)}
    figure, lacking = embedding(records, options)
    if figure is not None:
        figures["embedding"] = figure
    missing += (lacking,) if lacking else ()
    tables_of = {"positions": rows, "domains": by_domain}
    return Result(QUESTION, reading(headline, numbers, num_codes), HOW, headline, numbers,
                  tables_of, figures, missing)  # fmt: skip


def tables(tokens_NL, weight_N, codes):
    """Weighted number of each code: [L,K]."""
    hot_NLK = jax.nn.one_hot(tokens_NL, codes)
    return jnp.einsum("n,nlk->lk", weight_N, hot_NLK, precision="highest")


def perplexity(counts):
    """exp of Miller's entropy, at most the number of codes: [...] of counts [..., K]."""
    return np.minimum(np.exp(information.entropy_mm(np.asarray(counts))), counts.shape[-1])


def renamed(tokens_NL, num_codes, sampling, options):
    """Perplexities [R,L] with the codes of every episode renamed at random."""
    rng, length = np.random.default_rng(options.seed), tokens_NL.shape[1]
    place_EL = sampling.number_N[:, None] * length + np.arange(length)
    counts = np.bincount((place_EL * num_codes + tokens_NL).ravel(),
                         minlength=sampling.episodes * length * num_codes)  # fmt: skip
    counts_ELK = counts.reshape(sampling.episodes, length, num_codes).astype(np.float32)
    found_RLK = np.empty((options.permutations, length, num_codes))
    for draw in range(len(found_RLK)):
        found_RLK[draw] = rng.permuted(counts_ELK, axis=2).sum(axis=0)
    return perplexity(found_RLK)


def redundancy(tokens_NL, sampling, num_codes):
    """Estimate of the mean adjusted mutual information of two positions."""
    length = tokens_NL.shape[1]
    drawn = []
    for place in range(length - 1):
        later = stats.agreement(
            tokens_NL[:, place + 1 :], tokens_NL[:, place], sampling, num_codes, num_codes
        )
        drawn += [later.map(lambda x, i=i: x[:, i]) for i in range(length - 1 - place)]
    return text.mean_over(drawn)


def domains(records, sampling, num_codes):
    """Estimate of the mean over positions of the adjusted mutual information with the domain."""
    domain_N = np.unique(records.domain_N, return_inverse=True)[1].reshape(-1)
    count = len(records.domains)
    return text.mean_over([
        stats.agreement(domain_N, token_N, sampling, count, num_codes, sampling.labels_RN)
        for token_N in records.tokens_NL.T
    ])  # fmt: skip


def usage(records, num_codes):
    """(a row for each domain and position, shares of the codes [G,L,K])."""
    rows, shares = [], []
    for domain in records.domains:
        counts_LK = codes.counts(records.tokens_NL[records.domain_N == domain], num_codes)
        shares.append(counts_LK / counts_LK.sum(axis=1, keepdims=True))
        for place, counts_K in enumerate(counts_LK):
            used = int((counts_K > 0).sum())
            rows.append({"domain": domain, "position": place, "samples": int(counts_K.sum()),
                         "used": used, "dead": num_codes - used,
                         "perplexity": float(perplexity(counts_K))})  # fmt: skip
    return rows, np.stack(shares)


def embedding(records, options):
    """(Figure of latents and codes, "") or (None, why there is none)."""
    lacking = decoded.lacks(records, "latents", "latents")
    if lacking:
        return None, lacking
    rng, found = np.random.default_rng(options.seed), records.pictures
    shown = np.sort(rng.permutation(len(found["row"]))[:SHOWN])
    latents_PLZ = found["latents"][shown]
    if not np.isfinite(latents_PLZ).all() or len(shown) < 3:
        return None, "Latents are too few or not finite, so they are not drawn."
    tokens_PL = records.tokens_NL[found["row"][shown]]
    codes_LKZ = found.get("codes")
    title = f"Latents of {len(shown)} samples, and the codes"
    return drawings.embedding(latents_PLZ, tokens_PL, title, codes_LKZ), ""


def reading(headline, numbers, num_codes):
    found = (
        f"The worst position uses {numbers['used_worst']} of {num_codes} codes, with a perplexity "
        f"of {headline.value:.1f} (about {headline.null:.1f} if all were alike)"
    )
    if "redundancy" in numbers and np.isfinite(numbers["redundancy"].value):
        found += f"; two positions share {100 * numbers['redundancy'].value:.0f} % of what they say"
    if "domains" in numbers and np.isfinite(numbers["domains"].value):
        value, null = numbers["domains"].value, numbers["domains"].null
        found += f"; codes and domains share {100 * value:.0f} % ({100 * null:.0f} % by chance)"
    return f"{found}."
