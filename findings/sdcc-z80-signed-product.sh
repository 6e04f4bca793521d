#!/usr/bin/env bash
# SDCC for the Z80: the product of two int16_t in 32 bits is wrong for most numbers; 3 * 1000 becomes -193608.
#
# Versions: Debian 12 package sdcc 4.2.0 with sdcc-ucsim (assumed to be installed); Z80 in the simulator sz80.
# Expected: (int32_t)x * y of two int16_t is exact, the usual step of a multiplication by a scale in fixed point.
# Observed: 3 * 1000 gives -193608, and 77 of 100 random products are wrong, by multiples of 65536. The library routine
#   ___mulsint2slong tests bit 7 (of the low byte) for the sign, not bit 15; products are right if bits 7 and 15 of both
#   factors agree, as in all int8_t. Unsigned products, products with a 32-bit variable, and the port for the Z180 are
#   right. There is no warning.
# Matters: sums of int8_t products are right and the multiplication by the scale after them is not, so that a test of
#   the dot product alone passes. Multiply magnitudes as uint16_t and set the sign, or keep one factor in an int32_t
#   variable.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > program.c <<'C'
#include <stdint.h>

static __sfr __at(0xff) simulator;

static void put(char character) {
    simulator = 'p'; /* the next write is printed */
    simulator = character;
}

static void report(uint32_t number) {
    for (int8_t shift = 28; shift >= 0; shift -= 4)
        put("0123456789abcdef"[(uint8_t)(number >> shift) & 15]);
    put('\n');
}

static uint32_t state = 1;

static int16_t random16(void) {
    state = state * 1103515245UL + 12345UL;
    return (int16_t)(state >> 16);
}

static int32_t product(int16_t x, int16_t y) { return (int32_t)x * y; }
static uint32_t unsigned_product(uint16_t x, uint16_t y) { return (uint32_t)x * y; }
static int32_t long_product(int32_t x, int32_t y) { return x * y; }

void main(void) {
    report(product(3, 1000));
    for (uint8_t index = 0; index < 100; index++) {
        int16_t x = random16(), y = random16();
        report(product(x, y));
        report(product(x >> 8, y >> 8));
        report(unsigned_product(x, y));
        report(long_product(x, y));
    }
    simulator = 's'; /* stop */
}
C
for port in z80 z180; do
  sdcc -m$port --std-c99 program.c -o $port.ihx
  timeout 100 sz80 -t $port -I 'if=outputs[0xff]' $port.ihx -g -G < /dev/null > $port.txt 2>&1
done
python3 - <<'PYTHON'
import re


def signed(number, bits):
    return (number + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


state = 1
factors = []
for _ in range(200):
    state = (state * 1103515245 + 12345) % 2**32
    factors.append(signed(state >> 16, 16))
pairs = list(zip(factors[::2], factors[1::2]))
for port, small, wrong in [("z80", -193608, 50), ("z180", 3000, 0)]:
    outputs = [signed(int(text, 16), 32) for text in re.findall(r"^([0-9a-f]{8})$", open(f"{port}.txt").read(), re.M)]
    columns = [outputs[1 + kind :: 4] for kind in range(4)]
    expected = [
        [x * y for x, y in pairs],
        [(x >> 8) * (y >> 8) for x, y in pairs],
        [signed((x % 65536) * (y % 65536), 32) for x, y in pairs],
        [x * y for x, y in pairs],
    ]
    differing = [sum(a != b for a, b in zip(*rows, strict=True)) for rows in zip(columns, expected, strict=True)]
    print(f"{port:4} 3 * 1000 = {outputs[0]}, wrong of 100: int16 {differing[0]}, 8 bits {differing[1]},", end=" ")
    print(f"unsigned {differing[2]}, int32 {differing[3]}")
    assert outputs[0] == small, outputs[0]
    assert differing[0] > wrong if wrong else differing[0] == 0, differing
    assert differing[1:] == [0, 0, 0], differing
    errors = {(a - b) % 65536 for a, b in zip(columns[0], expected[0], strict=True)}
    assert errors == {0}, errors
PYTHON
