"""Stores the first instances of a folder with dicomweb-client, so many in a request, and prints how long that took."""

import pathlib
import sys
import time

import pydicom
from dicomweb_client.api import DICOMwebClient

url, folder, count, together = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
files = sorted(pathlib.Path(folder).iterdir())[:count]
client = DICOMwebClient(url=url)
began = time.monotonic()
for at in range(0, len(files), together):
    sets = [pydicom.dcmread(file) for file in files[at : at + together]]
    client.store_instances(sets)
seconds = time.monotonic() - began
print(f"{len(files)} in {seconds:.3f} s, {len(files) / seconds:.0f}/s ({together} in a request)")
