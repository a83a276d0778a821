package wasm

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// httpRequest reads an HTTP call's event and its body.
func httpRequest(event []byte) (*mayfly.HTTPRequest, []byte, error) {
	var r mayfly.HTTPRequest
	if err := json.Unmarshal(event, &r); err != nil {
		return nil, nil, badModule("the event is not an HTTP request: %v", err)
	}
	if !r.IsBase64Encoded {
		return &r, []byte(r.Body), nil
	}
	body, err := base64.StdEncoding.DecodeString(r.Body)
	if err != nil {
		return nil, nil, badModule("the request's body is not base64: %v", err)
	}
	return &r, body, nil
}

// wagiEnv is the environment of a request.
func wagiEnv(r *mayfly.HTTPRequest, length int) []string {
	c := &r.RequestContext
	host, port, found := strings.Cut(r.Headers["host"], ":")
	if !found {
		port = "80"
	}
	_, route, _ := strings.Cut(r.RouteKey, " ")
	if route == "" {
		route = r.RouteKey
	}
	path := c.HTTP.Path
	if path == "" {
		path = r.RawPath
	}
	url := "http://" + r.Headers["host"] + r.RawPath
	if r.RawQueryString != "" {
		url += "?" + r.RawQueryString
	}
	env := []string{
		"GATEWAY_INTERFACE=CGI/1.1", "SERVER_SOFTWARE=Mayfly", "SCRIPT_NAME=",
		"SERVER_PROTOCOL=" + c.HTTP.Protocol, "SERVER_NAME=" + host, "SERVER_PORT=" + port,
		"REQUEST_METHOD=" + c.HTTP.Method, "PATH_INFO=" + path, "X_RAW_PATH_INFO=" + r.RawPath,
		"QUERY_STRING=" + r.RawQueryString, "X_MATCHED_ROUTE=" + route, "X_FULL_URL=" + url,
		"REMOTE_ADDR=" + c.HTTP.SourceIP, "REMOTE_HOST=" + c.HTTP.SourceIP, "REMOTE_USER=", "AUTH_TYPE=",
		"CONTENT_LENGTH=" + strconv.Itoa(length), "CONTENT_TYPE=" + r.Headers["content-type"],
	}
	for name, value := range r.Headers {
		switch name {
		case "proxy", "content-length", "content-type": // HTTP_PROXY is a setting, not a header
		default:
			env = append(env, "HTTP_"+variable(name)+"="+value)
		}
	}
	if len(r.Cookies) > 0 {
		env = append(env, "HTTP_COOKIE="+strings.Join(r.Cookies, "; "))
	}
	for name, value := range r.PathParameters {
		env = append(env, "X_PARAM_"+variable(name)+"="+value)
	}
	return env
}

// variable is a header's name as CGI has it.
func variable(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z':
			return c - 'a' + 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return c
		}
		return '_'
	}, name)
}

// maxHeader bounds a header block.
const maxHeader = 64 << 10

// cutHeader parts a response into its head, as a frame has it, and its body. It
// reports false where the response does not begin with a header block that ends
// with an empty line and holds Content-Type, Location or Status (RFC 3875,
// section 6.2).
func cutHeader(b []byte) (head, body []byte, ok bool) {
	status, located, typed := 0, false, false
	var headers [][2]string
	var cookies []string
	rest := b
	for {
		line, after, found := bytes.Cut(rest, []byte{'\n'})
		if !found || len(b)-len(after) > maxHeader {
			return nil, nil, false
		}
		rest = after
		line = bytes.TrimSuffix(line, []byte{'\r'})
		if len(line) == 0 {
			break
		}
		name, value, found := bytes.Cut(line, []byte{':'})
		if !found || !token(name) {
			return nil, nil, false
		}
		text := string(bytes.TrimSpace(value))
		switch key := textproto.CanonicalMIMEHeaderKey(string(name)); key {
		case "Status":
			code, _, _ := strings.Cut(text, " ")
			if status, _ = strconv.Atoi(code); status < 200 || status > 599 {
				return nil, nil, false
			}
		case "Set-Cookie":
			cookies = append(cookies, text)
		case "Content-Length", "Transfer-Encoding", "Connection": // the gateway's to say
		default:
			located, typed = located || key == "Location", typed || key == "Content-Type"
			headers = append(headers, [2]string{key, text})
		}
	}
	if status == 0 && !located && !typed {
		return nil, nil, false
	}
	if status == 0 {
		status = http.StatusOK
		if located && !typed {
			status = http.StatusFound
		}
	}
	return headJSON(status, headers, cookies), rest, true
}

// headJSON is the head of a frame.Head.
func headJSON(status int, headers [][2]string, cookies []string) []byte {
	b, _ := json.Marshal(map[string]any{"status": status, "headers": headers, "cookies": cookies}) // texts cannot fail
	return b
}

// token reports whether b is a header's name (RFC 9110, section 5.6.2).
func token(b []byte) bool {
	return len(b) > 0 && !slices.ContainsFunc(b, func(c byte) bool {
		return c <= ' ' || c >= 0x7f || bytes.IndexByte([]byte("\"(),/:;<=>?@[\\]{}"), c) >= 0
	})
}
