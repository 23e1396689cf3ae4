#!/bin/sh
# Checks what is tracked: less than 45 MB in all, and no host name of a package registry. Packages are
# named and left to their ordinary clients, which know where this machine fetches from.
set -eu
cd "$(dirname "$0")/.."

if [ ! -e .git ]; then
    echo "not a git checkout: the tracked files are not checked" >&2
    exit 0
fi

limit_bytes=45000000
total_bytes=$(git ls-files -z --cached | xargs -0 cat | wc -c)
if [ "$total_bytes" -ge "$limit_bytes" ]; then
    echo "error: the tracked files hold $total_bytes bytes (expected < $limit_bytes)" >&2
    exit 1
fi

# Brackets keep this line from finding itself. Cargo.lock is cargo's own and names its index.
hosts='pyp[i]\.org|python[h]osted\.org|crate[s]\.io|npmj[s]\.(org|com)|de[b]\.debian\.org|(archive|ports)\.u[b]untu\.com'
if git grep -nIE "$hosts" -- ':!Cargo.lock'; then
    echo "error: host names of package registries stand in tracked files (above)" >&2
    exit 1
fi
