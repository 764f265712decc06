#!/usr/bin/env bash
# The step of action.yml: its inputs come as environment variables, never as text of the script.
set -uo pipefail

words=(check "$BASELINE")
if [ -n "${CANDIDATE:-}" ]; then words+=("$CANDIDATE"); fi
if [ -n "${SUITE:-}" ]; then words+=(--suite "$SUITE"); fi
if [ -n "${POLICY:-}" ]; then words+=(--policy "$POLICY"); fi
if [ -n "${BASELINE_CODE:-}" ]; then words+=(--baseline-code "$BASELINE_CODE"); fi
reports="${REPORTS:-touchstone-reports}"

code=0
touchstone "${words[@]}" --json "$reports/check.json" --markdown "$reports/check.md" \
    --junit "$reports/junit.xml" || code=$?

if [ "$code" = 5 ] && [ "${DOUBT:-fail}" = warn ]; then
    echo "::warning title=touchstone check::the data cannot tell; see the summary"
    exit 0
fi
exit "$code"
