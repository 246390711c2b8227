#!/bin/sh
# Writes where the services are reached from outside, in Gitpod and in Codespaces, into .env or the file that is named.
# Anywhere else localhost is right, and nothing is written.
set -eu
file=${1:-.env}

if [ -n "${GITPOD_WORKSPACE_ID:-}" ]; then
    place="$GITPOD_WORKSPACE_ID.$GITPOD_WORKSPACE_CLUSTER_HOST"
    frontend="3000-$place"
    backend="4567-$place"
elif [ -n "${CODESPACE_NAME:-}" ]; then
    domain=${GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN:-app.github.dev}
    frontend="$CODESPACE_NAME-3000.$domain"
    backend="$CODESPACE_NAME-4567.$domain"
else
    exit 0
fi

touch "$file"
kept=$(grep -vE '^(FRONTEND_URL|BACKEND_URL|AWS_XRAY_URL)=' "$file" || true)
{
    [ -z "$kept" ] || printf '%s\n' "$kept"
    echo "FRONTEND_URL=https://$frontend"
    echo "BACKEND_URL=https://$backend"
    echo "AWS_XRAY_URL=*$backend*"
} > "$file"
