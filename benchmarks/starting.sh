#!/usr/bin/env bash
# Seconds of commands on a few clips, nearly all of them starting, measuring and drawing, by another revision beside this
# checkout's, in turns: benchmarks/starting.sh REVISION [TURNS].
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD other=$(mktemp -d) runs=$(mktemp -d)
trap 'git worktree remove --force "$other"; rm -rf "$runs"' EXIT
git worktree add --quiet --detach "$other" "$1"
few="--device cpu --training.epochs 1"
for split in train val test; do few+=" --data.avdigits.${split}_clips 27"; done
TIMEFORMAT=%R

seconds() {
	{ time PYTHONPATH=$tree "$here/.venv/bin/python" -m snn_cace "$@" >/dev/null 2>&1; } 2>&1
}

for turn in $(seq "${2:-3}"); do
	for tree in "$other" "$here"; do
		cd "$tree"
		out=$runs/$turn-$(basename "$tree")
		echo -n "train $(seconds train --config configs/avdigits/snn.yaml --output "$out/run" $few) s, "
		echo -n "evaluate $(seconds evaluate --checkpoint "$out/run") s, "
		echo -n "compare $(seconds compare --config configs/compare/avdigits.yaml --seeds 0 --output "$out/all" $few) s  "
		[ "$tree" = "$here" ] && echo "this checkout" || echo "$1"
	done
done
