"""Checks what AWS's documentation says of CloudWatch and no model does: the body of a dashboard ("Dashboard body structure
and syntax"), the queries in it and in alarms; and says which metrics they show."""

import re

WIDE = 24
SEARCH = re.compile(
    r"SEARCH\('\{(?P<namespace>[\w/]+)(?P<dimensions>(,\w+)+)\} MetricName=\"(?P<name>\w+)\"( \w+=\"[^\"]+\")*',"
    r" '(?P<statistic>[\w.]+)', (?P<period>\d+)\)"
)
SELECT = re.compile(
    r"SELECT (AVG|COUNT|MAX|MIN|SUM)\((?P<name>\w+)\) FROM SCHEMA\(\"(?P<namespace>[\w/]+)\"(?P<dimensions>(, \w+)+)\)"
    r"( WHERE \w+ = '[^']+'( AND \w+ = '[^']+')*)?"
)
STATISTIC = re.compile(r"SampleCount|Average|Sum|Minimum|Maximum|p\d{1,2}(\.\d+)?")
OPTIONAL = {
    "metric": {"stacked", "stat", "period", "yAxis", "annotations", "legend", "timezone"},
    "log": {"stacked"},
}
NEEDED = {"metric": {"title", "region", "view", "metrics"}, "log": {"title", "region", "view", "query"}}
VIEWS = {"metric": {"timeSeries", "singleValue", "bar", "pie", "table", "gauge"}, "log": {"table", "timeSeries"}}


def select(text):
    """Namespace, metric and dimensions that a query of Metrics Insights reads; None where it is not one."""
    found = SELECT.fullmatch(text)
    return found and (found["namespace"], found["name"], found["dimensions"].removeprefix(", ").split(", "))


def check_alarm(alarm):
    """What is wrong between the parts of an alarm."""
    kinds = {"Statistic", "ExtendedStatistic", "Metrics"} & set(alarm)
    if len(kinds) != 1:
        yield f"alarm: one of a statistic, a percentile and a query, not {sorted(kinds)}"
    if not STATISTIC.fullmatch(alarm.get("ExtendedStatistic", "p90")):
        yield f"alarm: there is no statistic {alarm['ExtendedStatistic']}"
    if alarm.get("DatapointsToAlarm", 1) > alarm["EvaluationPeriods"]:
        yield "alarm: it wants more points than it looks at"
    period = alarm.get("Period", 60)
    if period % 60 or period * alarm["EvaluationPeriods"] > (86400 if period < 3600 else 604800):
        yield f"alarm: {alarm['EvaluationPeriods']} periods of {period} s are not to be had"


def check(body):
    """What is wrong with it, and the (namespace, metric, dimensions) that it shows."""
    mistakes, metrics, taken = [], [], set()
    if not set(body) <= {"start", "end", "periodOverride", "widgets", "variables"}:
        mistakes.append(f"dashboard: unknown keys among {sorted(body)}")
    if not re.fullmatch(r"-P(T\d+[HM]|\d+[DWM])", body["start"]):
        mistakes.append(f"dashboard: not a start: {body['start']}")
    if body.get("periodOverride") not in ("auto", "inherit"):
        mistakes.append("dashboard: periodOverride is auto or inherit")
    if not 1 <= len(body["widgets"]) <= 500:
        mistakes.append("dashboard: 1 to 500 widgets")
    for index, widget in enumerate(body["widgets"]):
        mistakes += [f"widget {index}: {mistake}" for mistake in check_widget(widget, metrics, taken)]
    return mistakes, metrics


def check_widget(widget, metrics, taken):
    if set(widget) != {"type", "x", "y", "width", "height", "properties"}:
        yield f"it has {sorted(widget)}"
        return
    kind, properties = widget["type"], widget["properties"]
    if kind not in NEEDED:
        yield f"the type {kind} is not known here"
        return
    if not (0 <= widget["x"] and 1 <= widget["width"] and widget["x"] + widget["width"] <= WIDE):
        yield f"it is not within the {WIDE} columns"
    if not 1 <= widget["height"] <= 1000:
        yield "its height is from 1 to 1,000"
    places = {
        (x, y)
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    }
    if places & taken:
        yield "it lies on another"
    taken |= places
    keys = set(properties)
    if not NEEDED[kind] <= keys <= NEEDED[kind] | OPTIONAL[kind]:
        yield f"its properties are {sorted(keys)}"
        return
    if properties["view"] not in VIEWS[kind]:
        yield f"there is no view {properties['view']}"
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", properties["region"]):
        yield f"not a region: {properties['region']}"
    if kind == "log":
        if not properties["query"].startswith("SOURCE '"):
            yield "a query begins with its source"
        return
    if "stat" in properties and not STATISTIC.fullmatch(properties["stat"]):
        yield f"there is no statistic {properties['stat']}"
    ids = [row[0]["id"] for row in properties["metrics"] if isinstance(row[0], dict) and "id" in row[0]]
    if len(ids) != len(set(ids)) or not all(re.fullmatch("[a-z][A-Za-z0-9_]*", id) for id in ids):
        yield f"ids are there once and begin with a small letter: {ids}"
    for row in properties["metrics"]:
        yield from check_row(row, metrics)
    yield from check_axes(properties)


def check_row(row, metrics):
    if isinstance(row[0], dict):
        found = SEARCH.fullmatch(row[0].get("expression", ""))
        if len(row) != 1 or not set(row[0]) <= {"expression", "id", "label", "visible", "color", "yAxis"} or not found:
            yield f"not an expression: {row}"
            return
        if not STATISTIC.fullmatch(found["statistic"]):
            yield f"there is no statistic {found['statistic']}"
        metrics.append((found["namespace"], found["name"], found["dimensions"].strip(",").split(",")))
        return
    words = row[:-1] if isinstance(row[-1], dict) else row
    if len(words) < 2 or len(words) % 2 or not all(isinstance(word, str) for word in words):
        yield f"not a metric with names and values of dimensions: {row}"
        return
    metrics.append((words[0], words[1], words[2::2]))


def check_axes(properties):
    for side, axis in properties.get("yAxis", {}).items():
        if side not in ("left", "right") or not set(axis) <= {"label", "showUnits", "min", "max"}:
            yield f"not an axis: {side} {axis}"
    annotations = properties.get("annotations", {})
    if not set(annotations) <= {"horizontal", "vertical"}:
        yield f"not annotations: {annotations}"
    for line in annotations.get("horizontal", []):
        if not {"value"} <= set(line) <= {"value", "label", "color", "fill", "visible", "yAxis"}:
            yield f"not a line: {line}"
