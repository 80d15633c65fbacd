#!/usr/bin/env bash
# From a fresh clone to a trained network: install what is missing, build, train on two ranks, show it.
set -euo pipefail
# shellcheck source=jobs/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$root"

jobs/packages.sh build

say "Build build/lockstep"
# The tests need more packages; a build folder that has them keeps them.
tests=()
[ -e build/CMakeCache.txt ] || tests=(-DLOCKSTEP_TESTS=OFF)
build_program build release lockstep "${tests[@]}"

run=runs/quickstart
number=1
while [ -e "$run" ]; do
    number=$((number + 1))
    run=runs/quickstart-$number
done

say "Train jobs/quickstart.yaml on 2 ranks, into $run"
start_ranks 2 build/lockstep train jobs/quickstart.yaml --out "$run"

model=$run/best.h5
[ -e "$model" ] || model=$run/latest.h5
say "Evaluate $model"
build/lockstep eval "$model"

say "What is in it"
h5ls -r "$model"

say "Done. Next: copy jobs/quickstart.yaml, change it, and"
echo "   mpirun -n 2 build/lockstep train my-job.yaml"
