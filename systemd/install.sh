#!/usr/bin/env bash
# Installs Harvest on this machine, or installs it again in another version. May be run any number of times.
#
#   install.sh [--wheels DIR] [--dry-run]
#
# --wheels DIR  the wheels to install, as `make wheels` builds them; without it those in dist/wheels. No network is used.
# --dry-run     checks, and prints what would be done
#
# Settings and passwords that are there stay as they are. Exit codes: 0 done, 1 did not succeed, 2 wrong usage or machine.
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
    forget_older_releases
    report_health
  else
    say "systemd does not run here: Harvest starts with the next boot"
  fi
}

read_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --wheels) wheels=${2:?"install.sh: --wheels needs a directory"}; shift 2 ;;
      --dry-run) dry_run=yes; shift ;;
      *) echo "install.sh: $1: unknown; usage: install.sh [--wheels DIR] [--dry-run]" >&2; exit 2 ;;
    esac
  done
}

check() {
  local mistakes=0
  is_root || mistake "run it as root, or with --dry-run"
  has systemctl || mistake "systemctl: not found; this machine has no systemd"
  has useradd || mistake "useradd: not found; install the package passwd"
  check_python
  one_wheel >/dev/null || mistake "$wheels: needs exactly one harvest-*.whl; run \`make wheels\`, or give --wheels DIR"
  [ "$mistakes" = 0 ] || exit 2
}

mistake() {
  echo "install.sh: $1" >&2
  mistakes=$((mistakes + 1))
}

check_python() {
  python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null ||
    mistake "python3: needs Python 3.11 to 3.13; Debian 12 has it: apt-get install python3 python3-venv"
  python3 -c 'import ensurepip, venv' 2>/dev/null || mistake "python3: cannot make a venv; apt-get install python3-venv"
}

one_wheel() {
  local found=("$wheels"/harvest-*.whl)
  [ ${#found[@]} = 1 ] && [ -f "${found[0]}" ] && echo "${found[0]}"
}

add_user() {
  getent passwd "$user" >/dev/null ||
    run useradd --system --user-group --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin "$user"
}

# A release is a venv of its own, so that the one before it is there to go back to.
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

# harvest-1.2.0-py3-none-any.whl is 1.2.0 and the start of its hash: a changed wheel is another release.
release_name() {
  local version
  version=$(basename "$1" | cut -d - -f 2)
  echo "$version-$(cat "$1" "$here/requirements.lock" | sha256sum | cut -c 1-8)"
}

build_release() {
  run rm -rf "$1"
  run install -d "$releases"
  run python3 -m venv "$1"
  # pip's settings are those of whoever runs this: none of them may add another source.
  run env PIP_CONFIG_FILE=/dev/null "$1/bin/python" -m pip --isolated --disable-pip-version-check install --quiet \
    --no-index --find-links "$wheels" --require-hashes -r "$here/requirements.lock"
  run env PIP_CONFIG_FILE=/dev/null "$1/bin/python" -m pip --isolated --disable-pip-version-check install --quiet \
    --no-index --no-deps "$2"
  # Every process would compile them anew: the unit sees this read-only.
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

# Read by systemd alone, which hands each unit its own.
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

# For `aclfile` in redis.conf: the server reads it, if it is on this machine.
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

# One after the other: the others go on meanwhile, and what a stopped worker held is taken up by the next.
start() {
  run systemctl start --no-block quantum-harvest.target
  for service in "${services[@]}"; do
    run systemctl restart "$service" || true
  done
}

# Nothing runs from them any more, and two are enough to go back and forth.
forget_older_releases() {
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
  # A unit of Type=exec is active for a moment even if it cannot do its work.
  sleep 3
  for service in "${services[@]}"; do
    report "$service" || failed=1
  done
  [ "$failed" = 0 ] || { echo "install.sh: not every unit runs; each says why: journalctl -u UNIT" >&2; exit 1; }
}

report() {
  local state
  state=$(systemctl is-active "$1") || true
  say "$1 $state"
  [ "$state" = active ] || { journalctl --no-pager --quiet --output cat --lines 1 "_SYSTEMD_UNIT=$1" >&2; return 1; }
}

main "$@"
