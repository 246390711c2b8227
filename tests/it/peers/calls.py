"""Checks the calls of dry runs of aws/provision.sh (a file each) by the models of AWS's own client, and prints for each run
what is wrong with them, which operations they are, and which metrics and dimensions they speak of.

A model's limits are checked as well, which the client leaves to AWS: lengths, ranges, patterns, and values of
enumerations.
"""

import json
import re
import shlex
import sys

import botocore.session
from botocore import xform_name
from botocore.validate import ParamValidator

import dashboards
import policies
import tasks

SESSION = botocore.session.get_session()


def limits(shape, value, path):
    if shape.type_name == "structure":
        for name, member in value.items():
            limits(shape.members[name], member, f"{path}.{name}")
    elif shape.type_name == "list":
        bounds(shape, len(value), path)
        for index, member in enumerate(value):
            limits(shape.member, member, f"{path}[{index}]")
    elif shape.type_name == "map":
        for name, member in value.items():
            limits(shape.value, member, f"{path}.{name}")
    elif shape.type_name == "string":
        bounds(shape, len(value), path)
        if getattr(shape, "enum", None) and value not in shape.enum:
            mistakes.append(f"{path}: {value} is none of {', '.join(shape.enum)}")
        pattern = shape.metadata.get("pattern")
        # Java's classes of characters are not Python's.
        if pattern and "\\p{" not in pattern and not re.fullmatch(pattern, value):
            mistakes.append(f"{path}: {value} does not match {pattern}")
    elif shape.type_name in ("integer", "long", "float", "double"):
        bounds(shape, value, path)


def bounds(shape, size, path):
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least or most is not None and size > most:
        mistakes.append(f"{path}: {size} is not from {least} to {most}")


def parameters(model, words):
    """What the options say, as the command line understands them."""
    options = {xform_name(name, "-"): name for name in model.input_shape.members}
    said = {}
    while words:
        option, value = words.pop(0).removeprefix("--"), words.pop(0)
        if option == "cli-input-json":
            said.update(json.loads(value))
        elif option not in options:
            mistakes.append(f"{model.name}: there is no option --{option}")
        else:
            name = options[option]
            kind = model.input_shape.members[name].type_name
            said[name] = {"integer": int, "list": lambda text: [text]}.get(kind, str)(value)
    return said


def documents(operation, said):
    """The documents within a call, which no model knows."""
    if operation == "PutDashboard":
        found, spoken_of = dashboards.check(json.loads(said["DashboardBody"]))
        mistakes.extend(found)
        for namespace, name, dimensions in spoken_of:
            speak_of(namespace, name, dimensions)
    if operation == "PutMetricAlarm":
        mistakes.extend(dashboards.check_alarm(said))
        for text in [query["Expression"] for query in said.get("Metrics", []) if "Expression" in query]:
            spoken_of = dashboards.select(text)
            if spoken_of:
                speak_of(*spoken_of)
            else:
                mistakes.append(f"PutMetricAlarm: not a query that an alarm can have: {text}")
        if "MetricName" in said:
            speak_of(said["Namespace"], said["MetricName"], [pair["Name"] for pair in said["Dimensions"]])
    if operation == "RegisterTaskDefinition":
        mistakes.extend(tasks.check(said))
    for name, trusts in [("AssumeRolePolicyDocument", True), ("PolicyDocument", operation == "UpdateAssumeRolePolicy")]:
        if name in said:
            mistakes.extend(policies.check(json.loads(said[name]), trusts))


def speak_of(namespace, name, dimensions):
    of = metrics.setdefault(namespace, {})
    of.setdefault(name, set()).add(tuple(sorted(dimensions)))


def check(line):
    aws, service, command, *words = shlex.split(line)
    assert aws == "aws", line
    model = SESSION.get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    if command not in names:
        mistakes.append(f"{service}: there is no command {command}")
        return
    model = model.operation_model(names[command])
    operations.append(f"{service}:{model.name}")
    said = parameters(model, words)
    report = ParamValidator().validate(said, model.input_shape)
    if report.has_errors():
        mistakes.append(f"{model.name}: {report.generate_report()}")
        return
    limits(model.input_shape, said, model.name)
    documents(model.name, said)


for path in sys.argv[1:]:
    mistakes, operations, metrics = [], [], {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                check(line)
    spoken_of = {
        namespace: {name: sorted(sets) for name, sets in names.items()} for namespace, names in metrics.items()
    }
    print(json.dumps({"mistakes": mistakes, "operations": operations, "metrics": spoken_of}))
