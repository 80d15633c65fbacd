#!/usr/bin/env bash
# A table of layers, and of layers that hold others, drawn over shapes and options, equals what PyTorch computes here and now,
# with every instruction set of this processor.
. "$(dirname "$0")/lib.sh"
table=${LOCKSTEP_BUILD:-$source_folder/build}/tests/parity_table
[ -x "$table" ] || fail "no $table: built with the tests"
find_python torch
[ -n "$python" ] || skip "no python3 with PyTorch (Debian: python3-torch)"

expect 0 env PYTHONDONTWRITEBYTECODE=1 "$python" "$source_folder/tests/reference/parity_cases.py" "$folder/cases"
for isa in $(instruction_sets); do
    expect 0 "$table" "$folder/cases" "$isa"
    echo "$isa:"
    cat "$folder/out"
    compared=$(sed -nE 's/^[0-9]+ cases, ([0-9]+) compared.*$/\1/p' "$folder/out")
    checks=$((checks + compared))
    [ "$compared" -ge 1000 ] || fail "only $compared cases were compared, fewer than 1000"
done
passed
