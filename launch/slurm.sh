#!/usr/bin/env bash
# One training run over several GPU nodes, one process for each GPU:
#   cd <checkout>; sbatch --nodes=2 launch/slurm.sh --config=configs/laq.py --workdir=/shared/runs/laq
# .venv must exist on a disk that all nodes see, with a jax for GPUs: .venv/bin/pip install -e .[cuda]
# A job that was requeued resumes from the newest checkpoint of --workdir.
#SBATCH --job-name=lam
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=slurm-%j.log
set -euo pipefail

cd "${SLURM_SUBMIT_DIR:?this script is for sbatch; on one machine run python -m lam.main}"
srun --kill-on-bad-exit=1 .venv/bin/python -u -m lam.main --multihost "$@"
