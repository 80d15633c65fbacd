#!/usr/bin/env bash
# Every benchmark runs with tiny sizes and prints its figures, as columns and as JSON. How large they are is not
# judged here.
. "$(dirname "$0")/lib.sh"

# figure NAME UNIT [SHARE_OF]: the last command printed such a line.
figure() {
    checks=$((checks + 1))
    grep -qE "^$1 +[^ ].* [0-9]+\.[0-9]+ $2${3:+ +[0-9.]+ % of $3}\$" "$folder/out" ||
        { cat "$folder/out"; fail "no figure '$1' in $2${3:+, as a share of $3}"; }
}
# json NAME...: the last command printed nothing but JSON, among it figures of these names.
json() {
    python3 - "$folder/out" "$@" <<'END' || { cat "$folder/out"; fail "not the JSON of $*"; }
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    figures = [json.loads(line) for line in file]
missing = set(sys.argv[2:]) - {figure["name"] for figure in figures}
if missing or not all(figure["value"] >= 0 and figure["unit"] for figure in figures):
    sys.exit("missing: %s" % missing)
END
    checks=$((checks + 1))
}

expect 0 "$lockstep" bench kernels --repeats 1
figure "FMA peak" GFLOP/s
figure copy GB/s
for name in add "sgd momentum" adam; do figure "$name" GB/s copy; done
for layer in $(sed -nE 's/^LAYER\((.*)\)$/\1/p' "$source_folder/src/layers/registry.def"); do
    case $layer in
    linear | conv2d)
        for pass in forward "input gradient" "weight gradient"; do figure "$layer $pass" GFLOP/s "FMA peak"; done
        ;;
    flatten | sequential) ;; # do nothing themselves
    *) for pass in forward backward; do figure "$layer $pass" GB/s copy; done ;;
    esac
done
expect 0 "$lockstep" bench kernels --repeats 1 --json
json "FMA peak" "linear forward" "conv2d weight gradient" "relu backward"
for isa in $(instruction_sets); do
    expect 0 "$lockstep" bench kernels --repeats 1 --isa "$isa"
    grep -q "^FMA peak .*$isa" "$folder/out" || fail "--isa $isa was not measured"
done
expect 64 "$lockstep" bench kernels --isa abacus
expect_text "abacus"
expect 64 "$lockstep" bench kernels --repeats 0
expect 64 "$lockstep" bench kernel

# A job that reads files is measured without them; the ranks share one batch.
job=("$source_folder/jobs/mnist-mlp-adam-bn.yaml" --set "model.layers=[flatten, linear: {out: 10}, log_softmax]")
expect 0 ranks 2 bench step "${job[@]}" --repeats 1 --threads 2
figure "FMA peak" GFLOP/s
figure training samples/s
figure step ms
figure communication ms step
figure multiply-adds GFLOP/s "FMA peak"
grep -q "2 ranks, 2 threads each" "$folder/out" || fail "the ranks and threads were not told"
figure "exchange and optimizer" ms step
awk '{ at = match($0, /[0-9] (GFLOP|samples|ms)/) } NR == 1 { column = at } at != column { exit 1 }' "$folder/out" ||
    { cat "$folder/out"; fail "the figures are not in one column"; }
expect 0 "$lockstep" bench step "${job[@]}" --repeats 4 --json
json "FMA peak" training step communication multiply-adds
python3 - "$folder/out" <<'END' || { cat "$folder/out"; fail "the parts are not those of the step"; }
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    figures = [json.loads(line) for line in file]
step, = [figure["value"] for figure in figures if figure["name"] == "step"]
parts = [figure for figure in figures if figure.get("share_of") == "step" and figure["name"] != "communication"]
fits = len(parts) == 2 * 3 + 5 and abs(sum(part["value"] for part in parts) / step - 1) < 1e-3
sys.exit(not fits or any(abs(part["value"] / step - part["share"]) > 1e-3 for part in parts))
END
expect 78 ranks 2 bench step "${job[@]}" --set train.batch_size=1
expect 66 "$lockstep" bench step "$folder/none.yaml"

expect 0 ranks 3 bench allreduce --repeats 1
for name in "node barrier" records "exchange and update" "the same, clipped"; do figure "$name" us "MPI_.*"; done
for name in MPI_Barrier MPI_Allreduce "MPI_Allreduce and update"; do figure "$name" us; done
expect 0 "$lockstep" bench allreduce --repeats 1 --json
json "node barrier" "exchange and update" "MPI_Allreduce and update"
passed
