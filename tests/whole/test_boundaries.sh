#!/usr/bin/env bash
# The folder is the dependency boundary, and the text keeps to the written style.
. "$(dirname "$0")/lib.sh"
export LC_ALL=C.UTF-8 # lines are counted in characters
cd "$source_folder" || exit 1

# none WHAT PATTERN FILES...: no file may match.
none() {
    local what=$1 pattern=$2
    shift 2
    checks=$((checks + 1))
    if grep -nE -- "$pattern" "$@" /dev/null; then fail "$what"; fi
}
shopt -s globstar nullglob
none "src/ includes <mpi.h>" '#include *<mpi' src/**/*.[ch] io/*.[ch]
none "a header of mpi/ shows <mpi.h>" '#include *<mpi' mpi/comm.h mpi/exchange.h
none "src/ includes <hdf5.h>" '#include *<hdf5' src/**/*.[ch] mpi/*.[ch]
none "the network knows of mpi/ or io/" '#include "(mpi|io)/' src/layers/*.[ch] src/kernels/*.[ch] src/network.[ch] \
    src/layer.[ch] src/loss.[ch] src/optimizer.[ch] src/schedule.[ch] src/job.[ch] src/loader.[ch] src/reducer.[ch]
none "mpi/ includes io/" '#include "io/' mpi/*.[ch]
none "io/ includes more of mpi/ than comm.h" '#include "mpi/[^c]' io/*.[ch]
none "a kernel allocates, checks or includes more than kernels" \
    '(malloc|memory_allocate|REQUIRE|FAIL)\(|#include "src/(layer|network|job)' src/kernels/[!k]*.c
none "plain malloc outside memory.c" '[^_a-z](malloc|calloc|realloc)\(' mpi/*.c io/*.c src/layers/*.c src/[a-ln-z]*.c
none "a forgotten note" 'TODO|FIXME|#if 0' src/**/*.[ch] mpi/*.[ch] io/*.[ch] tests/**/*.[ch]
none "a line of more than 100 characters" '^.{101,}$' src/**/*.[ch] mpi/*.[ch] io/*.[ch]
for header in src/*.h src/kernels/*.h src/layers/*.h mpi/*.h io/*.h; do
    checks=$((checks + 1))
    head -n 1 "$header" | grep -q "^/\* $(basename "$header") - " || fail "$header does not say what it is for"
    guard=$(echo "$header" | tr 'a-z/.' 'A-Z__')
    grep -q "#ifndef $guard" "$header" || fail "$header: the guard is not $guard"
done
if type -P clang-format >/dev/null; then
    checks=$((checks + 1))
    clang-format --dry-run --Werror src/**/*.[ch] mpi/*.[ch] io/*.[ch] tests/**/*.[ch] || fail "not formatted"
fi
passed
