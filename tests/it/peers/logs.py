"""Makes the calls to CloudWatch Logs that a file lists, with AWS's own client, and prints what each of them came to.

A call is a name and its arguments, in JSON. `request` is none of the client's: it sends what it is told, signed by the
client's signer, with whatever is to be wrong with it.
"""

import datetime
import json
import os
import sys

import boto3
import botocore.auth
import urllib3
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

URL = os.environ["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"]
REGION = os.environ["AWS_REGION"]
CLIENT = boto3.client(
    "logs",
    region_name=REGION,
    # It is the other side that is to judge.
    config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
)


class Signer(botocore.auth.SigV4Auth):
    unsigned = ()
    descending = False

    def headers_to_sign(self, request):
        headers = super().headers_to_sign(request)
        for name in self.unsigned:
            del headers[name]
        return headers

    def signed_headers(self, headers_to_sign):
        names = super().signed_headers(headers_to_sign)
        return ";".join(sorted(names.split(";"), reverse=self.descending))


def request(
    target="Logs_20140328.DescribeLogGroups",
    body="{}",
    sent=None,
    headers={},
    path="/",
    region=REGION,
    service="logs",
    clock=0,
    unsigned=(),
    descending=False,
    authorization=None,
):
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=clock)
    botocore.auth.get_current_datetime = lambda: now
    told = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target, **headers}
    prepared = AWSRequest("POST", URL + path, headers=told, data=body)
    credentials = Credentials(*map(os.environ.get, (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")))
    signer = Signer(credentials, service, region)
    signer.unsigned, signer.descending = unsigned, descending
    signer.add_auth(prepared)
    if authorization is not None:
        del prepared.headers["Authorization"]
    if authorization:
        prepared.headers["Authorization"] = authorization
    answer = urllib3.request("POST", URL + path, headers=dict(prepared.headers), body=sent or body, retries=False)
    text = answer.data.decode()
    return json.loads(text).get("__type", answer.status) if text.startswith("{") else text


def outcome(operation, arguments):
    if operation == "request":
        return request(**arguments)
    try:
        answer = getattr(CLIENT, operation)(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    except BotoCoreError as error:
        return type(error).__name__
    answer.pop("nextSequenceToken", None)
    return answer if answer.pop("ResponseMetadata").get("RequestId") else "without a request id"


with open(sys.argv[1], encoding="utf-8") as file:
    print(json.dumps([outcome(*call) for call in json.load(file)]))
