package python_test

import (
	"fmt"
	"testing"
)

// frameworks are applications as their authors write them. Each answers
// /hello/NAME with its name and the query's q, and POST /json with the member a.
var frameworks = map[string]struct {
	needs, handler string
	perInstance    int
	files          map[string]string
}{
	"Flask": {"flask", "web:app", 1, map[string]string{"web.py": `
from flask import Flask, request
app = Flask(__name__)
@app.get("/hello/<name>")
def hello(name): return f"Flask {name} {request.args['q']}"
@app.post("/json")
def data(): return request.get_json()["a"]
`}},
	"FastAPI": {"fastapi", "web:app", 4, map[string]string{"web.py": `
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
app = FastAPI()
ready = []
@app.on_event("startup")
async def startup(): ready.append("FastAPI")
@app.get("/hello/{name}", response_class=PlainTextResponse)
def hello(name: str, q: str): return f"{ready[0]} {name} {q}"
@app.post("/json", response_class=PlainTextResponse)
async def data(request: Request): return (await request.json())["a"]
`}},
	"Django WSGI": {"django", "web:wsgi", 1, django("WSGI")},
	"Django ASGI": {"django", "web:asgi", 4, django("ASGI")},
}

func django(name string) map[string]string {
	return map[string]string{
		"settings.py": "SECRET_KEY = 'x'\nALLOWED_HOSTS = ['*']\nROOT_URLCONF = 'urls'\n",
		"urls.py": fmt.Sprintf(`
import json
from django.http import HttpResponse
from django.urls import path
def hello(request, name): return HttpResponse(f"Django %s {name} {request.GET['q']}")
def data(request): return HttpResponse(json.loads(request.body)["a"])
urlpatterns = [path("hello/<str:name>", hello), path("json", data)]
`, name),
		"web.py": `
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
wsgi, asgi = get_wsgi_application(), get_asgi_application()
`,
	}
}

func TestFrameworks(t *testing.T) {
	for name, c := range frameworks {
		t.Run(name, func(t *testing.T) {
			probe := run(t, bundle(t, "app.handler", map[string]string{"app.py": `
import importlib.util
def handler(event, context): return importlib.util.find_spec(event) is not None
`}))
			if probe.Event(fmt.Sprintf("%q", c.needs)) != "true" {
				t.Skipf("the interpreter has no %s", c.needs)
			}
			spec := bundle(t, c.handler, c.files)
			spec.PerInstance = c.perInstance
			f := run(t, spec)
			meta, body := f.HTTP("GET", "/hello/Ada?q=1", "")
			f.Want(body, name+" Ada 1")
			if meta.Status != 200 {
				t.Errorf("the status is %d", meta.Status)
			}
			_, body = f.HTTP("POST", "/json", `{"a": "b c"}`)
			f.Want(body, "b c")
		})
	}
}
