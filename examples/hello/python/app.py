import asyncio
import json
import os


def handler(event, context):
    name = event["pathParameters"]["name"] if "pathParameters" in event else event.get("name", "world")
    print(f"greeting {name}")
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({
            "message": f"{os.environ['GREETING']}, {name}!",
            "from": "python",
            "request_id": context.aws_request_id,
            "remaining_ms": context.get_remaining_time_in_millis(),
        }),
    }


async def async_handler(event, context):
    # Other calls of this instance go on while this one waits.
    await asyncio.sleep(0.01)
    # What is not a response object becomes the body of a 200.
    return {"message": f"{os.environ['GREETING']}, {event['pathParameters']['name']}!", "from": "python-async"}
