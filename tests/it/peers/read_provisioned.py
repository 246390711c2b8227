"""Prints what aws/provision.sh has made, without what differs from run to run."""

import json
import sys

import boto3

endpoint, _ = sys.argv[1:]


def client(name):
    return boto3.client(
        name,
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="dummy",
        aws_secret_access_key="dummy",
    )


logs, iam, ecs, cloudwatch = client("logs"), client("iam"), client("ecs"), client("cloudwatch")
groups = logs.describe_log_groups()["logGroups"]
roles = {
    role["RoleName"]: {
        "trust": role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"],
        "policies": {
            name: [
                statement["Action"]
                for statement in iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"][
                    "Statement"
                ]
            ]
            for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
        },
    }
    for role in iam.list_roles()["Roles"]
}
revisions = ecs.list_task_definitions(familyPrefix="cruddur")["taskDefinitionArns"]
images = [
    ecs.describe_task_definition(taskDefinition=revision)["taskDefinition"]["containerDefinitions"][0]["image"]
    for revision in revisions
]
alarms = {
    alarm["AlarmName"]: [alarm["Threshold"], *alarm["AlarmActions"]]
    for alarm in cloudwatch.describe_alarms()["MetricAlarms"]
}
dashboard = json.loads(cloudwatch.get_dashboard(DashboardName="Cruddur")["DashboardBody"])
print(json.dumps({
    "groups": {group["logGroupName"]: group.get("retentionInDays") for group in groups},
    "roles": roles,
    "images": images,
    "alarms": alarms,
    "widgets": [widget["properties"]["title"] for widget in dashboard["widgets"]],
}))
