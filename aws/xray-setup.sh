#!/usr/bin/env bash
# Makes X-Ray's group and sampling rule, once for an account and region; it needs credentials that may do so.
# The name is the service's: OTEL_SERVICE_NAME, or AWS_XRAY_TRACING_NAME where that is set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The filter is compared with the segments' name, which has no scheme: service("https://…") finds nothing.
aws xray create-group --group-name Cruddur --filter-expression 'service("cruddur-backend")'
aws xray create-sampling-rule --cli-input-json file://json/xray.json
