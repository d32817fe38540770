#!/usr/bin/env bash
# Loads the set `synthea-r4-2021-smoke` into HAPI FHIR JPA (8.8.0, H2 in memory) by create, update, conditional create and transactions,
# killed with -9 at random points and resumed, and holds the reports against what the server gives back. Not part of CI: it needs
# python3, Java 17 and Maven, and gets HAPI from Maven Central once (into target/hapi).
#
#   tests/servers/hapi.sh [STOKER] [DATA]
set -euo pipefail
cd "$(dirname "$0")/../.."
stoker=${1:-target/release/stoker}
[ -x "$stoker" ] || { echo "$stoker is not there: cargo build --release, or name another" >&2; exit 2; }
stoker=$(realpath "$stoker") data=$(realpath "${2:-${STOKER_TEST_DATA:-../shared/data}}") tools=$PWD/target/hapi
. tests/servers/fhir/smoke.sh
. tests/servers/fhir/hapi.sh
smokes
[ $wrong = 0 ] && echo "all well" || echo "something is wrong"
exit $wrong
