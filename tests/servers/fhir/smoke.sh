# Sourced by helios.sh and hapi.sh, which define `serve FOLDER` (starts the server with that folder, and sets `server`, its process, and
# `url`). Loads the set `synthea-r4-2021-smoke` in each way, each time into a server of its own, killed at random points and resumed, and
# reads the store back.
#
# Needs `stoker` and `data`; STOKER_KILLS is how often a load is killed (3), RANDOM_SEED repeats the points.
here=$PWD/tests/servers/fhir
work=$(mktemp -d) server= loader= wrong=0
stop() { if [ -n "$server" ]; then kill "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true; fi; server=; }
trap 'stop; if [ -n "$loader" ]; then kill -9 "$loader" 2> /dev/null || true; fi; rm -rf "$work"' EXIT
tar -xf "$data/synthea-r4-2021-smoke.tar.zst" --strip-components 1 -C "$work"
RANDOM=${RANDOM_SEED:=$RANDOM}
echo "points of the kills: RANDOM_SEED=$RANDOM_SEED"

# Prints a port that nobody listens on.
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Waits until a server answers.
await() { until curl -sf "$1/metadata" -o /dev/null; do kill -0 "$server" 2> /dev/null || { tail "$2"; exit 1; }; sleep 0.2; done; }

# Writes the manifest $1/m.yaml for the files $2, with the settings $3 of a load.
manifest() {
  mkdir -p "$1"
  cat > "$1/m.yaml" <<YAML
version: 1
name: smoke
targets: { server: { fhir: { url: "$url" } } }
loads: [ { name: smoke, target: server, files: ["../$2/*"], $3 } ]
YAML
}
run_of() { ls -d "$1"/.stoker/runs/*/ 2> /dev/null | tail -1 || true; }
lines() { local run; run=$(run_of "$1"); if [ -n "$run" ] && [ -e "$run/journal.ndjson" ]; then wc -l < "$run/journal.ndjson"; else echo 0; fi; }

# Loads the files $2 by $3, killed with -9 where the journal has a random number of lines more, and resumed; $4 is the answer's folder.
smoke() {
  local name=$1 files=$2 settings=$3 kills=0 code=0 until run
  echo "== $name"
  cd "$work"
  serve "$work/store-$name"
  manifest "$name" "$files" "$settings"
  for turn in $(seq 0 "${STOKER_KILLS:-3}"); do
    run=$(run_of "$name")
    until=$(($(lines "$name") + 1 + RANDOM % 1500))
    if [ -z "$run" ]; then set -- load "$name/m.yaml"; else set -- resume "$run"; fi
    "$stoker" "$@" --progress none > "$name/out.txt" 2> "$name/err.txt" & loader=$!
    if [ "$turn" -lt "${STOKER_KILLS:-3}" ]; then
      while kill -0 $loader 2> /dev/null && [ "$(lines "$name")" -lt "$until" ]; do sleep 0.01; done
      if kill -9 $loader 2> /dev/null; then kills=$((kills + 1)); echo "   killed with $(lines "$name") lines in the journal"; fi
    fi
    code=0; wait $loader 2> /dev/null || code=$?
    loader=
    [ $code = 137 ] || break
  done
  [ $kills -gt 0 ] || { echo "   WRONG: it had ended before it was killed"; wrong=1; }
  [ $code -le 1 ] || { echo "   WRONG: exit $code"; cat "$name/err.txt"; wrong=1; }
  grep -E '^ *(Way|Sent as|Speed)' "$name/out.txt" | sed 's/^/   /' || true
  python3 "$here/check.py" "$(run_of "$name")" "$work/$files" "$url" || wrong=1
  stop
}

synthea=https://github.com/synthetichealth/synthea
identity="Organization: [\"$synthea\"], Patient: [\"$synthea\"], Practitioner: [\"http://hl7.org/fhir/sid/us-npi\"], Encounter: [\"$synthea\"]"
smokes() {
  smoke create ndjson "interaction: create, settle: tag, bundle: none"
  smoke create-found ndjson "interaction: create, settle: tag"
  smoke update ndjson "interaction: update"
  smoke conditional-create ndjson "interaction: conditional-create, identity: { $identity, missing: create }, settle: tag"
  smoke filled ndjson "interaction: update, bundle: { type: transaction }"
  smoke transactions bundles "settle: tag"
}
