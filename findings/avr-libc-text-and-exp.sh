#!/usr/bin/env bash
# avr-libc: atof("0.1") is smaller than the constant 0.1, and exp(-80) is wrong in the sixth digit.
#
# Versions: Debian 12 packages avr-libc 2.0.0, gcc-avr 5.4.0, simavr 1.6 (assumed to be installed).
# Expected: atof returns the nearest float32, as the compiler does for a constant, and 9 digits (%.8e) identify each
#   float32. exp is right to 2 units in the last place (ulp), as sqrt, tanh and sin of avr-libc are.
# Observed: atof rounds down: of the 99 decimals from 0.01 to 0.99, 30 are a unit smaller than the constant of the
#   compiler, and no decimal is larger. %.8e prints 8 digits, and of 200 random numbers that are printed and read on the
#   chip 71 change. The error of exp(x) grows with |x|: below 1 ulp for -1 <= x <= 0, up to 22 ulp for -20 <= x <= -1,
#   and 98 ulp (relative error 6e-6) for -88 <= x <= -60.
# Matters: a threshold that a computer sends as text is smaller than the same constant in the program, so x <= 0.1 is
#   false for x = 0.1. Probabilities and likelihoods from the chip have five right digits where the computer has seven.
#   Send the bits of weights (%08lx and strtoul), and compare results of exp with a tolerance.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
seq -f "0.%02g," 1 99 > constants.inc
cat > program.c <<'C'
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int put(char character, FILE *stream) {
    (void)stream;
    while (!(UCSR0A & (1 << UDRE0))) {
    }
    UDR0 = character;
    return 0;
}

static FILE serial = FDEV_SETUP_STREAM(put, NULL, _FDEV_SETUP_WRITE);

static uint32_t bits_of(float number) {
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static float random_number(void) {
    static uint32_t state = 1;
    float number;
    state = state * 1664525 + 1013904223;
    uint32_t bits = (state & 0x807fffff) | ((100 + (state >> 24) % 50) << 23);
    memcpy(&number, &bits, sizeof number);
    return number;
}

static const float constants[] = {
#include "constants.inc"
};

#define FUNCTION(name, expression)                                                     \
    for (uint8_t step = 0; step < 176; step++) {                                       \
        volatile float x = -0.5f * step;                                               \
        printf(name " %08lx %08lx\n", bits_of(x), bits_of(expression));                \
    }

int main(void) {
    char buffer[24];
    UCSR0B = 1 << TXEN0;
    stdout = &serial;
    for (uint8_t hundredths = 1; hundredths < 100; hundredths++) {
        sprintf(buffer, "0.%02u", hundredths);
        printf("d %s %08lx %08lx\n", buffer, bits_of(constants[hundredths - 1]), bits_of(atof(buffer)));
    }
    for (uint8_t count = 0; count < 200; count++) {
        float number = random_number();
        sprintf(buffer, "%.8e", number);
        printf("t %s %08lx %08lx\n", buffer, bits_of(number), bits_of(atof(buffer)));
    }
    FUNCTION("exp", exp(x))
    FUNCTION("sqrt", sqrt(-x))
    FUNCTION("tanh", tanh(x))
    FUNCTION("sin", sin(x))
    for (volatile uint16_t wait = 0; wait < 2000; wait++) {
    }
    cli();
    sleep_enable();
    sleep_cpu();
}
C
avr-gcc -Os -std=gnu99 -mmcu=atmega328p program.c -o program.elf -Wl,-u,vfprintf -lprintf_flt -lm
timeout 100 simavr -m atmega328p -f 16000000 program.elf > output.txt 2>&1
python3 - <<'PYTHON'
import math
import re
import struct

FUNCTIONS = {"exp": math.exp, "sqrt": lambda x: math.sqrt(-x), "tanh": math.tanh, "sin": math.sin}
RANGES = ((-1, 0), (-20, -1), (-88, -60))


def number(bits):
    """Return the float32 with these bits, written in hexadecimal."""
    return struct.unpack(">f", bytes.fromhex(bits))[0]


def error_ulp(value, exact):
    """Return the error in units of the last place of a float32."""
    return (value - exact) / 2.0 ** (math.frexp(exact)[1] - 24) if exact else value


decimals = {"right": 0, "below": 0, "above": 0}
texts = {"digits": set(), "changed": 0, "changed by the printed text": 0}
errors = {name: {} for name in FUNCTIONS}
relative_errors = []
lines = re.findall(r"(d|t|exp|sqrt|tanh|sin) ([-+.e\d]* )?([0-9a-f]{8}) ([0-9a-f]{8})", open("output.txt").read())
for kind, text, first, second in lines:
    if kind == "d":
        constant, value = number(first), number(second)
        assert constant == struct.unpack("f", struct.pack("f", float(text)))[0], "the compiler rounds to the nearest"
        decimals["right" if value == constant else "below" if value < constant else "above"] += 1
        if text in ("0.10 ", "0.20 ", "0.50 "):
            print(f'atof("{text.strip()}") = {value:.9g}, constant {constant:.9g}')
    elif kind == "t":
        texts["digits"].add(sum(character.isdigit() for character in text.split("e")[0]))
        texts["changed"] += first != second
        texts["changed by the printed text"] += struct.pack(">f", float(text)).hex() != first
    else:
        x, value = number(first), number(second)
        errors[kind][x] = abs(error_ulp(value, FUNCTIONS[kind](x)))
        if kind == "exp":
            relative_errors.append(abs(value / math.exp(x) - 1))
print("decimals from 0.01 to 0.99:", decimals)
print("random numbers printed with %.8e and read with atof:", texts)
for name, by_x in errors.items():
    for low, high in RANGES:
        largest = max(error for x, error in by_x.items() if low <= x <= high)
        print(f"{name}: largest error {largest:.1f} ulp from {low} to {high}")
print("largest relative error of exp:", f"{max(relative_errors):.1e}")
assert sum(decimals.values()) == 99 and decimals["above"] == 0 and decimals["below"] > 15, decimals
assert texts["digits"] == {8} and texts["changed"] > 60 and texts["changed by the printed text"] > 0, texts
assert max(error for x, error in errors["exp"].items() if x >= -1) < 2
assert max(error for x, error in errors["exp"].items() if x <= -60) > 50
assert max(max(errors[name].values()) for name in ("sqrt", "tanh", "sin")) < 2.5, errors
PYTHON
