"""Metadata of ``measurements/tables``: decisions of the spaces, MLCommons Croissant 1.0, and checksums.

``python -m measurements.table_metadata`` writes ``spaces.json``, ``croissant.json`` and ``SHA256SUMS``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.bench.table import read_table
from harness.bench.table_problem import TableProblem
from harness.system import files
from harness.system.errors import ContentError

TABLES = Path(__file__).parent / "tables"
# Type and meaning of each column of a table.
_COLUMNS = {
    "architecture": ("sc:Text", "Network in the notation of harness."),
    "hash": ("sc:Text", "Hash of the network."),
    "parameters": ("sc:Integer", "Learned numbers of the network."),
    "macs": ("sc:Integer", "Multiply-adds for an image."),
    "seed": ("sc:Integer", "Index of a fixed seed."),
    "rung": ("sc:Integer", "Epochs trained so far; the learning-rate schedule is that of the whole run."),
    "validation_accuracy_pct": ("sc:Float", "Validation accuracy in per cent after these epochs."),
    "seconds": ("sc:Float", "Training seconds since the start of the run, without validation."),
    "status": ("sc:Text", "complete or diverged; equal for all rows of a run."),
    "machine": ("sc:Integer", "Index of the machine in table.json."),
}
# Standard context of Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html).
_TERMS = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format",
    "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
    "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
} | {term: f"cr:{term}" for term in _TERMS}


def spaces() -> str:
    """Return target, decisions and networks of each table of a whole space as JSON, a line per table."""
    lines = []
    for folder in _folders():
        try:
            problem = TableProblem(read_table(folder))
        except ContentError:
            continue  # a sample of a space
        decisions = {
            name: {"options": list(each.texts), "ordered": each.ordered} for name, each in problem.options.items()
        }
        networks = {key: [config.get(name) for name in decisions] for key, config in problem.configurations.items()}
        document = {"target_pct": problem.target_pct, "decisions": decisions, "networks": networks}
        lines.append(f'"{folder.name}": {json.dumps(document, ensure_ascii=False)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def croissant(sums: Mapping[str, str]) -> dict[str, Any]:
    """Return the Croissant metadata of the collection; ``sums`` has the SHA-256 of each file."""
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": "small-network-tables",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "description": "Recorded trainings of small convolutional networks with repeated seeds, validated at several "
        "epochs: tables on which methods of architecture search are compared in seconds. The test sets are not read.",
        "license": "https://spdx.org/licenses/MIT.html",
        "version": "1.0.0",
        "datePublished": "2026-11-28",
        "creator": {"@type": "sc:Organization", "name": "the harness maintainers"},
        "citeAs": "the harness maintainers: harness, tables of recorded trainings of small networks, 2026",
        "distribution": [_file_object(name, digest) for name, digest in sums.items()],
        "recordSet": [_record_set(folder.name) for folder in _folders()],
    }


def _file_object(name: str, digest: str) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": "text/csv" if name.endswith(".csv") else "application/json",
        "sha256": digest,
    }


def _record_set(table: str) -> dict[str, Any]:
    fields = []
    for column, (kind, meaning) in _COLUMNS.items():
        source = {"fileObject": {"@id": f"{table}/table.csv"}, "extract": {"column": column}}
        name = f"{table}/{column}"
        field = {"@type": "cr:Field", "@id": name, "name": name, "description": meaning, "dataType": kind}
        fields.append(field | {"source": source})
    key = [{"@id": f"{table}/{column}"} for column in ("hash", "seed", "rung")]
    return {"@type": "cr:RecordSet", "@id": table, "name": table, "key": key, "field": fields}


def contents() -> dict[str, str]:
    """Return the text of each file of metadata, by name."""
    written = {"spaces.json": spaces()}
    named = {f"{folder.name}/{path.name}": path for folder in _folders() for path in sorted(folder.iterdir())}
    texts = {name: path.read_bytes() for name, path in named.items()}
    texts["spaces.json"] = written["spaces.json"].encode()
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(texts.items())}
    written["croissant.json"] = files.json_text(croissant(sums))
    sums["croissant.json"] = hashlib.sha256(written["croissant.json"].encode()).hexdigest()
    written["SHA256SUMS"] = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return written


def _folders() -> list[Path]:
    return sorted(path.parent for path in TABLES.glob("*/table.json"))


if __name__ == "__main__":
    files.write_together({TABLES / name: text.encode() for name, text in contents().items()})
