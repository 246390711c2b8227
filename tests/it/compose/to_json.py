"""Prints YAML from standard input as JSON. A key that comes twice is an error."""

import json
import sys

from ruamel.yaml import YAML

print(json.dumps(YAML(typ="safe", pure=True).load(sys.stdin)))
