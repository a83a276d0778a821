"""Row changes become messages, and messages are counted."""
import json
import os
import urllib.parse
import urllib.request

API = f"{os.environ['MAYFLY_ENDPOINT']}/v1/apps/{os.environ['MAYFLY_APP']}"


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    req = urllib.request.Request(API + path, data=data, method=method, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(req, timeout=5) as res:
        return json.load(res)


def on_change(event, context):
    """Committed rows of the table, in order."""
    for record in event["Records"]:
        row = record["new"]
        call("POST", "/queues/notices/messages", {"body": {"what": record["eventName"], "photo": row["name"]}, "deduplication_id": record["eventID"]})


def on_notice(event, context):
    """Messages of the queue."""
    for record in event["Records"]:
        notice = json.loads(record["body"])
        print("a photo is there:", notice["photo"])
        call("POST", "/kv/counters/increment/" + urllib.parse.quote("notices", safe=""))
