#!/usr/bin/env bash
# Every allocation, open, read and write is made to fail once, on one rank of two: the job ends on all
# ranks with a message and a proper exit code, or trains on and says so; and what was saved stays whole.
. "$(dirname "$0")/lib.sh"
cat >"$folder/job.yaml" <<'YAML'
data: {format: synthetic, train_count: 64, test_count: 16, image_size: 12}
model: {input: [1, 12, 12], layers: [flatten, linear: {out: 8}, batch_norm, relu, linear: {out: 10}]}
train: {epochs: 2, batch_size: 16, microbatch: 8}
YAML

# sweep RANK: fail point 1, then further ones in growing steps, until a run meets no fault.
sweep() {
    local rank=$1 point=1 code survived=0 failed=0
    while :; do
        rm -rf "$folder/run"
        code=0
        LOCKSTEP_FAULT=$point@$rank ranks 2 train "$folder/job.yaml" --out "$folder/run" \
            >"$folder/out" 2>"$folder/err" || code=$?
        checks=$((checks + 1))
        case $code in
        0)
            if ! grep -q '^warning' "$folder/out"; then survived=$((survived + 1)); fi
            if [ "$survived" -ge 3 ]; then break; fi
            ;;
        71 | 73 | 74)
            failed=$((failed + 1))
            survived=0
            if ! grep -q '^lockstep: ' "$folder/err"; then
                cat "$folder/out" "$folder/err"
                fail "rank $rank, point $point: code $code without a message"
            fi
            ;;
        *)
            cat "$folder/out" "$folder/err"
            fail "rank $rank, point $point: exit code $code"
            ;;
        esac
        if ls "$folder/run/checkpoints/"*.h5 >/dev/null 2>&1; then
            expect 0 "$lockstep" train "$folder/job.yaml" --out "$folder/run" --resume --progress none
        fi
        point=$((point + 1 + point / 6))
        [ "$point" -lt 5000 ] || fail "rank $rank: the faults never end"
    done
    echo "rank $rank: $failed failing points, the last tried $point"
    [ "$failed" -ge 10 ] || fail "rank $rank: only $failed points failed"
}
sweep 0
sweep 1
passed
