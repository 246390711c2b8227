"""Puts segment documents (a JSON array of texts in a file), reads their traces back, and prints what came of it."""

import json
import sys
import time

import boto3

endpoint, path = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    documents = json.load(file)
client = boto3.client(
    "xray",
    region_name="us-east-1",
    endpoint_url=endpoint,
    aws_access_key_id="dummy",
    aws_secret_access_key="dummy",
)
unprocessed = client.put_trace_segments(TraceSegmentDocuments=documents)["UnprocessedTraceSegments"]
ids = sorted({json.loads(document)["trace_id"] for document in documents})
now = time.time()
traces = client.batch_get_traces(TraceIds=ids)["Traces"]
summaries = client.get_trace_summaries(StartTime=now - 3600, EndTime=now + 3600)["TraceSummaries"]
print(json.dumps({
    "unprocessed": [segment["Id"] for segment in unprocessed],
    "documents": {segment["Id"]: segment["Document"] for trace in traces for segment in trace["Segments"]},
    "faults": {summary["Id"]: summary["HasFault"] for summary in summaries},
}))
