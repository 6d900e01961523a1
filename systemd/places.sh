# shellcheck shell=bash
# Where Harvest is installed. install.sh and rollback.sh source this file; the units use the same paths.
# shellcheck disable=SC2034 # used by the scripts that source this file

user=qt
home=/opt/quantum/harvest
releases=$home/releases
current=$home/current
previous=$home/previous
settings=/etc/quantum
credentials=$settings/credentials
units=/etc/systemd/system
confinement=quantum-harvest-.service.d
# In the order of their start.
services=(quantum-harvest-{proposal,adhoc,brain,beat,flower,metrics}.service)
dry_run=

say() { echo "${0##*/}: $*"; }
has() { command -v "$1" >/dev/null; }
is_root() { [ -n "$dry_run" ] || [ "$(id -u)" = 0 ]; }
is_booted() { [ -d /run/systemd/system ]; }

# Runs a command, or prints it with --dry-run.
run() {
  if [ -n "$dry_run" ]; then echo "would run: $*"; else "$@"; fi
}
