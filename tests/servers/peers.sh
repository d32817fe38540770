#!/usr/bin/env bash
# Times loads of the set `synthea-r4-2021-smoke` into Helios HFS, or HAPI FHIR JPA, beside other senders, in interleaved rounds, each into a store of its own:
# Stoker with the files as they come; `curl`, eight at a time, and `blazectl`, where BLAZECTL names it, told by hand to send first the two
# files that the others refer to, which Stoker finds out by itself. Prints records/s of the whole process, and the records that the store
# then counts. A quiet machine is needed. Not part of CI.
#
#   [SERVER=helios|hapi] [HFS=…/hfs] [BLAZECTL=…] [ROUNDS=3] tests/servers/peers.sh [STOKER] [DATA]
set -euo pipefail
cd "$(dirname "$0")/../.."
stoker=${1:-target/release/stoker}
[ -x "$stoker" ] || { echo "$stoker is not there: cargo build --release, or name another" >&2; exit 2; }
stoker=$(realpath "$stoker") data=$(realpath "${2:-${STOKER_TEST_DATA:-../shared/data}}")
server_kind=${SERVER:-helios}
tools=$PWD/target/$server_kind
. tests/servers/fhir/smoke.sh
. "tests/servers/fhir/$server_kind.sh"
cd "$work"
# Helios counts no records of all types at once.
there() {
  local count=0 kind
  for kind in ndjson/*.ndjson; do
    kind=$(basename "$kind" .ndjson)
    count=$((count + $(curl -s "$url/$kind?_summary=count" | python3 -c 'import json, sys; print(json.load(sys.stdin).get("total", 0))')))
  done
  echo $count
}
records=$(cat ndjson/*.ndjson | wc -l)
mkdir first rest
for file in bundles/*.json; do case $file in *nformation*) ln "$file" first/ ;; *) ln "$file" rest/ ;; esac; done

by_stoker() { manifest "m-$1" "$1" "$2"; "$stoker" load "m-$1/m.yaml" --progress none > out.txt 2>&1; rm -rf "m-$1"; }
post() { curl -sf -o /dev/null -H 'Content-Type: application/fhir+json' --data-binary "@$1" "$url"; }
export -f post
by_curl() { export url; for file in first/*; do post "$file"; done; printf '%s\n' rest/* | xargs -P8 -I{} bash -c 'post {}'; }
by_blazectl() { "$BLAZECTL" --no-progress --server "$url" upload first > out.txt 2>&1 && "$BLAZECTL" --no-progress --server "$url" upload -c8 rest > out.txt 2>&1; }

# Times $2… as $1.
timed() {
  local name=$1 began ended code=0; shift
  serve "$work/store"
  began=$(date +%s%N); "$@" || code=$?; ended=$(date +%s%N)
  echo "$name $((records * 1000000000 / (ended - began))) records/s, exit $code, $(there) of $records there"
  stop; rm -rf "$work/store"
}
for round in $(seq "${ROUNDS:-3}"); do
  echo "round $round"
  timed "  bundles  stoker  " by_stoker bundles "settle: none"
  timed "  bundles  curl    " by_curl
  [ -z "${BLAZECTL:-}" ] || timed "  bundles  blazectl" by_blazectl
  timed "  update   stoker  " by_stoker ndjson "interaction: update"
done
