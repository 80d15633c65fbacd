#!/usr/bin/env bash
# The saved reference numbers are what PyTorch computes. Skipped where no Python has PyTorch.
set -eu
source_folder=${LOCKSTEP_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}

for python in python3 /usr/bin/python3; do
    if "$python" -c 'import torch' 2>/dev/null; then
        PYTHONDONTWRITEBYTECODE=1 exec "$python" "$source_folder/tests/reference/make_reference.py" --check
    fi
done
echo "skipped: no python3 with PyTorch (Debian: python3-torch)"
exit 77
