# Sourced by what needs a HAPI FHIR JPA (8.8.0, H2 in memory): gets it from Maven Central once (some 350 jars), and defines `serve FOLDER`,
# which starts it and sets `server`, its process, and `url`. Needs Java 17, Maven, `tools`, `work`, and the functions of smoke.sh.
source=$PWD/tests/servers/hapi
mkdir -p "$tools"
if [ ! -f "$tools/classes/Server.class" ] || [ "$source/Server.java" -nt "$tools/classes/Server.class" ]; then
  cp "$source/pom.xml" "$tools/"
  mvn -q -f "$tools/pom.xml" dependency:copy-dependencies -DoutputDirectory="$tools/lib"
  javac -cp "$tools/lib/*" -d "$tools/classes" "$source/Server.java"
fi

# Starts HAPI; its store is in memory, and $1 names its log.
serve() {
  local port
  port=$(port)
  (cd "$work" && exec java -Xmx2g -cp "$tools/classes:$tools/lib/*" Server "$port" > "$1.log" 2>&1) & server=$!
  url=http://127.0.0.1:$port/fhir
  await "$url" "$1.log"
}
