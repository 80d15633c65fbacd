#!/usr/bin/env bash
# The saved reference numbers are what PyTorch computes. Skipped where no Python has PyTorch.
. "$(dirname "$0")/lib.sh"
find_python torch
[ -n "$python" ] || skip "no python3 with PyTorch (Debian: python3-torch)"

expect 0 env PYTHONDONTWRITEBYTECODE=1 "$python" "$source_folder/tests/reference/make_reference.py" --check
passed
