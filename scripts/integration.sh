#!/usr/bin/env bash
# Runs the tests of the real binary on two cores, then those that are marked `alone` one by one; those that are marked
# `nightly` are for scripts/nightly.sh. Up to two that fail are run once more by themselves: those that pass then are
# printed as FLAKY, and don't fail the run.
#
#   SIDESOCKET_BINARY=… [WORKERS=…] scripts/integration.sh [pytest arguments]
#
# Paths among the arguments begin with Tests/Integration/, and without any all tests run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
python=${PYTHON:-.venv/bin/python}
cache=Tests/Integration/.pytest_cache/v/cache/lastfailed
most=2 where=(Tests/Integration)
for argument in "$@"; do case $argument in Tests/Integration/*) where=() ;; esac done

# pytest ends with 1 when tests have failed, and with 5 when the arguments leave none of this kind.
tests() {
    local status=0
    "$python" -m pytest "${where[@]}" "$@" || status=$?
    case $status in
        0) passed=yes ;;
        1) failed=yes ;;
        5) ;;
        *) exit "$status" ;;
    esac
}

rm -f "$cache"
passed='' failed=''
# A worker takes over from the other what that has not come to: both end at the same time, and most of the tests of a
# file, which may share a sidecar, stay together.
tests -m "not alone and not nightly" --numprocesses "${WORKERS:-2}" --dist worksteal "$@"
tests -m "alone and not nightly" "$@"
if [ -z "$failed" ]; then
    [ -n "$passed" ] || exit 5
    exit 0
fi

# Without the list of them, the run itself was cut off.
if [ ! -s "$cache" ]; then exit 1; fi
failed=$("$python" -c 'import json, sys; print("\n".join(json.load(open(sys.argv[1]))))' "$cache")
if [ "$(wc -l <<<"$failed")" -gt "$most" ]; then exit 1; fi
printf '\nrunning again what has failed:\n%s\n' "$failed"
"$python" -m pytest "${where[@]}" --last-failed "$@" || exit
sed 's/^/FLAKY: /' <<<"$failed"
