#!/usr/bin/env bash
# Messages and instances into receivers that keep them: Stoker beside a bare loop of the same transport, interleaved, each into a store
# of its own. Ingest and STOW into the local store (`stoker emulate`), STOW into Orthanc, MLLP into HAPI HL7v2. `kinds.sh` measures the same
# against a sink that keeps nothing. Needs python3, Orthanc with its DICOMweb plugin (tests/servers/orthanc.sh gets it) and the receiver
# that tests/servers/mllp.sh builds in target/mllp; what is missing is left out and said.
# Usage: [WAYS="mllp_hapi stow_orthanc"] tests/bench/receivers.sh [RUNS] [MESSAGES] [INSTANCES] [CONCURRENCY]
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1:-3} messages=${2:-10000} instances=${3:-2000} concurrency=${4:-16}
tools=$PWD/target/mllp
cargo build --release --quiet
kinds=$(cargo bench --no-run --bench kinds 2>&1 | sed -n 's/.*Executable.* (\(.*\))$/\1/p')
kinds=$(realpath "$kinds")
stoker=$(realpath "${CARGO_TARGET_DIR:-target}/release/stoker")
work=$(mktemp -d) server=
stop() { if [ -n "$server" ]; then kill "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true; fi; server=; rm -rf "$work/db"; }
trap 'stop; rm -rf "$work"' EXIT
"$kinds" make "$work/messages" "$messages" && rm -rf "$work/messages/images"
"$kinds" make "$work/instances" "$instances" && rm "$work/instances/feed.hl7"
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Each starts a receiver that holds nothing, and sets where bare loops send and what a manifest says of it.
local_store() {
  rm -f "$work/url"
  "$stoker" emulate --dir "$work/db" --listen 127.0.0.1:0 > "$work/url" 2> "$work/log" & server=$!
  until [ -s "$work/url" ]; do kill -0 "$server" || { cat "$work/log"; exit 1; }; sleep 0.1; done
  local base dataset
  base=$(cat "$work/url") base=${base%/}
  dataset=v1/projects/local/locations/local/datasets/stoker
  curl -sf -o "$work/made" -X POST -H 'Content-Type: application/json' -d '{}' "$base/$dataset/${1}Stores?${1}StoreId=s"
  address=$base/$dataset/${1}Stores/s
  google="google: { project: local, location: local, dataset: stoker, endpoint: \"$base\", "
}
ingest_local() { local_store hl7V2; target="$google hl7v2_store: s }, auth: none"; }
stow_local() { local_store dicom; address=$address/dicomWeb; target="$google dicom_store: s }, auth: none"; }
stow_orthanc() {
  local port
  port=$(port)
  mkdir -p "$work/db"
  cat > "$work/orthanc.json" <<JSON
{ "Name": "test", "StorageDirectory": "$work/db", "IndexDirectory": "$work/db", "HttpPort": $port, "RemoteAccessAllowed": false,
  "AuthenticationEnabled": false, "DicomServerEnabled": false, "OverwriteInstances": false,
  "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
  "DicomWeb": { "Enable": true, "Root": "/dicom-web/", "EnableWado": false, "Ssl": false } }
JSON
  Orthanc "$work/orthanc.json" > "$work/log" 2>&1 & server=$!
  until curl -sf "http://127.0.0.1:$port/system" -o "$work/made"; do kill -0 "$server" || { tail "$work/log"; exit 1; }; sleep 0.1; done
  address=http://127.0.0.1:$port/dicom-web target="dicomweb: { url: \"http://127.0.0.1:$port/dicom-web\" }"
}
mllp_hapi() {
  local port
  port=$(port)
  mkdir -p "$work/db"
  java -cp "$tools/classes:$tools/lib/*" Receiver "$port" "$work/db/log" > "$work/log" 2> "$work/errors" & server=$!
  until grep -q listening "$work/log"; do kill -0 "$server" || { cat "$work/errors"; exit 1; }; sleep 0.1; done
  address=127.0.0.1:$port target="mllp: { address: \"127.0.0.1:$port\" }"
}
has() {
  case $1 in
    stow_orthanc) command -v Orthanc > "$work/made" ;;
    mllp_hapi) [ -f "$tools/classes/Receiver.class" ] ;;
  esac
}

cd "$work"
for way in ${WAYS:-ingest_local mllp_hapi stow_local stow_orthanc}; do
  has $way || { echo "$way: skipped, its receiver is not here"; continue; }
  kind=${way%_*} dir=messages files=feed.hl7
  [ "$kind" = stow ] && dir=instances files='images/*.dcm'
  for run in $(seq "$runs"); do
    $way
    echo "$way bare   $run: $("$kinds" bare "$kind" "$dir" "$address" "$concurrency")"
    stop
    $way
    cat > "$dir/m.yaml" <<YAML
version: 1
name: $way
targets: { receiver: { $target, concurrency: $concurrency } }
loads: [ { name: all, target: receiver, files: ["$files"] } ]
YAML
    rm -rf "$dir/.stoker"
    "$stoker" load "$dir/m.yaml" --progress none > out.txt
    echo "$way stoker $run: $(grep -E 'created|plan, send, close|^Speed' out.txt | tr -s ' ' | tr '\n' ' ')"
    stop
  done
done
