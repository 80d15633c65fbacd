#!/usr/bin/env bash
# Install the Debian packages that are missing, without asking: packages.sh build|test
# On another system: say what is needed, and go on if it is there.
set -euo pipefail

build=(gcc make cmake pkg-config git openmpi-bin libopenmpi-dev libhdf5-dev hdf5-tools
    libyaml-dev zlib1g-dev libxxhash-dev libjpeg-dev libpng-dev)
test=(check python3-pil python3-torch python3-h5py python3-numpy mpich libmpich-dev
    python3-yaml clang-format curl slurm-wlm slurmctld slurmd munge iproute2 util-linux hostname)
build_commands=(cc make cmake pkg-config git mpicc mpirun h5ls)
build_modules=(yaml-0.1 zlib libxxhash libjpeg libpng)

case ${1:-} in
    build) wanted=("${build[@]}") modules=("${build_modules[@]}") ;;
    test) wanted=("${build[@]}" "${test[@]}") modules=("${build_modules[@]}" check) ;;
    *) echo "usage: packages.sh build|test" >&2; exit 64 ;;
esac

# Without apt: are the commands and libraries there under whatever package name?
check_tools() {
    local absent=() command module
    for command in "${build_commands[@]}"; do
        type -P "$command" >/dev/null || absent+=("$command")
    done
    for module in "${modules[@]}"; do
        pkg-config --exists "$module" 2>/dev/null || absent+=("$module (pkg-config)")
    done
    pkg-config --exists hdf5-serial 2>/dev/null || pkg-config --exists hdf5 2>/dev/null ||
        absent+=("hdf5 (pkg-config)")
    if [ ${#absent[@]} -gt 0 ]; then
        printf 'not found: %s\n' "${absent[@]}" >&2
        exit 1
    fi
}

if ! type -P apt-get >/dev/null || ! type -P dpkg-query >/dev/null; then
    echo "No apt-get here. Needed are what Debian calls: ${wanted[*]}"
    check_tools
    exit 0
fi

missing=()
for package in "${wanted[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! type -P sudo >/dev/null; then
        echo "Packages are missing; as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
}

echo "== Install ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { install update && install install -y --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    echo "apt-get failed; needed: ${missing[*]}" >&2
    exit 1
fi
