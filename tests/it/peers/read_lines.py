"""Prints everything that a log group holds, as {stream: [[timestamp, message], …]}, and how long it keeps it."""

import json
import sys

import boto3

endpoint, group = sys.argv[1:]
client = boto3.client(
    "logs",
    region_name="us-east-1",
    endpoint_url=endpoint,
    aws_access_key_id="dummy",
    aws_secret_access_key="dummy",
)
[found] = client.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
streams = {}
for page in client.get_paginator("describe_log_streams").paginate(logGroupName=group):
    for stream in page["logStreams"]:
        name, lines, token = stream["logStreamName"], [], None
        while True:
            more = {"nextToken": token} if token else {}
            answer = client.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True, **more)
            lines += [[event["timestamp"], event["message"]] for event in answer["events"]]
            if token == answer["nextForwardToken"]:
                break
            token = answer["nextForwardToken"]
        streams[name] = lines
print(json.dumps({"streams": streams, "retention": found.get("retentionInDays")}))
