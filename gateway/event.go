package gateway

import (
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mayfly-cloud/mayfly"
)

// appendEvent appends r as API Gateway's payload 2.0, the JSON of
// mayfly.HTTPRequest. It is written by hand: this is the hot path, and
// encoding/json takes four times as long (BenchmarkEvent).
func appendEvent(b []byte, r *http.Request, app mayfly.AppName, pattern, id string, body []byte) []byte {
	now := time.Now()
	routeKey := routeKeyOf(pattern)
	path := r.URL.EscapedPath()
	b = append(b, `{"version":"2.0","routeKey":`...)
	b = appendString(b, routeKey)
	b = append(b, `,"rawPath":`...)
	b = appendString(b, path)
	b = append(b, `,"rawQueryString":`...)
	b = appendString(b, r.URL.RawQuery)
	b = appendCookies(b, r.Header["Cookie"])
	b = append(b, `,"headers":`...)
	b = appendHeaders(b, r)
	b = appendQuery(b, r.URL.RawQuery)
	b = appendParams(b, r, pattern)
	b = appendContext(b, r, app, routeKey, path, id, now)
	return appendBody(b, r.Header, body)
}

// routeKeyOf is a pattern as API Gateway writes routes: it has + for the rest of
// a path, and nothing for its end.
func routeKeyOf(pattern string) string {
	key := pattern
	if !strings.Contains(pattern, " ") {
		key = "ANY " + pattern
	}
	if strings.HasSuffix(key, "...}") {
		return strings.TrimSuffix(key, "...}") + "+}"
	}
	return strings.TrimSuffix(key, "{$}")
}

func appendContext(b []byte, r *http.Request, app mayfly.AppName, routeKey, path, id string, now time.Time) []byte {
	domain := r.Host
	if h, _, err := net.SplitHostPort(domain); err == nil {
		domain = h
	}
	prefix, _, _ := strings.Cut(domain, ".")
	b = append(b, `,"requestContext":{"accountId":"000000000000","apiId":`...)
	b = appendString(b, string(app))
	b = append(b, `,"domainName":`...)
	b = appendString(b, domain)
	b = append(b, `,"domainPrefix":`...)
	b = appendString(b, prefix)
	b = append(b, `,"http":{"method":`...)
	b = appendString(b, r.Method)
	b = append(b, `,"path":`...)
	b = appendString(b, path)
	b = append(b, `,"protocol":`...)
	b = appendString(b, r.Proto)
	b = append(b, `,"sourceIp":`...)
	b = appendString(b, clientIP(r))
	b = append(b, `,"userAgent":`...)
	b = appendString(b, r.UserAgent())
	b = append(b, `},"requestId":"`...)
	b = append(b, id...)
	b = append(b, `","routeKey":`...)
	b = appendString(b, routeKey)
	b = append(b, `,"stage":"$default","time":"`...)
	b = now.UTC().AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `","timeEpoch":`...)
	b = strconv.AppendInt(b, now.UnixMilli(), 10)
	return append(b, '}')
}

func appendCookies(b []byte, lines []string) []byte {
	if len(lines) == 0 {
		return b
	}
	b = append(b, `,"cookies":[`...)
	n := 0
	for _, line := range lines {
		for c := range strings.SplitSeq(line, ";") {
			if c = strings.TrimSpace(c); c == "" {
				continue
			}
			if n > 0 {
				b = append(b, ',')
			}
			b = appendString(b, c)
			n++
		}
	}
	return append(b, ']')
}

// appendHeaders writes names in lower case and joins values by a comma, as
// payload 2.0 does. Cookies travel apart. The x-forwarded headers, by which
// frameworks know the client's address and scheme, are the gateway's own: a
// client could say anything in them.
func appendHeaders(b []byte, r *http.Request) []byte {
	b = append(b, `{"host":`...)
	b = appendString(b, r.Host)
	b = appendForwarded(b, r)
	for name, values := range r.Header {
		switch name {
		case "Cookie", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto":
			continue
		}
		b = append(b, ',', '"')
		b = appendLower(b, name)
		b = append(b, '"', ':')
		if len(values) == 1 {
			b = appendString(b, values[0])
			continue
		}
		b = appendString(b, strings.Join(values, ","))
	}
	if r.ContentLength > 0 {
		b = append(b, `,"content-length":"`...)
		b = strconv.AppendInt(b, r.ContentLength, 10)
		b = append(b, '"')
	}
	return append(b, '}')
}

func appendForwarded(b []byte, r *http.Request) []byte {
	proto, port := "http", "80"
	if r.TLS != nil {
		proto, port = "https", "443"
	}
	if i := strings.LastIndexByte(r.Host, ':'); i >= 0 && !strings.HasSuffix(r.Host, "]") {
		port = r.Host[i+1:]
	}
	b = append(b, `,"x-forwarded-for":`...)
	b = appendString(b, clientIP(r))
	b = append(b, `,"x-forwarded-port":`...)
	b = appendString(b, port)
	b = append(b, `,"x-forwarded-proto":"`...)
	b = append(b, proto...)
	return append(b, '"')
}

// appendLower appends a header's name; net/http lets only token characters
// through, so that none needs an escape.
func appendLower(b []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

func appendQuery(b []byte, raw string) []byte {
	if raw == "" {
		return b
	}
	values, _ := url.ParseQuery(raw) // what cannot be parsed is in rawQueryString
	if len(values) == 0 {
		return b
	}
	b = append(b, `,"queryStringParameters":{`...)
	b = appendMap(b, values, func(v []string) string { return strings.Join(v, ",") })
	return append(b, '}')
}

func appendParams(b []byte, r *http.Request, pattern string) []byte {
	if strings.IndexByte(pattern, '{') < 0 {
		return b
	}
	params := map[string]string{}
	for _, name := range paramNames(pattern) {
		params[name] = r.PathValue(name)
	}
	if len(params) == 0 {
		return b
	}
	b = append(b, `,"pathParameters":{`...)
	b = appendMap(b, params, func(v string) string { return v })
	return append(b, '}')
}

func paramNames(pattern string) []string {
	var names []string
	for {
		_, rest, ok := strings.Cut(pattern, "{")
		if !ok {
			return names
		}
		name, after, _ := strings.Cut(rest, "}")
		if name = strings.TrimSuffix(name, "..."); name != "$" && name != "" {
			names = append(names, name)
		}
		pattern = after
	}
}

func appendMap[V any](b []byte, m map[string]V, text func(V) string) []byte {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, k)
		b = append(b, ':')
		b = appendString(b, text(m[k]))
	}
	return b
}

func appendBody(b []byte, h http.Header, body []byte) []byte {
	if len(body) == 0 {
		return append(b, `,"isBase64Encoded":false}`...)
	}
	b = append(b, `,"body":`...)
	if isText(h, body) {
		b = appendString(b, string(body))
		return append(b, `,"isBase64Encoded":false}`...)
	}
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, body)
	return append(b, `","isBase64Encoded":true}`...)
}

// isText decides whether a body can travel as a JSON string unchanged: its type
// says text, or says nothing, and its bytes are UTF-8.
func isText(h http.Header, body []byte) bool {
	if enc := h.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return false
	}
	kind, _, _ := strings.Cut(strings.ToLower(h.Get("Content-Type")), ";")
	kind = strings.TrimSpace(kind)
	switch {
	case kind == "", strings.HasPrefix(kind, "text/"), strings.HasSuffix(kind, "json"), strings.HasSuffix(kind, "xml"),
		strings.HasSuffix(kind, "javascript"), strings.HasSuffix(kind, "yaml"), kind == "application/x-www-form-urlencoded",
		kind == "application/graphql", kind == "application/cloudevents":
		return utf8.Valid(body)
	}
	return false
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD, as encoding/json writes them.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(b, s[start:i]...)
				b = append(b, "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
