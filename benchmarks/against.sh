#!/usr/bin/env bash
# Training of ANN and SNN of another revision beside this checkout's, in turns: benchmarks/against.sh REVISION
# [TURNS [NETWORKS]].
# At AVE's size, batch 8, three epochs of some clips; and on AV-Digits, two epochs as its configs say. Prints the seconds
# that each run says it trained. NETWORKS: of ave/ann ave/snn avdigits/ann avdigits/snn, which are all run unless said.
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra networks <<<"${3:-ave/ann ave/snn avdigits/ann avdigits/snn}"
here=$PWD other=$(mktemp -d) runs=$(mktemp -d)
trap 'git worktree remove --force "$other"; rm -rf "$runs"' EXIT
git worktree add --quiet --detach "$other" "$1"
.venv/bin/snn-cace data synthetic "$runs/data" --clips 96 --dtype float16
for turn in $(seq "${2:-3}"); do
	for tree in "$other" "$here"; do
		for name in "${networks[@]}"; do
			out=$runs/$turn-$(basename "$tree")-${name/\//-}
			options=(--training.epochs 2)
			[ "${name%/*}" = ave ] && options=(--data "$runs/data" --data.batch_size 8 --training.epochs 3)
			(cd "$tree" && PYTHONPATH=$tree "$here/.venv/bin/python" -m snn_cace train --config "configs/$name.yaml" \
				"${options[@]}" --device cpu --output "$out" --quiet >/dev/null)
			echo -n "$name $(grep -o '"train_seconds": [0-9.]*' "$out/metrics.json")  "
		done
		[ "$tree" = "$here" ] && echo "this checkout" || echo "$1"
	done
done
