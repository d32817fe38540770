# Sourced by what needs a Helios HFS: gets it and the search parameters that it does not bring along, and defines `serve FOLDER`, which
# starts it with that folder and sets `server`, its process, and `url`. Needs `tools`, `work`, and the functions of smoke.sh.
mkdir -p "$tools/data"
if [ -z "${HFS:-}" ]; then
  HFS=$(command -v hfs || echo "$tools/bin/hfs")
  [ -x "$HFS" ] || cargo install helios-hfs --version 0.2.7 --no-default-features --features R4,sqlite --root "$tools"
fi
HFS=$(realpath "$HFS")
if [ ! -s "$tools/data/search-parameters-r4.json" ]; then
  artifact=hapi-fhir-validation-resources-r4
  mvn -q org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -Dartifact=ca.uhn.hapi.fhir:$artifact:8.8.0 -DoutputDirectory="$tools"
  python3 -c 'import sys, zipfile
sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read("org/hl7/fhir/r4/model/sp/search-parameters.json"))' \
    "$tools/$artifact-8.8.0.jar" > "$tools/data/search-parameters-r4.json"
fi

# Starts Helios with the folder $1, which is a copy of one that holds the search parameters: writing them takes it a while.
serve() {
  local port
  port=$(port)
  [ ! -d "$work/empty" ] || cp -r "$work/empty" "$1"
  mkdir -p "$1"
  (cd "$1" && exec "$HFS" --port "$port" --base-url "http://127.0.0.1:$port" --database-url "$1/db" --data-dir "$tools/data" \
    --log-level warn > "$1.log" 2>&1) & server=$!
  url=http://127.0.0.1:$port
  await "$url" "$1.log"
}
serve "$work/seeded"; stop
mv "$work/seeded" "$work/empty"
