#!/usr/bin/env bash
# Loads the set `synthea-r4-2021-smoke` into Helios HFS by create, update, conditional create and transactions, killed with -9 at random
# points and resumed, and holds the reports against what the server gives back. Not part of CI: it needs python3, Maven (once, for the
# search parameters that Helios does not bring along), and compiles Helios where HFS does not name it (once, into target/helios).
#
#   HFS=…/hfs tests/servers/helios.sh [STOKER] [DATA]
set -euo pipefail
cd "$(dirname "$0")/../.."
stoker=${1:-target/release/stoker}
[ -x "$stoker" ] || { echo "$stoker is not there: cargo build --release, or name another" >&2; exit 2; }
stoker=$(realpath "$stoker") data=$(realpath "${2:-${STOKER_TEST_DATA:-../shared/data}}") tools=$PWD/target/helios
. tests/servers/fhir/smoke.sh
. tests/servers/fhir/helios.sh
smokes
[ $wrong = 0 ] && echo "all well" || echo "something is wrong"
exit $wrong
