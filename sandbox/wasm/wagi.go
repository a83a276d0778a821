package wasm

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
)

// maxHeader bounds a header block.
const maxHeader = 64 << 10

// cutHeader parts a response into its head, as a frame has it, and its body. It
// reports false where the response does not begin with a header block that ends
// with an empty line and holds Content-Type, Location or Status (RFC 3875,
// section 6.2).
func cutHeader(b []byte) (head, body []byte, ok bool) {
	var h response
	located, typed := false, false
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
		value = bytes.TrimSpace(value)
		switch key := textproto.CanonicalMIMEHeaderKey(string(name)); key {
		case "Status":
			code, _, _ := bytes.Cut(value, []byte{' '})
			if h.status, _ = strconv.Atoi(string(code)); h.status < 200 || h.status > 599 {
				return nil, nil, false
			}
		case "Set-Cookie":
			h.cookie(value)
		case "Content-Length", "Transfer-Encoding", "Connection": // the gateway's to say
		default:
			located, typed = located || key == "Location", typed || key == "Content-Type"
			h.header(key, value)
		}
	}
	if h.status == 0 && !located && !typed {
		return nil, nil, false
	}
	if h.status == 0 {
		h.status = http.StatusOK
		if located && !typed {
			h.status = http.StatusFound
		}
	}
	return h.json(), rest, true
}

// response makes the head of a frame.Head.
type response struct {
	status           int
	headers, cookies []byte // elements of JSON arrays
}

func (r *response) header(name string, value []byte) {
	r.headers = append(appendJSON(append(separated(r.headers), '['), []byte(name)), ',')
	r.headers = append(appendJSON(r.headers, value), ']')
}

func (r *response) cookie(value []byte) { r.cookies = appendJSON(separated(r.cookies), value) }

func (r *response) json() []byte {
	b := make([]byte, 0, 64+len(r.headers)+len(r.cookies))
	b = strconv.AppendInt(append(b, `{"status":`...), int64(r.status), 10)
	b = append(append(b, `,"headers":[`...), r.headers...)
	if len(r.cookies) > 0 {
		b = append(append(b, `],"cookies":[`...), r.cookies...)
	}
	return append(b, "]}"...)
}

func separated(b []byte) []byte {
	if len(b) > 0 {
		return append(b, ',')
	}
	return b
}

// appendJSON appends a text as a JSON string.
func appendJSON(b, text []byte) []byte {
	for _, c := range text {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(string(text)) // a text cannot fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

// token reports whether b is a header's name (RFC 9110, section 5.6.2).
func token(b []byte) bool {
	return len(b) > 0 && !slices.ContainsFunc(b, func(c byte) bool {
		return c <= ' ' || c >= 0x7f || bytes.IndexByte([]byte("\"(),/:;<=>?@[\\]{}"), c) >= 0
	})
}
