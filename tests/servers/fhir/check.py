"""Holds what a run says against what a FHIR server gives back: each record there once, equal to its source by the text of its numbers, and
each reference leading to the resource that it meant. What is not there, the outcomes have to say. Shares no code with Stoker.

    python3 check.py RUN SET URL

RUN is the run's directory, SET the folder that holds the sources (a `file` of the report is found there by its name), URL the server.

The report says which id each record was given. That it says so proves nothing; what proves is that these ids are the server's resources
of the set's types, each named once, and that with them every reference of every source leads where it does in the store.
"""
import collections
import json
import pathlib
import sys
import urllib.request

run, folder, url = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3].rstrip("/")
THERE = {"created", "updated", "unchanged", "matched"}
wrong = collections.Counter()


class Number(str):
    """A number as it is written."""


def parse(text):
    return json.loads(text, parse_float=Number, parse_int=Number)


def sources():
    """Every record of the set by its file's name and its place in the file: its fullUrl, if it is an entry, and its resource."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".ndjson":
            for at, line in enumerate(path.read_text().splitlines()):
                yield (path.name, at), None, parse(line)
        else:
            for at, entry in enumerate(parse(path.read_text())["entry"]):
                yield (path.name, at), entry["fullUrl"], entry["resource"]


def held(kind):
    """Every resource of a type that the server has, by its id."""
    found, page = {}, f"{url}/{kind}?_count=200"
    while page:
        request = urllib.request.Request(page, headers={"Accept": "application/fhir+json", "Cache-Control": "no-cache"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            bundle = parse(answer.read().decode())
        for entry in bundle.get("entry", []):
            if entry["resource"]["resourceType"] == kind:
                found[entry["resource"]["id"]] = entry["resource"]
        page = next((link["url"] for link in bundle.get("link", []) if link["relation"] == "next"), None)
    return found


def content(value, leads, at_top=False):
    """A resource without what a server or `settle: tag` sets, each reference as what `leads` makes of it."""
    if isinstance(value, dict):
        made = {}
        for key, inner in value.items():
            if at_top and key == "id":
                continue
            if at_top and key == "meta":
                inner = {k: v for k, v in inner.items() if k == "profile"}
                if not inner:
                    continue
            made[key] = leads(inner) if key == "reference" and isinstance(inner, str) else content(inner, leads)
        return made
    if isinstance(value, list):
        return [content(inner, leads) for inner in value]
    return ("number", str(value)) if isinstance(value, Number) else value


records = {place: (full_url, resource) for place, full_url, resource in sources()}
said = {}
for line in open(run / "records.ndjson"):
    row = json.loads(line)
    said[pathlib.Path(row["position"]["file"]).name, row["position"]["index"]] = row
wrong["records without an outcome"] += len(records.keys() - said.keys())
wrong["outcomes without a record"] += len(said.keys() - records.keys())

kinds = {resource["resourceType"] for _, resource in records.values()}
store = {kind: held(kind) for kind in sorted(kinds)}

# The id that each record has in the store, in the words of a reference; by each name that a source can call it.
named, by_identifier, given = {}, {}, collections.Counter()
for place, (full_url, resource) in records.items():
    kind, row = resource["resourceType"], said.get(place, {})
    name = f"{kind}/{row['id']}" if row.get("outcome") in THERE and row.get("id") else None
    if row.get("outcome") in THERE and row["interaction"] == "update":
        name = name or f"{kind}/{resource['id']}"
    if row.get("outcome") in THERE and name is None:
        wrong["records that are there, without an id"] += 1
    named[place] = name
    if name:
        given[name] += 1
    named[(place[0], full_url) if full_url else f"{kind}/{resource['id']}"] = name
    for identifier in resource.get("identifier", []) if isinstance(resource.get("identifier"), list) else []:
        by_identifier[f"{kind}?identifier={identifier.get('system', '')}|{identifier.get('value')}"] = name

unknown = collections.Counter(records[place][1]["resourceType"] for place, row in said.items() if row["outcome"] == "unknown")
for kind, resources in store.items():
    names = {f"{kind}/{id}" for id in resources}
    lost = {name for name in given if name.startswith(f"{kind}/")} - names
    wrong[f"{kind}: said to be there, and is not"] += len(lost)
    surplus = len(names - given.keys())
    wrong[f"{kind}: there, and no outcome says so"] += max(0, surplus - unknown[kind])
wrong["ids that were given twice"] += sum(count - 1 for count in given.values())

references = 0
for place, (full_url, resource) in records.items():
    name = named.get(place)
    there = store[resource["resourceType"]].get(name.split("/")[1]) if name else None
    if there is None:
        continue

    def meant(reference):
        global references
        references += 1
        if reference.startswith("#"):
            return reference
        if "?" in reference:
            return by_identifier.get(reference, "nothing")
        return named.get((place[0], reference) if full_url else reference, "nothing")

    if content(resource, meant, True) != content(there, lambda reference: reference.split("/_history/")[0], True):
        wrong[f"{resource['resourceType']}: not what the source holds"] += 1

outcomes = collections.Counter(row["outcome"] for row in said.values())
print(f"   outcomes {dict(sorted(outcomes.items()))}; {sum(map(len, store.values()))} of {len(records)} there, {references} references followed")
for what, count in sorted(wrong.items()):
    if count:
        print(f"   WRONG: {count} × {what}")
sys.exit(any(wrong.values()))
