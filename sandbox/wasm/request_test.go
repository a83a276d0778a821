package wasm

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mayfly-cloud/mayfly"
)

// lines are a block's texts.
func (b *block) lines() []string {
	var all []string
	for _, from := range b.offsets {
		end := bytes.IndexByte(b.text[from:], 0)
		all = append(all, string(b.text[from:int(from)+end]))
	}
	return all
}

func TestRequestEnviron(t *testing.T) {
	event := []byte(`{"version":"2.0","routeKey":"GET /a/{id}","rawPath":"/a/\u00e9\"x","rawQueryString":"q=1&r=2","cookies":["a=b","c=d"],
		"headers":{"host":"h.test:8080","content-type":"text/plain","content-length":"3","proxy":"evil","x-a-b":"1","x-nul":"a\u0000b"},
		"pathParameters":{"id":"7"},"requestContext":{"accountId":"0","http":{"method":"POST","path":"/p","protocol":"HTTP/1.1","sourceIp":"::1","userAgent":"u"},"timeEpoch":1,"nested":[{"a":[1,2,{}]},null,true]},
		"body":"\n\ud83d\ude00\\\u0041","isBase64Encoded":false}`)
	var r request
	if err := r.read(event); err != nil {
		t.Fatal(err)
	}
	var b block
	r.environ(&b)
	for _, want := range []string{
		"REQUEST_METHOD=POST", "PATH_INFO=/p", "X_RAW_PATH_INFO=/a/é\"x", "QUERY_STRING=q=1&r=2", "SERVER_NAME=h.test", "SERVER_PORT=8080", "X_MATCHED_ROUTE=/a/{id}",
		"X_FULL_URL=http://h.test:8080/a/é\"x?q=1&r=2", "REMOTE_ADDR=::1", "CONTENT_TYPE=text/plain", "CONTENT_LENGTH=7", "HTTP_HOST=h.test:8080", "HTTP_X_A_B=1",
		"HTTP_COOKIE=a=b; c=d", "X_PARAM_ID=7", "REMOTE_USER=",
	} {
		if !slices.Contains(b.lines(), want) {
			t.Errorf("no %q in %q", want, b.lines())
		}
	}
	for _, l := range b.lines() {
		if strings.HasPrefix(l, "HTTP_PROXY") || strings.HasPrefix(l, "HTTP_CONTENT") || strings.HasPrefix(l, "HTTP_X_NUL") {
			t.Errorf("%q", l)
		}
	}
	if got := string(r.body); got != "\n😀\\A" {
		t.Errorf("body %q", got)
	}
}

func TestVariablesOfACallWin(t *testing.T) {
	v := newVariables(map[string]string{"A": "1", "HTTP_HOST": "mine", "HTTP_OTHER": "kept", "REQUEST_METHOD": "mine", "NUL": "a\x00"})
	var b block
	b.reset(&v.fixed)
	b.call([]byte("id\n\n12\narn\nhttp\n1\n00-a\n0"))
	r := request{host: []byte("h"), method: []byte("PUT"), headers: [][2][]byte{{[]byte("host"), []byte("h")}}}
	r.environ(&b)
	v.settle(&b)
	got := b.lines()
	for _, want := range []string{"A=1", "HTTP_HOST=h", "HTTP_OTHER=kept", "REQUEST_METHOD=PUT", "MAYFLY_REQUEST_ID=id", "MAYFLY_DEADLINE_MS=12", "TRACEPARENT=00-a"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	for _, bad := range []string{"HTTP_HOST=mine", "REQUEST_METHOD=mine", "_X_AMZN_TRACE_ID="} {
		if slices.Contains(got, bad) {
			t.Errorf("%q in %q", bad, got)
		}
	}
}

// FuzzRequest holds the scanner against encoding/json for whatever is an event,
// and has it bear all else.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"routeKey":"$default","headers":{"host":"h"},"requestContext":{"http":{"method":"GET"}},"body":"aGk=","isBase64Encoded":true}`))
	f.Add([]byte(`{"body":"\ud83d\ude00\u00e9\n\"","cookies":["a"],"x":[{"y":"]"}]} `))
	f.Add([]byte(`{"body":"\u12`))
	f.Fuzz(func(t *testing.T, event []byte) {
		var want mayfly.HTTPRequest
		strict := json.NewDecoder(bytes.NewReader(event))
		strict.DisallowUnknownFields() // encoding/json takes names in any case
		valid := strict.Decode(&want) == nil && utf8.Valid(event) && exact(event)
		var r request
		err := r.read(bytes.Clone(event))
		if !valid {
			return
		}
		body := []byte(want.Body)
		if want.IsBase64Encoded {
			var bad error
			if body, bad = base64.StdEncoding.DecodeString(want.Body); (bad != nil) != (err != nil) {
				t.Fatalf("%q: base64: %v, %v", event, bad, err)
			} else if bad != nil {
				return
			}
		}
		if err != nil {
			t.Fatalf("%q: %v", event, err)
		}
		if string(r.body) != string(body) || string(r.routeKey) != want.RouteKey || string(r.query) != want.RawQueryString ||
			string(r.method) != want.RequestContext.HTTP.Method || len(r.cookies) != len(want.Cookies) {
			t.Errorf("%q: %+v, not %+v", event, r, want)
		}
	})
}

// exact reports whether an event is one value whose members, at any depth, have
// names of their own, in the case in which an event has them.
func exact(event []byte) bool {
	d := json.NewDecoder(bytes.NewReader(event))
	var once func() bool
	once = func() bool {
		token, err := d.Token()
		if err != nil {
			return false
		}
		open, nested := token.(json.Delim)
		if !nested {
			return true
		}
		seen := map[string]bool{}
		for d.More() {
			if open == '{' {
				name, err := d.Token()
				text, _ := name.(string)
				if err != nil || seen[strings.ToLower(text)] || strings.EqualFold(text, "http") && text != "http" {
					return false
				}
				seen[strings.ToLower(text)] = true
				if canonical := eventName(text); canonical != text {
					return false
				}
			}
			if !once() {
				return false
			}
		}
		_, err = d.Token()
		return err == nil
	}
	if !once() {
		return false
	}
	_, err := d.Token()
	return err == io.EOF
}

// eventName is the name of an event's member that differs from name in case only.
func eventName(name string) string {
	for _, n := range []string{"version", "routeKey", "rawPath", "rawQueryString", "cookies", "headers", "queryStringParameters", "pathParameters", "requestContext", "body", "isBase64Encoded", "http", "method", "path", "protocol", "sourceIp"} {
		if strings.EqualFold(n, name) {
			return n
		}
	}
	return name
}
