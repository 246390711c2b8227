#!/usr/bin/env bash
# Makes in AWS what the service needs there, or brings it up to date. Run again, it changes nothing that is as it should be.
set -euo pipefail
export AWS_PAGER=""

readonly STEPS=(logs xray roles task alarms dashboard)
readonly SECRETS=(/cruddur/honeycomb-api-key /cruddur/rollbar-access-token)
# The variables that the documents have places for.
PLACES=(APP_ENV AWS_REGION BACKEND_URL ECS_CLUSTER ECS_SERVICE FRONTEND_URL IMAGE)

usage() {
    cat <<'END'
Usage: aws/provision.sh [--dry-run] [STEP...]

Makes in AWS what the service needs there, or brings it up to date; without a step, all of it:

  logs        the log groups cruddur and /ecs/cruddur, and how long they keep lines
  xray        the group and the sampling rule Cruddur
  roles       the roles cruddur-task and cruddur-execution, with their policies
  task        a revision of the ECS task definition cruddur, where something in it is new
  alarms      on faults, latency, CPU, memory and spending
  dashboard   the dashboard Cruddur: latency, traffic, errors, saturation

  --dry-run   prints the calls and makes none
  --help      prints this

It takes its credentials as the AWS CLI does; aws/json/provisioning-policy.json is what they must allow. Variables:

  AWS_REGION                 where (required; AWS_DEFAULT_REGION does as well)
  IMAGE                      the service's image (required by task)
  APP_ENV                    production
  FRONTEND_URL, BACKEND_URL  where users find the two (http://localhost:3000, http://localhost:4567)
  CLOUDWATCH_RETENTION_DAYS  30; the containers' own output is kept for 14
  ECS_CLUSTER, ECS_SERVICE   whose CPU and memory are watched (cruddur, cruddur)
  ALARM_TOPIC                ARN of the SNS topic that alarms are sent to; without one they only show
END
}

wrong() {
    printf 'aws/provision.sh: %s\n' "$1" >&2
    exit 2
}

failed() {
    printf 'aws/provision.sh: %s failed at "aws %s"; what comes after it was not done, and running this again is safe\n' \
        "$step" "$1" >&2
    exit 1
}

# Prints a call as it could be typed.
show() {
    local word line=aws
    for word in "$@"; do
        [[ $word =~ ^[A-Za-z0-9_./:=,-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
        line+=" $word"
    done
    printf '%s\n' "$line"
}

# Makes a call that changes something and may be repeated.
change() {
    if $dry; then
        show "$@"
    else
        aws "$@" >/dev/null || failed "$1 $2"
    fi
}

# Makes a call that makes something. False where that is there already, by the name of the error that says so; a dry run
# goes both ways.
create() { # error, call...
    local there=$1 said
    shift
    if $dry; then
        show "$@"
        return 1
    fi
    said=$(aws "$@" 2>&1) && return
    [[ $said == *"($there)"* ]] && return 1
    printf '%s\n' "$said" >&2
    failed "$1 $2"
}

note() {
    if $dry; then printf '# %s\n' "$1"; fi
}

# Prints what a call answers that changes nothing.
ask() {
    if $dry; then return; fi
    aws "$@" --output text || failed "$1 $2"
}

# Prints a file of json/ on one line, with the values of its ${VARIABLES}.
render() {
    local text name value
    text=$(sed 's/^ *//' "json/$1" | tr -d '\n')
    for name in "${PLACES[@]}"; do
        value=${!name-}
        text=${text//"\${$name}"/"$value"}
    done
    printf '%s' "$text"
}

keep_lines() { # group, days
    create ResourceAlreadyExistsException logs create-log-group --log-group-name "$1" || true
    change logs put-retention-policy --log-group-name "$1" --retention-in-days "$2"
}

logs() {
    keep_lines cruddur "$CLOUDWATCH_RETENTION_DAYS"
    keep_lines /ecs/cruddur 14
}

# X-Ray has no error of its own for what is there already, so that it is looked for.
xray() {
    local there document
    there=$(ask xray get-groups --query "Groups[?GroupName=='Cruddur'].GroupName")
    document=$(render xray-group.json)
    one_of "$there" create-group "$document" update-group "$document"
    there=$(ask xray get-sampling-rules \
        --query "SamplingRuleRecords[?SamplingRule.RuleName=='Cruddur'].SamplingRule.RuleName")
    document=$(render xray.json)
    # An update names the same things but for the version, which stays.
    local update=${document/'"Version": 1,'/}
    one_of "$there" create-sampling-rule "$document" update-sampling-rule "${update/SamplingRule/SamplingRuleUpdate}"
}

one_of() { # what is there, call and document that create it, call and document that update it
    if [ -z "$1" ]; then change xray "$2" --cli-input-json "$3"; fi
    note "where it is there already:"
    if [ -n "$1" ] || $dry; then change xray "$4" --cli-input-json "$5"; fi
}

roles() {
    role cruddur-task cloudwatch-runtime xray-runtime
    role cruddur-execution execution
}

role() { # name, policies...
    local name=$1 policy trust
    shift
    trust=$(render task-trust-policy.json)
    if ! create EntityAlreadyExists iam create-role --role-name "$name" --assume-role-policy-document "$trust"; then
        note "where it is there already:"
        change iam update-assume-role-policy --role-name "$name" --policy-document "$trust"
    fi
    for policy in "$@"; do
        change iam put-role-policy --role-name "$name" --policy-name "$policy" \
            --policy-document "$(render "$policy-policy.json")"
    done
}

# Each registration is a revision, so that one is made only where it would differ: a tag has the last one's digest.
task() {
    local COLLECTOR_CONFIG DIGEST PLACES=("${PLACES[@]}" COLLECTOR_CONFIG DIGEST) document latest
    COLLECTOR_CONFIG=$(render collector.json)
    COLLECTOR_CONFIG=${COLLECTOR_CONFIG//\"/\\\"}
    document=$(render task-definition.json)
    DIGEST=$(printf '%s' "$document" | cksum | tr ' ' -)
    document=$(render task-definition.json)
    latest=$(latest_digest)
    if [ "$latest" = "$DIGEST" ]; then
        echo "task: the latest revision of the task definition is this one"
    else
        change ecs register-task-definition --cli-input-json "$document"
    fi
    warn_of_missing_secrets
}

latest_digest() {
    local said
    if $dry; then return; fi
    if said=$(aws ecs describe-task-definition --task-definition cruddur --include TAGS \
        --query "tags[?key=='digest'].value" --output text 2>&1); then
        printf '%s' "$said"
    elif [[ $said != *"Unable to describe task definition"* ]]; then
        printf '%s\n' "$said" >&2
        failed "ecs describe-task-definition"
    fi
}

# A task whose secrets are missing does not start.
warn_of_missing_secrets() {
    local known secret
    if $dry; then return; fi
    known=$(ask ssm describe-parameters --query "Parameters[].Name" \
        --parameter-filters "Key=Name,Option=Equals,Values=$(IFS=,; echo "${SECRETS[*]}")")
    for secret in "${SECRETS[@]}"; do
        [[ " ${known//[[:space:]]/ } " == *" $secret "* ]] || cat >&2 <<END
task: the secret $secret is missing, without which no task starts. With the secret in a file:
  aws ssm put-parameter --type SecureString --name $secret --value file://FILE
END
    done
}

alarms() {
    local file actions=()
    if [ -n "${ALARM_TOPIC:-}" ]; then actions=(--alarm-actions "$ALARM_TOPIC" --ok-actions "$ALARM_TOPIC"); fi
    for file in json/alarms/*.json; do
        change cloudwatch put-metric-alarm --cli-input-json "$(render "${file#json/}")" ${actions[@]+"${actions[@]}"}
    done
}

# CloudWatch takes a dashboard with mistakes, and says so in its answer.
dashboard() {
    local call=(cloudwatch put-dashboard --dashboard-name Cruddur --dashboard-body "$(render dashboard.json)") mistakes
    if $dry; then
        show "${call[@]}"
        return
    fi
    mistakes=$(ask "${call[@]}" --query "DashboardValidationMessages[].[DataPath,Message]")
    if [ -n "$mistakes" ]; then printf 'dashboard: taken, with mistakes:\n%s\n' "$mistakes" >&2; fi
}

dry=false
chosen=()
for word in "$@"; do
    case $word in
    --help)
        usage
        exit
        ;;
    --dry-run) dry=true ;;
    *)
        [[ " ${STEPS[*]} " == *" $word "* ]] || wrong "there is no step \"$word\", but ${STEPS[*]}"
        chosen+=("$word")
        ;;
    esac
done
[ ${#chosen[@]} != 0 ] || chosen=("${STEPS[@]}")

export AWS_REGION=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}
export AWS_DEFAULT_REGION=$AWS_REGION
APP_ENV=${APP_ENV:-production}
BACKEND_URL=${BACKEND_URL:-http://localhost:4567}
CLOUDWATCH_RETENTION_DAYS=${CLOUDWATCH_RETENTION_DAYS:-30}
ECS_CLUSTER=${ECS_CLUSTER:-cruddur}
ECS_SERVICE=${ECS_SERVICE:-cruddur}
FRONTEND_URL=${FRONTEND_URL:-http://localhost:3000}
IMAGE=${IMAGE:-}

[ -n "$AWS_REGION" ] || wrong "AWS_REGION is not set; it should be something like eu-central-1"
[[ " ${chosen[*]} " != *" task "* ]] || [ -n "$IMAGE" ] ||
    wrong "IMAGE is not set; it should be the service's image, such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com/cruddur:1"
for name in "${PLACES[@]}"; do
    [[ ${!name} =~ ^[A-Za-z0-9._:/@*-]*$ ]] || wrong "$name is \"${!name}\", which has characters that it cannot have"
done
$dry || command -v aws >/dev/null ||
    wrong "the AWS CLI is missing: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"

cd "$(dirname "${BASH_SOURCE[0]}")"
for step in "${chosen[@]}"; do
    note "$step"
    "$step"
    $dry || printf '%s: done\n' "$step"
done
