#!/usr/bin/env bash
# avr-gcc: the sign of a quotient of two _Fract numbers is one bit of its magnitude.
#
# Versions: Debian 12 packages gcc-avr 5.4.0, avr-libc 2.0.0, simavr 1.6 (assumed to be installed).
# Expected: the 16-bit fixed point type of embedded C has signed division: -0.25 / 0.5 is -0.5 and 0.25 / 0.5 is 0.5,
#   to one step of 2^-15; a constant expression and a division at run time agree.
# Observed: at run time all four signs of 0.25 / 0.5 give 0.5, and all four of 0.6 / 0.7 give -0.857. The magnitude is
#   right; the sign is bit 7 of the magnitude instead of the product of both signs, so half of the quotients are wrong
#   (118 of 224 random ones), also of two positive numbers. There is no warning. Constant expressions, short _Fract,
#   long _Fract and _Accum are right.
# Matters: _Fract is the compiler's own type for weights and activations on an 8-bit chip, where a division normalises
#   a softmax or an average. A test with constants passes. Divide as _Accum, or as int32_t by hand.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > program.c <<'C'
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <stdint.h>
#include <string.h>

static void put(char character) {
    while (!(UCSR0A & (1 << UDRE0))) {
    }
    UDR0 = character;
}

static void put_bits(int32_t bits) {
    for (int8_t shift = 28; shift >= 0; shift -= 4)
        put("0123456789abcdef"[(bits >> shift) & 15]);
    put(' ');
}

/* Sends name, both operands and the quotient, as the integers that represent them. */
#define DIVIDE(name, type, integer, first, second)                                  \
    {                                                                               \
        volatile type dividend = (first), divisor = (second);                       \
        type operands[2] = {dividend, divisor}, quotient = operands[0] / operands[1]; \
        integer bits[2], answer;                                                    \
        memcpy(bits, operands, sizeof bits);                                        \
        memcpy(&answer, &quotient, sizeof answer);                                  \
        put(name);                                                                  \
        put(' ');                                                                   \
        put_bits(bits[0]);                                                          \
        put_bits(bits[1]);                                                          \
        put_bits(answer);                                                           \
        put('\n');                                                                  \
    }

#define SIGNS(name, type, integer, first, second)      \
    DIVIDE(name, type, integer, first, second)         \
    DIVIDE(name, type, integer, -(first), second)      \
    DIVIDE(name, type, integer, first, -(second))      \
    DIVIDE(name, type, integer, -(first), -(second))

#define CONSTANT(first, second)                        \
    {                                                  \
        _Fract operands[2] = {(first), (second)}, quotient = (first) / (second); \
        int16_t bits[2], answer;                       \
        memcpy(bits, operands, sizeof bits);           \
        memcpy(&answer, &quotient, sizeof answer);     \
        put('c');                                      \
        put(' ');                                      \
        put_bits(bits[0]);                             \
        put_bits(bits[1]);                             \
        put_bits(answer);                              \
        put('\n');                                     \
    }

int main(void) {
    UCSR0B = 1 << TXEN0;
    SIGNS('s', short _Fract, int8_t, 0.25hr, 0.5hr)
    SIGNS('s', short _Fract, int8_t, 0.6hr, 0.7hr)
    SIGNS('r', _Fract, int16_t, 0.25r, 0.5r)
    SIGNS('r', _Fract, int16_t, 0.6r, 0.7r)
    SIGNS('l', long _Fract, int32_t, 0.25lr, 0.5lr)
    SIGNS('l', long _Fract, int32_t, 0.6lr, 0.7lr)
    SIGNS('a', _Accum, int32_t, 0.25k, 0.5k)
    SIGNS('a', _Accum, int32_t, 0.6k, 0.7k)
    CONSTANT(0.25r, 0.5r)
    CONSTANT(-0.25r, 0.5r)
    CONSTANT(0.6r, 0.7r)
    CONSTANT(0.6r, -0.7r)
    uint32_t state = 1;
    for (uint16_t pair = 0; pair < 400; pair++) {
        int16_t bits[2];
        _Fract operands[2];
        for (uint8_t which = 0; which < 2; which++) {
            state = state * 1103515245 + 12345;
            bits[which] = state >> 16;
        }
        memcpy(operands, bits, sizeof bits);
        DIVIDE('x', _Fract, int16_t, operands[0], operands[1])
    }
    put('\n');
    for (volatile uint16_t wait = 0; wait < 2000; wait++) {
    }
    cli();
    sleep_enable();
    sleep_cpu();
}
C
avr-gcc -Os -std=gnu99 -mmcu=atmega328p program.c -o program.elf
timeout 100 simavr -m atmega328p -f 16000000 program.elf > output.txt 2>&1
python3 - <<'PYTHON'
import re

names = {
    "s": ("short _Fract", 7),
    "r": ("_Fract", 15),
    "l": ("long _Fract", 31),
    "a": ("_Accum", 15),
    "c": ("_Fract, constant", 15),
}
wrong = dict.fromkeys(names, 0)
random_pairs = {"pairs": 0, "wrong sign": 0, "sign is bit 7": 0, "right magnitude": 0}
for letter, *numbers in re.findall(r"([srlacx]) ([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8})", open("output.txt").read()):
    first, second, answer = (int(number, 16) - (int(number, 16) >> 31 << 32) for number in numbers)
    if letter == "x":
        if abs(first) >= abs(second) or second == -(2**15):
            continue  # the quotient does not fit
        magnitude = (abs(first) << 15) // abs(second)
        if magnitude < 2:
            continue
        negative = (first < 0) != (second < 0)
        random_pairs["pairs"] += 1
        random_pairs["wrong sign"] += (answer < 0) != negative
        random_pairs["sign is bit 7"] += (answer < 0) == bool(abs(answer) & 128)
        random_pairs["right magnitude"] += abs(abs(answer) - magnitude) <= 2
    else:
        name, bits = names[letter]
        first, second, answer = (number / 2**bits for number in (first, second, answer))
        is_wrong = abs(answer - first / second) > 0.02
        wrong[letter] += is_wrong
        print(f"{name:16} {first:8.4f} / {second:7.4f} = {answer:7.4f}{'   wrong' if is_wrong else ''}")
print("random pairs of _Fract:", random_pairs)
assert wrong == {"s": 0, "r": 4, "l": 0, "a": 0, "c": 0}, wrong
assert random_pairs["pairs"] == random_pairs["right magnitude"] > 150, random_pairs
assert random_pairs["pairs"] == random_pairs["sign is bit 7"], random_pairs
assert 0.4 < random_pairs["wrong sign"] / random_pairs["pairs"] < 0.6, random_pairs
PYTHON
