#!/usr/bin/env bash
# optunahub runs the second loaded version of a package with the submodules of the first version.
#
# Versions: optunahub 0.5.0, Optuna 5.0.0.
# Expected: load_local_module takes all files of a package from the named folder, and force_reload=True takes all files
#   of the new commit.
# Observed: __init__.py is new, but a module that it imports (from .part import ...) is the first loaded one, with both
#   functions and without a message. sys.modules keeps the submodules under the same names.
# Matters: comparing two versions of a sampler in one process compares the first version with itself where the code
#   lies in submodules. Start a process for each version.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile optunahub==0.5.0 optuna==5.0.0
cd "$folder"
export OPTUNAHUB_CACHE_HOME="$folder/cache"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import os
import pathlib
import subprocess

import optunahub


def write(registry, version):
    package = registry / "package" / "samplers" / "mine"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(f"from .part import VERSION as PART\nVERSION = {version}\n")
    (package / "part.py").write_text(f"VERSION = {version}\n")


def load_folder(version):
    registry = pathlib.Path(f"registry{version}")
    write(registry, version)
    return optunahub.load_local_module("samplers/mine", registry_root=str(registry / "package"))


def load_commit(version):
    registry = pathlib.Path("owner/registry")
    write(registry, version)
    author = ["-c", "user.name=author", "-c", "user.email=author@example.org"]
    for command in (["init", "--initial-branch=main"], ["add", "."], [*author, "commit", "--message=version"]):
        subprocess.run(["git", *command], cwd=registry, check=True, capture_output=True)
    address = f"file://localhost{os.getcwd()}"
    source = {"base_url": address, "repo_owner": "owner", "repo_name": "registry"}
    return optunahub.load_module("samplers/mine", **source, force_reload=True)


results = {}
for load in (load_folder, load_commit):
    modules = [load(version) for version in (1, 2)]
    results[load.__name__] = [(module.VERSION, module.PART) for module in modules]
    print(f"{load.__name__}: versions of (__init__.py, part.py):", results[load.__name__])
assert results["load_folder"] == [(1, 1), (2, 1)], results
assert results["load_commit"] == [(1, 1), (2, 1)], results
PYTHON
