#!/usr/bin/env bash
# Lint, format check and tests.
#   bash launch/test.sh [--oracles] [PYTEST ARGUMENTS, e.g. -k probe, or -n 0 for one process]
# --oracles also installs torch and compares our models with the original code; without it those
# tests are skipped. Arguments of pytest are taken from the root of the checkout.
set -euo pipefail

source "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"
arguments=()
for argument in "$@"; do
  if [ "$argument" = --oracles ]; then
    install requirements-oracles.txt
    export LAM_ORACLES=1
  else
    arguments+=("$argument")
  fi
done
cd "$root"
"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m pytest --durations=10 -n 2 --dist loadfile ${arguments[@]+"${arguments[@]}"}
