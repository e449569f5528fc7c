#!/usr/bin/env bash
# Trains a small latent action model on made-up robot videos and shows what its tokens mean.
#   bash launch/demo.sh [RUN_DIR] [--config.FIELD=VALUE ...]
# RUN_DIR is <checkout>/runs/demo if not given. All other arguments go to lam.main, which runs in
# the checkout: give paths in them from the root. Running it again resumes, or shows the results.
set -euo pipefail

source "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"
run_dir="$root/runs/demo"
if [ $# -gt 0 ] && [[ $1 != -* ]]; then
  case $1 in /*) run_dir=$1 ;; *) run_dir="$PWD/$1" ;; esac
  shift
fi
cd "$root"
"$python" -u -m lam.main --config=configs/laq.py:tiny --workdir="$run_dir" "$@"
