#!/usr/bin/env bash
# One run on a Cloud TPU slice, a process per host, looked after by systemd. Any start resumes the run.
#
#   export NAME=mine ZONE=europe-west4-a TYPE=v6e-16 VERSION=v2-alpha-tpuv6e NFS=10.0.0.2:/runs SPOT=1
#   ssh-add ~/.ssh/google_compute_engine
#   launch/tpu_pod.sh start --config=configs/pqn_lru.py:preset=pod --workdir=/mnt/runs/mine
#   launch/tpu_pod.sh log    # or stop, which saves first, or delete
#
# `start` makes the slice or takes the one there is, and leaves a run alone that is going on. A spot slice is taken away
# at any time: the same command, by hand or by cron, makes it again. All hosts write to the workdir, so NFS, a share
# (Filestore, say), is mounted on each as /mnt/runs. The code is HEAD of this checkout, or REVISION of REPOSITORY.
# No --restarts here: systemd restarts. Several slices, and TPU7x, which `tpu-vm` does not know: launch/jobset.yaml.
# Not run: no TPU was at hand. The tests check its syntax and, with stand-ins for gcloud and systemd, what it starts.
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
    PREEMPTED | TERMINATED) tpu delete --quiet ;; # it cannot be started again
  esac
  # With OS Login a user has the same number on all hosts, which NFS goes by.
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

# What follows runs on the hosts.

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
    sudo chmod a+rwxt /mnt/runs || true # a new share is root's; one that root may not change has to be writable
  fi
  rm -rf podarcade && mkdir podarcade
  if [ -n "$2" ]; then
    git clone --quiet "$2" podarcade
    git -C podarcade checkout --quiet "$3"
  else
    tar --extract --gzip --file=podarcade.tar.gz --directory=podarcade
  fi
  # The images bring Python 3.10, which is too old.
  curl --location --silent --show-error --fail https://astral.sh/uv/install.sh | sh
  cd podarcade
  "$HOME/.local/bin/uv" venv --python=3.12
  "$HOME/.local/bin/uv" pip install '.[tpu]'
}

metadata() { # of this host, from a server that each has
  curl --fail --silent --retry 5 --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}

start_here() { # [ARGUMENT...]
  is_idle || { echo "it is running" && return 0; }
  # Each host is "address" or "name:number:address"; the first is worker 0, as for jax where it finds them itself.
  hosts=$(metadata worker-network-endpoints)
  worker=$(metadata agent-worker-number)
  first=${hosts%%,*}
  commas=${hosts//[^,]/}
  # Exit codes 1 and 70 would come again. The driver of the TPU locks much memory.
  sudo systemd-run --unit=podarcade --collect --uid="$(id -u)" --working-directory="$HOME/podarcade" \
    --property=Restart=on-failure --property=RestartSec=10 --property="RestartPreventExitStatus=1 70" \
    --property=StartLimitIntervalSec=0 --property=TimeoutStopSec=120 --property=LimitMEMLOCK=infinity \
    --property="After=network-online.target remote-fs.target" \
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
