"""Answers what it was asked, as JSON: what a server's parser made of the bytes that came."""

import json


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        body, more = body + event["body"], event["more_body"]
    asked = {name: scope[name] for name in ("method", "http_version", "path", "root_path")}
    asked |= {name: scope[name].decode("latin-1") for name in ("raw_path", "query_string")}
    asked["headers"] = [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in scope["headers"]]
    answer = json.dumps({**asked, "body": body.decode("latin-1")}).encode()
    length = (b"content-length", str(len(answer)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": answer})
