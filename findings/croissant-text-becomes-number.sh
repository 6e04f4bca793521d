#!/usr/bin/env bash
# mlcroissant changes texts of columns that are declared as text: "007" becomes "7", "1.10" becomes "1.1", "NA" None.
#
# Versions: mlcroissant 1.1.1; pandas 2.3.3 and 3.1.1.
# Expected: the metadata declares the column as sc:Text, so records() yields the characters of the file; in JSON lines
#   the quoted string "007" is a text without any declaration.
# Observed: pandas infers numbers, truth values and gaps before the declared type is applied, and the result is turned
#   into text again. Codes lose leading zeros (CSV and JSON lines), "true" becomes "True", the words NA and null become
#   None (CSV).
# Matters: labels and keys no longer match the file or other tables. Use Parquet, or codes with a letter in each row.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cd "$folder"
cat > observe.py <<'PYTHON'
import hashlib
import json
import logging
import pathlib

import mlcroissant as mlc
import pandas

logging.disable(logging.CRITICAL)


def texts(name, encoding, text, columns):
    """Return the records of a file whose columns are all declared as text."""
    path = pathlib.Path(name)
    path.write_text(text)
    fields = []
    for column in columns:
        source = mlc.Source(file_object=name, extract=mlc.Extract(column=column))
        fields.append(mlc.Field(id=column, name=column, data_types=[mlc.DataType.TEXT], source=source))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = mlc.FileObject(id=name, name=name, content_url=name, encoding_formats=[encoding], sha256=digest)
    metadata = mlc.Metadata(
        name="table",
        description="table",
        license=["MIT"],
        url="https://example.org",
        version="1.0.0",
        distribution=[file],
        record_sets=[mlc.RecordSet(id="rows", name="rows", fields=fields)],
    )
    pathlib.Path("metadata.json").write_text(json.dumps(metadata.to_json(), default=str))
    return [tuple(record.values()) for record in mlc.Dataset("metadata.json").records("rows")]


rows = texts("table.csv", "text/csv", "code,price,flag,word\n007,1.10,true,NA\n0100,2.00,false,null\n",
             ["code", "price", "flag", "word"])
lines = texts("table.jsonl", "application/jsonlines", '{"code": "007"}\n{"code": "0100"}\n', ["code"])
print("pandas", pandas.__version__)
print("CSV:       ", rows)
print("JSON lines:", lines)
assert rows == [(b"7", b"1.1", b"True", None), (b"100", b"2.0", b"False", None)], rows
assert lines == [(b"7",), (b"100",)], lines
PYTHON
for version in 2.3.3 3.1.1; do
  "$folder/venv/bin/pip" install --quiet --no-compile mlcroissant==1.1.1 numpy==2.4.6 pandas==$version
  "$folder/venv/bin/python" -W ignore observe.py
done
