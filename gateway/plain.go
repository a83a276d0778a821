package gateway

import (
	"encoding/base64"
	"net/http"
	"strings"
	"unicode/utf8"
)

// plain is shape for the form of a response that most handlers return: a number
// as statusCode, headers of ASCII, a body without rare escapes, isBase64Encoded,
// in any order. It takes a fifth of the time (BenchmarkShape). It reports false,
// with h as it was, for everything else, also for what is wrong: whatever it takes
// means the same to encoding/json, which FuzzPlain compares. The body may be a part
// of payload.
func plain(h http.Header, payload []byte) (status int, body []byte, ok bool) {
	p := plainReader{rest: payload}
	var room [16]string
	var pairs []string // header names, each with its value
	var seen [4]bool
	coded := false
	for first := true; first || !p.next('}'); first = false {
		if first && !p.next('{') || !first && !p.next(',') {
			return 0, nil, false
		}
		name, ok := p.text()
		ok = ok && p.next(':')
		member := 0
		switch name {
		case "statusCode":
			ok = ok && p.status(&status)
		case "headers":
			if member = 1; ok {
				pairs, ok = p.pairs(room[:0])
			}
		case "body":
			member, ok = 2, ok && p.body(&body)
		case "isBase64Encoded":
			member, ok = 3, ok && p.boolean(&coded)
		default: // encoding/json takes these names in any case
			ok = false
		}
		if !ok || seen[member] {
			return 0, nil, false
		}
		seen[member] = true
	}
	if p.space(); len(p.rest) > 0 || !seen[0] || !distinct(pairs) {
		return 0, nil, false
	}
	if coded {
		raw := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
		n, err := base64.StdEncoding.Decode(raw, body)
		if err != nil {
			return 0, nil, false
		}
		body = raw[:n]
	}
	values := make([]string, len(pairs)/2)
	for i := range values {
		values[i] = pairs[2*i+1]
		h[http.CanonicalHeaderKey(pairs[2*i])] = values[i : i+1 : i+1]
	}
	dropHop(h)
	return status, body, true
}

// distinct reports whether each name is there once, and none is Set-Cookie,
// which may be there more than once.
func distinct(pairs []string) bool {
	for i := 0; i < len(pairs); i += 2 {
		if strings.EqualFold(pairs[i], "Set-Cookie") {
			return false
		}
		for j := 0; j < i; j += 2 {
			if strings.EqualFold(pairs[i], pairs[j]) {
				return false
			}
		}
	}
	return true
}

// plainReader reads JSON of a few forms. Its methods report false at others,
// and where they end is of no use then.
type plainReader struct{ rest []byte }

func (p *plainReader) space() {
	for len(p.rest) > 0 && (p.rest[0] == ' ' || p.rest[0] == '\n' || p.rest[0] == '\t' || p.rest[0] == '\r') {
		p.rest = p.rest[1:]
	}
}

// next takes c, and the spaces before it.
func (p *plainReader) next(c byte) bool {
	p.space()
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// text takes a string of printable ASCII without escapes.
func (p *plainReader) text() (string, bool) {
	if !p.next('"') {
		return "", false
	}
	for i, c := range p.rest {
		switch {
		case c == '"':
			s := string(p.rest[:i])
			p.rest = p.rest[i+1:]
			return s, true
		case c < ' ' || c == '\\' || c >= utf8.RuneSelf:
			return "", false
		}
	}
	return "", false
}

// status takes a number of three digits from 200 on.
func (p *plainReader) status(to *int) bool {
	p.space()
	if len(p.rest) < 4 {
		return false
	}
	n := 0
	for _, c := range p.rest[:3] {
		if c < '0' || c > '9' {
			return false
		}
		n = 10*n + int(c-'0')
	}
	*to, p.rest = n, p.rest[3:]
	return n >= 200 && (p.rest[0] < '0' || p.rest[0] > '9')
}

// boolean takes true or false.
func (p *plainReader) boolean(to *bool) bool {
	p.space()
	for _, word := range [2]string{"false", "true"} {
		if len(p.rest) > len(word) && string(p.rest[:len(word)]) == word {
			*to, p.rest = word == "true", p.rest[len(word):]
			return true
		}
	}
	return false
}

// pairs takes an object of strings, as many as room has place for.
func (p *plainReader) pairs(room []string) ([]string, bool) {
	if !p.next('{') {
		return nil, false
	}
	for !p.next('}') {
		if len(room) == cap(room) || len(room) > 0 && !p.next(',') {
			return nil, false
		}
		name, ok := p.text()
		if !ok || !p.next(':') {
			return nil, false
		}
		value, ok := p.text()
		if !ok {
			return nil, false
		}
		room = append(room, name, value)
	}
	return room, true
}

// body takes a string. Where it has no escapes the bytes stay in place.
func (p *plainReader) body(to *[]byte) bool {
	if !p.next('"') {
		return false
	}
	var out []byte
	start, ascii := 0, true
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			if !ascii && !utf8.Valid(p.rest[:i]) {
				return false
			}
			if *to = p.rest[start:i:i]; out != nil {
				*to = append(out, p.rest[start:i]...)
			}
			p.rest = p.rest[i+1:]
			return true
		case c < ' ':
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		case c == '\\':
			if i+1 == len(p.rest) {
				return false
			}
			at := strings.IndexByte(`"\/nrtbf`, p.rest[i+1])
			if at < 0 {
				return false // \u
			}
			if out == nil {
				out = make([]byte, 0, len(p.rest))
			}
			out = append(append(out, p.rest[start:i]...), "\"\\/\n\r\t\b\f"[at])
			i++
			start = i + 1
		}
	}
	return false
}
