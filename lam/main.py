"""Trains and evaluates.

python -m lam.main --config=configs/laq.py:tiny --workdir=runs/laq [--mode=eval] [--config.F=V ...]
"""

from absl import flags
from ml_collections import config_flags

from lam import cli

MODES = ("train", "eval")
CONFIG = config_flags.DEFINE_config_file("config", None, "FILE.py[:VARIANT]", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; made if it is missing.")
MODE = flags.DEFINE_enum("mode", "train", MODES, "train (or resume), or evaluate and stop.")
MULTIHOST = flags.DEFINE_bool("multihost", False, "One of several processes, all called alike.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0 outside a cluster.")
PROCESS = flags.DEFINE_integer("process", None, "Number of this process outside a cluster, from 0.")
PROCESSES = flags.DEFINE_integer("processes", None, "How many there are, outside a cluster.")
flags.mark_flags_as_required(["config", "workdir"])


def main():
    import jax

    from lam import report, sharding, train

    if MULTIHOST.value:
        sharding.connect(COORDINATOR.value, PROCESSES.value, PROCESS.value)
    results = train.train_and_evaluate(CONFIG.value, WORKDIR.value, MODE.value)
    if results and jax.process_index() == 0:
        print(report.table(results, WORKDIR.value))


if __name__ == "__main__":
    cli.run(main)
