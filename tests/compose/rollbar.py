"""Takes items as Rollbar's API does, and prints a line for each."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Items(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        assert self.path == "/api/1/item/", self.path
        assert self.headers["x-rollbar-access-token"], "no token"
        assert self.headers["content-type"].startswith("application/json"), self.headers
        item = json.loads(self.rfile.read(int(self.headers["content-length"])))["data"]
        attributes = {attribute["key"]: attribute["value"] for attribute in item["attributes"]}
        ids = {"trace_id": attributes["trace_id"], "id": attributes["span_id"]}
        print(json.dumps(ids | {"level": item["level"], "uuid": item["uuid"], "code_version": item["code_version"]}))
        answer = json.dumps({"err": 0, "result": {"id": None, "uuid": item["uuid"]}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("0.0.0.0", 8080), Items).serve_forever()
