"""Google's own client (google-api-python-client) over every HL7v2 method of a local store.

    pip install google-api-python-client
    stoker emulate --dir DIR --listen 127.0.0.1:8085 &
    python tests/clients/hl7v2.py http://127.0.0.1:8085

Prints a line a method, and ends with 1 when one of them does not work. `tests/clients/run` does all of this.
"""

import base64
import datetime
import json
import sys
import time
import uuid

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

URL = sys.argv[1].rstrip("/")
LOCATION = "projects/client/locations/local"
DATASET = f"{LOCATION}/datasets/d{uuid.uuid4().hex[:8]}"
STORE = f"{DATASET}/hl7V2Stores/h"

service = build("healthcare", "v1", credentials=AnonymousCredentials(), static_discovery=True,
                client_options=ClientOptions(api_endpoint=URL))
datasets = service.projects().locations().datasets()
stores = datasets.hl7V2Stores()
messages = stores.messages()
failed = False


def text(control_id, kind="ADT^A01", facility="NORTH", when="20250304081500"):
    return (f"MSH|^~\\&|APP|{facility}|LAB|SOUTH|{when}||{kind}|{control_id}|P|2.5.1||||||UNICODE UTF-8\r"
            f"PID|1||TH-{control_id}^^^CLINIC^MR||Müller\\T\\Söhne^Jörg\r")


def data(message):
    return base64.b64encode(message.encode()).decode()


def check(name, what):
    """Runs a step, and says how it went."""
    global failed
    try:
        said = what()
        print(f"{name:<28} works      {said if isinstance(said, str) else ''}".rstrip())
    except Exception as error:  # everything that goes wrong is a result
        failed = True
        print(f"{name:<28} FAILS      {type(error).__name__}: {error}")


def wait(operation):
    while not operation.get("done"):
        time.sleep(0.05)
        operation = datasets.operations().get(name=operation["name"]).execute()
    return operation


def refused(request, status):
    try:
        request.execute()
    except HttpError as error:
        assert error.resp.status == status, error.resp.status
        return json.loads(error.content)["error"]
    raise AssertionError("it was not refused")


wait(datasets.create(parent=LOCATION, datasetId=DATASET.rsplit("/", 1)[1], body={"timeZone": "Europe/Vienna"}).execute())
first = text("M1")
name = None


def store_create():
    body = {"parserConfig": {"version": "V3"}, "rejectDuplicateMessage": True, "labels": {"team": "a"},
            "notificationConfigs": [{"pubsubTopic": "projects/p/topics/t"}]}
    made = stores.create(parent=DATASET, hl7V2StoreId="h", body=body).execute()
    assert made == {**body, "name": STORE}, made


def store_patch():
    made = stores.patch(name=STORE, updateMask="labels", body={"labels": {"team": "b"}}).execute()
    assert made["labels"] == {"team": "b"}, made


def iam():
    stores.setIamPolicy(resource=STORE, body={"policy": {"bindings": []}}).execute()
    stores.getIamPolicy(resource=STORE).execute()
    asked = ["healthcare.hl7V2Messages.ingest"]
    found = stores.testIamPermissions(resource=STORE, body={"permissions": asked}).execute()
    assert found["permissions"] == asked
    return "every permission is there, no policy is applied"


def create():
    global name
    made = messages.create(parent=STORE, body={"message": {"data": data(first), "labels": {"n": "1"}}}).execute()
    name = made["name"]
    assert made["sendTime"] == "2025-03-04T07:15:00Z", made
    assert made["patientIds"] == [{"value": "TH-M1", "type": "MR"}], made
    assert made["messageType"] == "ADT" and made["sendFacility"] == "NORTH", made
    refused(messages.create(parent=STORE, body={"message": {"data": data(first)}}), 409)


def ingest():
    answer = messages.ingest(parent=STORE, body={"message": {"data": data(text("M2", "ORU^R01", "SOUTH"))}}).execute()
    ack = base64.b64decode(answer["hl7Ack"]).decode()
    assert ack.split("\r")[1] == "MSA|AA|M2", ack
    error = refused(messages.ingest(parent=STORE, body={"message": {"data": data(text("M2", "ORU^R01", "SOUTH"))}}), 409)
    nack = base64.b64decode(error["details"][0]["hl7Nack"]).decode()
    assert nack.split("\r")[1].startswith("MSA|AE|M2"), nack


def get():
    for view, there, not_there in [
        ("RAW_ONLY", ["data"], ["parsedData"]), ("PARSED_ONLY", ["parsedData"], ["data"]),
        ("FULL", ["data", "parsedData"], []), ("SCHEMATIZED_ONLY", ["sendTime"], ["data", "parsedData"]),
        ("BASIC", ["name"], ["sendTime", "data"]),
    ]:
        found = messages.get(name=name, view=view).execute()
        assert all(key in found for key in there) and not any(key in found for key in not_there), (view, found)
    found = messages.get(name=name).execute()
    assert base64.b64decode(found["data"]).decode() == first
    assert found["parsedData"]["segments"][1]["fields"]["5.1"] == "Müller&Söhne", found
    return "schematizedData is never there: schemas are stored, not applied"


def list_messages():
    for number in range(3, 13):
        messages.create(parent=STORE, body={"message": {"data": data(text(f"M{number}", when=f"202503{number:02}"))}}).execute()
    found, request = [], messages.list(parent=STORE, pageSize=5, orderBy="send_time desc", view="FULL")
    while request is not None:
        page = request.execute()
        found += page.get("hl7V2Messages", [])
        request = messages.list_next(request, page)
    times = [message["sendTime"] for message in found]
    assert len(found) == 12 and times == sorted(times, reverse=True), times
    for query, count in [
        ('message_type = "ORU"', 1), ('NOT message_type = "ORU" AND send_date >= "2025-03-10"', 3),
        ('PatientId("TH-M1", "MR")', 1), ('labels."n"="1"', 1), ('labels."n":*', 1),
        ('send_facility = "SOUTH" OR send_time < "2025-03-04T00:00:00+01:00"', 2),
    ]:
        page = messages.list(parent=STORE, filter=query).execute()
        assert len(page.get("hl7V2Messages", [])) == count, (query, page)
    return "found at once: the index is not asynchronous"


def patch():
    found = messages.patch(name=name, updateMask="labels", body={"labels": {"m": "2"}}).execute()
    assert found["labels"] == {"n": "1", "m": "2"}, found
    refused(messages.patch(name=name, updateMask="data", body={"data": ""}), 400)


def metrics():
    found = {metric["messageType"]: metric["count"] for metric in
             stores.getHL7v2StoreMetrics(name=STORE).execute()["metrics"]}
    assert found == {"ADT": "11", "ORU": "1"}, found


def export():
    body = {"gcsDestination": {"uriPrefix": f"gs://client/{DATASET.rsplit('/', 1)[1]}", "contentStructure": "MESSAGE_JSON"}}
    operation = wait(stores.export(name=STORE, body=body).execute())
    assert operation["metadata"]["counter"] == {"success": "12"}, operation
    return "into buckets/ of the store's directory"


def import_():
    stores.create(parent=DATASET, hl7V2StoreId="i", body={}).execute()
    body = {"gcsSource": {"uri": f"gs://client/{DATASET.rsplit('/', 1)[1]}/**.ndjson"}}
    operation = wait(stores.import_(name=f"{DATASET}/hl7V2Stores/i", body=body).execute())
    assert operation["metadata"]["counter"] == {"success": "12"}, operation
    found = messages.list(parent=f"{DATASET}/hl7V2Stores/i").execute()["hl7V2Messages"]
    assert len(found) == 12
    stores.delete(name=f"{DATASET}/hl7V2Stores/i").execute()
    return "from buckets/ of the store's directory"


def rollback():
    before = datetime.datetime.now(datetime.timezone.utc).isoformat()
    messages.create(parent=STORE, body={"message": {"data": data(text("M99"))}}).execute()
    messages.patch(name=name, updateMask="labels", body={"labels": {"m": "3"}}).execute()
    body = {"rollbackTime": before, "changeType": "ALL", "force": True, "resultGcsBucket": "client"}
    operation = wait(stores.rollback(name=STORE, body=body).execute())
    assert operation["metadata"]["counter"] == {"success": "2"}, operation
    assert messages.get(name=name).execute()["labels"]["m"] == "2"
    assert metrics() is None
    return "without `force` it only writes down what it would undo (not documented)"


def versions():
    """One message by each version of the parser: MSH-1 counts as a field since V2, and escapes are undone by V3."""
    for version, application, patient in [("V1", "2", "Müller\\T\\Söhne"), ("V2", "3", "Müller\\T\\Söhne"), ("V3", "3", "Müller&Söhne")]:
        store = f"{DATASET}/hl7V2Stores/{version.lower()}"
        stores.create(parent=DATASET, hl7V2StoreId=version.lower(), body={"parserConfig": {"version": version}}).execute()
        made = messages.create(parent=store, body={"message": {"data": data(first)}}).execute()
        segments = messages.get(name=made["name"], view="PARSED_ONLY").execute()["parsedData"]["segments"]
        assert segments[0]["fields"][application] == "APP", (version, segments)
        assert segments[1]["fields"]["5.1"] == patient, (version, segments)
        # Without rejectDuplicateMessage a message is taken again, under the name that it has.
        again = messages.create(parent=store, body={"message": {"data": data(first)}}).execute()
        assert again["name"] == made["name"], again
        stores.delete(name=store).execute()


def delete():
    messages.delete(name=name).execute()
    refused(messages.get(name=name), 404)


check("hl7V2Stores.create", store_create)
check("hl7V2Stores.get", lambda: stores.get(name=STORE).execute() and "")
check("hl7V2Stores.list", lambda: stores.list(parent=DATASET, filter="labels.team=a").execute()["hl7V2Stores"][0] and "")
check("hl7V2Stores.patch", store_patch)
check("hl7V2Stores.*Iam*", iam)
check("messages.create", create)
check("messages.ingest", ingest)
check("messages.get", get)
check("parsedData, V1 to V3", versions)
check("messages.list", list_messages)
check("messages.patch", patch)
check("hl7V2Stores.getHL7v2Metrics", metrics)
check("hl7V2Stores.export", export)
check("hl7V2Stores.import", import_)
check("hl7V2Stores.rollback", rollback)
check("messages.delete", delete)
check("hl7V2Stores.delete", lambda: stores.delete(name=STORE).execute() == {} and "")
datasets.delete(name=DATASET).execute()
sys.exit(1 if failed else 0)
