package telemetry

import "bytes"

// indexFold is the place of s in b, whatever the case of ASCII letters, or -1.
// It finds candidates for the first byte with the processor's own search and
// compares from there.
func indexFold(b []byte, s string) int {
	if s == "" {
		return 0
	}
	if len(s) > len(b) {
		return -1
	}
	starts := b[:len(b)-len(s)+1]
	lo, up := lower(s[0]), upper(s[0])
	nextLo, nextUp := seek(starts, 0, lo), -1
	if lo != up {
		nextUp = seek(starts, 0, up)
	}
	for nextLo >= 0 || nextUp >= 0 {
		at := nextLo
		if at < 0 || nextUp >= 0 && nextUp < at {
			at = nextUp
		}
		if equalFold(b[at:at+len(s)], s) {
			return at
		}
		if at == nextLo {
			nextLo = seek(starts, at+1, lo)
		} else {
			nextUp = seek(starts, at+1, up)
		}
	}
	return -1
}

func seek(b []byte, from int, c byte) int {
	if i := bytes.IndexByte(b[from:], c); i >= 0 {
		return from + i
	}
	return -1
}

func equalFold(b []byte, s string) bool {
	for i := range b {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 32
	}
	return c
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 32
	}
	return c
}
