"""Statistics that several analyses draw, see `lam.ops.stats.draw`: jax, compiled once.

N samples, P labels of a sample, T labels, B bins, G domains, E episodes, C columns. Entropies are
of Miller and Madow, in nats.
"""

import jax
import jax.numpy as jnp

from lam.ops import circular, information, stats


def variance(labels_NP, weight_N, values_ND, labels):
    """Share of the variance of the values between labels: [P]."""
    share = lambda label_N: stats.between_share(values_ND, label_N, labels, weight_N)  # noqa: E731
    return jax.vmap(share, in_axes=1)(labels_NP)


def sums(labels_NP, weight_N, domain_N, columns_NC, labels, domains):
    """Sums of the columns of each label in each domain: [P, T, G, C]."""

    def one(label_N):
        keys, sizes = (label_N, domain_N), (labels, domains)
        return information.totals(columns_NC, weight_N, keys, sizes)

    return jax.vmap(one, in_axes=1)(labels_NP)


def units_of_domain(domain_N, weight_N, labels_NP, raw_N2, centred_N2, labels, domains):
    """Numbers of samples and sums of unit vectors of each label in each domain: [P, T, G, 5].

    Columns: one, unit vectors of raw_N2, unit vectors of centred_N2 less its mean in each domain.
    That mean is taken again for every exchange of domains, because the means of the true domains
    fit these too well.
    """
    ones_N1 = jnp.ones_like(raw_N2[:, :1])
    centred_N3 = jnp.concatenate([centred_N2, ones_N1], axis=1)
    mean_G3 = information.totals(centred_N3, weight_N, (domain_N,), (domains,))
    mean_G2 = mean_G3[:, :2] / jnp.maximum(mean_G3[:, 2:], 1e-9)
    columns = [ones_N1]
    for vector_N2 in (raw_N2, centred_N2 - mean_G2[domain_N]):
        length_N1 = jnp.linalg.norm(vector_N2, axis=1, keepdims=True)
        columns.append(vector_N2 / jnp.where(length_N1 > 0, length_N1, 1.0))
    return sums(labels_NP, weight_N, domain_N, jnp.concatenate(columns, axis=1), labels, domains)


def remains(labels_NP, weight_N, bin_N, domain_N, labels, bins, domains):
    """What is not known of a label: H(label), H(label | bin), H(label | bin, domain) and
    H(label | domain): [4, P]."""

    def one(label_N):
        sizes = labels, bins, domains
        counts_TBG = information.totals(None, weight_N, (label_N, bin_N, domain_N), sizes)[..., 0]
        counts_TB, counts_TG = counts_TBG.sum(axis=2), counts_TBG.sum(axis=1)
        return jnp.stack(
            [
                information.entropy_mm(counts_TB.sum(axis=1)),
                information.conditional_entropy_mm(counts_TB),
                information.conditional_entropy_mm(counts_TBG.reshape(labels, -1)),
                information.conditional_entropy_mm(counts_TG),
            ]
        )

    return jax.vmap(one, in_axes=1, out_axes=1)(labels_NP)


def remains_of_domain(domain_N, weight_N, labels_NP, bin_N, labels, bins, domains):
    """`remains` where it is the domains that are exchanged."""
    return remains(labels_NP, weight_N, bin_N, domain_N, labels, bins, domains)


def both(labels_NP, weight_N, first_N, second_N, domain_N, labels, firsts, seconds, domains):
    """What a label tells of each of two things when the other and the domain are known.

    Returns:
      [4, P]: I(label; first | second, domain), H(first | second, domain),
      I(label; second | first, domain), H(second | first, domain).
    """

    def one(label_N):
        keys, sizes = (label_N, first_N, second_N, domain_N), (labels, firsts, seconds, domains)
        counts = information.totals(None, weight_N, keys, sizes)[..., 0]
        entropy = lambda *gone: information.entropy_mm(counts.sum(axis=gone).reshape(-1))  # noqa: E731
        all_four, pair = entropy(), entropy(0)
        found = []
        for axis in (1, 2):
            given = entropy(0, axis)
            found += [entropy(axis) + pair - all_four - given, pair - given]
        return jnp.stack(found)

    return jax.vmap(one, in_axes=1, out_axes=1)(labels_NP)


def cosine(label_N, weight_N, angle_N, episode_N, labels, episodes):
    """Mean cosine between the directions of two samples that share a label, of different episodes.

    Labels count by their samples; those of one episode do not count. [] float32.
    """
    found = circular.resultants(angle_N, label_N, labels, weight_N, episode_N, episodes)
    known_T = jnp.isfinite(found["length2"])
    count_T = found["count"] * known_T
    total = jnp.sum(count_T * jnp.where(known_T, found["length2"], 0.0))
    return jnp.where(count_T.sum() > 0, total / jnp.maximum(count_T.sum(), 1e-9), jnp.nan)
