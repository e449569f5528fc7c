"""Instructions as vectors: TF-IDF, which needs nothing, or a model of transformers.

U texts, V words, D dims. numpy.
"""

import collections
import itertools
import math
import re

import numpy as np

from lam.errors import UserError

WORD = re.compile(r"[^\W_]+")
DIMS = 64  # directions that the words of a text are taken down to, at most


def embed(texts, model=""):
    """Vectors of length 1 of texts, float32 [U,D]; zero for a text without a word.

    model: "" for TF-IDF, else a name or folder of `transformers`.
    """
    return tf_idf(texts) if not model else by_transformer(texts, model)


def tf_idf(texts, dims=DIMS):
    """Words and pairs of neighbouring words, each weighed by how few texts have it.

    log(1 + count) * (log((1 + U) / (1 + texts with it)) + 1), as scikit-learn with sublinear
    counts, taken down to the `dims` main directions (latent semantic analysis).
    """
    terms = [collections.Counter(terms_of(text)) for text in texts]
    found = collections.Counter(term for counts in terms for term in counts)
    place = {term: number for number, term in enumerate(sorted(found))}
    weights_UV = np.zeros((len(texts), max(len(place), 1)), np.float32)
    for row, counts in enumerate(terms):
        for term, count in counts.items():
            rare = math.log((1 + len(texts)) / (1 + found[term])) + 1
            weights_UV[row, place[term]] = math.log1p(count) * rare
    vectors_UV = unit(weights_UV)
    if min(vectors_UV.shape) <= dims:
        return vectors_UV
    # a basis of the texts without a random start, so that the same texts give the same vectors
    spread_U, axes_UU = np.linalg.eigh(vectors_UV.astype(np.float64) @ vectors_UV.T)
    main = np.sqrt(np.maximum(spread_U[::-1][:dims], 0))
    return unit((axes_UU[:, ::-1][:, :dims] * main).astype(np.float32))


def terms_of(text):
    """Words and pairs of words next to each other: list of str."""
    words = WORD.findall(text.lower())
    return [*words, *(" ".join(pair) for pair in itertools.pairwise(words))]


def unit(vectors_UD):
    """Vectors of length 1 [U,D]; zero stays zero."""
    length_U = np.linalg.norm(vectors_UD, axis=1, keepdims=True)
    return vectors_UD / np.where(length_U > 0, length_U, 1.0)


def by_transformer(texts, model, batch=64):
    """Mean of the last hidden states over the words of each text; for T5 its encoder.

    Raises:
      UserError: transformers is missing or cannot load the model.
    """
    try:
        import transformers

        tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        net = transformers.AutoModel.from_pretrained(model)
    except (ImportError, OSError, ValueError) as error:
        why = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise UserError(
            f"the sentence embedding '{model}' cannot be loaded ({why}): give a folder or name of "
            "transformers, or leave text_model empty for TF-IDF"
        ) from None
    net = (net.get_encoder() if net.config.is_encoder_decoder else net).eval().requires_grad_(False)
    parts = []
    for begin in range(0, len(texts), batch):
        part = list(texts[begin : begin + batch])
        inputs = tokenizer(part, padding=True, truncation=True, return_tensors="pt")
        hidden_BTD = net(**inputs).last_hidden_state.numpy()
        mask_BT1 = inputs["attention_mask"].numpy()[:, :, None]
        parts.append((hidden_BTD * mask_BT1).sum(axis=1) / np.maximum(mask_BT1.sum(axis=1), 1))
    return unit(np.concatenate(parts).astype(np.float32))
