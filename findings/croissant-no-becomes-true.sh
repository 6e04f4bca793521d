#!/usr/bin/env bash
# mlcroissant reads the words "no" and "off" of a column that is declared as sc:Boolean as True.
#
# Versions: mlcroissant 1.1.1, pandas 2.3.3.
# Expected: "no" is False, or the file is refused with an error that names the value.
# Observed: every non-empty text that pandas does not know is True, so yes/no columns are True in each row; there is
#   no warning. true/false and 1/0 are right. One word that is neither of true and false, such as "unknown", makes the
#   whole column a text column, in which "false" is True.
# Matters: a label or filter column has a single value, and a training set is not filtered. Write true and false only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile mlcroissant==1.1.1 numpy==2.4.6 pandas==2.3.3
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import hashlib
import json
import logging
import pathlib

import mlcroissant as mlc

logging.disable(logging.CRITICAL)


def truths(*words):
    """Return the values of a CSV column that is declared as sc:Boolean."""
    path = pathlib.Path("table.csv")
    path.write_text("\n".join(["flag", *words, ""]))
    source = mlc.Source(file_object="table", extract=mlc.Extract(column="flag"))
    field = mlc.Field(id="flag", name="flag", data_types=[mlc.DataType.BOOL], source=source)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = mlc.FileObject(
        id="table", name="table", content_url="table.csv", encoding_formats=["text/csv"], sha256=digest
    )
    metadata = mlc.Metadata(
        name="table",
        description="table",
        license=["MIT"],
        url="https://example.org",
        version="1.0.0",
        distribution=[file],
        record_sets=[mlc.RecordSet(id="rows", name="rows", fields=[field])],
    )
    pathlib.Path("metadata.json").write_text(json.dumps(metadata.to_json(), default=str))
    return [record["flag"] for record in mlc.Dataset("metadata.json").records("rows")]


results = {}
for words in (("true", "false"), ("1", "0"), ("yes", "no"), ("on", "off"), ("true", "false", "unknown")):
    results[words] = truths(*words)
    print(words, "->", results[words])
assert results["true", "false"] == [True, False], results
assert results["1", "0"] == [True, False], results
assert results["yes", "no"] == [True, True], results
assert results["on", "off"] == [True, True], results
assert results["true", "false", "unknown"] == [True, True, True], results
PYTHON
