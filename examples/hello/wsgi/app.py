import os


def app(environ, start_response):
    body = f"{os.environ['GREETING']} from WSGI: {environ['REQUEST_METHOD']} {environ['PATH_INFO']}\n".encode()
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body)))])
    return [body]
