#!/usr/bin/env bash
# Builds the source archive and the wheel, checks both, and installs the wheel into an empty environment of each Python that is named:
#
#     packaging/try.sh [PYTHON ...]          by default python3
#
# In each environment: CPU torch, the wheel, what pip says of its requirements, untwin doctor, and one small reconstruction.
# TORCH: what pip is asked for, by default "torch --index-url https://download.pytorch.org/whl/cpu". EXTRAS: such as "[fast]".
# Environments are made in a temporary folder and removed. The last lines are a table for packaging/RELEASE.md.
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra torch <<< "${TORCH:-torch --index-url https://download.pytorch.org/whl/cpu}"
work=$(mktemp -d "${TMPDIR:-/tmp}/untwin-try.XXXXXX")
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/build"
"$work/build/bin/pip" install -q build twine
rm -rf dist
"$work/build/bin/python" -m build -o dist . > "$work/build.log" || { cat "$work/build.log"; exit 1; }
"$work/build/bin/twine" check --strict dist/*
ls -l dist
wheel=$(ls "$PWD"/dist/untwin-*.whl)

rows=()
for python in "${@:-python3}"; do
    echo "== $python"
    env=$work/$(basename "$python")
    "$python" -m venv "$env"
    "$env/bin/pip" install -q "${torch[@]}"
    "$env/bin/pip" install -q "$wheel${EXTRAS:-}"
    "$env/bin/pip" check
    mkdir "$env/tried" && cd "$env/tried"  # not the tree: what is imported is what was installed
    "$env/bin/python" -c 'import untwin; [getattr(untwin, name) for name in untwin.__all__]; print(untwin.__file__)'
    "$env/bin/untwin" doctor
    "$env/bin/untwin" simulate crystal -o crystal.cxi
    "$env/bin/untwin" reconstruct crystal.cxi -o result
    "$env/bin/untwin" compare result crystal_truth.cxi
    rows+=("$("$env/bin/python" - "$(du -sm "$env/lib" | cut -f1)" <<< '
import platform, sys
import torch, untwin
verdict = {True: "TRUST", None: "CANNOT SAY", False: "DO NOT TRUST"}[untwin.load("result").verdict.trusted]
print("|", " | ".join([platform.python_version(), torch.__version__, sys.argv[1] + " MB", verdict]), "|")')")
    cd - > /dev/null
    rm -rf "$env"
done
printf '%s\n' "| Python | torch | installed | verdict |" "|---|---|---|---|" "${rows[@]}"
