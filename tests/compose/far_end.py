"""Takes what a collector forwards, decodes it with OpenTelemetry's own types, and prints a line for each span."""

import gzip
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.headers["content-type"] == "application/x-protobuf", self.headers
        if self.path == "/v1/traces":
            print_spans(ExportTraceServiceRequest.FromString(body))
        elif self.path == "/v1/metrics":
            ExportMetricsServiceRequest.FromString(body)
        else:
            raise ValueError(self.path)
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def print_spans(request):
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                trace, own, parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                print(json.dumps({"trace_id": trace, "id": own, "parent": parent, "name": span.name}))


ThreadingHTTPServer(("0.0.0.0", 4319), Receiver).serve_forever()
