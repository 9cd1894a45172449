#!/usr/bin/env bash
# Builds the Kafka Streams program into target/kafka-streams: its classes, and the jars that it needs (93 MB, by Maven,
# once).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if ! command -v javac >/dev/null 2>&1; then
  echo "the Kafka Streams program needs a JDK, 17 or later: sudo apt-get install --no-install-recommends -y" \
    "default-jdk-headless" >&2
  exit 1
fi
target=../../../target/kafka-streams
goals=(compile)
if [ ! -e "$target/lib/kafka-streams-$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' pom.xml).jar" ]; then
  goals+=(dependency:copy-dependencies -DoutputDirectory="$PWD/$target/lib" -DincludeScope=runtime)
fi
mvn --quiet --batch-mode "${goals[@]}"
