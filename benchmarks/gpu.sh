#!/usr/bin/env bash
# Everything that wants a GPU, on a machine that has Python, torch and the usual packages beside it, and no package index.
#
#   benchmarks/gpu.sh wheels [PYTHON]     # here, once: the wheels that such a machine lacks, into .wheels/ (for Python 3.12)
#   benchmarks/gpu.sh OUT [PART ...]      # there, with .wheels/ carried along; the whole call ends after nine minutes
#   benchmarks/gpu.sh OUT --small         # anywhere, at a size of seconds
#
# Parts: study, 33M, 5M (a step of each model), attention, batches, memory, loaders, training, inference: each ends within
# nine minutes by itself, so name one or two a call. OUT gets results.md, results.json and curve.png as far as it came.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = wheels ]; then
    rm -rf .wheels
    packages="orjson pydantic pydantic-core annotated-types typing-inspection tomli-w ftfy wcwidth zstandard datasketch loky"
    # shellcheck disable=SC2086  # one argument a package
    python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version "${2:-3.12}" --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        --constraint constraints.txt --dest .wheels $packages
    du -sh .wheels
    exit
fi
[ $# -ge 1 ] || { sed -n '2,9p' "$0"; exit 2; }

packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
if [ -d .wheels ]; then
    for wheel in .wheels/*.whl; do python3 -m zipfile -e "$wheel" "$packages"; done  # what pip would do, without pip
fi
export PYTHONPATH="$PWD:$packages" PYTHONUNBUFFERED=1
timeout 540 python3 -m benchmarks.gpu "$@"
