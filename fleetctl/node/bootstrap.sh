#!/bin/sh
# fleetctl on a machine: the one script of cloud-init user-data, of the way over SSH, and of golden images.
# POSIX sh. Every command may be repeated, and may be killed at any moment. It holds no secret, and is given none.
#
#   prepare [--images "A B"] [--mirrors "U V"] [--pins "P==1 Q==2"] [--cloud C]   set Docker up and fetch what will be
#                                                   needed; images in the background
#   probe                                           say what is here, as key=value lines
#   install --build B --wheel F --pins P [--instance I | --own] [--packages DIR]   and start the node agent
#   claim FLEET INSTANCE GPUS JSON                  take a machine of one's own; prints the claim that holds
#   claims                                          say who holds it
#   console                                         the ends of the logs
#   stop|start FLEET INSTANCE, release FLEET INSTANCE   as a cloud would; release leaves nothing behind
set -eu
#@arguments@

FETCH_TRIES=3      # of a download: a registry or an index that hiccups is well again by the third
LOCK_S=600         # for another run of this script: the longest one builds an environment over a slow network
AGENT_S=30         # from its start until the agent's socket is there; it takes one second, on a busy machine ten
DOWNLOADS=10       # layers at once; Docker's own 3 leave a fast line idle
FREE_KB=200000     # an environment takes 60 MB; a disk with less than this is told of when something fails
BUILDS_KEPT=3      # engines that survive an upgrade still run from the build before

say() { printf '%s\n' "$*" >&2; }
ended() { # a write that failed is told with the disk's state
  free=$(df -Pk "$root" 2>/dev/null | awk 'NR == 2 {print $4}')
  [ "$1" = 0 ] || [ "${free:-$FREE_KB}" -ge "$FREE_KB" ] || say "$root has only $free kB free; make room there"
}
die() { say "$1"; exit "${2:-1}"; }

# As root where we may: Docker, systemd and /opt want it.
if [ "$(id -u)" != 0 ] && [ -z "${FLEETCTL_NODE_HOME:-}${FLEETCTL_LOGIN:-}" ] && command -v sudo >/dev/null 2>&1 \
    && sudo -n true 2>/dev/null; then
  exec sudo -n FLEETCTL_LOGIN="$(id -u)" FLEETCTL_PEERS="${FLEETCTL_PEERS:-}" sh "$0" "$@"
fi
login=${FLEETCTL_LOGIN:-$(id -u)}
if [ -n "${FLEETCTL_NODE_HOME:-}" ]; then root=$FLEETCTL_NODE_HOME
elif [ "$(id -u)" = 0 ]; then root=/opt/fleetctl
else root=$HOME/.fleetctl; fi
machine=$root/machine
mark=$root/.fleetctl-node
socket=$root/agent.sock
number=$(printf %s "$root" | cksum | cut -d' ' -f1)
# A Unix socket's path may have 107 bytes.
[ "${#socket}" -le 100 ] || socket=/tmp/fleetctl-$number.sock
trap 'ended $?' EXIT
unit=fleetctl-agent
[ -z "${FLEETCTL_NODE_HOME:-}" ] || unit=fleetctl-agent-$number

made() { # our folder, marked as ours: nothing else is ever removed. It appears with its mark, in one step
  rm -rf "${root:?}.gone" # of a release that was killed near its end
  [ ! -e "$mark" ] || return 0
  new=$root.new-$$
  mkdir -p "$new"
  : >"$new/.fleetctl-node"
  mv -T "$new" "$root" 2>/dev/null || true # an empty folder may be there; another claim may have been quicker
  rm -rf "$new"
  if [ ! -e "$mark" ]; then
    [ -z "$(ls -A "$root")" ] || die "$root is there and not of fleetctl's making; remove it, or name another place"
    : >"$mark" # where something is mounted
  fi
}

locked() { # one run of this script at a time
  exec 9>>"$root/.lock" || die "$root cannot be written"
  flock -w "$LOCK_S" 9 || die "another fleetctl has been at work in $root for $LOCK_S s"
}

systemd() { [ "$(id -u)" = 0 ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; }

agent_runs() { # it holds a lock for its life
  [ -e "$machine/agent.lock" ] && ! flock -n "$machine/agent.lock" true 2>/dev/null
}

python() { # the path of an interpreter of 3.11 or newer that can make environments
  for one in python3.13 python3.12 python3.11 python3 python3.14 "$root"/python/bin/python3; do
    found=$(command -v "$one" 2>/dev/null) || continue
    if "$found" -c '
import importlib.util as i, sys, venv
sys.exit(sys.version_info < (3, 11) or not (i.find_spec("ensurepip") or i.find_spec("pip")))' 2>/dev/null; then
      printf '%s\n' "$found"
      return 0
    fi
  done
  return 1
}

fetched_python() { # where the system's is too old: one of our own, through uv from the package index
  command -v python3 >/dev/null 2>&1 || die "there is no Python on this machine; install python3 (3.11 or newer)"
  python3 -m pip install --quiet --disable-pip-version-check --target "$root/uv" uv >&2 \
    || die "Python 3.11 or newer is needed here, and uv, which would fetch it, cannot be installed; install python3.11"
  UV_PYTHON_INSTALL_DIR=$root/pythons "$root/uv/bin/uv" python install --quiet 3.12 >&2 \
    || die "Python 3.11 or newer is needed here, and could not be fetched; install python3.11 with its venv module"
  mkdir -p "$root/python/bin"
  ln -sf "$(UV_PYTHON_INSTALL_DIR=$root/pythons "$root/uv/bin/uv" python find 3.12)" "$root/python/bin/python3"
}

environment() { # $1: pins, $2: a folder of packages or empty; leaves its name in $env
  env=$root/envs/$(printf %s "$1" | cksum | cut -d' ' -f1)
  [ ! -e "$env/.ready" ] || return 0
  interpreter=$(python) || { fetched_python; interpreter=$(python) || die "no usable Python was found in $root"; }
  rm -rf "$env"
  mkdir -p "$root/envs"
  # Where the system's own pip can serve another environment, it need not be copied into it: that is half the time.
  if "$interpreter" -m pip --python "$interpreter" --version >/dev/null 2>&1; then
    "$interpreter" -m venv --without-pip "$env" >&2 || die "no environment could be made in $env with $interpreter"
    set -- "$1" "$2" "$interpreter" -m pip --python "$env/bin/python"
  else
    "$interpreter" -m venv "$env" >&2 || die "no environment could be made in $env with $interpreter"
    set -- "$1" "$2" "$env/bin/python" -m pip
  fi
  wanted=$1
  folder=$2
  shift 2
  set -- "$@" install --quiet --disable-pip-version-check --no-input
  case $wanted in
    *[\<\>~!]*) ;;              # a package that is not pinned brings what it needs
    *) set -- "$@" --no-deps ;; # else the pins name all there is
  esac
  [ -z "$folder" ] || set -- "$@" --no-index --find-links "$folder"
  try=1
  # shellcheck disable=SC2086  # each pin is a word
  until "$@" $wanted >&2; do
    [ "$try" -lt "$FETCH_TRIES" ] || die "the packages of the node agent could not be installed"
    try=$((try + 1))
    sleep 2
  done
  : >"$env/.ready"
}

docker_set() { # $1: mirrors of Docker's hub. Adds what Docker's settings lack, and changes nothing else in them
  settings=${FLEETCTL_DOCKER_SETTINGS:-/etc/docker/daemon.json}
  [ -z "${FLEETCTL_NODE_HOME:-}" ] || [ -n "${FLEETCTL_DOCKER_SETTINGS:-}" ] || return 0 # the machine is not ours alone
  [ "$(id -u)" = 0 ] && command -v docker >/dev/null 2>&1 && command -v python3 >/dev/null 2>&1 || return 0
  mkdir -p "$(dirname "$settings")"
  # live-restore keeps containers while the daemon restarts; a swarm cannot have it. Exit 3: nothing is lacking.
  python3 - "$settings" "$DOWNLOADS" "$1" <<'EOF' || { [ $? = 3 ] || say "$settings is left as it is"; return 0; }
import json, pathlib, sys
path = pathlib.Path(sys.argv[1])
old = json.loads(path.read_text() or "{}") if path.exists() else {}
new = {"max-concurrent-downloads": int(sys.argv[2]), **old}
if not pathlib.Path("/var/lib/docker/swarm/docker-state.json").exists():
  new.setdefault("live-restore", True)
known = old.get("registry-mirrors", [])
more = [one for one in sys.argv[3].split() if one.rstrip("/") not in [had.rstrip("/") for had in known]]
if more:
  new["registry-mirrors"] = more + known
if new == old:
  sys.exit(3)
draft = path.with_name(".daemon.json.new")
draft.write_text(json.dumps(new, indent=2) + "\n")
draft.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
draft.replace(path)
EOF
  # It takes all of these up when told so; nothing is restarted. One that does not run yet reads them as it starts.
  pid=$(cat "${FLEETCTL_DOCKER_PID:-/var/run/docker.pid}" 2>/dev/null) && kill -HUP "$pid" 2>/dev/null || true
}

pulls() { # $1: names of images; begun in the background, so that they overlap with everything else
  command -v docker >/dev/null 2>&1 || { say "no docker here; images are not fetched"; return 0; }
  mkdir -p -m 700 "$machine"
  for image in $1; do
    # What we bring is ours to remove one day; what is here already is not.
    docker image inspect "$image" >/dev/null 2>&1 || printf '%s\n' "$image" >>"$machine/pulled"
    # shellcheck disable=SC2016  # expanded by the inner shell
    setsid sh -c 'n=0; until docker pull --quiet "$1" || [ "$n" -ge "$2" ]; do n=$((n + 1)); sleep 5; done' \
      pull "$image" "$FETCH_TRIES" >>"$root/pulls.log" 2>&1 </dev/null 9>&- &
  done
}

prepare() {
  images=""
  mirrors=""
  pins=""
  cloud=""
  while [ $# -gt 0 ]; do
    case $1 in
      --images) images=$2 ;;
      --mirrors) mirrors=$2 ;;
      --pins) pins=$2 ;;
      --cloud) cloud=$2 ;;
      *) die "prepare: $1 is not known" 2 ;;
    esac
    shift 2
  done
  made
  locked
  if [ -n "$cloud" ] && [ "$(cat "$root/cloud" 2>/dev/null)" != "$cloud" ]; then
    printf '%s\n' "$cloud" >"$root/cloud" # who gives notice before it takes the machine back
    # The way over SSH may have been quicker: its agent begins again and asks that cloud.
    ! agent_runs || { agent_leaves && agent_starts; }
  fi
  docker_set "$mirrors"
  [ -z "$images" ] || pulls "$images"
  # A machine without the packages is made ready over SSH all the same, only later.
  [ -z "$pins" ] || (environment "$pins" "") || say "the packages were not fetched; the first contact over SSH will"
}

probe() {
  printf 'root=%s\nsocket=%s\nlogin=%s\nuser=%s\n' "$root" "$socket" "$login" "$(id -un)"
  printf 'build=%s\n' "$(cat "$root/build" 2>/dev/null || true)"
  printf 'instance=%s\n' "$(cat "$root/instance" 2>/dev/null || true)"
  if agent_runs && [ -S "$socket" ]; then printf 'agent=runs\n'; else printf 'agent=none\n'; fi
  claims
}

claims() { # state=… and claim=…, where there is one
  if [ -e "$root/claim" ]; then
    if [ -e "$root/releasing" ]; then printf 'state=terminating\n'
    elif [ -e "$root/stopping" ]; then printf 'state=stopping\n'
    elif [ -e "$root/stopped" ]; then printf 'state=stopped\n'
    else printf 'state=running\n'; fi
    printf 'claim=%s\n' "$(cat "$root/claim")"
  fi
}

install() {
  instance=""; own=""; build=""; wheel=""; pins=""; packages=""
  while [ $# -gt 0 ]; do
    case $1 in
      --own) own=yes; shift; continue ;;
      --instance) instance=$2 ;;
      --build) build=$2 ;;
      --wheel) wheel=$2 ;;
      --pins) pins=$2 ;;
      --packages) packages=$2 ;;
      *) die "install: $1 is not known" 2 ;;
    esac
    shift 2
  done
  if [ -n "$own" ]; then
    [ -e "$root/claim" ] || die "nobody has claimed this machine" 75
  else
    made
  fi
  locked
  rests
  gpus=""
  if [ -n "$own" ]; then
    read -r _ instance gpus _ <"$root/claim" || die "nobody has claimed this machine" 75
  fi
  here=$(dirname "$0")
  [ -z "$packages" ] || packages=$here/$packages
  environment "$pins" "$packages"
  if [ ! -d "$root/builds/$build" ]; then
    new=$root/builds/.new
    rm -rf "$new"
    mkdir -p "$new"
    "$env/bin/python" -m zipfile -e "$here/$wheel" "$new" >&2 || die "the node agent could not be unpacked"
    mv "$new" "$root/builds/$build"
  fi
  # An agent of another build leaves; its engines stay, and the next agent takes them up.
  if agent_runs && [ "$(cat "$root/build" "$root/instance" 2>/dev/null)" != "$build
$instance" ]; then
    agent_leaves
  fi
  printf '%s\n' "$env" >"$root/.env.new" && mv "$root/.env.new" "$root/env"
  printf '%s\n' "$instance" >"$root/.instance.new" && mv "$root/.instance.new" "$root/instance"
  printf '%s\n' "$gpus" >"$root/.gpus.new" && mv "$root/.gpus.new" "$root/gpus"
  printf '%s\n' "$build" >"$root/.build.new" && mv "$root/.build.new" "$root/build"
  agent_starts
  old=$(cd "$root/builds" && ls -t | tail -n +$((BUILDS_KEPT + 1)))
  for one in $old; do [ "$one" = "$build" ] || rm -rf "${root:?}/builds/$one"; done
  probe
}

rests() { # an agent is not for a machine that is stopped, or on its way out
  [ ! -e "$root/releasing" ] || die "this machine is being given back" 75
  [ ! -e "$root/stopped" ] && [ ! -e "$root/stopping" ] || die "this machine is stopped" 75
}

known() { # what the agent is run with
  env=$(cat "$root/env") && build=$(cat "$root/build") && instance=$(cat "$root/instance") && gpus=$(cat "$root/gpus")
}

agent_starts() {
  ! agent_runs || return 0
  known
  mkdir -p -m 700 "$machine" # what engines are started with may hold their users' secrets
  rm -f "$socket"
  peers=auto
  # A rented machine has the port that its cloud's rule opens between the fleet's machines.
  [ -e "$root/claim" ] || [ -n "${FLEETCTL_NODE_HOME:-}" ] || peers=auto:@peer_port@
  set -- "$env/bin/python" -m fleetctl.agent --instance "$instance" --folder "$machine" --socket "$socket" \
    --owner "$login" --runtime auto --peers "${FLEETCTL_PEERS:-$peers}"
  [ -z "$gpus" ] || set -- "$@" --gpus "$gpus"
  [ ! -s "$root/cloud" ] || set -- "$@" --notices "$(cat "$root/cloud")"
  if systemd; then
    {
      printf '[Unit]\nDescription=fleetctl node agent\nAfter=network-online.target docker.service\n\n[Service]\n'
      # Engines outlive their agent.
      printf 'KillMode=process\nRestart=always\nRestartSec=2\nEnvironment=PYTHONPATH=%s\n' "$root/builds/$build"
      printf 'StandardOutput=append:%s\nStandardError=append:%s\nExecStart=%s\n\n' \
        "$machine/agent.log" "$machine/agent.log" "$*"
      printf '[Install]\nWantedBy=multi-user.target\n'
    } >"/etc/systemd/system/$unit.service"
    systemctl daemon-reload
    systemctl enable --quiet "$unit"
    systemctl restart "$unit"
  else
    (cd "$machine" && PYTHONPATH=$root/builds/$build setsid nohup "$@" >>"$machine/agent.log" 2>&1 </dev/null 9>&- &)
  fi
  waited=0
  until [ -S "$socket" ]; do
    [ "$waited" -lt $((AGENT_S * 5)) ] || {
      die "the node agent did not start within $AGENT_S s; its last words: $(tail -n 5 "$machine/agent.log")"
    }
    waited=$((waited + 1))
    sleep 0.2
  done
}

agent_leaves() { # the agent alone
  if systemd; then systemctl stop "$unit" 2>/dev/null || true; fi
  pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$machine/agent.lock" 2>/dev/null)
  waited=0
  while agent_runs; do
    [ -z "$pid" ] || kill "$([ "$waited" -lt 25 ] && echo -TERM || echo -KILL)" "$pid" 2>/dev/null || true
    [ "$waited" -lt $((AGENT_S * 5)) ] || die "the node agent (pid $pid) does not end"
    waited=$((waited + 1))
    sleep 0.2
  done
}

halt() { # agent and engines, by the agent's own program: it knows what it started
  [ -e "$root/build" ] && [ -d "$machine" ] || return 0
  known
  if systemd && [ -e "/etc/systemd/system/$unit.service" ]; then
    systemctl disable --quiet --now "$unit" 2>/dev/null || true
  fi
  PYTHONPATH=$root/builds/$build "$env/bin/python" -m fleetctl.agent --halt --instance "$instance" \
    --folder "$machine" >&2 || die "agent and engines could not be ended; see $machine/agent.log"
  rm -f "$socket"
}

mine() { # whether the claim is this fleet's and this instance's
  [ -e "$root/claim" ] || return 1
  read -r fleet holder _ <"$root/claim" || return 1
  [ "$fleet" = "$1" ] && [ "$holder" = "$2" ]
}

elsewhere() { # a claim made by who logs in as somebody else, as far as we may look
  [ -z "${FLEETCTL_NODE_HOME:-}" ] || return 0
  for one in /opt/fleetctl /root/.fleetctl /home/*/.fleetctl; do
    [ "$one" = "$root" ] || [ ! -e "$one/claim" ] || printf '%s\n' "$one"
  done
}

claim() {
  other=$(elsewhere)
  [ -z "$other" ] || die "this machine is claimed already, in $other: log in as the same user from everywhere"
  made
  draft=$root/.claim-$$
  printf '%s %s %s\n%s\n' "$1" "$2" "$3" "$4" >"$draft" || die "$root cannot be written"
  [ -s "$draft" ] || die "$root cannot be written"
  sync "$draft" 2>/dev/null || true
  # A link is made by exactly one of those who try at once.
  ln "$draft" "$root/claim" 2>/dev/null || true
  rm -f "$draft"
  [ -e "$root/claim" ] || die "the machine could not be claimed in $root"
  claims
}

console() { # what a person would look at first
  tail -n 100 "$root/prepare.log" "$root/pulls.log" "$machine/agent.log" 2>/dev/null || true
}

stop() {
  mine "$1" "$2" || die "this machine is not claimed by $1 for $2" 76
  locked
  mine "$1" "$2" || die "this machine is not claimed by $1 for $2" 76
  [ ! -e "$root/stopped" ] || return 0
  : >"$root/stopping"
  halt
  mv "$root/stopping" "$root/stopped"
}

start() {
  mine "$1" "$2" || die "this machine is not claimed by $1 for $2" 76
  locked
  mine "$1" "$2" || die "this machine is not claimed by $1 for $2" 76
  if [ -e "$root/stopping" ]; then
    halt # a stop that was broken off is ended first
    rm -f "$root/stopping"
  fi
  rm -f "$root/stopped"
  [ ! -e "$root/build" ] || agent_starts
}

release() {
  mine "$1" "$2" || return 0
  [ -e "$mark" ] || die "$root is not a folder of fleetctl's making; it is left alone"
  locked
  mine "$1" "$2" || return 0
  : >"$root/releasing"
  halt
  if systemd && [ -e "/etc/systemd/system/$unit.service" ]; then
    rm -f "/etc/systemd/system/$unit.service"
    systemctl daemon-reload
  fi
  find "$root" -mindepth 1 -maxdepth 1 ! -name claim ! -name releasing ! -name .lock ! -name .fleetctl-node \
    -exec rm -rf {} +
  # The claim goes last: until then the machine is ours, and whoever repeats this goes on. It goes with its folder, in
  # one step, so that nobody's next claim is caught in between; where the folder cannot be moved, one by one.
  if ! mv "$root" "$root.gone" 2>/dev/null; then
    rm -f "$root/releasing"
    rm -f "$root/claim" "$root/.lock" "$mark"
  fi
  rm -rf "${root:?}.gone"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
  prepare | probe | install | claim | claims | console | stop | start | release) "$command" "$@" ;;
  *) die "fleetctl's node script: ${command:-nothing} is not one of its commands" 2 ;;
esac
