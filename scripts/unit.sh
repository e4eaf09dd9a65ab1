#!/usr/bin/env bash
# Builds the unit tests and runs them: those without engines side by side, then those that start engines and measure
# short times one by one. Up to two that fail are run once more by themselves: those that pass then are printed as
# FLAKY, and don't fail the run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
engines='^(RedisClientTests|RedisClusterTests|RedisIngestTests)\.'
results=.build/unit-tests
most=2 failed=''

# Adds the names of the tests that failed to `failed`, as `--filter` takes them. If there are none, the tests did not
# build or were cut off.
tests() { # NAME ARGUMENT…
    local name=$1 names
    shift
    if swift test "$@" --xunit-output "$results/$name.xml"; then return; fi
    [ -s "$results/$name-swift-testing.xml" ] || exit 1
    names=$(python3 - "$results/$name-swift-testing.xml" <<'END'
import re, sys, xml.etree.ElementTree

try:
    results = xml.etree.ElementTree.parse(sys.argv[1])
except xml.etree.ElementTree.ParseError:
    sys.exit("The tests were cut off.")
for case in results.iter("testcase"):
    if case.find("failure") is not None:
        suite = case.get("classname")
        print(re.escape(suite + ("/" if "." in suite else ".") + case.get("name")))
END
    ) || exit 1
    if [ -z "$names" ]; then exit 1; fi
    failed+=$names$'\n'
}

rm -rf "$results" && mkdir -p "$results" || exit
tests without-engines --skip "$engines"
tests with-engines --filter "$engines" --no-parallel
failed=${failed%$'\n'}
if [ -z "$failed" ]; then exit 0; fi
if [ "$(wc -l <<<"$failed")" -gt "$most" ]; then exit 1; fi

printf '\nrunning again what has failed:\n%s\n' "$failed"
swift test --no-parallel --filter "$(paste -sd'|' <<<"$failed")" --xunit-output "$results/again.xml" || exit
# A name that is not found again has not passed.
[ "$(grep -c '<testcase' "$results/again-swift-testing.xml")" -eq "$(wc -l <<<"$failed")" ] || exit
sed 's/^/FLAKY: /' <<<"$failed"
