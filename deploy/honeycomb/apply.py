#!/usr/bin/env python3
"""Makes the board Cruddur at Honeycomb, with the queries of queries/, or brings it up to date; or marks a deploy.

Run again, it changes nothing that is as it should be. The key is a configuration key of the environment, with the
permissions to manage queries and boards, or markers; it is taken from HONEYCOMB_CONFIGURATION_KEY, or from the file
that HONEYCOMB_CONFIGURATION_KEY_FILE names.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

BOARD = "Cruddur"
US = "https://api.honeycomb.io"
TIMEOUT = 30
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Refused(Exception):
    """Something that the user has to know of; its text says what."""


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """The key goes to nobody but whom it was meant for."""

    def redirect_request(self, *_):
        return None


class Honeycomb:
    """The API. In a dry run what would be sent is printed, and what would be asked is unknown."""

    def __init__(self, endpoint, key, dry):
        self.endpoint, self.key, self.dry = endpoint.rstrip("/"), key, dry
        self.opener = urllib.request.build_opener(NoRedirect)

    def get(self, path):
        return [] if self.dry else self.call("GET", path, None)

    def send(self, method, path, body=None):
        if self.dry:
            print(f"{method} {path}", *([] if body is None else [json.dumps(body)]))
            return {"id": f"(of {path})"}
        return self.call(method, path, body)

    def call(self, method, path, body):
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Honeycomb-Team": self.key, "Content-Type": "application/json"}
        request = urllib.request.Request(self.endpoint + path, data, headers, method=method)
        try:
            with self.opener.open(request, timeout=TIMEOUT) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(f"{method} {path}: {error.code}: {explain(error)}") from None
        except OSError as error:
            raise Refused(f"{method} {path}: {self.endpoint} is not reached: {error}") from None
        try:
            return json.loads(text) if text else {}
        except ValueError:
            raise Refused(f"{method} {path}: the answer is not Honeycomb's") from None


def explain(error):
    said = error.read(4096).decode(errors="replace").strip()
    advice = {
        401: "the key is not one of this region's environments, or an ingest key; a configuration key is needed",
        403: "the key lacks the permission",
        404: "there is no such dataset yet; it comes into being with the first span",
        422: "columns come into being with the first span that has them: send one request of each kind first",
        429: "too many requests; wait a minute and run this again",
    }
    return "; ".join(filter(None, [advice.get(error.code), said]))


def apply_board(honeycomb, dataset):
    annotations = {}
    for annotation in honeycomb.get(f"/1/query_annotations/{dataset}"):
        annotations.setdefault(annotation["name"], annotation)
    panels, replaced = [], []
    for path in sorted((Path(__file__).parent / "queries").glob("*.json")):
        saved = json.loads(path.read_text(encoding="utf-8"))
        known = annotations.get(saved["name"])
        if known and is_same(honeycomb, dataset, known, saved):
            query, annotation = known["query_id"], known["id"]
        else:
            query, annotation = save(honeycomb, dataset, saved)
            replaced += [known["id"]] if known else []
        panel = {"query_id": query, "query_annotation_id": annotation, "query_style": saved["style"]}
        panels.append({"type": "query", "query_panel": panel})
    put_board(honeycomb, panels)
    # Not before no board shows them.
    for annotation in replaced:
        honeycomb.send("DELETE", f"/1/query_annotations/{dataset}/{annotation}")


def is_same(honeycomb, dataset, known, saved):
    """Whether a query that is there is ours. Honeycomb adds defaults to what it was given."""
    if known.get("description") != saved["description"]:
        return False
    query = honeycomb.get(f"/1/queries/{dataset}/{known['query_id']}")
    return all(query.get(key) == value for key, value in saved["query"].items())


def save(honeycomb, dataset, saved):
    query = honeycomb.send("POST", f"/1/queries/{dataset}", saved["query"])["id"]
    body = {"name": saved["name"], "description": saved["description"], "query_id": query}
    return query, honeycomb.send("POST", f"/1/query_annotations/{dataset}", body)["id"]


def put_board(honeycomb, panels):
    board = {
        "name": BOARD,
        "description": "The Cruddur backend, as deploy/honeycomb/apply.py makes it.",
        "type": "flexible",
        "layout_generation": "auto",
        "panels": panels,
    }
    known = [found for found in honeycomb.get("/1/boards") if found["name"] == BOARD]
    if not known:
        honeycomb.send("POST", "/1/boards", board)
    elif shown(known[0]) != shown(board):
        honeycomb.send("PUT", f"/1/boards/{known[0]['id']}", board)


def shown(board):
    panels = [panel.get("query_panel", {}) for panel in board.get("panels", [])]
    return [(panel.get("query_annotation_id"), panel.get("query_style")) for panel in panels]


def mark(honeycomb, dataset, message, url):
    marker = {"type": "deploy", "message": message, "start_time": int(time.time())}
    honeycomb.send("POST", f"/1/markers/{dataset}", marker | ({"url": url} if url else {}))


def read_key(environment):
    if key := environment.get("HONEYCOMB_CONFIGURATION_KEY"):
        return checked(key, "HONEYCOMB_CONFIGURATION_KEY")
    if path := environment.get("HONEYCOMB_CONFIGURATION_KEY_FILE"):
        try:
            return checked(Path(path).read_text(encoding="utf-8"), path)
        except (OSError, UnicodeDecodeError):
            raise Refused(f"HONEYCOMB_CONFIGURATION_KEY_FILE is {path}, which cannot be read") from None
    raise Refused("HONEYCOMB_CONFIGURATION_KEY is not set, nor HONEYCOMB_CONFIGURATION_KEY_FILE")


def checked(key, place):
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise Refused(f"{place} should have a key of printable characters")
    return key


def read_endpoint(environment):
    endpoint = environment.get("HONEYCOMB_API_ENDPOINT") or US
    parts = urllib.parse.urlsplit(endpoint)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise Refused(f"HONEYCOMB_API_ENDPOINT is {endpoint}; it should begin with https://, since it gets the key")
    return endpoint


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="The dataset is OTEL_SERVICE_NAME, or cruddur-backend; HONEYCOMB_API_ENDPOINT is for other regions, "
        "as in https://api.eu1.honeycomb.io.",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be sent, and send nothing")
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("board", help="the board and its queries")
    marker = steps.add_parser("marker", help="a marker that a deploy took place now")
    marker.add_argument("message", help="what was deployed")
    marker.add_argument("--url", help="where more is said about it")
    return parser.parse_args()


def main():
    asked, environment = arguments(), os.environ
    try:
        key = None if asked.dry_run else read_key(environment)
        honeycomb = Honeycomb(read_endpoint(environment), key, asked.dry_run)
        dataset = urllib.parse.quote(environment.get("OTEL_SERVICE_NAME") or "cruddur-backend", safe="")
        if asked.step == "board":
            apply_board(honeycomb, dataset)
        else:
            mark(honeycomb, dataset, asked.message, asked.url)
    except Refused as refused:
        print(f"deploy/honeycomb/apply.py: {refused}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
