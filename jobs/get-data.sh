#!/usr/bin/env bash
# get-data.sh - fetch a data set, check it, and put it where the job files expect it.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: get-data.sh mnist|cifar10 [--out DIR] [--mirror URL]

  --out DIR      where the files go (default: data/mnist, data/cifar10)
  --mirror URL   fetch URL/FILE instead of the public mirrors; also $LOCKSTEP_MIRROR

Files that are there already and whole are kept. A file gets its name only when
its checksum is right. Needs curl or wget, gzip, tar and md5sum.
TEXT
}

# Exit codes are sysexits': 64 usage, 69 no mirror gave the file, 73 cannot write.
fail() {
    local code=$1
    shift
    printf 'get-data.sh: %s\n' "$*" >&2
    exit "$code"
}

say() { printf '%s\n' "$*"; }

child=
part=
clean_up() {
    if [ -n "$child" ]; then kill "$child" 2>/dev/null || true; fi
    if [ -n "$part" ]; then rm -rf "$part"; fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Run in the background and wait, so that a signal to this script is seen at once.
run_interruptibly() {
    local code=0
    "$@" &
    child=$!
    wait "$child" || code=$?
    child=
    return "$code"
}

# fetch_once URL FILE: goes on where FILE ends. 22: the server has no such file.
fetch_once() {
    local code=0 quiet=(--silent --show-error)
    if command -v curl >/dev/null; then
        if [ -t 2 ]; then quiet=(--progress-bar); fi
        run_interruptibly curl --fail --location "${quiet[@]}" --connect-timeout 20 \
            --speed-limit 1000 --speed-time 30 --continue-at - --output "$2" "$1" || code=$?
    else
        run_interruptibly wget --no-verbose --tries=1 --timeout=30 --continue \
            --output-document="$2" "$1" || code=$?
        if [ "$code" = 8 ]; then code=22; fi
    fi
    return "$code"
}

# fetch URL FILE: once, once more from where it broke off, and once from the start.
fetch() {
    local attempt code=0
    for attempt in 1 2 3; do
        if [ "$attempt" = 3 ]; then rm -f "$2"; fi
        code=0
        fetch_once "$1" "$2" || code=$?
        if [ "$code" = 0 ] || [ "$code" = 22 ]; then return "$code"; fi
        say "  broke off (exit code $code)"
    done
    return "$code"
}

md5_of() { md5sum | cut -d ' ' -f 1; }
md5_of_unpacked() { gzip -dc "$1" 2>/dev/null | md5_of || true; }
md5_of_file() { md5_of <"$1"; }

# get_from_mirrors FILE MD5 MD5-COMMAND: leaves $part/FILE or fails.
get_from_mirrors() {
    local file=$1 expected=$2 md5_command=$3 mirror found
    if [ -z "$part" ]; then
        mkdir -p "$out" || fail 73 "cannot create the folder $out"
        part=$(mktemp -d "$out/.part-XXXXXX") || fail 73 "cannot write into $out"
    fi
    for mirror in "${mirrors[@]}"; do
        say "$file: from $mirror"
        rm -f "$part/$file"
        if ! fetch "${mirror%/}/$file" "$part/$file"; then
            say "  not to be had there"
            continue
        fi
        found=$($md5_command "$part/$file")
        if [ "$found" = "$expected" ]; then return 0; fi
        say "  refused: the MD5 of its content is $found, expected $expected"
    done
    fail 69 "no mirror gave a good $file; nothing of it was kept. Tried: ${mirrors[*]}"
}

place() { mv -f "$part/$1" "$out/$1" || fail 73 "cannot write $out/$1"; }

get_mnist() {
    local file md5
    while read -r file md5; do
        if [ -f "$out/$file" ] && [ "$(md5_of_file "$out/$file")" = "$md5" ]; then
            say "$file: there already"
        elif [ -f "$out/$file.gz" ] && [ "$(md5_of_unpacked "$out/$file.gz")" = "$md5" ]; then
            say "$file.gz: there already"
        else
            get_from_mirrors "$file.gz" "$md5" md5_of_unpacked
            place "$file.gz"
        fi
        # The program prefers a plain file, so a bad one would hide the good one.
        if [ -f "$out/$file" ] && [ "$(md5_of_file "$out/$file")" != "$md5" ]; then
            fail 73 "$out/$file is not MNIST's and would be read before $file.gz: move it away"
        fi
    done <<'FILES'
train-images-idx3-ubyte 6bbc9ace898e44ae57da46a324031adb
train-labels-idx1-ubyte a25bea736e30d166cdddb491f175f624
t10k-images-idx3-ubyte 2646ac647ad5339dbf082846283269ea
t10k-labels-idx1-ubyte 27ae3e4e09519cfbb04c329615203637
FILES
}

# Whole records, and labels from 0 to 9 in the first thousand of them.
is_cifar10_batch() {
    [ -f "$1" ] && [ "$(wc -c <"$1")" = 30730000 ] &&
        od -An -v -tu1 -w3073 -N 3073000 "$1" | awk '$1 > 9 { exit 1 }'
}

cifar10_is_there() {
    local file
    for file in data_batch_{1,2,3,4,5}.bin test_batch.bin; do
        is_cifar10_batch "$out/$file" || return 1
    done
    [ -f "$out/batches.meta.txt" ]
}

get_cifar10() {
    local archive=cifar-10-binary.tar.gz file
    if cifar10_is_there; then
        say "CIFAR-10: there already"
        return
    fi
    get_from_mirrors "$archive" c32a1d4ab5d03f1284b67883e8d87530 md5_of_file
    run_interruptibly tar -xzf "$part/$archive" -C "$part" --strip-components=1 ||
        fail 73 "cannot unpack $archive in $out"
    for file in data_batch_{1,2,3,4,5}.bin test_batch.bin batches.meta.txt; do place "$file"; done
}

set=
out=
mirror=${LOCKSTEP_MIRROR:-}
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --out | --mirror)
        if [ $# -lt 2 ] || [ -z "$2" ]; then fail 64 "$1 needs a value"; fi
        if [ "$1" = --out ]; then out=$2; else mirror=$2; fi
        shift 2
        ;;
    mnist | cifar10)
        if [ -n "$set" ]; then fail 64 "one set at a time: $set or $1"; fi
        set=$1
        shift
        ;;
    *) fail 64 "unknown argument '$1'; known sets are mnist and cifar10 (see --help)" ;;
    esac
done
if [ -z "$set" ]; then
    usage >&2
    exit 64
fi
for tool in gzip tar md5sum; do
    command -v "$tool" >/dev/null || fail 69 "$tool is needed and not installed"
done
command -v curl >/dev/null || command -v wget >/dev/null ||
    fail 69 "curl or wget is needed and neither is installed"

case $set in
mnist)
    mirrors=(https://ossci-datasets.s3.amazonaws.com/mnist
        https://storage.googleapis.com/cvdf-datasets/mnist)
    ;;
cifar10) mirrors=(https://www.cs.toronto.edu/~kriz) ;;
esac
if [ -n "$mirror" ]; then mirrors=("$mirror"); fi
out=${out:-data/$set}
"get_$set"
say "$set is complete in $out"
