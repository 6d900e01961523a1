#!/usr/bin/env bash
# Installs Harvest on this machine, or upgrades it. Safe to run again.
#
#   install.sh [--wheels DIR] [--dry-run]
#
# --wheels DIR  wheels and their lock, built by `make wheels` (default: dist/wheels). No network is used.
# --dry-run     check this machine and print what would be done
#
# Existing settings and passwords are kept. Exit codes: 0 done, 1 failed, 2 wrong usage or unsuitable machine.
set -euo pipefail
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=systemd/places.sh
. "$here/places.sh"

wheels=$here/../dist/wheels

main() {
  read_options "$@"
  check
  add_user
  add_release
  add_settings
  add_passwords
  add_units
  if is_booted; then
    start
    remove_older_releases
    report_health
  else
    say "systemd is not running here: Harvest starts with the next boot"
  fi
}

read_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --wheels) wheels=${2:?"install.sh: --wheels needs a directory"}; shift 2 ;;
      --dry-run) dry_run=yes; shift ;;
      *) echo "install.sh: $1: unknown option; usage: install.sh [--wheels DIR] [--dry-run]" >&2; exit 2 ;;
    esac
  done
}

check() {
  local mistakes=0
  is_root || mistake "needs root. Fix: run it as root, or with --dry-run"
  has systemctl || mistake "systemctl: not found. Harvest needs a machine with systemd"
  has useradd || mistake "useradd: not found. Fix: apt-get install passwd"
  check_python
  one_wheel >/dev/null || mistake "$wheels: needs exactly one harvest-*.whl. Fix: make wheels, or pass --wheels DIR"
  [ -f "$wheels/requirements.lock" ] || mistake "$wheels/requirements.lock: not found. Fix: make wheels"
  [ "$mistakes" = 0 ] || exit 2
}

mistake() {
  echo "install.sh: $1" >&2
  mistakes=$((mistakes + 1))
}

check_python() {
  python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null ||
    mistake "python3: needs Python 3.11 to 3.13. Fix on Debian 12: apt-get install python3 python3-venv"
  python3 -c 'import ensurepip, venv' 2>/dev/null || mistake "python3: has no venv. Fix: apt-get install python3-venv"
}

one_wheel() {
  local found=("$wheels"/harvest-*.whl)
  [ ${#found[@]} = 1 ] && [ -f "${found[0]}" ] && echo "${found[0]}"
}

add_user() {
  getent passwd "$user" >/dev/null ||
    run useradd --system --user-group --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin "$user"
}

# Each release is its own venv, so that the previous one remains for a rollback.
add_release() {
  local wheel release
  wheel=$(one_wheel)
  release=$releases/$(release_name "$wheel")
  [ -e "$release/complete" ] || build_release "$release" "$wheel"
  if [ "$(readlink "$current")" != "$release" ]; then
    [ ! -e "$current" ] || run ln -sfn "$(readlink "$current")" "$previous"
    run ln -sfn "$release" "$current"
  fi
}

# harvest-1.2.0-py3-none-any.whl becomes 1.2.0-HASH: a changed wheel or lock file is another release.
release_name() {
  local version
  version=$(basename "$1" | cut -d - -f 2)
  echo "$version-$(cat "$1" "$wheels/requirements.lock" | sha256sum | cut -c 1-8)"
}

build_release() {
  run rm -rf "$1"
  run install -d "$releases"
  run python3 -m venv "$1"
  # pip must not read the caller's configuration, which could add another package source.
  run env PIP_CONFIG_FILE=/dev/null "$1/bin/python" -m pip --isolated --disable-pip-version-check install --quiet \
    --no-index --find-links "$wheels" --require-hashes -r "$wheels/requirements.lock"
  run env PIP_CONFIG_FILE=/dev/null "$1/bin/python" -m pip --isolated --disable-pip-version-check install --quiet \
    --no-index --no-deps "$2"
  # The units mount this read-only, so each process would compile the modules again.
  run "$1/bin/python" -m compileall -q "$1/lib"
  run install -m 644 "$here/../docs/operations.md" "$1/operations.md"
  run touch "$1/complete"
}

add_settings() {
  run install -d "$settings"
  for file in "$here"/*.env; do
    keep_or_add "$file" "$settings/$(basename "$file")"
  done
}

keep_or_add() {
  if [ -e "$2" ]; then
    say "kept $2"
  else
    run install -m 640 -g "$user" "$1" "$2"
  fi
}

# Only systemd reads these files. It passes each unit its own passwords.
add_passwords() {
  run install -d -m 700 "$credentials"
  sed -n "s|^LoadCredential=.*:$credentials/||p" "${services[@]/#/$here/}" | sort -u | while read -r name; do
    [ -e "$credentials/$name" ] || run write_password "$name"
  done
  [ ! -x "$here/users.sh" ] || run write_users
}

write_password() {
  local login=
  [ "$1" != flower-auth ] || login=harvest:
  (umask 077 && echo "$login$(head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n')" >"$credentials/$1")
}

# For `aclfile` in redis.conf. A Redis server on this machine must be able to read it.
write_users() {
  (umask 077 && "$here/users.sh" "$credentials" >"$settings/users.acl")
  ! getent group redis >/dev/null || { chgrp redis "$settings/users.acl" && chmod 640 "$settings/users.acl"; }
}

add_units() {
  run install -m 644 -t "$units" "${services[@]/#/$here/}" "$here/quantum-harvest.target"
  run install -d "$units/$confinement"
  run install -m 644 -t "$units/$confinement" "$here/$confinement"/*.conf
  ! is_booted || run systemctl daemon-reload
  run systemctl --quiet enable quantum-harvest.target "${services[@]}"
}

# One after another: the other units keep running, and a restarted worker takes over what the stopped one held.
start() {
  run systemctl start --no-block quantum-harvest.target
  for service in "${services[@]}"; do
    run systemctl restart "$service" || true
  done
}

# Keep the current and the previous release; nothing runs from older ones.
remove_older_releases() {
  for release in "$releases"/*; do
    case $release in
      "$(readlink "$current")" | "$(readlink "$previous")") ;;
      *) [ ! -e "$release" ] || run rm -rf "$release" ;;
    esac
  done
}

report_health() {
  local failed=0
  [ -z "$dry_run" ] || return 0
  # A unit of Type=exec is active for a moment even if it fails.
  sleep 3
  for service in "${services[@]}"; do
    report "$service" || failed=1
  done
  [ "$failed" = 0 ] || { echo "install.sh: not every unit is running. See why: journalctl -u UNIT" >&2; exit 1; }
}

report() {
  local state
  state=$(systemctl is-active "$1") || true
  say "$1 $state"
  [ "$state" = active ] || { journalctl --no-pager --quiet --output cat --lines 1 "_SYSTEMD_UNIT=$1" >&2; return 1; }
}

main "$@"
