#!/usr/bin/env bash
# A node whose /dev/shm is too small for the data set, as containers have it: one clear message from
# all ranks instead of a wait for ever; one rank needs none of it.
. "$(dirname "$0")/lib.sh"
unshare --mount true 2>/dev/null || skip "cannot make a mount namespace"
cat >"$folder/job.yaml" <<'YAML'
data: {format: synthetic, train_count: 60000, test_count: 64, image_size: 28}
model: {input: [1, 28, 28], layers: [flatten, linear: {out: 10}]}
train: {epochs: 1, batch_size: 64}
YAML

# little COMMAND...: with 32 MiB of /dev/shm, where the set has 45.
little() {
    unshare --mount bash -c 'mount -t tmpfs -o size=32m lockstep-test /dev/shm && exec "$@"' bash "$@"
}
expect 71 little timeout 60 "${MPIEXEC:-mpirun}" -n 2 "$lockstep" train "$folder/job.yaml" --out "$folder/two" --progress none
expect_text "/dev/shm has"
expect 0 little timeout 120 "${MPIEXEC:-mpirun}" -n 1 "$lockstep" train "$folder/job.yaml" --out "$folder/one" --progress none
passed
