"""The app that the tests run, in WSGI. It says each path that it is asked for on standard output.

Any answer to GET / will do.
    /slow?N           answers after N seconds
    /environ          answers its environ's strings, as JSON
"""

import json
import time


def app(environ, start_response):
    print(f"asked {environ['PATH_INFO']}", flush=True)
    body = b"ok"
    if environ["PATH_INFO"] == "/slow":
        time.sleep(float(environ["QUERY_STRING"]))
    if environ["PATH_INFO"] == "/environ":
        body = json.dumps({key: value for key, value in environ.items() if isinstance(value, str)}).encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
