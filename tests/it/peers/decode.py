"""Prints what OTLP messages say, read with OpenTelemetry's own protobuf: a line of JSON for each span or metric."""

import json
import sys

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def read(message, path):
    with open(path, "rb") as file:
        data = file.read()
    message.ParseFromString(data)
    return message


for argument in sys.argv[1:]:
    signal, path = argument.split(":", 1)
    if signal == "traces":
        for resource in read(ExportTraceServiceRequest(), path).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    print(json.dumps([
                        span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.name,
                        span.kind, span.flags, span.start_time_unix_nano, span.end_time_unix_nano,
                        len(span.attributes), len(span.events),
                    ]))
    else:
        for resource in read(ExportMetricsServiceRequest(), path).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    print(json.dumps([metric.name, metric.unit, metric.WhichOneof("data")]))
