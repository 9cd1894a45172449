#!/usr/bin/env bash
# Prepares a machine for building and testing; safe to repeat, and quick when nothing is missing.
#
#   scripts/setup.sh            system packages; librocksdb.a, promtool, Kafka's jars and clients of other makes in the
#                               cache directory
#   scripts/setup.sh --checks   the same, and the pinned tools of `make lint`
#
# RocksDB is a quarter of an hour of C++ on two cores. It is built once per machine and version, outside every target
# directory, so that no profile, clean or fresh clone pays for it again.
set -euo pipefail

checks=no
case "${1:-}" in
  '') ;;
  --checks) checks=yes ;;
  *) echo "usage: scripts/setup.sh [--checks]" >&2; exit 2 ;;
esac

# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$tickfold_root"
say() { printf 'setup: %s\n' "$*"; }

# --- system packages ---------------------------------------------------------------------------------------------
# clang and libclang-dev: bindgen reads RocksDB's headers. libssl-dev: librdkafka speaks TLS and SCRAM through it.
# strace: the test that each 200 follows an fdatasync. Java and Maven: the broker of the tests. kcat and a Python client
# in a virtual environment: what others read our topics with.
packages=(clang libclang-dev pkg-config make g++ libssl-dev python3 python3-venv strace curl kcat)
# Whatever Java is there will do. Debian's runtime has the compiler that starts a program from its source.
command -v java >/dev/null 2>&1 || packages+=(default-jre-headless)
command -v mvn >/dev/null 2>&1 || packages+=(maven)
# node runs the TypeScript client; npm fetches it, and the specification of AsyncAPI, which is published there. go builds
# grpcurl. Whatever is there of the three will do.
command -v node >/dev/null 2>&1 || packages+=(nodejs)
command -v npm >/dev/null 2>&1 || packages+=(npm)
command -v go >/dev/null 2>&1 || packages+=(golang-go)

# In which the test of the console looks at it.
command -v chromium >/dev/null 2>&1 || packages+=(chromium)

if command -v dpkg-query >/dev/null 2>&1; then
  missing=()
  for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    if [ "$state" != installed ]; then missing+=("$package"); fi
  done
  if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ]; then
      say "these packages are missing; install them and run this again:" >&2
      printf '\n    sudo apt-get install --no-install-recommends -y %s\n\n' "${missing[*]}" >&2
      exit 1
    fi
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq --no-install-recommends -y "${missing[@]}" >/dev/null
  fi
else
  missing=()
  tools=(clang pkg-config make g++ python3 strace curl java mvn kcat node npm go chromium)
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null 2>&1 || missing+=("$tool")
  done
  if [ "${#missing[@]}" -gt 0 ]; then
    say "not a Debian system: install ${missing[*]} (and the libraries of libclang and OpenSSL with headers)" \
      "by its own means, then run this again" >&2
    exit 1
  fi
fi

if ! java --list-modules 2>/dev/null | grep -q '^jdk\.compiler@'; then
  say "the java on PATH has no compiler, which starts the tests' Java client from its source: install a JDK, 11 or newer," \
    "or put one first on PATH, then run this again" >&2
  exit 1
fi
if ! command -v cargo >/dev/null 2>&1; then
  toolchain=$(awk -F '"' '/channel/ { print $2 }' rust-toolchain.toml)
  say "cargo is missing: install Rust $toolchain with rustup, then run this again" >&2
  exit 1
fi
# Asked here, so that a missing toolchain is reported before any long build.
cargo --version >/dev/null

# --- librocksdb.a ------------------------------------------------------------------------------------------------
build_rocksdb() {
  local work version
  version=$(awk '$0 == "name = \"rocksdb\"" { getline; gsub(/version = |"/, ""); print; exit }' Cargo.lock)
  say "building RocksDB ($tickfold_rocksdb_version) once for this machine: about 15 minutes on two cores"
  # Inside the cache, so that the final mv stays within one file system and is atomic.
  work=$(mktemp -d "$tickfold_cache/build.XXXXXX")
  # shellcheck disable=SC2064 # the directory of this call, expanded now
  trap "rm -rf '$work'" EXIT
  mkdir -p "$work/src"
  # The helper has the workspace's lock file and toolchain: every version is the one the workspace links against.
  cp Cargo.lock rust-toolchain.toml "$work/"
  printf '//! Only here to build librocksdb-sys.\n' >"$work/src/lib.rs"
  cat >"$work/Cargo.toml" <<TOML
[package]
name = "rocksdb-once"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
rocksdb = { version = "=$version", default-features = false, features = ["lz4", "zstd", "bindgen-runtime"] }

[profile.release]
debug = false
TOML
  (
    cd "$work"
    # A library named from outside would make this build find that one and produce none.
    unset ROCKSDB_LIB_DIR ROCKSDB_STATIC
    CARGO_TARGET_DIR="$work/target" cargo build --release -p librocksdb-sys
  )
  local built
  built=$(find "$work/target/release/build" -path '*librocksdb-sys-*/out/librocksdb.a' -print -quit)
  if [ -z "$built" ]; then
    say "cargo built no librocksdb.a under $work/target" >&2
    exit 1
  fi
  mkdir -p "$work/done"
  mv "$built" "$work/done/librocksdb.a"
  # A directory without the library can only be the rest of a removal by hand; rename needs it gone.
  rm -rf "$tickfold_rocksdb_dir"
  mv "$work/done" "$tickfold_rocksdb_dir"
  rm -rf "$work"
  trap - EXIT
}

mkdir -p "$tickfold_cache"
# The lock lives as long as descriptor 9: a second run waits here, then finds the library.
exec 9>"$tickfold_cache/setup.lock"
flock 9
if [ ! -f "$tickfold_rocksdb_dir/librocksdb.a" ]; then build_rocksdb; fi

# --- promtool ----------------------------------------------------------------------------------------------------
# The test of /metrics asks it. Taken out of Debian's package without installing that, which would start a server; apt
# checks the archive's signature and needs no root for a download. Building and running need no promtool, so a machine
# that cannot have it goes on, and the test fails with what to do.
fetch_promtool() ( # a subshell, whose end removes its directory; a chain, since -e is off in a condition
  work=$(mktemp -d "$tickfold_cache/build.XXXXXX") && trap 'rm -rf "$work"' EXIT && cd "$work" &&
    # As root apt would fetch as another user, who cannot write into this directory.
    apt-get download -qq -o APT::Sandbox::User=root prometheus >/dev/null &&
    dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool &&
    rm -rf "$tickfold_promtool_dir" &&
    mv usr/bin "$tickfold_promtool_dir"
)

if [ -z "${TICKFOLD_PROMTOOL:-}" ]; then
  if command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1; then
    say "fetching promtool (20 MB)"
    # Without package lists, or with old ones, the first attempt finds nothing; only root may renew them.
    if ! fetch_promtool 2>/dev/null && { [ "$(id -u)" -ne 0 ] || ! apt-get update -qq || ! fetch_promtool; }; then
      say "no promtool: the test of /metrics will fail. Run \`sudo apt-get update\` and this again, or set" \
        "TICKFOLD_PROMTOOL to a promtool" >&2
    fi
  else
    say "no promtool, and not a Debian system: the test of /metrics will fail. Install promtool by the system's own" \
      "means, on PATH or named by TICKFOLD_PROMTOOL" >&2
  fi
fi

# --- the broker of the tests -------------------------------------------------------------------------------------
if [ ! -e "$tickfold_kafka_dir/kafka-tools-$tickfold_kafka_version.jar" ]; then
  say "fetching Kafka $tickfold_kafka_version, the broker of the tests: 54 MB"
  work=$(mktemp -d "$tickfold_cache/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mvn --quiet --batch-mode --file scripts/kafka/pom.xml dependency:copy-dependencies \
    -DoutputDirectory="$work/kafka" -DincludeScope=runtime
  rm -rf "$tickfold_kafka_dir"
  mv "$work/kafka" "$tickfold_kafka_dir"
  rm -rf "$work"
  trap - EXIT
fi

# --- clients of other makes --------------------------------------------------------------------------------------
# Built in place, because a virtual environment does not survive a move; the import says whether one
# that was begun was also finished.
if ! "$tickfold_clients_dir/bin/python" -c 'import confluent_kafka' 2>/dev/null; then
  say "installing the Python client of scripts/kafka/clients.txt"
  rm -rf "$tickfold_clients_dir"
  python3 -m venv "$tickfold_clients_dir"
  "$tickfold_clients_dir/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes -r scripts/kafka/clients.txt
fi

# --- clients of gRPC ---------------------------------------------------------------------------------------------
# In place for the same reason; `ready` is the last to arrive.
if [ ! -e "$tickfold_grpc_dir/ready" ]; then
  say "installing grpcio, @grpc/grpc-js, buf and grpcurl $tickfold_grpcurl_version, for the tests of other languages: 2 minutes"
  rm -rf "$tickfold_grpc_dir"
  mkdir -p "$tickfold_grpc_dir/node"
  python3 -m venv "$tickfold_grpc_dir/python"
  "$tickfold_grpc_dir/python/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes -r clients/python/requirements.txt
  cp clients/typescript/package.json clients/typescript/package-lock.json "$tickfold_grpc_dir/node/"
  (cd "$tickfold_grpc_dir/node" && npm ci --loglevel=error --ignore-scripts --no-audit --no-fund >/dev/null)
  GOBIN=$tickfold_grpc_dir/bin GOFLAGS=-modcacherw go install \
    "github.com/fullstorydev/grpcurl/cmd/grpcurl@$tickfold_grpcurl_version"
  touch "$tickfold_grpc_dir/ready"
fi

# --- check tools -------------------------------------------------------------------------------------------------
if [ "$checks" = yes ]; then
  if [ ! -x "$tickfold_cargo_deny_dir/bin/cargo-deny" ]; then
    say "building cargo-deny $tickfold_cargo_deny_version once for this machine: about 4 minutes on two cores"
    scripts/cargo-tool.sh cargo-deny "$tickfold_cargo_deny_version" "$tickfold_cargo_deny_dir"
  fi
  if [ ! -x "$tickfold_checks_dir/bin/hadolint" ]; then
    say "installing the tools of scripts/checks.txt"
    # Built in place, because a virtual environment does not survive a move; hadolint is the last to arrive or not at
    # all, as pip installs a requirements file as one step.
    rm -rf "$tickfold_checks_dir"
    python3 -m venv "$tickfold_checks_dir"
    "$tickfold_checks_dir/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
      --require-hashes -r scripts/checks.txt
  fi
  if [ ! -e "$tickfold_asyncapi_specs/3.0.0.json" ]; then
    say "fetching the JSON Schemas of AsyncAPI by scripts/asyncapi/package-lock.json: 2 MB"
    work=$(mktemp -d "$tickfold_cache/build.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    cp scripts/asyncapi/package.json scripts/asyncapi/package-lock.json "$work/"
    # Hashes in the lock file, and no scripts: these are files to read.
    (cd "$work" && npm ci --loglevel=error --ignore-scripts --no-audit --no-fund >/dev/null)
    rm -rf "$tickfold_asyncapi_dir"
    mv "$work" "$tickfold_asyncapi_dir"
    trap - EXIT
  fi
fi

say "ready; for cargo by hand: . scripts/env.sh (ROCKSDB_LIB_DIR=$tickfold_rocksdb_dir)"
