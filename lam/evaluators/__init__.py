"""What is measured during training. `config.evals.<name>.type` names a module of this package.

An evaluator is a class `Evaluator` with
- `needs`: names of batch keys the data must really have, checked before step 0, or a function from
  its config entry to them; where it is missing, the evaluator is left out with a warning;
- `asks`: the predictions it wants of the task; without one of them it is left out likewise;
- `baseline = True` where it compares with an untrained model, see below;
- `split` and `seed` of the set it looks at; an empty split fails before step 0, too;
- `__init__(self, predict, data, **config)`, the rest of its config entry as keywords;
- `run(variables, step)`: an iterator of (name, value), value a float or a matplotlib Figure.

It receives two functions and knows neither the model nor the storage:
- `predict(name, variables, batch)`: a named prediction of the task on a host batch, numpy in and
  numpy out; batches have the loader's size;
- `data(split, batches, seed)`: an iterator of that many host batches of "train", "val" or "test",
  the same ones for the same seed. The entry's `bucket`, a tuple of names of data sets or domains,
  leaves nothing else in them; () is everything. Evaluators never see it.
With `baseline`, also the keyword `untrained`: a function from variables to those of the same task
with parameters that were never trained, the same ones for a whole run.

All look at a set that stays the same during a run (`seed`). What is drawn from it at random, like
the samples of a picture, is drawn by (`seed`, `step`): a rerun gives the same.
"""

import numpy as np

from lam.errors import UserError

TARGET = -1  # the frame to be reconstructed is the last of the pair, the frame given the first
NUMBERS = ("action", "action_mask", "state", "state_mask")
SEARCH = 50  # batches read for one of a bucket, at most


def collect(predict, name, variables, batches, more=None):
    """Streams batches once through a prediction: a dict of arrays, N samples along the first axis.

    Holds what is predicted, and of the batch
      action, action_mask, state, state_mask  as in the batch, where it has them
      scene   int [N], the split group
      domain  str [N], "dataset" or "dataset/robot"; dataset, its first part
      whatever `more(batch)` makes of it, such as some of the frames.
    """
    parts = []
    for batch in batches:
        domain = batch["domain"].astype(str)
        part = {key: batch[key] for key in NUMBERS if key in batch}
        part |= {"scene": batch["scene_id"], "domain": domain, "dataset": datasets(domain)}
        parts.append(part | predict(name, variables, batch) | (more(batch) if more else {}))
    return concatenate(parts)


def in_bucket(data, bucket, text):
    """`data` with nothing but samples of these data sets or domains, in whole batches again.

    Raises (when streamed) UserError that begins with `text` if there are next to none.
    """

    def only(split, batches, seed):
        kept, seen, read = [], set(), 0
        for batch in data(split, SEARCH * batches, seed):
            size, read = len(batch["frames"]), read + len(batch["frames"])
            domain_B = batch["domain"].astype(str)
            seen |= set(domain_B)
            inside_B = np.isin(domain_B, bucket) | np.isin(datasets(domain_B), bucket)
            kept.append(take(batch, inside_B))
            if sum(len(part["frames"]) for part in kept) >= size:
                whole = concatenate(kept)
                yield take(whole, slice(size))
                kept, batches = [take(whole, slice(size, None))], batches - 1
                if not batches:
                    return
        raise UserError(
            f"{text}: too few among {read} samples of {split}; there are data sets or "
            f"domains {', '.join(sorted(seen))}"
        )

    return only


def datasets(domain_N):
    """The data sets of domains "dataset" or "dataset/robot": str [N]."""
    return np.array([name.split("/")[0] for name in domain_N], dtype=str)


def has_dims(mask_NA, dims):
    """Which samples have all of these dims: bool [N]."""
    if max(dims) >= mask_NA.shape[1]:
        return np.zeros(len(mask_NA), bool)
    return mask_NA[:, list(dims)].all(axis=1)


def concatenate(parts):
    """A list of dicts of arrays -> one dict with the arrays joined along the first axis."""
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def take(samples, index):
    """The samples (dict of arrays) at these positions of the first axis."""
    return {key: value[index] for key, value in samples.items()}


def pick(batches, index):
    """The samples at these positions of a stream of host batches: a dict of arrays, in this order.

    Reads on no further than the last of them, so that a set is never in memory as a whole.
    """
    index, begin, parts, order = np.asarray(index), 0, [], []
    for batch in batches:
        size = len(batch["frames"])
        here = np.flatnonzero((index >= begin) & (index < begin + size))
        parts.append(take(batch, index[here] - begin))
        order.append(here)
        begin += size
        if begin > index.max(initial=-1):
            break
    return take(concatenate(parts), np.argsort(np.concatenate(order)))


def predict_samples(predict, name, variables, samples, batch_size):
    """Runs a prediction on any number of samples in batches of the one compiled size."""
    total = len(samples["frames"])
    index = np.resize(np.arange(total), -(-total // batch_size) * batch_size)
    parts = [
        predict(name, variables, take(samples, index[start : start + batch_size]))
        for start in range(0, len(index), batch_size)
    ]
    return take(concatenate(parts), slice(total))
