#!/usr/bin/env bash
# One run on a Cloud TPU slice, one process per host, restarted by systemd. Every start resumes the run.
#
#   export NAME=mine ZONE=europe-west4-a TYPE=v6e-16 VERSION=v2-alpha-tpuv6e NFS=10.0.0.2:/runs SPOT=1
#   ssh-add ~/.ssh/google_compute_engine
#   launch/tpu_pod.sh start --config=configs/pqn_lru.py:preset=pod --workdir=/mnt/runs/mine
#   launch/tpu_pod.sh log    # or stop, which saves first, or delete
#
# `start` creates the slice if it does not exist, and does nothing if the run is active. A spot slice may be preempted at
# any time: the same command, by hand or by cron, creates it again. All hosts write to the workdir, so the share NFS (on
# Filestore, for example) is mounted on each as /mnt/runs. The code is HEAD of this checkout, or REVISION of REPOSITORY.
# Do not use --restarts: systemd restarts. For several slices, and for TPU7x (unknown to `tpu-vm`): launch/jobset.yaml.
# Not run on a TPU yet. The tests check its syntax and, with stand-ins for gcloud and systemd, what it starts.
set -euo pipefail

NAME=${NAME:-podarcade}

tpu() { # VERB [OPTION...]
  gcloud compute tpus tpu-vm "$1" "$NAME" --zone="${ZONE:?the zone, say europe-west4-a}" "${@:2}"
}

on_hosts() { # WORKERS FUNCTION [ARGUMENT...]: runs a function of this file there
  tpu ssh --worker="$1" --command="set -eu; $(declare -f is_idle metadata "$2"); $(printf '%q ' "${@:2}")"
}

make_slice() {
  case $(tpu describe --format='value(state)' 2>/dev/null || true) in
    READY) return ;;
    PREEMPTED | TERMINATED) tpu delete --quiet ;; # cannot be restarted
  esac
  # OS Login gives a user the same id on all hosts, as NFS requires.
  tpu create --accelerator-type="${TYPE:?the slice, say v6e-16}" --metadata=enable-oslogin=TRUE \
    --version="${VERSION:?v2-alpha-tpuv6e, v2-alpha-tpuv5 (v5p), v2-alpha-tpuv5-lite (v5e), tpu-ubuntu2204-base (v4)}" \
    ${SPOT:+--spot}
}

bring_code() {
  [ -z "${REPOSITORY:-}" ] || return 0
  local folder
  folder=$(mktemp -d)
  git -C "$(dirname "$0")/.." archive --format=tar.gz --output="$folder/podarcade.tar.gz" HEAD
  gcloud compute tpus tpu-vm scp "$folder/podarcade.tar.gz" "$NAME:" --zone="$ZONE" --worker=all
  rm -r "$folder"
}

# The functions below run on the hosts.

is_idle() { # neither running nor waiting to be restarted
  [ "$(systemctl show --property=ActiveState --value podarcade)" = inactive ]
}

install_here() { # SHARE REPOSITORY REVISION
  is_idle || return 0
  if ! mountpoint -q /mnt/runs; then
    sudo apt-get update --quiet
    sudo apt-get -o DPkg::Lock::Timeout=300 install --quiet --yes nfs-common
    sudo mkdir -p /mnt/runs
    sudo mount -t nfs "$1" /mnt/runs
    sudo chmod a+rwxt /mnt/runs || true # a new share belongs to root; with root squash it must already be writable
  fi
  rm -rf podarcade && mkdir podarcade
  if [ -n "$2" ]; then
    git clone --quiet "$2" podarcade
    git -C podarcade checkout --quiet "$3"
  else
    tar --extract --gzip --file=podarcade.tar.gz --directory=podarcade
  fi
  # The images come with Python 3.10, which is too old.
  curl --location --silent --show-error --fail https://astral.sh/uv/install.sh | sh
  cd podarcade
  "$HOME/.local/bin/uv" venv --python=3.12
  "$HOME/.local/bin/uv" pip install '.[tpu]'
}

metadata() { # NAME: an attribute of this host, from its metadata server
  curl --fail --silent --retry 5 --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}

start_here() { # [ARGUMENT...]
  is_idle || { echo "already running" && return 0; }
  # Each host is "address" or "name:number:address"; the first is worker 0, as in jax's own detection.
  hosts=$(metadata worker-network-endpoints)
  worker=$(metadata agent-worker-number)
  first=${hosts%%,*}
  commas=${hosts//[^,]/}
  # Exit codes 1 and 70 would occur again. All restarts of this unit are one series: the trainer exits with 1 after two
  # starts in a row without progress. The TPU driver locks much memory.
  sudo systemd-run --unit=podarcade --collect --uid="$(id -u)" --working-directory="$HOME/podarcade" \
    --property=Restart=on-failure --property=RestartSec=10 --property="RestartPreventExitStatus=1 70" \
    --property=StartLimitIntervalSec=0 --property=TimeoutStopSec=120 --property=LimitMEMLOCK=infinity \
    --property="After=network-online.target remote-fs.target" --setenv="PODARCADE_SERIES=systemd-$(date +%s)" \
    "$HOME/podarcade/.venv/bin/python" -m podarcade.launch "$@" \
    --coordinator="${first##*:}:8482" --num_processes=$((${#commas} + 1)) --process_id="$worker"
}

stop_here() { sudo systemctl stop podarcade; }

log_here() { sudo journalctl --unit=podarcade --lines=100 --follow; }

case ${1:-} in
  start)
    share=${NFS:?the share for the workdir, say 10.0.0.2:/runs}
    make_slice
    bring_code
    on_hosts all install_here "$share" "${REPOSITORY:-}" "${REVISION:-HEAD}"
    on_hosts all start_here "${@:2}"
    ;;
  log) on_hosts 0 log_here ;;
  stop) on_hosts all stop_here ;;
  delete) tpu delete ;;
  *) echo "usage: $0 start --config=... --workdir=/mnt/runs/..., or log, stop, delete" >&2 && exit 1 ;;
esac
