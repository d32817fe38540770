"""The Python peers of peers.sh, eight requests at a time, and what a store holds afterwards.

    python3 peers.py fhirpy|fhirclient URL FOLDER      loads the Bundles, or the NDJSON by update
    python3 peers.py held URL FOLDER                   compares with the NDJSON
"""
import asyncio
import collections
import concurrent.futures
import json
import pathlib
import sys
import urllib.request

tool, url, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])


def waves():
    """What must have arrived before the next is sent, in the order that a person gives."""
    files = sorted(folder.iterdir())
    if files[0].suffix == ".json":
        bundles = [json.loads(path.read_text()) for path in files]
        return [bundles[:1], bundles[1:2], bundles[2:]]
    lines = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    order = ["Organization", "Practitioner", "Location", "PractitionerRole", "Patient"]
    return [[one for one in lines if one["resourceType"] == kind] for kind in order] + [
        [one for one in lines if one["resourceType"] not in order]
    ]


async def fhirpy():
    from fhirpy import AsyncFHIRClient

    client, slots = AsyncFHIRClient(url), asyncio.Semaphore(8)

    async def send(resource):
        async with slots:
            if resource["resourceType"] == "Bundle":
                await client.execute("", method="post", data=resource)
            else:
                await client.resource(**resource).save()

    for wave in waves():
        await asyncio.gather(*map(send, wave))


def fhirclient():
    from fhirclient import client
    from fhirclient.models.bundle import Bundle

    server = client.FHIRClient(settings={"app_id": "peer", "api_base": url}).server
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for wave in waves():
            list(threads.map(lambda one: server.post_json("", Bundle(one, strict=False).as_json()), wave))


class Number(str):
    pass


def parse(text):
    return json.loads(text, parse_float=Number)


def walk(value, numbers, references):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "reference" and isinstance(inner, str):
                references.append(inner)
            else:
                walk(inner, numbers, references)
    elif isinstance(value, list):
        for inner in value:
            walk(inner, numbers, references)
    elif isinstance(value, Number):
        numbers[str(value)] += 1


def held():
    source = [parse(line) for path in folder.iterdir() for line in path.read_text().splitlines()]
    store = []
    for kind in sorted({one["resourceType"] for one in source}):
        page = f"{url}/{kind}?_count=500"
        while page:
            with urllib.request.urlopen(page, timeout=120) as answer:
                bundle = parse(answer.read().decode())
            store += [entry["resource"] for entry in bundle.get("entry", []) if entry["resource"]["resourceType"] == kind]
            page = next((link["url"] for link in bundle.get("link", []) if link["relation"] == "next"), None)
    meant, numbers, references = collections.Counter(), collections.Counter(), []
    walk(source, meant, [])
    walk(store, numbers, references)
    names = {f"{one['resourceType']}/{one['id']}" for one in store}
    dangling = sum(1 for one in references if one[0] != "#" and one.split("/_history/")[0] not in names)
    altered = sum((meant - numbers).values())
    right = len(names) == len(source) and not dangling and not altered
    print("right" if right else f"WRONG: {len(names)} of {len(source)} there, {dangling} dangling, {altered} decimals gone")


if tool == "fhirpy":
    asyncio.run(fhirpy())
elif tool == "fhirclient":
    fhirclient()
else:
    held()
