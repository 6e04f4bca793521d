#!/usr/bin/env bash
# Operators of bit vectors: `<`, `>>` and `/` are signed in z3 and cvc5, unsigned in pySMT, and mixed in claripy.
#
# Versions: z3-solver 4.13.0.0, cvc5 1.4.2, PySMT 0.9.6, claripy 9.2.213.
# Expected: Python operators on bit vectors mean the same in all four; int8 sums of a network are signed, and a value
#   made as signed (SBV(-8, 8) in PySMT) is compared as signed.
# Observed: for -8 in 8 bits, `< 0` is true in z3 and cvc5, false in PySMT and claripy. `>> 1` is -4 in z3, cvc5 and
#   claripy, 124 in PySMT. The division by 3 is -2 in z3 and cvc5, 82 in PySMT and claripy.
# Matters: a proof about an integer network changes meaning with the package: ReLU as If(x < 0, 0, x) keeps negative
#   numbers in PySMT and claripy. Use named functions (BVSLT, BVAShr, BVSDiv; claripy.SLT and x.SDiv).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile z3-solver==4.13.0.0 cvc5==1.4.2 PySMT==0.9.6 claripy==9.2.213
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import claripy
import cvc5.pythonic as cvc5
import z3
from pysmt.environment import get_env
from pysmt.shortcuts import SBV, BVAShr, BVSDiv, BVSLT, simplify

get_env().enable_infix_notation = True


def signed(value):
    """Read 8 bits as a signed number."""
    return value - 256 if value > 127 else value


results = {}
for name, solver in (("z3", z3), ("cvc5", cvc5)):
    number, zero, one, three = (solver.BitVecVal(value, 8) for value in (-8, 0, 1, 3))
    negative = str(solver.simplify(number < zero)) == "True"
    results[name] = negative, *[solver.simplify(term).as_signed_long() for term in (number >> one, number / three)]
number, zero, one, three = (SBV(value, 8) for value in (-8, 0, 1, 3))
terms = [simplify(term) for term in (number < zero, number >> one, number / three)]
results["pysmt"] = terms[0].is_true(), *[term.bv_signed_value() for term in terms[1:]]
terms = [simplify(term) for term in (BVSLT(number, zero), BVAShr(number, one), BVSDiv(number, three))]
results["pysmt named"] = terms[0].is_true(), *[term.bv_signed_value() for term in terms[1:]]
number = claripy.BVV(-8, 8)
results["claripy"] = (number < 0).is_true(), signed((number >> 1).concrete_value), signed((number // 3).concrete_value)
named = claripy.SLT(number, claripy.BVV(0, 8)).is_true(), signed((number >> 1).concrete_value)
results["claripy named"] = *named, signed(number.SDiv(claripy.BVV(3, 8)).concrete_value)
for name, (negative, shifted, divided) in results.items():
    print(f"{name}: -8 < 0 {negative}, -8 >> 1 = {shifted}, -8 / 3 = {divided}")
for name in ("z3", "cvc5", "pysmt named", "claripy named"):
    assert results[name] == (True, -4, -2), name
assert results["pysmt"] == (False, 124, 82), results
assert results["claripy"] == (False, -4, 82), results
PYTHON
