#!/usr/bin/env bash
# HTTP/1.1 against HTTP/2 over TLS: nginx, which takes 128 requests at a time on a connection, before a store that answers each
# update after LATENCY. Needs nginx and openssl. Usage: tests/bench/http2.sh [LATENCY] [RECORDS] [CONCURRENCY]
set -euo pipefail
cd "$(dirname "$0")/../.."
latency=${1:-100ms} records=${2:-20000} concurrency=${3:-"{ min: 1, max: 256 }"}
cargo build --release --quiet
stoker=${STOKER:-$PWD/target/release/stoker}
work=$(mktemp -d)
trap 'kill "${proxy:-}" "${server:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
key() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "/CN=$1" "${@:2}" 2> openssl.txt; }
key ca -x509 -days 2 -out ca.pem
key localhost -out localhost.csr
openssl x509 -req -in localhost.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out localhost.pem \
  -extfile <(printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n') 2> openssl.txt
for ((n = 0; n < records; n++)); do echo "{\"resourceType\":\"Patient\",\"id\":\"p$n\"}"; done > p.ndjson
echo "rules: [ { when: { request: update }, fault: { latency: { fixed: $latency } } } ]" > faults.yaml
echo "$latency, $records records, concurrency $concurrency"
for http2 in "" http2; do
  rm -rf store .stoker url.txt
  "$stoker" emulate --dir store --listen 127.0.0.1:0 --faults faults.yaml > url.txt 2> struck.txt &
  server=$!
  until [ -s url.txt ]; do sleep 0.1; done
  url=$(cat url.txt) && url=${url#http://}
  cat > nginx.conf <<CONF
worker_processes 1; daemon off; pid nginx.pid; error_log error.log; events { worker_connections 4096; }
http { access_log off; client_body_temp_path body; proxy_temp_path proxy;
  upstream store { server ${url%/}; keepalive 512; }
  server { listen 127.0.0.1:8443 ssl $http2; keepalive_requests 100000000; ssl_certificate localhost.pem; ssl_certificate_key localhost.key;
    location / { proxy_pass http://store; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host \$http_host; } } }
CONF
  nginx -p "$work" -c nginx.conf &
  proxy=$!
  sleep 0.5
  cat > m.yaml <<YAML
version: 1
name: http2
targets:
  t: { google: { project: p, location: l, dataset: d, fhir_store: f, endpoint: "https://localhost:8443/" }, auth: none,
       tls: { ca: ca.pem }, ensure: { version: R4, enableUpdateCreate: true }, concurrency: $concurrency }
loads: [ { name: all, files: [p.ndjson], interaction: update, bundle: none } ]
YAML
  "$stoker" load m.yaml --progress none > out.txt
  kill "$proxy" && wait "$proxy" || true
  kill -INT "$server" && wait "$server" || true
  printf '  %-9s %s\n' "${http2:-http/1.1}" "$(grep -E '^(Requests|Duration|Speed|Latency)' out.txt | tr -s ' ' | tr '\n' ' ')"
done
