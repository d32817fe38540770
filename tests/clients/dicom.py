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


def answer(request, body=None, kind="application/dicom", accept="application/dicom+json", query=""):
    """Sends a request whose body or answer is no JSON of Google's. The client has no parameters of QIDO: they are put behind its address."""
    request.uri += ("&" if "?" in request.uri else "?") + query if query else ""
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
every = 'multipart/related; type="application/dicom"; transfer-syntax=*'
HEADS = [(path, pydicom.dcmread(path, stop_before_pixels=True)) for path in FILES]
OF_STUDY = [path for path, head in HEADS if head.StudyInstanceUID == STUDY]
OF_SERIES = [path for path, head in HEADS if head.SeriesInstanceUID == SERIES]


def store_all():
    for path in FILES:
        said = json.loads(answer(stores.storeInstances(parent=STORE, dicomWebPath="studies"), path.read_bytes()))
        assert len(said["00081199"]["Value"]) == 1, said
    return f"{len(FILES)} instances"


def store_again():
    return refused(lambda: answer(stores.storeInstances(parent=STORE, dicomWebPath="studies"), FILES[0].read_bytes()), 409)


def parts(body):
    """The bodies of the parts of a multipart answer, whose first line is its boundary."""
    boundary = body.lstrip().split(b"\r\n", 1)[0]
    found = body.lstrip().split(boundary)[1:]
    assert found[-1].startswith(b"--"), "the last boundary is missing"
    return [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in found[:-1]]


def store_parts():
    """Two instances in one request, which are new."""
    made = []
    for _ in range(2):
        other = pydicom.dcmread(FILES[0])
        other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        buffer = io.BytesIO()
        other.save_as(buffer)
        made.append((str(other.SOPInstanceUID), buffer.getvalue()))
    body = b"".join(b"\r\n--b-1\r\nContent-Type: application/dicom\r\n\r\n" + content for _, content in made) + b"\r\n--b-1--\r\n"
    said = json.loads(answer(studies.storeInstances(parent=STORE, dicomWebPath=f"studies/{STUDY}"), body,
                             'multipart/related; type="application/dicom"; boundary=b-1'))
    assert {item["00081155"]["Value"][0] for item in said["00081199"]["Value"]} == {uid for uid, _ in made}, said
    for uid, content in made:
        path = f"{ONE_SERIES}/instances/{uid}"
        assert answer(instances.retrieveInstance(parent=STORE, dicomWebPath=path), accept="application/dicom; transfer-syntax=*") == content
        instances.delete(parent=STORE, dicomWebPath=path).execute()
    return "two parts, and both come back byte for byte"


def search_with(query, count, check_first=lambda first: True, at="instances"):
    search = {"studies": stores.searchForStudies, "series": stores.searchForSeries, "instances": stores.searchForInstances}[at]
    content = answer(search(parent=STORE, dicomWebPath=at), query=query)
    said = json.loads(content) if content else []
    assert len(said) == count and all(check_first(one) for one in said), said
    return f"{count}"


def multipart(request, expected):
    got = parts(answer(request, accept=every))
    assert sorted(got) == sorted(path.read_bytes() for path in expected), [len(part) for part in got]
    return f"{len(got)} parts, byte for byte"


def bulkdata():
    # The client wants something behind the tag, be it nothing.
    got = parts(answer(instances.bulkdata().retrieveBulkdata(parent=STORE, dicomWebPath=f"{ONE}/bulkdata/7FE00010/"),
                       accept='multipart/related; type="application/octet-stream"; transfer-syntax=*'))
    assert got == [first.PixelData], got
    return f"{len(got[0])} bytes"


def frames():
    got = parts(answer(instances.frames().retrieveFrames(parent=STORE, dicomWebPath=f"{ONE}/frames/1"),
                       accept='multipart/related; type="application/octet-stream"; transfer-syntax=*'))
    assert got[0] == first.PixelData[:len(got[0])] and len(got) == 1
    return f"{len(got[0])} bytes"


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
for at in ("studies", "series", "instances"):
    check(f"{at}: limit and offset", lambda at=at: search_with("limit=1&offset=1", 1, at=at))
check("by a key", lambda: search_with(f"SOPInstanceUID={INSTANCE}", 1))
check("by a key, nothing found", lambda: search_with("StudyInstanceUID=1.2.3", 0, at="studies"))
check("includefield", lambda: search_with(f"SOPInstanceUID={INSTANCE}&includefield=00280010", 1, lambda one: "00280010" in one))
# The beginning of a word of the name, in another case.
word = str(first.PatientName).split("^")[0][:3].lower()
check("fuzzymatching", lambda: search_with(f"StudyInstanceUID={STUDY}&PatientName={word}&fuzzymatching=true", 1, at="studies"))
check("storeInstances, multipart", store_parts)
check("retrieveStudy", lambda: multipart(studies.retrieveStudy(parent=STORE, dicomWebPath=f"studies/{STUDY}"), OF_STUDY))
check("retrieveSeries", lambda: multipart(series.retrieveSeries(parent=STORE, dicomWebPath=ONE_SERIES), OF_SERIES))
check("retrieveInstance", same_bytes)
check("retrieveInstance, multipart", lambda: multipart(instances.retrieveInstance(parent=STORE, dicomWebPath=ONE), FILES[:1]))
check("retrieveInstance, transcoded", lambda: refused(lambda: answer(instances.retrieveInstance(parent=STORE, dicomWebPath=ONE),
    accept="application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50"), 406))
check("studies.retrieveMetadata", lambda: found(studies.retrieveMetadata(parent=STORE, dicomWebPath=f"studies/{STUDY}/metadata")))
check("series.retrieveMetadata", lambda: found(series.retrieveMetadata(parent=STORE, dicomWebPath=f"{ONE_SERIES}/metadata")))
check("instances.retrieveMetadata", lambda: found(instances.retrieveMetadata(parent=STORE, dicomWebPath=f"{ONE}/metadata")))
check("retrieveBulkdata", bulkdata)
check("retrieveFrames", frames)
check("frames.retrieveRendered", lambda: refused(lambda: answer(
    instances.frames().retrieveRendered(parent=STORE, dicomWebPath=f"{ONE}/frames/1/rendered"), accept="image/png"), 406))
check("retrieveRendered", lambda: refused(lambda: answer(
    instances.retrieveRendered(parent=STORE, dicomWebPath=f"{ONE}/rendered"), accept="image/jpeg"), 406))
check("getDICOMStoreMetrics", lambda: stores.getDICOMStoreMetrics(name=STORE).execute()["instanceCount"])
web = stores.dicomWeb().studies()
check("getStudyMetrics", lambda: web.getStudyMetrics(study=f"{STORE}/dicomWeb/studies/{STUDY}").execute()["instanceCount"])
check("getSeriesMetrics", lambda: web.series().getSeriesMetrics(series=f"{STORE}/dicomWeb/{ONE_SERIES}").execute()["instanceCount"])
check("getStorageInfo", lambda: str(web.series().instances().getStorageInfo(resource=f"{STORE}/dicomWeb/{ONE}").execute()["blobStorageInfo"]))

# The local store says that it does not offer these (UNIMPLEMENTED), with a status after which no client tries again.
check("setBlobStorageSettings", lambda: refused(lambda: stores.setBlobStorageSettings(resource=STORE, body={}).execute(), 404))
check("studies.setBlobStorageSettings", lambda: refused(lambda: web.setBlobStorageSettings(
    resource=f"{STORE}/dicomWeb/studies/{STUDY}", body={}).execute(), 404))
check("deidentify", lambda: refused(lambda: stores.deidentify(sourceStore=STORE, body={"destinationStore": f"{DATASET}/dicomStores/x"}).execute(), 404))

client = DICOMwebClient(url=f"{URL}/v1/{STORE}/dicomWeb")
check("dicomweb-client: search", lambda: f"{len(client.search_for_studies())} {len(client.search_for_series())} {len(client.search_for_instances())}")
check("dicomweb-client: search with keys", lambda: f"""{len(client.search_for_instances(
    study_instance_uid=STUDY, series_instance_uid=SERIES, search_filters={'SOPInstanceUID': INSTANCE}, fields=['Rows'], limit=5, offset=0))}""")
check("dicomweb-client: nothing found", lambda: f"{len(client.search_for_studies(search_filters={'StudyInstanceUID': '1.2.3'}))}")
check("dicomweb-client: metadata", lambda: client.retrieve_instance_metadata(STUDY, SERIES, INSTANCE)["00080018"]["Value"][0])


def retrieve():
    got = client.retrieve_instance(STUDY, SERIES, INSTANCE, media_types=(("application/dicom", "*"),))
    assert str(got.SOPInstanceUID) == INSTANCE and got.PixelData == first.PixelData


def store_by_client():
    other = pydicom.dcmread(FILES[0])
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    said = client.store_instances([other])
    assert said.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == other.SOPInstanceUID


def retrieve_all():
    types = (("application/dicom", "*"),)
    of_study, of_series = client.retrieve_study(STUDY, media_types=types), client.retrieve_series(STUDY, SERIES, media_types=types)
    assert len(of_study) == len(OF_STUDY) and len(of_series) == len(OF_SERIES)
    assert len(client.retrieve_study_metadata(STUDY)) == len(OF_STUDY)
    assert len(client.retrieve_series_metadata(STUDY, SERIES)) == len(OF_SERIES)


def frames_by_client():
    got = client.retrieve_instance_frames(STUDY, SERIES, INSTANCE, [1], media_types=(("application/octet-stream", "*"),))
    assert got[0] == first.PixelData[:len(got[0])]


def bulkdata_by_client():
    url = f"{URL}/v1/{STORE}/dicomWeb/{ONE}/bulkdata/7FE00010"
    assert client.retrieve_bulkdata(url, media_types=("application/octet-stream",))[0] == first.PixelData


def delete_by_client():
    other = pydicom.dcmread(FILES[0])
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    client.store_instances([other], study_instance_uid=STUDY)
    client.delete_instance(STUDY, SERIES, str(other.SOPInstanceUID))
    found = client.search_for_instances(search_filters={"SOPInstanceUID": str(other.SOPInstanceUID)})
    assert not found, found


check("dicomweb-client: retrieve", retrieve)
check("dicomweb-client: study and series", retrieve_all)
check("dicomweb-client: frames", frames_by_client)
check("dicomweb-client: bulkdata", bulkdata_by_client)
check("dicomweb-client: store", store_by_client)
check("dicomweb-client: delete", delete_by_client)
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
