"""Becomes rotel, a collector, which listens where the committed configuration says and forwards to an address."""

import os
import sys
import sysconfig

import rotel

agent = os.path.join(rotel.__path__[0], "rotel-agent")
arguments = {
    "--otlp-grpc-endpoint": "0.0.0.0:4317",
    "--otlp-http-endpoint": "0.0.0.0:4318",
    "--batch-timeout": "100ms",
    "--exporter": "otlp",
    "--otlp-exporter-protocol": "http",
    "--otlp-exporter-endpoint": sys.argv[1],
}
flat = [part for pair in arguments.items() for part in pair]
environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR")}
os.execve(agent, [agent, "start", *flat], environment)
