#!/usr/bin/env bash
# test_get_data.sh - jobs/get-data.sh against a server on this machine: what it keeps and refuses.
set -euo pipefail
source_folder=${LOCKSTEP_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
get_data=$source_folder/jobs/get-data.sh

skip() {
    echo "skipped: $1"
    exit 77
}

mnist=
for folder in "$source_folder/data/mnist" "$source_folder/../shared/data/mnist"; do
    if [ -f "$folder/train-images-idx3-ubyte.gz" ]; then mnist=$folder; fi
done
[ -n "$mnist" ] || skip "the .gz files of MNIST are not there"
for tool in python3 curl; do command -v $tool >/dev/null || skip "$tool is not installed"; done

work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi; rm -rf "$work"' EXIT

# The first folder of a URL says what the server does with the file.
cat >"$work/server.py" <<'PYTHON'
import http.server, os, sys, time
folder, work = sys.argv[1:]
broken_off = set()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        mode, name = self.path.strip("/").split("/")
        with open(os.path.join(work, "requests"), "a") as log:
            log.write(self.path + "\n")
        if mode == "missing" and "images" in name or not os.path.exists(os.path.join(folder, name)):
            return self.send_error(404)
        data = open(os.path.join(folder, name), "rb").read()
        if mode == "corrupt" and name.startswith("t10k-images"):
            data = data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]
        begin = 0
        asked = self.headers.get("Range")
        if asked and mode != "noresume":
            begin = int(asked.split("=")[1].split("-")[0])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        end = len(data)
        if mode in ("breakoff", "noresume") and name not in broken_off or mode == "stall":
            broken_off.add(name)
            end = begin + (len(data) - begin) // 2
        self.wfile.write(data[begin:end])
        self.wfile.flush()
        if mode == "stall":
            open(os.path.join(work, "stalled"), "w").close()
            time.sleep(60)

    def log_message(self, *arguments):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(os.path.join(work, "port.new"), "w") as file:
    file.write(str(server.server_address[1]))
os.rename(os.path.join(work, "port.new"), os.path.join(work, "port"))
server.serve_forever()
PYTHON
python3 "$work/server.py" "$mnist" "$work" &
server=$!
wait_for() {
    local _
    for _ in $(seq 200); do
        if [ -e "$1" ]; then return 0; fi
        sleep 0.1
    done
    echo "FAILED: $1 did not appear" && exit 1
}
wait_for "$work/port"
url=http://127.0.0.1:$(cat "$work/port")

failures=0
check() {
    local what=$1
    shift
    if "$@"; then echo "ok: $what"; else
        echo "FAILED: $what"
        failures=$((failures + 1))
    fi
}
# run EXIT-CODE ARGUMENTS...: get-data.sh, its output in $work/output.
run() {
    local expected=$1 code=0
    shift
    : >"$work/requests"
    no_proxy=127.0.0.1 bash "$get_data" "$@" >"$work/output" 2>&1 || code=$?
    if [ "$code" != "$expected" ]; then
        echo "exit code $code, expected $expected:"
        cat "$work/output"
        return 1
    fi
}
says() { grep -qF -- "$1" "$work/output"; }
holds_all_of_mnist() {
    local file
    for file in "$mnist"/*.gz; do cmp -s "$file" "$1/${file##*/}" || return 1; done
    [ "$(find "$1" -mindepth 1 | wc -l)" = 4 ]
}
holds_nothing() { [ -z "$(find "$1" -mindepth 1 2>/dev/null)" ]; }
asked_for_nothing() { [ ! -s "$work/requests" ]; }

check "a good download exits with 0" run 0 mnist --out "$work/good" --mirror "$url/good"
check "all four files are there, and nothing else" holds_all_of_mnist "$work/good"
check "a second run exits with 0" run 0 mnist --out "$work/good" --mirror "$url/good"
check "a second run asks for nothing" asked_for_nothing
check "a second run says so" says "train-images-idx3-ubyte.gz: there already"

export LOCKSTEP_MIRROR=$url/good
rm "$work/good/t10k-labels-idx1-ubyte.gz"
check "the mirror may come from the environment" run 0 mnist --out "$work/good"
check "only the missing file is fetched" test "$(cat "$work/requests")" = \
    /good/t10k-labels-idx1-ubyte.gz
unset LOCKSTEP_MIRROR

gzip -dc "$mnist/t10k-labels-idx1-ubyte.gz" >"$work/good/t10k-labels-idx1-ubyte"
rm "$work/good/t10k-labels-idx1-ubyte.gz"
check "a plain file serves as well" run 0 mnist --out "$work/good" --mirror "$url/good"
check "and nothing is fetched for it" asked_for_nothing
echo damaged >"$work/good/t10k-labels-idx1-ubyte"
check "a bad plain file that hides the good one fails" \
    run 73 mnist --out "$work/good" --mirror "$url/good"
check "and is named" says "t10k-labels-idx1-ubyte is not MNIST's"

check "a corrupt file fails" run 69 mnist --out "$work/corrupt" --mirror "$url/corrupt"
check "a corrupt file is refused by its MD5" says "refused: the MD5 of its content is"
check "a corrupt file is not kept" test ! -e "$work/corrupt/t10k-images-idx3-ubyte.gz"
check "no temporary is left" test -z "$(find "$work/corrupt" -name '.part-*')"

check "a missing file fails" run 69 mnist --out "$work/missing" --mirror "$url/missing"
check "a missing file is asked for once" test "$(wc -l <"$work/requests")" = 1
check "a missing file leaves nothing" holds_nothing "$work/missing"
check "no server fails" run 69 mnist --out "$work/none" --mirror "http://127.0.0.1:9/none"
check "and leaves nothing" holds_nothing "$work/none"

check "a download that breaks off is taken up" \
    run 0 mnist --out "$work/breakoff" --mirror "$url/breakoff"
check "and is whole" holds_all_of_mnist "$work/breakoff"
check "a server that cannot resume is asked again" \
    run 0 mnist --out "$work/noresume" --mirror "$url/noresume"
check "and gives the whole files" holds_all_of_mnist "$work/noresume"

no_proxy=127.0.0.1 bash "$get_data" mnist --out "$work/stall" --mirror "$url/stall" \
    >"$work/output" 2>&1 &
interrupted=$!
wait_for "$work/stalled"
kill -TERM "$interrupted"
code=0
wait "$interrupted" || code=$?
check "an interrupted run exits with 143" test "$code" = 143
check "an interrupted run leaves nothing" holds_nothing "$work/stall"

check "an unknown set is a usage error" run 64 imagenet
check "and is named" says "unknown argument 'imagenet'"
check "no set is a usage error" run 64
check "a folder that cannot be made is said" run 73 mnist --out /dev/null/x --mirror "$url/good"
check "cifar10 is checked too" run 69 cifar10 --out "$work/cifar" --mirror "$url/good"
check "and leaves nothing" holds_nothing "$work/cifar"

mkdir "$work/batches"
for file in data_batch_{1,2,3,4,5}.bin test_batch.bin; do truncate -s 30730000 "$work/batches/$file"; done
touch "$work/batches/batches.meta.txt"
check "unpacked batches serve" run 0 cifar10 --out "$work/batches" --mirror "$url/good"
check "and nothing is fetched for them" asked_for_nothing
printf '\012' | dd of="$work/batches/test_batch.bin" bs=1 seek=3073 conv=notrunc status=none
check "a batch with a wrong label does not" run 69 cifar10 --out "$work/batches" --mirror "$url/good"

echo "$failures failed"
[ "$failures" = 0 ]
