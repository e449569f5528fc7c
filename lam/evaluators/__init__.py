"""What is measured during training. `config.evals.<name>.type` names a module of this package.

An evaluator is a class `Evaluator` with
- `needs`: names of batch keys the data must really have, checked before step 0; and, where they
  are not those that every task has, `asks`: the predictions it wants of the task;
- `split` and `seed` of the set it looks at; an empty split fails before step 0, too;
- `__init__(self, predict, data, **config)`, the rest of its config entry as keywords;
- `run(variables, step)`: an iterator of (name, value), value a float or a matplotlib Figure.

It receives two functions and knows neither the model nor the storage:
- `predict(name, variables, batch)`: a named prediction of the task on a host batch, numpy in and
  numpy out; batches have the loader's size;
- `data(split, batches, seed)`: an iterator of that many host batches of "train", "val" or "test",
  the same ones for the same seed.

All look at a set that stays the same during a run (`seed`). What is drawn from it at random, like
the samples of a picture, is drawn by (`seed`, `step`): a rerun gives the same.
"""

import numpy as np

TARGET = -1  # the frame to be reconstructed is the last of the pair, the frame given the first


def concatenate(parts):
    """A list of dicts of arrays -> one dict with the arrays joined along the first axis."""
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def take(samples, index):
    """The samples (dict of arrays) at these positions of the first axis."""
    return {key: value[index] for key, value in samples.items()}


def predict_samples(predict, name, variables, samples, batch_size):
    """Runs a prediction on any number of samples in batches of the one compiled size."""
    total = len(samples["frames"])
    index = np.resize(np.arange(total), -(-total // batch_size) * batch_size)
    parts = [
        predict(name, variables, take(samples, index[start : start + batch_size]))
        for start in range(0, len(index), batch_size)
    ]
    return take(concatenate(parts), slice(total))
