# environment.sh - sourced by the scripts: what they need when started by root, by CI, without a home
# folder, without standard input or from another folder. Sets `root` (of the sources) and
# `processors`; gives say, build_program and start_ranks.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
processors=$(nproc 2>/dev/null || echo 1)

if [ -z "${HOME:-}" ]; then
    HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
    export HOME=${HOME:-/tmp}
fi
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# Git refuses to describe sources that another user owns, as in a container.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$root
exec </dev/null

say() {
    printf '== %s\n' "$*"
}

# build_program FOLDER PRESET TARGET CMAKE-ARGUMENTS... with what CMake and make say kept in FOLDER.
build_program() {
    local folder=$1 preset=$2 target=$3
    shift 3
    mkdir -p "$folder"
    if ! { cmake --preset "$preset" -B "$folder" "$@" &&
        cmake --build "$folder" --target "$target" -j "$processors"; } >"$folder/build.log" 2>&1; then
        grep -E -A 8 '(error|Error)' "$folder/build.log" | head -n 60 || tail -n 30 "$folder/build.log"
        say "The build failed; all of it is in $folder/build.log"
        return 1
    fi
}

# start_ranks N COMMAND...
# Ranks are not bound: on a shared or small machine they would end up on one core.
start_ranks() {
    local ranks=$1 options=()
    shift
    if mpirun --version 2>/dev/null | grep -q 'Open MPI'; then
        # Open MPI counts cores, not the processors that share one.
        options=(--bind-to none --oversubscribe --mca mpi_yield_when_idle 1)
    fi
    mpirun -n "$ranks" "${options[@]}" "$@"
}
