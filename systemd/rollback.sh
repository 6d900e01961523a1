#!/usr/bin/env bash
# Takes Harvest back: to the release before the last install, or off this machine.
#
#   rollback.sh --previous [--dry-run]    go back to the release before, and restart
#   rollback.sh --remove [--dry-run]      stop, disable and remove all that install.sh brought, but for settings
#
# Positions, streams and counters are in Redis and are not touched: whatever is installed next goes on from there.
# Exit codes: 0 done, 1 did not succeed, 2 wrong usage.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=systemd/places.sh
. "$here/places.sh"

what=

main() {
  read_options "$@"
  is_root || refuse "run it as root, or with --dry-run"
  case $what in
    previous) go_back ;;
    remove) remove_all ;;
    *) refuse "give --previous to go back one release, or --remove to take Harvest off this machine" ;;
  esac
}

read_options() {
  for option in "$@"; do
    case $option in
      --previous | --remove) what=${option#--} ;;
      --dry-run) dry_run=yes ;;
      *) refuse "$option: unknown; usage: rollback.sh --previous|--remove [--dry-run]" ;;
    esac
  done
}

refuse() {
  echo "rollback.sh: $1" >&2
  exit 2
}

# Going back twice leads to where one came from.
go_back() {
  [ -e "$previous" ] || refuse "there is no release before this one"
  local back from
  back=$(readlink "$previous")
  from=$(readlink "$current")
  run ln -sfn "$from" "$previous"
  run ln -sfn "$back" "$current"
  for service in "${services[@]}"; do
    ! is_booted || run systemctl restart "$service"
  done
  say "$current is $back; $from is kept"
}

remove_all() {
  stop
  run rm -f "${services[@]/#/$units/}" "$units/quantum-harvest.target" "$units/$confinement/10-confinement.conf"
  run rm -rf "$home" /var/lib/quantum-harvest-flower
  ! is_booted || run systemctl daemon-reload
  ! is_booted || run systemctl reset-failed "quantum-harvest*"
  # Others may have put something there.
  [ ! -d "$units/$confinement" ] || run rmdir --ignore-fail-on-non-empty "$units/$confinement"
  [ ! -d "$(dirname "$home")" ] || run rmdir --ignore-fail-on-non-empty "$(dirname "$home")"
  ! getent passwd "$user" >/dev/null || run userdel "$user"
  say "kept: settings and passwords in $settings; positions, streams and counters in Redis"
  say "to forget the settings, too: rm -r $settings/harvest*.env $credentials"
}

# Each worker ends what it is at; what it had not begun stays in Redis.
stop() {
  [ -e "$units/quantum-harvest.target" ] || return 0
  ! is_booted || run systemctl stop quantum-harvest.target "${services[@]}"
  run systemctl --quiet disable quantum-harvest.target "${services[@]}"
}

main "$@"
