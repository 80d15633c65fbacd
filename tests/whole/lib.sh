# lib.sh - sourced by the whole-program tests: the program under test, ranks, expectations.
# shellcheck shell=bash
set -u
source_folder=${LOCKSTEP_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
lockstep=${LOCKSTEP:-$source_folder/build/lockstep}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
    OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none \
    OMPI_MCA_mpi_yield_when_idle=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
checks=0

fail() {
    echo "FAILED: $*"
    exit 1
}
skip() {
    echo "skipped: $*"
    exit 77
}
# find_python MODULES: $python is one that has them, "a, b"; empty where none has.
find_python() {
    for python in python3 /usr/bin/python3; do
        if "$python" -c "import $1" 2>/dev/null; then return; fi
    done
    python=
}
# instruction_sets: those of the program that this processor has too, the best first.
instruction_sets() {
    "$lockstep" --version | sed -nE 's/.*instruction set ([a-z0-9]+) \(built for.* (\1( .*)?)\)$/\2/p'
}
# ranks N ARGUMENTS... runs the program on N ranks.
ranks() {
    local count=$1
    shift
    timeout 300 "${MPIEXEC:-mpirun}" -n "$count" "$lockstep" "$@" </dev/null
}
# start N ARGUMENTS... the same in the background: mpirun's process is $started, its output $folder/started.
start() {
    local count=$1
    shift
    "${MPIEXEC:-mpirun}" -n "$count" "$lockstep" "$@" </dev/null >"$folder/started" 2>&1 &
    started=$!
}
# wait_until COMMAND... up to 60 s.
wait_until() {
    for _ in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    cat "$folder/started"
    fail "never came true: $*"
}
# expect CODE COMMAND... checks the exit code; what is printed goes to $folder/out and $folder/err.
expect() {
    local wanted=$1 code=0
    shift
    "$@" >"$folder/out" 2>"$folder/err" || code=$?
    checks=$((checks + 1))
    if [ "$code" != "$wanted" ]; then
        cat "$folder/out" "$folder/err"
        fail "exit code $code instead of $wanted: $*"
    fi
}
# expect_text FRAGMENT: exactly one line of the last command's errors has it.
expect_text() {
    local count
    count=$(grep -cF -- "$1" "$folder/err" || true)
    [ "$count" = 1 ] || { cat "$folder/err"; fail "'$1' was said $count times instead of once"; }
}
expect_same() {
    checks=$((checks + 1))
    cmp "$1" "$2" || fail "$1 and $2 differ"
}
# losses RUN: what metrics.jsonl says of training, without times and speeds.
losses() {
    grep -E '"type": "(epoch|step|test)"' "$1/metrics.jsonl" |
        sed -E 's/, "(seconds|samples_per_second|communication_share)": [^,}]*//g'
}
passed() {
    echo "$checks checks passed"
}
