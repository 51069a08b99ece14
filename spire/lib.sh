# Shared by up, down and as. Sourced, with -euo pipefail set.
# shellcheck shell=bash

SPIRE_DIR=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# Where everything of one running SPIRE lives. Without symbolic links: selectors are compared with /proc/PID/exe.
RUN=$(readlink -m "${CALLGATE_SPIRE_RUN:-$SPIRE_DIR/.run}")

say() { printf 'spire/%s: %s\n' "$(basename "$0")" "$*" >&2; }

die() {
  say "$1"
  shift
  (($# == 0)) || printf '  %s\n' "$@" >&2
  exit 1
}

# is_running NAME: is the process in RUN/NAME.pid there, and is it ours? Process ids are used again, so its command
# line must name this run directory.
is_running() {
  local pid
  pid=$(cat "$RUN/$1.pid" 2>/dev/null) || return 1
  tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -- "$RUN/$1"
}

# wait_until SECONDS COMMAND…: polls until the command succeeds; fails when the time is over.
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.05
  done
}

has_ended() { ! is_running "$1"; }

# stop NAME: asks it to end, waits 10 s (SPIRE takes less than one), then insists.
stop() {
  is_running "$1" || return 0
  local pid
  pid=$(cat "$RUN/$1.pid")
  kill -TERM "$pid" 2>/dev/null || true
  wait_until 10 has_ended "$1" && return 0
  say "$1 (process $pid) did not end within 10 s of SIGTERM: killing it"
  kill -KILL "$pid" 2>/dev/null || true
  wait_until 5 has_ended "$1"
}

# Ends what `up` started and removes what it wrote, by name: nothing else in the directory is touched.
clear_run() {
  stop agent
  stop server
  local sockets
  sockets=$(cat "$RUN/sockets" 2>/dev/null || true)
  if [[ -n "$sockets" ]]; then
    rm -f "$sockets/server.sock" "$sockets/agent.sock"
    [[ "$sockets" == "$RUN" ]] || rmdir "$sockets" 2>/dev/null || true
  fi
  rm -rf "$RUN"/{server,agent,python,bin}
  rm -f "$RUN"/{server,agent}.{pid,log} "$RUN"/{sockets,env,bundle.pem,join-token,entries.json,lock}
  rmdir "$RUN" 2>/dev/null || true
}
