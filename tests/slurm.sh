#!/usr/bin/env bash
# Tests launch/slurm.sbatch on a Slurm cluster of its own, as root on Debian or Ubuntu; PYTHON has pytest and podarcade.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v slurmctld slurmd srun munged >/dev/null; then
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends slurmctld slurmd slurm-client munge
fi
exec "${PYTHON:-.venv/bin/python}" -m pytest tests/test_slurm.py -m slow -n0 "$@"
