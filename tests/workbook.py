"""Opens the workbook, the CSV and the Parquet files of a run as people and engines do.

    workbook.py FOLDER...

A FOLDER holds report.json, containers.csv, changes.csv (where there are changes), workbook.xlsx,
containers.parquet and images.parquet, all of one run. openpyxl and LibreOffice open the workbook and
LibreOffice the CSV too, pyarrow and DuckDB the Parquet files; each cell is compared with what the JSON
report says. Prints a JSON list: for each folder a list of what is wrong.
"""

import csv
import json
import subprocess
import sys
import tempfile
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time, timezone
from pathlib import Path

import duckdb
import openpyxl
import pyarrow
import pyarrow.parquet

# Each check tells only so many problems.
SHOWN = 5
TEXT, INTEGER, BOOLEAN, DATE, TIME = "text", "integer", "boolean", "date", "time"
MAX_CELL_BYTES = 4096
SHEETS = ["Summary", "Containers", "Images", "Changes", "Not inspected"]

OF_RUN = {"run_id": TEXT, "snapshot_time": TIME, "cluster_name": TEXT}
# Columns that have the name of their field, and those that have another one.
SAME = {"registry": TEXT, "repository": TEXT, "digest": TEXT, "manifest_digest": TEXT, "platform": TEXT}
SAME |= {"os": TEXT, "architecture": TEXT, "os_version": TEXT, "distro_release": TEXT}
SAME |= {"distro_source": TEXT, "eol_status": TEXT, "eol_date": DATE, "eol_extended_date": DATE}
SAME |= {"base_image": TEXT, "base_image_source": TEXT, "inspection_status": TEXT, "error_kind": TEXT}
SAME |= {"error_message": TEXT, "inspected_via": TEXT, "inspected_at": TIME}
DISTRIBUTION = {"distro_id": "id", "distro_version": "version", "distro_name": "name"}
RENAMED = {"image_created": "created", "image_size_bytes": "size_bytes", "image_user": "user"}
OF_IMAGE = SAME | dict.fromkeys(DISTRIBUTION, TEXT)
OF_IMAGE |= {"image_created": TIME, "image_size_bytes": INTEGER, "image_user": TEXT}
OF_CONTAINER = dict.fromkeys(
    "namespace workload_kind workload_name pod pod_phase node container container_type owner image tag "
    "digest_source image_id platform_source".split(),
    TEXT,
)
ONLY_OF_IMAGES = {"tag": TEXT, "config_digest": TEXT, "variant": TEXT, "distribution_layer": TEXT}
ONLY_OF_IMAGES |= {"distribution_certain": BOOLEAN, "waiting_since": TIME, "last_seen": TIME}
CONTAINER_TYPES = OF_RUN | OF_CONTAINER | OF_IMAGE
IMAGE_TYPES = OF_RUN | OF_IMAGE | ONLY_OF_IMAGES | {"containers": INTEGER}

ARROW = {
    TEXT: pyarrow.string(),
    INTEGER: pyarrow.int64(),
    BOOLEAN: pyarrow.bool_(),
    DATE: pyarrow.date32(),
    TIME: pyarrow.timestamp("us", tz="UTC"),
}
DUCKDB = {TEXT: "VARCHAR", INTEGER: "BIGINT", BOOLEAN: "BOOLEAN", DATE: "DATE"}
DUCKDB |= {TIME: "TIMESTAMP WITH TIME ZONE"}
NUMBER_FORMATS = {TEXT: "@", INTEGER: "#,##0", DATE: "yyyy-mm-dd", TIME: "yyyy-mm-dd hh:mm:ss"}
SORTED_BY = "namespace workload_kind workload_name container_type container pod".split()


def typed(value, kind):
    """A value of JSON as an engine knows it."""
    if value is None or kind in (TEXT, INTEGER, BOOLEAN):
        return value
    if kind == DATE:
        return date.fromisoformat(value)
    return datetime.fromisoformat(value)


def image_values(report, image):
    values = {name: report[name] for name in OF_RUN}
    values |= {name: image[name] for name in SAME}
    values |= {name: image[field] for name, field in RENAMED.items()}
    known = image["distribution"] or {}
    return values | {name: known.get(field) for name, field in DISTRIBUTION.items()}


def container_rows(report):
    for container in report["containers"]:
        values = image_values(report, report["images"][container["image_index"]])
        values |= {name: container[name] for name in OF_CONTAINER}
        yield {name: typed(value, CONTAINER_TYPES[name]) for name, value in values.items()}


def image_rows(report):
    counts = [0] * len(report["images"])
    for container in report["containers"]:
        counts[container["image_index"]] += 1
    for image, count in zip(report["images"], counts):
        values = image_values(report, image) | {name: image[name] for name in ONLY_OF_IMAGES}
        values |= {"containers": count}
        yield {name: typed(value, IMAGE_TYPES[name]) for name, value in values.items()}


def is_replaced(character):
    bidi = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return unicodedata.category(character) == "Cc" or character in bidi + "\u2028\u2029\ufffe\uffff"


def plain(text):
    """What a person is shown of a text."""
    mark = ""
    if len(text.encode()) > MAX_CELL_BYTES:
        mark = "…"
        text = text.encode()[: MAX_CELL_BYTES - len(mark.encode())].decode(errors="ignore")
    return "".join("\ufffd" if is_replaced(c) else c for c in text) + mark


def is_guarded(text):
    return plain(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def cell(value):
    """A value as openpyxl should read it."""
    if isinstance(value, str):
        return plain(value) or None
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, date):
        return datetime.combine(value, time())
    return value


def shown(value):
    """A value as a sheet shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return plain(value) if isinstance(value, str) else str(value)


def changes_of(folder):
    """The rows of changes.csv, with the guard taken off."""
    path = folder / "changes.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{name: unguarded(text) for name, text in row.items()} for row in rows]


def unguarded(text):
    return text[1:] if text.startswith("'") and is_guarded(text[1:]) else text


def compared(who, expected, found):
    """What differs between two lists of rows."""
    if len(expected) != len(found):
        yield f"{who}: {len(found)} rows instead of {len(expected)}"
    for number, (left, right) in enumerate(zip(expected, found)):
        if list(left) != list(right):
            yield f"{who}: the columns are {list(right)}"
            return
        for name, value in left.items():
            if value != right[name] or type(value) is not type(right[name]):
                yield f"{who}: {name} of row {number}: {right[name]!r} instead of {value!r}"


def in_order(rows, columns):
    return [{name: row[name] for name in columns} for row in rows]


def read_workbook(folder, containers, images, changes):
    book = openpyxl.load_workbook(folder / "workbook.xlsx")
    if book.sheetnames != SHEETS:
        yield f"openpyxl: the sheets are {book.sheetnames}"
        return
    for sheet in book:
        for row in sheet.iter_rows():
            for one in row:
                if one.data_type == "f" or one.hyperlink:
                    yield f"openpyxl: {sheet.title} {one.coordinate} is a formula or a link"
        if not sheet.freeze_panes:
            yield f"openpyxl: {sheet.title} has no frozen head"
        if not sheet.tables:
            yield f"openpyxl: {sheet.title} has no table"
        for table in sheet.tables.values():
            if not table.autoFilter or table.autoFilter.ref != table.ref:
                yield f"openpyxl: the table {table.name} has no filter of its own size"
    for title, rows, kinds in [
        ("Containers", containers, CONTAINER_TYPES),
        ("Images", [row for row in images if row["containers"]], IMAGE_TYPES),
        ("Changes", changes, {}),
    ]:
        sheet = book[title]
        head, *lines = sheet.iter_rows()
        columns = [one.value for one in head]
        found = [dict(zip(columns, [one.value for one in line])) for line in lines]
        if not rows:
            if title == "Changes" and not sheet["D2"].value:
                yield "openpyxl: Changes does not say why it has no rows"
            continue
        expected = [{name: cell(row[name]) for name in columns} for row in rows]
        yield from compared(f"openpyxl: {title}", expected, found)
        (table,) = sheet.tables.values()
        if table.ref != sheet.dimensions:
            yield f"openpyxl: the table of {title} spans {table.ref}, its cells {sheet.dimensions}"
        for line in lines[:SHOWN]:
            for name, one in zip(columns, line):
                wanted = NUMBER_FORMATS.get(kinds.get(name, TEXT))
                if one.value is not None and wanted and one.number_format != wanted:
                    yield f"openpyxl: {title} {one.coordinate} looks like {one.number_format}"
    rules = [
        rule.formula
        for ranged in book["Containers"].conditional_formatting
        for rule in ranged.rules
    ]
    if ['"eol"'] not in rules:
        yield f"openpyxl: the end of life is not coloured: {rules}"
    yield from read_summary(book, containers)
    missing = [
        row for row in images
        if row["containers"] and row["inspection_status"] != "ok" and row["error_kind"] != "not_running"
    ]
    lines = [line for line in book["Not inspected"].iter_rows(min_row=2, values_only=True)]
    told = sorted(str(line[5:7] + (line[8],)) for line in lines if line[8])
    due = [(cell(row["tag"]), cell(row["digest"]), row["containers"]) for row in missing]
    if told != sorted(map(str, due)):
        yield f"openpyxl: not inspected are {told} instead of {due}"


def read_summary(book, containers):
    """The tables of the first sheet count the containers of pods that are not over."""
    sheet = book["Summary"]
    running = [row for row in containers if row["pod_phase"] not in ("Succeeded", "Failed")]
    names = ["Support", "Namespaces", "Distributions", "NamespaceDistributions"]
    if list(sheet.tables) != names:
        yield f"openpyxl: the tables of the summary are {list(sheet.tables)}"
        return
    tables = {}
    for name in names:
        head, *lines = sheet[sheet.tables[name].ref]
        columns = [one.value for one in head]
        tables[name] = [dict(zip(columns, [one.value for one in line])) for line in lines]
        total = sum(row["containers"] or 0 for row in tables[name])
        if total != len(running):
            yield f"openpyxl: {name} counts {total} containers instead of {len(running)}"
    for row in tables["NamespaceDistributions"]:
        if row["eol_date"] is None:
            continue
        alike = [
            one for one in running
            if cell(one["namespace"]) == row["namespace"]
            and all(cell(one[name]) == row[name] for name in ("distro_id", "distro_version", "eol_date"))
        ]
        counts = {"containers": len(alike), "images": len({one["manifest_digest"] for one in alike})}
        counts["workloads"] = len({(one["workload_kind"], one["workload_name"]) for one in alike})
        for name, count in counts.items():
            if row["distro_id"] != "windows" and row[name] != count:
                yield f"openpyxl: {row} should count {count} {name}"


def office(folder, source, target, *more):
    """Lets LibreOffice convert a file, with a profile of its own."""
    profile = (folder / "profile").as_uri()
    subprocess.run(
        ["soffice", f"-env:UserInstallation={profile}", "--headless", *more]
        + ["--convert-to", target, "--outdir", folder, source],
        check=True,
        capture_output=True,
        timeout=300,
    )


# Comma, quotes, UTF-8; cells as they are shown; a file for each sheet.
ALL_SHEETS = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1"
ONE_SHEET = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true"


def lines_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def read_with_office(folder, containers, images, changes):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        office(scratch, folder / "workbook.xlsx", ALL_SHEETS)
        used = [row for row in images if row["containers"]]
        for title, rows in [("Containers", containers), ("Images", used), ("Changes", changes)]:
            head, *lines = lines_of(scratch / f"workbook-{title}.csv")
            if rows:
                expected = [{name: shown(row[name]) for name in head} for row in rows]
                found = [dict(zip(head, line)) for line in lines]
                for row in found:
                    # Its locale decides whether thousands are grouped.
                    for name in ("image_size_bytes", "containers"):
                        row |= {name: row[name].replace(",", "")} if name in row else {}
                yield from compared(f"LibreOffice: {title}", expected, found)

        # A CSV that is opened without a thought: what looks like a number may become one, but no
        # cell becomes a formula, and no row is lost.
        office(scratch, folder / "containers.csv", "xlsx", "--infilter=CSV:44,34,76,1")
        sheet = openpyxl.load_workbook(scratch / "containers.xlsx").active
        if sheet.max_row != len(containers) + 1:
            yield f"LibreOffice: {sheet.max_row} lines of the CSV instead of {len(containers) + 1}"
        for row in sheet.iter_rows():
            for one in row:
                if one.data_type == "f":
                    yield f"LibreOffice: {one.coordinate} of the CSV is a formula: {one.value}"
        # And as the documentation says: all columns are text.
        columns = lines_of(folder / "containers.csv")[0]
        texts = "/".join(f"{number}/2" for number in range(1, len(columns) + 1))
        office(scratch, folder / "containers.csv", ONE_SHEET, f"--infilter=CSV:44,34,76,1,{texts}")
        if lines_of(scratch / "containers.csv") != lines_of(folder / "containers.csv"):
            yield "LibreOffice: the CSV, opened as text, has other cells"


def read_csv(folder, containers):
    """The CSV is what the workbook is, but for the guard before what would be a formula."""
    head, *lines = lines_of(folder / "containers.csv")
    found = [dict(zip(head, map(unguarded, line))) for line in lines]
    expected = []
    for row in containers:
        texts = {}
        for name in head:
            value = row[name]
            if isinstance(value, datetime):
                value = f"{value:%Y-%m-%dT%H:%M:%SZ}"
            texts[name] = plain("" if value is None else str(value))
        expected.append(texts)
    yield from compared("csv", expected, found)
    if any(text.startswith(("=", "+", "-", "@", "\t", "\r")) for line in lines for text in line):
        yield "csv: a cell is a formula"


def read_parquet(folder, containers, images):
    for name, rows, kinds in [
        ("containers", containers, CONTAINER_TYPES),
        ("images", images, IMAGE_TYPES),
    ]:
        path = folder / f"{name}.parquet"
        file = pyarrow.parquet.ParquetFile(path)
        columns = file.schema_arrow.names
        if set(columns) != set(kinds):
            yield f"pyarrow: the columns of {name} are {columns}"
            continue
        if name == "containers" and columns != lines_of(folder / "containers.csv")[0]:
            yield f"pyarrow: the columns are not in the order of the CSV: {columns}"
        for field in file.schema_arrow:
            if field.type != ARROW[kinds[field.name]]:
                yield f"pyarrow: {name}: {field.name} is {field.type}"
        expected = in_order(rows, columns)
        yield from compared(f"pyarrow: {name}", expected, file.read().to_pylist())
        yield from read_groups(name, file, kinds)

        duck = duckdb.connect()
        duck.sql("SET TimeZone = 'UTC'")
        table = duck.read_parquet(str(path))
        for column, kind in zip(table.columns, table.types):
            if str(kind) != DUCKDB[kinds[column]]:
                yield f"duckdb: {name}: {column} is {kind}"
        found = table.to_arrow_table().to_pylist()
        yield from compared(f"duckdb: {name}", expected, found)


def read_groups(name, file, kinds):
    for place in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(place)
        rows = file.read_row_group(place).to_pylist()
        if name == "containers":
            places = [file.schema_arrow.names.index(column) for column in SORTED_BY]
            if [column.column_index for column in group.sorting_columns] != places:
                yield f"pyarrow: sorted by {group.sorting_columns}"
        for number in range(group.num_columns):
            column = group.column(number)
            path = column.path_in_schema
            values = [row[path] for row in rows if row[path] is not None]
            if column.compression != "ZSTD":
                yield f"pyarrow: {name}: {path} is compressed by {column.compression}"
            if kinds[path] == TEXT and "RLE_DICTIONARY" not in column.encodings:
                yield f"pyarrow: {name}: {path} has no dictionary"
            known = column.statistics
            if known is None or known.null_count != len(rows) - len(values):
                yield f"pyarrow: {name}: {path} has no statistics, or wrong ones"
            elif values and kinds[path] in (INTEGER, DATE, TIME):
                if (known.min, known.max) != (min(values), max(values)):
                    yield f"pyarrow: {name}: {path} is said to be {known.min} to {known.max}"
            elif values and not known.has_min_max:
                yield f"pyarrow: {name}: {path} has no least and greatest value"
    if name == "containers":
        keys = [
            tuple((row[column] or "").encode() for column in SORTED_BY)
            for row in file.read(columns=SORTED_BY).to_pylist()
        ]
        if keys != sorted(keys):
            yield "pyarrow: the rows are not sorted"


def read_folder(folder):
    report = json.loads((folder / "report.json").read_bytes())
    containers, images = list(container_rows(report)), list(image_rows(report))
    changes = changes_of(folder)
    problems = []
    for found in [
        read_csv(folder, containers),
        read_workbook(folder, containers, images, changes),
        read_with_office(folder, containers, images, changes),
        read_parquet(folder, containers, images),
    ]:
        problems += [problem for problem, _ in zip(found, range(SHOWN))]
    return problems


if __name__ == "__main__":
    # Most of the time goes into starting LibreOffice.
    with ThreadPoolExecutor(2) as pool:
        json.dump(list(pool.map(read_folder, map(Path, sys.argv[1:]))), sys.stdout)
