#!/usr/bin/env bash
# Writes the stubs of tickfold.query.v1: clients/python/tickfold/query and clients/typescript/src/gen. With --check it changes
# nothing and fails if they differ from what it would write.
#
# Both come from one protoc, that of grpcio-tools; the plugin for TypeScript is ts-proto. The versions of both are pinned
# in requirements.txt and package-lock.json, and scripts/setup.sh installs them.
set -euo pipefail

# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/env.sh"
cd "$tickfold_root/clients"

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
mkdir "$out/python" "$out/typescript"
protos=(tickfold/query/v1/query.proto tickfold/query/v1/watch.proto)
"$tickfold_grpc_dir/python/bin/python" -m grpc_tools.protoc --proto_path ../proto \
  --python_out "$out/python" --pyi_out "$out/python" --grpc_python_out "$out/python" "${protos[@]}"
"$tickfold_grpc_dir/python/bin/python" -m grpc_tools.protoc --proto_path ../proto \
  --plugin protoc-gen-ts_proto="$tickfold_grpc_dir/node/node_modules/.bin/protoc-gen-ts_proto" --ts_proto_out "$out/typescript" \
  --ts_proto_opt outputServices=grpc-js,esModuleInterop=true,env=node,importSuffix=.js,forceLong=bigint,useOptionals=messages,outputJsonMethods=false \
  "${protos[@]}"

if [ "${1:-}" = --check ]; then
  diff -r "$out/python/tickfold/query" python/tickfold/query && diff -r "$out/typescript" typescript/src/gen && exit 0
  echo "clients: the stubs are not those of the protos: run clients/generate.sh" >&2
  exit 1
fi
rm -rf python/tickfold/query typescript/src/gen
mkdir -p python/tickfold typescript/src
mv "$out/python/tickfold/query" python/tickfold/query
mv "$out/typescript" typescript/src/gen
