#!/usr/bin/env bash
# Rolls Harvest back to the previous release, or uninstalls it.
#
#   rollback.sh --previous [--dry-run]    roll back to the previous release, and restart
#   rollback.sh --remove [--dry-run]      stop, disable and uninstall everything except settings and passwords
#
# Positions, streams and counters stay in Redis: the next installation continues from there.
# Exit codes: 0 done, 1 failed, 2 wrong usage.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=systemd/places.sh
. "$here/places.sh"

action=

main() {
  read_options "$@"
  is_root || refuse "needs root. Fix: run it as root, or with --dry-run"
  case $action in
    previous) roll_back ;;
    remove) uninstall ;;
    *) refuse "pass --previous to roll back one release, or --remove to uninstall Harvest" ;;
  esac
}

read_options() {
  for option in "$@"; do
    case $option in
      --previous | --remove) action=${option#--} ;;
      --dry-run) dry_run=yes ;;
      *) refuse "$option: unknown option; usage: rollback.sh --previous|--remove [--dry-run]" ;;
    esac
  done
}

refuse() {
  echo "rollback.sh: $1" >&2
  exit 2
}

# Swaps the current and the previous release: rolling back twice changes nothing.
roll_back() {
  [ -e "$previous" ] || refuse "there is no previous release"
  local back from
  back=$(readlink "$previous")
  from=$(readlink "$current")
  run ln -sfn "$from" "$previous"
  run ln -sfn "$back" "$current"
  for service in "${services[@]}"; do
    ! is_booted || run systemctl restart "$service"
  done
  say "$current now points to $back; $from is kept"
}

uninstall() {
  stop
  run rm -f "${services[@]/#/$units/}" "$units/quantum-harvest.target" "$units/$confinement/10-confinement.conf"
  run rm -rf "$home" /var/lib/quantum-harvest-flower
  ! is_booted || run systemctl daemon-reload
  ! is_booted || run systemctl reset-failed "quantum-harvest*"
  # Other files in these directories are kept.
  [ ! -d "$units/$confinement" ] || run rmdir --ignore-fail-on-non-empty "$units/$confinement"
  [ ! -d "$(dirname "$home")" ] || run rmdir --ignore-fail-on-non-empty "$(dirname "$home")"
  ! getent passwd "$user" >/dev/null || run userdel "$user"
  say "kept: settings and passwords in $settings; positions, streams and counters in Redis"
  say "to delete the settings, too: rm -r $settings/harvest*.env $credentials"
}

# Each worker finishes its current task; everything else stays in Redis.
stop() {
  [ -e "$units/quantum-harvest.target" ] || return 0
  ! is_booted || run systemctl stop quantum-harvest.target "${services[@]}"
  run systemctl --quiet disable quantum-harvest.target "${services[@]}"
}

main "$@"
