#!/usr/bin/env bash
# The protos under buf STANDARD, and beside what was published of them: nothing of `proto/published.binpb` may be gone or
# changed. That is an image in the repository and not an earlier commit, since a clean checkout equals its last commit, and a
# shallow one has no other.
#
# The image has to hold all of the API, or what was added since it was made could be taken back unseen. With --publish it
# takes in what was added, and refuses what was taken back. A change that breaks callers on purpose begins with deleting it.
set -euo pipefail

# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$tickfold_root"
published=proto/published.binpb

broken() { # DIRECTORY
  buf breaking "$1" --against "$published"
}

buf lint proto
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
buf build proto --exclude-source-info --output "$scratch/now.binpb"

if [ -e "$published" ]; then
  broken proto || {
    echo "buf: the API was broken: a field, value or method that was published stays, or is reserved" >&2
    exit 1
  }
fi
if [ "${1:-}" = --publish ]; then
  mv "$scratch/now.binpb" "$published"
  exit 0
fi
cmp --silent "$scratch/now.binpb" "$published" || {
  echo "buf: $published lacks what was added to the API: run scripts/buf.sh --publish" >&2
  exit 1
}

# A check that finds nothing may be one that looks at nothing: each of these has to be refused.
refused() { # FILE SED-COMMAND RULE
  rm -rf "$scratch/proto" && cp -r proto "$scratch/proto"
  sed -i "$2" "$scratch/proto/$1"
  cmp --silent "$scratch/proto/$1" "proto/$1" && { echo "buf: $1 has no line for '$2'" >&2; exit 1; }
  if broken "$scratch/proto" >"$scratch/said" 2>&1; then
    echo "buf: '$2' in $1 breaks callers and was not refused" >&2
    exit 1
  fi
  grep -q "$3" "$scratch/said" || { cat "$scratch/said" >&2; exit 1; }
}
query=tickfold/query/v1/query.proto
refused "$query" '/^  string next_page_token = 2;$/d' 'next_page_token'
refused "$query" 's/^  MessageState state = 3;$/  MessageState state = 103;/' 'was deleted'
refused "$query" 's/^  string wamid = 1;$/  bytes wamid = 1;/' 'changed type'
refused "$query" '/^  rpc GetMessage(/d' 'GetMessage'
