#!/usr/bin/env bash
# Every combination of algorithms, games, levels, twins and memories, one run after the other. Re-run to resume.
#
#   ALGORITHMS="pqn ppo dqn" GAMES="cartpole minesweeper" MEMORIES="lru none" launch/sweep.sh --config.seeds=3
#
# Each run has its own folder in runs/; complete runs are left unchanged.
set -euo pipefail
cd "$(dirname "$0")/.."
for algorithm in ${ALGORITHMS:-pqn}; do
  for game in ${GAMES:-cartpole minesweeper}; do
    for level in ${LEVELS:-easy}; do
      for partial in ${PARTIAL:-false true}; do
        for memory in ${MEMORIES:-lru none}; do
          task="game=$game,level=$level,partial=$partial,memory=$memory,preset=${PRESET:-auto}"
          "${PYTHON:-.venv/bin/python}" -m podarcade.launch --config="configs/$algorithm.py:$task" "$@"
        done
      done
    done
  done
done
