#!/usr/bin/env bash
# Builds a cargo tool of one version into a directory, whole or not at all.
#
#   scripts/cargo-tool.sh NAME VERSION DIRECTORY
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/env.sh
. scripts/env.sh

[ $# -eq 3 ] || { echo "usage: scripts/cargo-tool.sh NAME VERSION DIRECTORY" >&2; exit 2; }
name=$1 version=$2 directory=$3

mkdir -p "$tickfold_cache"
work=$(mktemp -d "$tickfold_cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
# Such tools' own profiles are fat LTO on one codegen unit: minutes more for what runs for a second or waits for others.
CARGO_TARGET_DIR="$work/target" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
  cargo install --quiet --locked "$name" --version "$version" --root "$work/root"
rm -rf "$directory"
mv "$work/root" "$directory"
