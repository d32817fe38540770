"""Google's own client (google-api-python-client) over every DICOM method of a local store, then dicomweb-client and pydicom.

    pip install google-api-python-client dicomweb-client pydicom
    stoker emulate --dir DIR --listen 127.0.0.1:8085 &
    python tests/clients/dicom.py http://127.0.0.1:8085

Prints a line a method, and ends with 1 when one of them does not work. `tests/clients/run` does all of this.
"""

import io
import json
import pathlib
import sys
import time
import uuid

import pydicom
from dicomweb_client.api import DICOMwebClient
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

URL = sys.argv[1].rstrip("/")
LOCATION = "projects/client/locations/local"
DATASET = f"{LOCATION}/datasets/d{uuid.uuid4().hex[:8]}"
STORE = f"{DATASET}/dicomStores/s"
SAMPLES = pathlib.Path(__file__).parents[2] / "resources/imaging"
FILES = sorted(path for path in SAMPLES.rglob("*") if path.is_file() and path.suffix != ".md")

service = build("healthcare", "v1", credentials=AnonymousCredentials(), static_discovery=True,
                client_options=ClientOptions(api_endpoint=URL))
datasets = service.projects().locations().datasets()
stores = datasets.dicomStores()
studies = stores.studies()
series = studies.series()
instances = series.instances()
failed = False


def check(name, what):
    """Runs a step, and says how it went."""
    global failed
    try:
        said = what()
        print(f"{name:<34} works      {said if isinstance(said, str) else ''}".rstrip())
    except Exception as error:  # everything that goes wrong is a result
        failed = True
        print(f"{name:<34} FAILS      {type(error).__name__}: {error}")


def wait(operation):
    while not operation.get("done"):
        time.sleep(0.05)
        operation = datasets.operations().get(name=operation["name"]).execute()
    assert "error" not in operation, operation
    return operation


def answer(request, body=None, kind="application/dicom", accept="application/dicom+json"):
    """Sends a request whose body or answer is no JSON of Google's."""
    request.headers["accept"] = accept
    if body is not None:
        request.body, request.body_size, request.headers["content-type"] = body, len(body), kind
    request.postproc = lambda response, content: content
    return request.execute()


def refused(what, status):
    try:
        what()
    except HttpError as error:
        assert error.resp.status == status, error
        return f"{status}"
    raise AssertionError(f"not answered {status}")


first = pydicom.dcmread(FILES[0])
STUDY, SERIES, INSTANCE = (str(first[tag].value) for tag in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
ONE_SERIES = f"studies/{STUDY}/series/{SERIES}"
ONE = f"{ONE_SERIES}/instances/{INSTANCE}"


def store_all():
    for path in FILES:
        said = json.loads(answer(stores.storeInstances(parent=STORE, dicomWebPath="studies"), path.read_bytes()))
        assert len(said["00081199"]["Value"]) == 1, said
    return f"{len(FILES)} instances"


def store_again():
    return refused(lambda: answer(stores.storeInstances(parent=STORE, dicomWebPath="studies"), FILES[0].read_bytes()), 409)


def found(request):
    said = json.loads(answer(request))
    assert said, said
    return f"{len(said)}"


def same_bytes():
    said = answer(instances.retrieveInstance(parent=STORE, dicomWebPath=ONE), accept="application/dicom; transfer-syntax=*")
    assert said == FILES[0].read_bytes()


datasets.create(parent=LOCATION, datasetId=DATASET.rsplit("/", 1)[1], body={}).execute()
check("create", lambda: stores.create(parent=DATASET, dicomStoreId="s", body={"labels": {"a": "b"}}).execute()["name"])
check("get", lambda: stores.get(name=STORE).execute()["name"])
check("list", lambda: f"{len(stores.list(parent=DATASET).execute()['dicomStores'])}")
check("patch", lambda: str(stores.patch(name=STORE, updateMask="labels", body={"labels": {"c": "d"}}).execute()["labels"]))
check("getIamPolicy", lambda: stores.getIamPolicy(resource=STORE).execute())
check("setIamPolicy", lambda: stores.setIamPolicy(resource=STORE, body={"policy": {"bindings": []}}).execute())
check("testIamPermissions", lambda: stores.testIamPermissions(resource=STORE, body={"permissions": ["healthcare.dicomStores.get"]}).execute())
check("storeInstances", store_all)
check("storeInstances, again", store_again)
check("studies.storeInstances", lambda: refused(lambda: answer(
    studies.storeInstances(parent=STORE, dicomWebPath=f"studies/{STUDY}"), FILES[0].read_bytes()), 409))
check("searchForStudies", lambda: found(stores.searchForStudies(parent=STORE, dicomWebPath="studies")))
check("searchForSeries", lambda: found(stores.searchForSeries(parent=STORE, dicomWebPath="series")))
check("searchForInstances", lambda: found(stores.searchForInstances(parent=STORE, dicomWebPath="instances")))
check("studies.searchForSeries", lambda: found(studies.searchForSeries(parent=STORE, dicomWebPath=f"studies/{STUDY}/series")))
check("studies.searchForInstances", lambda: found(studies.searchForInstances(parent=STORE, dicomWebPath=f"studies/{STUDY}/instances")))
check("series.searchForInstances", lambda: found(series.searchForInstances(parent=STORE, dicomWebPath=f"{ONE_SERIES}/instances")))
every = 'multipart/related; type="application/dicom"; transfer-syntax=*'
check("retrieveStudy", lambda: f"{len(answer(studies.retrieveStudy(parent=STORE, dicomWebPath=f'studies/{STUDY}'), accept=every))} bytes")
check("retrieveSeries", lambda: f"{len(answer(series.retrieveSeries(parent=STORE, dicomWebPath=ONE_SERIES), accept=every))} bytes")
check("retrieveInstance", same_bytes)
check("studies.retrieveMetadata", lambda: found(studies.retrieveMetadata(parent=STORE, dicomWebPath=f"studies/{STUDY}/metadata")))
check("series.retrieveMetadata", lambda: found(series.retrieveMetadata(parent=STORE, dicomWebPath=f"{ONE_SERIES}/metadata")))
check("instances.retrieveMetadata", lambda: found(instances.retrieveMetadata(parent=STORE, dicomWebPath=f"{ONE}/metadata")))
check("retrieveFrames", lambda: f"""{len(answer(instances.frames().retrieveFrames(parent=STORE, dicomWebPath=f'{ONE}/frames/1'),
    accept='multipart/related; type="application/octet-stream"; transfer-syntax=*'))} bytes""")
check("retrieveRendered", lambda: refused(lambda: answer(
    instances.retrieveRendered(parent=STORE, dicomWebPath=f"{ONE}/rendered"), accept="image/jpeg"), 406))
check("getDICOMStoreMetrics", lambda: stores.getDICOMStoreMetrics(name=STORE).execute()["instanceCount"])
web = stores.dicomWeb().studies()
check("getStudyMetrics", lambda: web.getStudyMetrics(study=f"{STORE}/dicomWeb/studies/{STUDY}").execute()["instanceCount"])
check("getSeriesMetrics", lambda: web.series().getSeriesMetrics(series=f"{STORE}/dicomWeb/{ONE_SERIES}").execute()["instanceCount"])
check("getStorageInfo", lambda: str(web.series().instances().getStorageInfo(resource=f"{STORE}/dicomWeb/{ONE}").execute()["blobStorageInfo"]))

client = DICOMwebClient(url=f"{URL}/v1/{STORE}/dicomWeb")
check("dicomweb-client: search", lambda: f"{len(client.search_for_instances())}")
check("dicomweb-client: metadata", lambda: client.retrieve_instance_metadata(STUDY, SERIES, INSTANCE)["00080018"]["Value"][0])


def retrieve():
    got = client.retrieve_instance(STUDY, SERIES, INSTANCE, media_types=(("application/dicom", "*"),))
    assert str(got.SOPInstanceUID) == INSTANCE and got.PixelData == first.PixelData


def store_by_client():
    other = pydicom.dcmread(FILES[0])
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    said = client.store_instances([other])
    assert said.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == other.SOPInstanceUID


check("dicomweb-client: retrieve", retrieve)
check("dicomweb-client: store", store_by_client)
check("pydicom: reads what came back", lambda: str(pydicom.dcmread(io.BytesIO(
    answer(instances.retrieveInstance(parent=STORE, dicomWebPath=ONE), accept="application/dicom; transfer-syntax=*"))).Modality))
check("export", lambda: wait(stores.export(name=STORE, body={"gcsDestination": {
    "uriPrefix": "gs://client/out", "mimeType": "application/dicom; transfer-syntax=*"}}).execute())["metadata"]["counter"]["success"])
check("import", lambda: wait(stores.import_(name=STORE, body={
    "gcsSource": {"uri": "gs://client/out/**.dcm"}}).execute())["metadata"]["counter"]["success"])
check("instances.delete", lambda: instances.delete(parent=STORE, dicomWebPath=ONE).execute())
check("series.delete", lambda: wait(series.delete(parent=STORE, dicomWebPath=ONE_SERIES).execute()) and "")
last = pydicom.dcmread(FILES[-1]).StudyInstanceUID
check("studies.delete", lambda: wait(studies.delete(parent=STORE, dicomWebPath=f"studies/{last}").execute()) and "")
check("delete", lambda: stores.delete(name=STORE).execute())
sys.exit(failed)
