package wasm

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads the JSON of an event from its beginning to its end. Texts without
// escapes are not copied; others are, in place, over their escapes: the JSON is
// gone then. encoding/json takes half of a short call's time in a worker.
//
// It is for what the daemon wrote. Of anything else it accepts more than JSON,
// and it never reads past the end.
type scanner struct {
	b   []byte
	at  int
	key []byte // of the member that member went to
	bad bool
}

// done reports whether all was read and was well.
func (s *scanner) done() bool { return !s.bad && s.peek() == 0 && s.at == len(s.b) }

// peek is the next byte that is no space, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.b); s.at++ {
		switch c := s.b[s.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) fail() { s.bad, s.at = true, len(s.b) }

// null takes a null.
func (s *scanner) null() bool {
	if s.peek() == 'n' && bytes.HasPrefix(s.b[s.at:], []byte("null")) {
		s.at += 4
		return true
	}
	return false
}

// enter goes to the next item of what open begins and end ends. It reports false,
// and has passed the end, where there is none. null has none.
func (s *scanner) enter(open, end byte) bool {
	if s.null() {
		return false
	}
	switch c := s.peek(); {
	case c == open || c == ',':
		s.at++
	case c != end:
		s.fail()
	}
	if s.peek() != end {
		return !s.bad
	}
	s.at++
	return false
}

// member goes to the next member of an object, whose value is then read.
func (s *scanner) member() bool {
	if s.bad || !s.enter('{', '}') {
		return false
	}
	s.key = s.text()
	if s.peek() != ':' {
		s.fail()
		return false
	}
	s.at++
	return true
}

// element goes to the next element of an array, which is then read.
func (s *scanner) element() bool { return !s.bad && s.enter('[', ']') }

// flag reads true, false or null.
func (s *scanner) flag() bool {
	on := s.peek() == 't'
	s.skip()
	return on
}

// text reads a string or null.
func (s *scanner) text() []byte {
	if s.null() {
		return nil
	}
	if s.peek() != '"' {
		s.fail()
		return nil
	}
	from := s.at + 1
	for i := from; i < len(s.b); i++ {
		switch s.b[i] {
		case '"':
			s.at = i + 1
			return s.b[from:i:i]
		case '\\':
			return s.escaped(from, i)
		}
	}
	s.fail()
	return nil
}

// escaped reads the rest of a string from its first escape on.
func (s *scanner) escaped(from, i int) []byte {
	to := i
	for i < len(s.b) {
		switch c := s.b[i]; c {
		case '"':
			s.at = i + 1
			return s.b[from:to:to]
		case '\\':
			to, i = s.escape(to, i)
		default:
			s.b[to] = c
			to, i = to+1, i+1
		}
	}
	s.fail()
	return nil
}

// escape writes what the escape at i stands for to to, which no escape is shorter
// than, and returns where to go on.
func (s *scanner) escape(to, i int) (int, int) {
	if i+1 >= len(s.b) {
		return to, len(s.b)
	}
	c := s.b[i+1]
	switch c {
	case 'u':
		r, n := s.unicode(i)
		if s.bad {
			return to, len(s.b)
		}
		return to + utf8.EncodeRune(s.b[to:i+n], r), i + n
	case 'n':
		c = '\n'
	case 't':
		c = '\t'
	case 'r':
		c = '\r'
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	}
	s.b[to] = c
	return to + 1, i + 2
}

// unicode is the rune that the escape at i, or the two of a surrogate pair,
// stands for, and their length.
func (s *scanner) unicode(i int) (rune, int) {
	first, ok := s.hex(i)
	if !ok {
		s.fail()
		return 0, 0
	}
	if !utf16.IsSurrogate(first) {
		return first, 6
	}
	if second, ok := s.hex(i + 6); ok {
		if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
			return r, 12
		}
	}
	return utf8.RuneError, 6
}

// hex is the number of an escape "\uXXXX" at i.
func (s *scanner) hex(i int) (rune, bool) {
	if i+6 > len(s.b) || s.b[i] != '\\' || s.b[i+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s.b[i+2:i+6]), 16, 16)
	return rune(n), err == nil
}

// skip passes any value.
func (s *scanner) skip() {
	for depth := 0; ; {
		switch s.peek() {
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			if depth--; depth < 0 {
				s.fail()
				return
			}
			s.at++
		case ',', ':':
			s.at++
			if depth > 0 {
				continue
			}
			s.fail()
			return
		case '"':
			s.text()
		case 0:
			s.fail()
			return
		default:
			s.literal()
		}
		if depth <= 0 {
			return
		}
	}
}

// literal passes a number, true, false or null.
func (s *scanner) literal() {
	for ; s.at < len(s.b); s.at++ {
		switch s.b[s.at] {
		case ' ', '\t', '\n', '\r', ',', ':', '}', ']', '{', '[', '"':
			return
		}
	}
}
