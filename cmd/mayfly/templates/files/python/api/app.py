import json


def handler(event, context):
    name = event["pathParameters"]["name"]
    print(f"hello to {name}")
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"message": f"Hello, {name}!", "request": context.aws_request_id}),
    }
