"""Reads the files of runs as a data person would, and says what is wrong with each of them.

    readers.py SCHEMAS FOLDER...

A FOLDER holds a store or a download of one, and in diff-csv/ tables of changes. Documents are checked
with jsonschema, the CSV files with frictionless; pandas reads these with the types that their Table
Schema gives. Prints a JSON list: for each folder an object of its files and the list of what is wrong
with them.
"""

import csv
import json
import sys
from datetime import datetime
from itertools import islice
from pathlib import Path

import frictionless
import pandas
from frictionless import formats
from jsonschema import Draft202012Validator, FormatChecker

TIME = "%Y-%m-%dT%H:%M:%SZ"
# Each reader tells only so many problems of a file.
SHOWN = 5

# jsonschema leaves out a format that it does not know, date-time among them without another package.
FORMATS = FormatChecker(formats=["date"])


@FORMATS.checks("date-time", raises=ValueError)
def is_time(value):
    # strptime alone takes one digit where two are due.
    return not isinstance(value, str) or datetime.strptime(value, TIME).strftime(TIME) == value


for name, bits in (("uint", 64), ("uint32", 32), ("uint64", 64)):
    FORMATS.checks(name)(lambda value, bits=bits: not isinstance(value, int) or 0 <= value < 2**bits)


def formats_of(schema):
    """All formats that a schema names."""
    if isinstance(schema, dict):
        if isinstance(schema.get("format"), str):
            yield schema["format"]
        schema = list(schema.values())
    for part in schema if isinstance(schema, list) else []:
        yield from formats_of(part)


def unique_fields(pairs):
    """An object, unless a reader would have to guess which of two equal fields is meant."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field occurs twice")
    return fields


def read_document(path, schema):
    Draft202012Validator.check_schema(schema)
    for name in set(formats_of(schema)) - set(FORMATS.checkers):
        yield f"jsonschema: nobody checks the format {name}"
    try:
        document = json.loads(path.read_bytes(), object_pairs_hook=unique_fields)
    except ValueError as error:
        yield f"json: {error}"
        return
    validator = Draft202012Validator(schema, format_checker=FORMATS)
    for error in islice(validator.iter_errors(document), SHOWN):
        yield f"jsonschema: {error.json_path}: {error.message[:200]}"


def read_table(path, schema):
    yield from islice(read_with_frictionless(path, schema), SHOWN)
    yield from islice(read_with_pandas(path, schema), SHOWN)


def read_with_frictionless(path, schema):
    # The format is RFC 4180, not what a sample looks like.
    control = formats.CsvControl(delimiter=",", quote_char='"', skip_initial_space=False)
    resource = frictionless.Resource(
        path=path.name,
        basepath=str(path.parent),
        encoding="utf-8",
        dialect=frictionless.Dialect(controls=[control]),
        schema=frictionless.Schema.from_descriptor(schema),
    )
    report = resource.validate()
    for number, field, kind, note in report.flatten(["rowNumber", "fieldName", "type", "note"]):
        yield f"frictionless: row {number}, {field}: {kind} {note}"


def read_with_pandas(path, schema):
    fields = {field["name"]: field for field in schema["fields"]}
    types = {"string": "string", "integer": "Int64"}
    times = {
        name: field.get("format", "%Y-%m-%d")
        for name, field in fields.items()
        if field["type"] in ("date", "datetime")
    }
    plain = {name: types[field["type"]] for name, field in fields.items() if name not in times}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        frame = pandas.read_csv(
            path,
            dtype=plain,
            parse_dates=list(times),
            date_format=times,
            keep_default_na=False,
            na_values=schema["missingValues"],
        )
    except (TypeError, ValueError) as error:
        yield f"pandas: {error}"
        return
    if list(frame.columns) != list(fields):
        yield f"pandas: the columns are {list(frame.columns)}"
        return
    if len(frame) != len(rows):
        yield f"pandas: {len(frame)} rows instead of {len(rows)}"
        return
    for name, column in frame.items():
        cells = [row[name] for row in rows]
        missing = [cell in schema["missingValues"] for cell in cells]
        if column.isna().tolist() != missing:
            yield f"pandas: {name}: a cell is missing that is not empty, or the other way round"
        if name in times:
            # A column with a cell that is no time becomes text.
            if column.dtype.kind != "M" or getattr(column.dtype, "tz", None) is not None:
                yield f"pandas: {name}: {column.dtype} instead of a time"
                continue
            read = column.dt.strftime(times[name])
        else:
            if str(column.dtype) != plain[name]:
                yield f"pandas: {name}: {column.dtype} instead of {plain[name]}"
            read = column.astype("string")
        if read.fillna("").tolist() != cells:
            yield f"pandas: {name}: a value is not what its cell says"


KINDS = {
    "csv": ("containers.tableschema.json", read_table),
    "workloads": ("workloads.tableschema.json", read_table),
    "json": ("report.schema.json", read_document),
    "diff": ("diff.schema.json", read_document),
    "diff-csv": ("diff.tableschema.json", read_table),
    "manifest": ("manifest.schema.json", read_document),
}


def read_file(path, kind, schemas):
    if kind not in KINDS:
        return [f"there is no schema for {kind}/"]
    name, read = KINDS[kind]
    schema = json.loads((schemas / name).read_bytes())
    return list(read(path, schema))


def read_folder(folder, schemas):
    files = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and relative.parts[0] != "latest":
            files[relative.as_posix()] = read_file(path, relative.parts[0], schemas)
    return files


if __name__ == "__main__":
    schemas, *folders = map(Path, sys.argv[1:])
    json.dump([read_folder(folder, schemas) for folder in folders], sys.stdout)
