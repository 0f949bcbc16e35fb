#!/bin/sh
# The lock of npm's packages names no registry (which one is the machine's choice), and each package has its checksum.
set -eu
cd "$(dirname "$0")/../.."
if grep -n '"resolved"' package-lock.json; then
    echo "  -> npm install in this directory, whose .npmrc leaves registries out." >&2
    exit 1
fi
# shellcheck disable=SC2016 # JavaScript's
node -e '
    const { packages } = require("./package-lock.json");
    const bare = Object.keys(packages).filter((name) => name && !packages[name].integrity);
    if (bare.length) console.error(`package-lock.json has no checksum of ${bare.join(", ")}.`);
    process.exit(bare.length ? 1 : 0);'
