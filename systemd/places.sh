# shellcheck shell=bash
# Where Harvest is on a machine: read by install.sh and rollback.sh. The units name these places, too.
# shellcheck disable=SC2034 # whoever reads this file uses them

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

# Does it, or with --dry-run says that it would.
run() {
  if [ -n "$dry_run" ]; then echo "would run: $*"; else "$@"; fi
}
