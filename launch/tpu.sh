#!/usr/bin/env bash
# One training run over all hosts of a Cloud TPU slice:
#   TPU=my-slice ZONE=us-central2-b bash launch/tpu.sh --config=configs/laq.py --workdir=/mnt/runs/laq
# The workdir must lie on a disk that is mounted on all hosts.
# Copies the last commit to every host, installs it there with the TPU extra and starts the same
# line everywhere; the output of all hosts appears here. A rerun resumes.
set -euo pipefail

: "${TPU:?set TPU to the name of the slice}" "${ZONE:?set ZONE to its zone}"
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
archive="$(mktemp -d)/lam.tgz"
git archive --format=tgz --prefix=lam-checkout/ -o "$archive" HEAD
printf -v arguments ' %q' "$@"

gcloud compute tpus tpu-vm scp "$archive" "$TPU:lam.tgz" --zone="$ZONE" --worker=all
gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="
  set -e
  tar xzf lam.tgz && cd lam-checkout
  [ -x ../lam-venv/bin/python ] || python3 -m venv ../lam-venv
  ../lam-venv/bin/python -m pip install --quiet '.[tpu]'
  ../lam-venv/bin/python -u -m lam.main --multihost$arguments"
