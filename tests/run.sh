#!/usr/bin/env bash
# Everything that must hold, from a fresh clone: release build and all tests; debug build without
# warnings; address and undefined-behaviour sanitizers; MPICH, with the checkpoint of Open MPI.
#   tests/run.sh                    all of it
#   tests/run.sh CTEST-ARGUMENTS    only the release build, and ctest with these: -R bits, -L unit
# With CI=true a skipped test is a failure.
set -euo pipefail
# shellcheck source=jobs/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/../jobs/environment.sh"
cd "$root"

# build FOLDER PRESET CMAKE-ARGUMENTS...
build() {
    local folder=$1 preset=$2
    shift 2
    say "Build $folder"
    build_program "$folder" "$preset" all "$@"
}

# run_tests FOLDER CTEST-ARGUMENTS... One test more than processors: many wait for what they start.
run_tests() {
    local folder=$1 log=$1/tests.log
    shift
    say "Test $folder ${*:+(${*})}"
    ctest --test-dir "$folder" -j "$((processors + 1))" --output-on-failure --no-tests=error "$@" |
        tee "$log"
    if [ "${CI:-}" = true ] && grep -E '\*\*\*(Skipped|Not Run)' "$log"; then
        say "CI=true, and the tests above were skipped"
        exit 1
    fi
}

# Whole tests say so themselves when they are worth repeating under the sanitizers.
tests_for_sanitizers() {
    grep -l '^# Also under the sanitizers' tests/whole/test_*.sh |
        sed 's,.*/test_\(.*\)\.sh$,\1,' | paste -sd '|'
}

# The same training under Open MPI and MPICH gives the same file.
compare_libraries() {
    local folder job=(jobs/quickstart.yaml --set train.epochs=2 --set data.train_count=1024)
    say "Train with Open MPI on 2 ranks and with MPICH on 3"
    folder=$(mktemp -d)
    start_ranks 2 build/lockstep train "${job[@]}" --out "$folder/openmpi" --progress none
    mpirun.mpich -n 3 build/mpich/lockstep train "${job[@]}" --out "$folder/mpich" --progress none
    cmp "$folder/openmpi/latest.h5" "$folder/mpich/latest.h5"
    rm -rf "$folder"
}

jobs/packages.sh test
build build release -DLOCKSTEP_TESTS=ON
run_tests build "$@"
if [ $# -gt 0 ]; then exit 0; fi

build build/debug debug

build build/asan asan
run_tests build/asan -L 'unit|mpi|fuzz'
whole=$(tests_for_sanitizers || true)
if [ -n "$whole" ]; then run_tests build/asan -R "^whole\.($whole)\$"; fi

build build/mpich release -DLOCKSTEP_CORE="$root/build/liblockstep_core.a" \
    -DMPI_C_COMPILER=mpicc.mpich -DMPIEXEC_EXECUTABLE="$(type -P mpirun.mpich)"
run_tests build/mpich -L mpi
compare_libraries
say "All passed in $SECONDS s"
