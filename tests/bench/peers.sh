#!/usr/bin/env bash
# Stoker beside others who load FHIR, on the same server and data: the set `synthea-r4-2021-smoke` into Helios HFS, as transaction Bundles
# and as NDJSON by update, each tool into a fresh store, in rounds that interleave them. The others are told to send the two Bundles that
# the rest refers to first. Prints seconds of the whole process, records a second, and whether the store then holds what the source holds.
#
#   HFS=…/hfs tests/bench/peers.sh [STOKER] [DATA] [ROUNDS]
#
# Needs python3 with venv (fhirpy and fhirclient go into target/peers), curl, and what tests/servers/helios.sh needs.
set -euo pipefail
cd "$(dirname "$0")/../.."
stoker=$(realpath "${1:-target/release/stoker}") data=$(realpath "${2:-${STOKER_TEST_DATA:-../shared/data}}") rounds=${3:-3}
tools=$PWD/target/helios peers=$PWD/target/peers bench=$PWD/tests/bench
[ -x "$peers/bin/python" ] || python3 -m venv "$peers"
"$peers/bin/python" -c 'import fhirpy, fhirclient' 2> /dev/null || "$peers/bin/pip" -q install 'fhirpy==2.3.1' 'fhirclient==4.4.0'
. tests/servers/fhir/smoke.sh
. tests/servers/fhir/helios.sh
cd "$work"
mkdir patients && ln bundles/* patients/ && rm patients/0-*

# Runs a command beside a fresh server, and says how long it took and what is there then.
measure() {
  local name=$1 begun ended code=0
  shift
  rm -rf store tool && mkdir tool
  serve "$work/store"
  begun=$(date +%s%N)
  "$@" > tool/out.txt 2>&1 || code=$?
  ended=$(date +%s%N)
  printf '%-20s %5d ms %6d records/s  exit %d, %s (load average %s)\n' "$name" "$(((ended - begun) / 1000000))" \
    "$((3209 * 1000000000 / (ended - begun)))" $code "$(python3 "$bench/peers.py" held "$url" ndjson)" "$(cut -d' ' -f1 /proc/loadavg)"
  stop
}
stoker_loads() { manifest tool "$1" "$2"; "$stoker" load tool/m.yaml --progress none; }
python_loads() { "$peers/bin/python" "$bench/peers.py" "$1" "$url" "$2"; }
post() { curl -sf -o /dev/null -H 'Content-Type: application/fhir+json' --data-binary @"$1" "$url"; }
export -f post
curl_posts() {
  export url
  for first in bundles/0-hospital* bundles/0-practitioner*; do post "$first"; done
  printf '%s\n' patients/* | xargs -P8 -I{} bash -c 'post {}'
}
for round in $(seq "$rounds"); do
  echo "round $round"
  measure "bundles: stoker" stoker_loads bundles ""
  measure "bundles: curl -P8" curl_posts
  measure "bundles: fhirpy" "$peers/bin/python" "$bench/peers.py" fhirpy "$url" bundles
  measure "bundles: fhirclient" "$peers/bin/python" "$bench/peers.py" fhirclient "$url" bundles
  measure "ndjson: stoker" stoker_loads ndjson "interaction: update"
  measure "ndjson: fhirpy" "$peers/bin/python" "$bench/peers.py" fhirpy "$url" ndjson
done
