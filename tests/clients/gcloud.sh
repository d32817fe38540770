#!/usr/bin/env bash
# gcloud over the DICOM, HL7v2 and FHIR stores of a local store: every command and what it answers. It prints a line a command, and ends
# with 1 when one of them does not work. A command takes gcloud some 2 s to begin with.
#
#   stoker emulate --dir DIR --listen 127.0.0.1:8085 &
#   tests/clients/gcloud.sh http://127.0.0.1:8085
set -euo pipefail
url=${1%/} samples=$(cd "$(dirname "$0")/../../resources" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A configuration of its own: the user's account and project are left alone, and nothing is told to anyone.
export CLOUDSDK_CONFIG=$work/config CLOUDSDK_CORE_DISABLE_PROMPTS=1 CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=true \
  CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true CLOUDSDK_CORE_PROJECT=client CLOUDSDK_HEALTHCARE_LOCATION=local \
  CLOUDSDK_API_ENDPOINT_OVERRIDES_HEALTHCARE=$url/ CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=true CLOUDSDK_SURVEY_DISABLE_PROMPTS=true
dataset=g$$ failed=0
base=$url/v1/projects/client/locations/local/datasets/$dataset

# Runs `gcloud healthcare …`, and looks for a text in what it says on either stream.
check() {
  local expected=$1
  shift
  if timeout 120 gcloud healthcare "$@" > "$work/said" 2>&1 && grep -qF -- "$expected" "$work/said"; then
    printf '%-46s works\n' "$1 $2 ${3#--*}"
  else
    failed=1
    printf '%-46s FAILS      expected: %s\n' "$1 $2 $3" "$expected"
    sed 's/^/    /' "$work/said"
  fi
}

# The same of a command that is to be refused, with the words of the API.
refused() {
  local expected=$1
  shift
  if ! timeout 120 gcloud healthcare "$@" > "$work/said" 2>&1 && grep -qF -- "$expected" "$work/said"; then
    printf '%-46s refused\n' "$1 $2 $3"
  else
    failed=1
    printf '%-46s FAILS      expected to be refused: %s\n' "$1 $2 $3" "$expected"
    sed 's/^/    /' "$work/said"
  fi
}

# One command for all kinds of stores: describing, listing, access.
store() {
  local kind=$1 name=$2 collection=$3 policy=$4
  shift 4
  local at=(--dataset="$dataset")
  check "name: projects/client/locations/local/datasets/$dataset/$collection/$name" "$kind" describe "$name" "${at[@]}"
  check "$name,$collection" "$kind" list "${at[@]}" --format='csv[no-heading](name.basename(),name.segment(-2))'
  check "roles/healthcare.viewer" "$kind" set-iam-policy "$name" "$policy" "${at[@]}"
  check "user:a@clinic.example" "$kind" get-iam-policy "$name" "${at[@]}"
  check "user:b@clinic.example" "$kind" add-iam-policy-binding "$name" --member=user:b@clinic.example --role=roles/healthcare.viewer "${at[@]}"
  check "user:a@clinic.example" "$kind" remove-iam-policy-binding "$name" --member=user:b@clinic.example --role=roles/healthcare.viewer "${at[@]}"
  check "projects/client/topics/t2" "$kind" update "$name" "$@" "${at[@]}"
  refused NOT_FOUND "$kind" describe none "${at[@]}"
}

printf '{"bindings":[{"role":"roles/healthcare.viewer","members":["user:a@clinic.example"]}]}' > "$work/policy.json"
check "$dataset" datasets create "$dataset"
check "timeZone: Europe/Vienna" datasets update "$dataset" --time-zone=Europe/Vienna
check "$dataset,Europe/Vienna" datasets list --format='csv[no-heading](name.basename(),timeZone)'
check "name: projects/client/locations/local/datasets/$dataset" datasets describe "$dataset"

check "Created dicomStore [d]" dicom-stores create d --dataset="$dataset" --pubsub-topic=projects/client/topics/t --send-for-bulk-import
refused ALREADY_EXISTS dicom-stores create d --dataset="$dataset"
store dicom-stores d dicomStores "$work/policy.json" --pubsub-topic=projects/client/topics/t2
check "Created dicomStore [copy]" dicom-stores create copy --dataset="$dataset"
find "$samples/imaging" -type f ! -name '*.md' > "$work/instances"
while read -r instance; do
  curl -sf -o /dev/null -H 'Content-Type: application/dicom' --data-binary @"$instance" "$base/dicomStores/d/dicomWeb/studies"
done < "$work/instances"
instances=$(wc -l < "$work/instances")
check "instanceCount: '$instances'" dicom-stores metrics d --dataset="$dataset"
check "name:" dicom-stores export gcs d --gcs-uri-prefix="gs://client/$dataset/d" --dataset="$dataset"
check "name:" dicom-stores import gcs copy --gcs-uri="gs://client/$dataset/d/**.dcm" --dataset="$dataset"
check "instanceCount: '$instances'" dicom-stores metrics copy --dataset="$dataset"
refused INVALID_ARGUMENT dicom-stores import gcs copy --gcs-uri="gs://client/*/d/**.dcm" --dataset="$dataset"

check "Created hl7v2Store [h]" hl7v2-stores create h --dataset="$dataset" --parser-version=v3 --notification-config=pubsub-topic=projects/client/topics/t
refused ALREADY_EXISTS hl7v2-stores create h --dataset="$dataset"
store hl7v2-stores h hl7V2Stores "$work/policy.json" --notification-config='pubsub-topic=projects/client/topics/t2,filter=sendFacility="B"'
check "version: V3" hl7v2-stores describe h --dataset="$dataset"
check "Created hl7v2Store [copy]" hl7v2-stores create copy --dataset="$dataset"
message=$(printf 'MSH|^~\\&|A|B|C|D|20250101000000||ADT^A01|1|P|2.5\rPID|1||7\r' | base64 -w0)
curl -sf -o /dev/null -H 'Content-Type: application/json' -d "{\"message\":{\"data\":\"$message\"}}" "$base/hl7V2Stores/h/messages:ingest"
check "messageType: ADT" hl7v2-stores metrics h --dataset="$dataset"
check "name:" hl7v2-stores export gcs h --gcs-uri="gs://client/$dataset/h" --start-time=2024-01-01T00:00:00Z --message-view=raw-only --dataset="$dataset"
check "name:" hl7v2-stores import gcs copy --gcs-uri="gs://client/$dataset/h/**" --dataset="$dataset"
check "count: '1'" hl7v2-stores metrics copy --dataset="$dataset"

check "Created fhirStore [f]" fhir-stores create f --dataset="$dataset" --version=r4 --enable-update-create --pubsub-topic=projects/client/topics/t
check "name:" fhir-stores metrics f --dataset="$dataset"
store fhir-stores f fhirStores "$work/policy.json" --pubsub-topic=projects/client/topics/t2
# What the local store does not offer says so, and nothing is repeated.
refused UNIMPLEMENTED fhir-stores import gcs f --gcs-uri=gs://client/x/*.ndjson --dataset="$dataset"
refused UNIMPLEMENTED fhir-stores export gcs f --gcs-uri=gs://client/x --dataset="$dataset"
refused UNIMPLEMENTED dicom-stores deidentify d --destination-store="$dataset" --dataset="$dataset"

check "True" operations list --dataset="$dataset"
operation=$(gcloud healthcare operations list --dataset="$dataset" --format='value(name.basename())' --limit=1)
check "done: true" operations describe "$operation" --dataset="$dataset"

for kind in dicom-stores hl7v2-stores fhir-stores; do
  name=${kind%-stores}
  check "Deleted" "$kind" delete "${name:0:1}" --dataset="$dataset" --quiet
  refused NOT_FOUND "$kind" describe "${name:0:1}" --dataset="$dataset"
done
check "Deleted dataset" datasets delete "$dataset" --quiet
exit $failed
