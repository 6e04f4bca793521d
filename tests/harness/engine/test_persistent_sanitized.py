"""The persistent kernel under the sanitizers, on the host.

Every array of a job is an allocation of its own size; the maps of a network share one, so that only the gradients of
``test_persistent.py`` see a kernel that leaves its map.
"""

from __future__ import annotations

import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engine import native, persistent_training
from harness.engine.persistent_training import JobRow
from harness.training.train import start
from search_spaces.notation import parse_network
from tests.harness.engine.test_native_training import CPU, NETWORKS, RECIPES, some_images
from tests.harness.persistent_host import SHARED_BYTES, host_kernel

# Reads jobs from files: a size and the content of each array, -1 for none, then the numbers of the row. Trains them.
DRIVER = """
#include <cstdio>
#include "host.cpp"
static long long word(FILE* file) {
  long long value = 0;
  if (std::fread(&value, 8, 1, file) != 1) std::abort();
  return value;
}
int main(int count, char** paths) {
  const size_t fast = std::atoi(paths[1]);
  for (int n = 2; n < count; n++) {
    FILE* file = std::fopen(paths[n], "rb");
    long long row[sizeof(persistent::Job) / 8];
    for (int k = 0; k < POINTERS; k++) {
      const long long size = word(file);
      void* content = size < 0 ? nullptr : std::malloc(size);
      if (size > 0 && std::fread(content, size, 1, file) != 1) std::abort();
      row[k] = reinterpret_cast<long long>(content);
    }
    for (size_t k = POINTERS; k < sizeof row / 8; k++) row[k] = word(file);
    std::fclose(file);
    if (persistent_train(reinterpret_cast<persistent::Job*>(row), 1, 4, fast)) std::abort();
    for (int k = 0; k < POINTERS; k++) std::free(reinterpret_cast<void*>(row[k]));
  }
  std::puts("clean");
}
"""
DROPPING = "conv3x3(3) relu dropout(0.3) maxpool conv3x3(9) bn relu dropout2d(0.3) gap linear(10)"


def written(path: Path, text: str, fast_bytes: int) -> str:
    """Write a job of two steps of three images."""
    recipe = RECIPES[len(path.stem) % len(RECIPES)]
    recipe = replace(recipe, batch_size=3, augmented_share=1.0)
    run = start(parse_network(text), recipe, 0, CPU)
    part = persistent_training._prepared(host_kernel(fast_bytes=fast_bytes), run, some_images(6))
    with path.open("wb") as file:
        for name in (field[0] for field in JobRow._fields_):
            if name not in persistent_training._POINTERS:
                file.write(struct.pack("q" if name in persistent_training._INTEGERS else "d", getattr(part.row, name)))
                continue
            tensor = part.tensors[name]
            content = b"" if tensor is None else tensor.contiguous().numpy().tobytes()
            file.write(struct.pack("q", -1 if tensor is None else len(content)) + content)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sanitizer", "fast_bytes"),
    [("thread", SHARED_BYTES), ("address,undefined", 0), ("address,undefined", SHARED_BYTES)],
)
def test_the_kernel_is_clean_under_the_sanitizers(sanitizer: str, fast_bytes: int, tmp_path: Path):
    source, program = tmp_path / "driver.cpp", tmp_path / "driver"
    source.write_text(DRIVER, encoding="utf-8")
    options = ["-std=c++17", "-O1", "-g", "-pthread", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    pointers = f"-DPOINTERS={len(persistent_training._POINTERS)}"
    command = [
        *native.compiler(),
        *options,
        pointers,
        f"-I{persistent_training.SOURCES}",
        str(source),
        "-o",
        str(program),
    ]
    built = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in built.stderr:
        pytest.skip(f"the compiler comes without the sanitizers {sanitizer}")
    assert built.returncode == 0, built.stderr[-2000:]
    jobs = [
        written(tmp_path / f"{index * '-'}job", text, fast_bytes) for index, text in enumerate((*NETWORKS, DROPPING))
    ]

    answer = subprocess.run([str(program), str(fast_bytes), *jobs], capture_output=True, text=True)

    assert (answer.returncode, answer.stdout) == (0, "clean\n"), answer.stderr[-3000:]
