#!/bin/sh
# Prints the ACL file of users.acl with the passwords in DIRECTORY/<user>; a user without such a file gets a password
# there first, which only the owner of the file can read.
#
#   users.sh DIRECTORY > /etc/redis/users.acl
set -eu

directory=${1:?"usage: users.sh DIRECTORY, with a file of the password for each user"}
template=$(dirname "$0")/users.acl

password_hash() {
  file=$directory/$1
  if [ ! -e "$file" ]; then
    (umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$file")
  fi
  tr -d '\r\n' < "$file" | sha256sum | cut -d ' ' -f 1
}

script=
# Names of users have no blanks.
# shellcheck disable=SC2013
for user in $(sed -n 's/^user \([^ ]*\) .*/\1/p' "$template"); do
  script="$script;s/#<$user>/#$(password_hash "$user")/"
done
# Comments go; what is indented continues the line before it.
sed -e '/^#/d' -e '/^$/d' -e "${script#;}" "$template" |
  awk '/^user/ && line {print line; line = ""} {sub(/^ +/, ""); line = line (line ? " " : "") $0} END {print line}'
