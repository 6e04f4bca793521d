#!/usr/bin/env bash
# simavr: a stopped timer reads zero, and every start or change of the prescaler begins at zero.
#
# Versions: Debian 12 packages simavr 1.6, gcc-avr 5.4.0, avr-libc 2.0.0 (assumed to be installed); ATmega328P.
# Expected: clearing the clock bits of TCCR1B stops Timer1, which keeps its count, as the data sheet states; setting
#   them again goes on from there. A value written to the stopped timer is its start.
# Observed: in motion the count is right to a few cycles (1,002 after 1,000). After the stop it is 0, also of Timer0.
#   Two timed parts give 1,002 instead of 2,002, a start at 1,234 gives 1,002 instead of 2,236, and 1,000 cycles with
#   prescaler 1 followed by 800 with prescaler 8 give 100 instead of 1,100. There is no message.
# Matters: start, run, stop, read is the usual way to measure the cycles of a layer; the simulator then reports 0, and a
#   sum over layers holds the last part only. Let the timer run, and subtract the count before from the count after.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > program.c <<'C'
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <stdint.h>

#define STOPPED 0
#define BY_1 1
#define BY_8 2

static void put(char character) {
    while (!(UCSR0A & (1 << UDRE0))) {
    }
    UDR0 = character;
}

static void report(char name, uint16_t count) {
    put(name);
    put('=');
    for (uint16_t place = 10000; place; place /= 10)
        put('0' + count / place % 10);
    put('\n');
}

int main(void) {
    uint16_t count;
    UCSR0B = 1 << TXEN0;
    TCCR1A = 0;

    TCNT1 = 0;
    TCCR1B = BY_1;
    __builtin_avr_delay_cycles(1000);
    count = TCNT1;
    TCCR1B = STOPPED;
    report('A', count);

    TCNT1 = 0;
    TCCR1B = BY_1;
    __builtin_avr_delay_cycles(1000);
    TCCR1B = STOPPED;
    count = TCNT1;
    report('B', count);

    TCNT1 = 0;
    TCCR1B = BY_1;
    __builtin_avr_delay_cycles(1000);
    TCCR1B = STOPPED;
    __builtin_avr_delay_cycles(500);
    TCCR1B = BY_1;
    __builtin_avr_delay_cycles(1000);
    count = TCNT1;
    TCCR1B = STOPPED;
    report('C', count);

    TCNT1 = 0;
    TCCR1B = BY_1;
    __builtin_avr_delay_cycles(1000);
    TCCR1B = BY_8;
    __builtin_avr_delay_cycles(800);
    count = TCNT1;
    TCCR1B = STOPPED;
    report('D', count);

    TCCR0A = 0;
    TCNT0 = 0;
    TCCR0B = BY_1;
    __builtin_avr_delay_cycles(200);
    TCCR0B = STOPPED;
    count = TCNT0;
    report('E', count);

    TCNT1 = 1234;
    __builtin_avr_delay_cycles(1000);
    count = TCNT1;
    report('F', count);

    TCNT1 = 1234;
    TCCR1B = BY_1;
    __builtin_avr_delay_cycles(1000);
    count = TCNT1;
    TCCR1B = STOPPED;
    report('G', count);

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

cases = {
    "A": ("1,000 cycles, read in motion", 1000, True),
    "B": ("1,000 cycles, stopped, read", 1000, False),
    "C": ("1,000 cycles, stop of 500, 1,000 cycles", 2000, False),
    "D": ("1,000 cycles by 1, 800 cycles by 8", 1100, False),
    "E": ("Timer0, 200 cycles, stopped, read", 200, False),
    "F": ("stopped, written with 1,234, read", 1234, False),
    "G": ("written with 1,234, started, 1,000 cycles", 2234, False),
}
counts = {name: int(count) for name, count in re.findall(r"([A-G])=(\d{5})", open("output.txt").read())}
for name, (title, expected, _) in cases.items():
    print(f"{title:41} expected {expected:4} to {expected + 12:4}, observed {counts[name]:4}")
right = {name: expected <= counts[name] <= expected + 12 for name, (_, expected, _) in cases.items()}
assert right == {name: is_right for name, (_, _, is_right) in cases.items()}, counts
assert counts["B"] == counts["E"] == 0, counts
PYTHON
