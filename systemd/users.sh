#!/bin/sh
# Prints the Redis ACL file made from users.acl and the passwords in DIRECTORY/<user>. Generates a missing password
# first, in a file that only its owner can read.
#
#   users.sh DIRECTORY > /etc/redis/users.acl
set -eu

directory=${1:?"usage: users.sh DIRECTORY (with one password file per user)"}
template=$(dirname "$0")/users.acl

password_hash() {
  file=$directory/$1
  if [ ! -e "$file" ]; then
    (umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$file")
  fi
  tr -d '\r\n' < "$file" | sha256sum | cut -d ' ' -f 1
}

script=
# User names have no blanks.
# shellcheck disable=SC2013
for user in $(sed -n 's/^user \([^ ]*\) .*/\1/p' "$template"); do
  script="$script;s/#<$user>/#$(password_hash "$user")/"
done
# Drop comments; an indented line continues the one before it.
sed -e '/^#/d' -e '/^$/d' -e "${script#;}" "$template" |
  awk '/^user/ && line {print line; line = ""} {sub(/^ +/, ""); line = line (line ? " " : "") $0} END {print line}'
