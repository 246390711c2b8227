"""The X-Ray daemon as the service sees it: sampling rules by TCP, and segments by UDP, of which it prints a line each."""

import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HEADER = b'{"format":"json","version":1}\n'
ANY = ("ServiceName", "ServiceType", "Host", "HTTPMethod", "URLPath", "ResourceARN")
RULE = {"RuleName": "Default", "Priority": 10000, "FixedRate": 1.0, "ReservoirSize": 100, "Version": 1, "Attributes": {}}
ANSWERS = {
    "/GetSamplingRules": {"SamplingRuleRecords": [{"SamplingRule": RULE | {name: "*" for name in ANY}}]},
    "/SamplingTargets": {"SamplingTargetDocuments": [], "LastRuleModification": 0, "UnprocessedStatistics": []},
}


class Sampling(BaseHTTPRequestHandler):
    def do_POST(self):
        json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps(ANSWERS[self.path]).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def listen(udp):
    while True:
        datagram = udp.recv(65536)
        assert datagram.startswith(HEADER), datagram
        segment = json.loads(datagram[len(HEADER):])
        assert re.fullmatch("1-[0-9a-f]{8}-[0-9a-f]{24}", segment["trace_id"]), segment
        told = {name: segment[name] for name in ("trace_id", "id", "name")}
        told["status"] = segment["http"]["response"]["status"]
        frames = [frame for fault in segment.get("cause", {}).get("exceptions", []) for frame in fault.get("stack", [])]
        own = [f"{frame['path']}:{frame['line']}" for frame in frames if frame.get("path", "").startswith("src/")]
        print(json.dumps(told | ({"at": own[0]} if own else {})))


udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 2000))
threading.Thread(target=listen, args=(udp,), daemon=True).start()
ThreadingHTTPServer(("0.0.0.0", 2000), Sampling).serve_forever()
