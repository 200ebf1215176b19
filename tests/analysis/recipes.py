"""Runs recipes, blocks of a document, as they stand, and prints the answers.

Reads a JSON list of sessions: an engine ("duckdb", "spark", "hive", "pandas" or "pyarrow"), variables, and
recipes, each a name and a text; a session's recipes share what they make. Prints a list with an object for
each session: the answer of each recipe, by its name, as columns, their kinds and rows, null where it has none; and
under "pruned", what the engine read for it, where the session asks for one recipe's ("prove").
"""

import ast
import datetime
import json
import os
import re
import sys
import time
import warnings

import pyarrow as pa

warnings.simplefilter("ignore")


def kind(type_):
    """What a column holds, in the words of the reports' table schemas."""
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return "string"
    if pa.types.is_integer(type_):
        return "integer"
    # pandas has no dates: they are times of no zone there.
    if pa.types.is_date(type_) or pa.types.is_timestamp(type_) and type_.tz is None:
        return "date"
    return "datetime" if pa.types.is_timestamp(type_) and type_.tz == "UTC" else str(type_)


def cell(value):
    """A value as JSON has it; dates and times as the reports write them."""
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ" if value.tzinfo else "%Y-%m-%d")
    return value.isoformat() if isinstance(value, datetime.date) else value


def answer(table):
    """Of any engine, as Arrow has it."""
    columns = [[cell(value) for value in column.to_pylist()] for column in table.columns]
    kinds = [kind(field.type) for field in table.schema]
    return {"columns": table.column_names, "kinds": kinds, "rows": list(zip(*columns))}


def statements(text):
    return [part for part in re.split(r";\s*(?:\n|$)", text) if part.strip()]


class DuckDb:
    def __init__(self, variables):
        import duckdb

        self.connection = duckdb.connect()
        # Nothing is fetched, whatever a recipe says.
        self.connection.execute("SET autoinstall_known_extensions = false")
        self.connection.execute("SET TimeZone = 'UTC'")
        for name, value in variables.items():
            self.connection.execute(f"SET VARIABLE {name} = $value", {"value": value})

    def run(self, text):
        result = self.connection.execute(text)
        return answer(result.to_arrow_table()) if text.lstrip().startswith("SELECT") else None


class Spark:
    """A session of the server that SPARK_REMOTE names."""

    def __init__(self, variables):
        from pyspark.sql import SparkSession

        self.session = SparkSession.builder.create()
        for name, value in variables.items():
            self.session.sql(f"SET {name} = {value}")

    def frame(self, text):
        for statement in statements(text):
            frame = self.session.sql(statement)
        return frame

    def run(self, text):
        frame = self.frame(text)
        return answer(frame.toArrow()) if frame.columns else None

    def prove(self, text):
        """The filters of the scans that the plan has, and how many files each of them read."""
        frame = self.frame(text)
        frame.collect()
        plan = frame._explain_string("formatted")
        scans = []
        for location, filters in re.findall(r"Location: \w+ \[(.*?)\]\nPartitionFilters: \[(.*?)\]\n", plan):
            scans.append({"location": location, "filters": filters})
        metrics = frame.executionInfo.metrics
        read = [
            metric.value
            for part in metrics._metrics
            for metric in part.metrics
            if metric.name == "numFiles"
        ]
        return {"scans": scans, "files_read": sorted(read)}


class Python:
    def __init__(self, variables):
        self.names = dict(variables)

    def run(self, text):
        """As a notebook does: what the last line is worth is the answer."""
        tree = ast.parse(text)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "recipe", "exec"), self.names)
        if last is None:
            return None
        value = eval(compile(ast.Expression(last.value), "recipe", "eval"), self.names)
        return answer(value if isinstance(value, pa.Table) else pa.Table.from_pandas(value, preserve_index=False))

    def prove(self, _text):
        """The files that the filter of the last recipe leaves."""
        files, wanted = self.names["files"], self.names["wanted"]
        return {"files": sorted(part.path for part in files.get_fragments(wanted)), "of": len(files.files)}


ENGINES = {"duckdb": DuckDb, "spark": Spark, "hive": Spark, "pandas": Python, "pyarrow": Python}


def run(session):
    start = time.monotonic()
    engine = ENGINES[session["engine"]](session["variables"])
    answers = {}
    for recipe in session["recipes"]:
        try:
            answers[recipe["name"]] = engine.run(recipe["text"])
            if recipe["name"] == session.get("prove"):
                answers["pruned"] = engine.prove(recipe["text"])
        except Exception as error:
            sys.exit(f"{session['engine']} {recipe['name']}: {type(error).__name__}: {str(error)[:2000]}")
    print(f"{session['engine']}: {time.monotonic() - start:.1f} s", file=sys.stderr)
    return answers


if __name__ == "__main__":
    json.dump([run(session) for session in json.load(sys.stdin)], sys.stdout)
