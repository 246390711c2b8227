"""Checks IAM policies more strictly than IAM does: every action exists and is named in full, every resource is one of the
action's service, and all resources are allowed only where the service knows no single ones.

Run by itself, it checks the files that are its arguments, and prints what is wrong.
"""

import json
import re
import sys

import botocore.session

# Actions that are permissions and not operations of an API.
NO_OPERATIONS = {"iam:PassRole"}
# Actions on no resource, by the service authorization reference.
ON_NOTHING = {
    "ecr:GetAuthorizationToken",
    "ecs:DescribeTaskDefinition",
    "ecs:RegisterTaskDefinition",
    "ssm:DescribeParameters",
    "xray:GetGroups",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
ARN = re.compile(r"arn:aws:([a-z0-9-]+):(\*|[a-z0-9-]*):(\*|\d{12}|):\S.*")
SESSION = botocore.session.get_session()


def listed(value):
    return value if isinstance(value, list) else [value]


def check(policy, trusts):
    """What is wrong with a policy; one that trusts names who may take a role on, any other what may be done to what."""
    mistakes = []
    if set(policy) != {"Version", "Statement"} or policy["Version"] != "2012-10-17":
        return [f"a policy has the Version 2012-10-17 and a Statement, not {sorted(policy)}"]
    most = 2048 if trusts else 10240
    if len(json.dumps(policy, separators=(",", ":"))) > most:
        mistakes.append(f"a policy has {most} characters at most")
    sids = [statement.get("Sid", "") for statement in policy["Statement"]]
    if len(set(sids)) != len(sids):
        mistakes.append(f"a Sid is there twice: {sids}")
    for statement in policy["Statement"]:
        mistakes += [f"{statement.get('Sid')}: {mistake}" for mistake in check_statement(statement, trusts)]
    return mistakes


def check_statement(statement, trusts):
    needed = {"Sid", "Effect", "Action", "Principal" if trusts else "Resource"}
    keys = set(statement)
    if not needed <= keys <= needed | {"Condition"}:
        yield f"it should have {sorted(needed)}, not {sorted(keys)}"
        return
    if not re.fullmatch("[A-Za-z0-9]+", statement["Sid"]):
        yield "a Sid has letters and digits only"
    if statement["Effect"] not in ("Allow", "Deny"):
        yield f"the Effect is {statement['Effect']}"
    actions = listed(statement["Action"])
    for action in actions:
        yield from check_action(action)
    services = {action.split(":")[0] for action in actions}
    for resource in listed(statement.get("Resource", [])):
        if resource == "*":
            yield from (f"{action} should be on named resources" for action in actions if action not in ON_NOTHING)
        elif not (found := ARN.fullmatch(resource)):
            yield f"not an ARN: {resource}"
        elif found[1] not in services:
            yield f"none of the actions is on a resource of {found[1]}"
    if trusts and statement["Principal"] != {"Service": "ecs-tasks.amazonaws.com"}:
        yield f"only tasks of ECS should be trusted, not {statement['Principal']}"
    for operator in statement.get("Condition", {}):
        if operator not in ("StringEquals", "ArnLike"):
            yield f"the condition {operator} is not known here"


def check_action(action):
    service, _, name = action.partition(":")
    if action in NO_OPERATIONS:
        return
    if service not in SESSION.get_available_services():
        yield f"there is no service {service}"
    elif name not in SESSION.get_service_model(service).operation_names:
        yield f"there is no action {action}"


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            for mistake in check(json.load(file), False):
                print(f"{path.rsplit('/', 1)[-1]}: {mistake}")
