open("/tmp/neighbor", "w").write("mine alone")


def handler(event, context):
    return event
