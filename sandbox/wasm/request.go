package wasm

import (
	"bytes"
	"encoding/base64"
	"strconv"
)

// request is what WAGI tells of an HTTP call. It is used again for the next one;
// its texts lie in the event.
type request struct {
	routeKey, rawPath, query         []byte
	method, path, protocol, sourceIP []byte
	host, kind                       []byte // headers
	headers, params                  [][2][]byte
	cookies                          [][]byte
	body                             []byte
	encoded                          bool
}

// read reads an HTTP call's event and decodes its body.
func (r *request) read(event []byte) error {
	*r = request{headers: r.headers[:0], params: r.params[:0], cookies: r.cookies[:0]}
	s := scanner{b: event}
	for s.member() {
		r.member(&s)
	}
	if !s.done() {
		return badModule("the event is not an HTTP request: it breaks off, or is no JSON, at byte %d", s.at)
	}
	if !r.encoded {
		return nil
	}
	n, err := base64.StdEncoding.Decode(r.body, r.body)
	if err != nil {
		return badModule("the request's body is not base64: %v", err)
	}
	r.body = r.body[:n]
	return nil
}

func (r *request) member(s *scanner) {
	switch string(s.key) {
	case "routeKey":
		r.routeKey = s.text()
	case "rawPath":
		r.rawPath = s.text()
	case "rawQueryString":
		r.query = s.text()
	case "body":
		r.body = s.text()
	case "isBase64Encoded":
		r.encoded = s.flag()
	case "cookies":
		for s.element() {
			r.cookies = append(r.cookies, s.text())
		}
	case "headers":
		for s.member() {
			r.header(s.key, s.text())
		}
	case "pathParameters":
		for s.member() {
			r.params = append(r.params, [2][]byte{s.key, s.text()})
		}
	case "requestContext":
		for s.member() {
			if string(s.key) == "http" {
				r.line(s)
				continue
			}
			s.skip()
		}
	default:
		s.skip()
	}
}

func (r *request) header(name, value []byte) {
	switch string(name) {
	case "content-type":
		r.kind = value
	case "proxy", "content-length": // HTTP_PROXY is a setting, not a header
	case "host":
		r.host = value
		fallthrough
	default:
		r.headers = append(r.headers, [2][]byte{name, value})
	}
}

// line reads requestContext.http.
func (r *request) line(s *scanner) {
	for s.member() {
		switch string(s.key) {
		case "method":
			r.method = s.text()
		case "path":
			r.path = s.text()
		case "protocol":
			r.protocol = s.text()
		case "sourceIp":
			r.sourceIP = s.text()
		default:
			s.skip()
		}
	}
}

// environ adds WAGI's variables.
func (r *request) environ(b *block) {
	host, port, found := bytes.Cut(r.host, []byte{':'})
	if !found {
		port = []byte("80")
	}
	_, route, found := bytes.Cut(r.routeKey, []byte{' '})
	if !found {
		route = r.routeKey
	}
	path := r.path
	if len(path) == 0 {
		path = r.rawPath
	}
	b.add("GATEWAY_INTERFACE", "CGI/1.1")
	b.add("SERVER_SOFTWARE", "Mayfly")
	b.add("SCRIPT_NAME", "")
	b.put("SERVER_PROTOCOL", r.protocol)
	b.put("SERVER_NAME", host)
	b.put("SERVER_PORT", port)
	b.put("REQUEST_METHOD", r.method)
	b.put("PATH_INFO", path)
	b.put("X_RAW_PATH_INFO", r.rawPath)
	b.put("QUERY_STRING", r.query)
	b.put("X_MATCHED_ROUTE", route)
	if len(r.query) > 0 {
		b.put("X_FULL_URL", []byte("http://"), r.host, r.rawPath, []byte{'?'}, r.query)
	} else {
		b.put("X_FULL_URL", []byte("http://"), r.host, r.rawPath)
	}
	b.put("REMOTE_ADDR", r.sourceIP)
	b.put("REMOTE_HOST", r.sourceIP)
	b.add("REMOTE_USER", "")
	b.add("AUTH_TYPE", "")
	b.add("CONTENT_LENGTH", strconv.Itoa(len(r.body)))
	b.put("CONTENT_TYPE", r.kind)
	for _, h := range r.headers {
		b.named("HTTP_", h[0], h[1])
	}
	if len(r.cookies) > 0 {
		b.put("HTTP_COOKIE", bytes.Join(r.cookies, []byte("; ")))
	}
	for _, p := range r.params {
		b.named("X_PARAM_", p[0], p[1])
	}
}
