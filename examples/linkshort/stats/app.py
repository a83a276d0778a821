"""What is clicked: every link with its clicks, and the most clicked hosts."""

import collections
import json
import os
import urllib.parse
import urllib.request

STORES = f"{os.environ['MAYFLY_ENDPOINT']}/v1/apps/{os.environ['MAYFLY_APP']}/kv"


def values(store):
    """Yield the keys of a store with their values."""
    after = ""
    while True:
        query = urllib.parse.urlencode({"values": "true", "limit": 1000, "after": after})
        with urllib.request.urlopen(f"{STORES}/{store}/keys?{query}", timeout=4) as reply:
            page = json.load(reply)
        for entry in page["keys"]:
            yield entry["key"], entry.get("value")
        after = page.get("next")
        if not after:
            return


def handler(event, context):
    clicks = {code: int(n) for code, n in values("clicks")}
    links, hosts = [], collections.Counter()
    for code, link in values("links"):
        n = clicks.get(code, 0)
        links.append({"code": code, "url": link["url"], "created": link["created"], "clicks": n})
        hosts[urllib.parse.urlsplit(link["url"]).hostname] += n
    links.sort(key=lambda link: (-link["clicks"], link["created"]))
    return {"links": links, "clicks": sum(clicks.values()), "hosts": hosts.most_common(10)}
