# shellcheck shell=bash
# Environment of a build; source it: `. scripts/env.sh`.
#
# Points cargo at the librocksdb.a that scripts/setup.sh built once for this machine, puts the pinned check tools on
# PATH where they are installed, and tells tests where promtool and the Python client are. Nothing here is needed to
# build: without it cargo compiles RocksDB itself, once per target directory and profile. What is not there is left out,
# so sourcing this never fails, but in a shell that cannot say where this file is.
#
# Stay with one of the two ways inside one target directory: when ROCKSDB_LIB_DIR appears or goes away, cargo runs the
# build script of librocksdb-sys again, and without the variable that is the full C++ build.

if [ -z "${BASH_VERSION:-}${ZSH_VERSION:-}" ]; then
  echo 'scripts/env.sh: only bash and zsh can source this; in another shell cargo would build RocksDB itself' >&2
  return 1
fi

tickfold_root=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)
tickfold_cache=${TICKFOLD_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tickfold}

# The version comes from the lock file, so a library of another version is never picked up.
tickfold_rocksdb_version=$(awk '$0 == "name = \"librocksdb-sys\"" { getline; gsub(/version = |"/, ""); print; exit }' \
  "$tickfold_root/Cargo.lock")
tickfold_rocksdb_dir=$tickfold_cache/rocksdb-$tickfold_rocksdb_version-lz4-zstd-$(uname -m)

tickfold_cargo_deny_version=0.20.2
tickfold_cargo_deny_dir=$tickfold_cache/cargo-deny-$tickfold_cargo_deny_version-$(uname -m)
tickfold_checks_dir=$tickfold_cache/checks-$(cksum <"$tickfold_root/scripts/checks.txt" | cut -d ' ' -f 1)-$(uname -m)
# The JSON Schemas of AsyncAPI's specification.
tickfold_asyncapi_dir=$tickfold_cache/asyncapi-$(cksum <"$tickfold_root/scripts/asyncapi/package-lock.json" | cut -d ' ' -f 1)
# shellcheck disable=SC2034 # of the Makefile
tickfold_asyncapi_specs=$tickfold_asyncapi_dir/node_modules/@asyncapi/specs/schemas
# Of whatever version the distribution has: its archive drops old ones, so a pinned one would be gone one day.
tickfold_promtool_dir=$tickfold_cache/promtool-$(uname -m)

# The broker of the tests. They look for it themselves, by the same rule.
tickfold_kafka_version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$tickfold_root/scripts/kafka/pom.xml")
# shellcheck disable=SC2034 # of setup.sh and the Makefile
tickfold_kafka_dir=$tickfold_cache/kafka-$tickfold_kafka_version
# grpcio, @grpc/grpc-js, grpcurl and buf: what callers of other languages have, and what writes their stubs.
tickfold_grpcurl_version=v1.9.1
tickfold_grpc_dir=$tickfold_cache/grpc-$(cat "$tickfold_root/clients/python/requirements.txt" \
  "$tickfold_root/clients/typescript/package-lock.json" | cksum | cut -d ' ' -f 1)-grpcurl-$tickfold_grpcurl_version-$(uname -m)
tickfold_clients_dir=$tickfold_cache/clients-$(cksum <"$tickfold_root/scripts/kafka/clients.txt" | cut -d ' ' -f 1)-$(uname -m)

if [ -f "$tickfold_rocksdb_dir/librocksdb.a" ]; then
  export ROCKSDB_LIB_DIR=$tickfold_rocksdb_dir
  export ROCKSDB_STATIC=1
fi
# For the test of /metrics. A path that is set already, and where setup fetched none one on PATH, serves as well.
if [ -z "${TICKFOLD_PROMTOOL:-}" ]; then
  if [ -x "$tickfold_promtool_dir/promtool" ]; then
    export TICKFOLD_PROMTOOL=$tickfold_promtool_dir/promtool
  elif command -v promtool >/dev/null 2>&1; then
    TICKFOLD_PROMTOOL=$(command -v promtool)
    export TICKFOLD_PROMTOOL
  fi
fi
# For the test of the Kafka clients of others.
if [ -z "${TICKFOLD_CLIENTS_PYTHON:-}" ] && [ -x "$tickfold_clients_dir/bin/python" ]; then
  export TICKFOLD_CLIENTS_PYTHON=$tickfold_clients_dir/bin/python
fi
# For the test of gRPC's clients.
if [ -z "${TICKFOLD_GRPC_CLIENTS:-}" ] && [ -e "$tickfold_grpc_dir/ready" ]; then
  export TICKFOLD_GRPC_CLIENTS=$tickfold_grpc_dir
fi
for tickfold_bin in "$tickfold_cargo_deny_dir/bin" "$tickfold_checks_dir/bin"; do
  case ":$PATH:" in
    *":$tickfold_bin:"*) ;;
    *) if [ -d "$tickfold_bin" ]; then export PATH="$tickfold_bin:$PATH"; fi ;;
  esac
done
unset tickfold_bin
