#!/usr/bin/env bash
# Loads the set `synthea-r4-2021-smoke` into HAPI FHIR JPA (8.8.0, H2 in memory) by create, update, conditional create and transactions,
# killed with -9 at random points and resumed, and holds the reports against what the server gives back. Not part of CI: it needs
# python3, Java 17 and Maven, and gets HAPI from Maven Central once (some 350 jars, into target/hapi).
#
#   tests/servers/hapi.sh [STOKER] [DATA]
set -euo pipefail
cd "$(dirname "$0")/../.."
stoker=${1:-target/release/stoker}
[ -x "$stoker" ] || { echo "$stoker is not there: cargo build --release, or name another" >&2; exit 2; }
stoker=$(realpath "$stoker") data=$(realpath "${2:-${STOKER_TEST_DATA:-../shared/data}}") tools=$PWD/target/hapi
source=$PWD/tests/servers/hapi
mkdir -p "$tools"
if [ ! -f "$tools/classes/Server.class" ] || [ "$source/Server.java" -nt "$tools/classes/Server.class" ]; then
  cp "$source/pom.xml" "$tools/"
  mvn -q -f "$tools/pom.xml" dependency:copy-dependencies -DoutputDirectory="$tools/lib"
  javac -cp "$tools/lib/*" -d "$tools/classes" "$source/Server.java"
fi
. tests/servers/fhir/smoke.sh

# Starts HAPI; its store is in memory, and $1 names its log.
serve() {
  local port
  port=$(port)
  (cd "$work" && exec java -Xmx2g -cp "$tools/classes:$tools/lib/*" Server "$port" > "$1.log" 2>&1) & server=$!
  url=http://127.0.0.1:$port/fhir
  await "$url" "$1.log"
}
smokes
[ $wrong = 0 ] && echo "all well" || echo "something is wrong"
exit $wrong
