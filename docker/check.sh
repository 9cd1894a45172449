#!/usr/bin/env bash
# Checks the container files without a container engine: hadolint on the Dockerfile, the schema of compose files, promtool
# on Prometheus' files and on the cases of its alerts, check_rules.py on alerts and dashboards, and what would break silently
# when the rest of the repository moves on: toolchain version, compilers, ignored paths; commands, flags, settings and
# addresses by check.py.
set -euo pipefail

# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/env.sh"
cd "$tickfold_root"
fail() { echo "docker: $*" >&2; exit 1; }

hadolint --config docker/hadolint.yaml --failure-threshold style docker/Dockerfile

toolchain=$(awk -F '"' '/channel/ { print $2 }' rust-toolchain.toml)
grep -q "^FROM rust:$toolchain-slim-" docker/Dockerfile || fail "the build stage is not Rust $toolchain"

# The build stage needs each package that setup installs for compiling.
for package in clang libclang-dev pkg-config make g++; do
  grep -q "^packages=(.*\b${package/+/\\+}" scripts/setup.sh || fail "scripts/setup.sh does not name $package"
  grep -qF " $package" docker/Dockerfile || fail "the build stage does not install $package"
done

# Each path that the ignore file lets in exists, and every workspace member is let in.
while read -r path; do
  [ -e "$path" ] || fail "docker/Dockerfile.dockerignore lets in $path, which does not exist"
done < <(sed -n 's/^!//p' docker/Dockerfile.dockerignore)
while read -r member; do
  grep -qx "!$member" docker/Dockerfile.dockerignore || fail "docker/Dockerfile.dockerignore keeps out the member $member"
done < <(sed -n 's/^members = \[\(.*\)\]$/\1/p' Cargo.toml | tr ',' '\n' | tr -d '" ' | cut -d / -f 1)

check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml docker/compose.kafka.yaml
[ -n "${TICKFOLD_PROMTOOL:-}" ] || fail "no promtool; scripts/setup.sh fetches it"
"$TICKFOLD_PROMTOOL" check config docker/prometheus/prometheus.yaml
"$TICKFOLD_PROMTOOL" test rules docker/prometheus/alerts.test.yaml
python3 docker/check_rules.py "$TICKFOLD_PROMTOOL"

# Commands, flags and settings, against the binary as it is.
target=$(cargo metadata --offline --no-deps --format-version 1 |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
bin=${TICKFOLD_BIN:-$target/debug/tickfold}
[ -x "$bin" ] || fail "no binary at $bin; build it first: cargo build -p tickfold"
help=$("$bin" up --help)
while read -r flag; do
  grep -qE -- "(^|[ ,])$flag([ =,]|$)" <<<"$help" || fail "\`tickfold up\` has no flag $flag"
done < <(sed -n '/^CMD/p' docker/Dockerfile | grep -oE -- '--[a-z][a-z-]+')
python3 docker/check.py "$bin"

# The compose files as Compose itself reads them, where it is at hand; it needs no daemon for this.
if docker compose version >/dev/null 2>&1; then
  for file in docker/compose.yaml docker/compose.kafka.yaml; do docker compose -f "$file" config --quiet; done
fi
echo "docker: Dockerfile, compose files and what they mount are in order"
