"""What is clicked: every link with its clicks, and the most clicked hosts."""

import collections
import urllib.parse

import mayfly


def handler(event, context):
    clicks = {entry.key: int(entry.value) for entry in mayfly.kv("clicks").items()}
    links, hosts = [], collections.Counter()
    for entry in mayfly.kv("links").items():
        n = clicks.get(entry.key, 0)
        links.append({"code": entry.key, **entry.value, "clicks": n})
        hosts[urllib.parse.urlsplit(entry.value["url"]).hostname] += n
    links.sort(key=lambda link: (-link["clicks"], link["created"]))
    return {"links": links, "clicks": sum(clicks.values()), "hosts": hosts.most_common(10)}
