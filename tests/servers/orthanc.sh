#!/usr/bin/env bash
# Loads the set `dicom` into Orthanc with its DICOMweb plugin, and into the local store, and holds the report against what each gives back:
# the same instances, byte for byte, the others with the reasons that the set's list gives; an instance that holds a boundary; a second
# run; kill -9 in the midst, and resume. Not part of CI: it needs apt-get for Orthanc (Debian), where that is missing, python3 and curl.
#
#   tests/servers/orthanc.sh [STOKER] [DATA]
set -euo pipefail
cd "$(dirname "$0")/../.."
stoker=${1:-target/release/stoker}
[ -x "$stoker" ] || { echo "$stoker is not there: cargo build --release, or name another" >&2; exit 2; }
stoker=$(realpath "$stoker") data=$(realpath "${2:-${STOKER_TEST_DATA:-../shared/data}}")
here=$PWD/tests/servers/orthanc sample=$PWD/resources/imaging/jose-munoz-chest/frontal.dcm
if ! command -v Orthanc > /dev/null || [ ! -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ]; then
  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends orthanc orthanc-dicomweb
fi
work=$(mktemp -d) server= wrong=0
stop() { if [ -n "$server" ]; then kill "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true; fi; server=; }
trap 'stop; rm -rf "$work"' EXIT
cd "$work"
tar -xf "$data/dicom.tar.zst"

# Prints a port that nobody listens on.
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Starts Orthanc with the folder $1, and waits until it answers; `dicomweb` is its address.
orthanc() {
  local port
  port=$(port)
  mkdir -p "$1"
  cat > "$1.json" <<JSON
{ "Name": "test", "StorageDirectory": "$1", "IndexDirectory": "$1", "HttpPort": $port, "RemoteAccessAllowed": false,
  "AuthenticationEnabled": false, "DicomServerEnabled": false, "OverwriteInstances": false,
  "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
  "DicomWeb": { "Enable": true, "Root": "/dicom-web/", "EnableWado": false, "Ssl": false } }
JSON
  Orthanc "$1.json" > "$1.log" 2>&1 & server=$!
  base=http://127.0.0.1:$port dicomweb=http://127.0.0.1:$port/dicom-web
  until curl -sf "$base/system" -o /dev/null; do kill -0 "$server" || { tail "$1.log"; exit 1; }; sleep 0.1; done
}

# Serves the local store in the folder $1.
serve() {
  rm -f "$1.url"
  "$stoker" emulate --dir "$1" --listen 127.0.0.1:0 > "$1.url" 2> "$1.log" & server=$!
  until [ -s "$1.url" ]; do kill -0 "$server" || { cat "$1.log"; exit 1; }; sleep 0.1; done
  base=$(cat "$1.url") base=${base%/}
  dicomweb=$base/v1/projects/local/locations/local/datasets/stoker/dicomStores/images/dicomWeb
}

# Writes the manifest $1/m.yaml for a target and a rate.
manifest() {
  mkdir -p "$1"
  cat > "$1/m.yaml" <<YAML
version: 1
name: set
targets: { pacs: { $2$3 } }
loads: [ { name: set, target: pacs, files: ["../${4:-dicom/**/*}", "!../dicom/*"] } ]
YAML
}
# Two runs of one second differ in a number behind their names: the time tells which is the latest.
run_of() { ls -dt "$1"/.stoker/runs/*/ | head -1; }
load() {
  local name=$1 code=0
  shift
  "$stoker" load "$name/m.yaml" --progress none "$@" > "$name/out.txt" 2> "$name/err.txt" || code=$?
  [ $code -le 1 ] || { cat "$name/err.txt"; wrong=1; }
}
check() { python3 "$here/check.py" "$1" dicom "$dicomweb" "$2" || wrong=1; }
expect() { if [ "$2" = "$3" ]; then echo "   $1: $2"; else echo "   WRONG: $1 is $2, and was to be $3"; wrong=1; fi; }
outcomes() { python3 -c 'import collections, json, sys
print(dict(sorted(collections.Counter(json.loads(line)["outcome"] for line in open(sys.argv[1] + "/records.ndjson")).items())))' "$1"; }

# Kills a load with -9 when so many have been answered, goes on, and looks at the end.
killed() {
  local name=$1 after=$2 rejected=$3 load run
  "$stoker" load "$name/m.yaml" --progress none > "$name/out.txt" 2> "$name/err.txt" & load=$!
  # The journal has a line a record that was answered, and a few more.
  for _ in $(seq 400); do
    run=$(ls -d "$name"/.stoker/runs/*/ 2> /dev/null | tail -1 || true)
    [ -n "$run" ] && [ -e "$run/journal.ndjson" ] && [ "$(wc -l < "$run/journal.ndjson")" -gt "$after" ] && break
    kill -0 $load 2> /dev/null || break
    sleep 0.02
  done
  kill -9 $load 2> /dev/null && echo "   killed with $(wc -l < "$run/journal.ndjson") lines in the journal" || { echo "   WRONG: it had ended before it was killed"; wrong=1; }
  wait $load 2> /dev/null || true
  local code=0
  "$stoker" resume "$run" --progress none > "$name/out.txt" 2> "$name/err.txt" || code=$?
  [ $code -le 1 ] || { cat "$name/err.txt"; wrong=1; }
}

echo "== Orthanc: the set"
orthanc "$work/db"
manifest orthanc "dicomweb: { url: \"$dicomweb\" }" ""
load orthanc
check "$(run_of orthanc)" 2
echo "== Orthanc: a second run, by what the first has noted, and another that sends all of it again"
last=$(curl -s "$base/changes?last" | sed -n 's/.*"Last" : \([0-9]*\).*/\1/p')
load orthanc
check "$(run_of orthanc)" 2
load orthanc --fresh
check "$(run_of orthanc)" 2
expect "changes that Orthanc has noted" "$(curl -s "$base/changes?last" | sed -n 's/.*"Last" : \([0-9]*\).*/\1/p')" "$last"
echo "== Orthanc: an instance that holds a boundary"
mkdir trap
python3 "$here/trap.py" "$sample" trap/trap.dcm
{ printf -- '--B\r\nContent-Type: application/dicom\r\n\r\n'; cat trap/trap.dcm; printf -- '\r\n--B--\r\n'; } > body
status=$(curl -s -o answer -w '%{http_code}' -H 'Content-Type: multipart/related; type="application/dicom"; boundary=B' --data-binary @body "$dicomweb/studies")
# That it is cut shows that the trap is one: by this version with 200 or 400, and in neither list.
expect "instances that are stored with the boundary B" "$(grep -c 00081155 answer || true), $(curl -s "$base/statistics" | sed -n 's/.*"CountInstances" : \([0-9]*\).*/\1/p') there" "0, 164 there"
echo "   (it answers $status)"
manifest traps "dicomweb: { url: \"$dicomweb\" }" "" "trap/trap.dcm"
load traps
expect "Stoker's outcomes" "$(outcomes "$(run_of traps)")" "{'created': 1}"
id=$(sed -n 's/.*"id":"\([^"]*\)".*/\1/p' "$(run_of traps)/records.ndjson")
curl -s -H 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*' "$dicomweb/$id" > given
python3 -c 'import sys; sys.exit(open("trap/trap.dcm", "rb").read() not in open("given", "rb").read())' && echo "   byte for byte" || { echo "   WRONG: other bytes"; wrong=1; }
stop
for after in 20 60 120; do
  echo "== Orthanc: kill -9 and resume"
  orthanc "$work/db-$after"
  manifest "killed-$after" "dicomweb: { url: \"$dicomweb\" }" ", rate: 40/s"
  killed "killed-$after" $after 2
  check "$(run_of "killed-$after")" 2
  stop
done

echo "== local store: the set"
manifest local "local: { dir: \"$work/store\", dicom_store: images }" ""
load local
serve "$work/store"; check "$(run_of local)" 0; stop
echo "== local store: a second run, and another that sends all of it again"
load local
serve "$work/store"; check "$(run_of local)" 0; stop
load local --fresh
serve "$work/store"; check "$(run_of local)" 0; stop
expect "outcomes of the run that sends all again" "$(outcomes "$(run_of local)" | grep -o "'matched': [0-9]*")" "'matched': 166"
for after in 20 60 120; do
  echo "== local store: kill -9 and resume"
  manifest "local-$after" "local: { dir: \"$work/store-$after\", dicom_store: images }" ", rate: 40/s"
  killed "local-$after" $after 0
  serve "$work/store-$after"; check "$(run_of "local-$after")" 0; stop
done
[ $wrong = 0 ] && echo "all well" || echo "something is wrong"
exit $wrong
